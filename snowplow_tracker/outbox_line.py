"""Events of an outbox that are in this process's hands: in memory only, claimed, or given back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, time

import attrs

from snowplow_tracker.event_store import Claim


@attrs.define(eq=False)
class Waiting:
    """An event outside the file's unread part.

    Attributes:
        stored_at: When it was put (`time.monotonic`).
        event_id: What the file knows it by, if it is there.
    """

    fragment: bytes
    stored_at: float
    event_id: int | None = None

    @property
    def put_ms(self) -> int:
        """When it was put, milliseconds since the epoch."""
        return int((time() - monotonic() + self.stored_at) * 1000)


Wants = Callable[[Waiting], bool]
"""Whether to take the next event; after a no, no more are offered."""


class Line:
    """A queue of events, and their bytes."""

    def __init__(self) -> None:
        # Pairs and not `Waiting`: making one would be a tenth of a call's time.
        self.pairs: deque[tuple[bytes, float]] = deque()
        self.bytes = 0

    def take(self, wants: Wants, taken: list[Waiting]) -> bool:
        """Move events from the front to *taken*; returns whether all are wanted."""
        while self.pairs:
            event = Waiting(*self.pairs[0])
            if not wants(event):
                return False
            self.pairs.popleft()
            size = len(event.fragment)
            self.bytes -= size
            taken.append(event)
        return True

    def forget(self, events: int) -> int:
        """Drop so many at the front, if a signal handler that closes was not faster; returns their bytes."""
        size = 0
        while events > 0 and self.pairs:
            size += len(self.pairs.popleft()[0])
            events -= 1
        self.bytes -= size
        return size


class Returned:
    """Events that were given back: the oldest ones again, whether the file has them too or not."""

    def __init__(self) -> None:
        self.events: deque[Waiting] = deque()
        self.bytes = 0

    def put_back(self, events: Sequence[Waiting]) -> None:
        """In front of all that are there."""
        self.bytes += bytes_of(events)
        self.events.extendleft(reversed(events))

    def leave_to_file(self) -> None:
        """Forget those that the file has, too."""
        self.events = deque(event for event in self.events if event.event_id is None)
        self.bytes = bytes_of(self.events)

    def take(self, wants: Wants, taken: list[Waiting]) -> bool:
        """Move events from the front to *taken*; returns whether all are wanted."""
        while self.events:
            event = self.events[0]
            if not wants(event):
                return False
            self.events.popleft()
            self.bytes -= len(event.fragment)
            taken.append(event)
        return True


def bytes_of(events: Iterable[Waiting]) -> int:
    """The size of their fragments."""
    return sum(len(event.fragment) for event in events)


def claim_of(events: Sequence[Waiting]) -> Claim:
    """As the contract of a store has it; an event's token is its id in the file, or None."""
    return Claim(
        [event.fragment for event in events],
        [event.stored_at for event in events],
        [event.event_id for event in events],
    )


def without(claim: Claim, lost: set[int]) -> Claim:
    """What of a claim is not lost."""
    events = map(Waiting, claim.events, claim.stored_at, claim.tokens)
    return claim_of([event for event in events if event.event_id not in lost])
