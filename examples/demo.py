"""The main job in one command: ``python -m examples.demo``, ``make demo``, or ``snowplow-tracker demo``.

It is in the package, ``snowplow_tracker/demo/``, so that it runs wherever the package is installed.
"""

from __future__ import annotations

import sys

from snowplow_tracker.demo.show import demonstrate

if __name__ == "__main__":
    sys.exit(demonstrate())
