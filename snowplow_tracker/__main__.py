"""``snowplow-tracker`` and ``python -m snowplow_tracker``: the command line, where what it needs is installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NEEDED = ("click", "rich")


def main() -> int:
    """Run the command line; its exit status."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        print(f"Error: the command line needs {names}, which this Python does not have.", file=sys.stderr)
        print("Install it with: pip install 'snowplow-event-tracker[cli]'", file=sys.stderr)
        return 2
    from snowplow_tracker.cli import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
