"""Where events wait: the contract of a store, and the bounded one in memory."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import Any, Final, Protocol

import attrs

from snowplow_tracker.outcomes import Reason

DEFAULT_CAPACITY: Final = 10_000
DEFAULT_MAX_BYTES: Final = 32 * 1024 * 1024
TURNS_AT_CALLS: Final = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether no other thread and no signal handler runs between statements that call nothing: true since CPython 3.10, but
for builds without a GIL. A call may then count and store an event without a lock. (``x += f()`` is no such statement:
*x* is read first.)"""


@attrs.define(eq=False)
class Claim:
    """Events that belong to one claimer until it acks or nacks them.

    Attributes:
        events: Fragments, oldest first; fewer after a part was acknowledged.
        stored_at: When each was put (`time.monotonic`), beside *events*; empty where the store does not keep it.
        tokens: What the store knows each by, beside *events*; empty where it needs none.
        recovered: How many of them another process or an earlier run had put.
    """

    events: Sequence[bytes]
    stored_at: Sequence[float] = ()
    tokens: Sequence[Any] = ()
    recovered: int = 0

    def part(self, start: int, stop: int | None = None) -> Claim:
        """Some of the events, to be acknowledged by themselves."""
        return Claim(self.events[start:stop], self.stored_at[start:stop], self.tokens[start:stop])


class Listener(Protocol):
    """Who hears of what happens in a store by itself. A store calls it from any thread, and with no lock held."""

    def arrived(self, events: int) -> None:
        """Events of an earlier run or another process wait here from now on; told before they can be claimed."""

    def left(self, events: int) -> None:
        """Events that waited here are another process's now, or the next run's."""

    def dropped(self, reason: Reason, events: int) -> None:
        """Events that waited here were given up."""


