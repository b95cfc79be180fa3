"""The environment that every library is measured in: one virtual environment, so that all share their dependencies."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from benchmarks.run import REPOSITORY

VENV: Final = REPOSITORY / ".venvs" / "bench"
REQUIREMENTS: Final = Path(__file__).resolve().parent / "requirements.txt"
_SHOWN: Final = (
    "attrs", "orjson", "requests", "tenacity", "urllib3",
    "snowplow-tracker", "segment-analytics-python", "posthog", "opentelemetry-sdk",
)  # fmt: skip


def ready() -> str:
    """Make the environment if it is not there, or made from other requirements; the path of its Python."""
    python, made_from = VENV / "bin" / "python", VENV / "made-from.txt"
    wanted = f"{sys.version}\n{REQUIREMENTS.read_text()}"
    if not (made_from.exists() and made_from.read_text() == wanted):
        print(f"setting up {VENV.relative_to(REPOSITORY)} (once, about a minute)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--requirement", str(REQUIREMENTS)], check=True)
        made_from.write_text(wanted)
    return str(python)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "processor": _first_value("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": _first_value("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
    }


def versions(python: str) -> dict[str, str]:
    """The versions of the libraries that *python* finds."""
    program = (
        "import importlib.metadata as m, json, sys\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({name: found[name] for name in sys.argv[1:] if name in found}))"
    )
    told = subprocess.run([python, "-c", program, *_SHOWN], capture_output=True, text=True, check=True, cwd="/")
    result: dict[str, str] = json.loads(told.stdout)
    return result


def _first_value(path: str, name: str) -> str:
    try:
        with open(path) as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        return "unknown"


def _commit() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    return told.stdout.strip() or "unknown"
