"""Every event is accounted for: at every instant, under load, faults and interruptions, with a reason for each loss."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from processes import run, wait_until
from servers import OK, WAIT_S, HeldTransport, ScriptedTransport, adds_up, event_ids, has_happened, track

from snowplow_tracker import Emitter, MemoryEventStore, SQLiteEventStore, Stats, Tracker
from snowplow_tracker.event_store import Claim
from snowplow_tracker.outcomes import REASONS
from snowplow_tracker.testing import LocalCollector
from snowplow_tracker.transport import Result

THREADS = 4
EVENTS_A_THREAD = 1000


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


class Sampler:
    """A thread that reads `stats()` as fast as it can, and keeps the samples that do not add up."""

    def __init__(self, stats: Callable[[], Stats]) -> None:
        self._stats = stats
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.samples = 0
        self.wrong: list[Stats] = []
        self.backwards: list[tuple[Stats, Stats]] = []

    def _sample(self) -> None:
        last = self._stats()
        while not self._done.is_set():
            stats = self._stats()
            self.samples += 1
            if not adds_up(stats):
                self.wrong.append(stats)
            if stats.tracked < last.tracked or stats.delivered < last.delivered or _dropped(stats) < _dropped(last):
                self.backwards.append((last, stats))
            last = stats

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join(WAIT_S)


def _dropped(stats: Stats) -> int:
    return sum(stats.dropped.values())


class Chaos:
    """A thread that keeps changing the collector's mind."""

    def __init__(self, collector: LocalCollector, seed: int) -> None:
        self._collector = collector
        self._random = random.Random(seed)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        faults: list[Callable[[], None]] = [
            lambda: self._collector.fail(503, times=1),
            lambda: self._collector.fail(400, times=1),
            lambda: self._collector.fail(413, times=2),
            lambda: self._collector.drop_connection(times=1),
            lambda: self._collector.latency(0.01),
            self._collector.recover,
        ]
        while not self._done.wait(0.01):
            self._random.choice(faults)()

    def __enter__(self) -> Chaos:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join(WAIT_S)
        self._collector.recover()


def in_threads(count: int, work: Callable[[int], None], meanwhile: Callable[[], object] | None = None) -> None:
    """Run *work* in threads at once; *meanwhile*, again and again, in this one."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    while meanwhile and any(thread.is_alive() for thread in threads):
        meanwhile()
    for thread in threads:
        thread.join(60)


# --- threads that track at once: they take no lock, so each is counted and stored in one step or not at all --------


@pytest.fixture
def restless() -> Iterator[None]:
    """The interpreter turns to another thread as often as it can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def track_in_threads(t: Tracker, meanwhile: Callable[[], object]) -> list[bool]:
    """The receipts of threads that track at once, while this one does something else."""
    receipts: list[bool] = []

    def load(number: int) -> None:
        receipts.extend([bool(t.track_struct_event("load", "track")) for _ in range(EVENTS_A_THREAD)])

    in_threads(2 * THREADS, load, meanwhile)
    return receipts


def test_threads_at_once_fill_a_buffer_to_its_last_place_and_no_further(restless: None) -> None:
    transport = HeldTransport()
    store = MemoryEventStore(2000)
    t = Tracker("ns", Emitter(transport=transport, event_store=store, batch_size=10, shutdown_timeout=0.1))
    fullest = 0

    def look() -> None:
        nonlocal fullest
        stats = t.stats()
        fullest = max(fullest, stats.queued + stats.in_flight, store.held_events)
        assert adds_up(stats)

    receipts = track_in_threads(t, look)
    stats = t.stats()
    transport.answer_all()
    assert fullest <= 2000
    assert sum(receipts) == stats.queued + stats.in_flight == 2000
    assert (stats.tracked, stats.dropped["overflow"]) == (len(receipts), len(receipts) - 2000)
    t.close()


def test_what_threads_at_once_put_and_the_emitter_threads_take_is_counted_to_the_byte(restless: None) -> None:
    store = MemoryEventStore(2000)
    transport = ScriptedTransport()
    t = Tracker("ns", Emitter(transport=transport, event_store=store, threads=2, batch_size=7, flush_interval=0.001))
    receipts = track_in_threads(t, t.flush)
    assert t.flush(WAIT_S)
    assert (store.held_events, store.held_bytes, store.queued_bytes, len(store)) == (0, 0, 0, 0)
    assert t.stats().delivered == sum(receipts)
    assert t.stats().tracked == len(receipts)
    t.close()


