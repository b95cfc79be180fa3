"""The outbox: events in a file, through kills, forks, neighbours, and every kind of file that can't be used."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from databases import opened
from faults import FaultyServer, black_hole, refused_port
from processes import Running, run, wait_until
from servers import OK, WAIT_S, HeldTransport, ScriptedTransport, adds_up, event_ids, has_happened, track

from snowplow_tracker import Emitter, SQLiteEventStore, Tracker, delivery
from snowplow_tracker.event_store import Claim, EventStore
from snowplow_tracker.outbox_file import APPLICATION_ID
from snowplow_tracker.outbox_holders import LEASE_S, holder, new_token, this_host
from snowplow_tracker.testing import LocalCollector
from snowplow_tracker.transport import Result

NOBODY: Final = "http://127.0.0.1:9"
"""No collector is there."""
OUTAGE: Final = Result(503)
BOTH: Final = pytest.mark.parametrize("write_through", [True, False], ids=["written through", "spilling"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events" / "outbox.db"


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture
def keep() -> Iterator[Callable[..., Tracker]]:
    """Make trackers that are closed in the end."""
    made: list[Tracker] = []

    def make(url: str, path: Path, **options: Any) -> Tracker:
        store_options = {name: options.pop(name) for name in STORE_OPTIONS & set(options)}
        made.append(Tracker.hostname(url, event_store=SQLiteEventStore(path, **store_options), **options))
        return made[-1]

    yield make
    for tracker in made:
        tracker.close(0)


STORE_OPTIONS: Final = {"write_through", "max_bytes", "max_age_s", "max_events", "take_all"}


def rows_in(path: Path) -> int:
    with opened(path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
    return int(count)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another's write that takes its time."""
    with opened(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def let_leases_run_out(path: Path) -> None:
    """As if whoever holds events there had been stopped for half a minute."""
    with opened(path, timeout=10) as connection:
        connection.execute("UPDATE shelves SET seen_mono_ms = seen_mono_ms - 31000")


def delivered_from(path: Path) -> list[int]:
    """What a start that tracks nothing delivers, in batches of ten: each event's number."""
    transport = ScriptedTransport()
    emitter = Emitter(transport=transport, event_store=SQLiteEventStore(path), batch_size=10, flush_interval=0)
    assert emitter.flush(WAIT_S)
    stats = emitter.stats()
    emitter.close()
    numbers = [int(event["n"]) for events in transport.offered for event in events]
    assert adds_up(stats)
    assert stats.recovered == stats.delivered == len(numbers)
    return numbers


def close_all(*stores: EventStore) -> None:
    for store in stores:
        store.close()


# --- surviving -------------------------------------------------------------------------------------------------


def test_events_survive_a_killed_process_with_their_ids_and_times(path: Path, collector: LocalCollector) -> None:
    finished = run(
        """
        from snowplow_tracker import SQLiteEventStore, Tracker
        t = Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2]))
        say(ids=[r.event_id for r in (t.track_struct_event("a", "b", tstamp=1e9 + n) for n in range(50)) if r])
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        NOBODY, str(path), status=-signal.SIGKILL,
    )  # fmt: skip
    with Tracker.hostname(collector.url, event_store=SQLiteEventStore(path)) as t:
        events = collector.wait_for(50)
        assert event_ids(events) == finished.fact("ids")
        assert [event["dtm"] for event in events] == [str(10**12 + n * 1000) for n in range(50)]
        assert t.flush()
        assert (t.stats().recovered, t.stats().delivered) == (50, 50)
    assert rows_in(path) == 0


@BOTH
def test_what_an_exit_cannot_deliver_is_delivered_by_the_next_start(
    path: Path, collector: LocalCollector, write_through: bool
) -> None:
    finished = run(
        """
        logging.basicConfig(level=logging.WARNING)
        from snowplow_tracker import SQLiteEventStore, Tracker
        store = SQLiteEventStore(sys.argv[2], write_through=sys.argv[3] == "True")
        t = Tracker.hostname(URL, event_store=store, shutdown_timeout=0.2)
        say(ids=[receipt.event_id for receipt in track(t, 30)])
        """,
        NOBODY, str(path), str(write_through),
    )  # fmt: skip
    assert "dropped" not in finished.stderr
    with Tracker.hostname(collector.url, event_store=SQLiteEventStore(path, write_through)):
        assert sorted(event_ids(collector.wait_for(30))) == sorted(finished.fact("ids"))


@BOTH
def test_what_close_cannot_deliver_stays_queued(path: Path, write_through: bool) -> None:
    t = Tracker.hostname(NOBODY, event_store=SQLiteEventStore(path, write_through))
    track(t, 5)
    result = t.close(0.1)
    assert (result.remaining, result.dropped) == (5, 0)
    stats = t.stats()
    assert (stats.queued, stats.in_flight, sum(stats.dropped.values())) == (5, 0, 0)
    assert adds_up(stats)
    assert rows_in(path) == 5


@BOTH
def test_a_flush_covers_what_an_earlier_run_left(path: Path, collector: LocalCollector, write_through: bool) -> None:
    store = SQLiteEventStore(path)
    Tracker.hostname(NOBODY, event_store=store).track_struct_event("a", "b")
    store.close()
    with Tracker.hostname(collector.url, event_store=SQLiteEventStore(path, write_through), flush_interval=3600) as t:
        assert t.flush()
        assert len(collector.events) == t.stats().recovered == 1


@pytest.mark.parametrize("end", ["store.close()", "os._exit(0)"], ids=["closed", "killed"])
@pytest.mark.parametrize("newer", [10, 15, 40])
def test_the_next_start_delivers_all_although_newer_events_had_been_delivered(path: Path, newer: int, end: str) -> None:
    """As with several threads, of which some wait for another attempt."""
    run(
        f"""
        from snowplow_tracker import SQLiteEventStore
        store, newer = SQLiteEventStore(sys.argv[1]), int(sys.argv[2])
        for number in range(20 + newer):
            assert store.put(b'{{"n":"%d"' % number)
        store.claim(10, 10**6, 0)
        store.claim(10, 10**6, 0)
        store.ack(store.claim(newer, 10**6, 0))
        {end}
        """,
        str(path), str(newer),
    )  # fmt: skip
    assert rows_in(path) == 20
    assert delivered_from(path) == list(range(20))
    assert rows_in(path) == 0


def test_what_is_taken_over_again_and_again_is_counted_right_each_time(path: Path) -> None:
    left_behind(path, 30)
    for in_a_request, delivered, left in ((5, 5, 25), (20, 5, 20), (14, 6, 14), (3, 4, 10), (1, 9, 1)):
        store = SQLiteEventStore(path)
        store.claim(in_a_request, 10**6, 0)
        if (claim := store.claim(delivered, 10**6, 0)) is not None:
            store.ack(claim)
        store.close()
        with opened(path) as connection:
            found = connection.execute("SELECT count(*), sum(length(fragment)) FROM events").fetchone()
        again = SQLiteEventStore(path)
        assert (len(again), again.queued_bytes) == found
        assert len(again) == left
        again.close()


def test_a_file_whose_numbers_are_wrong_is_read_to_its_end(path: Path) -> None:
    left_behind(path, 20)
    with opened(path) as connection:
        connection.execute("UPDATE shelves SET settled = 10")
    assert delivered_from(path) == list(range(20))
    assert rows_in(path) == 0


def test_an_event_tracked_after_the_exit_hook_is_in_the_file(path: Path, collector: LocalCollector) -> None:
    finished = run(
        """
        def late():
            say(late=bool(t.track_struct_event("late", "event")))

        atexit.register(late)  # before ours, and so after it
        from snowplow_tracker import SQLiteEventStore, Tracker
        t = Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2]), shutdown_timeout=0.1)
        track(t, 2)
        """,
        NOBODY, str(path),
    )  # fmt: skip
    assert finished.fact("late") is True
    with Tracker.hostname(collector.url, event_store=SQLiteEventStore(path)):
        assert len(collector.wait_for(3)) == 3


def test_a_signal_handler_that_tracks_in_the_middle_of_a_call_loses_nothing(
    path: Path, collector: LocalCollector
) -> None:
    finished = run(
        """
        from snowplow_tracker import SQLiteEventStore, Tracker
        t = Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2]))
        taken = []
        def handle(number, frame):
            taken.append(t.track_struct_event("from", "the handler"))
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
        for _ in range(3000):
            taken.append(t.track_struct_event("from", "the loop"))
        signal.setitimer(signal.ITIMER_REAL, 0)
        say(taken=sum(map(bool, taken)), all=len(taken), flushed=bool(t.flush(20)))
        say_stats(t)
        """,
        collector.url, str(path), timeout=60,
    )  # fmt: skip
    assert finished.fact("flushed")
    assert finished.fact("taken") == finished.fact("all") == finished.fact("delivered") > 3000
    assert len({event["eid"] for event in collector.events}) == finished.fact("all")


def interrupt_after(builtin: str, act: Callable[[], object]) -> None:
    """Do something at the very moment when this thread has called a function of C, as a signal handler may."""

    def notice(frame: object, event: str, argument: Any) -> None:
        if event == "c_return" and argument.__name__ == builtin:
            sys.setprofile(None)
            act()

    sys.setprofile(notice)


def test_a_call_that_interrupts_another_one_does_not_take_its_place_in_the_file(path: Path) -> None:
    store = SQLiteEventStore(path)
    assert store.put(b'{"n":"0"')
    interrupt_after("execute", lambda: store.put(b'{"n":"from the handler"'))
    assert store.put(b'{"n":"1"')
    assert sys.getprofile() is None
    assert store.degraded == ""
    store.tend()  # as the keeper does: what the handler tracked waits in memory until then
    assert rows_in(path) == 3
    store.close()


@BOTH
def test_nothing_is_sent_once_the_budget_of_an_exit_is_spent(path: Path, write_through: bool) -> None:
    """Other exit handlers may run for long after ours."""
    script = """
        def runs_after_ours():
            before = t.stats().requests
            threading.Event().wait(0.3)
            say(requests=t.stats().requests - before, queued=t.stats().queued)
        atexit.register(runs_after_ours)
        from snowplow_tracker import SQLiteEventStore, Tracker
        store = SQLiteEventStore(sys.argv[2], sys.argv[3] == "True")
        t = Tracker.hostname(URL, event_store=store, shutdown_timeout=0.1)
        track(t, 300)
    """
    with refused_port() as url:
        finished = run(script, url, str(path), str(write_through))
    assert finished.fact("requests") <= 1, "one may have been on its way"
    assert finished.fact("queued") == rows_in(path) == 300


@BOTH
@pytest.mark.parametrize("late", ["t.flush(60)", "t.close(60)"])
def test_nothing_waits_for_what_is_not_sent_any_more(path: Path, write_through: bool, late: str) -> None:
    """The next process sends it."""
    script = f"""
        def runs_after_ours():
            left = bool({late})
            say(left=left, queued=t.stats().queued)
        atexit.register(runs_after_ours)
        from snowplow_tracker import SQLiteEventStore, Tracker
        store = SQLiteEventStore(sys.argv[2], sys.argv[3] == "True")
        t = Tracker.hostname(URL, event_store=store, shutdown_timeout=0.1)
        track(t, 300)
    """
    with refused_port() as url:
        finished = run(script, url, str(path), str(write_through), timeout=30)
    assert (finished.fact("left"), finished.fact("queued"), rows_in(path)) == (False, 300, 300)


@BOTH
def test_ctrl_c_while_the_exit_hook_waits_loses_nothing(path: Path, write_through: bool) -> None:
    script = """
        from snowplow_tracker import SQLiteEventStore, Tracker
        store = SQLiteEventStore(sys.argv[2], sys.argv[3] == "True")
        t = Tracker.hostname(URL, event_store=store, flush_interval=0, shutdown_timeout=60)
        track(t, 300)
        ctrl_c_when(lambda: t.emitters[0]._delivery._exited)
    """
    with FaultyServer(black_hole) as server:
        finished = run(script, server.url, str(path), str(write_through))
    assert "KeyboardInterrupt" in finished.stderr
    assert rows_in(path) == 300


@BOTH
def test_what_was_taken_back_during_a_request_is_not_sent_by_the_next_process(path: Path, write_through: bool) -> None:
    transport = HeldTransport()
    store = SQLiteEventStore(path, write_through)
    t = Tracker("ns", Emitter(transport=transport, event_store=store, flush_interval=0))
    track(t, 1)
    transport.wait_for_request()
    track(t, 4)
    t.disable()
    t.close(0)
    transport.answer_all(OUTAGE)
    assert (t.stats().dropped["disabled"], t.stats().queued, rows_in(path)) == (5, 0, 0)


class SlowToForget(SQLiteEventStore):
    """Forgets settled events only after a moment."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked = threading.Event()

    def ack(self, claim: Claim) -> None:
        self.asked.set()
        threading.Event().wait(0.05)
        super().ack(claim)


