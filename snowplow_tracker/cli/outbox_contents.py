"""What is in an outbox file, read beside the processes that use it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Final

import attrs

from snowplow_tracker import outbox_file
from snowplow_tracker.outbox_holders import Holder
from snowplow_tracker.outbox_rows import OutboxRows
from snowplow_tracker.payload import payload_dict

_ROWS_AT_ONCE: Final = 1000
"""Few enough that a long export never holds up the others' log."""


@attrs.frozen
class Share:
    """What one process has in the file.

    Attributes:
        events: How many.
        in_request: How many of them are in a request at this moment.
        holder: Who has them.
    """

    events: int
    in_request: int
    holder: Holder


@attrs.frozen
class Contents:
    """A picture of a file at one moment.

    Attributes:
        events: How many it holds.
        size: Their bytes.
        oldest_s: How long the oldest has waited, in seconds.
        shares: The parts that they are in.
    """

    events: int
    size: int
    oldest_s: float
    shares: list[Share]

    @property
    def out_of_reach(self) -> int:
        """How many are in a request of a process that lives, which will settle them."""
        return sum(share.in_request for share in self.shares if not share.holder.is_gone())


def read_contents(path: Path) -> Contents:
    """Count what is in a file.

    Raises:
        outbox_file.Unusable, outbox_file.Corrupt: It can't be read as an outbox.
    """
    with _connected(path) as connection:
        connection.execute("BEGIN")  # one picture
        found = connection.execute("SELECT count(*), coalesce(sum(length(fragment)), 0), min(put_ms) FROM events")
        count, size, oldest_ms = found.fetchone()
        shares = [_share(connection, number, holder) for number, holder, _ in OutboxRows(connection).shelves()]
        connection.execute("COMMIT")
    oldest_s = 0.0 if oldest_ms is None else max(0.0, time() - oldest_ms / 1000)
    return Contents(count, size, oldest_s, [share for share in shares if share.events])


def _share(connection: sqlite3.Connection, number: int, holder: Holder) -> Share:
    span = (number << outbox_file.SHELF_BITS, ((number + 1) << outbox_file.SHELF_BITS) - 1)
    (events,) = connection.execute("SELECT count(*) FROM events WHERE id BETWEEN ? AND ?", span).fetchone()
    (in_request,) = connection.execute(
        "SELECT count(*) FROM claims JOIN events ON id BETWEEN first AND last WHERE first BETWEEN ? AND ?", span
    ).fetchone()
    return Share(events, in_request, holder)


def read_events(path: Path) -> Iterator[dict[str, str] | None]:
    """Every event as a payload dict, oldest first as far as the file knows; None for a row that is none.

    Raises:
        outbox_file.Unusable, outbox_file.Corrupt: It can't be read as an outbox.
    """
    last_id = 0
    with _connected(path) as connection:
        while rows := connection.execute(
            "SELECT id, fragment FROM events WHERE id > ? ORDER BY id LIMIT ?", (last_id, _ROWS_AT_ONCE)
        ).fetchall():
            for last_id, fragment in rows:  # noqa: B007
                yield _payload(fragment)


def _payload(fragment: object) -> dict[str, str] | None:
    try:
        payload = payload_dict(fragment)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return payload if isinstance(payload, dict) else None


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(outbox_file.connect(path, create=False)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise outbox_file.translated(error) from None
