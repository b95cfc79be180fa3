"""Callbacks do what they like, and code that tracks runs in the middle of tracking: nothing hangs or is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from processes import run, wait_until
from servers import WAIT_S, HeldTransport, ScriptedTransport, adds_up, event_ids, has_happened, track

from snowplow_tracker import Emitter, FlushResult, MemoryEventStore, Tracker
from snowplow_tracker.testing import LocalCollector
from snowplow_tracker.transport import Result


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


# --- what they are told ----------------------------------------------------------------------------------------


def test_on_success_gets_the_events_that_arrived_once_as_payload_dicts(collector: LocalCollector) -> None:
    calls: list[list[dict[str, str]]] = []
    collector.fail(503, times=2)
    with Tracker.hostname(
        collector.url, batch_size=4, flush_interval=60, max_retry_delay_seconds=0.1, on_success=calls.append
    ) as t:
        ids = track(t, 10)
        assert t.flush(WAIT_S)
    events = [event for call in calls for event in call]
    assert event_ids(events) == ids
    assert [len(call) for call in calls] == [4, 4, 2]
    for told, collected in zip(events, collector.events, strict=True):
        assert told == {key: value for key, value in collected.items() if key in told}
        assert set(collected) - set(told) <= {"stm", "data", "contexts"}


def test_on_failure_gets_the_events_that_were_given_up_once(collector: LocalCollector) -> None:
    calls: list[tuple[int, list[dict[str, str]]]] = []
    succeeded: list[dict[str, str]] = []
    collector.fail(400, times=1)
    with Tracker.hostname(
        collector.url, batch_size=4, flush_interval=60,
        on_failure=lambda sent, events: calls.append((sent, events)), on_success=succeeded.extend,
    ) as t:  # fmt: skip
        ids = track(t, 10)
        assert t.flush(WAIT_S)
    assert [(sent, event_ids(events)) for sent, events in calls] == [(0, ids[:4])]
    assert event_ids(succeeded) == ids[4:]


def test_on_failure_is_told_at_close_what_there_was_no_time_for() -> None:
    calls: list[tuple[int, list[dict[str, str]]]] = []
    transport = HeldTransport()
    emitter = Emitter(
        transport=transport,
        batch_size=4,
        flush_interval=60,
        on_failure=lambda sent, events: calls.append((sent, events)),
    )
    t = Tracker("ns", emitter)
    ids = track(t, 10)
    transport.wait_for_request()
    assert t.close(0.1).dropped == 10
    assert [(sent, event_ids(events)) for sent, events in calls] == [(0, ids)]
    transport.answer_all()
    assert t.close()
    assert len(calls) == 1


def test_what_a_callback_does_to_its_events_changes_nothing(collector: LocalCollector) -> None:
    def spoil(sent_or_events: Any, *_: Any) -> None:
        for event in sent_or_events:
            event.clear()
        sent_or_events.clear()

    with Tracker.hostname(collector.url, flush_interval=0, on_success=spoil) as t:
        ids = track(t, 3)
        assert t.flush(WAIT_S)
        assert t.stats().delivered == 3
    assert event_ids(collector.events) == ids


def test_a_flush_has_the_callbacks_behind_it() -> None:
    told: list[str] = []

    def slow(events: list[dict[str, str]]) -> None:
        threading.Event().wait(0.1)
        told.extend(event_ids(events))

    with Tracker("ns", Emitter(transport=ScriptedTransport(), flush_interval=60, on_success=slow)) as t:
        ids = track(t, 3)
        assert t.flush(WAIT_S)
        assert told == ids


# --- what they may do ------------------------------------------------------------------------------------------


class Peculiar(Exception):
    """One whose text must not be logged, and can't be."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


RAISING: dict[str, BaseException] = {
    "an error": ValueError("secret"),
    "an error without a text": Peculiar(),
    "an assertion": AssertionError("secret"),
    "StopIteration": StopIteration("secret"),
    "MemoryError": MemoryError("secret"),
    "sys.exit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
}


