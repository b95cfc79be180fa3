"""What a forwarder has in hand: entries that it has read and not settled. It does no I/O."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence

import attrs

from snowplow_tracker.event_store import Claim


@attrs.define
class Ready:
    """An event that was read and waits to be claimed.

    Attributes:
        counted: Whether a claimer had it before and gave it back, so that the emitter has counted it already.
    """

    entry_id: bytes
    fragment: bytes
    counted: bool = False


class Hand:
    """The events of one member of a group, from reading to acknowledging. It may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._ready: deque[Ready] = deque()
        self._held: set[bytes] = set()
        self._taken: set[bytes] = set()
        self._unsettled: list[bytes] = []

    def __len__(self) -> int:
        """How many events are ready to be claimed."""
        return len(self._ready)

    @property
    def ready_bytes(self) -> int:
        with self._lock:
            return sum(len(event.fragment) for event in self._ready)

    def receive(self, events: Sequence[Ready]) -> None:
        """Take what was read, to be claimed in this order."""
        with self._lock:
            self._ready.extend(events)
            self._held.update(event.entry_id for event in events)

    def pick(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Claim | None:
        """Hand out what is ready, as `EventStore.claim` does."""
        with self._lock:
            room = max_bytes
            picked: list[Ready] = []
            while self._ready and len(picked) < max_events:
                room -= len(self._ready[0].fragment) + per_event_bytes
                if room < 0 and picked:
                    break
                picked.append(self._ready.popleft())
        if not picked:
            return None
        return Claim(
            [event.fragment for event in picked],
            tokens=[event.entry_id for event in picked],
            recovered=sum(not event.counted for event in picked),
        )

    def give_back(self, claim: Claim) -> None:
        """Make claimed events the first ones again."""
        pairs = zip(claim.tokens, claim.events, strict=True)
        with self._lock:
            self._ready.extendleft(reversed([Ready(entry_id, event, counted=True) for entry_id, event in pairs]))

    def drop(self, claim: Claim) -> None:
        """Claimed events are delivered or given up: they are to be acknowledged, see `take_unsettled`."""
        with self._lock:
            self._unsettled += claim.tokens
            self._held.difference_update(claim.tokens)
            self._taken.difference_update(claim.tokens)

    def drop_given_back(self) -> int:
        """The same for everything that was claimed and given back; returns how many."""
        with self._lock:
            given_back = [event.entry_id for event in self._ready if event.counted]
            self._ready = deque(event for event in self._ready if not event.counted)
            self._unsettled += given_back
            self._held.difference_update(given_back)
        return len(given_back)

    def take_unsettled(self) -> list[bytes]:
        """The ids that are to be acknowledged, now the caller's to do so, or to `keep_unsettled`."""
        with self._lock:
            ids, self._unsettled = self._unsettled, []
        return ids

    def keep_unsettled(self, ids: Iterable[bytes]) -> None:
        """Acknowledging these did not work: they are still to be."""
        with self._lock:
            self._unsettled += ids

    def held(self) -> list[bytes]:
        """The ids of all that is in hand, claimed or not."""
        with self._lock:
            return list(self._held)

    def holds(self, entry_id: bytes) -> bool:
        """Whether an entry is in hand."""
        return entry_id in self._held

    def lose(self, ids: set[bytes]) -> None:
        """Other members have taken these: what nobody has counted is dropped, about the rest see `what_is_left`."""
        with self._lock:
            dropped = {event.entry_id for event in self._ready if event.entry_id in ids and not event.counted}
            self._ready = deque(event for event in self._ready if event.entry_id not in dropped)
            self._held -= dropped
            self._taken |= ids & self._held

    def what_is_left(self, claim: Claim) -> Claim:
        """A claim without the events that other members have taken meanwhile."""
        with self._lock:
            if self._taken.isdisjoint(claim.tokens):
                return claim
            kept = [at for at, entry_id in enumerate(claim.tokens) if entry_id not in self._taken]
            self._held -= self._taken.intersection(claim.tokens)
            self._taken.difference_update(claim.tokens)
        return Claim([claim.events[at] for at in kept], tokens=[claim.tokens[at] for at in kept])
