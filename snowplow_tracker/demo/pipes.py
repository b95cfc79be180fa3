"""The demo's two processes, from outside: they take lines and say JSON."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = Path(__file__).resolve().parent.parent

# Python looks for modules in the current folder first, which may be anybody's: the package's own comes last instead.
_FIND_PACKAGE: Final = """
import sys
if sys.path[0] == "":
    del sys.path[0]
sys.path.append(sys.argv[1])
"""
# Exit handlers run last in, first out. Registered before the package is imported, the game's runs after the package's
# own, and sees what the end of the process still delivered.
_PROGRAMS: Final = {
    "collector": f"{_FIND_PACKAGE}from snowplow_tracker.demo.parts import collect; collect()",
    "game": f"""{_FIND_PACKAGE}
import atexit
last_words = []
atexit.register(lambda: [say() for say in last_words])
from snowplow_tracker.demo.parts import play
play(sys.argv[2], last_words)
""",
}


class PartEnded(Exception):
    """A part of the demo ended before its time."""


class Part:
    """A process of the demo: it takes lines and says JSON. As a context manager it leaves nothing running."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAMS[name], str(PACKAGE.parent), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), text=True, encoding="utf-8",
        )  # fmt: skip

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def hear(self) -> dict[str, Any]:
        """The next thing it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PartEnded(f"The {self._name} ended before its time, with exit status {self._process.wait()}.")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def ask(self, order: str) -> dict[str, Any]:
        """Tell it something, and hear the answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{order}\n")
            self._process.stdin.flush()
        return self.hear()

    def __enter__(self) -> Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()


def _environment() -> dict[str, str]:
    """This process's, without what could turn tracking off or send it elsewhere."""
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith("SNOWPLOW_")}
    return {**ours, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@contextlib.contextmanager
def deadline(part: Part, seconds: float) -> Iterator[None]:
    """Whatever happens, the demo ends."""
    timer = threading.Timer(seconds, part.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
