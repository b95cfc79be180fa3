"""Server-sent events: what the page is told, and how the number and the memory of its streams are bounded.

A stream holds a position in the journal and no rows. It takes the next few when its reader has taken the last ones, so
a slow reader costs what one message weighs, and what left the ring meanwhile is missed by him alone.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from snowplow_tracker.collector.journal import Excerpt, Journal
from snowplow_tracker.collector.summaries import summary

MAX_STREAMS: Final = 8
ROWS_A_MESSAGE: Final = 500
PAUSE_S: Final = 0.1
"""Between two messages once everything is told: soon enough for the eye."""
BEHIND_PAUSE_S: Final = 0.02
"""Between two messages while there is more to tell: what leaves the processor to the collecting itself."""
HEARTBEAT_S: Final = 3.0
"""A page that was closed is noticed with the next message, and makes room for another one then."""


class Streams:
    """Hands out streams, a limited number at a time.

    Args:
        journal: Where the rows come from.
        max_streams: At most this many are open at a time.
    """

    def __init__(self, journal: Journal, max_streams: int = MAX_STREAMS) -> None:
        self._journal = journal
        self._max_streams = max_streams
        self._lock = threading.Lock()
        self._open: set[Stream] = set()

    def open(self, generation: str, after: int) -> Stream | None:
        """A stream of what comes after a row, or None if too many are open.

        Args:
            generation: The journal that the caller has read; of any other it gets everything.
            after: The sequence number of the last row that the caller has.
        """
        with self._lock:
            if len(self._open) >= self._max_streams:
                return None
            stream = Stream(self._journal, generation, after, self._forget)
            self._open.add(stream)
            return stream

    def end_all(self) -> None:
        """Let every open stream come to its end without waiting for more."""
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            stream.end()

    def _forget(self, stream: Stream) -> None:
        with self._lock:
            self._open.discard(stream)


class Stream:
    """The messages for one page, as `http1.Chunks`; whoever has it must close it."""

    def __init__(self, journal: Journal, generation: str, after: int, forget: Callable[[Stream], None]) -> None:
        self._journal = journal
        self._generation = generation
        self._after = after
        self._forget = forget
        self._ended = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield b"retry: 1000\n\n"
        told_at = -HEARTBEAT_S
        told = ""
        while True:
            excerpt = self._next()
            if excerpt.rows or excerpt.generation != told or time.monotonic() - told_at >= HEARTBEAT_S:
                told, told_at = excerpt.generation, time.monotonic()
                yield _message(excerpt)
            behind = self._after < excerpt.last
            if self._ended.wait(BEHIND_PAUSE_S if behind else PAUSE_S):
                return

    def end(self) -> None:
        """Come to an end at once, also while waiting; from any thread."""
        self._ended.set()

    def close(self) -> None:
        """Make room for another stream."""
        self.end()
        self._forget(self)

    def _next(self) -> Excerpt:
        excerpt = self._journal.excerpt(self._after, ROWS_A_MESSAGE)
        if excerpt.generation != self._generation:
            # Numbers go on over a reset, but another journal's are of no use here.
            known = self._generation.partition("-")[0] == excerpt.generation.partition("-")[0]
            self._generation = excerpt.generation
            if not known:
                excerpt = self._journal.excerpt(0, ROWS_A_MESSAGE)
        self._after = excerpt.first + len(excerpt.rows) - 1
        return excerpt


def _message(excerpt: Excerpt) -> bytes:
    """One server-sent event; its data is ASCII without a line end, whatever the events hold."""
    rows = []
    for sequence, row in enumerate(excerpt.rows, start=excerpt.first):
        line = summary(row)
        rows.append(
            [
                sequence,
                1 if line.good else 0,
                line.kind,
                line.event_id,
                line.name,
                line.detail,
                line.app,
                line.arrived_ms,
                line.latency_ms,
                line.text,
            ]
        )
    counts = excerpt.counts
    told = {
        "generation": excerpt.generation,
        "good": counts.good,
        "bad": counts.bad,
        "first": excerpt.first,
        "last": excerpt.last,
        "rows": rows,
    }
    return b"data: " + json.dumps(told, separators=(",", ":")).encode("ascii") + b"\n\n"
