"""`SQLiteEventStore`: events wait in a file, and outlive the process.

Written through, an event is in the file before the call that tracked it returns. Spilling, it waits in memory, and goes
to the file only when an attempt at delivery has failed, when memory runs short, or at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

import attrs

from snowplow_tracker import lifecycle, outbox_file
from snowplow_tracker.errors import ValidationError
from snowplow_tracker.event_store import DEFAULT_CAPACITY, DEFAULT_MAX_BYTES, Claim, Listener
from snowplow_tracker.outbox_holders import LEASE_S
from snowplow_tracker.outbox_keeper import LOOK_AROUND_S, Keeper
from snowplow_tracker.outbox_log import MOST_PAGES, PAGES_WORTH_A_CHECKPOINT, Checkpointer
from snowplow_tracker.outbox_rows import Shelf
from snowplow_tracker.outbox_shelves import OutboxShelves
from snowplow_tracker.validators import check_flag, check_integer, check_number, invalid

logger = logging.getLogger("snowplow_tracker")

DEFAULT_FILE_BYTES: Final = 1024**3
_LEAST_FILE_BYTES: Final = 64 * outbox_file.PAGE_BYTES
_TROUBLE: Final = (sqlite3.Error, outbox_file.Unusable, outbox_file.Corrupt, OSError)
_CHUNK: Final = 100
"""How many events are moved to the file at once, while a tracking thread may be waiting: under a millisecond."""
_ENOUGH: Final = 10_000
"""With so many events waiting here, those of others can wait where they are."""
_FREE_BYTES: Final = 16 * 1024**2
"""So much of the file that holds nothing is given back, once what it does hold is no more than `_SMALL_BYTES`."""
_SMALL_BYTES: Final = 512 * 1024


@attrs.define(eq=False)
class _Waiting:
    """An event outside the file's unread part: in memory, claimed, or given back.

    Attributes:
        stored_at: When it was put (`time.monotonic`).
        event_id: What the file knows it by, if it is there.
    """

    fragment: bytes
    stored_at: float
    event_id: int | None = None

    @property
    def put_ms(self) -> int:
        return int((time() - monotonic() + self.stored_at) * 1000)


Wants = Callable[[_Waiting], bool]
"""Whether to take the next event; after a no, no more are offered."""


class _Line:
    """A queue of events in memory, and their bytes."""

    def __init__(self) -> None:
        self.events: deque[_Waiting] = deque()
        self.bytes = 0

    def put_back(self, events: Sequence[_Waiting]) -> None:
        self.bytes += sum(len(event.fragment) for event in events)
        self.events.extendleft(reversed(events))

    def take(self, wants: Wants, taken: list[_Waiting]) -> bool:
        """Move events from the front to *taken*; returns whether all are wanted."""
        while self.events:
            event = self.events[0]
            if not wants(event):
                return False
            self.events.popleft()
            self.bytes -= len(event.fragment)
            taken.append(event)
        return True

    def clear(self) -> list[_Waiting]:
        events, self.events, self.bytes = list(self.events), deque(), 0
        return events


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
        try:
            _check(
                path,
                write_through,
                max_age_s,
                max_bytes=max_bytes,
                max_events=max_events,
                memory_events=memory_events,
                memory_bytes=memory_bytes,
            )
        except ValidationError as error:
            raise error.within("SQLiteEventStore") from None
        self.path = Path(os.path.abspath(path))
        self.write_through = write_through
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self.max_events = max_events
        self.memory_events = memory_events
        self.memory_bytes = memory_bytes
        self._take_all = take_all
        # Another process's write takes a millisecond, or ten where it makes the log end, but that process may be short
        # of processor time. Written through, an event in memory is what a kill would lose; else it is where it belongs.
        self._patience_s = 1.0 if write_through else 0.05
        self._worth_moving = 0 if write_through else memory_events * 3 // 4
        self._bytes_worth_moving = 0 if write_through else memory_bytes * 3 // 4
        self._listener: Listener | None = None
        self._start_anew()
        lifecycle.hold_during_fork(self, type(self)._before_fork, type(self)._after_fork_in_parent)
        lifecycle.start_anew_after_fork(self, type(self).after_fork)
        with self._file_work(can_wait=False) as shelves:
            if shelves:
                shelves.rows.shelves()
        self._look_for_others()
        self._tell()

    def _start_anew(self) -> None:
        # Re-entrant: a __del__ or a signal handler may track while it is held.
        self._lock = threading.RLock()
        self._shelves = OutboxShelves(self.path, patience_s=self._patience_s, everything=self._take_all)
        self._checkpointer = Checkpointer(self.path)
        self._keeper = Keeper(self)
        self._memory = _Line()
        self._returned = _Line()  # what was given back: the oldest events again
        # Ids that claims and given-back events stand for; void once the file was put aside.
        self._in_hand: set[int] = set()
        self._held_events = 0
        self._held_bytes = 0
        self._claimed_events = 0
        self._claimed_bytes = 0
        self._owed: list[int] = []
        self._bytes_unchecked = 0
        self._file_full = False
        self._looked_at = self._stayed_at = monotonic()
        self._closed = False
        self.degraded = ""
        self._hopeless = False
        self._warned: set[str] = set()
        # What is to be told or logged once the lock is released.
        self._news: deque[Callable[[], None]] = deque()

    # --- the contract: putting -----------------------------------------------------------------------------------

    @property
    def durable(self) -> bool:
        return not self.degraded

    def attach(self, listener: Listener) -> None:
        self._listener = listener
        with self._file_work() as shelves:
            if shelves:
                shelves.attended = True
                shelves.stay()
        if len(self):
            listener.arrived(len(self))
        self._tell()
        self._keeper.start()

    def put(self, fragment: bytes) -> bool:
        size = len(fragment)
        with self._lock:
            if self._held_events >= self.max_events or self._held_bytes + size > self.max_bytes or self._closed:
                return False
            if self.write_through:
                taken = self._put_in_file(fragment) or self._put_in_memory(fragment, size)
            else:
                taken = self._put_in_memory(fragment, size) or self._make_room_in_memory(fragment, size)
            if not taken:
                return False
            self._held_bytes += size
            self._held_events += 1
        if self._keeper.wanted or self._news:
            self._attend_to_it()
        return True

    def _put_in_memory(self, fragment: bytes, size: int) -> bool:
        line = self._memory
        events = line.events
        waiting = len(events)
        if waiting >= self.memory_events or line.bytes + size > self.memory_bytes or self._file_full:
            return False
        line.bytes += size
        events.append(_Waiting(fragment, monotonic()))
        # Written through, what is here could not be written; otherwise, room is getting short.
        if waiting >= self._worth_moving or line.bytes > self._bytes_worth_moving:
            self._keeper.wanted = True
        return True

    def _make_room_in_memory(self, fragment: bytes, size: int) -> bool:
        """Memory is full before the keeper came to it: one call in a hundred does its work."""
        while self._move_chunk():
            if self._put_in_memory(fragment, size):
                return True
        return self._put_in_memory(fragment, size) or (not self._memory.events and self._put_in_file(fragment))

    def _put_in_file(self, fragment: bytes) -> bool:
        if self.degraded or self._file_full:
            return False
        try:
            rows = self._shelves.rows
            if rows.busy:  # a signal handler or a __del__ has interrupted a transaction
                return False
            self._shelves.put(fragment)
        except _TROUBLE as error:
            self._fail(error)
            return False
        self._has_grown(len(fragment))
        if rows.pages_written > PAGES_WORTH_A_CHECKPOINT:
            self._keeper.wanted = True
        return True

    def _has_grown(self, size: int) -> None:
        self._bytes_unchecked += size
        if self._bytes_unchecked > self.max_bytes >> 6:
            self._check_size()

    def _check_size(self) -> None:
        """Notice when the file has grown to its bound: its pages are more than the bytes of the events in it."""
        self._bytes_unchecked = 0
        with self._file_work() as shelves:
            if shelves:
                most = max(_LEAST_FILE_BYTES, self.max_bytes - (self.max_bytes >> 4))
                self._file_full = shelves.rows.bytes_used() > most

    def _attend_to_it(self) -> None:
        """Off the fast path, with no lock held: wake the keeper, or do the most urgent of its work."""
        self._keeper.start()
        self._keeper.wake()
        if self._shelves.pages_written > MOST_PAGES:
            self._shorten_log()
        self._tell()

    # --- the contract: claiming and settling ---------------------------------------------------------------------

    def claim(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Claim | None:
        if not len(self):
            self._look_for_others()
        room = max_bytes

        def wants(event: _Waiting) -> bool:
            nonlocal room
            left = room - len(event.fragment) - per_event_bytes
            if len(taken) >= max_events or (left < 0 and taken):
                return False
            room = left
            return True

        with self._lock:
            taken: list[_Waiting] = []
            self._pay()
            # What was sent and could not be deleted yet, since the file is locked, must not become more.
            if not self._owed or self.degraded:
                self._take(wants, taken, for_request=True)
            self._claimed_events += len(taken)
            self._claimed_bytes += _bytes_of(taken)
        self._tell()
        return _claim_of(taken) if taken else None

    def _take(self, wants: Wants, taken: list[_Waiting], *, for_request: bool) -> None:
        """Take the oldest events out of the queue, as long as they are wanted; lock held."""
        more = True
        with self._file_work() as shelves:
            if shelves and (shelves.waiting or any(event.event_id for event in self._returned.events)):
                with shelves.rows.transaction():
                    more = self._returned.take(wants, taken)
                    self._check_possession(shelves, taken, for_request=for_request)
                    if more:
                        more = self._read(shelves, wants, taken, for_request=for_request)
        if more and self._returned.take(wants, taken):
            self._memory.take(wants, taken)
        self._account_for_missing()

    def _read(self, shelves: OutboxShelves, wants: Wants, taken: list[_Waiting], *, for_request: bool) -> bool:
        clocks_apart = monotonic() - time()

        def offer(fragment: bytes, put_ms: int, event_id: int) -> bool:
            event = _Waiting(fragment, min(put_ms / 1000 + clocks_apart, monotonic()), event_id)
            wanted = wants(event)
            if wanted:
                taken.append(event)
                self._in_hand.add(event_id)
            return wanted

        return shelves.read(offer, for_request=for_request)

    def _check_possession(self, shelves: OutboxShelves, taken: list[_Waiting], *, for_request: bool) -> None:
        """What was given back may be another's by now; within a transaction."""
        ids = [event.event_id for event in taken if event.event_id is not None]
        lost = set(ids) - shelves.regain(ids, mark=for_request)
        if lost:
            shelves.missing += len(lost)
            shelves.missing_bytes += _bytes_of([event for event in taken if event.event_id in lost])
            taken[:] = [event for event in taken if event.event_id not in lost]
            self._in_hand -= lost

    def _account_for_missing(self) -> None:
        """Tell of events that others have taken, and of rows that are no events; lock held."""
        shelves = self._shelves
        self._held_events -= shelves.missing + shelves.unreadable
        self._held_bytes -= shelves.missing_bytes + shelves.unreadable_bytes
        if shelves.missing:
            self._hear("left", shelves.missing)
        if shelves.unreadable:
            self._hear("dropped", "store", shelves.unreadable)
            self._log(logging.WARNING, "%d rows of the outbox %s are no events; dropped", shelves.unreadable, self.path)
        shelves.missing = shelves.missing_bytes = shelves.unreadable = shelves.unreadable_bytes = 0

    def ack(self, claim: Claim) -> None:
        with self._lock:
            self._unclaim(claim)
            self._forget(claim.events, claim.tokens)
        self._tell()

    def _unclaim(self, claim: Claim) -> None:
        self._claimed_events -= len(claim.events)
        self._claimed_bytes -= sum(map(len, claim.events))

    def _forget(self, events: Sequence[bytes], tokens: Sequence[int | None]) -> None:
        """Events are settled: delete them, now or, if the file can't be used, once it can. Lock held."""
        self._held_events -= len(events)
        self._held_bytes -= sum(map(len, events))
        ids = self._ids_in_hand(tokens)
        self._in_hand.difference_update(ids)
        self._owed += ids
        self._pay()

    def _pay(self) -> None:
        with self._file_work() as shelves:
            if shelves and self._owed:
                shelves.rows.remove(sorted(self._owed))
                self._owed = []
                if self._file_full:
                    self._check_size()

    def _ids_in_hand(self, tokens: Sequence[int | None]) -> list[int]:
        return sorted(token for token in tokens if token is not None and token in self._in_hand)

    def nack(self, claim: Claim) -> None:
        self.rest(claim)
        with self._lock:
            self._unclaim(claim)
            self._returned.put_back(self._events_of(claim))

    def rest(self, claim: Claim) -> None:
        with self._lock, self._file_work() as shelves:
            if shelves and claim.events:
                if not self.write_through:
                    claim.tokens = self._write_down(shelves, claim)
                shelves.rows.unmark(self._ids_in_hand(claim.tokens))
        if not self.write_through:
            self._move_memory()
        self._tell()

    def _write_down(self, shelves: OutboxShelves, claim: Claim) -> Sequence[int | None]:
        """Have claimed events in the file, too; returns their ids."""
        events = self._events_of(claim)
        self._write_down_all(shelves, [event for event in events if event.event_id is None])
        return [event.event_id for event in events]

    def _events_of(self, claim: Claim) -> list[_Waiting]:
        """With the ids by which the file knows them still."""
        ids = [token if token in self._in_hand else None for token in claim.tokens]
        return list(map(_Waiting, claim.events, claim.stored_at, ids))

    def _write_down_all(self, shelves: OutboxShelves, events: Sequence[_Waiting]) -> None:
        for start in range(0, len(events), _CHUNK):
            chunk = events[start : start + _CHUNK]
            ids = shelves.put_in_hand([(event.put_ms, event.fragment) for event in chunk])
            for event, event_id in zip(chunk, ids, strict=True):
                event.event_id = event_id
            self._in_hand.update(ids)

    def resume(self, claim: Claim) -> Claim:
        kept = claim
        with self._lock:
            with self._file_work() as shelves:
                ids = self._ids_in_hand(claim.tokens)
                if shelves and ids:
                    with shelves.rows.transaction():
                        lost = set(ids) - shelves.regain(ids, mark=True)
                    if lost:
                        kept = _without(claim, lost)
                        self._in_hand -= lost
            size = sum(map(len, claim.events)) - sum(map(len, kept.events))
            lost_events = len(claim.events) - len(kept.events)
            self._claimed_events -= lost_events
            self._claimed_bytes -= size
            self._held_events -= lost_events
            self._held_bytes -= size
        self._tell()
        return kept

    # --- the contract: making room, ending -----------------------------------------------------------------------

    def evict(self, fragment: bytes) -> int:
        size = len(fragment)
        with self._lock:
            out_of_reach = size > self.max_bytes - self._claimed_bytes
            if out_of_reach or self._claimed_events >= self.max_events or self._closed:
                return 0
            room = self.max_bytes - self._held_bytes - size
            places = self.max_events - self._held_events - 1
            # A file at its bound needs whole pages back.
            at_least = max(1, self._shelves.waiting >> 5) if self._file_full else 0

            def wants(event: _Waiting) -> bool:
                nonlocal room, places, at_least
                if room >= 0 and places >= 0 and at_least <= 0:
                    return False
                room, places, at_least = room + len(event.fragment), places + 1, at_least - 1
                return True

            evicted: list[_Waiting] = []
            self._take(wants, evicted, for_request=False)
            self._forget([event.fragment for event in evicted], [event.event_id for event in evicted])
        self._tell()
        return len(evicted)

    def clear(self) -> int:
        with self._lock:
            forgotten = len(self)
            events = self._returned.clear() + self._memory.clear()
            size = _bytes_of(events)
            with self._file_work() as shelves:
                if shelves:
                    shelves.look()
                    self._account_for_missing()
                    forgotten = len(events) + shelves.waiting
                    size += shelves.waiting_bytes
                    shelves.clear()
            self._held_events -= forgotten - len(events)
            self._held_bytes -= size - _bytes_of(events)
            self._forget([event.fragment for event in events], [event.event_id for event in events])
        self._tell()
        return forgotten

    def secure(self) -> None:
        with self._file_work(can_wait=False) as shelves:
            if shelves:
                self._write_down_all(shelves, [event for event in self._returned.events if event.event_id is None])
        while self._move_chunk() or self._drop_oldest_of_full_file():
            pass
        self._tell()

    def _drop_oldest_of_full_file(self) -> bool:
        """Make room in the file for what is in memory; returns whether there was anything to do."""
        if not self._file_full or not self._memory.events or self.degraded:
            return False
        evicted = self.evict(b"")
        if evicted:
            self._hear("dropped", "overflow", evicted)
        return evicted > 0

    def close(self) -> int:
        self.secure()
        with self._lock:
            if self._closed:
                return 0
            lost = len(self) if self.degraded else 0
            with self._file_work() as shelves:
                if shelves:
                    shelves.leave()
            self._closed = True
            self._shelves.disconnect()
            self._returned.clear()
            self._memory.clear()
            self._shelves.waiting = self._shelves.waiting_bytes = 0
        self._keeper.stop()
        self._checkpointer.close()
        self._tell()
        return lost

    def __len__(self) -> int:
        waiting = len(self._returned.events) + len(self._memory.events)
        return waiting if self.degraded else waiting + self._shelves.waiting

    @property
    def queued_bytes(self) -> int:
        waiting = self._returned.bytes + self._memory.bytes
        return waiting if self.degraded else waiting + self._shelves.waiting_bytes

    # --- fork ----------------------------------------------------------------------------------------------------

    def _before_fork(self) -> None:
        """An SQLite connection must not be open in two processes, nor its mutexes held by a thread that one lacks."""
        self._checkpointer.lock.acquire()
        self._lock.acquire()
        self._shelves.disconnect()
        self._checkpointer.close()

    def _after_fork_in_parent(self) -> None:
        self._lock.release()
        self._checkpointer.lock.release()

    def after_fork(self) -> None:
        """In the child: what waits is the parent's; begin a shelf of our own."""
        copied = self._shelves.is_connected
        if copied:
            _copied_connections.append((self._shelves, self._checkpointer))
        self._start_anew()
        self._shelves.attended = self._listener is not None
        if copied:  # by a fork that Python was not told of: SQLite's own state is the parent's, too
            self._degrade("the process was forked without Python's hooks", for_good=True)

    # --- the keeper's work ---------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Everything that is to be done from time to time, in the keeper's thread."""
        if self.degraded and not self._hopeless:
            self._recover()
        if self.write_through or self._is_memory_short():
            self._move_memory()
        self._pay()
        if self._shelves.pages_written > PAGES_WORTH_A_CHECKPOINT:
            self._shorten_log()
        now = monotonic()
        if now - self._looked_at >= LOOK_AROUND_S:
            self._looked_at = now
            self._look_for_others()
            self._expire()
        if now - self._stayed_at >= LEASE_S / 3:
            self._stayed_at = now
            self._stay()
        self._tell()

    def _is_memory_short(self) -> bool:
        return len(self._memory.events) > self._worth_moving or self._memory.bytes > self._bytes_worth_moving

    def _move_memory(self) -> None:
        """Write what waits in memory to the file, some at a time."""
        while self._move_chunk():
            pass

    def _move_chunk(self) -> bool:
        """Returns whether any was moved."""
        moved = False
        with self._file_work(can_wait=False) as shelves:
            if shelves and self._memory.events and not self._file_full:
                chunk = list(itertools.islice(self._memory.events, _CHUNK))
                shelves.put_all([(event.put_ms, event.fragment) for event in chunk])
                for event in chunk:
                    self._memory.events.popleft()
                    self._memory.bytes -= len(event.fragment)
                self._has_grown(_bytes_of(chunk))
                moved = True
        return moved

    def _recover(self) -> None:
        """Try a file again that could not be used."""
        try:
            outbox_file.probe(self.path)  # with no lock held: it may take its time
        except _TROUBLE as error:
            if not isinstance(error, outbox_file.Corrupt):
                return
        with self._lock:
            former, self.degraded = self.degraded, ""
            with self._file_work(can_wait=False) as shelves:
                if shelves:
                    shelves.disconnect()
                    shelves.look()
                    shelves.stay()
                    self._account_for_missing()
            self._pay()
            self._move_memory()
            if self.degraded:
                self.degraded = former
            else:
                self._log(logging.INFO, "the outbox %s can be used again", self.path)

    def _look_for_others(self) -> None:
        """Take over what processes that are gone have left."""
        while True:
            found: Shelf | None = None
            with self._file_work() as shelves:
                if shelves and shelves.waiting < _ENOUGH:
                    shelves.look()
                    found = shelves.find()
                self._account_for_missing()
            if found is None:
                break
            if self._listener is not None:
                self._listener.arrived(found.waiting)
            with self._lock:
                self._shelves.welcome(found)
                self._held_events += found.waiting
                self._held_bytes += found.waiting_bytes
        self._tell()

    def _expire(self) -> None:
        """Drop what has become too old while it waits."""
        if self.max_age_s is None:
            return
        oldest = monotonic() - self.max_age_s
        while self._drop_chunk(lambda event: event.stored_at < oldest):
            self._tell()

    def _drop_chunk(self, is_old: Wants) -> bool:
        expired: list[_Waiting] = []
        with self._lock:
            self._take(lambda event: len(expired) < _CHUNK and is_old(event), expired, for_request=False)
            self._forget([event.fragment for event in expired], [event.event_id for event in expired])
            if expired:
                self._hear("dropped", "expired", len(expired))
        return bool(expired)

    def _stay(self) -> None:
        with self._file_work() as shelves:
            if shelves:
                shelves.stay()
                free = shelves.rows.free_pages() * outbox_file.PAGE_BYTES
                if free > _FREE_BYTES and shelves.rows.bytes_used() < _SMALL_BYTES:
                    shelves.rows.shrink()

    def _shorten_log(self) -> None:
        try:
            self._checkpointer.catch_up()
            with self._checkpointer.lock, self._file_work() as shelves:
                if shelves:
                    self._checkpointer.finish(shelves.rows.connection)
                    shelves.rows.pages_written = 0
                    shelves.stay()  # a write: the log begins anew, and its header is synced here and not in a call
        except _TROUBLE:  # what is wrong shows at the next write
            self._checkpointer.close()

    # --- trouble -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _file_work(self, *, can_wait: bool = True) -> Iterator[OutboxShelves | None]:
        """The file, to work with under the lock, or None if it can't be used. Trouble with it ends in memory.

        Args:
            can_wait: Whether a file that another process has locked is left for the next time.
        """
        with self._lock:
            if self.degraded or self._closed:
                yield None
                return
            try:
                yield self._shelves
            except _TROUBLE as error:
                if not (can_wait and outbox_file.is_locked(error)):
                    self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Lock held."""
        if isinstance(error, sqlite3.Error):
            error = outbox_file.translated(error)
        if isinstance(error, outbox_file.Corrupt):
            self._set_aside(error)
        else:
            self._degrade(str(error), for_good=getattr(error, "for_good", False))

    def _degrade(self, why: str, *, for_good: bool = False) -> None:
        self.degraded = f"the outbox {self.path} cannot be used: {why}; events wait in memory"
        self._hopeless = for_good
        if why not in self._warned:
            self._warned.add(why)
            self._log(logging.WARNING, "%s", self.degraded)

    def _set_aside(self, error: Exception) -> None:
        lost, size = self._shelves.waiting, self._shelves.waiting_bytes
        self._shelves.start_anew()
        self._checkpointer = Checkpointer(self.path)  # the former one may be at work in the keeper's thread
        self._in_hand.clear()
        self._owed = []
        for event in self._returned.events:
            event.event_id = None
        self._held_events -= lost
        self._held_bytes -= size
        if lost:
            self._hear("dropped", "store", lost)
        try:
            aside = outbox_file.set_aside(self.path)
            self._log(logging.WARNING, "the outbox %s is broken (%s); it is kept as %s", self.path, error, aside)
            self._shelves.rows.shelves()
        except _TROUBLE as trouble:
            self._degrade(f"it is broken ({error}) and cannot be replaced: {type(trouble).__name__}")

    # --- telling -------------------------------------------------------------------------------------------------

    def _hear(self, what: str, *facts: Any) -> None:
        """Note something for the listener; lock held."""
        if self._listener is not None:
            self._news.append(partial(getattr(self._listener, what), *facts))

    def _log(self, level: int, message: str, *arguments: object) -> None:
        self._news.append(partial(logger.log, level, message, *arguments))

    def _tell(self) -> None:
        """Say what was noted, with no lock held."""
        while self._news:
            with contextlib.suppress(IndexError):  # another thread was faster
                news = self._news.popleft()
                with contextlib.suppress(Exception):  # a logging handler that raises
                    news()


def _check(path: Any, write_through: Any, max_age_s: Any, **counts: Any) -> None:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise invalid("path", "the path of a file", path)
    check_flag("write_through", write_through)
    for name, value in counts.items():
        check_integer(name, value, 1, 2**53, "a positive integer")
    if max_age_s is not None:
        check_number("max_age_s", max_age_s, "a number of seconds")


_copied_connections: list[object] = []
"""Connections of the parent, in a child that was forked without hooks: closing one would harm the parent's file."""


def _bytes_of(events: Iterable[_Waiting]) -> int:
    return sum(len(event.fragment) for event in events)


def _claim_of(events: Sequence[_Waiting]) -> Claim:
    return Claim(
        [event.fragment for event in events],
        [event.stored_at for event in events],
        [event.event_id for event in events],
    )


def _without(claim: Claim, lost: set[int]) -> Claim:
    events = map(_Waiting, claim.events, claim.stored_at, claim.tokens)
    return _claim_of([event for event in events if event.event_id not in lost])
