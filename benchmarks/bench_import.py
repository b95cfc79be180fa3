"""What `import snowplow_tracker` takes, in fresh interpreters."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from benchmarks.run import environment

_PROGRAM: Final = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import snowplow_tracker
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
import json, sys
print(json.dumps({"wall_ms": wall * 1000, "cpu_ms": cpu * 1000, "modules": len(sys.modules)}))
"""


def import_once(python: str, *, ours: bool) -> dict[str, Any]:
    """Import our package, or the official one, in a new interpreter: wall and CPU time in ms, modules loaded."""
    ended = subprocess.run(
        [python, "-c", _PROGRAM], env=environment(ours=ours), cwd="/", capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(ended.stdout)
    return result