def test_what_threads_at_once_put_into_an_outbox_that_spills_is_counted_to_the_byte(
    restless: None, tmp_path: Path
) -> None:
    store = SQLiteEventStore(tmp_path / "outbox.db", write_through=False, memory_events=400)
    transport = ScriptedTransport(*[Result(503), OK, OK] * 10_000)
    emitter = Emitter(
        transport=transport, event_store=store, batch_size=50, flush_interval=0.001, max_retry_delay_seconds=0
    )
    t = Tracker("ns", emitter)
    receipts = track_in_threads(t, lambda: t.flush(0.01))
    assert all(receipts)
    assert t.flush(WAIT_S)
    assert held_by(store) == (0, 0, 0, 0, 0)
    assert (t.stats().delivered, t.stats().tracked) == (len(receipts), len(receipts))
    t.close()


def held_by(store: SQLiteEventStore) -> tuple[int, ...]:
    queue = store._queue
    return queue.held_events, queue.held_bytes, queue.memory.bytes, len(store), store.queued_bytes


def test_what_is_settled_beside_threads_that_put_is_counted_to_the_byte(restless: None, tmp_path: Path) -> None:
    store = SQLiteEventStore(tmp_path / "outbox.db", write_through=False)
    settled = 0

    def put(number: int) -> None:
        for step in range(5 * EVENTS_A_THREAD):
            while len(store) > 20:  # so that there is something to settle all the time
                time.sleep(0)
            assert store.put(b"x" * (step % 50))

    def settle(number: int) -> None:
        nonlocal settled
        while settled < THREADS * 5 * EVENTS_A_THREAD:
            claim = store.claim(2, 1000, 0)
            if claim:
                settled += len(claim.events)
                store.ack(claim)

    in_threads(THREADS + 1, lambda number: (put if number < THREADS else settle)(number))
    assert held_by(store) == (0, 0, 0, 0, 0)
    store.close()


def test_a_discard_beside_threads_that_track_forgets_exactly_what_it_counts(restless: None) -> None:
    store = MemoryEventStore(2000)
    emitter = Emitter(transport=ScriptedTransport(), event_store=store, batch_size=7)
    t = Tracker("ns", emitter)
    receipts = track_in_threads(t, lambda: emitter.discard("disabled"))
    assert t.flush(WAIT_S)
    stats = t.stats()
    assert (store.held_events, store.held_bytes) == (0, 0)
    assert stats.delivered + stats.dropped["disabled"] == sum(receipts)
    assert adds_up(stats)
    t.close()


def close_in_the_middle(t: Tracker, transport: ScriptedTransport) -> None:
    if len(transport.offered) > 3:
        t.close()


def test_a_close_beside_threads_that_track_leaves_nothing_undecided(restless: None) -> None:
    for _ in range(10):
        transport = ScriptedTransport()
        t = Tracker("ns", Emitter(transport=transport, batch_size=7))
        receipts = track_in_threads(t, partial(close_in_the_middle, t, transport))
        t.close()
        stats = t.stats()
        assert (stats.queued, stats.in_flight, stats.tracked) == (0, 0, len(receipts))
        assert stats.delivered == sum(receipts)
        assert stats.dropped["closed"] == len(receipts) - sum(receipts)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "block"])
def test_every_sample_adds_up_under_load_and_faults(collector: LocalCollector, overflow: str, threads: int) -> None:
    succeeded: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    receipts: list[Any] = []
    t = Tracker.hostname(
        collector.url, threads=threads, overflow=overflow, block_timeout=0.01, buffer_capacity=300, batch_size=50,
        flush_interval=0.01, max_retry_delay_seconds=0.05,
        on_success=lambda events: succeeded.update(event_ids(events)),
        on_failure=lambda sent, events: failed.update(event_ids(events)),
    )  # fmt: skip

    def load(number: int) -> None:
        for step in range(EVENTS_A_THREAD):
            receipts.append(t.track_struct_event("load", "track", str(number), str(step)))

    with Sampler(t.stats) as sampler, Chaos(collector, seed=threads):
        in_threads(THREADS, load)
    assert t.flush(WAIT_S)
    with Sampler(t.stats) as closing:
        t.close()
    stats = t.stats()

    assert sampler.samples > 10
    assert sampler.wrong == closing.wrong == []
    assert sampler.backwards == closing.backwards == []
    assert adds_up(stats)
    assert (stats.tracked, stats.queued, stats.in_flight) == (THREADS * EVENTS_A_THREAD, 0, 0)
    # What we call delivered is what the collector holds, and each of the others was told of, once.
    held = event_ids(collector.events)
    assert Counter(held) == succeeded
    assert max(succeeded.values()) == 1
    assert stats.delivered == len(held)
    assert max(failed.values(), default=1) == 1
    assert sum(failed.values()) == stats.dropped["refused"] + stats.dropped["too_large"]
    refused = sum(not receipt for receipt in receipts)
    if overflow == "drop_oldest":
        assert refused <= stats.dropped["overflow"]  # the others had been taken, and made room
    else:
        assert refused == stats.dropped["overflow"]
    true_ones = {receipt.event_id for receipt in receipts if receipt}
    assert set(held) | set(failed) <= true_ones
    assert len(true_ones) == stats.delivered + sum(failed.values()) + stats.dropped["overflow"] - refused


