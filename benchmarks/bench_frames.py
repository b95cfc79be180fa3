"""What tracking costs a game that draws 60 frames a second: calls at a game's pace, and what they add to a frame."""

from __future__ import annotations

from time import monotonic, perf_counter_ns, process_time, sleep
from typing import Any, Final

from benchmarks.bench_call import HISTOGRAM_EDGES_US, US, time_calls
from benchmarks.libraries import open_library
from benchmarks.samples import histogram, percentiles
from benchmarks.sink import SinkControl

FRAME_S: Final = 1 / 60
_BLOCK: Final = 30
"""Frames with tracking alternate with as many without."""
_WORK_NS: Final = 3_000_000
"""A game's own Python in a frame: it feels whatever the emitter thread keeps from it."""


def work(steps: int) -> int:
    """The game's own work: pure Python, the same at each call."""
    total = 0
    for step in range(steps):
        total += step * step % 7
    return total


def _steps_of_work() -> int:
    start = perf_counter_ns()
    work(100_000)
    return 100_000 * _WORK_NS // (perf_counter_ns() - start)


class Pace:
    """Waits for the beginning of each frame; a frame that came late does not hurry the next ones."""

    def __init__(self) -> None:
        self._next = monotonic()

    def await_frame(self) -> None:
        self._next = max(self._next + FRAME_S, monotonic() - FRAME_S)
        sleep(max(0.0, self._next - monotonic()))


def paced(library: str, sink_port: int, frames: int, events_a_frame: int = 100) -> dict[str, Any]:
    """Run *frames* frames with tracking and as many without, in turns of half a second.

    Returns:
        ``calls``: percentiles of a call in µs; ``added``: of the time a frame spends in its calls, in ms; ``whole``: of
        calls and the game's own work, less what that work takes at the median without tracking; ``quiet``: the same of
        the frames without tracking, which is the machine's own noise; histograms and samples for the plots; ``cpu_us``:
        CPU an event at this pace, the game's own work taken off.
    """
    sink = SinkControl(sink_port)
    opened = open_library(library, sink.url)
    time_calls(opened.track, events_a_frame)
    steps, pace = _steps_of_work(), Pace()
    calls: list[int] = []
    added: list[int] = []
    tracked: list[int] = []
    quiet: list[int] = []
    cpu = {True: 0.0, False: 0.0}
    for block in range(2 * frames // _BLOCK):
        tracking = block % 2 == 1
        cpu_before = process_time()
        for _ in range(_BLOCK):
            pace.await_frame()
            start = perf_counter_ns()
            if tracking:
                samples = time_calls(opened.track, events_a_frame)
                added.append(perf_counter_ns() - start)
                calls += samples
            work(steps)
            (tracked if tracking else quiet).append(perf_counter_ns() - start)
        cpu[tracking] += process_time() - cpu_before
    opened.hurry()
    arrived = sink.await_events(len(calls) + events_a_frame)
    assert arrived is not None, f"{library}: the events did not arrive"
    usual = percentiles(quiet)["p50"]
    calls_us = [sample / US for sample in calls]
    added_ms = [sample / 1e6 for sample in added]
    return {
        "calls": percentiles(calls_us),
        "added": percentiles(added_ms),
        "whole": percentiles([(sample - usual) / 1e6 for sample in tracked]),
        "quiet": percentiles([(sample - usual) / 1e6 for sample in quiet]),
        "calls_histogram": histogram(calls_us, HISTOGRAM_EDGES_US),
        "added_ms": [round(sample, 4) for sample in added_ms],
        "cpu_us": (cpu[True] - cpu[False]) / len(calls) * 1e6,
    }
