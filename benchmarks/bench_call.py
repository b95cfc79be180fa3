"""What one `track_struct_event` takes: ``python -m benchmarks.bench_call``.

Beside a floor measured in the same process and interleaved with it (floor, call, floor, call, …): a constant dict
through orjson, appended to a deque under a lock.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

from benchmarks.floors import WIRE_PAIRS, honest_call, physical_call
from benchmarks.libraries import open_library, our_tracker
from benchmarks.samples import histogram, percentiles, summary
from benchmarks.sink import SinkControl

US: Final = 1000
"""Nanoseconds in a microsecond."""
HISTOGRAM_EDGES_US: Final = tuple(round(10 ** (step / 20), 4) for step in range(-10, 81))
"""From 0.3 µs to 10 ms, twenty a decade."""


def time_calls(call: Callable[[], Any], calls: int) -> list[int]:
    """How long each of *calls* took, in nanoseconds, the clock's own reading (about 50 ns) included."""
    now = perf_counter_ns
    samples = []
    for _ in range(calls):
        start = now()
        call()
        samples.append(now() - start)
    return samples


class PairCounter:
    """An emitter by duck-typing: keeps the last event it was given."""

    pairs: dict[str, str]

    def input(self, payload: dict[str, str]) -> None:
        self.pairs = payload

    def flush(self) -> None:
        """There is nothing to send."""


def pairs_of_the_event() -> dict[str, str]:
    """The pairs of the event that the benchmarks track, ``stm`` (added at sending) not among them."""
    from benchmarks import libraries as values

    counter = PairCounter()
    tracker = our_tracker(counter)
    tracker.track_struct_event(values.CATEGORY, values.ACTION, values.LABEL, values.PROPERTY, values.VALUE)
    return counter.pairs


class QuietTracker:
    """Our tracker with its emitter thread stuck in a request that nobody answers: the call, and nothing beside it."""

    def __init__(self, **options: Any) -> None:
        # Connections are made by the system and never accepted here.
        self._black_hole = socket.create_server(("127.0.0.1", 0), backlog=1)
        from benchmarks import libraries as values
        from snowplow_tracker import Emitter

        emitter = Emitter(
            f"127.0.0.1:{self._black_hole.getsockname()[1]}",
            buffer_capacity=values.MANY,
            buffer_bytes=values.MANY * 1000,
            request_timeout=600,
            shutdown_timeout=0,
            **options,
        )
        self.tracker = our_tracker(emitter)
        track = self.tracker.track_struct_event
        arguments = (values.CATEGORY, values.ACTION, values.LABEL, values.PROPERTY, values.VALUE)
        self.call = lambda: track(*arguments)
        tstamp = 1369330909.0
        # What the tracker does where an argument is not the plainest there is: here, the event's own time.
        self.long_call = lambda: track(*arguments, tstamp)

    def forget(self) -> None:
        """Drop what is queued, as if it had been delivered, so that memory is used again as in normal operation."""
        self.tracker.disable()
        self.tracker.enable()


def against_floor(rounds: int, calls: int) -> dict[str, Any]:
    """The call and both floors, interleaved.

    Returns:
        ``floor``, ``honest``, ``call``, ``long call`` (with a ``tstamp``): a summary of each percentile over the
        rounds, in µs; ``ratio``: call to floor, round by round; ``pairs``: how many are on the wire before ``stm``;
        ``clock_us``: what reading the clock takes.
    """
    pairs = len(pairs_of_the_event())
    assert pairs == len(WIRE_PAIRS) == 14, pairs
    floor, floor_queue = physical_call()
    honest, honest_queue = honest_call()
    quiet = QuietTracker()
    contestants = {"floor": floor, "honest": honest, "call": quiet.call, "long call": quiet.long_call}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for call in contestants.values():
        time_calls(call, calls)
    for _ in range(rounds):
        for name, call in contestants.items():
            found[name].append(percentiles([sample / US for sample in time_calls(call, calls)]))
            floor_queue.clear()
            honest_queue.clear()
            quiet.forget()
    summaries: dict[str, Any] = {
        name: {key: summary([one[key] for one in told]) for key in ("p50", "p99", "p99.9")}
        for name, told in found.items()
    }
    ratios = [call["p50"] / base["p50"] for call, base in zip(found["call"], found["floor"], strict=True)]
    clock = percentiles([sample / US for sample in time_calls(lambda: None, calls)])["p50"]
    return {**summaries, "ratio": summary(ratios), "pairs": pairs, "clock_us": clock}


def latencies(library: str, sink_port: int, rounds: int, calls: int) -> dict[str, Any]:
    """A library's call while it delivers to a live sink: *calls* flat out, then quiet until they have arrived.

    Returns:
        Percentiles over all calls in µs, and their histogram over `HISTOGRAM_EDGES_US`.
    """
    sink = SinkControl(sink_port)
    opened = open_library(library, sink.url, 100)
    time_calls(opened.track, calls)
    samples: list[float] = []
    for turn in range(rounds):
        opened.hurry()
        assert sink.await_events(calls * (turn + 1)) is not None, "the events did not arrive"
        samples += [sample / US for sample in time_calls(opened.track, calls)]
    return {
        **percentiles(samples),
        "histogram": histogram(samples, HISTOGRAM_EDGES_US),
        "version": opened.version,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=2000, help="calls a round")
    asked = parser.parse_args()
    found = against_floor(asked.rounds, asked.calls)
    print(f"track_struct_event, {found['pairs']} pairs, {asked.rounds} rounds of {asked.calls} calls, interleaved; µs,")
    print("median of the rounds [least to greatest]\n")
    print(f"{'':16}{'p50':>22}{'p99':>22}{'p99.9':>24}")
    titles = {"floor": "physical floor", "honest": "honest call", "call": "the call", "long call": "with a tstamp"}
    for name, title in titles.items():
        cells = [found[name][key] for key in ("p50", "p99", "p99.9")]
        print(f"{title:16}" + "".join(f"{c['median']:8.2f} [{c['min']:5.2f}-{c['max']:7.2f}]" for c in cells))
    ratio = found["ratio"]
    print(f"\nratio to the floor at p50: {ratio['median']:.2f} [{ratio['min']:.2f} to {ratio['max']:.2f}]; aim: 6")
    print(f"reading the clock, in every number above: {found['clock_us']:.3f} µs")


if __name__ == "__main__":
    main()
