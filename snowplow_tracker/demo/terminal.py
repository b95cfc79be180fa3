"""The game in a terminal: ``python -m examples.game --seconds 20 --collector http://127.0.0.1:9090``."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from typing import Final

from snowplow_tracker import Stats, Tracker
from snowplow_tracker.demo.game import FRAMES_A_SECOND, HEIGHT, WIDTH, Body, Game, frames
from snowplow_tracker.demo.telemetry import Telemetry, make_tracker

DEFAULT_COLLECTOR: Final = "http://127.0.0.1:9090"
COLUMNS: Final = 78
ROWS: Final = 18


def picture(game: Game) -> str:
    """The sector as text: rocks are O, o and ., miners A, crystals *, shots '."""
    field = [[" "] * COLUMNS for _ in range(ROWS)]
    marks: list[tuple[Body, str]] = [(shot, "'") for shot in game.shots]
    marks += [(crystal, "*") for crystal in game.crystals]
    marks += [(rock, " .oO"[rock.size]) for rock in game.rocks]
    marks += [(miner, "A") for miner in game.miners]
    for body, mark in marks:
        field[int(body.y / HEIGHT * ROWS)][int(body.x / WIDTH * COLUMNS)] = mark
    return "\n".join("".join(row) for row in field)


def status(game: Game, stats: Stats) -> str:
    """Where the game is and what became of its events, in one line."""
    return (
        f"sector {game.sector}  score {game.score:<5} credits {game.credits:<5} "
        f"events: {stats.tracked} tracked, {stats.delivered} delivered"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, and deliver what was tracked.

    Returns:
        The exit status: 0 if every event was delivered, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m examples.game", description="Salvage, a game that plays itself.")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to play (%(default)s)")
    parser.add_argument("--collector", default=DEFAULT_COLLECTOR, help="where events go (%(default)s)")
    parser.add_argument("--watch", action="store_true", help="open the collector's page in a browser")
    options = parser.parse_args(arguments)
    if options.watch:
        print(f"The events as they arrive: {options.collector}", flush=True)
        webbrowser.open(options.collector)
    with make_tracker(options.collector) as tracker:
        game = Game(Telemetry(tracker))
        try:
            _show(game, tracker, options.seconds)
        except KeyboardInterrupt:
            print()
    stats = tracker.stats()
    dropped = {reason: count for reason, count in stats.dropped.items() if count}
    print(status(game, stats))
    if dropped:
        print(f"dropped: {', '.join(f'{count} {reason}' for reason, count in dropped.items())}")
        print(f"Does a collector listen at {options.collector}? To start one:")
        print("  python -m snowplow_tracker.collector")
    return 1 if dropped else 0


def _show(game: Game, tracker: Tracker, seconds: float) -> None:
    """Draw ten times a second on a terminal; anywhere else, one line a second."""
    on_terminal = sys.stdout.isatty()
    every = FRAMES_A_SECOND // 10 if on_terminal else FRAMES_A_SECOND
    if on_terminal:
        print("\n" * ROWS)
    for _ in frames(game, seconds):
        if game.frame % every:
            continue
        if on_terminal:
            print(f"\x1b[{ROWS + 1}F{picture(game)}\n\x1b[K{status(game, tracker.stats())}", flush=True)
        else:
            print(status(game, tracker.stats()), flush=True)
