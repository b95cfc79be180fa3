"""What is to be done about an outbox from time to time, beside the threads that track and send."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

from snowplow_tracker import outbox_file
from snowplow_tracker.outbox_holders import LEASE_S
from snowplow_tracker.outbox_keeper import LOOK_AROUND_S
from snowplow_tracker.outbox_line import Waiting, Wants
from snowplow_tracker.outbox_log import PAGES_WORTH_A_CHECKPOINT, Checkpointer
from snowplow_tracker.outbox_queue import CHUNK, TROUBLE, OutboxQueue
from snowplow_tracker.outbox_rows import Shelf

_ENOUGH: Final = 10_000
"""With so many events waiting here, those of others can wait where they are."""
_FREE_BYTES: Final = 16 * 1024**2
"""So much of the file that holds nothing is given back, once what it does hold is no more than `_SMALL_BYTES`."""
_SMALL_BYTES: Final = 512 * 1024


class Chores:
    """Every method takes the locks that it needs, and raises nothing.

    Args:
        queue: What is looked after.
        max_age_s: See `SQLiteEventStore`.
    """

    def __init__(self, queue: OutboxQueue, max_age_s: float | None) -> None:
        self._queue = queue
        self._max_age_s = max_age_s
        self._generation = queue.generation
        self._looked_at = self._stayed_at = monotonic()
        self.checkpointer = Checkpointer(queue.settings.path)

    def tend(self) -> None:
        """Everything that is due."""
        if self._queue.degraded and not self._queue.hopeless:
            self._recover()
        self._queue.look_for_room()
        if self._queue.settings.write_through or self._queue.is_memory_short():
            self._queue.move_memory()
        with self._queue.lock:
            self._queue.pay()
        self._queue.look_at_log()
        if self._queue.shelves.pages_written > PAGES_WORTH_A_CHECKPOINT:
            self.shorten_log()
        now = monotonic()
        if now - self._looked_at >= LOOK_AROUND_S:
            self._looked_at = now
            self.look_for_others()
            self._expire()
        if now - self._stayed_at >= LEASE_S / 3:
            self._stayed_at = now
            self.stay()
        self._queue.tell()

    def _recover(self) -> None:
        """Try a file again that could not be used."""
        try:
            outbox_file.probe(self._queue.settings.path)  # with no lock held: it may take its time
        except TROUBLE as error:
            if not isinstance(error, outbox_file.Corrupt):
                return
        with self._queue.lock:
            former, self._queue.degraded = self._queue.degraded, ""
            with self._queue.file_work(can_wait=False) as shelves:
                if shelves:
                    shelves.disconnect()
                    shelves.look()
                    shelves.stay()
                    self._queue.account_for_missing()
            self._queue.pay()
            self._queue.move_chunk()  # the proof; the rest is moved without keeping others waiting
            if self._queue.degraded:
                self._queue.degraded = former
            else:
                self._queue.log(logging.INFO, "the outbox %s can be used again", self._queue.settings.path)

    def look_for_others(self) -> None:
        """Take over what processes that are gone have left."""
        while True:
            found: Shelf | None = None
            with self._queue.file_work() as shelves:
                if shelves and shelves.waiting < _ENOUGH:
                    shelves.look()
                    found = shelves.find()
                self._queue.account_for_missing()
            if found is None:
                break
            if self._queue.listener is not None:
                self._queue.listener.arrived(found.waiting)
            with self._queue.lock:
                self._queue.shelves.welcome(found)
                self._queue.held_events += found.waiting
                self._queue.held_bytes += found.waiting_bytes
        self._queue.tell()

    def _expire(self) -> None:
        """Drop what has become too old while it waits."""
        if self._max_age_s is None:
            return
        oldest = monotonic() - self._max_age_s
        while self._drop_chunk(lambda event: event.stored_at < oldest):
            self._queue.tell()

    def _drop_chunk(self, is_old: Wants) -> bool:
        expired: list[Waiting] = []
        with self._queue.lock:
            self._queue.take(lambda event: len(expired) < CHUNK and is_old(event), expired, for_request=False)
            self._queue.forget([event.fragment for event in expired], [event.event_id for event in expired])
            if expired:
                self._queue.hear("dropped", "expired", len(expired))
        return bool(expired)

    def stay(self) -> None:
        """Renew the lease, and give back what the file does not need."""
        with self._queue.file_work() as shelves:
            if shelves:
                shelves.stay()
                free = shelves.rows.free_pages() * outbox_file.PAGE_BYTES
                if free > _FREE_BYTES and shelves.rows.bytes_used() < _SMALL_BYTES:
                    shelves.rows.shrink()

    def shorten_log(self) -> None:
        """See `outbox_log`; also for a tracking thread, where the keeper is late."""
        if self._generation != self._queue.generation:  # its file was put aside
            self._generation = self._queue.generation
            self.checkpointer = Checkpointer(self._queue.settings.path)
        try:
            self.checkpointer.catch_up()
            with self.checkpointer.lock, self._queue.file_work() as shelves:
                if shelves:
                    self.checkpointer.finish(shelves.rows.connection)
                    shelves.rows.pages_written = 0
                    shelves.stay()  # a write: the log begins anew, and its header is synced here and not in a call
                    self._queue.look_at_log()
        except TROUBLE:  # what is wrong shows at the next write
            self.checkpointer.close()