INTERRUPTED = """
    from snowplow_tracker import Emitter, Tracker
    from snowplow_tracker.transport import Result
    {imports}

    class Quick:
        address, max_batch = "memory://", None
        def send(self, events, remaining_s): return Result(200)
        def surely_takes(self): return None
        def why_too_large(self, fragment): return None
        def close(self): pass
        def after_fork(self): pass

    t = Tracker("ns", Emitter(transport=Quick(), flush_interval=0, buffer_capacity=500, batch_size=10))
    calls, nested, wrong = 0, 0, []

    def check():
        s = t.stats()
        if s.tracked + s.recovered != s.delivered + s.queued + s.in_flight + sum(s.dropped.values()):
            wrong.append(repr(s))

    def interrupt(*_):
        global calls, nested
        calls += 1
        nested += 1
        if nested < 20:  # on a busy machine, a signal may come in every handler
            {interruption}
        nested -= 1

    {arm}
    deadline = time.monotonic() + 1.0
    tracked = 0
    while time.monotonic() < deadline:
        {work}
        tracked += 1
    {disarm}
    flushed = bool(t.flush(10))
    check()
    say(calls=calls, wrong=wrong[:3], flushed=flushed, tracked=t.stats().tracked, done=tracked)
"""
BY_SIGNAL = {
    "imports": "",
    "arm": "signal.signal(signal.SIGALRM, interrupt); signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)",
    "disarm": "signal.setitimer(signal.ITIMER_REAL, 0)",
}
BY_GARBAGE = {
    "imports": """
    import gc

    class Garbage:
        def __init__(self): self.me = self
        def __del__(self): interrupt()
    """,
    "arm": "gc.set_threshold(5, 2, 2)",
    "disarm": "gc.set_threshold(0)",
}
TRACK = "t.track_struct_event('a', 'b', 'c', None, tracked)"


@pytest.mark.parametrize("way", [BY_SIGNAL, BY_GARBAGE], ids=["a signal handler", "a __del__"])
@pytest.mark.parametrize(
    ("work", "interruption"),
    [
        (TRACK, "check()"),
        (TRACK, "t.track_struct_event('x', 'y')"),
        ("check()", "t.track_struct_event('x', 'y')"),
        ("t.flush(0)", "t.track_struct_event('x', 'y'); check()"),
    ],
    ids=["stats inside track", "track inside track", "track inside stats", "track inside flush"],
)
def test_it_adds_up_when_interrupted(way: dict[str, str], work: str, interruption: str) -> None:
    work += "; Garbage()" if way is BY_GARBAGE else ""
    finished = run(INTERRUPTED.format(**way, work=work, interruption=interruption))
    assert finished.fact("calls") > 50, "it was interrupted"
    assert finished.fact("wrong") == []
    assert finished.fact("flushed")


class Interrupted(deque[Any]):
    """The waiters of a condition; *interruption* comes when somebody has seen that there are some."""

    interruption: Callable[[], Any] | None = None

    def __bool__(self) -> bool:
        some, interruption = len(self) > 0, self.interruption
        if some and interruption is not None:
            self.interruption = None
            interruption()
        return some


def test_a_call_that_wakes_the_emitter_may_be_interrupted_by_one_that_does() -> None:
    t = Tracker("ns", Emitter(transport=ScriptedTransport(), flush_interval=3600, batch_size=2))
    assert t.track_struct_event("a", "b")
    changed = t.emitters[0]._delivery._changed
    wait_until(lambda: changed._waiters, WAIT_S)
    with changed:
        changed._waiters = waiters = Interrupted(changed._waiters)
        waiters.interruption = lambda: [t.track_struct_event("x", "y") for _ in range(2)]
        assert t.track_struct_event("a", "b")
    assert waiters.interruption is None
    assert t.flush(WAIT_S)
    assert t.stats().delivered == 4
    t.close()


