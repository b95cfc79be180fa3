"""docs/migrating.md is true: each line of its tables runs, and what arrives, or is raised, is what the table says."""

from __future__ import annotations

import ast
import builtins
import gc
import json
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from processes import ROOT, wait_until
from schemas import complaints
from servers import WAIT_S

from snowplow_tracker import Emitter, Snowplow, Tracker
from snowplow_tracker.testing import LocalCollector

PAGE = (ROOT / "docs" / "migrating.md").read_text("utf-8")
LOCAL = "http://127.0.0.1:9090"
CODE = re.compile(r"`([^`]+)`")
Row = tuple[str, list[str]]


def parts() -> dict[str, str]:
    """The page's two parts, by title."""
    found = re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def rows(same: bool) -> list[Row]:
    """Every row of the tables of what is the same, or of what differs: its part's title, and its cells."""
    found = []
    for title, text in parts().items():
        for heading, body in re.findall(r"^### (.+)\n((?:(?!^###? ).*\n)*)", text, flags=re.MULTILINE):
            if heading.startswith("The same") is same:
                lines = [line for line in body.splitlines() if line.startswith("| `")]
                found += [(title, [cell.strip() for cell in line.strip("|").split(" | ")]) for line in lines]
    return found


def name(row: Row) -> str:
    return CODE.findall(row[1][0])[0][:60]


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector(check_data=complaints) as running:
        yield running


class Program:
    """What a part of the page has set up, and what its lines then do."""

    def __init__(self, part: str, collector: LocalCollector) -> None:
        self.collector = collector
        self.names: dict[str, Any] = {}
        self.threads = set(threading.enumerate())
        self.run("\n".join(re.findall(r"^```python\n(.*?)^```", parts()[part], re.MULTILINE | re.DOTALL)))
        self.settle()
        collector.reset()

    def run(self, code: str) -> Any:
        """Run lines; the value of the last, if it is an expression."""
        tree = ast.parse(code.replace(LOCAL, self.collector.url).replace(LOCAL[7:], self.collector.url[7:]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "docs/migrating.md", "exec"), self.names)
        return eval(compile(ast.Expression(last.value), "docs/migrating.md", "eval"), self.names) if last else None

    def settle(self) -> None:
        """Have everything delivered that any tracker or emitter holds."""
        for each in self.made():
            assert each.flush()

    def made(self) -> list[Any]:
        """The trackers and emitters that have names, emitters last."""
        found = [*self.names.values(), *Snowplow._trackers.values()]
        return [each for kind in (Tracker, Emitter) for each in found if isinstance(each, kind)]

    def events(self, number: int) -> list[dict[str, Any]]:
        """What has arrived, good."""
        self.settle()
        events = self.collector.wait_for(number, timeout=20)
        assert self.collector.bad == []
        return events

    def close(self) -> None:
        self.settle()
        for each in self.made():
            each.close()
        Snowplow.reset()
        self.names.clear()
        gc.collect()
        # Trackers without a name deliver on their own; their threads must not outlive the collector.
        wait_until(lambda: not self.emitter_threads(), WAIT_S)

    def emitter_threads(self) -> set[threading.Thread]:
        return {thread for thread in set(threading.enumerate()) - self.threads if thread.name == "snowplow-emitter"}


@pytest.fixture
def program(request: pytest.FixtureRequest, collector: LocalCollector) -> Iterator[Program]:
    Snowplow.reset()
    made = Program(request.param, collector)
    yield made
    made.close()


def shown(event: dict[str, Any], key: str) -> Any:
    """A part of an event as the page writes it."""
    if key == "schema":
        return event["data"]["schema"]
    if key == "data":
        return event["data"]["data"]
    if key == "context":
        return event["contexts"][0]["schema"]
    return event.get(key)


SAME, DIFFERENT = rows(same=True), rows(same=False)


@pytest.mark.parametrize(
    ("program", "cells"), [(part, cells) for part, cells in SAME], indirect=["program"], ids=[name(row) for row in SAME]
)
def test_what_is_the_same_is_the_same(program: Program, cells: list[str]) -> None:
    line, expected = CODE.findall(cells[0])[0], cells[1]
    value = program.run(line)
    if expected.startswith("`== "):
        assert value == program.run(expected.strip("`")[3:])
        program.settle()
        return
    wanted = [CODE.findall(event) for event in expected.split(" then ")]
    for event, pairs in zip(program.events(len(wanted)), wanted, strict=True):
        for key, text in (pair.split("=", 1) for pair in pairs):
            assert shown(event, key) == (json.loads(text) if key == "data" else text)


@pytest.mark.parametrize(
    ("program", "cells"),
    [(part, cells) for part, cells in DIFFERENT],
    indirect=["program"],
    ids=[name(row) for row in DIFFERENT],
)
def test_what_differs_raises_what_the_page_says_and_the_new_line_works(program: Program, cells: list[str]) -> None:
    before, now, after, because = cells
    raised = CODE.findall(now)
    if raised:
        with pytest.raises(getattr(builtins, raised[0])):
            program.run(CODE.findall(before)[0])
    program.run(CODE.findall(after)[0])
    program.settle()
    assert program.collector.bad == []
    assert because.endswith(".")


def test_both_parts_have_both_tables() -> None:
    for title in parts():
        assert [row for row in SAME if row[0] == title]
        assert [row for row in DIFFERENT if row[0] == title]


@pytest.mark.parametrize("cells", [row[1] for row in DIFFERENT if row[1][1] == "–"], ids=lambda cells: cells[0][:50])
def test_an_old_line_that_runs_is_no_error(collector: LocalCollector, cells: list[str]) -> None:
    part = next(part for part, found in DIFFERENT if found == cells)
    program = Program(part, collector)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the flat form of 2013
        program.run(CODE.findall(cells[0])[0])
    program.close()
