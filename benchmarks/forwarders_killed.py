"""Does anything get lost when forwarders are killed? `kill -9`, again and again, while they deliver.

    python -m benchmarks.forwarders_killed             100,000 events, 3 forwarders, one killed every second

Prints what arrived, and exits 1 if anything was lost. An event may arrive twice when its forwarder died between the
collector's answer and the acknowledgement; then with the same id.
"""

from __future__ import annotations

import argparse
import itertools
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final

from benchmarks.redis_process import RedisProcess
from benchmarks.run import REPOSITORY, environment

FORWARD: Final = "from snowplow_tracker.cli.forward import forward; forward()"
BATCH: Final = 100


class Forwarders:
    """Forwarders as processes; a context manager that ends them.

    Args:
        count: How many.
        arguments: For each, besides the addresses.
    """

    def __init__(self, count: int, redis_url: str, collector_url: str, *arguments: str) -> None:
        addresses = ["--redis", redis_url, "--collector", collector_url, "--batch-size", str(BATCH)]
        self._command = [sys.executable, "-c", FORWARD, *addresses, *arguments]
        self._running = [self._start() for _ in range(count)]
        self.killed = 0

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, cwd=REPOSITORY, env=environment(ours=True), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill_one(self) -> None:
        """Kill one that runs, whatever it is doing, and start another in its place."""
        victim = random.randrange(len(self._running))
        assert self._running[victim].poll() is None, "a forwarder ended by itself"
        self._running[victim].kill()
        self._running[victim].wait()
        self._running[victim] = self._start()
        self.killed += 1

    def __enter__(self) -> Forwarders:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()


def fill(redis_url: str, events: int) -> list[str]:
    """Track *events* into the stream; returns their ids."""
    from snowplow_tracker import Emitter, Tracker
    from snowplow_tracker.redis_stream import RedisStreamTransport

    transport = RedisStreamTransport(redis_url, maxlen=10 * events)
    ids = []
    with Tracker("killed", Emitter(transport=transport, buffer_capacity=events + 1), app_id="bench") as tracker:
        for number in range(events):
            ids.append(tracker.track_struct_event("bench", "track", "number", str(number)).event_id)
        assert tracker.flush(120)
    return ids


def kill_while_delivering(
    events: int,
    *,
    forwarders: int = 3,
    every_s: float = 1.0,
    kills: int | None = None,
    lease_s: float = 2.0,
    latency_s: float = 0.0,
    within_s: float = 600.0,
    tell: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:
    """Deliver *events* while forwarders are killed one after the other.

    Args:
        kills: After how many to leave them alone; None: never.
        latency_s: How slow the collector is, so that more are killed in the middle of a request.

    Returns:
        ``tracked``, ``lost``, ``duplicates``, ``killed``, ``seconds``.
    """
    from snowplow_tracker.testing import LocalCollector

    with RedisProcess() as server, LocalCollector(max_events=4 * events, max_bytes=1 << 34) as collector:
        if latency_s:
            collector.latency(latency_s)
        ids = fill(server.url, events)
        start = monotonic()
        with Forwarders(forwarders, server.url, collector.url, "--lease", str(lease_s)) as running:
            for number in itertools.count():
                sleep(every_s)
                left = server.client.xlen("snowplow")
                tell(f"{monotonic() - start:5.0f} s  {left:,} in the stream, {running.killed} killed")
                if not left or monotonic() > start + within_s:
                    break
                if kills is None or number < kills:
                    running.kill_one()
            killed = running.killed
        arrived = Counter(event["eid"] for event in collector.events)
    return {
        "tracked": len(ids),
        "lost": len(set(ids) - arrived.keys()),
        "duplicates": arrived.total() - len(arrived),
        "killed": killed,
        "seconds": monotonic() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forwarders_killed", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--forwarders", type=int, default=3)
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--latency", type=float, default=0.1, metavar="SECONDS")
    asked = parser.parse_args()
    found = kill_while_delivering(
        asked.events, forwarders=asked.forwarders, every_s=asked.every, latency_s=asked.latency, tell=print
    )
    print(" ".join(f"{name}={round(value, 1)}" for name, value in found.items()))
    sys.exit(found["lost"] > 0)


if __name__ == "__main__":
    main()
