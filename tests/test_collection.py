"""Trackers come and go: what they held is delivered, and they leave nothing behind."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest
from faults import refused_port
from processes import run, wait_until
from servers import WAIT_S, HeldTransport, ScriptedTransport, event_ids, track

from snowplow_tracker import Emitter, Tracker
from snowplow_tracker.testing import LocalCollector

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="it counts the files in /proc")


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


def emitter_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "snowplow-emitter"]


def test_a_tracker_that_is_dropped_delivers_what_it_holds_and_its_thread_ends(collector: LocalCollector) -> None:
    before = set(emitter_threads())
    t = Tracker.hostname(collector.url, flush_interval=60)
    ids = track(t, 250)
    (thread,) = set(emitter_threads()) - before
    del t
    gc.collect()
    assert event_ids(collector.wait_for(250, WAIT_S)) == ids
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_a_tracker_that_is_dropped_during_a_request_delivers_it_and_the_rest(collector: LocalCollector) -> None:
    transport = HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, batch_size=5, flush_interval=60))
    ids = track(t, 12)
    transport.wait_for_request()
    (thread,) = [thread for thread in emitter_threads() if thread.ident in transport.threads]
    del t
    gc.collect()
    transport.answer_all()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert [event["eid"] for events in transport.offered for event in events] == ids


def test_a_tracker_that_is_dropped_is_freed_while_its_thread_still_works() -> None:
    transport = HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, flush_interval=0))
    track(t, 1)
    transport.wait_for_request()
    gone = weakref.ref(t)
    del t
    gc.collect()
    assert gone() is None
    transport.answer_all()


def test_an_emitter_that_is_dropped_is_freed_without_a_collection_of_garbage() -> None:
    """By reference count alone: a game may have turned the garbage collector off."""
    gc.disable()
    try:
        transport = ScriptedTransport()
        t = Tracker("ns", Emitter(transport=transport, flush_interval=60))
        track(t, 3)
        gone = weakref.ref(t)
        del t
        assert gone() is None
        wait_until(lambda: len(transport.offered) == 1, WAIT_S, "what it held to be sent")
    finally:
        gc.enable()


def test_an_emitter_lives_as_long_as_one_of_its_trackers() -> None:
    transport = ScriptedTransport()
    emitter = Emitter(transport=transport, flush_interval=60)
    first, second = Tracker("first", emitter), Tracker("second", emitter)
    track(first, 1)
    del first, emitter
    gc.collect()
    ids = track(second, 1)
    assert second.flush(WAIT_S)
    assert event_ids(transport.offered[-1])[-1:] == ids
    second.close()


def test_a_dropped_trackers_callbacks_are_still_called() -> None:
    told: list[str] = []
    t = Tracker(
        "ns",
        Emitter(
            transport=ScriptedTransport(), flush_interval=60, on_success=lambda events: told.extend(event_ids(events))
        ),
    )
    ids = track(t, 3)
    del t
    gc.collect()
    wait_until(lambda: told == ids, WAIT_S)


def test_a_closed_tracker_leaves_no_thread() -> None:
    before = set(emitter_threads())
    with Tracker("ns", Emitter(transport=ScriptedTransport(), threads=4)) as t:
        track(t, 10)
        assert len(set(emitter_threads()) - before) == 4
    assert set(emitter_threads()) - before == set()


def test_a_tracker_that_tracks_nothing_starts_no_thread(collector: LocalCollector) -> None:
    before = set(emitter_threads())
    t = Tracker.hostname(collector.url)
    assert t.flush()
    assert set(emitter_threads()) == before
    t.close()
    assert set(emitter_threads()) == before
    assert collector.requests == []


# --- many of them ----------------------------------------------------------------------------------------------

MANY = """
    import gc
    from snowplow_tracker import Tracker, lifecycle

    def traces():
        gc.collect()
        return {{
            "threads": threading.active_count(),
            "files": len(os.listdir("/proc/self/fd")),
            "exit handlers": atexit._ncallbacks(),
            "loggers": len(logging.root.manager.loggerDict),
            "remembered": len(lifecycle._live),
        }}

    def use(number):
        t = Tracker.hostname(URL, {options})
        t.track_struct_event("life", "short", None, None, number)
        {end}

    for number in range(3):
        use(number)
    {settle}
    before = traces()
    most = 0
    for number in range({count}):
        use(number)
        most = max(most, threading.active_count())
    {settle}
    after = traces()
    say(before=before, after=after, most=most)
"""
SETTLE = """
    gc.collect()
    deadline = time.monotonic() + 20
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
"""


@on_linux
def test_a_thousand_trackers_made_used_and_closed_leave_no_trace(collector: LocalCollector) -> None:
    script = MANY.format(options="", end="assert t.close()", count=1000, settle="gc.collect()")
    finished = run(script, collector.url, timeout=60)
    assert finished.fact("after") == finished.fact("before")
    assert finished.fact("most") <= 3
    assert len(set(event_ids(collector.wait_for(1003, WAIT_S)))) == 1003


@on_linux
@pytest.mark.parametrize("end", ["pass", "t.flush()", "t.me = t"], ids=["at once", "flushed", "in a cycle"])
def test_two_hundred_trackers_dropped_without_close_leave_no_trace(collector: LocalCollector, end: str) -> None:
    script = MANY.format(options="flush_interval=60", end=end, count=200, settle=SETTLE.strip())
    finished = run(script, collector.url, timeout=60)
    assert finished.fact("after") == finished.fact("before")
    assert len(set(event_ids(collector.wait_for(203, WAIT_S)))) == 203


@on_linux
def test_trackers_that_are_closed_while_the_collector_is_down_leave_no_trace() -> None:
    with refused_port() as url:
        script = MANY.format(
            options="flush_interval=0, shutdown_timeout=0.02", end="t.close()", count=50, settle=SETTLE.strip()
        )
        finished = run(script, url, timeout=60)
    assert finished.fact("after") == finished.fact("before")


@on_linux
def test_trackers_that_are_never_used_leave_no_trace(collector: LocalCollector) -> None:
    script = MANY.replace('t.track_struct_event("life", "short", None, None, number)', "")
    finished = run(script.format(options="", end="pass", count=200, settle="gc.collect()"), collector.url, timeout=60)
    assert finished.fact("after") == finished.fact("before")
    assert finished.fact("most") == 1