class EventStore(Protocol):
    """What an emitter asks of a store. Every method may be called from any thread.

    The tracking thread calls `put` and, where that finds no room, `evict`: these two never wait on the network. The
    others may take as long as a disk or a network does, within reason, and are called with no lock held that `put` or
    a `track_*` call needs.

    Events leave in the order they came, except those that a claimer gave back: these are first again.
    """

    oldest_go_first: bool
    """Whether a full store makes room by dropping its oldest events, whatever the emitter's ``overflow`` says."""
    max_age_s: float | None
    """How old an event may become, claimed or not, in seconds; None for any age."""
    poll_s: float | None
    """How often to `claim` on the chance that others put something, in seconds; None if the listener hears of it."""

    @property
    def degraded(self) -> str:
        """What is wrong with the store, in a sentence, or "" while all is well."""

    @property
    def durable(self) -> bool:
        """Whether what waits here outlives the process, so that closing need not give it up. It may change."""

    def attach(self, listener: Listener) -> None:
        """Work for this emitter from now on, and tell it what happens here by itself; called once, before `put`."""

    def put(self, fragment: bytes) -> bool:
        """Take one event; False, and nothing changed, if there is no room."""

    def claim(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Claim | None:
        """Hand out the oldest events.

        Args:
            max_events: How many at the most.
            max_bytes: How large they may be together, each with *per_event_bytes* added; one event is handed out even
                if it is larger.
            per_event_bytes: What sending adds to each.

        Returns:
            The events, now the claimer's, or None if none waits.
        """

    def ack(self, claim: Claim) -> None:
        """Forget claimed events: they are settled."""

    def nack(self, claim: Claim) -> None:
        """Take claimed events back, as the oldest ones again."""

    def rest(self, claim: Claim) -> None:
        """The claimer waits before it tries again: a shared store may let others have the events meanwhile."""

    def resume(self, claim: Claim) -> Claim | None:
        """The claimer tries again; returns what of the claim is still its own, or None if that can't be told now."""

    def secure(self) -> None:
        """Bring what waits to where it outlives the process; `durable` says afterwards whether it does."""

    def evict(self, fragment: bytes) -> int:
        """Forget the oldest events until *fragment* would fit; returns how many (0 if none waits)."""

    def clear(self) -> int:
        """Forget every event that waits, on disk or not; returns how many."""

    def close(self) -> int:
        """Let go of everything; returns how many waiting events are lost by it. A later `put` returns False."""

    def after_fork(self) -> None:
        """Make the store fit for a child process: what waits is the parent's, and its locks may be held by nobody."""

    def __len__(self) -> int:
        """How many events wait to be claimed."""

    @property
    def queued_bytes(self) -> int:
        """Their size, without Python's own overhead."""


class MemoryEventStore:
    """A bounded queue of fragments in memory.

    A ``__del__`` or a signal handler may track in the middle of any method, in the thread that holds the lock, and
    another thread may at any call, without the lock, by `Delivery.emit`. So a number is only ever changed by a step of
    its own, ``self.x += size``, with nothing called between its reading and writing.

    Args:
        capacity: How many events it holds, claimed ones included.
        max_bytes: How large they may be together.
        keep_times: Whether to keep when each event came, for `Claim.stored_at`.

    Attributes:
        held_events: How many it holds now, claimed ones included: these leave when they are settled.
        held_bytes: How large they are.
        fragments: Those that wait.
    """

    degraded = ""
    durable = False
    oldest_go_first = False
    max_age_s: float | None = None
    poll_s: float | None = None

    def __init__(
        self, capacity: int = DEFAULT_CAPACITY, max_bytes: int = DEFAULT_MAX_BYTES, *, keep_times: bool = False
    ) -> None:
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.keep_times = keep_times
        self.after_fork()

    def attach(self, listener: Listener) -> None:
        """Nothing happens here by itself."""

    def share_lock(self, lock: Any) -> None:
        """Use the emitter's lock.

        A thread that waits on the emitter's condition, even in a signal handler that interrupted `put`, then holds
        nothing that the emitter thread needs.
        """
        self._lock = lock

    def after_fork(self) -> None:
        # Re-entrant: a __del__ or a signal handler may track while it is held.
        self._lock = threading.RLock()
        self.fragments: deque[bytes] = deque()
        self._stored_at: deque[float] = deque()
        self.held_events = 0
        self.held_bytes = 0
        self._claimed_bytes = 0
        self._closed = False

    def put(self, fragment: bytes) -> bool:
        with self._lock:
            size = len(fragment)
            full = self.held_events >= self.capacity or self.held_bytes + size > self.max_bytes
            if full or self._closed:
                return False
            self.held_events += 1
            self.held_bytes += size
            if self.keep_times:
                self._stored_at.append(monotonic())
            self.fragments.append(fragment)
            return True

    def claim(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Claim | None:
        with self._lock:
            events: list[bytes] = []
            with suppress(IndexError):  # where fewer wait; the others are in the list by then
                events.extend(islice(iter(self.fragments.popleft, None), max_events))
            if not events:
                return None
            size = sum(map(len, events))
            while size + per_event_bytes * len(events) > max_bytes and len(events) > 1:
                size -= len(events[-1])
                self.fragments.appendleft(events.pop())
            self._claimed_bytes += size
            return Claim(events, [self._stored_at.popleft() for _ in events] if self.keep_times else ())

    def ack(self, claim: Claim) -> None:
        with self._lock:
            count, size = len(claim.events), self._return(claim)
            self.held_events -= count
            self.held_bytes -= size

    def nack(self, claim: Claim) -> None:
        with self._lock:
            self._return(claim)
            self.fragments.extendleft(reversed(claim.events))
            self._stored_at.extendleft(reversed(claim.stored_at))

    def rest(self, claim: Claim) -> None:
        """Nobody else could have it."""

    def resume(self, claim: Claim) -> Claim:
        return claim

    def secure(self) -> None:
        """There is no such place."""

    def _return(self, claim: Claim) -> int:
        """Claimed no more; their size."""
        size = sum(map(len, claim.events))
        self._claimed_bytes -= size
        return size

    def evict(self, fragment: bytes) -> int:
        evicted = 0
        with self._lock:
            claimed_events = self.held_events - len(self.fragments)
            out_of_reach = len(fragment) > self.max_bytes - self._claimed_bytes
            if out_of_reach or claimed_events >= self.capacity or self._closed:
                return 0
            while self.fragments and (
                self.held_events >= self.capacity or self.held_bytes + len(fragment) > self.max_bytes
            ):
                size = len(self.fragments.popleft())
                self.held_events -= 1
                self.held_bytes -= size
                if self.keep_times:
                    self._stored_at.popleft()
                evicted += 1
        return evicted

    def clear(self) -> int:
        with self._lock:
            # No more than were there: others may add to them meanwhile.
            forgotten = [self.fragments.popleft() for _ in range(len(self.fragments))]
            count, size = len(forgotten), sum(map(len, forgotten))
            self.held_events -= count
            self.held_bytes -= size
            self._stored_at.clear()
            return count

    def close(self) -> int:
        with self._lock:
            self._closed = True
            return self.clear()

    def __len__(self) -> int:
        return len(self.fragments)

    @property
    def queued_bytes(self) -> int:
        return self.held_bytes - self._claimed_bytes


class InMemoryEventStore(MemoryEventStore):
    """`MemoryEventStore` by its official name and arguments.

    Args:
        logger: Not used: what is lost is counted, and told by the call's receipt.
        buffer_capacity: How many events it holds.
    """

    def __init__(self, logger: object = None, buffer_capacity: int = DEFAULT_CAPACITY) -> None:
        super().__init__(buffer_capacity)

    def size(self) -> int:
        """How many events wait."""
        return len(self)