def test_stats_add_up_over_several_emitters_and_the_trackers_own_counts() -> None:
    transports = [ScriptedTransport(), ScriptedTransport(Result(400))]
    t = Tracker("ns", [Emitter(transport=transport, flush_interval=60) for transport in transports], on_invalid="drop")
    track(t, 10)
    assert not t.track_struct_event("", "no category")
    t.disable(keep_queued=True)
    assert not t.track_struct_event("a", "b")
    t.enable()
    assert t.flush()
    t.close()
    stats = t.stats()
    assert adds_up(stats)
    assert (stats.tracked, stats.delivered) == (22, 10)
    assert {reason: n for reason, n in stats.dropped.items() if n} == {"refused": 10, "invalid": 1, "disabled": 1}


# --- a reason for every drop -----------------------------------------------------------------------------------


class BrokenStore(MemoryEventStore):
    """One that raises, as a store of the user's own may."""

    def put(self, fragment: bytes) -> bool:
        raise OSError("disk on fire")


def _overflow() -> Stats:
    transport = HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, buffer_capacity=2))
    assert [bool(t.track_struct_event("a", "b")) for _ in range(3)] == [True, True, False]
    transport.answer_all()
    t.close()
    return t.stats()


def _answered(status: int) -> Stats:
    with Tracker("ns", Emitter(transport=ScriptedTransport(Result(status)), flush_interval=0)) as t:
        track(t, 1)
        assert t.flush()
    return t.stats()


def _expired() -> Stats:
    transport = HeldTransport()
    with Tracker("ns", Emitter(transport=transport, flush_interval=0, batch_size=1, max_event_age_s=0.05)) as t:
        track(t, 2)
        transport.wait_for_request()
        threading.Event().wait(0.1)
        transport.answer_all()
        assert t.flush()
    return t.stats()


def _shutdown() -> Stats:
    transport = ScriptedTransport(*[Result(503)] * 1000)
    t = Tracker("ns", Emitter(transport=transport, shutdown_timeout=0.1))
    track(t, 1)
    t.close()
    return t.stats()


def _closed() -> Stats:
    t = Tracker("ns", Emitter(transport=ScriptedTransport()))
    t.close()
    assert not t.track_struct_event("a", "b")
    return t.stats()


def _invalid() -> Stats:
    with Tracker("ns", Emitter(transport=ScriptedTransport()), on_invalid="drop") as t:
        assert not t.track_struct_event("", "b")
    return t.stats()


def _disabled() -> Stats:
    with Tracker("ns", Emitter(transport=ScriptedTransport(), flush_interval=60)) as t:
        track(t, 1)
        t.disable()
    return t.stats()


def _store() -> Stats:
    with Tracker("ns", Emitter(transport=ScriptedTransport(), event_store=BrokenStore())) as t:
        assert not t.track_struct_event("a", "b")
    return t.stats()


CAUSES: dict[str, Callable[[], Stats]] = {
    "overflow": _overflow,
    "too_large": lambda: _answered(413),
    "refused": lambda: _answered(400),
    "expired": _expired,
    "shutdown": _shutdown,
    "closed": _closed,
    "invalid": _invalid,
    "disabled": _disabled,
    "store": _store,
}


def test_there_is_a_cause_for_every_reason() -> None:
    assert set(CAUSES) == set(REASONS)


@pytest.mark.parametrize("reason", CAUSES)
def test_a_lost_event_is_counted_under_its_reason(reason: str) -> None:
    stats = CAUSES[reason]()
    assert {other: count for other, count in stats.dropped.items() if count} == {reason: 1}
    assert adds_up(stats)


def test_expired_events_are_told_of_and_younger_ones_are_sent() -> None:
    expired: list[str] = []
    transport = HeldTransport()
    emitter = Emitter(
        transport=transport, flush_interval=0, max_event_age_s=0.3, max_retry_delay_seconds=0,
        on_failure=lambda sent, events: expired.extend(event_ids(events)),
    )  # fmt: skip
    with Tracker("ns", emitter) as t:
        old = track(t, 3)
        transport.wait_for_request()
        threading.Event().wait(0.35)
        young = track(t, 2)
        transport.answer(Result(503))
        wait_until(lambda: t.stats().dropped["expired"] == 3, WAIT_S)
        transport.answer_all()
        assert t.flush(WAIT_S)
        assert (t.stats().delivered, adds_up(t.stats())) == (2, True)
    assert expired == old
    assert event_ids(transport.offered[-1]) == young


