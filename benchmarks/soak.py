"""A soak: trackers in several processes against a collector that fails in every way, for as long as you like.

    python -m benchmarks.soak --seconds 120

Threads track, processes fork, and a real local collector answers late, refuses, breaks off, falls silent and restarts.
Each process keeps the ids that its `on_success` and its `on_failure` were given. At the end the ids that the collector
holds must be exactly the delivered ones (and those of a request that it took and did not answer in time, if it refused
the next attempt), every process's `Stats` must add up to them, and the identity of `Stats` must have held at every
sample.

Exits 0 if all of that is so, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from snowplow_tracker import Stats, Tracker
from snowplow_tracker.testing import LocalCollector

REQUEST_TIMEOUT_S: Final = 1.0
RETRY_DELAY_S: Final = 0.5
CLOSE_S: Final = 60.0

WORKERS: Final[tuple[dict[str, Any], ...]] = (
    {"method": "post", "threads": 1, "batch_size": 50},
    {"method": "post", "threads": 3, "batch_size": 7, "overflow": "drop_oldest", "buffer_capacity": 400},
    {"method": "get", "threads": 2, "buffer_capacity": 300},
    {"method": "post", "threads": 1, "overflow": "block", "block_timeout": 0.2, "buffer_capacity": 200},
)
TRACKING_THREADS: Final = 2


# --- a process that tracks -------------------------------------------------------------------------------------


class Worker:
    """One process: threads that track, children that are forked meanwhile, and a thread that samples `Stats`.

    Args:
        url: The collector's.
        folder: Where each process writes the ids it delivered and its last `Stats`.
        seconds: How long to track.
        options: The tracker's.
    """

    def __init__(self, url: str, folder: Path, seconds: float, options: dict[str, Any]) -> None:
        self._folder = folder
        self._ends_at = time.monotonic() + seconds
        self._samples = self._broken = 0
        self._tracker = Tracker.hostname(
            url, on_success=partial(self._note, "delivered"), on_failure=self._note_lost,
            flush_interval=0.05, request_timeout=REQUEST_TIMEOUT_S, max_retry_delay_seconds=RETRY_DELAY_S, **options,
        )  # fmt: skip

    def run(self) -> None:
        """Track until the time is over, deliver the rest, and say what became of it."""
        threads = [threading.Thread(target=self._track) for _ in range(TRACKING_THREADS)]
        threads.append(threading.Thread(target=self._sample))
        for thread in threads:
            thread.start()
        while time.monotonic() < self._ends_at:
            time.sleep(random.uniform(0.2, 1.0))
            self._fork()
        for thread in threads:
            thread.join()
        self._finish()

    def _note(self, outcome: str, events: list[dict[str, str]]) -> None:
        with (self._folder / f"{os.getpid()}.{outcome}").open("a") as file:
            file.writelines(event["eid"] + "\n" for event in events)

    def _note_lost(self, sent: int, events: list[dict[str, str]]) -> None:
        self._note("lost", events)

    def _track(self) -> None:
        while time.monotonic() < self._ends_at:
            for number in range(random.randint(1, 20)):
                self._tracker.track_struct_event("soak", "track", str(os.getpid()), None, number)
            time.sleep(random.uniform(0, 0.03))

    def _sample(self) -> None:
        while time.monotonic() < self._ends_at:
            self._samples += 1
            self._broken += not adds_up(self._tracker.stats())
            time.sleep(0.001)

    def _fork(self) -> None:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        try:
            self._samples = self._broken = 0
            for number in range(20):
                self._tracker.track_struct_event("soak", "track in a child", str(os.getpid()), None, number)
            self._finish()
        finally:
            os._exit(0)

    def _finish(self) -> None:
        self._tracker.close(CLOSE_S)
        said = {**attrs.asdict(self._tracker.stats()), "samples": self._samples, "broken": self._broken}
        (self._folder / f"{os.getpid()}.json").write_text(json.dumps(said))


def adds_up(stats: Stats) -> bool:
    """Whether the identity of `Stats` holds."""
    known = stats.delivered + stats.queued + stats.in_flight + sum(stats.dropped.values())
    return stats.tracked + stats.recovered == known


# --- the collector's moods -------------------------------------------------------------------------------------


class Moods:
    """Changes how the collector behaves, until told to stop; then it is well again."""

    def __init__(self, collector: LocalCollector, seconds: float) -> None:
        self._collector = collector
        self._ends_at = time.monotonic() + seconds
        self.met: Counter[str] = Counter()
        moods: dict[str, Callable[[], None]] = {
            "well": collector.recover,
            "503": lambda: collector.fail(503),
            "429, asks for a second": lambda: collector.fail(429, headers={"Retry-After": "1"}),
            "302": lambda: collector.fail(302, headers={"Location": "https://elsewhere.invalid/"}),
            "slow": lambda: collector.latency(0.2),
            "too slow": lambda: collector.latency(1.5 * REQUEST_TIMEOUT_S),
            "silent": collector.black_hole,
            "breaks off": collector.drop_connection,
            "restarts": self._restart,
            "400 to two requests": lambda: collector.fail(400, times=2),
            "413 to three requests": lambda: collector.fail(413, times=3),
        }
        self._moods = moods

    def run(self) -> None:
        while time.monotonic() < self._ends_at:
            mood = random.choice(list(self._moods))
            self._moods[mood]()
            self.met[mood] += 1
            time.sleep(random.uniform(0.1, 2.0))
            self._collector.recover()

    def _restart(self) -> None:
        self._collector.stop()
        time.sleep(random.uniform(0, 0.5))
        self._collector.start()


# --- the whole -------------------------------------------------------------------------------------------------


def soak(seconds: float, seed: int) -> bool:
    """Run it and print what came out; whether everything agrees."""
    random.seed(seed)
    print(f"seed {seed}, {seconds:g} s, {len(WORKERS)} processes that fork, one collector")
    with tempfile.TemporaryDirectory() as folder, LocalCollector(max_events=10**7, max_bytes=8 * 10**9) as collector:
        moods = Moods(collector, seconds)
        processes = [
            subprocess.Popen([sys.executable, "-m", "benchmarks.soak", "--worker", str(number), "--seconds",
                              str(seconds), "--seed", str(seed + number), "--url", collector.url, "--folder", folder])
            for number in range(len(WORKERS))
        ]  # fmt: skip
        moods.run()
        failed = sum(process.wait() != 0 for process in processes)
        held = Counter(event["eid"] for event in collector.events)
        refused = len(collector.bad)
        delivered, lost = (
            [line for file in Path(folder).glob(f"*.{outcome}") for line in file.read_text().split()]
            for outcome in ("delivered", "lost")
        )
        said = [json.loads(file.read_text()) for file in Path(folder).glob("*.json")]
    return _report(held, refused, delivered, lost, said, failed, moods.met)


def _report(
    held: Counter[str],
    refused: int,
    delivered: list[str],
    lost: list[str],
    said: list[dict[str, Any]],
    failed: int,
    met: Counter[str],
) -> bool:
    total = {name: sum(one[name] for one in said) for name in ("tracked", "delivered", "requests", "retries")}
    dropped = sum((Counter(one["dropped"]) for one in said), Counter())
    checks = {
        "every process ended well": failed == 0,
        "the identity held at every sample": sum(one["broken"] for one in said) == 0,
        "tracked = delivered + dropped": total["tracked"] == total["delivered"] + sum(dropped.values()),
        "nothing was left at the end": dropped["shutdown"] == 0,
        "on_success told of each delivered event once": len(delivered) == len(set(delivered)) == total["delivered"],
        "on_failure told of each once, and of no delivered one": len({*lost, *delivered}) == len(lost) + len(delivered),
        "the collector holds all that was delivered": held.keys() >= set(delivered),
        "and what else it holds was told to be lost": held.keys() <= {*delivered, *lost},
        "the collector found nothing wrong": refused == 0,
    }
    print(f"{len(said)} processes, {sum(one['samples'] for one in said)} samples of stats()")
    print(", ".join(f"{name} {count}" for name, count in total.items()))
    print("dropped:", ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count) or "none")
    print("the collector:", ", ".join(f"{mood} ({times})" for mood, times in met.most_common()))
    print(f"events that came twice, because the first answer was cut off: {sum(held.values()) - len(held)}")
    print(f"events that were taken without an answer, and refused then: {len(held.keys() & set(lost))}")
    for check, true in checks.items():
        print(f"{'ok  ' if true else 'FAIL'} {check}")
    return all(checks.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to track (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="to repeat a run's choices")
    for internal in ("--worker", "--url", "--folder"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker is None:
        return 0 if soak(asked.seconds, asked.seed) else 1
    random.seed(asked.seed)
    Worker(asked.url, Path(asked.folder), asked.seconds, WORKERS[int(asked.worker)]).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
