"""An outbox file: telling ours from others', opening it, and putting a broken one aside.

It is an SQLite database in WAL mode whose header says that it is ours: ``application_id`` at byte 68 and the version of
its form, ``user_version``, at byte 60 (source: sqlite.org, "Database File Format").
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import Final

from snowplow_tracker import lifecycle

APPLICATION_ID: Final = 0x536E4F62  # "SnOb"
VERSION: Final = 1
PAGE_BYTES: Final = 2048
"""Every commit appends whole pages to the log: half of SQLite's default is 3.5 kB of log an event instead of 5.5."""
LOG_BYTES: Final = 6000 * PAGE_BYTES
"""To so much, 12 MB, the log is cut when it begins anew; SQLite would leave it at the most it ever was."""
SHELF_BITS: Final = 40
"""An event's id is its shelf's number and, in so many bits below it, its place there."""

_FOREIGN: Final = "it is not an outbox"
_MAGIC: Final = b"SQLite format 3\0"
_COMPANIONS: Final = ("-wal", "-shm", "-journal")
_OPENING_S: Final = 2.0
"""How long opening waits for others, which may be making the file."""
# `shelves`: events belong to the shelf that their process put them on, so that taking over from a process that is gone
# is one update, whatever it left. An event's place (0, 1, 2, …) and the bytes `before` it on its shelf, less what was
# `settled`, say how much a shelf still holds without counting it.
# What lies before `read_to` is in its process's hands: in a request, if it is in `claims` too, or waiting for the next
# attempt. Another process may move events that are not in a request to a shelf of its own; it counts in `taken` those
# that nobody had read.
_SCHEMA: Final = (
    """CREATE TABLE shelves (number INTEGER PRIMARY KEY, token TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
        started INTEGER NOT NULL, seen_ms INTEGER NOT NULL, seen_mono_ms INTEGER NOT NULL, attended INTEGER NOT NULL,
        settled INTEGER NOT NULL DEFAULT 0, settled_bytes INTEGER NOT NULL DEFAULT 0,
        read_to INTEGER NOT NULL DEFAULT 0,
        taken INTEGER NOT NULL DEFAULT 0, taken_bytes INTEGER NOT NULL DEFAULT 0)""",
    "CREATE TABLE claims (first INTEGER PRIMARY KEY, last INTEGER NOT NULL)",
    """CREATE TABLE events (id INTEGER PRIMARY KEY, put_ms INTEGER NOT NULL, before INTEGER NOT NULL,
        fragment BLOB NOT NULL)""",
)


class Unusable(Exception):
    """The file can't be used; its text says why, in words that follow "cannot be used: ".

    Attributes:
        for_good: Whether another attempt is pointless.
    """

    def __init__(self, why: str, *, for_good: bool = False) -> None:
        super().__init__(why)
        self.for_good = for_good


class Corrupt(Exception):
    """The file is ours and broken."""


def connect(path: Path, *, create: bool = True, patience_s: float = 1.0) -> sqlite3.Connection:
    """Open an outbox, or make a new one.

    Args:
        path: The file; its folder is made if need be.
        create: Whether to make what is not there.
        patience_s: How long each later write waits for another process's.

    Raises:
        Unusable: It is not ours, of a newer version, locked, or can't be written.
        Corrupt: It is ours and broken.
    """
    with _opening:
        _check_header(path, create)
        deadline = time.monotonic() + _OPENING_S
        while True:
            try:
                return _open(path, patience_s)
            except sqlite3.Error as error:
                # Going over to WAL mode does not wait for others by itself.
                if not is_locked(error) or time.monotonic() > deadline:
                    raise translated(error) from None
            time.sleep(0.01)


class _Connection(sqlite3.Connection):
    """Closes itself in silence when its store is dropped: from 3.13 on, Python warns of one that is collected open."""

    def __del__(self) -> None:
        self.close()


