"""The official package has the same import name: whoever has both is told so, and what to write."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, environment

METADATA = [
    "snowplow_tracker-1.1.0.dist-info",
    "snowplow_tracker-0.8.0.egg-info",
    "snowplow_tracker-0.10.0-py3.11.egg-info",
]
OTHERS = ["snowplow_event_tracker-1.0.0.dist-info", "snowplow_tracker_extras-1.0.dist-info", "snowplow_tracker-notes"]


def installed(into: Path, *metadata: str) -> Path:
    """A directory with our package, as pip would fill it, and the metadata of others."""
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("snowplow_tracker", "snowplowtracker"):
        shutil.copytree(ROOT / package, into / package, ignore=ignored)
    return with_metadata(into, *metadata)


def with_metadata(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).mkdir(parents=True)
    return directory


def imported(module: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """What a fresh Python says to an import, with directories in front of its path."""
    program = f"import sys; sys.path[:0] = {[str(each) for each in path]!r}; import {module}; print('imported')"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=path[0], capture_output=True, encoding="utf-8", timeout=60, env=environment(), check=False,
    )  # fmt: skip


@pytest.mark.parametrize("metadata", METADATA)
def test_both_in_one_directory_is_an_error_that_says_what_to_write(tmp_path: Path, metadata: str) -> None:
    ended = imported("snowplow_tracker", installed(tmp_path, metadata))
    assert ended.returncode == 1
    message = ended.stderr.splitlines()[-1]
    assert message.startswith(f"ImportError: the official package, snowplow-tracker {metadata.split('-')[1][:3]}")
    assert str(tmp_path) in message
    assert "pip uninstall snowplow-tracker snowplow-event-tracker" in message
    assert message.endswith("pip install snowplow-event-tracker")


def test_the_import_path_of_2013_says_so_even_where_the_official_files_came_last(tmp_path: Path) -> None:
    installed(tmp_path, METADATA[0])
    (tmp_path / "snowplow_tracker" / "__init__.py").write_text("class Tracker: ...", encoding="utf-8")
    ended = imported("snowplowtracker", tmp_path)
    assert "ImportError: the official package, snowplow-tracker 1.1.0" in ended.stderr


def test_both_in_different_directories_is_a_warning_at_the_line_that_imports(tmp_path: Path) -> None:
    ours = installed(tmp_path / "ours")
    theirs = with_metadata(tmp_path / "theirs", METADATA[0])
    ended = imported("snowplow_tracker", ours, theirs)
    assert ended.stdout == "imported\n"
    assert "<string>:1: RuntimeWarning: the official package, snowplow-tracker 1.1.0, is installed too" in ended.stderr
    assert str(theirs) in ended.stderr
    assert ended.stderr.rstrip().endswith("pip uninstall snowplow-tracker")


def test_other_packages_and_a_path_with_holes_are_nothing_to_talk_about(tmp_path: Path) -> None:
    ours = installed(tmp_path / "ours", *OTHERS)
    a_file = tmp_path / "library.zip"
    a_file.write_bytes(b"")
    ended = imported("snowplow_tracker, snowplowtracker", ours, tmp_path / "nowhere", a_file)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "imported\n", "")