class SlowToForget(MemoryEventStore):
    """A store whose `ack` takes as long as the test wants, as a disk may."""

    def __init__(self) -> None:
        super().__init__(keep_times=True)
        self.asked, self.may_forget = threading.Event(), threading.Event()

    def ack(self, claim: Claim) -> None:
        self.asked.set()
        has_happened(self.may_forget, "the end of the test")
        super().ack(claim)


def test_flush_waits_for_events_that_are_just_being_expired() -> None:
    store, transport = SlowToForget(), ScriptedTransport()
    emitter = Emitter(transport=transport, event_store=store, flush_interval=0.05, max_event_age_s=0.001)
    expired_after_flush: list[int] = []
    with Tracker("ns", emitter) as t:
        track(t, 5)
        has_happened(store.asked, "the store's being asked to forget")
        flush = threading.Thread(target=lambda: expired_after_flush.append(t.flush() and t.stats().dropped["expired"]))
        flush.start()
        flush.join(0.1)
        assert flush.is_alive()
        store.may_forget.set()
        flush.join(WAIT_S)
    assert expired_after_flush == [5]
    assert transport.offered == []


# --- stores that fail ------------------------------------------------------------------------------------------


class Failing(MemoryEventStore):
    """A store of which one method raises, some of the time."""

    def __init__(self, method: str, times: int) -> None:
        super().__init__()
        self._method, self._times = method, times

    def _maybe(self, method: str) -> None:
        if method == self._method and self._times:
            self._times -= 1
            raise RuntimeError("no event data here")

    def claim(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Any:
        self._maybe("claim")
        return super().claim(max_events, max_bytes, per_event_bytes)

    def ack(self, claim: Any) -> None:
        super().ack(claim)
        self._maybe("ack")


@pytest.mark.parametrize("method", ["claim", "ack"])
def test_a_store_that_raises_once_ends_neither_the_worker_nor_the_accounting(method: str) -> None:
    transport = ScriptedTransport()
    with Tracker("ns", Emitter(transport=transport, event_store=Failing(method, 1), flush_interval=0)) as t:
        track(t, 1)
        wait_until(lambda: t.stats().delivered == 1, WAIT_S, "the event to be counted as delivered")
        track(t, 1)
        assert t.flush(WAIT_S)
        assert t.stats().delivered == 2
        assert t.stats().in_flight == 0
    sent = [event["eid"] for events in transport.offered for event in events]
    assert len(sent) == len(set(sent)) == 2


@pytest.mark.parametrize("answer", [OK, Result(status=400)], ids=["delivered", "dropped"])
def test_a_close_while_the_store_forgets_events_finds_them_counted(answer: Result) -> None:
    store = SlowToForget()
    t = Tracker("ns", Emitter(transport=ScriptedTransport(answer), event_store=store, flush_interval=0))
    try:
        track(t, 1)
        has_happened(store.asked, "the store's being asked to forget")
        outcome = t.close(0)
        stats = t.stats()
    finally:
        store.may_forget.set()
    assert outcome
    assert (stats.delivered + stats.dropped["refused"], stats.in_flight) == (1, 0)


# --- the end, and what is taken back on the way --------------------------------------------------------------------


def test_what_was_taken_back_during_a_request_is_not_called_lost_at_the_end() -> None:
    transport, lost = HeldTransport(), []
    t = Tracker(
        "ns", Emitter(transport=transport, flush_interval=0, on_failure=lambda sent, events: lost.append(events))
    )
    track(t, 1)
    transport.wait_for_request()
    t.disable()
    t.close(0)
    transport.answer_all(Result(503))
    assert (t.stats().dropped["disabled"], t.stats().dropped["shutdown"], lost) == (1, 0, [])


def test_what_is_taken_back_while_it_is_too_large_is_not_sent_in_halves() -> None:
    transport = HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, flush_interval=60))
    track(t, 4)
    t.flush(0)
    transport.wait_for_request()
    t.disable()
    transport.answer_all(Result(413))
    wait_until(lambda: t.stats().in_flight == 0, WAIT_S)
    assert (t.stats().dropped["disabled"], len(transport.offered)) == (4, 1)
    t.close()