def test_an_end_waits_for_the_file_to_forget_what_is_delivered(path: Path) -> None:
    store = SlowToForget(path)
    t = Tracker("ns", Emitter(transport=ScriptedTransport(), event_store=store, flush_interval=0))
    track(t, 1)
    has_happened(store.asked, "the store's being asked to forget")
    t.close(0)
    assert (t.stats().delivered, rows_in(path)) == (1, 0)


# --- spilling --------------------------------------------------------------------------------------------------


def test_while_the_collector_answers_nothing_goes_to_the_file(path: Path, collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, event_store=SQLiteEventStore(path, write_through=False)) as t:
        track(t, 20)
        assert t.flush()
        with opened(path) as connection:
            assert connection.execute("SELECT count(*) FROM shelves").fetchone() == (0,)


def test_a_failed_attempt_brings_what_waits_to_the_file(path: Path) -> None:
    transport = HeldTransport()
    emitter = Emitter(
        transport=transport, event_store=SQLiteEventStore(path, write_through=False), batch_size=2, flush_interval=3600
    )
    for number in range(5):
        emitter.emit(b'{"n":"%d"' % number)
    transport.wait_for_request()
    assert rows_in(path) == 0
    transport.answer(OUTAGE)
    wait_until(lambda: rows_in(path) == 5, WAIT_S)
    transport.answer_all(OK)
    assert emitter.flush(WAIT_S)
    assert [event["n"] for events in transport.offered for event in events] == list("010123" + "4")
    assert rows_in(path) == 0
    emitter.close()


