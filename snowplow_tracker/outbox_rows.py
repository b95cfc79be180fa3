"""What is done to the rows of an outbox file: each method one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from snowplow_tracker.outbox_file import PAGE_BYTES, SHELF_BITS
from snowplow_tracker.outbox_holders import Holder

Row: TypeAlias = tuple[int, int, bytes]
"""An event's id, when it was put (milliseconds since the epoch), and its fragment."""

_LAST_PLACE: Final[int] = 2**SHELF_BITS - 1
_HOLDER: Final = "token, host, pid, started, seen_ms, seen_mono_ms"
_ON_SHELF: Final = "id BETWEEN :number << 40 AND (:number << 40) + 1099511627775"

# The guard: a process that was stopped for longer than its lease must not write on a shelf that is another's by now.
_PUT: Final = "INSERT INTO events SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM shelves WHERE number = ? AND token = ?)"
_READ: Final = "SELECT id, put_ms, fragment FROM events WHERE id >= ? AND id <= ? ORDER BY id"


@attrs.define
class Shelf:
    """Events of one process in the file, and how far they have been read.

    Attributes:
        number: The upper part of its events' ids.
        next_id: Where reading goes on; what lies before is settled, claimed, or was given back.
        waiting, waiting_bytes: What there is from *next_id* on.
        place, before: How many events were put on it, and their bytes; kept up to date for one's own shelf only.
        taken, taken_bytes: What others had taken from it when that was last looked at.
    """

    number: int
    next_id: int
    waiting: int = 0
    waiting_bytes: int = 0
    place: int = 0
    before: int = 0
    taken: int = 0
    taken_bytes: int = 0

    @property
    def last_id(self) -> int:
        return int(self.number << SHELF_BITS) + _LAST_PLACE