@pytest.mark.parametrize("callback", ["on_success", "on_failure"])
@pytest.mark.parametrize("error", RAISING)
def test_a_callback_that_raises_ends_nothing(callback: str, error: str, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []

    def raises(*arguments: Any) -> None:
        calls.append(arguments)
        raise RAISING[error]

    answer = Result(200 if callback == "on_success" else 400)
    options: dict[str, Any] = {callback: raises}
    transport = ScriptedTransport(answer, answer)
    with Tracker("ns", Emitter(transport=transport, flush_interval=0, **options)) as t:
        for number in (1, 2):
            track(t, 1)
            assert t.flush(WAIT_S)
            wait_until(lambda number=number: len(calls) == number, WAIT_S)  # type: ignore[misc]
        track(t, 1)
        wait_until(lambda: t.stats().requests == 3, WAIT_S, "the worker to live on")
        assert adds_up(t.stats())
        # Leave the third callback, of on_success, behind.
        assert t.flush(WAIT_S)
    messages = [r.getMessage() for r in caplog.records if r.name == "snowplow_tracker"]
    assert type(RAISING[error]).__name__ in messages[0]
    assert "test_callbacks.py:" in messages[0]
    assert not any("secret" in message for message in messages)


def test_a_slow_callback_delays_no_call_and_loses_nothing() -> None:
    transport = ScriptedTransport()
    emitter = Emitter(
        transport=transport, flush_interval=0, batch_size=5, on_success=lambda events: threading.Event().wait(0.05)
    )
    with Tracker("ns", emitter) as t:
        ids = track(t, 30)
        assert t.flush(WAIT_S)
    assert [event["eid"] for events in transport.offered for event in events] == ids


@pytest.mark.parametrize(("callback", "status"), [("on_success", 200), ("on_failure", 400)])
def test_a_callback_may_track(callback: str, status: int) -> None:
    """As a game that reports its own losses: two for one, until it stops."""
    left = [5]

    def report(*_: Any) -> None:
        if left[0]:
            left[0] -= 1
            track(t, 2, "from the callback")

    options: dict[str, Any] = {callback: report}
    transport = ScriptedTransport(*[Result(status)] * 3)
    t = Tracker("ns", Emitter(transport=transport, flush_interval=0, **options))
    track(t, 1)
    wait_until(lambda: t.stats().queued + t.stats().in_flight == 0 and t.stats().tracked >= 3, WAIT_S)
    t.close()
    assert adds_up(t.stats())
    assert t.stats().tracked >= 3
    assert t.stats().dropped["shutdown"] == 0


@pytest.mark.parametrize(("callback", "status"), [("on_success", 200), ("on_failure", 400)])
@pytest.mark.parametrize("action", ["flush", "close", "stats"])
def test_a_callback_may_use_its_own_tracker(callback: str, status: int, action: str) -> None:
    results: list[Any] = []
    done = threading.Event()

    def use(*_: Any) -> None:
        results.append(getattr(t, action)())
        done.set()

    options: dict[str, Any] = {callback: use}
    t = Tracker("ns", Emitter(transport=ScriptedTransport(Result(status)), flush_interval=0, **options))
    track(t, 1)
    has_happened(done, f"{action} to return inside the callback")
    if action != "stats":
        assert isinstance(results[0], FlushResult)
    t.close(WAIT_S)
    assert adds_up(t.stats())
    wait_until(lambda: t.stats().in_flight == 0, WAIT_S)


def test_flush_from_a_callback_says_what_remains() -> None:
    results: list[FlushResult] = []

    def use(_: Any) -> None:
        if not results:
            track(t, 3)
            results.append(t.flush())

    t = Tracker("ns", Emitter(transport=ScriptedTransport(), flush_interval=60, on_success=use))
    track(t, 1)
    assert t.flush(WAIT_S)
    assert (bool(results[0]), results[0].remaining) == (False, 3)
    assert t.flush(WAIT_S)
    assert t.stats().delivered == 4
    t.close()


def test_a_callback_may_close_while_another_thread_closes() -> None:
    def use(_: Any) -> None:
        t.close()

    t = Tracker("ns", Emitter(transport=ScriptedTransport(), flush_interval=0, on_success=use))
    track(t, 1)
    threads = [threading.Thread(target=t.close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert t.stats().delivered == 1


# --- code that runs in the middle of ours ----------------------------------------------------------------------


REENTRANT = """
    import gc
    from snowplow_tracker import Tracker

    t = Tracker.hostname(URL, flush_interval=0, batch_size=20)
    made = 0

    class Player:
        def __init__(self): self.me = self
        def __del__(self):
            global made
            made += 1
            {deed}

    gc.set_threshold(3, 2, 2)
    for number in range(2000):
        Player()
        t.track_struct_event("frame", "drawn", None, None, number)
        if number % 100 == 0:
            t.flush({timeout})
    gc.set_threshold(0)
    flushed = bool(t.flush(20))
    say_stats(t, made=made, flushed=flushed)
"""


@pytest.mark.parametrize(
    ("deed", "tracked"),
    [
        ("t.track_struct_event('player', 'gone')", True),
        ("t.flush(0)", False),
        ("t.flush(0.001)", False),
        ("t.stats()", False),
        ("t.track_struct_event('player', 'gone'); t.stats(); t.flush(0)", True),
    ],
)
def test_garbage_collection_may_track_at_any_point(collector: LocalCollector, deed: str, tracked: bool) -> None:
    finished = run(REENTRANT.format(deed=deed, timeout=0), collector.url)
    made = finished.fact("made")
    assert made > 1000
    assert finished.fact("flushed")
    assert finished.fact("delivered") == 2000 + (made if tracked else 0)
    assert len(set(event_ids(collector.events))) == len(collector.events) == finished.fact("delivered")


SIGNALLED = """
    from snowplow_tracker import Tracker

    t = Tracker.hostname(URL, flush_interval=0, buffer_capacity=100_000, shutdown_timeout=5)
    handled = 0

    def handle(*_):
        global handled
        handled += 1
        {deed}
        signal.setitimer(signal.ITIMER_REAL, 0.001)  # not before: handlers of a timer would pile up on the stack

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    deadline = time.monotonic() + 1.0
    frames = 0
    while time.monotonic() < deadline and frames < 20_000 and {condition}:
        frames += 1
        t.track_struct_event("frame", "drawn", None, None, frames)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one that is handled after the timer's end starts the timer again
    signal.setitimer(signal.ITIMER_REAL, 0)
    flushed = bool(t.flush(20))
    say_stats(t, handled=handled, flushed=flushed, frames=frames)
"""


@pytest.mark.parametrize("deed", ["t.track_struct_event('signal', 'came')", "t.flush(0.01)", "t.flush(5)", "t.stats()"])
def test_a_signal_handler_may_track_and_flush_in_the_middle_of_a_call(collector: LocalCollector, deed: str) -> None:
    finished = run(SIGNALLED.format(deed=deed, condition="True"), collector.url)
    assert finished.fact("handled") > 20
    assert finished.fact("flushed")
    expected = finished.fact("frames") + (finished.fact("handled") if "track" in deed else 0)
    assert finished.fact("delivered") == expected == len(collector.events)


@pytest.mark.parametrize("round", range(3))
def test_a_signal_handler_may_close_in_the_middle_of_a_call(collector: LocalCollector, round: int) -> None:
    finished = run(SIGNALLED.format(deed="t.close()", condition="not handled"), collector.url)
    assert finished.fact("handled") >= 1
    dropped = finished.fact("dropped")
    assert finished.fact("tracked") == finished.fact("delivered") + sum(dropped.values())
    assert dropped["shutdown"] == 0
    assert finished.seconds < 5, "closing did not wait for its whole budget"


class ClosesInTheMiddle(MemoryEventStore):
    """A store that is interrupted while it hands out events, as by a signal or a ``__del__``."""

    interrupt: Callable[[], Any] = staticmethod(int)

    def claim(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Any:
        self.interrupt()
        return super().claim(max_events, max_bytes, per_event_bytes)


@pytest.mark.parametrize("method", ["flush", "close"])
def test_close_may_be_interrupted_by_flush_or_close(method: str) -> None:
    store = ClosesInTheMiddle()
    transport = HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, event_store=store, batch_size=1, flush_interval=0))
    track(t, 5)
    transport.wait_for_request()

    def interrupt_once() -> None:
        store.interrupt = int
        getattr(t, method)(0)

    store.interrupt = interrupt_once
    closing = threading.Thread(target=t.close, args=(0,), daemon=True)
    closing.start()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    transport.answer_all()
    assert adds_up(t.stats())
    assert t.stats().dropped["shutdown"] == 5


# --- logging handlers ------------------------------------------------------------------------------------------


class Handler(logging.Handler):
    """A handler of the user's for all our records."""

    def __init__(self, deed: Callable[[logging.LogRecord], Any]) -> None:
        super().__init__()
        self._deed = deed
        self.handled = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.handled += 1
        self._deed(record)


@pytest.fixture
def handle() -> Iterator[Callable[[Callable[[logging.LogRecord], Any]], Handler]]:
    ours = logging.getLogger("snowplow_tracker")
    former = ours.level
    ours.setLevel(logging.DEBUG)
    handlers: list[Handler] = []

    def install(deed: Callable[[logging.LogRecord], Any]) -> Handler:
        handlers.append(Handler(deed))
        ours.addHandler(handlers[-1])
        return handlers[-1]

    yield install
    for handler in handlers:
        ours.removeHandler(handler)
    ours.setLevel(former)


@pytest.mark.parametrize("deed", ["track", "flush", "stats"])
def test_a_log_handler_may_use_the_tracker(handle: Any, deed: str) -> None:
    handler = handle(lambda record: track(t, 1) if deed == "track" else getattr(t, deed)())
    transport = ScriptedTransport(Result(503), Result(503), Result(400), Result(503))
    t = Tracker("ns", Emitter(transport=transport, flush_interval=0, max_retry_delay_seconds=0))
    track(t, 3)
    assert t.flush(WAIT_S)
    wait_until(lambda: t.stats().queued + t.stats().in_flight == 0, WAIT_S)
    t.close()
    assert handler.handled >= 2
    assert adds_up(t.stats())
    assert t.stats().tracked == 3 + (handler.handled if deed == "track" else 0)


def test_a_log_handler_that_tracks_does_not_chase_its_own_tail_when_the_store_is_broken(handle: Any) -> None:
    class Broken(MemoryEventStore):
        def put(self, fragment: bytes) -> bool:
            raise OSError("disk on fire")

    handler = handle(lambda record: t.track_struct_event("log", "record"))
    t = Tracker("ns", Emitter(transport=ScriptedTransport(), event_store=Broken()))
    assert not any(t.track_struct_event("a", "b") for _ in range(100))
    t.close()
    assert handler.handled == 1
    assert t.stats().dropped["store"] == t.stats().tracked == 101


def test_a_log_handler_that_raises_costs_no_event_and_reaches_nobody(handle: Any) -> None:
    def raises(record: logging.LogRecord) -> None:
        raise RuntimeError("a broken handler")

    handler = handle(raises)
    transport = ScriptedTransport(Result(503), Result(200), Result(400), Result(503))
    with Tracker("ns", Emitter(transport=transport, flush_interval=0, max_retry_delay_seconds=0)) as t:
        for _ in range(3):
            track(t, 1)
            assert t.flush(WAIT_S)
        stats = t.stats()
    assert (stats.delivered, stats.dropped["refused"]) == (2, 1)
    sent = [event["eid"] for events in transport.offered for event in events]
    assert len(sent) == 5, "none was sent again after its answer"
    assert handler.handled >= 3


def test_a_log_handler_that_raises_does_not_reach_a_caller_who_asked_for_silence(handle: Any) -> None:
    def raises(record: logging.LogRecord) -> None:
        raise RuntimeError("a broken handler")

    handle(raises)
    t = Tracker("ns", Emitter(transport=HeldTransport(), flush_interval=60), on_invalid="drop")
    assert not t.track_struct_event("", "")
    track(t, 1)
    t.close(0)
    assert t.stats().dropped["shutdown"] == 1


# --- transports ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("secret"), RecursionError("secret"), SystemExit(1)], ids=repr)
def test_a_transport_that_raises_has_failed_and_is_asked_again(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(events: Any) -> Result:
        raise error

    transport = ScriptedTransport(raises, raises)
    with Tracker("ns", Emitter(transport=transport, flush_interval=0, max_retry_delay_seconds=0)) as t:
        track(t, 2)
        wait_until(lambda: t.stats().delivered == 2, WAIT_S, "the events to be delivered")
        assert adds_up(t.stats())
    assert not any("secret" in record.getMessage() for record in caplog.records)
