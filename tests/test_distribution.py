"""What a user installs: the two archives hold what they should and nothing else, and work on every Python without it.

`make test-once` runs it; `make dist-check` runs it alone.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from processes import ROOT, environment

from snowplow_tracker import __version__

pytestmark = [pytest.mark.once, pytest.mark.xdist_group("distribution")]

PACKAGES = ("snowplow_tracker/", "snowplowtracker/", "pytest_snowplow_tracker.py")
"""What is installed: every file under these that git knows."""
BESIDE = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "SECURITY.md", "pyproject.toml", "setup.cfg"}
"""What else the source distribution has."""
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
RUN_TIME_DEPENDENCIES = {"attrs", "orjson", "requests", "tenacity"}

USE = """
import sys
import snowplow_tracker, snowplow_tracker.collector, snowplow_tracker.testing, snowplowtracker.tracker
assert "site-packages" in snowplow_tracker.__file__, snowplow_tracker.__file__
with snowplow_tracker.testing.LocalCollector() as collector:
    with snowplowtracker.tracker.Tracker.hostname(collector.url) as tracker:
        assert tracker.track_page_view("https://acme.com/", "Home")
    collector.assert_tracked(e="pv", page="Home", tv="py-" + snowplow_tracker.__version__)
print("delivered", tracker.stats().delivered, "on", "%d.%d" % sys.version_info[:2])
"""


def tracked_files() -> list[str]:
    """The files that git knows and that are there, from the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def packaged_files() -> set[str]:
    return {name for name in tracked_files() if name.startswith(PACKAGES)}


def command(*arguments: str, cwd: Path | None = None) -> str:
    """Run to the end; its output, and a failed test with all of it where the exit status is not 0."""
    clean = environment({"PYTHONPATH": None, "PYTHONDONTWRITEBYTECODE": "1"})
    ended = subprocess.run(arguments, cwd=cwd, capture_output=True, encoding="utf-8", timeout=300, env=clean)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution, built as `make dist` builds them, from the files as they are now."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    command(sys.executable, "-m", "build", "--outdir", str(out), str(source))
    command(sys.executable, "-m", "twine", "check", "--strict", *map(str, out.iterdir()))
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[0]) as archive:
        names = set(archive.namelist())
    info = f"snowplow_event_tracker-{__version__}.dist-info/"
    about = {name.removeprefix(info) for name in names if name.startswith(info)}
    assert {name for name in names if not name.startswith(info)} == packaged_files()
    assert about - {"entry_points.txt"} == {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE", "top_level.txt"}


def test_the_source_distribution_holds_what_a_build_needs_and_no_development_files(
    archives: tuple[Path, Path],
) -> None:
    with tarfile.open(archives[1]) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    generated = {name for name in files if name == "PKG-INFO" or name.startswith("snowplow_event_tracker.egg-info/")}
    assert files - generated == packaged_files() | BESIDE


def test_both_are_typed_and_named_after_the_one_version(archives: tuple[Path, Path]) -> None:
    wheel, sdist = archives
    assert wheel.name == f"snowplow_event_tracker-{__version__}-py3-none-any.whl"
    assert sdist.name == f"snowplow_event_tracker-{__version__}.tar.gz"
    assert {"snowplow_tracker/py.typed", "snowplowtracker/py.typed"} <= packaged_files()
    assert metadata_of(wheel)["Version"] == __version__


def test_a_plain_install_brings_four_libraries_and_says_which_pythons_it_is_for(archives: tuple[Path, Path]) -> None:
    metadata = metadata_of(archives[0])
    plain = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"\W", line)[0] for line in plain} == RUN_TIME_DEPENDENCIES
    assert all(">=" in line for line in plain), "a lower bound each, which `make test-lowest` tries"
    named = [line for line in metadata.get_all("Classifier", []) if line.startswith("Programming Language")]
    assert [line.rpartition(" ")[2] for line in named] == list(VERSIONS)
    assert metadata["License-Expression"] == "Apache-2.0"


def python(version: str) -> str:
    """An interpreter of that version, by name or among those of pyenv."""
    places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for place in filter(None, places):
        asked = [str(place), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if subprocess.run(asked, capture_output=True, encoding="utf-8").stdout.strip() == version:
            return str(place)
    if os.environ.get("CI") == "true":
        pytest.fail(f"Python {version} is missing")
    pytest.skip(f"Python {version} is not installed")


def check_installed(archive: Path, version: str, folder: Path) -> None:
    """Install it into a new environment, see that nothing is missing or too much, and track an event with it."""
    command(python(version), "-m", "venv", str(folder / "venv"))
    inside = str(folder / "venv" / "bin" / "python")
    command(inside, "-m", "pip", "install", "--quiet", str(archive))
    command(inside, "-m", "pip", "check")
    # `-I`: neither this folder nor PYTHONPATH nor the user's own packages can lend it anything.
    assert f"delivered 1 on {version}" in command(inside, "-I", "-c", USE, cwd=folder)
    assert "usage" in command(inside, "-I", "-m", "snowplow_tracker.collector", "--help", cwd=folder).lower()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_installs_and_tracks_on_its_own(archives: tuple[Path, Path], version: str, tmp_path: Path) -> None:
    check_installed(archives[0], version, tmp_path)


def test_the_source_distribution_installs_and_tracks_on_its_own(archives: tuple[Path, Path], tmp_path: Path) -> None:
    check_installed(archives[1], VERSIONS[0], tmp_path)


def test_the_version_has_one_place_and_the_changelog_leads_to_it() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'dynamic = ["version"]' in pyproject
    assert "snowplow_tracker.version.__version__" in pyproject
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert sections[0] in ("Unreleased", __version__)
    assert sections[-1] == "0.1"