def test_memory_that_runs_short_is_moved_to_the_file_in_order(path: Path) -> None:
    transport = HeldTransport()
    store = SQLiteEventStore(path, write_through=False, memory_events=100)
    emitter = Emitter(transport=transport, event_store=store, batch_size=50, flush_interval=3600)
    assert [emitter.emit(b'{"n":"%d"' % number) for number in range(1000)] == [None] * 1000
    assert rows_in(path) > 800
    transport.answer_all(OK)
    assert emitter.flush(WAIT_S)
    assert [int(event["n"]) for events in transport.offered for event in events] == list(range(1000))
    emitter.close()


def has_room_for_some(store: SQLiteEventStore, pages: int) -> None:
    """Let the file grow by so many pages, until it is opened again: a disk that is full in the middle of a write."""
    connection = store._queue.shelves.rows.connection
    (used,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {used + pages}").fetchone()


def test_a_batch_that_came_to_the_file_in_part_is_not_left_there_once_it_is_delivered(path: Path) -> None:
    store = SQLiteEventStore(path, write_through=False)
    for number in range(400):
        assert store.put(b'{"n":"%d","x":"%s"' % (number, b"x" * 250))
    claim = store.claim(400, 10**6, 0)
    assert claim is not None
    has_room_for_some(store, 50)
    store.rest(claim)
    assert 0 < rows_in(path) < 400
    assert "is full" in store.degraded
    store.ack(claim)
    store.tend()  # as the keeper does, from time to time
    assert (store.degraded, rows_in(path)) == ("", 0)
    store.close()


def test_what_an_end_writes_only_in_part_is_lost_only_in_part(path: Path) -> None:
    transport, store = HeldTransport(), SQLiteEventStore(path, write_through=False)
    emitter = Emitter(transport=transport, event_store=store, batch_size=400, flush_interval=3600)
    for number in range(400):
        assert emitter.emit(b'{"n":"%d","x":"%s"' % (number, b"x" * 250)) is None
    transport.wait_for_request()
    has_room_for_some(store, 50)
    emitter.close(0)
    transport.answer()
    stats = emitter.stats()
    assert stats.queued + stats.dropped["shutdown"] == 400
    assert 0 < rows_in(path) == stats.queued < 400


@BOTH
def test_what_was_delivered_while_the_file_was_locked_is_not_left_by_an_end(path: Path, write_through: bool) -> None:
    store = SQLiteEventStore(path, write_through)
    assert store.put(b'{"n":"1"')
    claim = store.claim(1, 10**6, 0)
    assert claim is not None
    store.rest(claim)
    with locked(path):
        store.ack(claim)
    assert rows_in(path) == 1
    store.close()
    assert rows_in(path) == 0


def test_what_was_delivered_while_the_file_was_locked_is_not_left_by_an_exit(path: Path) -> None:
    script = """
        import sqlite3
        from snowplow_tracker import Emitter, SQLiteEventStore, Tracker
        from snowplow_tracker.transport import Result

        class Locking:
            address, max_batch = "memory://", None
            def send(self, events, remaining_s):
                other.execute("BEGIN IMMEDIATE")
                return Result(200)
            def surely_takes(self): return None
            def why_too_large(self, fragment): return None
            def close(self): pass
            def after_fork(self): pass

        freed = threading.Event()
        def free(events):
            other.execute("ROLLBACK")
            freed.set()

        store = SQLiteEventStore(sys.argv[1])
        other = sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False)
        t = Tracker("ns", Emitter(transport=Locking(), event_store=store, flush_interval=0, on_success=free))
        track(t, 1)
        assert freed.wait(20)
    """
    run(script, str(path))
    assert rows_in(path) == 0


def freed_at_second_attempt(store: SQLiteEventStore, path: Path) -> sqlite3.Connection:
    """Lock the file until *store* tries to write to it for the second time."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    attempts = []

    def notice(statement: str) -> None:
        if statement.startswith(("BEGIN IMMEDIATE", "INSERT INTO events SELECT")):
            attempts.append(statement)
            if len(attempts) == 2:
                other.execute("ROLLBACK")

    store._queue.shelves.rows.connection.set_trace_callback(notice)
    return other


def test_a_call_waits_for_a_file_that_is_locked_for_a_moment(path: Path) -> None:
    store = SQLiteEventStore(path)
    assert store.put(b'{"n":"0"')
    other = freed_at_second_attempt(store, path)
    assert store.put(b'{"n":"1"')
    other.close()
    assert (store.degraded, rows_in(path)) == ("", 2)
    store.close()


def test_an_end_waits_for_a_file_that_is_locked_for_a_moment(path: Path) -> None:
    store = SQLiteEventStore(path, write_through=False)
    t = Tracker.hostname(NOBODY, event_store=store, flush_interval=3600)
    track(t, 5)
    other = freed_at_second_attempt(store, path)
    t.close(0)
    other.close()
    assert (t.stats().queued, t.stats().dropped["shutdown"]) == (5, 0)
    assert rows_in(path) == 5


@BOTH
def test_an_end_gives_up_on_a_file_that_stays_locked(path: Path, write_through: bool) -> None:
    store = SQLiteEventStore(path, write_through)
    t = Tracker.hostname(NOBODY, event_store=store, flush_interval=3600)
    with locked(path):
        track(t, 3)
        t.close(0)
        assert (t.stats().queued, t.stats().dropped["shutdown"]) == (0, 3)
        assert adds_up(t.stats())
    assert rows_in(path) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there, os.kill ends a process at once")
@pytest.mark.parametrize("end", ["close", "exit"])
def test_a_signal_in_the_middle_of_an_end_loses_nothing(path: Path, end: str) -> None:
    finished = run(
        """
        import snowplow_tracker
        from snowplow_tracker import SQLiteEventStore, Tracker
        store = SQLiteEventStore(sys.argv[2], write_through=False)
        t = Tracker.hostname(URL, event_store=store, shutdown_timeout=0, flush_interval=3600, batch_size=5000)
        track(t, 2000)
        snowplow_tracker.install_signal_handlers()
        written = []
        def notice(frame, event, function):
            if event == "c_return" and function.__name__ == "executemany":
                written.append(function)
                if len(written) == 5:
                    os.kill(os.getpid(), signal.SIGTERM)
        sys.setprofile(notice)
        if sys.argv[3] == "close":
            t.close()
        """,
        NOBODY, str(path), end, status=-signal.SIGTERM,
    )  # fmt: skip
    assert "dropped" not in finished.stderr
    assert rows_in(path) == 2000


def test_a_handler_that_closes_in_the_middle_of_a_close_loses_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SQLiteEventStore(path, write_through=False)
    t = Tracker.hostname(NOBODY, event_store=store, flush_interval=3600, batch_size=5000)
    track(t, 300)
    interrupt_after("executemany", lambda: t.close(0))
    t.close(0)
    assert sys.getprofile() is None
    assert (t.stats().queued, rows_in(path)) == (300, 300)
    assert caplog.records == []


class SlowToTakeBack(SQLiteEventStore):
    """Takes events back only when what else is in memory was moved to the file, or after a while."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, write_through=False)
        self.asked = threading.Event()
        self._secured = threading.Event()

    def nack(self, claim: Claim) -> None:
        self.asked.set()
        self._secured.wait(0.05)
        super().nack(claim)

    def secure(self) -> None:
        super().secure()
        self._secured.set()


def test_an_end_waits_for_events_that_are_just_given_back(path: Path) -> None:
    def raises(events: object) -> Result:
        raise SystemExit

    store = SlowToTakeBack(path)
    t = Tracker("ns", Emitter(transport=ScriptedTransport(raises), event_store=store, flush_interval=0))
    track(t, 3)
    has_happened(store.asked, "the store's being asked to take them back")
    t.close(0)
    assert t.stats().queued == rows_in(path) == 3


class HangsAtSecondClaim(SQLiteEventStore):
    """Hands out one claim, and then takes as long as the test wants."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.claims = 0
        self.asked = threading.Event()
        self.may_go_on = threading.Event()

    def claim(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Claim | None:
        self.claims += 1
        if self.claims > 1:
            self.asked.set()
            self.may_go_on.wait(WAIT_S)
        return super().claim(max_events, max_bytes, per_event_bytes)


def test_an_end_does_not_wait_for_a_claim_that_hangs(path: Path) -> None:
    store, transport = HangsAtSecondClaim(path), HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, event_store=store, threads=2, batch_size=1, flush_interval=0))
    track(t, 2)
    has_happened(store.asked, "the second claim")
    transport.wait_for_request()
    closing = threading.Thread(target=t.close, args=(0,))
    closing.start()
    closing.join(WAIT_S / 2)
    in_time = not closing.is_alive()
    store.may_go_on.set()
    transport.answer_all()
    assert in_time
    assert t.stats().queued == rows_in(path) == 2


# --- neighbours ------------------------------------------------------------------------------------------------

WRITER: Final = """
    from snowplow_tracker import SQLiteEventStore, Tracker
    t = Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2]), shutdown_timeout=20)
    say(ids=[receipt.event_id for receipt in track(t, 300, sys.argv[3])])
