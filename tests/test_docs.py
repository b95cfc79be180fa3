"""The documentation is true: its Python runs, its links lead somewhere, its tables agree with the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from inspect import signature
from pathlib import Path
from typing import Any

import attrs
import pytest
from processes import ROOT, environment

from snowplow_tracker import Tracker
from snowplow_tracker.outcomes import REASONS
from snowplow_tracker.settings import EmitterSettings
from snowplow_tracker.testing import LocalCollector

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
FRONT_PAGES = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| `([^`]+)` \|", re.MULTILINE)
LOCAL = "http://127.0.0.1:9090"


def program(page: Path) -> str:
    """The Python blocks of a page, one after the other."""
    return "\n".join(BLOCK.findall(page.read_text("utf-8")))


def has_tests(page: Path) -> bool:
    return re.search(r"^def test_", program(page), re.MULTILINE) is not None


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60, env=environment(), check=False
    )


@pytest.mark.parametrize(
    "page", [page for page in PAGES if program(page) and not has_tests(page)], ids=lambda page: page.name
)
def test_the_python_blocks_of_a_page_run_as_they_stand(page: Path) -> None:
    with LocalCollector() as collector:
        assert LOCAL in program(page)
        ended = run_python("-W", "error", "-c", program(page).replace(LOCAL, collector.url))
        assert ended.returncode == 0, ended.stderr
        assert collector.events
        assert collector.bad == []


@pytest.mark.parametrize("page", [page for page in PAGES if has_tests(page)], ids=lambda page: page.name)
def test_the_tests_of_a_page_pass_as_they_stand(page: Path, tmp_path: Path) -> None:
    file = tmp_path / "test_page.py"
    file.write_text(program(page), encoding="utf-8")
    ended = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "setup.cfg"), str(file))
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("page", [*FRONT_PAGES, *PAGES], ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [*FRONT_PAGES, *PAGES], ids=lambda page: page.name)
def test_what_a_page_tells_to_run_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"make ((?:demo|test|lint|bench|docs)[\w-]*)", text)) <= targets
    for module in re.findall(r"python -m ((?:examples|snowplow_tracker)[\w.]*\w)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def tuning() -> dict[str, Any]:
    """The settings that the page lists, with the defaults it gives."""
    rows = ROW.findall((ROOT / "docs" / "tuning.md").read_text("utf-8"))
    return {name: ast.literal_eval(default) for name, default in rows}


def test_the_page_about_settings_lists_every_setting_of_an_emitter_with_its_default() -> None:
    listed, settings = tuning(), EmitterSettings("127.0.0.1")
    actual = {field.name: getattr(settings, field.name) for field in attrs.fields(EmitterSettings)}
    actual["endpoint"] = None
    assert {name: listed.get(name, "not listed") for name in actual} == actual


def test_the_page_about_settings_lists_every_option_of_a_tracker_with_its_default() -> None:
    listed = tuning()
    options = {name: option for name, option in signature(Tracker).parameters.items() if name != "emitters"}
    defaults = {name: None if option.default is option.empty else option.default for name, option in options.items()}
    assert {name: listed.get(name, "not listed") for name in defaults} == defaults


@pytest.mark.parametrize("reason", ["overflow", "too_large", "refused", "expired", "shutdown", "closed", "disabled"])
def test_the_promise_names_every_way_to_lose_an_accepted_event(reason: str) -> None:
    assert reason in REASONS
    assert f"`{reason}`" in (ROOT / "docs" / "concepts.md").read_text("utf-8")


def test_the_picture_is_well_formed_and_says_in_words_what_it_shows() -> None:
    root = ElementTree.parse(ROOT / "docs" / "delivery.svg").getroot()
    text = "".join(root.itertext())
    assert {"title", "desc"} <= {child.tag.rpartition("}")[2] for child in root}
    assert "prefers-color-scheme: dark" in text


def test_the_first_screen_of_the_readme_has_the_example_the_commands_and_the_picture() -> None:
    first = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:40])
    for part in ("from snowplow_tracker import Tracker", "make demo", "make test", "the emitter thread"):
        assert part in first
