"""An outbox file as one process sees it: the shelves that are its own, and how far it has read them."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from time import time_ns
from typing import Final

import orjson

from snowplow_tracker import outbox_file, outbox_holders
from snowplow_tracker.outbox_rows import OutboxRows, Row, Shelf

MOVED_AT_ONCE: Final = 500
Offer = Callable[[bytes, int, int], bool]
"""Called with a fragment, its time of putting in ms, and its id; False if it is not taken, nor any after it."""


class OutboxShelves:
    """The open file. Whoever calls holds the store's lock; any method may raise `sqlite3.Error`.

    Attributes:
        waiting, waiting_bytes: What nobody has read yet, over all shelves of this process.
        attended: Whether an emitter works here, so that others leave our events alone.
        missing: How many events turned out to be somebody else's by now, and their bytes; whoever tells of it resets
            it.
        file: Which file is open, or was at last, see `outbox_file.identity`.
        unreadable: Rows that are no events; they are gone already.
        discarded: Shelves of which nothing is to be read any more, and the rest to be deleted.
    """

    def __init__(self, path: Path, *, patience_s: float, everything: bool = False) -> None:
        self._path = path
        self._patience_s = patience_s
        self._everything = everything
        self.token = outbox_holders.new_token()
        weakref.finalize(self, outbox_holders.forget_token, self.token).atexit = False
        self.attended = False
        self._after = 0
        self._own: Shelf | None = None
        self._in_hand: Shelf | None = None
        self._shelves: list[Shelf] = []
        self._read: list[Shelf] = []
        self.discarded: list[Shelf] = []
        self.waiting = 0
        self.waiting_bytes = 0
        self.missing = 0
        self.missing_bytes = 0
        self.unreadable = 0
        self.unreadable_bytes = 0
        self.file: tuple[int, int] | None = None
        self._rows: OutboxRows | None = None
        self._closed = False

    # --- the connection ------------------------------------------------------------------------------------------

    @property
    def rows(self) -> OutboxRows:
        """The tables; opened when they are first needed, and again after a fork.

        Raises:
            outbox_file.Unusable, outbox_file.Corrupt: The file can't be opened.
        """
        if self._rows is None:
            if self._closed:  # by a signal handler, in the middle of a call that is about to write
                raise outbox_file.Unusable("it is closed")
            self.file = outbox_file.identity(self._path)  # before opening, at which a broken one may fail
            self._rows = OutboxRows(outbox_file.connect(self._path, patience_s=self._patience_s))
            self.file = self.file or outbox_file.identity(self._path)
        return self._rows

    @property
    def is_connected(self) -> bool:
        """Whether the file is open."""
        return self._rows is not None

    @property
    def pages_written(self) -> int:
        """See `OutboxRows`."""
        return 0 if self._rows is None else self._rows.pages_written

    def disconnect(self) -> None:
        """Close the connection, and keep in mind what is ours."""
        rows, self._rows = self._rows, None
        if rows is not None:
            with contextlib.suppress(sqlite3.Error):
                rows.connection.close()

    def close(self) -> None:
        """Never open the file again."""
        self._closed = True
        self.disconnect()

    @property
    def busy(self) -> bool:
        """See `OutboxRows`."""
        return self._rows is not None and self._rows.busy

    def break_off(self) -> None:
        """Undo what a call of this thread has begun, and make it fail when it goes on."""
        if self._rows is not None:
            with contextlib.suppress(sqlite3.Error):
                self._rows.connection.rollback()  # closing does not, as long as that call holds a cursor
        self.disconnect()
        self._own = self._in_hand = None  # it may be about to note that a place there is taken

    def leave(self) -> None:
        """Let go of everything: it is for whoever comes next."""
        try:
            if self._rows is not None:
                self._rows.let_go(self.token)
        finally:
            self.disconnect()
            outbox_holders.forget_token(self.token)

    def start_anew(self) -> None:
        """After the file was put aside. No id that is still in somebody's hands may come again."""
        self.disconnect()
        self._own = self._in_hand = None
        self._shelves, self._read, self.discarded = [], [], []
        self.waiting = self.waiting_bytes = 0
        self._after = random.SystemRandom().randrange(2**20)

    # --- putting -------------------------------------------------------------------------------------------------

    def put(self, fragment: bytes) -> None:
        """Write one event."""
        now_ms = time_ns() // 1_000_000
        if self._own is None or not self.rows.put(self._own, self.token, now_ms, fragment):
            self._own = self._replaced(self._own)
            self.rows.put(self._own, self.token, now_ms, fragment)
        self._own.waiting += 1
        self._own.waiting_bytes += len(fragment)
        self.waiting += 1
        self.waiting_bytes += len(fragment)

    def put_all(self, events: Sequence[tuple[int, bytes]]) -> None:
        """Write events, each with its time of putting (ms)."""
        if self._own is None or self.rows.put_all(self._own, self.token, events) is None:
            self._own = self._replaced(self._own)
            self.rows.put_all(self._own, self.token, events)
        size = sum(len(fragment) for _, fragment in events)
        self._own.waiting += len(events)
        self._own.waiting_bytes += size
        self.waiting += len(events)
        self.waiting_bytes += size

    def put_in_hand(self, events: Sequence[tuple[int, bytes]]) -> Sequence[int]:
        """Write events that are claimed or were given back, so that they are not read here; returns their ids."""
        ids = None if self._in_hand is None else self.rows.put_all(self._in_hand, self.token, events)
        if self._in_hand is None or ids is None:
            self._in_hand = self._new_shelf(read=True)
            ids = self.rows.put_all(self._in_hand, self.token, events)
        return list(ids or ())

    def _replaced(self, lost: Shelf | None) -> Shelf:
        """A new own shelf; the former one, if any, is another's by now."""
        if lost is not None:
            self._lose(lost)
        shelf = self._new_shelf()
        self._shelves.append(shelf)
        return shelf

    def _new_shelf(self, *, read: bool = False) -> Shelf:
        holder = outbox_holders.holder(self.token)
        return self.rows.new_shelf(holder, attended=self.attended, after=self._after, read=read)

    def _lose(self, shelf: Shelf) -> None:
        self._miss(shelf, shelf.waiting, shelf.waiting_bytes)
        self._shelves.remove(shelf)
        if shelf is self._own:
            self._own = None

    def _miss(self, shelf: Shelf, events: int, size: int) -> None:
        shelf.waiting -= events
        shelf.waiting_bytes -= size
        self.waiting -= events
        self.waiting_bytes -= size
        self.missing += events
        self.missing_bytes += size

    # --- reading -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Notice what others have taken."""
        for shelf in list(self._shelves):
            found = self.rows.taken_from(shelf, self.token)
            if found is None:
                self._lose(shelf)
            elif found != (shelf.taken, shelf.taken_bytes):
                self._miss(shelf, found[0] - shelf.taken, found[1] - shelf.taken_bytes)
                shelf.taken, shelf.taken_bytes = found

    def read(self, offer: Offer, *, for_request: bool) -> bool:
        """Offer the events that nobody has read, oldest first, until one is not taken; within a transaction.

        Args:
            offer: See `Offer`.
            for_request: Whether what is taken goes into a request, and is not deleted at once.

        Returns:
            Whether all were taken.
        """
        self.look()
        for shelf in list(self._shelves):
            ids: list[int] = []
            ended = self._read_shelf(shelf, offer, ids)
            if ids and for_request:
                self.rows.read_up_to(shelf)
                self.rows.mark(ids)
            if not ended:
                return False
            self._miss(shelf, shelf.waiting, shelf.waiting_bytes)  # the numbers were wrong, or rows were deleted
            if shelf is not self._own:
                self._shelves.remove(shelf)
                self._read.append(shelf)
        return True

    def regain(self, ids: Sequence[int], *, mark: bool) -> set[int]:
        """Which of these events, in nobody's request meanwhile, are still there and ours; within a transaction.

        Args:
            ids: Of events that were read before.
            mark: Whether they go into a request again.
        """
        there = self.rows.present(ids, self.token)
        if mark:
            self.rows.mark(sorted(there))
        return there

    def _read_shelf(self, shelf: Shelf, offer: Offer, ids: list[int]) -> bool:
        """Returns whether it came to the end of the shelf."""
        rows, unreadable = self.rows.read(shelf), []
        ended = True
        for row in rows:
            if shelf.waiting <= 0:
                self._count_again(shelf)
            if shelf is not self._own and not _is_event(row):
                unreadable.append(row)
            elif offer(row[2], row[1], row[0]):
                ids.append(row[0])
            else:
                ended = False
                break
            shelf.next_id = row[0] + 1
            shelf.waiting -= 1
            shelf.waiting_bytes -= _size(row)
            self.waiting -= 1
            self.waiting_bytes -= _size(row)
        self._remove_unreadable(unreadable)
        return ended

    def _count_again(self, shelf: Shelf) -> None:
        """There is more than the numbers said: what is not counted would be left to the next start."""
        events, size = self.rows.count(shelf)
        self._miss(shelf, shelf.waiting - events, shelf.waiting_bytes - size)

    def _remove_unreadable(self, rows: Sequence[Row]) -> None:
        if rows:
            self.rows.remove_in_transaction([row[0] for row in rows])
            self.unreadable += len(rows)
            self.unreadable_bytes += sum(map(_size, rows))

    def discard(self) -> tuple[int, int]:
        """Read nothing of what waits, ever; `clear` deletes it. Needs no file. Returns how many events, their bytes."""
        discarded = self.waiting, self.waiting_bytes
        self.discarded += self._shelves
        self._shelves, self._own = [], None
        self.waiting = self.waiting_bytes = 0
        return discarded

    def clear(self) -> None:
        """Delete what was discarded."""
        while self.discarded:
            shelf = self.discarded[-1]
            if self.rows.taken_from(shelf, self.token) is not None:  # else it is another's by now
                self.rows.clear(shelf)
            self._read.append(self.discarded.pop())

    # --- others --------------------------------------------------------------------------------------------------

    def find(self) -> Shelf | None:
        """Take over a shelf whose holder is gone, or some events of one who does not look after them.

        Returns:
            A shelf for `welcome`, or None if there is nothing to be had.
        """
        for number, holder, attended in self.rows.shelves():
            if holder.token == self.token:
                continue
            shelf = None
            if holder.is_gone():
                me = outbox_holders.holder(self.token)
                shelf = self.rows.take_over(number, holder, me, attended=self.attended)
            elif self._everything or not attended:
                shelf = self._take_from(number)
            if shelf is not None:
                return shelf
        return None

    def _take_from(self, number: int) -> Shelf | None:
        if not self.rows.has_movable(number):
            return None
        shelf = self._new_shelf()
        for _, _, fragment in self.rows.move(number, shelf, self.token, MOVED_AT_ONCE):
            shelf.waiting += 1
            shelf.waiting_bytes += len(fragment)
        self._read.append(shelf)  # until it is welcome
        return shelf if shelf.waiting else None

    def welcome(self, shelf: Shelf) -> None:
        """Read this shelf from now on, before our own: it is older."""
        if shelf in self._read:
            self._read.remove(shelf)
        self._shelves.insert(len(self._shelves) - (self._own is not None), shelf)
        self.waiting += shelf.waiting
        self.waiting_bytes += shelf.waiting_bytes

    def stay(self) -> None:
        """Renew the lease, and forget shelves on which nothing is left."""
        self.rows.say_alive(outbox_holders.holder(self.token), attended=self.attended)
        self._read = [shelf for shelf in self._read if not self.rows.forget_if_empty(shelf)]


def _is_event(row: Row) -> bool:
    """Whether what another process left is a fragment: one row that is not would cost its whole request."""
    try:
        pairs = orjson.loads(row[2] + b"}")
    except (TypeError, ValueError):
        return False
    return isinstance(pairs, dict) and all(isinstance(value, str) for value in pairs.values())


def _size(row: Row) -> int:
    return len(row[2]) if isinstance(row[2], (bytes, str)) else 0
