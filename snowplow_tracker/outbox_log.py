"""Keeping the write-ahead log of an outbox short, in a thread of its own, where an fsync may take its time.

Measured over inserts flat out, on ext4: PASSIVE checkpoints alone never catch up with a writer (a log of 160 MB after
30,000 inserts); RESTART does, at the price of a stall of 60 ms. So here the first pass is passive, beside the writer,
and does nearly all; the second one does the rest while the writer waits, some 5 ms, once in 3,000 events. Then the next
write begins the log anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Final

from snowplow_tracker import outbox_file

PAGES_WORTH_A_CHECKPOINT: Final = 6000
"""12 MB of log, which is some 20 MB when the first pass ends with a writer flat out."""
MOST_PAGES: Final = 13_000
"""27 MB of log: here a tracking thread does the work itself, should the other thread be late or not there."""


class Checkpointer:
    """A connection of its own, which does nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lock = threading.RLock()
        """Held while it works; taken before the store's own, never after."""
        self._connection: sqlite3.Connection | None = None

    def catch_up(self) -> None:
        """The pass beside the writer. May raise `sqlite3.Error` and what `outbox_file.connect` raises."""
        with self.lock:
            self._checkpoint()

    def finish(self, writer: sqlite3.Connection) -> None:
        """The pass that makes the log end.

        The caller holds both locks, so this process does not write meanwhile; others are kept from it only when that
        has let the log become long.
        """
        if self._checkpoint() > PAGES_WORTH_A_CHECKPOINT * 3 // 2:
            writer.execute("BEGIN IMMEDIATE")
            try:
                self._checkpoint()
            finally:
                writer.execute("ROLLBACK")

    def _checkpoint(self) -> int:
        """Returns how many pages of the log are not in the file yet, or were not when it is long."""
        if self._connection is None:
            self._connection = outbox_file.connect(self._path, create=False)
        _, pages, done = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return 0 if pages == done else int(pages)

    def close(self) -> None:
        """Let go of the connection; the next pass opens another."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
