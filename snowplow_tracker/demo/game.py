"""Salvage: a small game that plays itself. It knows nothing of Snowplow: it tells a `Listener` what happens.

A fleet of miners shoots rocks to pieces and picks up the crystals. A cleared sector ends at a station, whose shop sells
better guns.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import Any, Final, Protocol

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
