"""What a long queue costs, while the collector takes connections and answers nothing: memory, and the next call."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import Any

import orjson

from benchmarks.bench_call import US, QuietTracker, pairs_of_the_event, time_calls
from benchmarks.libraries import ACTION, CATEGORY, LABEL, PROPERTY, VALUE, open_library
from benchmarks.samples import percentiles, summary
from benchmarks.sink import SinkControl

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """The process's resident memory."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE


def memory(library: str, sink_port: int, lengths: Sequence[int]) -> dict[str, Any]:
    """Resident memory at each queue length (ascending).

    Returns:
        ``growth``: bytes over the first length, beside *lengths*; ``per_event``: the slope from the first to the last.
    """
    sink = SinkControl(sink_port)
    sink("hold")
    opened = open_library(library, sink.url, 100)
    sizes, queued = [], 0
    for length in lengths:
        for _ in range(length - queued):
            opened.track()
        queued = length
        gc.collect()
        sizes.append(resident_bytes())
    growth = [size - sizes[0] for size in sizes]
    os.write(1, orjson.dumps({"growth": growth, "per_event": growth[-1] / (lengths[-1] - lengths[0])}) + b"\n")
    os._exit(0)  # nothing would be delivered by an orderly exit, and some libraries wait for it


def overhead(events: int) -> dict[str, Any]:
    """What our queue takes for an event beyond its fragment, the event's JSON without the closing brace.

    CPython hands out memory in steps of 16 bytes, so that one length alone would say more of that length than of the
    queue: 16 lengths in a row are measured, each with *events* events, one after the other in one process.

    Returns:
        ``bytes``: for each length; ``length``: of the first one's fragment.
    """
    quiet = QuietTracker()
    track = quiet.tracker.track_struct_event
    length = len(orjson.dumps(pairs_of_the_event())) - 1
    for _ in range(events):
        quiet.call()
    found = []
    for longer in range(16):
        label = LABEL + "x" * longer
        before = resident_bytes()
        for _ in range(events):
            track(CATEGORY, ACTION, label, PROPERTY, VALUE)
        found.append((resident_bytes() - before) / events - length - longer)
    os.write(1, orjson.dumps({"bytes": found, "length": length}) + b"\n")
    os._exit(0)  # nobody takes them


def call_cost(lengths: Sequence[int], rounds: int, calls: int) -> dict[str, Any]:
    """Our call with so many events queued: one tracker a length, all in one process, measured in turns.

    Returns:
        ``p50``: a summary in µs a length; ``ratio``: of the last to the first, round by round.
    """
    trackers = []
    for length in lengths:
        quiet = QuietTracker()
        for _ in range(length):
            quiet.call()
        trackers.append(quiet)
    found: list[list[float]] = [[] for _ in lengths]
    for _ in range(rounds):
        for told, quiet in zip(found, trackers, strict=True):
            time_calls(quiet.call, calls // 10)  # what the others did to the processor's caches is not the queue's cost
            told.append(percentiles([sample / US for sample in time_calls(quiet.call, calls)])["p50"])
    ratios = [last / first for first, last in zip(found[0], found[-1], strict=True)]
    result = {"p50": [summary(told) for told in found], "ratio": summary(ratios)}
    os.write(1, orjson.dumps(result) + b"\n")
    os._exit(0)  # a million events that cannot be delivered need no orderly end
