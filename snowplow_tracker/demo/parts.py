"""The demo's two processes, from inside: a collector that can be taken down, and the game."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from snowplow_tracker import Tracker
from snowplow_tracker.demo.game import FRAMES_A_SECOND, Game, Nobody, frames
from snowplow_tracker.demo.telemetry import Telemetry, make_tracker
from snowplow_tracker.testing import LocalCollector

UP_S: Final = 1.5
OUTAGE_S: Final = 2.0
TRACKED_S: Final = UP_S + OUTAGE_S + UP_S
# The same seed for the same time is the same game: what differs between the frames is the tracking.
ALONE_S: Final = TRACKED_S
TICK_FRAMES: Final = 6
FRAME_BUDGET_MS: Final = 1000 / 60


def say(**facts: Any) -> None:
    """Tell the demo something, a line of JSON, written at once."""
    line = (json.dumps(facts) + "\n").encode()
    # One write: the emitter thread logs between the lines of the game. A demo that is gone hears nothing.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, line)


def collect() -> None:
    """Collect, and obey the lines that come on stdin: ``down``, ``up``, ``report``. Ends with stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the demo ends us
    with LocalCollector() as collector:
        say(url=collector.url)
        for line in sys.stdin:
            if line.strip() == "down":
                collector.stop()
                say(down=True)
            elif line.strip() == "up":
                collector.start()
                say(up=True)
            else:
                ids = [event["eid"] for event in collector.events]
                bad = [str(row) for row in collector.bad]
                say(good=len(ids), distinct=len(set(ids)), bad=len(bad), why_bad=bad[:3])


def play(url: str, last_words: list[Callable[[], None]]) -> None:
    """Play twice, without tracking and with it, and end without a flush.

    Args:
        url: The collector's address.
        last_words: What runs at the end of the process, after the package's own exit handler: it is to say what the
            end still delivered.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_Forwarder()])
    tracker = make_tracker(url)
    telemetry = Telemetry(tracker)
    alone: list[float] = []
    for elapsed_s, work_s in frames(Game(Nobody()), ALONE_S):
        alone.append(work_s)
        if len(alone) % FRAMES_A_SECOND == 0:
            say(alone_at=elapsed_s, frames=len(alone))
    say(tracking=True)
    tracked: list[float] = []
    for elapsed_s, work_s in frames(Game(telemetry), TRACKED_S):
        tracked.append(work_s)
        if len(tracked) % TICK_FRAMES == 1:
            say(at=elapsed_s, **counts(tracker))
    facts: dict[str, Any] = {
        "tracker": tracker, "call_ns": telemetry.call_ns, "alone": alone, "with_tracking": tracked,
        "at_end": counts(tracker), "ended_at": time.monotonic(),
    }  # fmt: skip
    last_words.append(lambda: report(facts))


class _Forwarder(logging.Handler):
    """Sends what the tracker logs to the demo."""

    def emit(self, record: logging.LogRecord) -> None:
        say(log=record.getMessage())


def counts(tracker: Tracker) -> dict[str, Any]:
    """The numbers of `Tracker.stats`, for JSON."""
    stats = tracker.stats()
    names = ("tracked", "delivered", "queued", "in_flight", "requests", "retries")
    return {**{name: getattr(stats, name) for name in names}, "dropped": {k: v for k, v in stats.dropped.items() if v}}


def report(facts: dict[str, Any]) -> None:
    """Say the final numbers."""
    say(
        final=counts(facts["tracker"]),
        at_end=facts["at_end"],
        exit_s=time.monotonic() - facts["ended_at"],
        call_us=percentiles([ns / 1e3 for ns in facts["call_ns"]]),
        calls=len(facts["call_ns"]),
        alone=frame_times(facts["alone"]),
        with_tracking=frame_times(facts["with_tracking"]),
    )


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


def frame_times(work_s: Sequence[float]) -> dict[str, Any]:
    """What the frames' own work took, in milliseconds, and how many took longer than a frame may."""
    work_ms = [seconds * 1e3 for seconds in work_s]
    p50, p99 = percentiles(work_ms)
    return {"frames": len(work_ms), "p50": p50, "p99": p99, "late": sum(ms > FRAME_BUDGET_MS for ms in work_ms)}
