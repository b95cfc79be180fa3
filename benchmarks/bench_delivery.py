"""What delivering takes: CPU an event over all threads, and events a second."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, process_time, thread_time
from typing import Any, Final

from benchmarks import floors
from benchmarks.libraries import open_library
from benchmarks.sink import SinkControl

FLOOR_BATCH: Final = 100


def flat_out(
    library: str,
    sink_port: int,
    events: int,
    batch_size: int | None = None,
    warm_up: int = 1000,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Track *events* as fast as the library takes them, and wait until the sink has counted the last.

    The waiting thread sleeps in one system call and uses no CPU.

    Returns:
        ``cpu_us``: CPU of the whole process, an event; ``call_cpu_us`` and ``rest_cpu_us``: of the tracking thread and
        of all others; ``per_second``: events delivered a second, from the first call to the last event's arrival;
        ``requests``: how many it took.
    """
    sink = SinkControl(sink_port)
    opened = open_library(library, sink.url, batch_size, **(options or {}))
    track = opened.track
    _track_and_arrive(sink, opened.track, opened.hurry, warm_up)
    sink("reset")
    start, cpu, own_cpu = monotonic(), process_time(), thread_time()
    for _ in range(events):
        track()
    own_cpu = thread_time() - own_cpu
    opened.hurry()
    counts = sink.await_events(events)
    assert counts is not None, f"{library}: the events did not arrive"
    return {**_per_event(events, start, process_time() - cpu, own_cpu, counts), "version": opened.version}


def _track_and_arrive(sink: SinkControl, track: Callable[[], Any], hurry: Callable[[], Any], events: int) -> None:
    sink("reset")
    for _ in range(events):
        track()
    hurry()
    assert sink.await_events(events) is not None, "the first events did not arrive"


def _per_event(events: int, start: float, cpu: float, own_cpu: float, counts: dict[str, Any]) -> dict[str, Any]:
    return {
        "cpu_us": cpu / events * 1e6,
        "call_cpu_us": own_cpu / events * 1e6,
        "rest_cpu_us": (cpu - own_cpu) / events * 1e6,
        "per_second": events / (counts["last_at"] - start),
        "requests": counts["requests"],
        "bytes_per_event": counts["bytes"] / events,
    }


def floor_flat_out(floor: str, sink_port: int, events: int) -> dict[str, Any]:
    """The same numbers for a floor, in one thread, 100 events a body: ``physical``, ``honest``, or ``honest, no
    environment``, whose session does not look up the environment for each request."""
    sink = SinkControl(sink_port)
    call, queue = floors.physical_call() if floor == "physical" else floors.honest_call()
    if floor == "physical":
        send: Callable[[bytes], None] = floors.RawSender(sink_port)
    else:
        send = floors.session_sender(sink_port, trust_env=floor == "honest")

    def run(count: int) -> None:
        for _ in range(count // FLOOR_BATCH):
            for _ in range(FLOOR_BATCH):
                call()
            send(floors.body_of(queue, FLOOR_BATCH))

    run(1000)
    sink("reset")
    start, cpu, own_cpu = monotonic(), process_time(), thread_time()
    run(events)
    counts = sink.await_events(events)
    assert counts is not None
    return _per_event(events, start, process_time() - cpu, thread_time() - own_cpu, counts)
