"""Sending a file of events through an emitter, a portion at a time, so that the place up to which all is settled is
known at every moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import Final

import attrs

from snowplow_tracker.cli.json_lines import BadLine, EventLine, Place
from snowplow_tracker.emitters import Emitter
from snowplow_tracker.errors import ValidationError
from snowplow_tracker.payload import encode_pairs
from snowplow_tracker.settings import Method, PayloadDict

PORTION: Final = 1_000
"""Lines between two bookmarks: the most events that can come twice after a crash."""
PORTION_BYTES: Final = 8 * 1024 * 1024
"""Far below what an emitter holds, so that a portion always finds room."""
PORTIONS_A_SECOND: Final = 10
"""With a rate, how often something is sent."""


@attrs.define
class Outcome:
    """What became of the lines so far.

    Attributes:
        delivered: Events that the collector took.
        skipped: Lines that are no events, or bad ones.
        refused: Events that the collector refused for good.
        place: Everything before it is settled.
        stopped: Why it ended before the end of the file, or "".
    """

    delivered: int = 0
    skipped: int = 0
    refused: int = 0
    place: Place = Place()
    stopped: str = ""


class Replay:
    """One run.

    Args:
        collector: Where the events go.
        method: ``post`` or ``get``.
        rate: The most events a second; 0 for no limit.
        patience_s: How long a portion may take before the run stops.
        tell: Called with a sentence about each line that is left out or refused.
        settled: Called after each portion.

    Raises:
        ValidationError: *collector* is no address.
    """

    def __init__(
        self,
        collector: str,
        method: Method,
        rate: float,
        patience_s: float,
        tell: Callable[[str], None],
        settled: Callable[[Outcome], None],
    ) -> None:
        self.outcome = Outcome()
        self._rate = rate
        self._patience_s = patience_s
        self._tell = tell
        self._settled = settled
        self._lines: dict[str, int] = {}
        self._sent: list[Place] = []
        self._open = True
        self._emitter = Emitter(
            collector,
            method=method,
            on_failure=self._note_refused,
            buffer_capacity=PORTION,
            # A command that somebody watches: look more often than once a minute whether the collector is back.
            max_retry_delay_seconds=10,
        )

    def run(self, lines: Iterable[EventLine | BadLine]) -> None:
        """Send *lines*; `outcome` says how far that went."""
        due = monotonic()
        for portion in _portions(lines, self._portion_size()):
            sleep(max(0.0, due - monotonic()))
            # Time that was lost is not made up for by going faster.
            due = monotonic() + (len(portion) / self._rate if self._rate else 0)
            if not self._send(portion):
                break

    def _portion_size(self) -> int:
        return max(1, min(PORTION, int(self._rate / PORTIONS_A_SECOND))) if self._rate else PORTION

    def _send(self, portion: list[EventLine | BadLine]) -> bool:
        """Send a portion and wait for its outcome; false if there is no point in going on."""
        before = self._emitter.stats()
        self._lines, self._sent = {}, []
        for line in portion:
            self._put(line)
        settled = self._emitter.flush(self._patience_s)
        if not settled:
            self.outcome.stopped = f"the collector has not taken everything within {self._patience_s:g} s"
            return False
        after = self._emitter.stats()
        self.outcome.delivered += after.delivered - before.delivered
        if self._sent and after.delivered == before.delivered:
            self.outcome.stopped = "the collector refuses everything"
            return False
        self.outcome.place = portion[-1].end
        self._settled(self.outcome)
        return True

    def _put(self, line: EventLine | BadLine) -> None:
        """Queue an event, or tell why not."""
        if isinstance(line, EventLine):
            fragment = b"{" + encode_pairs(line.pairs)
            try:
                self._emitter.check_size(fragment)
            except ValidationError as error:
                line = BadLine(error.problem, line.end)
            else:
                self._lines[line.pairs["eid"]] = line.end.line
                self._sent.append(line.end)
                refused = self._emitter.emit(fragment)
                assert refused is None, "a portion has room in the buffer"
        if isinstance(line, BadLine):
            self.outcome.skipped += 1
            self._tell(f"line {line.end.line}: {line.why}; skipped")

    def _note_refused(self, sent: int, events: list[PayloadDict]) -> None:
        """Called by the emitter; while closing, what it gives up is not refused but out of time."""
        if not self._open:
            return
        self.outcome.refused += len(events)
        numbers = sorted(self._lines[event["eid"]] for event in events)
        self._tell(f"{_lines_in_words(numbers)}: refused by the collector")

    def close(self) -> None:
        """End the run, however it went, and count what an interrupted portion has delivered."""
        self._open = False
        self._emitter.close(0)
        delivered = self._emitter.stats().delivered - self.outcome.delivered
        self.outcome.delivered += delivered
        if 0 < delivered <= len(self._sent):  # events leave in their order
            self.outcome.place = self._sent[delivered - 1]


def _portions(lines: Iterable[EventLine | BadLine], size: int) -> Iterator[list[EventLine | BadLine]]:
    """*size* lines at a time, or fewer where they are large."""
    portion: list[EventLine | BadLine] = []
    for line in lines:
        portion.append(line)
        if len(portion) == size or line.end.offset - portion[0].end.offset > PORTION_BYTES:
            yield portion
            portion = []
    if portion:
        yield portion


def _lines_in_words(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    return f"{len(numbers)} events in lines {numbers[0]} to {numbers[-1]}"
