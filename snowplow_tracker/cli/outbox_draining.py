"""Delivering what is in an outbox file, beside the processes that use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import attrs

from snowplow_tracker.cli.outbox_contents import read_contents
from snowplow_tracker.emitters import Emitter
from snowplow_tracker.outbox import SQLiteEventStore
from snowplow_tracker.settings import Method

_STEP_S: Final = 0.2


@attrs.frozen
class Drained:
    """How far a draining has come.

    Attributes:
        delivered: Events that the collector took.
        refused: Events that it refused for good; they are gone, as they would be from their own process.
        remaining: Events that are still in the file.
        elsewhere: How many of those are in a request of a process that lives.
    """

    delivered: int
    refused: int
    remaining: int = 0
    elsewhere: int = 0


class Draining:
    """Takes over everything that can be had of a file, and delivers it.

    Args:
        path: The outbox.
        collector: Where the events go.
        method: ``post`` or ``get``.
        patience_s: How long to go on without any event being settled.
        progress: Called now and then.
    """

    def __init__(
        self, path: Path, collector: str, method: Method, patience_s: float, progress: Callable[[Drained], None]
    ) -> None:
        self._path = path
        self._patience_s = patience_s
        self._progress = progress
        self._store = SQLiteEventStore(path, take_all=True)
        try:
            self._emitter = Emitter(
                collector, method=method, event_store=self._store, max_retry_delay_seconds=5, flush_interval=0
            )
        except BaseException:
            self._store.close()
            raise

    def run(self) -> Drained:
        """Deliver until nothing is left to be had, or patience is at its end."""
        settled, settled_at = 0, monotonic()
        while True:
            all_settled = self._emitter.flush(_STEP_S)
            drained = self._so_far()
            self._progress(drained)
            if drained.delivered + drained.refused > settled:
                settled, settled_at = drained.delivered + drained.refused, monotonic()
            elif all_settled:
                drained = self._with_the_rest(drained)
                if drained.remaining <= drained.elsewhere:
                    return drained
            if monotonic() - settled_at > self._patience_s:
                return self._with_the_rest(drained)

    def close(self) -> None:
        """Leave what is left to others."""
        self._emitter.close(1.0)

    def result(self) -> Drained:
        """What came of it, after `close`."""
        return self._with_the_rest(self._so_far())

    def _so_far(self) -> Drained:
        stats = self._emitter.stats()
        return Drained(stats.delivered, sum(stats.dropped.values()))

    def _with_the_rest(self, drained: Drained) -> Drained:
        contents = read_contents(self._path)
        return attrs.evolve(drained, remaining=contents.events, elsewhere=contents.out_of_reach)