"""


def test_several_processes_share_a_file_and_each_event_comes_once(path: Path, collector: LocalCollector) -> None:
    running = [Running(WRITER, collector.url, str(path), str(number)) for number in range(3)]
    finished = []
    for one in running:
        with one:
            finished.append(one.wait(60))
    ids = sorted(event_id for one in finished for event_id in one.fact("ids"))
    assert sorted(event_ids(collector.events)) == ids
    assert rows_in(path) == 0


def test_a_process_that_lives_takes_over_from_one_that_was_killed(
    path: Path, collector: LocalCollector, keep: Callable[..., Tracker]
) -> None:
    t = keep(collector.url, path)
    script = WRITER + "    time.sleep(60)"
    with Running(script, NOBODY, str(path), "killed") as writer:
        (ids,) = writer.wait_until_said("ids")
        assert collector.events == []
        writer.process.kill()
        writer.process.wait()
        wait_until(lambda: sorted(event_ids(collector.events)) == sorted(ids), WAIT_S)
    wait_until(lambda: t.stats().delivered == 300, WAIT_S)
    assert (t.stats().tracked, t.stats().recovered) == (0, 300)


def test_a_process_that_lives_keeps_its_events(path: Path, keep: Callable[..., Tracker]) -> None:
    here = keep(NOBODY, path)
    track(here, 3)
    there = keep(NOBODY, path)
    assert there.stats().recovered == 0
    assert len(there.emitters[0].settings.event_store or ()) == 0
    assert adds_up(here.stats())


def test_many_processes_that_make_a_file_at_the_same_moment_all_use_it(path: Path) -> None:
    script = """
        from snowplow_tracker import SQLiteEventStore
        while not os.path.exists(sys.argv[2]):
            pass
        store = SQLiteEventStore(sys.argv[1])
        say(degraded=store.degraded, stored=store.put(b'{"n":"1"'))
        store.close()
    """
    mark = path.parent.parent / "now"
    running = [Running(script, str(path), str(mark)) for _ in range(5)]
    mark.touch()
    for one in running:
        with one:
            finished = one.wait(60)
            assert (finished.fact("degraded"), finished.fact("stored")) == ("", True)
    assert rows_in(path) == 5


def test_two_stores_hand_out_each_event_once(path: Path) -> None:
    one, other = SQLiteEventStore(path), SQLiteEventStore(path)
    for number in range(10):
        assert one.put(b'{"n":"%d"' % number)
    mine = one.claim(4, 10**6, 0)
    assert mine is not None
    theirs = other.claim(100, 10**6, 0)
    assert theirs is not None
    assert sorted([*mine.events, *theirs.events]) == [b'{"n":"%d"' % number for number in range(10)]
    one.ack(mine)
    other.ack(theirs)
    assert one.claim(1, 10**6, 0) is None
    close_all(one, other)
    assert rows_in(path) == 0


def test_draining_takes_what_waits_in_a_process_that_lives(
    path: Path, collector: LocalCollector, keep: Callable[..., Tracker]
) -> None:
    lost = keep(NOBODY, path, max_retry_delay_seconds=3600)
    ids = track(lost, 400)
    wait_until(lambda: lost.stats().requests > 0 and lost.stats().in_flight > 0, WAIT_S)
    drain = keep(collector.url, path, take_all=True)
    wait_until(lambda: sorted(event_ids(collector.events)) == sorted(ids), WAIT_S)
    wait_until(lambda: drain.stats().delivered == 400, WAIT_S)
    assert adds_up(drain.stats())
    lost.flush(1)  # it tries again, and finds nothing
    wait_until(lambda: lost.stats().recovered == -400, WAIT_S)
    assert lost.stats().queued == lost.stats().in_flight == 0
    assert adds_up(lost.stats())
    assert len(collector.events) == 400


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_shares_the_file_and_nothing_else(path: Path, collector: LocalCollector) -> None:
    finished = run(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from snowplow_tracker import SQLiteEventStore, Tracker
        t = Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2]), flush_interval=60)
        say(ids=[r.event_id for r in track(t, 40, "parent")])
        children = []
        for number in range(3):
            pid = os.fork()
            if pid == 0:
                say(ids=[r.event_id for r in track(t, 40, "child")])
                say(keeps_its_lease="snowplow-outbox" in [thread.name for thread in threading.enumerate()])
                t.close(20)
                say_stats(t, who="child")
                os._exit(0)
            say(ids=[r.event_id for r in track(t, 40, "parent")])
            children.append(pid)
        say(statuses=[os.waitpid(pid, 0)[1] for pid in children])
        t.close(20)
        say_stats(t, who="parent")
        """,
        collector.url, str(path), timeout=60,
    )  # fmt: skip
    assert finished.fact("statuses") == [0, 0, 0]
    assert finished.facts("keeps_its_lease") == [True] * 3
    ids = [event_id for batch in finished.facts("ids") for event_id in batch]
    assert sorted(event_ids(collector.events)) == sorted(ids)
    assert len(ids) == 40 * 7
    assert [facts["delivered"] for facts in finished.said if facts.get("who") == "child"] == [40] * 3
    assert rows_in(path) == 0
    with opened(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_was_left_before_an_exec_is_taken_over_after_it(path: Path, collector: LocalCollector) -> None:
    run(
        """
        from snowplow_tracker import SQLiteEventStore, Tracker
        if len(sys.argv) == 4:
            Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2])).track_struct_event("a", "b")
            os.execv(sys.executable, [sys.executable, sys.argv[0], sys.argv[3], sys.argv[2]])
        with Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2])) as t:
            assert t.flush(), t.stats()
        """,
        NOBODY, str(path), collector.url,
    )  # fmt: skip
    assert len(collector.events) == 1


# --- who is gone -----------------------------------------------------------------------------------------------


def test_a_holder_is_gone_when_its_process_is() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = holder(new_token())
    there = attrs.evolve(me, token="other", pid=process.pid, started=0)
    assert not there.is_gone()
    process.stdin.close()  # type: ignore[union-attr]
    wait_until(there.is_gone, WAIT_S)  # nobody has asked yet how it ended
    process.wait()
    assert there.is_gone()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="start times are read from /proc")
