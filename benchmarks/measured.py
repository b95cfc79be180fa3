"""The start of every measured process: runs one function of one ``bench_*`` module and prints what it returns as JSON.

It is run by its path, not with ``-m``, so that only the libraries of its environment are importable. The official
package and ours are both imported as ``snowplow_tracker``: ours is found only where PYTHONPATH names the repository.

    python benchmarks/measured.py bench_delivery cpu_per_event '{"library": "official", "sink_port": 1234}'
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _make_package_importable() -> None:
    """Import ``benchmarks`` without its parent directory, the repository, on the path."""
    sys.path.remove(str(_HERE))
    spec = importlib.util.spec_from_file_location(
        "benchmarks", _HERE / "__init__.py", submodule_search_locations=[str(_HERE)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = sys.modules["benchmarks"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


def main() -> None:
    module, function, arguments = sys.argv[1:]
    _make_package_importable()
    result = getattr(importlib.import_module(f"benchmarks.{module}"), function)(**json.loads(arguments))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
