"""The main job in one command: ``python -m examples.demo``, or ``make demo``.

Three processes: this one, which tells what happens; a collector, which can be taken down; and the game, which ends
without a flush. The collector has a process of its own, so that its work does not show in the game's frames.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from snowplow_tracker import Tracker

ROOT: Final = Path(__file__).resolve().parent.parent
UP_S: Final = 1.5
OUTAGE_S: Final = 2.0
TRACKED_S: Final = UP_S + OUTAGE_S + UP_S
# The same seed for the same time is the same game: what differs between the frames is the tracking.
ALONE_S: Final = TRACKED_S
PATIENCE_S: Final = 17.0
TICK_FRAMES: Final = 6
TOLD_EVERY_S: Final = 0.5
FRAME_BUDGET_MS: Final = 1000 / 60
WIDTH: Final = 78
NAME_WIDTH: Final = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, or one of its parts.

    Returns:
        The exit status: 0 if the numbers add up, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("game", "collector"), help=argparse.SUPPRESS)
    parser.add_argument("url", nargs="?", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part == "game":
        return play(options.url)
    if options.part == "collector":
        return collect()
    return demonstrate()


# --- the collector's process -----------------------------------------------------------------------------------


def collect() -> int:
    """Collect, and obey the lines that come on stdin: ``down``, ``up``, ``report``. Ends with stdin."""
    from snowplow_tracker.testing import LocalCollector

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
    return 0


# --- the game's process ----------------------------------------------------------------------------------------


def play(url: str) -> int:
    """Play twice, without tracking and with it, and end without a flush."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    facts: dict[str, Any] = {}
    # Exit handlers run last in, first out: registered before the package is imported, ours runs after the package's
    # own, so it sees what the end of the process still delivered.
    atexit.register(lambda: report(facts))
    from examples.game import FRAMES_A_SECOND, Game, Nobody, Telemetry, frames, make_tracker

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
    facts.update(
        tracker=tracker, call_ns=telemetry.call_ns, alone=alone, with_tracking=tracked, at_end=counts(tracker),
        ended_at=time.monotonic(),
    )  # fmt: skip
    return 0


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
    """Say the final numbers, if the game came to its end."""
    if not facts:
        return
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


# --- this process ----------------------------------------------------------------------------------------------


