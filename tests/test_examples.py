"""Every example runs as a user would run it, and what it sends is good."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, environment

from snowplow_tracker.demo.game import FRAMES_A_SECOND, Game, Nobody, frames
from snowplow_tracker.demo.telemetry import make_tracker
from snowplow_tracker.demo.terminal import picture
from snowplow_tracker.testing import LocalCollector

NOBODY_LISTENS = "http://127.0.0.1:1"
SCORES = "player,level,score,played_at\np1,3,100,1763900000\np2,4,250,1763900060.5\n"


def run_example(
    name: str, *arguments: str, stdin: str = "", changes: dict[str, str | None] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"examples.{name}", *arguments]
    return subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, encoding="utf-8", timeout=60, env=environment(changes)
    )


class Notes(Nobody):
    """Counts what a game tells, by the method it tells it with."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def screen(self, name: str, screen_id: str) -> None:
        self.counted["screen"] += 1

    def page(self, path: str, title: str) -> None:
        self.counted["page"] += 1

    def moment(self, category: str, action: str, label: str, detail: str, value: float) -> None:
        self.counted["moment"] += 1

    def milestone(self, name: str, properties: dict[str, Any]) -> None:
        self.counted["milestone"] += 1

    def purchase(self, order_id: str, lines: list[dict[str, Any]]) -> None:
        self.counted["purchase"] += 1


def played(game_seconds: int) -> tuple[Game, Notes]:
    notes = Notes()
    game = Game(notes)
    for _ in range(game_seconds * FRAMES_A_SECOND):
        game.step()
    return game, notes


def test_every_kind_of_event_comes_from_five_seconds_of_the_game() -> None:
    _, notes = played(5)
    assert set(notes.counted) == {"screen", "page", "moment", "milestone", "purchase"}


def test_the_same_seed_plays_the_same_game() -> None:
    one, other = played(3), played(3)
    assert one[1].counted == other[1].counted
    assert picture(one[0]) == picture(other[0])


def test_a_game_can_be_played_for_a_long_time() -> None:
    game, _ = played(30)
    assert game.sector > 5
    assert len(game.shots) + len(game.crystals) < 5000


def test_the_loop_ends_when_its_time_is_over_and_times_every_frame() -> None:
    played_frames = list(frames(Game(Nobody()), 0.3))
    assert 1 <= len(played_frames) <= 0.3 * FRAMES_A_SECOND + 1
    assert all(0 <= at_s < 0.3 and work_s > 0 for at_s, work_s in played_frames)


def test_what_the_game_tracks_is_what_the_collector_takes() -> None:
    with LocalCollector() as collector:
        ended = run_example("game", "--seconds", "3", "--collector", collector.url)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert collector.bad == []
        last = ended.stdout.splitlines()[-1]
        assert f"{len(collector.events)} tracked, {len(collector.events)} delivered" in last


def test_a_watched_game_opens_the_collectors_page_and_prints_its_address(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    os.chmod(browser, 0o755)
    with LocalCollector() as collector:
        arguments = ("--seconds", "0.5", "--collector", collector.url, "--watch")
        ended = run_example("game", *arguments, changes={"BROWSER": f"{browser} %s"})
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"The events as they arrive: {collector.url}\n")
    assert (tmp_path / "opened").read_text() == f"{collector.url}\n"


def test_a_game_without_a_collector_plays_on_and_says_what_was_lost() -> None:
    ended = run_example("game", "--seconds", "0.5", "--collector", NOBODY_LISTENS)
    assert ended.returncode == 1
    assert "shutdown" in ended.stdout
    assert "python -m snowplow_tracker.collector" in ended.stdout
    assert ended.stderr == ""


def test_the_games_tracker_describes_its_player() -> None:
    with LocalCollector() as collector, make_tracker(collector.url) as tracker:
        tracker.track_screen_view("Title")
        tracker.flush()
        collector.assert_tracked(p="pc", aid="salvage", uid="player-7", res="1920x1080", lang="en")


def test_the_quickstart_shows_what_arrived() -> None:
    ended = run_example("quickstart")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("arrived: ") == 4
    assert "tracked 4, delivered 4, dropped 0" in ended.stdout


def test_the_batch_script_tracks_every_line_at_its_own_time() -> None:
    with LocalCollector() as collector:
        ended = run_example("batch_script", "-", "--collector", collector.url, stdin=SCORES)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "tracked 2, delivered 2, dropped 0" in ended.stdout
        collector.assert_tracked(uid="p1", dtm="1763900000000", data={"level": 3, "score": 100})
        collector.assert_tracked(uid="p2", dtm="1763900060500", data={"level": 4, "score": 250})


@pytest.mark.parametrize("line", ["p3,x,1,1763900000", "p3,1,1,1763900000000", "p3,1,1,-1", "p3,1", ",1,1,1763900000"])
def test_the_batch_script_tells_of_a_line_that_it_cannot_use_and_goes_on(line: str) -> None:
    with LocalCollector() as collector:
        ended = run_example("batch_script", "-", "--collector", collector.url, stdin=f"{SCORES}{line}\n")
        assert ended.returncode == 1
        assert "line 4 is not usable: " in ended.stderr
        assert "tracked 2, delivered 2, dropped 0, lines not usable 1" in ended.stdout


def test_the_batch_script_fails_when_events_did_not_arrive() -> None:
    ended = run_example("batch_script", "-", "--collector", NOBODY_LISTENS, "--patience", "0.2", stdin=SCORES)
    assert ended.returncode == 1
    assert "delivered 0, dropped 2" in ended.stdout


def test_the_unit_tests_that_a_user_may_copy_pass() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "setup.cfg", "examples/test_shop.py"],
        cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60, env=environment(),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "4 passed" in ended.stdout
