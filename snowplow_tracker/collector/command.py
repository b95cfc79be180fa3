"""A collector in a terminal: its address first, then one line an event, until it is told to end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from snowplow_tracker.collector.atomic import event_schema, event_type
from snowplow_tracker.collector.faults import Script
from snowplow_tracker.collector.journal import Journal
from snowplow_tracker.collector.request_store import RequestStore, StoreError
from snowplow_tracker.collector.rows import BadRow, Row
from snowplow_tracker.collector.self_describing import no_schema_check
from snowplow_tracker.collector.server import Server
from snowplow_tracker.collector.service import Service
from snowplow_tracker.collector.trust import is_loopback

if TYPE_CHECKING:
    from snowplow_tracker.collector.schemas import SchemaFolders

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 9090
DESCRIPTION: Final = "Collect Snowplow events on this machine and say of each whether the pipeline would load it."
EPILOG: Final = (
    "Open the address in a browser to see the events as they come. Snowplow Micro's REST is there too: /micro/all, "
    "/micro/good, /micro/bad, /micro/reset, /micro/iglu."
)
OPTION_HELP: Final = {
    "port": f"where to listen; 0 takes a free port ({DEFAULT_PORT})",
    "host": f"the address to listen on ({DEFAULT_HOST})",
    "schemas": "a folder of JSON Schemas, vendor/name/jsonschema/version, to judge events by; may be given again",
    "store": "keep what was collected in this file, and judge it again at the next start",
}
"""What each option of the command does, for whoever parses them."""


class _Ended(Exception):
    """SIGINT or SIGTERM has come."""


class _Unusable(Exception):
    """An option whose value cannot be used; the message says why."""


def collect(
    host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, schemas: Sequence[str] = (), store: str | None = None
) -> int:
    """Collect until SIGINT or SIGTERM, to whose handlers it sets its own; for the main thread.

    Args:
        host: The address to listen on.
        port: Where to listen; 0 takes a free port.
        schemas: Folders in the layout of Iglu; none judges without schemas.
        store: A file that keeps what was collected; None keeps it in memory.

    Returns:
        The exit status: 0, or 1 if an option cannot be used. The reason was printed to stderr then.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    with contextlib.ExitStack() as stack:
        try:
            folders = _folders(schemas) if schemas else None
            kept = stack.enter_context(contextlib.closing(RequestStore(store))) if store else None
        except (_Unusable, StoreError) as reason:
            print(reason, file=sys.stderr)
            return 1
        journal = Journal()
        check = folders.check if folders else no_schema_check
        service = Service(journal, Script(), host, check, folders, kept)
        return _serve(Server(service, host, port), service, journal)


def _folders(schemas: Sequence[str]) -> SchemaFolders:
    try:
        from snowplow_tracker.collector.schemas import SchemaFolders
    except ImportError:
        raise _Unusable("--schemas needs jsonschema: pip install 'snowplow-event-tracker[schemas]'") from None
    try:
        folders = SchemaFolders(schemas)
    except NotADirectoryError as error:
        raise _Unusable(f"--schemas: {error}") from None
    _tell(f"judging by {folders.count()} schemas in {', '.join(schemas)}")
    if folders.lacks_standard:
        _tell(
            "Snowplow's own schemas are not among them, so standard events (screen views, sessions) pass unchecked; "
            "to check them, give a clone of Iglu Central as a second --schemas"
        )
    return folders


def _serve(server: Server, service: Service, journal: Journal) -> int:
    with _ending_on_signals():
        try:
            service.restore()
            restored = journal.counts
            server.start()
            print(server.url, flush=True)
            if restored.total:
                _tell(f"kept from before: {restored.good} good, {restored.bad} bad")
            if not is_loopback(server.host):
                _tell(
                    f"Listening on {server.host}: whoever reaches this address can send events, and read and delete "
                    "what was collected, on the page and under /micro. There is no password and no encryption."
                )
            _print_rows(journal, after=restored.total)
        except _Ended:
            return 0
        except BrokenPipeError:  # whoever read our lines has gone, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            print(f"cannot listen on {server.host} port {server.port}: {error.strerror}", file=sys.stderr)
            return 1
        finally:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            server.stop()


_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    before: list[Any] = [signal.signal(number, _end) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise _Ended


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _print_rows(journal: Journal, after: int) -> NoReturn:
    while True:
        after, rows = journal.rows_after(after, timeout_s=60.0)
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