def demonstrate() -> int:
    """Start the parts, cut the collector off in the middle, and tell what came of it."""
    screen = _Screen()
    screen.text(
        "A game at 60 frames a second, a Snowplow collector on this machine, and an outage of two seconds in the "
        "middle. It takes about ten seconds."
    )
    try:
        with _Part("collector") as collector:
            url = collector.hear()["url"]
            screen.line(f"The collector listens at {url}, in a process of its own.\n")
            with _Part("game", url) as game, _deadline(game):
                final = _watch(game, collector, screen)
            collected = collector.ask("report")
    except _PartEnded as ended:
        print(f"\n{ended}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    _summarize(final, collected, screen)
    wrong = disagreements(final["final"], collected)
    for sentence in wrong:
        screen.text(f"WRONG: {sentence}", "bad")
    if not wrong:
        screen.line("Everything adds up: tracked = delivered + dropped, delivered = collected.", "good")
        _point_onwards(screen)
    return 1 if wrong else 0


def _watch(game: _Part, collector: _Part, screen: _Screen) -> dict[str, Any]:
    """Follow the game to its end, and take the collector down for a while; what the game said at its end."""
    plan = [(UP_S, "down"), (UP_S + OUTAGE_S, "up")]
    words = {"down": "collector DOWN: port closed, connections cut", "up": "collector UP again"}
    screen.line(f"{0.0:5.1f} s  the game alone, to know what its frames take")
    told_s = TOLD_EVERY_S
    while True:
        fact = game.hear()
        if "final" in fact:
            return fact
        if "alone_at" in fact:
            screen.line(f"{fact['alone_at']:5.1f} s  {fact['frames']} frames")
        if "tracking" in fact:
            screen.line(f"{ALONE_S:5.1f} s  the same game with tracking, collector UP", "good")
        if "log" in fact:
            screen.text(f"log: {fact['log']}", indent=" " * 9)
        if "at" not in fact:
            continue
        if plan and fact["at"] >= plan[0][0]:
            _, order = plan.pop(0)
            collector.ask(order)
            screen.line(f"{ALONE_S + fact['at']:5.1f} s  {words[order]}", "bad" if order == "down" else "good")
        elif fact["at"] >= told_s:
            waiting = fact["queued"] + fact["in_flight"]
            progress = f"tracked {fact['tracked']:5}   delivered {fact['delivered']:5}   waiting {waiting:4}"
            screen.line(f"{ALONE_S + fact['at']:5.1f} s  {progress}")
            told_s += TOLD_EVERY_S


def _summarize(final: dict[str, Any], collected: dict[str, Any], screen: _Screen) -> None:
    numbers, at_end = final["final"], final["at_end"]
    rescued = at_end["queued"] + at_end["in_flight"]
    screen.line(f"{ALONE_S + TRACKED_S:5.1f} s  the game ends without a flush, with {rescued} events still to send\n")
    reasons = ", ".join(f"{count} {reason}" for reason, count in numbers["dropped"].items())
    p50, p99 = final["call_us"]
    twice = collected["good"] - collected["distinct"]
    screen.row("tracked", f"{numbers['tracked']} events, in {final['calls']} calls over {TRACKED_S:g} s")
    screen.row("delivered", f"{numbers['delivered']} in {numbers['requests']} requests")
    screen.row("dropped", f"{sum(numbers['dropped'].values())}{f' ({reasons})' if reasons else ''}")
    screen.row("retries", f"{numbers['retries']} requests repeated, because of the outage")
    screen.row(
        "collected", f"{collected['good']} good, {collected['bad']} bad{f', {twice} came twice' if twice else ''}"
    )
    screen.row("p50", f"{p50:.1f} µs, half of the calls took less")
    screen.row("p99", f"{p99:.1f} µs, 99 of 100 calls took less")
    screen.row("exit", f"{final['exit_s'] * 1000:.0f} ms from the game's last line to everything delivered\n")
    screen.row("frames", f"{'':18}p50        p99    over {FRAME_BUDGET_MS:.1f} ms")
    for name, label in (("alone", "without tracking"), ("with_tracking", "with tracking")):
        frames = final[name]
        late = f"{frames['late']} of {frames['frames']}"
        screen.row("", f"{label:16}{frames['p50']:6.2f} ms  {frames['p99']:6.2f} ms   {late:>12}")
    screen.line("")


def disagreements(numbers: dict[str, Any], collected: dict[str, Any]) -> list[str]:
    """What does not add up, a sentence each.

    Args:
        numbers: From `counts`, after the process's end.
        collected: ``good``, ``distinct``, ``bad`` and ``why_bad``, as the collector reports them.
    """
    tracked, delivered, dropped = numbers["tracked"], numbers["delivered"], sum(numbers["dropped"].values())
    wrong = []
    if tracked == 0:
        wrong.append("nothing was tracked.")
    if tracked != delivered + dropped:
        wrong.append(f"{tracked} events were tracked, but {delivered} delivered + {dropped} dropped.")
    # An answer that is lost in the outage makes an event come again, with the same id: that is still one event.
    if delivered != collected["distinct"]:
        wrong.append(f"{delivered} events were delivered, but the collector has {collected['distinct']}.")
    if numbers["retries"] == 0:
        wrong.append("the tracker did not notice the outage.")
    if collected["bad"]:
        wrong.append(f"the collector refuses {collected['bad']} events: {'; '.join(collected['why_bad'])}")
    return wrong


def _point_onwards(screen: _Screen) -> None:
    screen.line("")
    screen.line("Where to look next:")
    for what, where in (
        ("examples/game.py", "the game, and how it tracks"),
        ("docs/quickstart.md", "your own first event, in five minutes"),
        ("docs/concepts.md", "what is promised about delivery, and what is not"),
    ):
        screen.line(f"  {what:20}{where}")


# --- parts and pipes -------------------------------------------------------------------------------------------


def say(**facts: Any) -> None:
    """Tell the demo something, a line of JSON, written at once."""
    line = (json.dumps(facts) + "\n").encode()
    # One write: the emitter thread logs between the lines of the game. A demo that is gone hears nothing.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, line)


class _PartEnded(Exception):
    """A part of the demo ended before its time."""


class _Part:
    """A process of the demo: it takes lines and says JSON. As a context manager it leaves nothing running."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo", name, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=_environment(), text=True, encoding="utf-8",
        )  # fmt: skip

    def hear(self) -> dict[str, Any]:
        """The next thing it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise _PartEnded(f"The {self._name} ended before its time, with exit status {self.process.wait()}.")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def ask(self, order: str) -> dict[str, Any]:
        """Tell it something, and hear the answer."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{order}\n")
            self.process.stdin.flush()
        return self.hear()

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.process.kill()
        self.process.communicate()


def _environment() -> dict[str, str]:
    """This process's, without what could turn tracking off or send it elsewhere."""
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith("SNOWPLOW_")}
    return {**ours, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@contextlib.contextmanager
def _deadline(part: _Part) -> Iterator[None]:
    """Whatever happens, the demo ends."""
    timer = threading.Timer(PATIENCE_S, part.process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Screen:
    """Writes to the terminal, in colour where there is one that wants it."""

    _COLOURS: Final = {"good": "\x1b[32m", "bad": "\x1b[31m", "": ""}

    def __init__(self) -> None:
        # A terminal that cannot show "µ" shows "?" instead of ending the demo.
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def line(self, text: str, mood: str = "") -> None:
        colour = self._COLOURS[mood] if self._coloured else ""
        print(f"{colour}{text}\x1b[0m" if colour else text, flush=True)

    def text(self, text: str, mood: str = "", indent: str = "") -> None:
        """Prose, in lines that fit."""
        wrapped = textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        for line in wrapped:
            self.line(line, mood)

    def row(self, name: str, value: str) -> None:
        self.line(f"{name:{NAME_WIDTH}}{value}")


if __name__ == "__main__":
    sys.exit(main())
