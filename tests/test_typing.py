"""Type checkers find a user's mistakes, and nothing to complain about where there is none. Runs in `make test-once`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, environment

pytestmark = pytest.mark.once

TYPING = ROOT / "tests" / "typing"
RIGHT, WRONG = TYPING / "right_uses.py", TYPING / "wrong_uses.py"


def output(*command: str) -> str:
    """What a checker says; it exits with 1 where it finds something."""
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120, env=environment())
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    return ended.stdout


def mypy(file: Path) -> list[tuple[int, str]]:
    """The errors of ``mypy --strict``, as line and message."""
    said = output(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-version=3.10", str(file))
    return [(int(line), text) for line, text in re.findall(rf"{file.name}:(\d+): error: (.*)", said)]


def pyright(file: Path, folder: Path) -> list[tuple[int, str]]:
    """The errors of pyright in strict mode, as line and message."""
    settings: dict[str, Any] = {"include": ["."], "typeCheckingMode": "strict", "pythonVersion": "3.10"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / file.name).write_text(file.read_text("utf-8"), encoding="utf-8")
    said = output(
        sys.executable, "-m", "pyright", "--project", str(folder), "--outputjson", "--pythonpath", sys.executable
    )
    found = json.loads(said)["generalDiagnostics"]
    return [(at["range"]["start"]["line"] + 1, at["message"]) for at in found if at["severity"] == "error"]


def marked_lines() -> list[int]:
    lines = WRONG.read_text("utf-8").splitlines()
    return [number for number, line in enumerate(lines, start=1) if line.endswith("  # wrong")]


def test_mypy_has_nothing_against_a_right_program() -> None:
    assert mypy(RIGHT) == []


def test_pyright_has_nothing_against_a_right_program(tmp_path: Path) -> None:
    assert pyright(RIGHT, tmp_path) == []


def test_mypy_finds_every_mistake_and_nothing_else() -> None:
    found = mypy(WRONG)
    assert sorted({line for line, _ in found}) == marked_lines(), found
    assert len(marked_lines()) > 30


def test_pyright_finds_every_mistake_and_nothing_else(tmp_path: Path) -> None:
    found = pyright(WRONG, tmp_path)
    assert sorted({line for line, _ in found}) == marked_lines(), found
