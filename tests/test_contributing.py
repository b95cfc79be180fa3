"""The worked example of CONTRIBUTING.md, followed in a copy of the repository. Runs in `make test-once`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from processes import ROOT, environment

pytestmark = pytest.mark.once

CHANGED = {
    "CHANGELOG.md",
    "snowplow_tracker/catalogue.py",
    "tests/public_names.txt",
    "tests/strategies.py",
    "tests/test_catalogue.py",
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that git knows, in another place, with the published schemas beside them where there are any."""
    target = tmp_path / "main"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    if (ROOT.parent / "shared").exists():
        (tmp_path / "shared").symlink_to(ROOT.parent / "shared")
    return target


def steps() -> list[str]:
    """What the section tells to write, block by block: the class, two rows of tables, a strategy."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = text.partition("## Adding an event")[2].partition("\n## ")[0]
    return [textwrap.dedent(block) for block in re.findall(r"   ```\w+\n(.*?)   ```", section, re.DOTALL)]


def put(file: Path, text: str, *, before: str, indent: str = "") -> None:
    """Write *text* into a file before the only place, or the first, where it says *before*."""
    source = file.read_text("utf-8")
    assert before in source, f"{file.name} has no {before!r}"
    file.write_text(source.replace(before, textwrap.indent(text, indent) + before, 1), encoding="utf-8")


def run(folder: Path, *arguments: str) -> str:
    env = environment({"PYTHONPATH": str(folder)})
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=300, env=env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def changed(folder: Path) -> set[str]:
    """The files that differ, those that are new included; caches are nobody's change."""
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and "__pycache__" not in name.parts and not name.parts[0].startswith("."):
            original = ROOT / name
            if not original.exists() or path.read_bytes() != original.read_bytes():
                found.add(name.as_posix())
    return found


def test_an_event_is_added_in_the_five_files_that_the_guide_names(copy: Path) -> None:
    kind, least, sent, strategy = steps()
    catalogue, tests = copy / "snowplow_tracker" / "catalogue.py", copy / "tests"
    put(catalogue, "    optional_text,\n    required_text,\n", before="    one_of,\n")
    catalogue.write_text(catalogue.read_text("utf-8").rstrip() + "\n\n\n" + kind, encoding="utf-8")
    put(tests / "test_catalogue.py", "ButtonClick,\n", before="    AddToCart,\n", indent="    ")
    put(tests / "test_catalogue.py", least, before='    LinkClick: {"target_url"', indent="    ")
    put(tests / "test_catalogue.py", sent, before='    (\n        LinkClick("http', indent="    ")
    put(tests / "strategies.py", "ButtonClick,\n", before="    AddToCart,\n", indent="    ")
    put(tests / "strategies.py", strategy, before="    st.builds(AddToCart", indent="    ")
    put(copy / "CHANGELOG.md", "- `ButtonClick`.\n\n", before="### Changed")
    names = run(copy, "tests/test_public_names.py")
    assert "snowplow_tracker.catalogue.ButtonClick.label\n" in names
    (tests / "public_names.txt").write_text(names, encoding="utf-8")

    passed = run(
        copy, "-m", "pytest", "-q", "-p", "no:cacheprovider",
        "tests/test_catalogue.py", "tests/test_public_names.py", "tests/test_layers.py",
    )  # fmt: skip
    assert "passed" in passed
    assert changed(copy) == CHANGED
