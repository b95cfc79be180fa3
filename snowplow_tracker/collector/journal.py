"""What the collector was sent: requests, good events and bad rows, in order of arrival and bounded in memory."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from snowplow_tracker.collector.http1 import Headers
from snowplow_tracker.collector.rows import BadRow, GoodEvent, Row

MAX_EVENTS: Final = 50_000
MAX_EVENT_BYTES: Final = 256 * 1024 * 1024
MAX_REQUESTS: Final = 50_000
MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024

_ROW_OVERHEAD_BYTES: Final = 1_500
_BYTES_A_WIRE_BYTE: Final = 4
"""A character takes 4 bytes in a string that holds one emoji; an event of 14 short pairs measured 1.7 kB."""
_REQUEST_OVERHEAD_BYTES: Final = 2_000

_Item = TypeVar("_Item")


@dataclass(slots=True)
class ReceivedRequest:
    """A request that was received, whatever became of it.

    Attributes:
        status: The status it was answered with; None while it waits, or if it was never answered.
        event_count: How many events it carried, as far as it could be decoded.
        arrived_at: When it was complete, seconds since the epoch.
        connection_id: The same for all requests of one connection.
        number: Counts the requests that trackers send, from 1; what comes out of one carries it as well. 0 for others.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    arrived_at: float
    connection_id: int
    event_count: int = 0
    status: int | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Everything since the last reset, also what has left the ring."""

    good: int = 0
    bad: int = 0

    @property
    def total(self) -> int:
        return self.good + self.bad


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A run of rows, and the state of the journal at the moment it was taken.

    Attributes:
        generation: Another one after a reset or in another journal: what was read before is no longer there.
        counts: Everything since the reset.
        last: The sequence number of the newest row of all.
        first: The sequence number of the first of *rows*; the others follow without a gap.
        rows: Oldest first.
    """

    generation: str
    counts: Counts
    last: int
    first: int
    rows: list[Row]


class Ring(Generic[_Item]):
    """The newest items, as many as a number and a weight allow; the oldest go first.

    Args:
        max_items: At most this many.
        max_bytes: At most this much in all; the newest item stays whatever it weighs.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: deque[tuple[int, _Item]] = deque()

    def append(self, item: _Item, size: int) -> None:
        """Add *item*, which weighs *size* bytes."""
        self._items.append((size, item))
        self._bytes += size
        while len(self._items) > self._max_items or (self._bytes > self._max_bytes and len(self._items) > 1):
            self._bytes -= self._items.popleft()[0]

    def items(self) -> list[_Item]:
        """Oldest first."""
        return [item for _, item in self._items]

    def newest(self, count: int) -> list[_Item]:
        """The *count* newest that are still here, oldest of them first."""
        return [item for _, item in islice(reversed(self._items), count)][::-1]

    def newest_first(self) -> Iterator[_Item]:
        """All items, the newest first; the ring must not change meanwhile."""
        return (item for _, item in reversed(self._items))

    def from_end(self, first: int, count: int) -> list[_Item]:
        """At most *count* items, oldest first, beginning with the one that is the *first* from the end (1 the last)."""
        last = max(0, first - count)
        return [item for _, item in islice(reversed(self._items), last, first)][::-1]

    def __len__(self) -> int:
        return len(self._items)

    def clear(self) -> None:
        """Drop everything."""
        self._items.clear()
        self._bytes = 0


class Journal:
    """Records what came in, and lets any thread wait for it.

    Args:
        max_events: How many good events and bad rows are kept, together.
        max_bytes: About how much memory they may take.
    """

    def __init__(self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._changed = threading.Condition()
        self._rows: Ring[Row] = Ring(max_events, max_bytes)
        self._requests: Ring[ReceivedRequest] = Ring(MAX_REQUESTS, MAX_REQUEST_BYTES)
        self._counts = Counts()
        self._sequence = 0
        self._id = uuid.uuid4().hex
        self._resets = 0

    def receive(self, request: ReceivedRequest) -> None:
        """Record a request, before it is answered."""
        size = _REQUEST_OVERHEAD_BYTES + len(request.body) + len(request.query)
        with self._changed:
            self._requests.append(request, size)
            self._changed.notify_all()

    def record(self, rows: Sequence[Row], wire_bytes: int) -> None:
        """Record what became of a request of *wire_bytes* bytes; all its rows appear at once."""
        if not rows:
            return
        size = _ROW_OVERHEAD_BYTES + _BYTES_A_WIRE_BYTE * wire_bytes // len(rows)
        good = sum(isinstance(row, GoodEvent) for row in rows)
        with self._changed:
            for row in rows:
                self._rows.append(row, size)
            self._counts = Counts(self._counts.good + good, self._counts.bad + len(rows) - good)
            self._sequence += len(rows)
            self._changed.notify_all()

    def reset(self) -> None:
        """Forget everything and count from zero."""
        with self._changed:
            self._rows.clear()
            self._requests.clear()
            self._counts = Counts()
            self._resets += 1
            self._changed.notify_all()

    @property
    def counts(self) -> Counts:
        """What came since the reset."""
        return self._counts

    def good(self) -> list[GoodEvent]:
        """The good events still kept, oldest first."""
        return [row for row in self._snapshot() if isinstance(row, GoodEvent)]

    def bad(self) -> list[BadRow]:
        """The bad rows still kept, oldest first."""
        return [row for row in self._snapshot() if isinstance(row, BadRow)]

    def requests(self) -> list[ReceivedRequest]:
        """The requests still kept, oldest first."""
        with self._changed:
            return self._requests.items()

    def wait_until(self, happened: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until *happened* is true; it is asked after each change. False if it did not within *timeout_s*."""
        with self._changed:
            return self._changed.wait_for(happened, timeout_s)

    def rows_after(self, sequence: int, timeout_s: float) -> tuple[int, list[Row]]:
        """Wait for rows newer than *sequence*.

        Args:
            sequence: What the last call returned; 0 to begin with.
            timeout_s: How long to wait if there are none.

        Returns:
            The sequence to pass next, and the new rows still kept, oldest first.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._sequence > sequence, timeout_s)
            return self._sequence, self._rows.newest(self._sequence - sequence)

    def excerpt(self, after: int, limit: int) -> Excerpt:
        """At most *limit* rows that are still kept, the oldest of those whose sequence number is above *after*."""
        with self._changed:
            oldest = self._sequence - len(self._rows) + 1
            first = min(max(after + 1, oldest), self._sequence + 1)
            rows = self._rows.from_end(self._sequence - first + 1, limit)
            return Excerpt(f"{self._id}-{self._resets}", self._counts, self._sequence, first, rows)

    def row(self, sequence: int) -> Row | None:
        """The row with a sequence number, while it is kept."""
        rows = self.excerpt(sequence - 1, 1)
        return rows.rows[0] if rows.rows and rows.first == sequence else None

    def of_request(self, number: int) -> tuple[ReceivedRequest | None, list[tuple[int, Row]]]:
        """The request with a number and the rows that came out of it with their sequence numbers, while kept."""
        with self._changed:
            request = next((one for one in self._requests.newest_first() if one.number == number), None)
            numbered = zip(range(self._sequence, 0, -1), self._rows.newest_first(), strict=False)
            return request, [pair for pair in numbered if pair[1].payload.number == number][::-1]

    def _snapshot(self) -> list[Row]:
        with self._changed:
            return self._rows.items()
