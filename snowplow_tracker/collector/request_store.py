"""A file that keeps the collected requests across restarts, so that they can be judged again.

SQLite: a kill in the middle of a write loses nothing that was answered, and the oldest can be deleted without copying
the rest. What is kept are the requests as they came, not the verdicts: after a restart they are judged by the rules
and schemas of then.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from snowplow_tracker.collector.http1 import Headers, Request

MAX_REQUESTS: Final = 50_000
MAX_BYTES: Final = 256 * 1024 * 1024
_APPLICATION_ID: Final = 0x534E4F57  # "SNOW"
_OVERHEAD_BYTES: Final = 300
_LOCKED_AFTER_S: Final = 0.5
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS requests (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        arrived_at REAL NOT NULL,
        network_user_id TEXT NOT NULL,
        head TEXT NOT NULL,
        body BLOB NOT NULL
    )
"""
_SIZE: Final = f"length(head) + length(body) + {_OVERHEAD_BYTES}"

_logger: Final = logging.getLogger("snowplow_tracker.collector")


class StoreError(Exception):
    """A file that cannot be used; the message says which and why."""


class RequestStore:
    """The newest requests, in a file. It may be used from any thread, one write at a time.

    A write that fails later on, as on a full disk, is logged once: collecting goes on in memory.

    Args:
        path: Made if it is not there; its folder must exist.
        max_requests: At most this many are kept, the newest.
        max_bytes: About how large the file may become.

    Raises:
        StoreError: The file cannot be opened, is not such a file, or another collector uses it.
    """

    def __init__(self, path: str | Path, max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES) -> None:
        self._path = Path(path)
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._failed = False
        try:
            self._database = sqlite3.connect(
                self._path, timeout=_LOCKED_AFTER_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StoreError(f"{self._path} cannot be opened: {error}") from None
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._database.close()
            raise StoreError(self._reason(error)) from None
        except StoreError:
            self._database.close()
            raise

    def append(self, request: Request, network_user_id: str) -> None:
        """Keep a request; when this returns it outlives the process."""
        head = _head(request)
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.execute(
                    "INSERT INTO requests (arrived_at, network_user_id, head, body) VALUES (?, ?, ?, ?)",
                    (request.arrived_at, network_user_id, head, request.body),
                )
                self._count += 1
                self._bytes += len(head) + len(request.body) + _OVERHEAD_BYTES
                self._delete_oldest()
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                self._give_up(error)

    def requests(self) -> Iterator[tuple[Request, str]]:
        """What is kept, oldest first, each with its network user id; to be read before anything is appended."""
        rows = self._database.execute("SELECT arrived_at, network_user_id, head, body FROM requests ORDER BY number")
        for arrived_at, network_user_id, head, body in rows:
            method, path, query, headers, peer = json.loads(head)
            fields = [(name, value) for name, value in headers]
            yield Request(method, path, query, Headers(fields), body, False, arrived_at, 0, peer), network_user_id

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            try:
                self._database.execute("DELETE FROM requests")
                self._count = self._bytes = 0
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()
            self._failed = True

    def _prepare(self) -> None:
        execute = self._database.execute
        (application_id,), (tables,) = (
            execute("PRAGMA application_id").fetchone(),
            execute("SELECT count(*) FROM sqlite_master").fetchone(),
        )
        if application_id != _APPLICATION_ID and tables:
            raise StoreError(f"{self._path} is a database of something else; name another file")
        execute("PRAGMA locking_mode = EXCLUSIVE")  # two collectors would each forget what the other keeps
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        execute(_SCHEMA)
        self._count, self._bytes = execute(f"SELECT count(*), coalesce(sum({_SIZE}), 0) FROM requests").fetchone()

    def _delete_oldest(self) -> None:
        while self._count > 1 and (self._count > self._max_requests or self._bytes > self._max_bytes):
            number, size = self._database.execute(
                f"SELECT number, {_SIZE} FROM requests ORDER BY number LIMIT 1"
            ).fetchone()
            self._database.execute("DELETE FROM requests WHERE number = ?", (number,))
            self._count -= 1
            self._bytes -= size

    def _give_up(self, error: sqlite3.Error) -> None:
        if not self._failed:
            self._failed = True
            _logger.warning("%s; from here on, what is collected is kept in memory only", self._reason(error))
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def _reason(self, error: sqlite3.Error) -> str:
        if "locked" in str(error):
            return f"{self._path} is in use by another collector"
        return f"{self._path} cannot be used: {error}"


def _head(request: Request) -> str:
    return json.dumps(
        [request.method, request.path, request.query, list(request.headers.items()), request.peer],
        separators=(",", ":"),
    )
