"""Everything that is measured, in order: which libraries, how often, how much."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import bench_redis
from benchmarks.bench_import import import_once
from benchmarks.run import measure, seconds_to_exit
from benchmarks.sink import SinkControl, SinkProcess

EXIT_EVENTS: Final = 10_000
Found = dict[str, list[Any]]
"""What was measured: the contestant's name to one result a round."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured: rounds (each contestant once a round, in turns), and the amount of work in each."""

    rounds: int
    long_rounds: int
    floor_rounds: int
    calls: int
    call_turns: int
    events: int
    get_events: int
    frames: int
    queue_lengths: tuple[int, ...]
    memory_lengths: tuple[int, ...]
    gil_events: int
    thread_events: int
    import_rounds: int
    redis_rounds: int
    redis_events: int
    outbox_rows: int


FULL: Final = Sizes(
    rounds=5,
    long_rounds=3,
    floor_rounds=40,
    calls=2000,
    call_turns=10,
    events=25_600,
    get_events=3000,
    frames=240,
    queue_lengths=(1000, 10_000, 100_000, 1_000_000),
    memory_lengths=(1000, 25_000, 50_000, 75_000, 100_000),
    gil_events=20_000,
    thread_events=80_000,
    import_rounds=15,
    redis_rounds=3,
    redis_events=bench_redis.EVENTS,
    outbox_rows=1_000_000,
)
QUICK: Final = Sizes(
    rounds=3,
    long_rounds=1,
    floor_rounds=20,
    calls=2000,
    call_turns=5,
    events=12_800,
    get_events=1000,
    frames=240,
    queue_lengths=(1000, 10_000, 100_000, 1_000_000),
    memory_lengths=(1000, 10_000, 50_000),
    gil_events=20_000,
    thread_events=20_000,
    import_rounds=5,
    redis_rounds=1,
    redis_events=20_000,
    outbox_rows=100_000,
)
TINY: Final = Sizes(1, 1, 2, 50, 1, 1200, 50, 30, (100, 1000), (100, 1000), 1200, 1200, 1, 1, 1200, 1500)
"""For the tests: everything runs, and no number means anything."""

SNOWPLOWS: Final = ("ours", "official", "official, tuned")
LIBRARIES: Final = (*SNOWPLOWS, "segment", "posthog", "opentelemetry")


