"""Salvage: a small game that plays itself, and tracks what happens in it.

    python -m examples.game --seconds 20 --collector http://127.0.0.1:9090

A fleet of miners shoots rocks to pieces and picks up the crystals. A cleared sector ends at a station, whose shop sells
better guns. The game knows nothing of Snowplow: it tells a `Listener`, and `Telemetry` is the one that tracks.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:  # the demo registers an exit handler before the package is imported
    from snowplow_tracker import Stats, Tracker

FRAMES_A_SECOND: Final = 60
FRAME_S: Final = 1 / FRAMES_A_SECOND
WIDTH: Final = 960.0
HEIGHT: Final = 540.0
CELL: Final = 60.0
MINERS: Final = 60
ROCKS: Final = 24
COOLDOWN_S: Final = 0.12
SHOT_SPEED: Final = 600.0
LARGEST_ROCK: Final = 3
MAX_GUN: Final = 3
GUN_PRICE: Final = 250
SITE: Final = "https://salvage.example"
DEFAULT_COLLECTOR: Final = "http://127.0.0.1:9090"


class Listener(Protocol):
    """Who wants to know what happens in the game."""

    def screen(self, name: str, screen_id: str) -> None:
        """The player sees another screen."""

    def page(self, path: str, title: str) -> None:
        """The player opens a page of the game's site."""

    def moment(self, category: str, action: str, label: str, detail: str, value: float) -> None:
        """Something small happened, as it does many times a second."""

    def milestone(self, name: str, properties: dict[str, Any]) -> None:
        """Something happened that has properties of its own."""

    def purchase(self, order_id: str, lines: list[dict[str, Any]]) -> None:
        """The player bought something; a line has sku, name, category, price and quantity."""


class Nobody:
    """A listener who does not care."""

    def screen(self, name: str, screen_id: str) -> None: ...

    def page(self, path: str, title: str) -> None: ...

    def moment(self, category: str, action: str, label: str, detail: str, value: float) -> None: ...

    def milestone(self, name: str, properties: dict[str, Any]) -> None: ...

    def purchase(self, order_id: str, lines: list[dict[str, Any]]) -> None: ...


class Telemetry:
    """The listener that tracks; it notes what each call cost its caller, in nanoseconds."""

    def __init__(self, tracker: Tracker) -> None:
        self.call_ns: list[int] = []
        self._tracker = tracker

    def screen(self, name: str, screen_id: str) -> None:
        start = perf_counter_ns()
        self._tracker.track_screen_view(name, screen_id)
        self.call_ns.append(perf_counter_ns() - start)

    def page(self, path: str, title: str) -> None:
        start = perf_counter_ns()
        self._tracker.track_page_view(f"{SITE}{path}", title, SITE)
        self.call_ns.append(perf_counter_ns() - start)

    def moment(self, category: str, action: str, label: str, detail: str, value: float) -> None:
        start = perf_counter_ns()
        self._tracker.track_struct_event(category, action, label, detail, value)
        self.call_ns.append(perf_counter_ns() - start)

    def milestone(self, name: str, properties: dict[str, Any]) -> None:
        start = perf_counter_ns()
        self._tracker.track_unstruct_event(name, properties)
        self.call_ns.append(perf_counter_ns() - start)

    def purchase(self, order_id: str, lines: list[dict[str, Any]]) -> None:
        total = sum(line["price"] * line["quantity"] for line in lines)
        start = perf_counter_ns()
        self._tracker.track_ecommerce_transaction(order_id, "station", total, currency="EUR", items=lines)
        self.call_ns.append(perf_counter_ns() - start)


def make_tracker(collector: str) -> Tracker:
    """The game's tracker. ``event_vendor`` makes milestones self-describing events, ``com.acme/<name>``."""
    from snowplow_tracker import Tracker

    tracker = Tracker.hostname(collector, namespace="client", app_id="salvage", event_vendor="com.acme")
    tracker.set_platform("pc").set_lang("en").set_timezone("Europe/London")
    tracker.set_screen_resolution(1920, 1080).set_viewport(int(WIDTH), int(HEIGHT)).set_color_depth(24)
    return tracker.set_user_id("player-7")


# --- what is in a sector ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Body:
    """Anything that drifts; the edges of a sector are joined."""

    x: float
    y: float
    speed_x: float
    speed_y: float

    def drift(self) -> None:
        self.x = (self.x + self.speed_x * FRAME_S) % WIDTH
        self.y = (self.y + self.speed_y * FRAME_S) % HEIGHT

    def reaches(self, other: Body, distance: float) -> bool:
        return (self.x - other.x) ** 2 + (self.y - other.y) ** 2 < distance * distance


