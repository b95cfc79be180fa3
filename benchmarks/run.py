"""Starting measured processes, and interleaving them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
_MEASURED: Final = Path(__file__).resolve().parent / "measured.py"
_TIMEOUT_S: Final = 600


class MeasuredProcessFailed(RuntimeError):
    """A measured process ended with an error; the message has what it wrote."""


def command(python: str, module: str, function: str, **arguments: Any) -> list[str]:
    """The command line of a measured process."""
    return [python, str(_MEASURED), module, function, json.dumps(arguments)]


def environment(*, ours: bool) -> dict[str, str]:
    """The environment variables of a measured process: only *ours* sees this repository's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("PYTHON", "SNOWPLOW"))}
    kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
    # The peers' environment has the official package, of which ours warns.
    own = {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore::RuntimeWarning"}
    return {**kept, **(own if ours else {})}


def measure(module: str, function: str, *, python: str = sys.executable, ours: bool = True, **arguments: Any) -> Any:
    """Run ``benchmarks.<module>.<function>(**arguments)`` in a process of its own, and return what it returns."""
    ended = subprocess.run(
        command(python, module, function, **arguments),
        env=environment(ours=ours),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if ended.returncode:
        raise MeasuredProcessFailed(f"{module}.{function}({arguments}) failed:\n{ended.stderr[-3000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def seconds_to_exit(python: str, *, ours: bool, **arguments: Any) -> float:
    """How long a process of ``bench_exit.fill_and_end`` lives after its last line of Python."""
    ended_at = measure("bench_exit", "fill_and_end", python=python, ours=ours, **arguments)
    return monotonic() - ended_at


def collect(rounds: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """From one dict a round to one list a key."""
    return {key: [one[key] for one in rounds] for key in rounds[0]}
