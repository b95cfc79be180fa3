"""`SQLiteEventStore`: events wait in a file, and outlive the process.

Written through, an event is in the file before the call that tracked it returns. Spilling, it waits in memory, and goes
to the file only when an attempt at delivery has failed, when memory runs short, or at the end.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic
from typing import Any, Final

from snowplow_tracker import lifecycle
from snowplow_tracker.errors import ValidationError
from snowplow_tracker.event_store import DEFAULT_CAPACITY, DEFAULT_MAX_BYTES, Claim, Listener
from snowplow_tracker.outbox_chores import Chores
from snowplow_tracker.outbox_keeper import Keeper
from snowplow_tracker.outbox_line import Waiting, bytes_of, claim_of, without
from snowplow_tracker.outbox_log import MOST_PAGES
from snowplow_tracker.outbox_queue import PATIENCE_S, OutboxQueue, OutboxSettings
from snowplow_tracker.outbox_shelves import OutboxShelves
from snowplow_tracker.validators import check_flag, check_integer, check_number, invalid

DEFAULT_FILE_BYTES: Final = 1024**3
_LOCKED_S: Final = 0.3
"""How long a file that others keep locked is tried, in all, where much depends on it: at an end, which would count what
is not in it as lost, and ahead of another attempt, which others may have made."""


class SQLiteEventStore:
    """Keeps events in an SQLite file until the collector has taken them.

    Given as ``event_store=`` to a tracker or an emitter; one store serves one of them, but any number of processes may
    use one file at the same time. Where the file can't be used, tracking goes on in memory, after one warning, and
    `degraded` says why; the file is tried again from time to time.

    Args:
        path: The file; it and its folder are made if need be. A file that is no outbox is left alone, and one that is a
            broken outbox is renamed and kept.
        write_through: Whether each event is in the file before the call that tracked it returns, so that the end of the
            process, however sudden, loses none. If not, events wait in memory, as fast as in a `MemoryEventStore`, and
            go to the file when an attempt at delivery has failed, when memory runs short, and at exit.
        max_bytes: How large the file may become, without its log of at most 32 MB. When it is full, the oldest events
            are dropped (``overflow``). Default 1 GiB.
        max_age_s: How old an event may become before it is dropped (``expired``), in seconds. Default: any age.
        max_events: How many events it holds. Default: any number.
        memory_events: How many wait in memory before they go to the file, or, while that can't be used, at all.
        memory_bytes: The same in bytes.
        take_all: Whether to take also what waits in the hands of other processes that live, such as to drain a file.

    Raises:
        ValidationError: An argument is wrong. Whatever is wrong with the file raises nothing.
    """

    oldest_go_first = True
    poll_s: float | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        write_through: bool = True,
        max_bytes: int = DEFAULT_FILE_BYTES,
        max_age_s: float | None = None,
        *,
        max_events: int = 2**53,
        memory_events: int = DEFAULT_CAPACITY,
        memory_bytes: int = DEFAULT_MAX_BYTES,
        take_all: bool = False,
    ) -> None:
        counts = {
            "max_bytes": max_bytes,
            "max_events": max_events,
            "memory_events": memory_events,
            "memory_bytes": memory_bytes,
        }
        try:
            _check(path, max_age_s, counts, write_through=write_through, take_all=take_all)
        except ValidationError as error:
            raise error.within("SQLiteEventStore") from None
        self.path = Path(os.path.abspath(path))
        self.max_age_s = max_age_s
        self._settings = OutboxSettings(self.path, write_through, take_all=take_all, **counts)
        self._start_anew(None)
        lifecycle.hold_during_fork(self, type(self)._before_fork, type(self)._after_fork_in_parent)
        lifecycle.start_anew_after_fork(self, type(self).after_fork)
        with self._queue.file_work(can_wait=False) as shelves:
            if shelves:
                shelves.rows.shelves()
        self._chores.look_for_others()

    def _start_anew(self, listener: Listener | None) -> None:
        self._queue = OutboxQueue(self._settings)
        self._queue.listener = listener
        self._queue.shelves.attended = listener is not None
        self._chores = Chores(self._queue, self.max_age_s)
        self._keeper = Keeper(self)

    @property
    def durable(self) -> bool:
        return not self._queue.degraded

    @property
    def degraded(self) -> str:
        return self._queue.degraded

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        return self._queue.size

    def tend(self) -> None:
        """What is to be done from time to time; called by a thread of the store's own."""
        self._chores.tend()

    # --- putting and claiming ------------------------------------------------------------------------------------

    def attach(self, listener: Listener) -> None:
        self._queue.listener = listener
        self._queue.shelves.attended = True  # also where the file can't be used yet
        with self._queue.file_work() as shelves:
            if shelves:
                shelves.stay()
        if len(self):
            listener.arrived(len(self))
        self._queue.tell()
        self._keeper.start()

    def put(self, fragment: bytes) -> bool:
        queue = self._queue
        taken = queue.put(fragment)
        if queue.wants_keeper or queue.news:
            self._attend_to_it()
        return taken

    def _attend_to_it(self) -> None:
        """Off the fast path, with no lock held: wake the keeper, or do the most urgent of its work."""
        self._queue.wants_keeper = False
        self._keeper.start()
        self._keeper.wake()
        if self._queue.shelves.pages_written > MOST_PAGES:
            self._chores.shorten_log()
        self._queue.tell()

    def claim(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Claim | None:
        if not len(self):
            self._chores.look_for_others()
        room = max_bytes

        def wants(event: Waiting) -> bool:
            nonlocal room
            left = room - len(event.fragment) - per_event_bytes
            if len(taken) >= max_events or (left < 0 and taken):
                return False
            room = left
            return True

        with self._queue.lock:
            taken: list[Waiting] = []
            self._queue.pay()
            # What was sent and could not be deleted yet, since the file is locked, must not become more.
            if not self._queue.owed or self._queue.degraded:
                self._queue.take(wants, taken, for_request=True)
            self._queue.claimed_events += len(taken)
            self._queue.claimed_bytes += bytes_of(taken)
        self._queue.tell()
        return claim_of(taken) if taken else None

    # --- settling ------------------------------------------------------------------------------------------------

    def ack(self, claim: Claim) -> None:
        with self._queue.lock:
            self._unclaim(claim)
            self._queue.forget(claim.events, claim.tokens)
        self._queue.tell()

    def _unclaim(self, claim: Claim) -> None:
        self._queue.claimed_events -= len(claim.events)
        self._queue.claimed_bytes -= sum(map(len, claim.events))

    def nack(self, claim: Claim) -> None:
        self.rest(claim)
        with self._queue.lock:
            self._unclaim(claim)
            self._queue.returned.put_back(self._queue.events_of(claim))

    def rest(self, claim: Claim) -> None:
        with self._queue.lock:
            with self._queue.file_work() as shelves:
                if shelves and claim.events:
                    if not self._settings.write_through:
                        self._write_down(shelves, claim)
                    shelves.rows.unmark(self._queue.ids_in_hand(claim.tokens), shelves.token)
            locked = self._queue.found_locked
        if not self._settings.write_through and not locked:
            self._queue.move_memory()
        self._queue.tell()

    def _write_down(self, shelves: OutboxShelves, claim: Claim) -> None:
        """Have claimed events in the file, too; the claim knows their ids, also when only a part could be written."""
        events = self._queue.events_of(claim)
        try:
            self._queue.write_down(shelves, [event for event in events if event.event_id is None])
        finally:
            claim.tokens = [event.event_id for event in events]

    def resume(self, claim: Claim) -> Claim | None:
        patient_until = monotonic() + _LOCKED_S - PATIENCE_S
        while (kept := self._regain(claim)) is None and not self.degraded and monotonic() < patient_until:
            pass
        self._queue.tell()
        return kept

    def _regain(self, claim: Claim) -> Claim | None:
        """What of a claim is still ours, or None while that is locked in the file: others may have taken some of it."""
        kept = claim
        with self._queue.lock:
            with self._queue.file_work() as shelves:
                ids = self._queue.ids_in_hand(claim.tokens)
                if shelves and ids:
                    with shelves.rows.transaction():
                        lost = set(ids) - shelves.regain(ids, mark=True)
                    if lost:
                        kept = without(claim, lost)
                        self._queue.in_hand -= lost
            if ids and self._queue.found_locked:
                return None
            size = sum(map(len, claim.events)) - sum(map(len, kept.events))
            lost_events = len(claim.events) - len(kept.events)
            self._queue.claimed_events -= lost_events
            self._queue.claimed_bytes -= size
            self._queue.held_events -= lost_events
            self._queue.held_bytes -= size
        return kept

    # --- making room, ending -------------------------------------------------------------------------------------

    def evict(self, fragment: bytes) -> int:
        size = len(fragment)
        with self._queue.lock:
            out_of_reach = size > self._settings.max_bytes - self._queue.claimed_bytes
            if out_of_reach or self._queue.claimed_events >= self._settings.max_events or self._queue.closed:
                return 0
            room = self._settings.max_bytes - self._queue.held_bytes - size
            places = self._settings.max_events - self._queue.held_events - 1
            # A file at its bound needs whole pages back.
            at_least = max(1, self._queue.shelves.waiting >> 5) if self._queue.file_full else 0

            def wants(event: Waiting) -> bool:
                nonlocal room, places, at_least
                if room >= 0 and places >= 0 and at_least <= 0:
                    return False
                room, places, at_least = room + len(event.fragment), places + 1, at_least - 1
                return True

            evicted: list[Waiting] = []
            self._queue.take(wants, evicted, for_request=False)
            self._queue.forget([event.fragment for event in evicted], [event.event_id for event in evicted])
        self._queue.tell()
        return len(evicted)

    def clear(self) -> int:
        queue = self._queue
        with queue.lock:
            in_memory: list[Waiting] = []
            queue.returned.take(lambda event: True, in_memory)
            queue.memory.take(lambda event: True, in_memory)
            with queue.file_work() as shelves:
                if shelves:
                    shelves.look()
            queue.account_for_missing()
            # First it is out of reach; then it is deleted, now or, if the file can't be used, once it can.
            in_file, size = queue.shelves.discard()
            queue.held_events -= in_file
            queue.held_bytes -= size
            queue.forget([event.fragment for event in in_memory], [event.event_id for event in in_memory])
        queue.tell()
        return len(in_memory) + in_file

    def secure(self) -> None:
        self._break_off_what_this_interrupts()
        patient_until = monotonic() + _LOCKED_S - PATIENCE_S
        while self._secure_some(can_wait=monotonic() < patient_until) or self._drop_oldest_of_full_file():
            pass
        with self._queue.lock:
            self._queue.pay()  # the next start would send what is not deleted
            if self._queue.degraded:  # what came to the file before is for that; only the rest is lost
                self._queue.returned.leave_to_file()
        self._queue.tell()

    def _break_off_what_this_interrupts(self) -> None:
        """A signal handler that ends the process may have come in the middle of a write, and never go back to it."""
        queue = self._queue
        with queue.lock:
            if queue.shelves.busy and (queue.memory.pairs or queue.returned.events or queue.owed):
                queue.shelves.break_off()

    def _secure_some(self, *, can_wait: bool) -> bool:
        """Write some of what is in memory only to the file; returns whether there may be more."""
        queue, more = self._queue, True  # as it stays where the file turns out to be locked, or is put aside
        with queue.file_work(can_wait=can_wait) as shelves:
            more = shelves is not None
            if shelves:
                queue.write_down(shelves, [event for event in queue.returned.events if event.event_id is None])
                more = queue.move_some(shelves)
        return more

    def _drop_oldest_of_full_file(self) -> bool:
        """Make room in the file for what is in memory; returns whether there was anything to do."""
        if not self._queue.file_full or not self._queue.memory.pairs or self._queue.degraded:
            return False
        evicted = self.evict(b"")
        if evicted:
            self._queue.hear("dropped", "overflow", evicted)
        return evicted > 0

    def close(self) -> int:
        self.secure()
        queue = self._queue
        with queue.lock:
            if queue.closed:
                return 0
            lost = len(queue) if queue.degraded else 0
            with queue.file_work() as shelves:
                if shelves:
                    shelves.leave()
            queue.close()
        self._keeper.stop()
        self._chores.checkpointer.close()
        queue.tell()
        return lost

    # --- fork ----------------------------------------------------------------------------------------------------

    def _before_fork(self) -> None:
        """An SQLite connection must not be open in two processes, nor its mutexes held by a thread that one lacks."""
        self._held = self._chores.checkpointer
        self._held.lock.acquire()
        self._queue.lock.acquire()
        self._queue.shelves.disconnect()
        self._held.close()

    def _after_fork_in_parent(self) -> None:
        self._queue.lock.release()
        self._held.lock.release()

    def after_fork(self) -> None:
        """In the child: what waits is the parent's; begin a shelf of our own."""
        former, chores = self._queue, self._chores
        self._start_anew(former.listener)
        # The first event starts the thread: none may be started here.
        self._queue.wants_keeper = former.listener is not None
        if former.shelves.is_connected:  # by a fork that Python was not told of: SQLite's state is the parent's, too
            _copied.append((former, chores))
            self._queue.degrade("the process was forked without Python's hooks", for_good=True)


_copied: list[object] = []
"""Connections of the parent, in a child that was forked without hooks: closing one would harm the parent's file."""


def _check(path: Any, max_age_s: Any, counts: dict[str, int], **flags: Any) -> None:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise invalid("path", "the path of a file", path)
    for name, flag in flags.items():
        check_flag(name, flag)
    for name, count in counts.items():
        check_integer(name, count, 1, 2**53, "a positive integer")
    if max_age_s is not None:
        check_number("max_age_s", max_age_s, "a number of seconds")