def test_a_pid_that_was_given_to_another_process_is_gone() -> None:
    me = holder(new_token())
    assert not me.is_gone()
    assert attrs.evolve(me, pid=os.getppid(), started=12345).is_gone()


def test_a_lease_runs_out() -> None:
    me = holder(new_token())
    long_ago_ms = int(LEASE_S * 1000) + 100
    assert attrs.evolve(me, seen_mono_ms=me.seen_mono_ms - long_ago_ms).is_gone()
    elsewhere = attrs.evolve(me, host="elsewhere", pid=1)
    assert not elsewhere.is_gone()
    assert attrs.evolve(elsewhere, seen_ms=me.seen_ms - long_ago_ms).is_gone()
    assert me.host == this_host()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system has no SIGSTOP")
def test_a_process_that_lost_its_lease_goes_on_beside_the_one_that_took_over(
    path: Path, collector: LocalCollector
) -> None:
    """As after a suspend: what it had is delivered by the other, and what it tracks from now on by itself."""
    script = """
        from snowplow_tracker import SQLiteEventStore, Tracker
        t = Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2]), flush_interval=3600)
        say(ids=[r.event_id for r in track(t, 10)])
        while not os.path.exists(sys.argv[3]):
            time.sleep(0.01)
        say(ids=[r.event_id for r in track(t, 10)])
        say(flushed=bool(t.flush(20)))
        say_stats(t)
    """
    mark = path.parent / "go on"
    with Running(script, collector.url, str(path), str(mark)) as other:
        first = other.wait_until_said("ids")
        let_leases_run_out(path)
        with Tracker.hostname(collector.url, event_store=SQLiteEventStore(path)) as t:
            assert t.flush()
            assert t.stats().delivered == 10
            mark.touch()
            finished = other.wait(60)
            assert finished.fact("flushed")
            assert finished.fact("delivered") == 10
            assert finished.fact("recovered") == -10
            ids = [event_id for batch in finished.facts("ids") for event_id in batch]
            assert sorted(event_ids(collector.events)) == sorted(ids)
            assert len(first[0]) == 10


class AskedStore(SQLiteEventStore):
    """Counts how often it could not tell what of a claim is left."""

    unknown = 0

    def resume(self, claim: Claim) -> Claim | None:
        kept = super().resume(claim)
        self.unknown += kept is None
        return kept


def waiting_for_its_second_attempt(path: Path) -> tuple[Emitter, AskedStore, HeldTransport]:
    """An emitter with one event, which others may have by now."""
    store, transport = AskedStore(path), HeldTransport()
    emitter = Emitter(transport=transport, event_store=store, flush_interval=0)
    assert emitter.emit(b'{"n":"old"') is None
    transport.wait_for_request()
    transport.answer(Result(503, retry_after_s=3600))

    def is_left_to_others() -> bool:
        with opened(path) as file:
            return file.execute("SELECT count(*) FROM claims").fetchone() == (0,)

    wait_until(is_left_to_others, WAIT_S)
    return emitter, store, transport


@pytest.mark.parametrize("degraded", [False, True], ids=["locked", "degraded"])
def test_what_another_has_sent_is_not_sent_again_because_the_file_is_locked(
    path: Path, degraded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_LONGEST_ASKING_S", WAIT_S)
    emitter, store, transport = waiting_for_its_second_attempt(path)
    other = SQLiteEventStore(path, take_all=True)
    theirs = other.claim(1, 10**6, 0)
    assert theirs is not None
    other.ack(theirs)
    with locked(path):
        if degraded:
            assert emitter.emit(b'{"n":"new"') is None
            assert "database is locked" in emitter.stats().store_degraded
        emitter.flush(0)
        wait_until(lambda: store.unknown >= 2, WAIT_S)
    transport.answer_all()
    assert emitter.flush(WAIT_S)
    assert transport.offered == [[{"n": "old"}], *([[{"n": "new"}]] if degraded else [])]
    stats = emitter.stats()
    assert (stats.recovered, stats.delivered) == (-1, int(degraded))
    assert adds_up(stats)
    other.close()
    emitter.close()


def test_a_file_that_stays_locked_does_not_hold_events_up_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_LONGEST_ASKING_S", 0.1)
    emitter, _, transport = waiting_for_its_second_attempt(path)
    with locked(path):
        emitter.flush(0)
        assert transport.wait_for_request(2) == [{"n": "old"}]
        transport.answer()
        wait_until(lambda: emitter.stats().delivered == 1, WAIT_S)
    emitter.close()
    assert rows_in(path) == 0


def test_a_close_does_not_wait_until_a_locked_file_can_say_whose_events_they_are(path: Path) -> None:
    emitter, store, transport = waiting_for_its_second_attempt(path)
    transport.answer_all()
    with locked(path):
        emitter.close(WAIT_S)
    assert (store.unknown, emitter.stats().delivered) == (1, 1)


def test_what_was_given_back_is_not_claimed_while_the_file_is_locked(path: Path) -> None:
    store = SQLiteEventStore(path)
    assert store.put(b'{"n":"1"')
    claim = store.claim(1, 10**6, 0)
    assert claim is not None
    store.nack(claim)
    with locked(path):
        assert store.claim(1, 10**6, 0) is None
    assert store.claim(1, 10**6, 0) is not None
    store.close()


@pytest.mark.parametrize("given_back", [False, True], ids=["waiting for another attempt", "given back"])
def test_what_was_taken_over_while_it_waited_to_be_sent_again_is_not_sent_by_both(path: Path, given_back: bool) -> None:
    """The other has it in a request, so its rows are still there."""
    late = SQLiteEventStore(path)
    for number in range(10):
        assert late.put(b'{"n":"%d"' % number)
    claim = late.claim(10, 10**6, 0)
    assert claim is not None
    late.nack(claim) if given_back else late.rest(claim)
    let_leases_run_out(path)
    other = SQLiteEventStore(path)
    theirs = other.claim(10, 10**6, 0)
    assert theirs is not None
    assert len(theirs.events) == 10
    if given_back:
        assert late.claim(10, 10**6, 0) is None
    else:
        kept = late.resume(claim)
        assert kept is not None
        assert list(kept.events) == []
    assert len(late) == 0
    assert late.put(b'{"n":"new"')
    mine = late.claim(10, 10**6, 0)
    assert mine is not None
    assert list(mine.events) == [b'{"n":"new"']
    late.ack(mine)
    other.ack(theirs)
    close_all(late, other)
    assert rows_in(path) == 0


def test_who_has_lost_its_events_does_not_give_them_away_from_their_new_holders_request(path: Path) -> None:
    late = SQLiteEventStore(path)
    assert late.put(b'{"n":"1"')
    claim = late.claim(1, 10**6, 0)
    assert claim is not None
    let_leases_run_out(path)
    other = SQLiteEventStore(path)
    theirs = other.claim(1, 10**6, 0)
    assert theirs is not None
    late.rest(claim)
    third = SQLiteEventStore(path, take_all=True)
    assert third.claim(1, 10**6, 0) is None
    other.rest(theirs)
    assert third.claim(1, 10**6, 0) is not None
    close_all(late, other, third)


# --- files that can't be used ----------------------------------------------------------------------------------


def goes_on_in_memory(t: Tracker, collector: LocalCollector, caplog: pytest.LogCaptureFixture, why: str) -> None:
    """Tracking goes on, after one warning."""
    track(t, 300)
    assert why in t.stats().store_degraded
    assert t.flush(WAIT_S)
    assert t.stats().delivered == len(collector.events) == 300
    assert adds_up(t.stats())
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, caplog.text
    assert why in warnings[0].getMessage()


def text_file(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)


def other_database(path: Path) -> None:
    with opened(path) as connection:
        connection.execute("CREATE TABLE events (mine)")


def newer_outbox(path: Path) -> None:
    SQLiteEventStore(path).close()
    with opened(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA user_version = 2")


@pytest.mark.parametrize(
    ("make", "why"),
    [(text_file, "not an outbox"), (other_database, "not an outbox"), (newer_outbox, "made by a newer")],
)
def test_a_file_that_is_not_ours_is_never_touched(
    path: Path,
    collector: LocalCollector,
    keep: Callable[..., Tracker],
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path], None],
    why: str,
) -> None:
    path.parent.mkdir()
    make(path)
    before, listing = path.read_bytes(), sorted(os.listdir(path.parent))
    t = keep(collector.url, path)
    goes_on_in_memory(t, collector, caplog, why)
    t.close()
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == listing


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(2048)
        file.write(b"\xa5" * (path.stat().st_size - 2048))


