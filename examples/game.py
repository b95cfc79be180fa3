"""Salvage, a game that plays itself: ``python -m examples.game --seconds 20 --collector http://127.0.0.1:9090``.

The game is in the package, so that ``snowplow-tracker demo`` can play it anywhere. What tracks is in
``snowplow_tracker/demo/telemetry.py``; the world it is told about, in ``game.py`` beside it.
"""

from __future__ import annotations

import sys

from snowplow_tracker.demo.terminal import main

if __name__ == "__main__":
    sys.exit(main())
