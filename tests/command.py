"""Running ``snowplow-tracker``: in this process, which is quick, or as the program that a user has."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from processes import environment

from snowplow_tracker.cli import run

PROGRAM: Final = [str(Path(sys.executable).with_name("snowplow-tracker"))]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, and what it wrote."""

    status: int
    out: str
    err: str


class Shell:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ended:
        self._capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        return Ended(status, said.out, said.err)


def start_program(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start the program that a user would start, with its output in pipes."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), encoding="utf-8", **options,
    )  # fmt: skip


def run_program(*arguments: str, **options: Any) -> Ended:
    """Run the program to its end."""
    with start_program(*arguments, **options) as process:
        out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


def on_a_terminal(*arguments: str, **env: str | None) -> str:
    """What a command shows on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    changes = {"TERM": "xterm-256color", "NO_COLOR": None, "COLUMNS": "80", **env}
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=theirs, stderr=theirs, env=environment(changes))
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # what Linux says at the end
        while piece := os.read(ours, 65536):
            shown += piece
    process.wait(30)
    os.close(ours)
    return shown.decode()