def cut_short(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(3000)


def left_behind(path: Path, events: int) -> None:
    store = SQLiteEventStore(path)
    for number in range(events):
        assert store.put(b'{"n":"%d"' % number)
    store.close()


@pytest.mark.parametrize("damage", [overwritten, cut_short])
def test_a_broken_outbox_is_renamed_and_kept(
    path: Path, collector: LocalCollector, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    left_behind(path, 200)
    damage(path)
    broken = path.read_bytes()
    with Tracker.hostname(collector.url, event_store=SQLiteEventStore(path)) as t:
        ids = track(t, 10)
        assert t.flush(WAIT_S)
        assert event_ids(collector.events) == ids
        assert t.stats().store_degraded == ""
        assert adds_up(t.stats())
    kept = [name for name in os.listdir(path.parent) if name.startswith("outbox.db.corrupt-")]
    assert [(path.parent / name).read_bytes() for name in kept] == [broken]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert kept[0] in warnings[0].getMessage()
    assert rows_in(path) == 0


def test_processes_whose_outbox_breaks_go_on_in_one_new_file(path: Path) -> None:
    """The one that notices later must not put aside what the other has begun."""
    script = """
        from snowplow_tracker import SQLiteEventStore, Tracker
        store = SQLiteEventStore(sys.argv[1])
        t = Tracker.hostname("http://127.0.0.1:9", event_store=store, flush_interval=3600, batch_size=100_000)
        track(t, 300)
        store._chores.shorten_log()  # so that it is in the file itself
        say(ready=True)
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
        while not t.stats().dropped["store"]:
            track(t, 1)
        track(t, 10)
        say(went_on=True)
        while not os.path.exists(sys.argv[3]):
            time.sleep(0.01)
        track(t, 10)
        t.close(0)
        say_stats(t)
    """
    end = path.parent / "end"
    marks = [path.parent / "first", path.parent / "second"]
    with Running(script, str(path), str(marks[0]), str(end)) as one:
        one.wait_until_said("ready")
        with Running(script, str(path), str(marks[1]), str(end)) as other:
            other.wait_until_said("ready")
            overwritten(path)
            for process, mark in ((one, marks[0]), (other, marks[1])):
                mark.touch()
                process.wait_until_said("went_on")
            end.touch()
            finished = [one.wait(), other.wait()]
    assert sum(each.fact("queued") for each in finished) == rows_in(path) > 40
    assert [each.fact("store_degraded") for each in finished] == ["", ""]
    names = [name for name in os.listdir(path.parent) if "corrupt" in name and not name.endswith(("-wal", "-shm"))]
    assert len(names) == 1


def test_an_outbox_that_breaks_while_it_is_read_costs_what_was_unread_and_counts_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(path, 400)
    size = path.stat().st_size
    with path.open("r+b") as file:  # a page in the middle: the ends are still readable
        file.seek(size // 2 // 2048 * 2048)
        file.write(b"\xa5" * 2048)
    transport = ScriptedTransport()
    emitter = Emitter(transport=transport, event_store=SQLiteEventStore(path), batch_size=50, flush_interval=0)
    wait_until(lambda: emitter.stats().queued == emitter.stats().in_flight == 0, WAIT_S)
    stats = emitter.stats()
    assert stats.recovered == 400
    assert stats.delivered + stats.dropped["store"] == 400
    assert adds_up(stats)
    assert emitter.emit(b'{"n":"new"') is None
    assert emitter.flush(WAIT_S)
    assert transport.offered[-1] == [{"n": "new"}]
    emitter.close()
    assert "is broken" in caplog.text


def test_rows_that_are_no_events_do_not_block_the_queue(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left_behind(path, 10)
    with opened(path) as connection:
        for offset, poison in ((1, b"\x00\xff"), (4, "text"), (5, 17), (8, b'{"n":{"nested":1}')):
            connection.execute(
                "UPDATE events SET fragment = ? WHERE id = (SELECT min(id) FROM events) + ?", (poison, offset)
            )
    transport = ScriptedTransport()
    emitter = Emitter(transport=transport, event_store=SQLiteEventStore(path))
    assert emitter.flush(WAIT_S)
    assert [int(event["n"]) for events in transport.offered for event in events] == [0, 2, 3, 6, 7, 9]
    assert emitter.stats().dropped["store"] == 4
    assert adds_up(emitter.stats())
    assert "4 rows" in caplog.text
    emitter.close()
    assert rows_in(path) == 0


def test_a_locked_file_costs_a_moment_and_is_used_again(
    path: Path, collector: LocalCollector, keep: Callable[..., Tracker], caplog: pytest.LogCaptureFixture
) -> None:
    t = keep(collector.url, path, flush_interval=3600, batch_size=1000)
    track(t, 1)
    with opened(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        before = time.monotonic()
        track(t, 300)
        assert time.monotonic() - before < 3
        assert "database is locked" in t.stats().store_degraded
        other.execute("COMMIT")
    other.close()
    wait_until(lambda: t.stats().store_degraded == "" and rows_in(path) == 301, WAIT_S)
    assert t.flush(WAIT_S)
    assert t.stats().delivered == len(set(event_ids(collector.events))) == 301
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1


@pytest.mark.parametrize("degraded", [False, True], ids=["locked", "degraded"])
@BOTH
def test_what_is_discarded_while_the_file_is_locked_is_never_sent(
    path: Path, write_through: bool, degraded: bool
) -> None:
    transport = ScriptedTransport()
    store = SQLiteEventStore(path, write_through)
    emitter = Emitter(transport=transport, event_store=store, batch_size=500, flush_interval=3600)
    for number in range(3):
        assert emitter.emit(b'{"n":"%d"' % number) is None
    store._queue.move_memory()
    with locked(path):
        if degraded:
            store._queue.degrade("of this test")
        assert emitter.discard("disabled") == 3
        assert emitter.stats().queued == 0
    wait_until(lambda: emitter.stats().store_degraded == "" and rows_in(path) == 0, WAIT_S)
    assert emitter.emit(b'{"n":"new"') is None
    assert emitter.flush(WAIT_S)
    assert transport.offered == [[{"n": "new"}]]
    assert adds_up(emitter.stats())
    assert store._queue.held_events == 0
    emitter.close()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no such permissions")
def test_a_folder_that_is_read_only(tmp_path: Path, collector: LocalCollector) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)
        if parent == Path("/tmp"):
            break
    finished = run(
        """
        from snowplow_tracker import SQLiteEventStore, Tracker
        from snowplow_tracker import http_transport, testing  # while their files may be read
        if os.geteuid() == 0:  # root may write anywhere
            os.setuid(65534)
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        with Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2])) as t:
            track(t, 10)
            say(flushed=bool(t.flush(20)), degraded=t.stats().store_degraded)
        """,
        collector.url, str(folder / "outbox.db"),
    )  # fmt: skip
    assert finished.fact("flushed")
    assert "permission denied" in finished.fact("degraded")
    assert finished.stderr.count("permission denied") == 1
    assert len(collector.events) == 10


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits on a file's size")
def test_a_disk_that_is_full(path: Path, collector: LocalCollector) -> None:
    """A limit on the size of files stands for it: writing fails in the middle of everything."""
    finished = run(
        """
        import resource
        from snowplow_tracker import SQLiteEventStore, Tracker
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        t = Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2]), flush_interval=60)
        track(t, 10)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        say(taken=sum(map(bool, track(t, 990))))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        deadline = time.monotonic() + 20
        while t.stats().store_degraded and time.monotonic() < deadline:
            time.sleep(0.01)
        say(flushed=bool(t.flush(20)))
        say_stats(t)
        """,
        collector.url, str(path), timeout=60,
    )  # fmt: skip
    assert finished.fact("taken") == 990
    assert finished.stderr.count("cannot be used: disk I/O error") == 1
    assert finished.fact("store_degraded") == ""
    assert len({event["eid"] for event in collector.events}) == finished.fact("delivered") == 1000


NO_LOCKS: Final = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

static int deny(int fd, int command, void *argument, const char *name) {
    static int (*real)(int, int, ...);
    if (command == F_SETLK || command == F_SETLKW || command == F_GETLK) { errno = ENOLCK; return -1; }
    real = dlsym(RTLD_NEXT, name);
    return real(fd, command, argument);
}
int fcntl(int fd, int command, ...) {
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
    return deny(fd, command, argument, "fcntl");
}
int fcntl64(int fd, int command, ...) {
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
    return deny(fd, command, argument, "fcntl64");
}
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or (shutil.which("cc") is None and not os.environ.get("CI")),
    reason="no C compiler is installed",
)
def test_a_file_system_without_locks(path: Path, tmp_path: Path, collector: LocalCollector) -> None:
    """Every lock fails, as on a network file system whose lock service is away."""
    source, library = tmp_path / "nolocks.c", tmp_path / "nolocks.so"
    source.write_text(NO_LOCKS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    finished = run(
        """
        from snowplow_tracker import SQLiteEventStore, Tracker
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        with Tracker.hostname(URL, event_store=SQLiteEventStore(sys.argv[2])) as t:
            track(t, 10)
            say(flushed=bool(t.flush(20)), degraded=t.stats().store_degraded)
        """,
        collector.url, str(path), env={"LD_PRELOAD": str(library)},
    )  # fmt: skip
    assert finished.fact("flushed")
    assert "cannot be used" in finished.fact("degraded")
    assert finished.stderr.count("cannot be used") == 1
    assert len(collector.events) == 10


def test_a_path_that_is_no_file(collector: LocalCollector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Tracker.hostname(collector.url, event_store=SQLiteEventStore(tmp_path)) as t:
        goes_on_in_memory(t, collector, caplog, "it is not a file")


def test_what_is_in_memory_only_is_counted_as_lost_at_close(tmp_path: Path) -> None:
    t = Tracker.hostname(NOBODY, event_store=SQLiteEventStore(tmp_path))
    track(t, 3)
    t.close(0.1)
    assert t.stats().dropped["shutdown"] == 3
    assert t.stats().queued == 0


def test_only_its_owner_can_read_the_file(path: Path) -> None:
    SQLiteEventStore(path).close()
    assert path.stat().st_mode & 0o077 == 0


def test_the_file_says_whose_it_is_before_its_log_is_read(path: Path) -> None:
    store = SQLiteEventStore(path)
    assert path.read_bytes()[68:72] == APPLICATION_ID.to_bytes(4, "big")
    store.close()


# --- bounds ----------------------------------------------------------------------------------------------------


@BOTH
def test_a_full_file_drops_its_oldest_events_and_stays_in_its_bound(path: Path, write_through: bool) -> None:
    transport = HeldTransport()
    store = SQLiteEventStore(path, write_through, max_bytes=600_000, memory_events=50)
    emitter = Emitter(transport=transport, event_store=store, batch_size=1, flush_interval=0)
    transport_events = [b'{"n":"%d","x":"%s"' % (number, b"x" * 500) for number in range(3000)]
    assert [emitter.emit(event) for event in transport_events] == [None] * 3000
    stats = emitter.stats()
    assert adds_up(stats)
    assert 1500 < stats.dropped["overflow"] < 2500
    emitter.close(0)
    assert path.stat().st_size <= 600_000
    kept = SQLiteEventStore(path).claim(10_000, 10**9, 0)
    assert kept is not None
    assert transport_events[-1] in kept.events[-2:]  # the first one was in a request, and came to the file last
    assert len(kept.events) == 3000 - stats.dropped["overflow"]
    transport.answer_all(OK)


@BOTH
def test_a_full_file_is_used_again_once_another_process_has_emptied_it(path: Path, write_through: bool) -> None:
    event = b'{"x":"%s"' % (b"x" * 500)
    other = SQLiteEventStore(path, max_bytes=600_000)
    idle = Emitter(transport=ScriptedTransport(), event_store=other, flush_interval=3600)  # it keeps what is put there
    while other.put(event):
        pass
    transport = HeldTransport()
    store = SQLiteEventStore(path, write_through, max_bytes=600_000, memory_events=20)
    emitter = Emitter(transport=transport, event_store=store, batch_size=1, flush_interval=0)
    wait_until(lambda: emitter.emit(event) is not None, WAIT_S)
    while (claim := other.claim(100, 10**6, 0)) is not None:
        other.ack(claim)
    wait_until(lambda: emitter.emit(event) is None, WAIT_S)
    transport.answer_all(OK)
    assert emitter.flush(WAIT_S)
    assert adds_up(emitter.stats())
    emitter.close()
    idle.close()


def test_events_expire_while_they_wait_and_while_they_are_retried(path: Path) -> None:
    transport = ScriptedTransport(*[OUTAGE] * 1000)
    store = SQLiteEventStore(path, max_age_s=0.3)
    emitter = Emitter(transport=transport, event_store=store, batch_size=2, max_retry_delay_seconds=0.1)
    for number in range(10):
        emitter.emit(b'{"n":"%d"' % number)
    wait_until(lambda: emitter.stats().dropped["expired"] == 10, WAIT_S)
    assert adds_up(emitter.stats())
    emitter.close()
    assert rows_in(path) == 0


def test_what_grew_too_old_between_two_runs_is_not_sent(path: Path) -> None:
    left_behind(path, 5)
    with opened(path) as connection:
        connection.execute("UPDATE events SET put_ms = put_ms - 3600000")
    transport = ScriptedTransport()
    emitter = Emitter(transport=transport, event_store=SQLiteEventStore(path, max_age_s=60))
    assert emitter.flush(WAIT_S)
    assert transport.offered == []
    assert emitter.stats().dropped["expired"] == emitter.stats().recovered == 5
    emitter.close()


def test_the_log_stays_under_32_megabytes(path: Path) -> None:
    transport = HeldTransport()
    emitter = Emitter(transport=transport, event_store=SQLiteEventStore(path), flush_interval=0)
    log = Path(f"{path}-wal")
    event = b'{"x":"%s"' % (b"x" * 600)
    largest = 0
    for _ in range(60):
        for _ in range(500):
            assert emitter.emit(event) is None
        largest = max(largest, log.stat().st_size)
    assert 1_000_000 < largest < 32 * 10**6
    transport.answer_all(OUTAGE)
    emitter.close(0)


def test_the_log_stays_under_32_megabytes_also_where_many_write_a_little(path: Path) -> None:
    """None of them fills a log by itself."""
    transport = HeldTransport()
    emitters = [Emitter(transport=transport, event_store=SQLiteEventStore(path), flush_interval=3600) for _ in range(8)]
    log = Path(f"{path}-wal")
    event = b'{"x":"%s"' % (b"x" * 600)
    largest = 0
    for _ in range(20):
        for emitter in emitters:
            assert [emitter.emit(event) for _ in range(100)] == [None] * 100
            largest = max(largest, log.stat().st_size)
    assert 12 * 10**6 < largest < 32 * 10**6
    transport.answer_all(OUTAGE)
    for emitter in emitters:
        emitter.close(0)


def test_a_file_that_was_large_is_given_back(path: Path) -> None:
    store = SQLiteEventStore(path)
    for _ in range(40):
        assert store.put(b'{"x":"%s"' % (b"x" * 500_000))
    while (claim := store.claim(100, 10**9, 0)) is not None:
        store.ack(claim)
    store._chores.stay()
    store.close()
    assert path.stat().st_size < 10**6


def test_opening_a_large_file_and_claiming_from_it_do_not_read_it_through(path: Path) -> None:
    store = SQLiteEventStore(path, write_through=False, memory_events=200_000)
    fragments = [b'{"n":"%d","x":"%s"' % (number, b"x" * 300) for number in range(100_000)]
    assert all(map(store.put, fragments))
    sizes = list(map(len, fragments))
    store.close()
    looks = []
    for _ in range(3):
        before = time.perf_counter()
        store = SQLiteEventStore(path)
        claim = store.claim(250, 10**9, 0)
        looks.append(time.perf_counter() - before)
        assert claim is not None
        assert (len(claim.events), len(store), store.queued_bytes) == (250, 99_750, sum(sizes[250:]))
        store.nack(claim)
        store.close()
    with contextlib.closing(sqlite3.connect(path)) as file:
        before = time.perf_counter()
        assert file.execute("SELECT sum(length(fragment)) FROM events").fetchone() == (sum(sizes),)
        read_through = time.perf_counter() - before
    assert min(looks) < read_through


# --- arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": 3}, "'path' must be the path of a file, got 3"),
        ({"path": ""}, "'path' must be the path of a file"),
        ({"path": "x", "write_through": 1}, "'write_through'"),
        ({"path": "x", "max_bytes": 0}, "'max_bytes' must be a positive integer"),
        ({"path": "x", "max_age_s": "day"}, "'max_age_s' must be a number of seconds"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="SQLiteEventStore") as caught:
        SQLiteEventStore(**options)
    assert message in str(caught.value)


def test_the_accounting_holds_at_every_instant_while_events_come_and_go(path: Path) -> None:
    """Two emitters over one file, one of which loses its events to the other, under threads that track."""
    flaky = ScriptedTransport(*[OUTAGE, OK] * 500)
    poor = Emitter(transport=flaky, event_store=SQLiteEventStore(path), batch_size=5, flush_interval=0,
                   max_retry_delay_seconds=0.05)  # fmt: skip
    rich = Emitter(transport=ScriptedTransport(), event_store=SQLiteEventStore(path, take_all=True), flush_interval=0)
    stop = threading.Event()
    wrong: list[object] = []

    def watch(emitter: Emitter) -> None:
        # Two that never rest would make every step of SQLite wait 10 ms for the interpreter, which it gives up.
        while not stop.wait(0.0005):
            stats = emitter.stats()
            if not adds_up(stats) or min(stats.queued, stats.in_flight) < 0:
                wrong.append(stats)

    def work() -> None:
        for number in range(400):
            poor.emit(b'{"n":"%d"' % number)

    watchers = [threading.Thread(target=watch, args=(emitter,)) for emitter in (poor, rich)]
    workers = [threading.Thread(target=work) for _ in range(3)]
    for thread in [*watchers, *workers]:
        thread.start()
    for thread in workers:
        thread.join(60)
    try:
        assert poor.flush(WAIT_S)
        assert rich.flush(WAIT_S)
        wait_until(lambda: poor.stats().delivered + rich.stats().delivered >= 1200, WAIT_S)
    finally:
        stop.set()
    for thread in watchers:
        thread.join(10)
    assert wrong == []
    assert poor.stats().delivered + rich.stats().delivered == 1200, "none came twice"
    assert poor.stats().recovered == -rich.stats().recovered
    poor.close()
    rich.close()