class OutboxRows:
    """The tables, over one connection. Whoever calls holds the store's lock.

    Every method may raise `sqlite3.Error`; nothing has changed then.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._execute = connection.execute
        self.pages_written = 0
        """About how much was appended to the log since the last checkpoint; by others, too, once that was noticed."""
        self._placing = False

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in it or nothing, and no other process's write in between."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._execute("ROLLBACK")
            raise

    @property
    def busy(self) -> bool:
        """Whether this very thread was interrupted, by a signal handler, in the middle of a transaction, or before it
        had noted that the next event's place is taken."""
        return self._placing or bool(self.connection.in_transaction)

    # --- shelves -------------------------------------------------------------------------------------------------

    def new_shelf(self, holder: Holder, *, attended: bool, after: int = 0, read: bool = False) -> Shelf:
        """Begin a shelf.

        Args:
            holder: Whose it is.
            attended: Whether an emitter works for it.
            after: The least number that it may not have; it is greater than all others anyway.
            read: Whether what is put there is in its holder's hands from the start.
        """
        with self.transaction():
            (number,) = self._execute("SELECT max(?, coalesce(max(number), 0)) + 1 FROM shelves", (after,)).fetchone()
            shelf = Shelf(number, number << SHELF_BITS)
            self._execute(
                f"INSERT INTO shelves (number, {_HOLDER}, attended, read_to) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, *attrs.astuple(holder), attended, shelf.last_id + 1 if read else 0),
            )
        self.pages_written += 1
        return shelf

    def shelves(self) -> list[tuple[int, Holder, bool]]:
        """Every shelf's number, its holder, and whether an emitter works for that."""
        rows = self._execute(f"SELECT number, attended, {_HOLDER} FROM shelves ORDER BY number")
        return [(number, Holder(*rest), bool(attended)) for number, attended, *rest in rows]

    def take_over(self, number: int, former: Holder, holder: Holder, *, attended: bool) -> Shelf | None:
        """Become the holder of a shelf whose holder is gone; None if another was faster, or there is nothing on it."""
        with self.transaction():
            found = self._execute(
                "SELECT settled, settled_bytes, read_to FROM shelves "
                "WHERE number = ? AND token = ? AND seen_mono_ms = ?",
                (number, former.token, former.seen_mono_ms),
            ).fetchone()
            if found is None:
                return None
            last = self._last(number)
            shelf = Shelf(number, number << SHELF_BITS)
            self._execute(f"DELETE FROM claims WHERE {_ON_SHELF.replace('id', 'first')}", {"number": number})
            if last is None:
                self._execute("DELETE FROM shelves WHERE number = ?", (number,))
                return None
            place, before = last
            settled, settled_bytes, read_to = found
            shelf.waiting, shelf.waiting_bytes = place - settled, before - settled_bytes
            # What its holder had read may have been settled in any order, also behind the last event that is left,
            # while that was in a request. Then it takes counting; but what was read and not settled is not much.
            if shelf.next_id + place <= read_to or shelf.waiting <= 0:
                shelf.waiting, shelf.waiting_bytes = self.count(shelf)
            self._execute(
                f"UPDATE shelves SET ({_HOLDER}, attended, read_to, taken, taken_bytes, settled, settled_bytes) "
                "= (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?) WHERE number = ?",
                (*attrs.astuple(holder), attended, place - shelf.waiting, before - shelf.waiting_bytes, number),
            )
        return shelf

    def _last(self, number: int) -> tuple[int, int] | None:
        """How many events were put on a shelf up to its last one, and their bytes."""
        row = self._execute(
            f"SELECT id, before, length(fragment) FROM events WHERE {_ON_SHELF} ORDER BY id DESC LIMIT 1",
            {"number": number},
        ).fetchone()
        return None if row is None else ((row[0] & _LAST_PLACE) + 1, row[1] + row[2])

    def forget_if_empty(self, shelf: Shelf) -> bool:
        """Remove a shelf if nothing is left on it; returns whether it did."""
        if self._last(shelf.number) is not None:
            return False
        self._execute("DELETE FROM shelves WHERE number = ?", (shelf.number,))
        return True

    def has_movable(self, number: int) -> bool:
        """Whether `move` would find anything."""
        return bool(self._movable(number, 1))

    def say_alive(self, holder: Holder, *, attended: bool) -> None:
        """Renew the lease of everything that *holder* holds. The write also begins the log anew after a checkpoint."""
        self._execute(
            "UPDATE shelves SET seen_ms = ?, seen_mono_ms = ?, attended = ? WHERE token = ?",
            (holder.seen_ms, holder.seen_mono_ms, attended, holder.token),
        )
        self.pages_written += 1

    def let_go(self, token: str) -> None:
        """Leave all shelves of a holder to whoever comes, without those that are empty."""
        with self.transaction():
            for (number,) in self._execute("SELECT number FROM shelves WHERE token = ?", (token,)).fetchall():
                self._execute(f"DELETE FROM claims WHERE {_ON_SHELF.replace('id', 'first')}", {"number": number})
                if self._last(number) is None:
                    self._execute("DELETE FROM shelves WHERE number = ?", (number,))
            self._execute("UPDATE shelves SET pid = 0, attended = 0 WHERE token = ?", (token,))

    def taken_from(self, shelf: Shelf, token: str) -> tuple[int, int] | None:
        """How many events that nobody had read others have taken from a shelf so far, and their bytes; None if all of
        it is another's by now."""
        found: tuple[int, int] | None = self._execute(
            "SELECT taken, taken_bytes FROM shelves WHERE number = ? AND token = ?", (shelf.number, token)
        ).fetchone()
        return found

    # --- events --------------------------------------------------------------------------------------------------

    def put(self, shelf: Shelf, token: str, put_ms: int, fragment: bytes) -> bool:
        """Write one event at the end of one's own shelf, in a transaction of its own; False if the shelf is another's
        by now."""
        self._placing = True
        try:
            event_id = (shelf.number << SHELF_BITS) + shelf.place
            done = self._execute(_PUT, (event_id, put_ms, shelf.before, fragment, shelf.number, token)).rowcount == 1
            if done:
                self._put_done(shelf, fragment)
        finally:
            self._placing = False
        return done

    def put_all(self, shelf: Shelf, token: str, events: Sequence[tuple[int, bytes]]) -> range | None:
        """Write events, each with its time of putting, in one transaction.

        Returns:
            Their ids, or None if the shelf is another's by now.
        """
        with self._places():
            return self._put_all(shelf, token, events)

    @contextlib.contextmanager
    def _places(self) -> Iterator[None]:
        """While places are given out: whoever interrupts this would give out the same ones."""
        self._placing = True
        try:
            yield
        finally:
            self._placing = False

    def _put_all(self, shelf: Shelf, token: str, events: Sequence[tuple[int, bytes]]) -> range | None:
        first = (shelf.number << SHELF_BITS) + shelf.place
        rows, before = [], shelf.before
        for event_id, (put_ms, fragment) in enumerate(events, first):
            rows.append((event_id, put_ms, before, fragment))
            before += len(fragment)
        with self.transaction():
            if self.taken_from(shelf, token) is None:
                return None
            self.connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
        for _, fragment in events:
            self._put_done(shelf, fragment)
        return range(first, first + len(events))

    def _put_done(self, shelf: Shelf, fragment: bytes) -> None:
        size = len(fragment)
        shelf.place += 1
        shelf.before += size
        self.pages_written += 2 + size // PAGE_BYTES

    def read(self, shelf: Shelf) -> Iterator[Row]:
        """The events of a shelf from `Shelf.next_id` on, read as far as is asked for."""
        return iter(self._execute(_READ, (shelf.next_id, shelf.last_id)))

    def present(self, ids: Sequence[int], token: str) -> set[int]:
        """Which of these events are still there, and on a shelf that is still its holder's."""
        still = "SELECT id FROM events WHERE id = ? AND EXISTS (SELECT 1 FROM shelves WHERE number = ? AND token = ?)"
        found: set[int] = set()
        for event_id in ids:
            found.update(*self._execute(still, (event_id, event_id >> SHELF_BITS, token)).fetchall())
        return found

    def mark(self, ids: Iterable[int]) -> None:
        """Say that events are in a request; within a transaction."""
        self.connection.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?)", _runs(ids))
        self.pages_written += 1

    def read_up_to(self, shelf: Shelf) -> None:
        """Say how far a shelf was read; within a transaction."""
        self._execute("UPDATE shelves SET read_to = ? WHERE number = ?", (shelf.next_id, shelf.number))

    def unmark(self, ids: Iterable[int], token: str) -> None:
        """Say that they are not, as far as they are on shelves that are still their holder's."""
        with self.transaction():
            own = {number for (number,) in self._execute("SELECT number FROM shelves WHERE token = ?", (token,))}
            self._unmark(event_id for event_id in ids if event_id >> SHELF_BITS in own)
        self.pages_written += 1

    def _unmark(self, ids: Iterable[int]) -> None:
        """Marks of which a part is settled are cut to what is left of them."""
        for first, last in _runs(ids):
            over = "last >= ? AND first <= ?"
            marks = self._execute(f"SELECT first, last FROM claims WHERE {over}", (first, last)).fetchall()
            self._execute(f"DELETE FROM claims WHERE {over}", (first, last))
            rest = [(low, first - 1) for low, _ in marks if low < first]
            rest += [(last + 1, high) for _, high in marks if high > last]
            self.connection.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?)", rest)

    def remove(self, ids: Sequence[int]) -> None:
        """Delete settled events (ids ascending), and their marks."""
        with self.transaction():
            self.remove_in_transaction(ids)

    def remove_in_transaction(self, ids: Sequence[int]) -> None:
        """The same, within a transaction."""
        self._remove(ids)
        self._unmark(ids)

    def _remove(self, ids: Sequence[int], *, moved: bool = False) -> None:
        for first, last in _runs(ids):
            number = first >> SHELF_BITS
            count, size = self._sizes(first, last)
            self._execute(
                "UPDATE shelves SET settled = settled + ?, settled_bytes = settled_bytes + ? WHERE number = ?",
                (count, size, number),
            )
            if moved:
                self._count_as_taken(number, first, last)
            self._execute("DELETE FROM events WHERE id BETWEEN ? AND ?", (first, last))
        self.pages_written += 2 + len(ids) // 2

    def count(self, shelf: Shelf) -> tuple[int, int]:
        """How many events there are on a shelf from `Shelf.next_id` on, and their bytes, one by one."""
        return self._sizes(shelf.next_id, shelf.last_id)

    def _sizes(self, first: int, last: int) -> tuple[int, int]:
        sizes: tuple[int, int] = self._execute(
            "SELECT count(*), coalesce(sum(length(fragment)), 0) FROM events WHERE id BETWEEN ? AND ?", (first, last)
        ).fetchone()
        return sizes

    def _count_as_taken(self, number: int, first: int, last: int) -> None:
        """What its holder has read it will miss by itself."""
        (read_to,) = self._execute("SELECT read_to FROM shelves WHERE number = ?", (number,)).fetchone()
        count, size = self._sizes(max(first, read_to), last)
        self._execute(
            "UPDATE shelves SET taken = taken + ?, taken_bytes = taken_bytes + ? WHERE number = ?",
            (count, size, number),
        )

    def clear(self, shelf: Shelf) -> None:
        """Delete what waits on a shelf."""
        with self.transaction():
            gone, size = self.count(shelf)
            self._execute("DELETE FROM events WHERE id BETWEEN ? AND ?", (shelf.next_id, shelf.last_id))
            self._execute(
                "UPDATE shelves SET settled = settled + ?, settled_bytes = settled_bytes + ? WHERE number = ?",
                (gone, size, shelf.number),
            )
        self.pages_written += 2 + gone // 2

    def move(self, number: int, shelf: Shelf, token: str, most: int) -> list[Row]:
        """Take the oldest events that are in no request from another's shelf, to one's own.

        Args:
            number: The other shelf.
            shelf, token: One's own.
            most: How many.

        Returns:
            What was moved, under its new ids.
        """
        with self._places():
            return self._move(number, shelf, token, most)

    def _move(self, number: int, shelf: Shelf, token: str, most: int) -> list[Row]:
        with self.transaction():
            rows = self._movable(number, most)
            first, before = (shelf.number << SHELF_BITS) + shelf.place, shelf.before
            moved = [(first + step, put_ms, fragment) for step, (_, put_ms, fragment) in enumerate(rows)]
            for event_id, put_ms, fragment in moved:
                if self._execute(_PUT, (event_id, put_ms, before, fragment, shelf.number, token)).rowcount != 1:
                    return []
                before += len(fragment)
            self._remove([event_id for event_id, *_ in rows], moved=True)
        for _, _, fragment in moved:
            self._put_done(shelf, fragment)
        return moved

    def _movable(self, number: int, most: int) -> list[Row]:
        marks = self._execute("SELECT first, last FROM claims").fetchall()
        rows: list[Row] = []
        found = self._execute(
            f"SELECT id, put_ms, fragment FROM events WHERE {_ON_SHELF} ORDER BY id", {"number": number}
        )
        for row in found:
            if len(rows) == most:
                break
            if not any(first <= row[0] <= last for first, last in marks):
                rows.append(row)
        found.close()
        return rows

    # --- the file ------------------------------------------------------------------------------------------------

    def bytes_used(self) -> int:
        """What is used of the file, its log not counted."""
        (pages,) = self._execute("PRAGMA page_count").fetchone()
        return int(pages - self.free_pages()) * PAGE_BYTES

    def free_pages(self) -> int:
        """Pages of the file that hold nothing."""
        (free,) = self._execute("PRAGMA freelist_count").fetchone()
        return int(free)

    def shrink(self) -> None:
        """Give what is free in the file back to the file system; the rest is written anew."""
        self._execute("VACUUM")
        self.pages_written += self.bytes_used() // PAGE_BYTES


def _runs(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Ids, ascending, as first and last of each run without a gap."""
    runs: list[tuple[int, int]] = []
    for event_id in ids:
        if runs and runs[-1][1] == event_id - 1:
            runs[-1] = runs[-1][0], event_id
        else:
            runs.append((event_id, event_id))
    return runs
