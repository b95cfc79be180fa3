"""``python -m snowplow_tracker.collector``: the collector without the extra ``cli``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from snowplow_tracker.collector.command import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    DESCRIPTION,
    EPILOG,
    OPTION_HELP,
    collect,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse *arguments* and collect.

    Returns:
        The exit status, as `command.collect`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m snowplow_tracker.collector", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help=OPTION_HELP["port"])
    parser.add_argument("--host", default=DEFAULT_HOST, help=OPTION_HELP["host"])
    parser.add_argument("--schemas", action="append", default=[], metavar="DIR", help=OPTION_HELP["schemas"])
    parser.add_argument("--store", metavar="FILE", help=OPTION_HELP["store"])
    options = parser.parse_args(arguments)
    return collect(options.host, options.port, options.schemas, options.store)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
