"""``python -m snowplow_tracker.collector``: a collector in a terminal, one line an event."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from snowplow_tracker.collector.atomic import event_schema, event_type
from snowplow_tracker.collector.faults import Script
from snowplow_tracker.collector.journal import Journal
from snowplow_tracker.collector.micro import is_loopback
from snowplow_tracker.collector.rows import BadRow, Row
from snowplow_tracker.collector.server import Server
from snowplow_tracker.collector.service import Service


class _Ended(Exception):
    """SIGINT or SIGTERM has come."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect until SIGINT or SIGTERM.

    Returns:
        The exit status: 0, or 1 if the address cannot be listened on.
    """
    options = _parse(arguments)
    journal = Journal()
    server = Server(Service(journal, Script(), options.host), options.host, options.port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        server.start()
        print(server.url, flush=True)
        _warn_if_exposed(options.host)
        _print_rows(journal)
    except _Ended:
        return 0
    except BrokenPipeError:  # whoever read our lines has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"cannot listen on {options.host} port {options.port}: {error.strerror}", file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        server.stop()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m snowplow_tracker.collector",
        description="Collect Snowplow events on this machine and say of each whether the pipeline would load it.",
        epilog="What was collected is at /micro/all, /micro/good and /micro/bad.",
    )
    parser.add_argument("--port", type=_port, default=9090, help="where to listen; 0 takes a free port (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return int(text)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise _Ended


def _warn_if_exposed(host: str) -> None:
    if not is_loopback(host):
        print(
            f"Listening on {host}: whoever reaches this address can send events, and read and delete what was "
            "collected under /micro. There is no password and no encryption.",
            file=sys.stderr,
            flush=True,
        )


def _print_rows(journal: Journal) -> NoReturn:
    sequence = 0
    while True:
        sequence, rows = journal.rows_after(sequence, timeout_s=60.0)
        for row in rows:
            print(line(row))
        sys.stdout.flush()


def line(row: Row) -> str:
    """One line about a row, without anything that a terminal would obey."""
    if isinstance(row, BadRow):
        text = f"BAD   {row}"
    else:
        aid = row.wire.get("aid", "-")
        text = f"GOOD  {event_type(row):<16} {row.event_id}  {aid}  {event_schema(row) or '(no schema)'}"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


if __name__ == "__main__":
    sys.exit(main())