def _open(path: Path, patience_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_OPENING_S / 4, isolation_level=None, check_same_thread=False, factory=_Connection
    )
    try:
        _prepare(connection)
        connection.execute(f"PRAGMA busy_timeout = {int(patience_s * 1000)}")
        _opened.add(_identity(path))
    except BaseException:
        connection.close()
        raise
    return connection


# POSIX drops all of a process's locks on a file when it closes any descriptor of it. So once SQLite has a file open
# here, nothing else may open it: another process that closes it would think that it is the last, and delete the log.
_opening = threading.Lock()
_opened: set[tuple[int, int]] = set()


def _renew_lock() -> None:
    global _opening
    _opening = threading.Lock()


lifecycle.call_after_fork(_renew_lock)


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is at a path, whatever it is renamed to later; None if there is none."""
    try:
        return _identity(path)
    except OSError:
        return None


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def translated(error: sqlite3.Error) -> Exception:
    """An error of SQLite, as one of ours. Its text holds no event."""
    if type(error) is not sqlite3.DatabaseError:  # it is for SQLITE_CORRUPT and SQLITE_NOTADB, and nothing else
        return Unusable(str(error))
    return Unusable(_FOREIGN, for_good=True) if "not a database" in str(error) else Corrupt(str(error))


def is_locked(error: Exception) -> bool:
    """Whether another process merely took too long. Python 3.10 keeps SQLite's code to itself; its text is fixed."""
    return isinstance(error, sqlite3.OperationalError) and "is locked" in str(error)


def probe(path: Path) -> None:
    """See whether a file can be opened and written to, and wait a little for it. Raises as `connect` does."""
    connection = connect(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise translated(error) from None
    finally:
        connection.close()


def _check_header(path: Path, create: bool) -> None:
    """Look at a file before SQLite does, which would write to what is not ours."""
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Events are nobody else's business. What SQLite makes beside the file gets the same permissions.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Unusable("it is not a file", for_good=True)
        header = b"" if _identity(path) in _opened else _first_bytes(path)
    except OSError as error:
        raise Unusable(os.strerror(error.errno or 0).lower()) from None
    if header:
        if header[:16] != _MAGIC:
            raise Unusable(_FOREIGN, for_good=True)
        _check_identity(int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))
    elif not create and _identity(path) not in _opened:
        raise Unusable("it is empty", for_good=True)


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _check_identity(application_id: int, version: int) -> None:
    if application_id != APPLICATION_ID:
        raise Unusable(_FOREIGN, for_good=True)
    if version > VERSION:
        raise Unusable(f"it is of version {version}, made by a newer snowplow_tracker", for_good=True)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    if not _names(connection):
        _make_tables(connection)
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    _check_identity(application_id, version)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise Unusable("its file system has no shared memory")
    # No fsync in a commit: a power cut may cost the last moments, never the file. Checkpoints are a thread's own work.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    connection.execute("SELECT count(*) FROM shelves, claims").fetchone()


def _names(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]


def _make_tables(connection: sqlite3.Connection) -> None:
    """In rollback mode still, so that the header says at once whose the file is."""
    connection.execute("BEGIN EXCLUSIVE")
    try:
        if not _names(connection):  # and no other process was faster
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def set_aside(path: Path, broken: tuple[int, int] | None) -> Path | None:
    """Rename a broken outbox and what lies beside it.

    Args:
        path: Where it was.
        broken: Its `identity`; None for whatever is there.

    Returns:
        Its new name; None if another process has renamed it already, and may have begun another file there.

    Raises:
        OSError: It can't be renamed.
    """
    if broken not in (None, identity(path)):
        return None
    stem = f"{path}.corrupt-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    names = [stem, *(f"{stem}-{number}" for number in range(2, 100))]
    aside = Path(next(name for name in names if not os.path.exists(name)))
    # The log first: a new file beside the old log would be given its contents.
    for suffix in (*_COMPANIONS, ""):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    return aside
