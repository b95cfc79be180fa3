"""The queue of an outbox: what was given back, then what is in the file, then what is in memory.

It decides where an event goes, counts what is held, and turns trouble with the file into waiting in memory.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

import attrs

from snowplow_tracker import outbox_file
from snowplow_tracker.event_store import TURNS_AT_CALLS, Claim, Listener
from snowplow_tracker.outbox_line import Line, Returned, Waiting, Wants, bytes_of
from snowplow_tracker.outbox_log import PAGES_BETWEEN_LOOKS, PAGES_WORTH_A_CHECKPOINT, pages_in_log
from snowplow_tracker.outbox_shelves import OutboxShelves

logger = logging.getLogger("snowplow_tracker")

TROUBLE: Final = (sqlite3.Error, outbox_file.Unusable, outbox_file.Corrupt, OSError)
"""What working with the file may raise."""
CHUNK: Final = 100
"""How many events are moved to the file at once, while a tracking thread may be waiting: under a millisecond."""
_LARGEST_STEP_BYTES: Final = 64 * 1024
"""What may come to the file between two looks at its size: a chunk of memory, and pages of the tables themselves."""
_LEAST_FILE_BYTES: Final = 64 * outbox_file.PAGE_BYTES


PATIENCE_S: Final = 0.05
"""How long work on the file waits for another process's write, which takes a millisecond, or ten where it makes the log
end. Not longer: it holds the lock that a tracking thread may be waiting for, and is tried again soon."""
_LONGEST_PUT_S: Final = 1.0
"""How long a call waits, written through: that other process may be short of processor time, and an event in memory is
what a kill would lose."""


@attrs.frozen
class OutboxSettings:
    """See `SQLiteEventStore`."""

    path: Path
    write_through: bool
    max_bytes: int
    max_events: int
    memory_events: int
    memory_bytes: int
    take_all: bool


class OutboxQueue:
    """What one process has to do with one outbox. Whoever calls holds `lock`, where nothing else is said.

    Attributes:
        held_events, held_bytes: Everything that waits or is claimed.
        claimed_events, claimed_bytes: What is claimed.
        in_hand: Ids that claims and given-back events stand for; void once the file was put aside.
        owed: Ids of settled events that are still to be deleted.
        degraded: Why the file can't be used, or "".
        hopeless: Whether it need not be tried again.
        file_full: Whether the file has grown to its bound.
        found_locked: Whether others kept the file locked when it was last needed.
        wants_keeper: Whether there is work for the keeper; set here, reset by who wakes it.
        generation: How many files were put aside.
    """

    def __init__(self, settings: OutboxSettings) -> None:
        self.settings = settings
        # Re-entrant: a __del__ or a signal handler may track while it is held.
        self.lock = threading.RLock()
        self.shelves = OutboxShelves(settings.path, patience_s=PATIENCE_S, everything=settings.take_all)
        self.memory = Line()
        self.returned = Returned()
        self.listener: Listener | None = None
        self.in_hand: set[int] = set()
        self.owed: list[int] = []
        self.held_events = 0
        self.held_bytes = 0
        self.claimed_events = 0
        self.claimed_bytes = 0
        self.file_full = False
        self.found_locked = False
        self.closed = False
        self.degraded = ""
        self.hopeless = False
        self.wants_keeper = False
        self.generation = 0
        self._bytes_unchecked = 0
        self._next_look_at_log = PAGES_BETWEEN_LOOKS
        # Written through, what is in memory could not be written; otherwise, it is worth moving when room gets short.
        self._worth_moving = 0 if settings.write_through else settings.memory_events * 3 // 4
        self._bytes_worth_moving = 0 if settings.write_through else settings.memory_bytes * 3 // 4
        self._warned: set[str] = set()
        # What is to be told or logged once the lock is released.
        self.news: deque[Callable[[], None]] = deque()

    def __len__(self) -> int:
        """How many events can be had; needs no lock, and may count those twice that are just moved to the file."""
        waiting = len(self.returned.events) + len(self.memory.pairs)
        return waiting if self.degraded else waiting + self.shelves.waiting

    @property
    def size(self) -> int:
        """Their bytes; needs no lock."""
        waiting = self.returned.bytes + self.memory.bytes
        return waiting if self.degraded else waiting + self.shelves.waiting_bytes

    def close(self) -> None:
        """Let go of everything."""
        self.closed = True
        self.shelves.close()
        self.shelves.waiting = self.shelves.waiting_bytes = 0
        self.returned, self.memory = Returned(), Line()

    # --- putting -------------------------------------------------------------------------------------------------

    def put(self, fragment: bytes) -> bool:
        """See `EventStore.put`; takes the lock by itself, where it is needed."""
        settings, size, line = self.settings, len(fragment), self.memory
        if TURNS_AT_CALLS and len(line.pairs) < self._worth_moving:
            pair = fragment, monotonic()
            full = self.held_events >= settings.max_events or self.held_bytes + size > settings.max_bytes
            if not (full or line.bytes > self._bytes_worth_moving or self.file_full or self.closed):
                # Nothing else runs between these questions and the append: see TURNS_AT_CALLS.
                self.held_events += 1
                self.held_bytes += size
                line.bytes += size
                line.pairs.append(pair)
                return True
        with self.lock:
            if self.held_events >= settings.max_events or self.held_bytes + size > settings.max_bytes or self.closed:
                return False
            if settings.write_through:
                taken = self._put_in_file(fragment) or self._put_in_memory(fragment, size)
            else:
                taken = self._put_in_memory(fragment, size) or self._make_room_in_memory(fragment, size)
            if taken:
                self.held_bytes += size
                self.held_events += 1
            return taken

    def _put_in_memory(self, fragment: bytes, size: int) -> bool:
        line, settings = self.memory, self.settings
        waiting = len(line.pairs)
        if waiting >= settings.memory_events or line.bytes + size > settings.memory_bytes or self.file_full:
            return False
        line.bytes += size
        line.pairs.append((fragment, monotonic()))
        if waiting >= self._worth_moving or line.bytes > self._bytes_worth_moving:
            self.wants_keeper = True
        return True

    def _make_room_in_memory(self, fragment: bytes, size: int) -> bool:
        """Memory is full before the keeper came to it: one call in a hundred does its work."""
        while self.move_chunk():
            if self._put_in_memory(fragment, size):
                return True
        return self._put_in_memory(fragment, size) or (not self.memory.pairs and self._put_in_file(fragment))

    def _put_in_file(self, fragment: bytes) -> bool:
        if self.degraded or self.file_full:
            return False
        try:
            rows = self.shelves.rows
            if rows.busy:  # a signal handler or a __del__ has interrupted a transaction
                return False
            self.shelves.put(fragment)
        except TROUBLE as error:
            if not self._put_after(error, fragment):
                return False
        self._has_grown(len(fragment))
        if rows.pages_written > self._next_look_at_log:
            self.look_at_log()
        return True

    def _put_after(self, error: Exception, fragment: bytes) -> bool:
        """Try again, written through, as long as the trouble is that others have locked the file."""
        give_up_at = monotonic() + _LONGEST_PUT_S - 2 * PATIENCE_S
        while self.settings.write_through and outbox_file.is_locked(error) and monotonic() <= give_up_at:
            try:
                self.shelves.put(fragment)
                return True
            except TROUBLE as again:
                error = again
        self._fail(error)
        return False

    def look_at_log(self) -> None:
        """Notice when the log has become long: by one's own writing, which is counted, or by that of others."""
        with self.file_work() as shelves:
            if shelves and shelves.is_connected:
                rows, in_log = shelves.rows, pages_in_log(self.settings.path)
                if in_log > PAGES_WORTH_A_CHECKPOINT:  # else it may be as long as it was once
                    rows.pages_written = max(rows.pages_written, in_log)
                if rows.pages_written > PAGES_WORTH_A_CHECKPOINT:
                    self.wants_keeper = True
                self._next_look_at_log = rows.pages_written + PAGES_BETWEEN_LOOKS

    def _has_grown(self, size: int) -> None:
        self._bytes_unchecked += size
        if self._bytes_unchecked > self.settings.max_bytes >> 6:
            self._check_size()

    def _check_size(self) -> None:
        """Notice when the file has grown to its bound: its pages are more than the bytes of the events in it."""
        self._bytes_unchecked = 0
        with self.file_work() as shelves:
            if shelves:
                spare = max(self.settings.max_bytes >> 4, _LARGEST_STEP_BYTES)
                most = max(_LEAST_FILE_BYTES, self.settings.max_bytes - spare)
                self.file_full = shelves.rows.bytes_used() > most

    def look_for_room(self) -> None:
        """Notice when a full file has room again: what others delete shows in nothing that is done here."""
        if self.file_full:
            self._check_size()

    def is_memory_short(self) -> bool:
        """Whether what waits in memory is worth moving to the file."""
        return len(self.memory.pairs) > self._worth_moving or self.memory.bytes > self._bytes_worth_moving

    def move_memory(self) -> None:
        """Write what waits in memory to the file, some at a time; takes the lock."""
        # It can wait while the file is locked, and giving that up could lose it all at the end.
        while self.move_chunk(can_wait=True):
            pass

    def move_chunk(self, *, can_wait: bool = False) -> bool:
        """Write some of what waits in memory to the file; takes the lock. Returns whether any was moved."""
        moved = False
        with self.file_work(can_wait=can_wait) as shelves:
            if shelves:
                moved = self.move_some(shelves)
        return moved

    def move_some(self, shelves: OutboxShelves) -> bool:
        """The same, within `file_work`."""
        if not self.memory.pairs or self.file_full:
            return False
        clocks_apart = time() - monotonic()
        chunk = list(itertools.islice(self.memory.pairs, CHUNK))
        shelves.put_all([(int((stored_at + clocks_apart) * 1000), fragment) for fragment, stored_at in chunk])
        self._has_grown(self.memory.forget(len(chunk)))
        return True

    # --- taking and settling ---------------------------------------------------------------------------------------

    def take(self, wants: Wants, taken: list[Waiting], *, for_request: bool) -> None:
        """Take the oldest events out of the queue, as long as they are wanted."""
        more = True
        with self.file_work() as shelves:
            if shelves and (shelves.waiting or any(event.event_id for event in self.returned.events)):
                with shelves.rows.transaction():
                    more = self.returned.take(wants, taken)
                    self._check_possession(shelves, taken, for_request=for_request)
                    if more:
                        more = self._read(shelves, wants, taken, for_request=for_request)
        # What was given back, and lies in the file, may be another's by now: as long as that is locked, nobody knows.
        unknown = self.found_locked and not self.degraded
        may_have = (lambda event: not event.event_id and wants(event)) if unknown else wants
        if more and self.returned.take(may_have, taken):
            self.memory.take(wants, taken)
        self.account_for_missing()

    def _read(self, shelves: OutboxShelves, wants: Wants, taken: list[Waiting], *, for_request: bool) -> bool:
        clocks_apart = monotonic() - time()

        def offer(fragment: bytes, put_ms: int, event_id: int) -> bool:
            event = Waiting(fragment, min(put_ms / 1000 + clocks_apart, monotonic()), event_id)
            wanted = wants(event)
            if wanted:
                taken.append(event)
                self.in_hand.add(event_id)
            return wanted

        return shelves.read(offer, for_request=for_request)

    def _check_possession(self, shelves: OutboxShelves, taken: list[Waiting], *, for_request: bool) -> None:
        """What was given back may be another's by now; within a transaction."""
        ids = [event.event_id for event in taken if event.event_id is not None]
        lost = set(ids) - shelves.regain(ids, mark=for_request)
        if lost:
            shelves.missing += len(lost)
            shelves.missing_bytes += bytes_of([event for event in taken if event.event_id in lost])
            taken[:] = [event for event in taken if event.event_id not in lost]
            self.in_hand -= lost

    def account_for_missing(self) -> None:
        """Tell of events that others have taken, and of rows that are no events."""
        shelves = self.shelves
        self.held_events -= shelves.missing + shelves.unreadable
        self.held_bytes -= shelves.missing_bytes + shelves.unreadable_bytes
        if shelves.missing:
            self.hear("left", shelves.missing)
        if shelves.unreadable:
            self.hear("dropped", "store", shelves.unreadable)
            self.log(
                logging.WARNING,
                "%d rows of the outbox %s are no events; dropped",
                shelves.unreadable,
                self.settings.path,
            )
        shelves.missing = shelves.missing_bytes = shelves.unreadable = shelves.unreadable_bytes = 0

    def forget(self, events: Sequence[bytes], tokens: Sequence[int | None]) -> None:
        """Events are settled: delete them, now or, if the file can't be used, once it can."""
        count, size = len(events), sum(map(len, events))
        self.held_events -= count
        self.held_bytes -= size
        ids = self.ids_in_hand(tokens)
        self.in_hand.difference_update(ids)
        self.owed += ids
        self.pay()

    def pay(self) -> None:
        """Delete what is settled or discarded, if that could not be done at once."""
        with self.file_work() as shelves:
            if shelves and self.owed:
                shelves.rows.remove(sorted(self.owed))
                self.owed = []
                if self.file_full:
                    self._check_size()
            if shelves:
                shelves.clear()

    def ids_in_hand(self, tokens: Sequence[int | None]) -> list[int]:
        """Those of a claim's events that are in the file, ascending."""
        return sorted(token for token in tokens if token is not None and token in self.in_hand)

    def events_of(self, claim: Claim) -> list[Waiting]:
        """A claim's events, with the ids by which the file knows them still."""
        ids = [token if token in self.in_hand else None for token in claim.tokens]
        return list(map(Waiting, claim.events, claim.stored_at, ids))

    def write_down(self, shelves: OutboxShelves, events: Sequence[Waiting]) -> None:
        """Have events that are in hand in the file, too."""
        for start in range(0, len(events), CHUNK):
            chunk = events[start : start + CHUNK]
            ids = shelves.put_in_hand([(event.put_ms, event.fragment) for event in chunk])
            for event, event_id in zip(chunk, ids, strict=True):
                event.event_id = event_id
            self.in_hand.update(ids)

    # --- trouble -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def file_work(self, *, can_wait: bool = True) -> Iterator[OutboxShelves | None]:
        """The file, to work with under the lock, which this takes, or None if it can't be used, or is in use by a call
        that this one has interrupted.

        Trouble with it ends in memory.

        Args:
            can_wait: Whether a file that another process has locked is left for the next time.
        """
        with self.lock:
            if self.degraded or self.closed or self.shelves.busy:
                yield None
                return
            try:
                yield self.shelves
                self.found_locked = False
            except TROUBLE as error:
                self.found_locked = outbox_file.is_locked(error)
                # Closed: by a signal handler, in the middle of this work.
                if not (self.closed or (can_wait and self.found_locked)):
                    self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.found_locked = outbox_file.is_locked(error)
        if isinstance(error, sqlite3.Error):
            error = outbox_file.translated(error)
        if isinstance(error, outbox_file.Corrupt):
            self._set_aside(error)
        else:
            self.degrade(str(error), for_good=getattr(error, "for_good", False))

    def degrade(self, why: str, *, for_good: bool = False) -> None:
        """Go on in memory; one warning for each reason."""
        self.degraded = f"the outbox {self.settings.path} cannot be used: {why}; events wait in memory"
        self.hopeless = for_good
        if why not in self._warned:
            self._warned.add(why)
            self.log(logging.WARNING, "%s", self.degraded)

    def _set_aside(self, error: Exception) -> None:
        lost, size = self.shelves.waiting, self.shelves.waiting_bytes
        self.shelves.start_anew()
        self.generation += 1
        self.in_hand.clear()
        self.owed = []
        for event in self.returned.events:
            event.event_id = None
        self.held_events -= lost
        self.held_bytes -= size
        if lost:
            self.hear("dropped", "store", lost)
        self._begin_another_file(error)

    def _begin_another_file(self, error: Exception) -> None:
        path = self.settings.path
        try:
            aside = outbox_file.set_aside(path, self.shelves.file)
            kept = f"it is kept as {aside}" if aside else "another process has put it aside"
            self.log(logging.WARNING, "the outbox %s is broken (%s); %s", path, error, kept)
            self.shelves.rows.shelves()
        except TROUBLE as trouble:
            self.degrade(f"it is broken ({error}) and cannot be replaced: {type(trouble).__name__}")

    # --- telling -------------------------------------------------------------------------------------------------

    def hear(self, what: str, *facts: Any) -> None:
        """Note something for the listener."""
        if self.listener is not None:
            self.news.append(partial(getattr(self.listener, what), *facts))

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Note a line for the log."""
        self.news.append(partial(logger.log, level, message, *arguments))

    def tell(self) -> None:
        """Say what was noted, with no lock held."""
        while self.news:
            with contextlib.suppress(IndexError):  # another thread was faster
                news = self.news.popleft()
                with contextlib.suppress(Exception):  # a logging handler that raises
                    news()