class SlowToResume(MemoryEventStore):
    """A store whose `resume`, in the main thread, ends when another thread has had events forgotten."""

    def __init__(self) -> None:
        super().__init__(keep_times=True)
        self.forgotten = threading.Event()

    def ack(self, claim: Claim) -> None:
        super().ack(claim)
        if threading.current_thread() is not threading.main_thread():
            self.forgotten.set()

    def resume(self, claim: Claim) -> Claim:
        if threading.current_thread() is threading.main_thread():
            self.forgotten.wait(WAIT_S)
        return claim


def test_two_threads_that_resume_one_batch_while_some_of_it_expires_count_it_once() -> None:
    store, transport = SlowToResume(), ScriptedTransport(Result(503, retry_after_s=60))
    emitter = Emitter(transport=transport, event_store=store, flush_interval=60, max_event_age_s=0.3)
    t = Tracker("ns", emitter)
    old = time.monotonic()
    track(t, 5)
    wait_until(lambda: time.monotonic() > old + 0.2, WAIT_S)
    track(t, 5)
    t.flush(0)
    wait_until(lambda: len(transport.offered) == 1, WAIT_S)
    wait_until(lambda: time.monotonic() > old + 0.31, WAIT_S)
    t.disable()
    wait_until(lambda: t.stats().in_flight == 0, WAIT_S)
    stats = t.stats()
    assert adds_up(stats)
    assert (stats.recovered, stats.dropped["expired"] + stats.dropped["disabled"]) == (0, 10)
    assert (store.held_events, store.held_bytes) == (0, 0)
    t.close()


class SlowToPut(MemoryEventStore):
    """A store that is closed while an event is on its way into it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.closing, self.stored = threading.Event(), threading.Event(), threading.Event()

    def put(self, fragment: bytes) -> bool:
        self.asked.set()
        has_happened(self.closing, "the closing of the store")
        taken = super().put(fragment)
        self.stored.set()
        return taken

    def close(self) -> int:
        self.closing.set()
        has_happened(self.stored, "the event's being stored")
        return super().close()


def test_an_event_that_comes_after_the_last_look_into_the_store_is_counted_as_lost() -> None:
    store = SlowToPut()
    t = Tracker("ns", Emitter(transport=ScriptedTransport(), event_store=store, flush_interval=60))
    tracking = threading.Thread(target=track, args=(t, 1))
    tracking.start()
    has_happened(store.asked, "the store's being asked to take the event")
    t.close(0)
    tracking.join(WAIT_S)
    stats = t.stats()
    assert (stats.tracked, stats.queued, stats.dropped["shutdown"]) == (1, 0, 1)


class Broken(MemoryEventStore):
    """A store of which one method always raises."""

    def __init__(self, method: str) -> None:
        super().__init__()
        setattr(self, method, self._raises)

    def _raises(self, *arguments: Any, **named: Any) -> Any:
        raise OSError("broken")


@pytest.mark.parametrize("method", ["claim", "ack", "clear", "close"])
def test_a_store_that_always_raises_reaches_no_caller(method: str, caplog: pytest.LogCaptureFixture) -> None:
    t = Tracker("ns", Emitter(transport=ScriptedTransport(), event_store=Broken(method), flush_interval=0))
    track(t, 1)
    t.flush(0.05)
    t.disable()
    t.close(0.05)
    assert adds_up(t.stats())
    assert "OSError" in caplog.text


def test_a_transport_whose_close_raises_ends_neither_close_nor_the_thread_in_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unclosable(ScriptedTransport):
        def close(self) -> None:
            raise OSError("stuck")

    with Tracker("ns", Emitter(transport=Unclosable(), flush_interval=0)) as t:
        track(t, 1)
    assert t.stats().delivered == 1
    assert "OSError in the closing of a transport" in caplog.text


def test_threads_that_end_together_give_up_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may see the other alive: a thread takes a moment to be gone after its last look round."""
    ended, both_ended = threading.Semaphore(0), threading.Event()

    def work(delivery: Any) -> None:
        delivery.run()
        ended.release()
        both_ended.wait(WAIT_S)

    monkeypatch.setattr("snowplow_tracker.delivery._work", work)
    lost: list[int] = []
    t = Tracker(
        "ns",
        Emitter(
            transport=ScriptedTransport(*[Result(503)] * 1000), threads=2, batch_size=10, flush_interval=0,
            max_retry_delay_seconds=0.3, shutdown_timeout=0.1, on_failure=lambda sent, events: lost.append(len(events)),
        ),
    )  # fmt: skip
    track(t, 100)
    del t
    assert all(ended.acquire(timeout=WAIT_S) for _ in range(2))
    both_ended.set()
    assert sum(lost) == 100