class Suite:
    """Runs the measurements one after the other and keeps what they found.

    Args:
        python: The interpreter of the measured processes.
        sizes: How much.
        peers: Whether the other libraries are there.
    """

    def __init__(self, python: str, sizes: Sizes, *, peers: bool) -> None:
        self.python = python
        self.sizes = sizes
        self.found: dict[str, Any] = {}
        self.all = LIBRARIES if peers else ("ours",)
        self.snowplows = SNOWPLOWS if peers else ("ours",)
        self.two = SNOWPLOWS[:2] if peers else ("ours",)

    def run(self) -> dict[str, Any]:
        """Measure everything."""
        steps: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("floor", self._call_and_floor),
            ("call", self._call),
            ("frames", self._frames),
            ("batch 100", self._batch_of_100),
            ("default batch", self._default_batch),
            ("get", self._get),
            ("memory", self._memory),
            ("queue", self._queue),
            ("gil", self._gil),
            ("exit", self._exit),
            ("import", self._import),
            ("threads", self._threads),
            ("redis", self._redis),
            ("outbox", self._outbox),
        )
        for number, (name, step) in enumerate(steps, 1):
            print(f"[{number:2}/{len(steps)}] {name}", file=sys.stderr, flush=True)
            self.found[name] = step()
        return self.found

    def _measure(self, contestant: str, module: str, function: str, **arguments: Any) -> Any:
        """Run one function of a ``bench_*`` module in a new process, against a new sink."""
        with SinkProcess() as sink:
            return self._against(sink, contestant, module, function, **arguments)

    def _against(self, sink: SinkControl, contestant: str, module: str, function: str, **arguments: Any) -> Any:
        return measure(
            module, function, python=self.python, ours=contestant == "ours", sink_port=sink.port, **arguments
        )

    def _each(self, libraries: tuple[str, ...], turns: int, module: str, function: str, **arguments: Any) -> Found:
        return in_turns(
            turns,
            {
                name: lambda name=name: self._measure(name, module, function, library=name, **arguments)  # type: ignore[misc]
                for name in libraries
            },
        )

    def _call_and_floor(self) -> Any:
        return measure(
            "bench_call",
            "against_floor",
            python=self.python,
            rounds=self.sizes.floor_rounds,
            calls=self.sizes.calls,
        )

    def _call(self) -> Found:
        return self._each(
            self.all,
            self.sizes.rounds,
            "bench_call",
            "latencies",
            rounds=self.sizes.call_turns,
            calls=self.sizes.calls,
        )

    def _frames(self) -> Found:
        return self._each(self.all, self.sizes.long_rounds, "bench_frames", "paced", frames=self.sizes.frames)

    def _batch_of_100(self) -> Found:
        """Every library with batches of 100, and the floors, all in turns."""
        events = self.sizes.events
        contestants: dict[str, Callable[[], Any]] = {
            name: lambda name=name: self._measure(  # type: ignore[misc]
                name, "bench_delivery", "flat_out", library=name, events=events, batch_size=100
            )
            for name in self.all
        }
        for floor in ("honest", "honest, no environment", "physical"):
            contestants[f"{floor} floor"] = lambda floor=floor: self._measure(  # type: ignore[misc]
                floor, "bench_delivery", "floor_flat_out", floor=floor, events=events // 100 * 100
            )
        return in_turns(self.sizes.rounds, contestants)

    def _default_batch(self) -> Found:
        return self._each(self.all, self.sizes.rounds, "bench_delivery", "flat_out", events=self.sizes.events)

    def _get(self) -> Found:
        return self._each(
            self.snowplows,
            self.sizes.long_rounds,
            "bench_delivery",
            "flat_out",
            events=self.sizes.get_events,
            warm_up=100,
            options={"method": "get", "threads": 4},
        )

    def _memory(self) -> Any:
        lengths = list(self.sizes.memory_lengths)
        names = [name for name in self.all if name != "official, tuned"]
        return {
            "lengths": lengths,
            "overhead": measure("bench_queue", "overhead", python=self.python, events=lengths[-1] // 8),
            "found": self._each(tuple(names), self.sizes.long_rounds, "bench_queue", "memory", lengths=lengths),
        }

    def _queue(self) -> Any:
        lengths = list(self.sizes.queue_lengths)
        calls = self.sizes.calls
        found = measure("bench_queue", "call_cost", python=self.python, lengths=lengths, rounds=20, calls=calls)
        return {"lengths": lengths, **found}

    def _gil(self) -> Found:
        return self._each(self.all, self.sizes.long_rounds, "bench_gil", "stretches", events=self.sizes.gil_events)

    def _exit(self) -> Found:
        return in_turns(
            self.sizes.rounds,
            {name: lambda name=name: self._exit_once(name) for name in self.two},  # type: ignore[misc]
        )

    def _exit_once(self, library: str) -> dict[str, Any]:
        with SinkProcess() as sink:
            seconds = seconds_to_exit(
                self.python, ours=library == "ours", library=library, sink_port=sink.port, events=EXIT_EVENTS
            )
            return {"seconds": seconds, "delivered": sink("counts")["events"]}

    def _import(self) -> Found:
        contestants = {name: lambda name=name: import_once(self.python, ours=name == "ours") for name in self.two}  # type: ignore[misc]
        in_turns(1, contestants)  # the first import writes the compiled files
        return in_turns(self.sizes.import_rounds, contestants)

    def _redis(self) -> Found | None:
        """None where redis-server is missing: the suite goes on without."""
        return bench_redis.measure_all(self.sizes.redis_rounds, self.sizes.redis_events, python=self.python)

    def _outbox(self) -> dict[str, Any]:
        """The call with the event's file, and a large file."""
        sizes = self.sizes
        calls = measure(
            "bench_outbox", "calls", python=self.python, rounds=max(1, sizes.floor_rounds // 2), calls=sizes.calls
        )
        rows = measure("bench_outbox", "rows", python=self.python, count=sizes.outbox_rows, claims=3)
        return {"calls": calls, "rows": rows}

    def _threads(self) -> dict[str, Found]:
        sizes, rounds = self.sizes, max(self.sizes.rounds, 1)
        contestants: dict[str, Callable[[], Any]] = {
            f"{name}, {threads}": lambda name=name, threads=threads: self._measure(  # type: ignore[misc]
                name, "bench_threads", "flat_out", library=name, threads=threads, events=sizes.thread_events
            )
            for name in self.two
            for threads in (1, 4)
        }
        for threads in (1, 4):
            contestants[f"sharing nothing, {threads}"] = lambda threads=threads: self._measure(  # type: ignore[misc]
                "ours", "bench_threads", "sharing_nothing", threads=threads, events=sizes.thread_events
            )
        paced = self._each(
            self.two, self.sizes.long_rounds, "bench_threads", "paced", threads=4, frames=math.ceil(sizes.frames / 2)
        )
        return {"flat out": in_turns(rounds, contestants), "paced": paced}


def in_turns(rounds: int, contestants: Mapping[str, Callable[[], Any]]) -> Found:
    """Run each contestant once a round: A B C, A B C, …, so that the machine's moods meet all of them alike."""
    found: Found = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            found[name].append(run())
    return found
