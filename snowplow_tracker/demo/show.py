"""The demo itself: starts the parts, cuts the collector off in the middle, and tells what came of it."""

from __future__ import annotations

import sys
from typing import Any, Final

from snowplow_tracker.demo.parts import ALONE_S, FRAME_BUDGET_MS, OUTAGE_S, TRACKED_S, UP_S
from snowplow_tracker.demo.pipes import PACKAGE, Part, PartEnded, deadline
from snowplow_tracker.demo.screen import Screen

PATIENCE_S: Final = 17.0
TOLD_EVERY_S: Final = 0.5


def demonstrate() -> int:
    """Run the demo, about ten seconds.

    Returns:
        The exit status: 0 if the numbers add up, 1 if not, 130 if it was interrupted.
    """
    screen = Screen()
    screen.text(
        "A game at 60 frames a second, a Snowplow collector on this machine, and an outage of two seconds in the "
        "middle. It takes about ten seconds."
    )
    try:
        with Part("collector") as collector:
            url = collector.hear()["url"]
            screen.line(f"The collector listens at {url}, in a process of its own.\n")
            with Part("game", url) as game, deadline(game, PATIENCE_S):
                final = _watch(game, collector, screen)
            collected = collector.ask("report")
    except PartEnded as ended:
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


def _watch(game: Part, collector: Part, screen: Screen) -> dict[str, Any]:
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


def _summarize(final: dict[str, Any], collected: dict[str, Any], screen: Screen) -> None:
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


def _point_onwards(screen: Screen) -> None:
    screen.line("")
    screen.line("Where to look next:")
    for what, where in _IN_A_CLONE if (PACKAGE.parent / "docs" / "quickstart.md").exists() else _INSTALLED:
        screen.line(f"  {what:36}{where}")


_IN_A_CLONE: Final = (
    ("snowplow_tracker/demo/telemetry.py", "how the game tracks"),
    ("docs/quickstart.md", "your own first event, in five minutes"),
    ("docs/concepts.md", "what is promised about delivery"),
)
_INSTALLED: Final = (
    ("snowplow-tracker collector", "see events arrive, one line each"),
    ("snowplow-tracker track struct a b", "send one to it, from another terminal"),
    ("snowplow-tracker --help", "what else there is"),
)
