"""The documentation is true: its Python runs, its links lead somewhere, its tables agree with the code.

The pages about web frameworks run in `make test-once`, which has the frameworks; so does the building of the site.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import urllib.request
import xml.etree.ElementTree as ElementTree
from inspect import signature
from pathlib import Path
from typing import Any

import attrs
import pytest
from processes import ROOT, environment, wait_until

from snowplow_tracker import Tracker
from snowplow_tracker.outcomes import REASONS
from snowplow_tracker.settings import EmitterSettings
from snowplow_tracker.testing import LocalCollector

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FRONT_PAGES = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| `([^`]+)` \|", re.MULTILINE)
LOCAL = "http://127.0.0.1:9090"
NEED_A_FRAMEWORK = ("django.md", "fastapi.md", "flask.md")


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


def pages_with_tests() -> list[Any]:
    pages = [page for page in PAGES if has_tests(page)]
    return [pytest.param(page, marks=[pytest.mark.once] * (page.name in NEED_A_FRAMEWORK)) for page in pages]


@pytest.mark.parametrize("page", pages_with_tests(), ids=lambda page: page.name)
def test_the_tests_of_a_page_pass_as_they_stand(page: Path, tmp_path: Path) -> None:
    with LocalCollector() as collector:
        file = tmp_path / "test_page.py"
        file.write_text(program(page).replace(LOCAL, collector.url), encoding="utf-8")
        ended = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "setup.cfg"), str(file))
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"\b[1-9]\d* passed", ended.stdout)


@pytest.mark.once
@pytest.mark.parametrize(
    ("page", "server", "port", "ready"),
    [
        ("flask.md", "gunicorn", "--bind=127.0.0.1:0", "Booting worker"),
        ("fastapi.md", "uvicorn", "--port=0", "startup complete"),
    ],
)
def test_the_command_of_a_page_serves_its_application(
    page: str, server: str, port: str, ready: str, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    command = re.findall(rf"`({server} [^`]+)` serves it", text)[0]
    log = tmp_path / "log"
    with LocalCollector() as collector, log.open("wb") as stream:
        (tmp_path / "app.py").write_text(BLOCK.findall(text)[0].replace(LOCAL, collector.url), encoding="utf-8")
        arguments = [sys.executable, "-m", *shlex.split(command), port]
        with subprocess.Popen(arguments, cwd=tmp_path, stdout=stream, stderr=stream, env=environment()) as process:
            try:
                wait_until(lambda: ready in log.read_text("utf-8"), 60, f"{server} to be ready")
                address = re.findall(r"(?:Listening at:|running on) (http://\S+)", log.read_text("utf-8"))[0]
                asked = urllib.request.Request(f"{address}/orders/sword", method="POST", headers={"X-User": "user-1"})
                with urllib.request.urlopen(asked, timeout=60) as answer:
                    assert answer.status == 201
            finally:
                process.terminate()
        collector.assert_tracked(e="se", se_la="sword", uid="user-1", p="srv")


def without_ids(text: str) -> list[list[str]]:
    """The words of each line, whatever their columns, without event ids."""
    return [re.sub(r"\b[0-9a-f]{8}-\S+", "id", line).split() for line in text.splitlines()]


def test_the_quickstart_works_word_for_word(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "quickstart.md").read_text("utf-8")
    assert "    python -m snowplow_tracker.collector\n" in text
    seen, refused = re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    printed = tmp_path / "collector"
    command = [sys.executable, "-u", "-m", "snowplow_tracker.collector", "--port", "0"]
    with (
        printed.open("wb") as stream,
        subprocess.Popen(command, cwd=ROOT, stdout=stream, env=environment()) as collector,
    ):
        try:
            wait_until(lambda: "http://" in printed.read_text("utf-8"), 20, "the collector's address")
            address = printed.read_text("utf-8").split()[0]
            ended = run_python("-W", "error", "-c", program(ROOT / "docs" / "quickstart.md").replace(LOCAL, address))
            lines = [line for line in without_ids(seen) if line]
            wait_until(lambda: without_ids(printed.read_text("utf-8"))[1:] == lines, 20, f"{lines}")
        finally:
            collector.terminate()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["FlushResult(delivered=3, dropped=0, remaining=0)", "3", refused.strip()]


@pytest.mark.once
def test_the_site_is_built_without_a_warning_and_asks_nobody_else() -> None:
    # Strict: a warning is an exit status.
    ended = subprocess.run(["make", "docs"], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=400, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    loading = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=[\"']?https?://[^>]*>")
    pages = {page.name: loading.findall(page.read_text("utf-8")) for page in (ROOT / "site").rglob("*.html")}
    assert len(pages) > 20
    assert {name: found for name, found in pages.items() if found} == {}


def test_every_page_is_in_the_sites_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert re.search(rf"^ +- (?:[^#:]+: )?{re.escape(name)}$", navigation, re.MULTILINE), (
            f"{name} is not in mkdocs.yml"
        )


@pytest.mark.parametrize("page", [*FRONT_PAGES, *PAGES], ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [*FRONT_PAGES, *PAGES], ids=lambda page: page.name)
def test_what_a_page_tells_to_run_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"make ((?:audit|bench|demo|dist|docs|lint|test)[\w-]*)", text)) <= targets
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
