"""The way by a Redis Stream: what adding takes in a tracker's process, and how fast 1, 2 and 4 forwarders drain it.

python -m benchmarks.bench_redis             needs redis-server; the rest of the benchmarks does without
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from time import monotonic, process_time, sleep, thread_time
from typing import Any, Final

from benchmarks.redis_process import RedisProcess, installed_program
from benchmarks.run import command, environment, measure
from benchmarks.samples import shown, summary
from benchmarks.sink import SinkProcess

FORWARDERS: Final = (1, 2, 4)
EVENTS: Final = 50_000
MISSING: Final = "redis-server is not installed: the way by Redis is not measured"


def add(redis_url: str, events: int, warm_up: int = 1000) -> dict[str, Any]:
    """Track *events* into a stream as fast as the tracker takes them.

    Returns:
        ``per_second``, ``cpu_us``, ``call_cpu_us``, ``rest_cpu_us``, as `bench_delivery.flat_out`.
    """
    from benchmarks.libraries import ACTION, CATEGORY, LABEL, MANY, PROPERTY, VALUE, our_tracker
    from snowplow_tracker import Emitter
    from snowplow_tracker.redis_stream import RedisStreamTransport

    transport = RedisStreamTransport(redis_url, maxlen=MANY)
    emitter = Emitter(transport=transport, buffer_capacity=MANY, buffer_bytes=MANY * 1000)
    track = our_tracker(emitter).track_struct_event
    for _ in range(warm_up):
        track(CATEGORY, ACTION, LABEL, PROPERTY, VALUE)
    assert emitter.flush(60)
    start, cpu, own_cpu = monotonic(), process_time(), thread_time()
    for _ in range(events):
        track(CATEGORY, ACTION, LABEL, PROPERTY, VALUE)
    own_cpu = thread_time() - own_cpu
    assert emitter.flush(300)
    seconds, cpu = monotonic() - start, process_time() - cpu
    emitter.close()
    return {
        "cpu_us": cpu / events * 1e6,
        "call_cpu_us": own_cpu / events * 1e6,
        "rest_cpu_us": (cpu - own_cpu) / events * 1e6,
        "per_second": events / seconds,
    }


def forward(redis_url: str, sink_port: int) -> dict[str, Any]:
    """Wait for the starting signal in Redis, then forward until the stream is empty."""
    import redis

    from snowplow_tracker.forwarder import Forwarder
    from snowplow_tracker.redis_stream import RedisStreamStore

    client = redis.Redis.from_url(redis_url)
    forwarder = Forwarder(RedisStreamStore(redis_url), f"http://127.0.0.1:{sink_port}", once=True)
    client.incr("ready")
    assert client.blpop(["go"], timeout=60), "no signal came"
    start, cpu = monotonic(), process_time()
    stats = forwarder.run(lambda progress: None)
    return {"started_at": start, "delivered": stats.delivered, "cpu_s": process_time() - cpu}


def drained_by(forwarders: int, events: int, *, python: str = sys.executable) -> dict[str, Any]:
    """Fill a stream in one process, then drain it with so many others.

    Returns:
        ``add``: see `add`; ``per_second``: from the first forwarder's start to the last event's arrival; ``cpu_us``:
        what the forwarders used, an event; ``shares``: which part of the events each delivered;
        ``bytes_per_event``: what Redis needs for one in the stream.
    """
    with RedisProcess() as server, SinkProcess() as sink:
        added = measure("bench_redis", "add", python=python, redis_url=server.url, events=events, warm_up=0)
        size = server.client.memory_usage("snowplow", samples=0) / events
        arguments = command(python, "bench_redis", "forward", redis_url=server.url, sink_port=sink.port)
        env = environment(ours=True)
        running = [subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, text=True) for _ in range(forwarders)]
        while int(server.client.get("ready") or 0) < forwarders:
            assert all(process.poll() is None for process in running), "a forwarder ended before it began"
            sleep(0.01)
        server.client.rpush("go", *range(forwarders))
        counts = sink.await_events(events, timeout_s=300)
        assert counts is not None, "not all events arrived"
        told = [json.loads(process.communicate(timeout=60)[0].splitlines()[-1]) for process in running]
    return {
        "add": added,
        "bytes_per_event": size,
        "per_second": events / (counts["last_at"] - min(one["started_at"] for one in told)),
        "cpu_us": sum(one["cpu_s"] for one in told) / events * 1e6,
        "shares": [one["delivered"] / events for one in told],
    }


def measure_all(
    rounds: int, events: int, *, python: str = sys.executable, forwarders: Sequence[int] = FORWARDERS
) -> dict[str, list[Any]] | None:
    """All of it, in turns; None, and a line that says so, where no server is installed."""
    if installed_program() is None:
        print(MISSING, file=sys.stderr, flush=True)
        return None
    found: dict[str, list[Any]] = {str(count): [] for count in forwarders}
    for _ in range(rounds):
        for count in forwarders:
            found[str(count)].append(drained_by(count, events, python=python))
    return found


def markdown(found: dict[str, list[Any]] | None) -> str:
    """A table of what was measured."""
    if found is None:
        return MISSING
    added = [one["add"] for rounds in found.values() for one in rounds]
    lines = [
        f"Adding, in the tracker's process: {shown(summary([one['per_second'] for one in added]), '/s', 0)}; "
        f"CPU an event {shown(summary([one['cpu_us'] for one in added]), 'µs', 1)}, of that the emitter thread "
        f"{shown(summary([one['rest_cpu_us'] for one in added]), 'µs', 1)}. In Redis an event takes "
        f"{shown(summary([one['bytes_per_event'] for rounds in found.values() for one in rounds]), 'B', 0)}.",
        "",
        "| forwarders | events/s | against one | CPU an event, all forwarders |",
        "|---:|---:|---:|---:|",
    ]
    first = [one["per_second"] for one in next(iter(found.values()))]
    for count, rounds in found.items():
        rates = [one["per_second"] for one in rounds]
        ratio = summary([rate / alone for rate, alone in zip(rates, first, strict=True)])
        cpu = summary([one["cpu_us"] for one in rounds])
        lines.append(f"| {count} | {shown(summary(rates), '/s', 0)} | {shown(ratio, '×')} | {shown(cpu, 'µs', 1)} |")
    return "\n".join(lines)


def main() -> None:
    print(f"{os.cpu_count()} cores, shared by the trackers, Redis, the forwarders and the sink")
    print(markdown(measure_all(3, EVENTS)))


if __name__ == "__main__":
    main()
