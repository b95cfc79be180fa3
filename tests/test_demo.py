"""The main job ends by itself, with numbers that agree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import PROGRAM
from processes import environment

from snowplow_tracker.demo.show import disagreements


def played(folder: Path) -> subprocess.CompletedProcess[str]:
    """The demo as an installed program, in a folder whose modules are not those it wants."""
    for name in ("random", "json", "snowplow_tracker"):
        (folder / f"{name}.py").write_text("raise SystemExit('this is not the module you are looking for')")
    return subprocess.run(
        [*PROGRAM, "demo"],
        cwd=folder, capture_output=True, encoding="utf-8", timeout=60, check=False,
        env=environment({"PYTHONIOENCODING": "utf-8"}),
    )  # fmt: skip


def first_number(text: str) -> float:
    return float(re.match(r"[0-9.]+", text)[0])  # type: ignore[index]


def test_the_demo_survives_its_outage_tells_of_it_and_ends_with_numbers_that_agree(tmp_path: Path) -> None:
    # One test, since it takes ten seconds.
    ended = played(tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "Everything adds up" in ended.stdout

    down, up = ended.stdout.index("collector DOWN"), ended.stdout.index("collector UP again")
    assert down < ended.stdout.index("is lost") < up

    rows = (re.match(r"(\w+) +(.*)", line) for line in ended.stdout.splitlines())
    said = {row[1]: row[2] for row in rows if row}
    tracked, delivered, dropped = (first_number(said[name]) for name in ("tracked", "delivered", "dropped"))
    assert tracked == delivered + dropped > 0
    assert "0 bad" in said["collected"]
    assert first_number(said["collected"]) >= delivered
    assert first_number(said["retries"]) > 0
    assert 0 < first_number(said["p50"]) <= first_number(said["p99"])

    assert "\x1b" not in ended.stdout, "colours where there is no terminal"
    assert [line for line in ended.stdout.splitlines() if len(line) > 80] == []


NUMBERS: dict[str, Any] = {"tracked": 10, "delivered": 8, "dropped": {"overflow": 2}, "retries": 3}
COLLECTED: dict[str, Any] = {"good": 8, "distinct": 8, "bad": 0, "why_bad": []}


def test_numbers_that_agree_bring_no_complaint() -> None:
    assert disagreements(NUMBERS, COLLECTED) == []


def test_an_event_whose_answer_was_lost_came_twice_and_is_one_event() -> None:
    assert disagreements(NUMBERS, {**COLLECTED, "good": 9}) == []


@pytest.mark.parametrize(
    ("numbers", "collected", "complaint"),
    [
        ({"tracked": 11}, {}, "11 events were tracked, but 8 delivered + 2 dropped"),
        ({}, {"good": 7, "distinct": 7}, "8 events were delivered, but the collector has 7"),
        ({}, {"bad": 1, "why_bad": ["no e"]}, "refuses 1 events: no e"),
        ({"retries": 0}, {}, "did not notice the outage"),
        ({"tracked": 0, "delivered": 0, "dropped": {}}, {"good": 0, "distinct": 0}, "nothing was tracked"),
    ],
)
def test_each_disagreement_is_a_sentence_of_its_own(
    numbers: dict[str, Any], collected: dict[str, Any], complaint: str
) -> None:
    (sentence,) = disagreements({**NUMBERS, **numbers}, {**COLLECTED, **collected})
    assert complaint in sentence
