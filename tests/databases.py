"""SQLite files, looked at from outside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def opened(path: Path, **options: Any) -> Iterator[sqlite3.Connection]:
    """A connection that commits at the end and is closed: one of sqlite3's own stays open after its ``with``."""
    with contextlib.closing(sqlite3.connect(path, **options)) as connection, connection:
        yield connection
