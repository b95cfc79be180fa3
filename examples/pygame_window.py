"""A game in a window: catch the falling snow with the arrow keys, for 30 seconds. Every catch and miss is tracked.

    pip install snowplow-event-tracker pygame
    python -m snowplow_tracker.collector &
    python -m examples.pygame_window

The game loop calls the tracker like any other method, 60 times a second if it must. Close the window at any time, or
stop the collector: neither the frames nor the exit wait, and the last line tells what became of the events.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

import pygame

from snowplow_tracker import Tracker

WIDTH, HEIGHT, FRAMES_A_SECOND = 480, 360, 60
NIGHT, SNOW, SLEDGE = (16, 24, 48), (240, 244, 255), (220, 90, 60)


def make_tracker(collector: str) -> Tracker:
    """``on_invalid="drop"``: in a game that ships, a mistake of ours is counted and never raised at the player."""
    tracker = Tracker.hostname(collector, app_id="snowfall", event_vendor="com.acme", on_invalid="drop")
    return tracker.set_platform("pc").set_viewport(WIDTH, HEIGHT)


class Snowfall:
    """The rules: a flake at a time, and a sledge that should be below it."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.sledge = pygame.Rect(WIDTH // 2 - 40, HEIGHT - 24, 80, 16)
        self.caught = self.missed = 0
        self.flake = self.next_flake()

    def next_flake(self) -> pygame.Rect:
        return pygame.Rect(random.randrange(WIDTH - 12), 0, 12, 12)

    def step(self, direction: int) -> None:
        """One frame: the sledge moves, the flake falls, and what that leads to is tracked."""
        self.sledge.move_ip(direction * 8, 0)
        self.sledge.clamp_ip((0, 0, WIDTH, HEIGHT))
        self.flake.move_ip(0, 4 + self.caught // 5)
        if self.flake.colliderect(self.sledge):
            self.caught += 1
            self.tracker.track_struct_event("snow", "caught", value=self.flake.x)
        elif self.flake.top > HEIGHT:
            self.missed += 1
            self.tracker.track_struct_event("snow", "missed", value=self.flake.x)
        else:
            return
        self.flake = self.next_flake()

    def draw(self, screen: pygame.Surface) -> None:
        screen.fill(NIGHT)
        pygame.draw.rect(screen, SLEDGE, self.sledge, border_radius=6)
        pygame.draw.ellipse(screen, SNOW, self.flake)
        pygame.display.flip()


def play(tracker: Tracker, seconds: float) -> Snowfall:
    """Play until the time is over or the window is closed."""
    screen = pygame.display.set_mode((WIDTH, HEIGHT))
    pygame.display.set_caption("Snowfall")
    game, clock = Snowfall(tracker), pygame.time.Clock()
    tracker.track_screen_view("Snowfall")
    for _ in range(int(seconds * FRAMES_A_SECOND)):
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            break
        keys = pygame.key.get_pressed()
        game.step(keys[pygame.K_RIGHT] - keys[pygame.K_LEFT])
        game.draw(screen)
        clock.tick(FRAMES_A_SECOND)
    tracker.track_unstruct_event("game-over", {"caught$int": game.caught, "missed$int": game.missed})
    return game


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.pygame_window", description="Catch the snow.")
    parser.add_argument("--collector", default="http://127.0.0.1:9090", help="where events go (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to play (%(default)s)")
    options = parser.parse_args(arguments)
    pygame.init()
    with make_tracker(options.collector) as tracker:
        game = play(tracker, options.seconds)
    pygame.quit()
    print(f"caught {game.caught}, missed {game.missed}; {tracker.stats()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