@dataclass(slots=True)
class Rock(Body):
    """It takes *hits* to break, and breaks into smaller ones down to size 1."""

    size: int
    hits: int

    @property
    def radius(self) -> float:
        return 7.0 * self.size


@dataclass(slots=True)
class Miner(Body):
    """One of the fleet."""

    number: int
    cooldown_s: float = 0.0
    hull: int = 100


@dataclass(slots=True)
class Shot(Body):
    """It flies until it hits or *left_s* is over."""

    miner: int
    left_s: float = 1.2


@dataclass(slots=True)
class Crystal(Body):
    """What a broken rock leaves."""

    worth: int


def spread(bodies: Sequence[Any]) -> dict[tuple[int, int], list[Any]]:
    """Sort bodies into square cells, so that only neighbours are looked at."""
    cells: dict[tuple[int, int], list[Any]] = {}
    for body in bodies:
        cells.setdefault((int(body.x // CELL), int(body.y // CELL)), []).append(body)
    return cells


def near(cells: dict[tuple[int, int], list[Any]], body: Body) -> Iterator[Any]:
    """The bodies in the cell of *body* and in those around it."""
    column, row = int(body.x // CELL), int(body.y // CELL)
    for right, down in product((-1, 0, 1), repeat=2):
        yield from cells.get((column + right, row + down), ())


# --- the game --------------------------------------------------------------------------------------------------


class Game:
    """The whole state. The same *seed* plays the same game.

    Args:
        listener: Who is told what happens.
        seed: What all chance comes from.
    """

    def __init__(self, listener: Listener, seed: int = 7) -> None:
        self.listener = listener
        self.sector = self.credits = self.score = self.orders = self.frame = 0
        self.gun = 1
        self.rocks: list[Rock] = []
        self.shots: list[Shot] = []
        self.crystals: list[Crystal] = []
        self._random = random.Random(seed)
        self.miners = [self._miner(number) for number in range(MINERS)]
        listener.screen("Title", "title")
        self._enter_sector()

    def step(self) -> None:
        """One frame."""
        self.frame += 1
        for bodies in (self.rocks, self.miners, self.shots, self.crystals):
            for body in bodies:
                body.drift()
        self._aim_and_shoot()
        self._hit_rocks()
        self._ram_rocks()
        self._pick_up()
        if not self.rocks:
            self._dock()

    # --- sectors and the station

    def _enter_sector(self) -> None:
        self.sector += 1
        self.entered_at = self.frame
        self.rocks = [self._rock(LARGEST_ROCK) for _ in range(ROCKS)]
        self.shots.clear()
        self.listener.screen("Sector", f"sector-{self.sector}")

    def _dock(self) -> None:
        seconds = (self.frame - self.entered_at) * FRAME_S
        lost = sum(miner.hull <= 0 for miner in self.miners)
        self.listener.milestone(
            "sector-cleared",
            {"sector$int": self.sector, "seconds$flt": seconds, "flawless": lost == 0, "guns": ["laser"] * self.gun},
        )
        self.listener.screen("Station", "station")
        self.listener.page(f"/sectors/{self.sector}", f"Sector {self.sector}: the station's log")
        self._shop()
        self.listener.milestone(
            "save-game",
            {"slot": 1, "score": self.score, "saved$ts": int(time.time()), "fleet$int": [m.hull for m in self.miners]},
        )
        self._enter_sector()

    def _shop(self) -> None:
        lines = []
        if self.gun < MAX_GUN and self.credits >= GUN_PRICE:
            self.gun += 1
            self.credits -= GUN_PRICE
            lines.append(_line("gun", f"Laser {self.gun}", "weapons", 4.99, 1))
            self.listener.moment("shop", "add-to-basket", "gun", "pcs", 1)
        repairs = sum(miner.hull < 50 for miner in self.miners)
        if repairs:
            lines.append(_line("repair", "Hull repair", "service", 0.99, repairs))
            self.listener.moment("shop", "add-to-basket", "repair", "pcs", repairs)
            for miner in self.miners:
                miner.hull = 100
        if lines:
            self.orders += 1
            self.listener.purchase(f"order-{self.orders}", lines)

    # --- a frame's parts

    def _aim_and_shoot(self) -> None:
        for miner in self.miners:
            miner.cooldown_s -= FRAME_S
            if miner.cooldown_s > 0:
                continue
            target = min(self.rocks, key=lambda rock: _distance(miner, rock), default=None)
            if target is None:
                return
            miner.cooldown_s = COOLDOWN_S * self._random.uniform(1.0, 1.6)
            angle = math.atan2(target.y - miner.y, target.x - miner.x)
            for barrel in range(self.gun):
                self._shoot(miner, angle + 0.05 * (barrel - (self.gun - 1) / 2))

    def _shoot(self, miner: Miner, angle: float) -> None:
        speed_x, speed_y = SHOT_SPEED * math.cos(angle), SHOT_SPEED * math.sin(angle)
        self.shots.append(Shot(miner.x, miner.y, speed_x, speed_y, miner.number))

    def _hit_rocks(self) -> None:
        cells = spread(self.rocks)
        flying = []
        for shot in self.shots:
            shot.left_s -= FRAME_S
            rock = next((r for r in near(cells, shot) if r.hits > 0 and shot.reaches(r, r.radius)), None)
            if rock is not None:
                self._hit(shot, rock)
            elif shot.left_s > 0:
                flying.append(shot)
        self.shots = flying

    def _hit(self, shot: Shot, rock: Rock) -> None:
        rock.hits -= 1
        self.listener.moment("combat", "hit", f"rock-{rock.size}", f"miner-{shot.miner}", rock.hits)
        if rock.hits > 0:
            return
        self.score += rock.size
        self.rocks.remove(rock)
        self.crystals.append(Crystal(rock.x, rock.y, rock.speed_x / 2, rock.speed_y / 2, 5 * rock.size))
        self.rocks += [self._piece(rock) for _ in range(2) if rock.size > 1]
        self.listener.moment("combat", "break", f"rock-{rock.size}", f"miner-{shot.miner}", rock.size)

    def _ram_rocks(self) -> None:
        cells = spread(self.rocks)
        for miner in self.miners:
            if (self.frame + miner.number) % 15:
                continue
            for rock in near(cells, miner):
                if miner.reaches(rock, rock.radius + 6):
                    self._damage(miner, rock)

    def _damage(self, miner: Miner, rock: Rock) -> None:
        miner.hull -= 4 * rock.size
        if miner.hull > 0:
            self.listener.moment("fleet", "damage", f"miner-{miner.number}", f"rock-{rock.size}", miner.hull)
            return
        self.listener.milestone("miner-lost", {"miner": miner.number, "sector$int": self.sector})
        self.miners[miner.number] = self._miner(miner.number)

    def _pick_up(self) -> None:
        cells = spread(self.miners)
        left = []
        for crystal in self.crystals:
            miner = next((m for m in near(cells, crystal) if crystal.reaches(m, 40)), None)
            if miner is None:
                left.append(crystal)
                continue
            self.credits += crystal.worth
            self.listener.moment("cargo", "pick-up", "crystal", f"miner-{miner.number}", crystal.worth)
        self.crystals = left

    # --- new bodies

    def _rock(self, size: int) -> Rock:
        x, y = self._random.uniform(0, WIDTH), self._random.uniform(0, HEIGHT)
        return Rock(x, y, self._random.uniform(-40, 40), self._random.uniform(-40, 40), size, 2 * size)

    def _piece(self, rock: Rock) -> Rock:
        piece = self._rock(rock.size - 1)
        piece.x, piece.y = rock.x, rock.y
        return piece

    def _miner(self, number: int) -> Miner:
        x, y = self._random.uniform(0, WIDTH), self._random.uniform(0, HEIGHT)
        return Miner(x, y, self._random.uniform(-90, 90), self._random.uniform(-90, 90), number)


def _distance(one: Body, other: Body) -> float:
    return abs(one.x - other.x) + abs(one.y - other.y)


def _line(sku: str, name: str, category: str, price: float, quantity: int) -> dict[str, Any]:
    return {"sku": sku, "name": name, "category": category, "price": price, "quantity": quantity}


# --- the loop --------------------------------------------------------------------------------------------------


def frames(game: Game, seconds: float) -> Iterator[tuple[float, float]]:
    """Play at 60 frames a second.

    Yields:
        After each frame: the seconds since the start, and the seconds that the frame's own work took.
    """
    start = due = perf_counter()
    while (begun := perf_counter()) - start < seconds:
        game.step()
        yield begun - start, perf_counter() - begun
        # A frame that came late is not made up for by hurrying through the next ones.
        due = max(due + FRAME_S, perf_counter())
        time.sleep(due - perf_counter() if due > perf_counter() else 0)


# --- in a terminal ---------------------------------------------------------------------------------------------

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


if __name__ == "__main__":
    sys.exit(main())
