"""What `import snowplow_tracker` takes, and a first tracker, in fresh interpreters."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from benchmarks.run import environment

_PROGRAM: Final = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import snowplow_tracker
imported_cpu, imported = time.process_time(), time.perf_counter()
snowplow_tracker.Tracker("b", snowplow_tracker.AsyncEmitter("127.0.0.1", "http", 9))
ready = time.perf_counter()
import json, sys
print(json.dumps({
    "wall_ms": (imported - wall) * 1000, "cpu_ms": (imported_cpu - cpu) * 1000,
    "ready_ms": (ready - wall) * 1000, "modules": len(sys.modules),
}))
"""


def import_once(python: str, *, ours: bool) -> dict[str, Any]:
    """Import our package, or the official one, in a new interpreter: wall and CPU time in ms, the time until a
    tracker is there, too, and how many modules that loads."""
    ended = subprocess.run(
        [python, "-c", _PROGRAM], env=environment(ours=ours), cwd="/", capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(ended.stdout)
    return result
