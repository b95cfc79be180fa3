"""Keeping the write-ahead log of an outbox short, in a thread of its own, where an fsync may take its time.

Measured over inserts flat out, on ext4: PASSIVE checkpoints alone never catch up with a writer (a log of 160 MB after
30,000 inserts); RESTART does, at the price of a stall of 60 ms. So here the first pass is passive, beside the writer,
and does nearly all; the second one does the rest while the writer waits, some 5 ms, once in 3,000 events. Then the next
write begins the log anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from pathlib import Path
from typing import Final

from snowplow_tracker import outbox_file

PAGES_WORTH_A_CHECKPOINT: Final = outbox_file.LOG_BYTES // outbox_file.PAGE_BYTES
"""12 MB of log, which is some 20 MB when the first pass ends with a writer flat out."""
MOST_PAGES: Final = 11_000
"""23 MB of log: here a tracking thread does the work itself, should the other thread be late or not there."""
PAGES_BETWEEN_LOOKS: Final = 100
"""So much one process appends to the log before it looks at what others have appended: 200 kB."""
_FRAME_BYTES: Final = outbox_file.PAGE_BYTES + 24
"""A page in the log (source: sqlite.org, "WAL-mode File Format")."""


def pages_in_log(path: Path) -> int:
    """How many pages the log of an outbox has room for: what it holds, if that is more than it is cut to."""
    try:
        return os.stat(f"{path}-wal").st_size // _FRAME_BYTES
    except OSError:
        return 0


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
        if pages < 0:  # another process is at it: whoever writes much is to wait for a moment, too
            return pages_in_log(self._path)
        return 0 if pages == done else int(pages)

    def close(self) -> None:
        """Let go of the connection; the next pass opens another."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
