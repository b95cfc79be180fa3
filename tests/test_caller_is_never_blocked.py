"""A call that tracks waits for nothing: no network, no callback, no log, and no lock that anybody holds meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults import FaultyServer, black_hole, refused_port, trickle
from servers import WAIT_S, HeldTransport, ScriptedTransport, adds_up, has_happened, track

from snowplow_tracker import Emitter, Tracker
from snowplow_tracker.testing import LocalCollector
from snowplow_tracker.transport import Result

THREADS = 8


def in_a_thread(work: Callable[[], Any]) -> Any:
    """What *work* returns; fails if it does not return."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(WAIT_S)
    assert results, "the call is blocked"
    return results[0]


def everything_that_must_not_wait(t: Tracker) -> None:
    """Each in a thread of its own, so that a re-entrant lock does not hide that somebody holds it."""
    assert in_a_thread(lambda: t.track_struct_event("a", "b"))
    in_a_thread(lambda: [t.track_struct_event("a", "b") for _ in range(1000)])
    assert adds_up(in_a_thread(t.stats))
    in_a_thread(lambda: t.set_user_id("somebody"))
    in_a_thread(lambda: t.flush(0))
    in_a_thread(lambda: t.flush(is_async=True))
    in_a_thread(lambda: repr(t))


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
def test_calls_return_while_a_request_is_on_its_way(overflow: Any) -> None:
    transport = HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, flush_interval=0, buffer_capacity=500, overflow=overflow))
    track(t, 1)
    transport.wait_for_request()
    everything_that_must_not_wait(t)
    assert transport.pending == 1, "the request is on its way still"
    transport.answer_all()
    t.close()


def test_calls_return_while_every_thread_has_a_request_on_its_way() -> None:
    transport = HeldTransport(max_batch=1)
    t = Tracker("ns", Emitter(transport=transport, flush_interval=0, threads=3))
    track(t, 3)
    transport.wait_for_request(3)
    everything_that_must_not_wait(t)
    transport.answer_all()
    t.close()


def test_calls_return_during_the_wait_before_another_attempt() -> None:
    transport = ScriptedTransport(Result(503, retry_after_s=3600))
    t = Tracker("ns", Emitter(transport=transport, flush_interval=0, max_retry_delay_seconds=3600))
    track(t, 1)
    transport.wait_for_request()
    assert in_a_thread(lambda: t.track_struct_event("a", "b"))
    assert adds_up(in_a_thread(t.stats))
    assert t.close(WAIT_S)


@pytest.mark.parametrize("callback", ["on_success", "on_failure"])
def test_calls_return_while_a_callback_runs(callback: str) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow(*_: Any) -> None:
        inside.set()
        has_happened(leave, "the end of the test")

    options: dict[str, Any] = {callback: slow}
    transport = ScriptedTransport(Result(200 if callback == "on_success" else 400))
    t = Tracker("ns", Emitter(transport=transport, flush_interval=0, **options))
    track(t, 1)
    has_happened(inside, "the callback")
    everything_that_must_not_wait(t)
    leave.set()
    t.close()


class SlowHandler(logging.Handler):
    """Logging that hangs, as to a full disk or a slow network."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.leave = threading.Event(), threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.inside.set()
        has_happened(self.leave, "the end of the test")


@pytest.fixture
def slow_logging() -> Iterator[SlowHandler]:
    handler = SlowHandler()
    ours = logging.getLogger("snowplow_tracker")
    ours.addHandler(handler)
    yield handler
    handler.leave.set()
    ours.removeHandler(handler)


def test_calls_return_while_our_own_warning_is_being_logged(slow_logging: SlowHandler) -> None:
    transport = ScriptedTransport(Result(503))
    t = Tracker("ns", Emitter(transport=transport, flush_interval=0))
    track(t, 1)
    has_happened(slow_logging.inside, "the warning")
    everything_that_must_not_wait(t)
    slow_logging.leave.set()
    t.close()


def test_calls_return_while_another_thread_waits_in_flush_or_close() -> None:
    transport = HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, flush_interval=0))
    track(t, 1)
    transport.wait_for_request()
    waiting = [threading.Thread(target=call, args=(WAIT_S,)) for call in (t.flush, t.flush)]
    for thread in waiting:
        thread.start()
    everything_that_must_not_wait(t)
    closing = threading.Thread(target=t.close, args=(WAIT_S,))
    closing.start()
    while in_a_thread(lambda: t.track_struct_event("a", "b")):
        pass
    assert adds_up(in_a_thread(t.stats))
    transport.answer_all()
    for thread in [*waiting, closing]:
        thread.join(WAIT_S)
        assert not thread.is_alive()


@pytest.fixture(params=["dead", "slow", "black hole", "trickling", "well"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "dead":
        with refused_port() as address:
            yield address
    elif request.param in ("black hole", "trickling"):
        with FaultyServer(black_hole if request.param == "black hole" else trickle) as server:
            yield server.url
    else:
        with LocalCollector() as collector:
            collector.latency(0.2 if request.param == "slow" else 0)
            yield collector.url


def test_eight_threads_track_in_milliseconds_whatever_the_collector_does(url: str) -> None:
    """A coarse bound, for a machine that does other things: the real figures are the benchmarks'."""
    with Tracker.hostname(url, shutdown_timeout=0.2) as t:
        durations: list[float] = []

        def load() -> None:
            mine = []
            for number in range(500):
                start = time.perf_counter()
                t.track_struct_event("load", "track", "label", "property", number)
                mine.append(time.perf_counter() - start)
            durations.extend(mine)

        threads = [threading.Thread(target=load) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        durations.sort()
        assert len(durations) == THREADS * 500
        assert durations[int(len(durations) * 0.99)] < 0.005
        assert adds_up(t.stats())
