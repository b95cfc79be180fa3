"""One tracker used by several threads: how much they track together, and what a call takes."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any

import orjson

from benchmarks.bench_call import US, time_calls
from benchmarks.bench_frames import Pace, work
from benchmarks.floors import WIRE_PAIRS
from benchmarks.libraries import Library, open_library
from benchmarks.samples import percentiles
from benchmarks.sink import SinkControl


def flat_out(library: str, sink_port: int, threads: int, events: int) -> dict[str, Any]:
    """*events* in all from *threads* threads, as fast as they can, with a live sink.

    Returns:
        ``calls_per_second``: until the last call returned; ``per_second``: until the last event arrived; ``calls``:
        percentiles in µs.
    """
    sink = SinkControl(sink_port)
    opened = open_library(library, sink.url)
    _warm(sink, opened)
    each = events // threads
    start, samples = _in_threads(threads, lambda: time_calls(opened.track, each))
    called = monotonic()
    opened.hurry()
    counts = sink.await_events(each * threads)
    assert counts is not None, f"{library}: the events did not arrive"
    return {
        "calls_per_second": each * threads / (called - start),
        "per_second": each * threads / (counts["last_at"] - start),
        "calls": percentiles([sample / US for sample in samples]),
    }


def sharing_nothing(sink_port: int, threads: int, events: int) -> dict[str, Any]:
    """What the interpreter alone makes of several threads: as `flat_out`, for threads that only encode and compute."""
    dumps, pairs = orjson.dumps, WIRE_PAIRS

    def call() -> None:
        dumps(pairs)
        work(20)

    each = events // threads
    start, _ = _in_threads(threads, lambda: time_calls(call, each))
    return {"calls_per_second": each * threads / (monotonic() - start)}


def paced(library: str, sink_port: int, threads: int, frames: int, events_a_frame: int = 100) -> dict[str, Any]:
    """The same at a game's pace: *events_a_frame* in all in each frame of 16.7 ms; percentiles of a call in µs."""
    sink = SinkControl(sink_port)
    opened = open_library(library, sink.url)
    _warm(sink, opened)

    def play() -> list[int]:
        pace, samples = Pace(), []
        for _ in range(frames):
            pace.await_frame()
            samples += time_calls(opened.track, events_a_frame // threads)
        return samples

    _, samples = _in_threads(threads, play)
    opened.hurry()
    assert sink.await_events(len(samples)) is not None, f"{library}: the events did not arrive"
    return {"calls": percentiles([sample / US for sample in samples])}


def _warm(sink: SinkControl, opened: Library) -> None:
    sink("reset")
    time_calls(opened.track, 1000)
    opened.hurry()
    assert sink.await_events(1000) is not None, "the first events did not arrive"
    sink("reset")


def _in_threads(threads: int, work: Any) -> tuple[float, list[int]]:
    """Run *work* in so many threads at once; when they began, and everything that they returned."""
    together = threading.Barrier(threads + 1)
    found: list[list[int]] = []

    def run() -> None:
        together.wait()
        found.append(work())

    started = [threading.Thread(target=run) for _ in range(threads)]
    for thread in started:
        thread.start()
    together.wait()
    start = monotonic()
    for thread in started:
        thread.join()
    return start, [sample for samples in found for sample in samples]
