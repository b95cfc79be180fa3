"""How long a process takes to end with a full queue and a collector that answers."""

from __future__ import annotations

from time import monotonic

from benchmarks.libraries import open_library
from benchmarks.sink import SinkControl


def fill_and_end(library: str, sink_port: int, events: int) -> float:
    """Queue *events* while the sink answers nothing, let it answer, and end without a flush.

    Returns:
        When the last line ran (CLOCK_MONOTONIC): the parent compares it with the end of this process.
    """
    sink = SinkControl(sink_port)
    sink("reset")
    sink("hold")
    opened = open_library(library, sink.url)
    for _ in range(events):
        opened.track()
    end = monotonic()
    sink("release")
    return end
