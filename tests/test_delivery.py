"""What becomes of events between the call and the collector, over real sockets."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from faults import Connection, FaultyServer, status
from processes import wait_until

from snowplow_tracker import Emitter, Tracker
from snowplow_tracker.testing import LocalCollector

FAST: dict[str, Any] = {"max_retry_delay_seconds": 0.1, "flush_interval": 0.01}
BY_THREES: dict[str, Any] = {"max_retry_delay_seconds": 0.1, "flush_interval": 60, "batch_size": 3}
"""Three events are one request, however slow the machine is between them."""
DEAD = "127.0.0.1:1"


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector(max_body_bytes=20_000) as running:
        yield running


def track(tracker: Tracker, count: int, label: str = "x") -> list[str]:
    return [tracker.track_struct_event("test", "track", label, str(n)).event_id for n in range(count)]


def ids(collector: LocalCollector) -> list[str]:
    return [event["eid"] for event in collector.events]


def adds_up(tracker: Tracker) -> bool:
    stats = tracker.stats()
    return stats.tracked + stats.recovered == (
        stats.delivered + stats.queued + stats.in_flight + sum(stats.dropped.values())
    )


# --- batches ------------------------------------------------------------------------------------------------------


def test_events_arrive_in_order_and_in_batches_of_the_size_that_was_set(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, batch_size=10, flush_interval=60) as tracker:
        tracked = track(tracker, 95)
        assert tracker.flush()
        assert ids(collector) == tracked
        assert max(request.event_count for request in collector.requests) <= 10
        assert tracker.stats().delivered == 95


def test_a_full_batch_does_not_wait_for_the_window(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, batch_size=5, flush_interval=60) as tracker:
        track(tracker, 5)
        collector.wait_for(5)


def test_an_event_does_not_wait_longer_than_the_window(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, flush_interval=0.01) as tracker:
        track(tracker, 1)
        collector.wait_for(1)


def test_a_request_never_exceeds_the_byte_limit(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, byte_limit=2_000, flush_interval=60) as tracker:
        track(tracker, 100, label="y" * 50)
        assert tracker.flush()
        assert len(collector.events) == 100
        assert max(len(request.body) for request in collector.requests) <= 2_000


def test_all_requests_of_a_tracker_share_one_connection(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url) as tracker:
        for _ in range(5):
            track(tracker, 1)
            assert tracker.flush()
    assert len({request.connection_id for request in collector.requests}) == 1


def test_a_get_sends_one_event_a_request(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, method="get") as tracker:
        tracked = track(tracker, 7)
        assert tracker.flush()
    assert sorted(ids(collector)) == sorted(tracked)
    assert len(collector.requests) == 7


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 408, 429, 404, 302])
def test_an_answer_that_may_pass_is_retried_with_the_same_ids(collector: LocalCollector, status: int) -> None:
    collector.fail(status, times=2)
    with Tracker.hostname(collector.url, **BY_THREES) as tracker:
        tracked = track(tracker, 3)
        collector.wait_for(3)
        assert tracker.flush()
        assert ids(collector) == tracked
        assert tracker.stats().retries == 2
        stamps = [json.loads(request.body)["data"][0]["stm"] for request in collector.requests]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 410, 422])
def test_a_final_answer_drops_the_batch_and_says_so_once(collector: LocalCollector, status: int) -> None:
    failed: list[Any] = []
    collector.fail(status, times=1)
    with Tracker.hostname(collector.url, on_failure=lambda *given: failed.append(given), **BY_THREES) as tracker:
        tracked = track(tracker, 3)
        assert tracker.flush()
        assert tracker.stats().dropped["refused"] == 3
        assert track(tracker, 1)
        assert tracker.flush()
    ((count, events),) = failed
    assert count == 0
    assert [event["eid"] for event in events] == tracked
    assert len(collector.requests) == 2


def test_custom_retry_codes_overrule(collector: LocalCollector) -> None:
    collector.fail(503, times=1)
    with Tracker.hostname(collector.url, custom_retry_codes={503: False, 400: True}, **FAST) as tracker:
        track(tracker, 1)
        assert tracker.flush()
        assert tracker.stats().dropped["refused"] == 1
        collector.fail(400, times=1)
        track(tracker, 1)
        collector.wait_for(1)
        assert tracker.flush()
        assert tracker.stats().delivered == 1


def test_a_413_splits_down_to_the_event_that_is_too_large(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, **FAST) as tracker:
        small = track(tracker, 10)
        tracker.track_struct_event("test", "huge", "z" * 4000, "z" * 1000)
        giant = "g" * 15_000
        from snowplow_tracker import SelfDescribingJson

        tracker.track_self_describing_event(SelfDescribingJson("iglu:com.acme/x/jsonschema/1-0-0", {"a": giant}))
        more = track(tracker, 10)
        assert tracker.flush()
        stats = tracker.stats()
        assert stats.dropped["too_large"] == 1
        assert stats.delivered == 21
    arrived = ids(collector)
    assert len(arrived) == len(set(arrived)) == 21
    assert set(small + more) <= set(arrived)


def test_a_connection_that_was_closed_while_idle_is_no_outage(
    collector: LocalCollector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="snowplow_tracker")
    with Tracker.hostname(collector.url) as tracker:
        track(tracker, 1)
        assert tracker.flush()
        collector.drop_connection(times=1)
        track(tracker, 1)
        assert tracker.flush()
        assert len(collector.wait_for(2)) == 2
    assert caplog.records == []


def test_an_outage_is_told_in_two_lines_without_content(
    collector: LocalCollector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="snowplow_tracker")
    collector.fail(503)
    with Tracker.hostname(collector.url, **FAST) as tracker:
        track(tracker, 20, label="private")
        wait_until(lambda: tracker.stats().retries > 3, what="some retries")
        collector.recover()
        assert tracker.flush()
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]
    assert "lost: it answers 503" in caplog.text
    assert "back after" in caplog.text
    assert "20 events waited" in caplog.text
    assert "private" not in caplog.text


def test_a_redirect_is_not_followed_and_the_warning_names_the_address(
    collector: LocalCollector, caplog: pytest.LogCaptureFixture
) -> None:
    with LocalCollector() as elsewhere:
        collector.fail(302, headers={"Location": f"{elsewhere.url}/i?e=secret"})
        with Tracker.hostname(collector.url, shutdown_timeout=0.2, **FAST) as tracker:
            track(tracker, 1)
            assert not tracker.flush(0)
            wait_until(lambda: tracker.stats().retries, what="a second attempt")  # by then the first answer was told of
        assert tracker.stats().delivered == 0
        assert elsewhere.requests == []
    assert f"redirects (302) to {elsewhere.url}" in caplog.text
    assert "secret" not in caplog.text


# --- the buffer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "kept"), [("drop_newest", "first"), ("drop_oldest", "last")])
def test_a_full_buffer_drops_exactly_what_it_says(collector: LocalCollector, policy: Any, kept: str) -> None:
    options: dict[str, Any] = {"buffer_capacity": 100, "overflow": policy, "flush_interval": 60, "request_timeout": 30}
    collector.black_hole()
    with Tracker.hostname(collector.url, **options) as tracker:
        receipts = [tracker.track_struct_event("test", "track", str(n)) for n in range(150)]
        stats = tracker.stats()
        assert stats.dropped["overflow"] == 50
        assert stats.queued + stats.in_flight == 100
        assert adds_up(tracker)
        accepted = [bool(receipt) for receipt in receipts]
        if kept == "first":
            assert accepted == [True] * 100 + [False] * 50
            assert tuple(receipts[-1]) == (False, "the buffer is full")
        else:
            assert all(accepted)
        collector.recover()
        tracker.close(5)


def test_a_blocking_buffer_waits_for_room_and_no_longer_than_its_bound(collector: LocalCollector) -> None:
    collector.black_hole()
    options: dict[str, Any] = {"overflow": "block", "buffer_capacity": 5, "request_timeout": 30, **FAST}
    with Tracker.hostname(collector.url, block_timeout=0.05, **options) as impatient:
        receipts = [impatient.track_struct_event("a", "b") for _ in range(6)]
        assert [bool(receipt) for receipt in receipts] == [True] * 5 + [False]
        collector.recover()
    with Tracker.hostname(collector.url, block_timeout=20, **options) as patient:
        assert all(patient.track_struct_event("a", "b") for _ in range(50))
        assert patient.flush()
        assert patient.stats().delivered == 50


def test_an_old_event_expires(collector: LocalCollector) -> None:
    collector.fail(503)
    with Tracker.hostname(collector.url, max_event_age_s=0.05, **FAST) as tracker:
        track(tracker, 3)
        wait_until(lambda: tracker.stats().dropped["expired"] == 3, what="the events to expire")
        assert adds_up(tracker)


# --- flush and close ----------------------------------------------------------------------------------------------


def test_flush_returns_by_its_timeout_when_the_collector_is_a_black_hole(collector: LocalCollector) -> None:
    collector.black_hole()
    with Tracker.hostname(collector.url, shutdown_timeout=0.1) as tracker:
        track(tracker, 3)
        result = tracker.flush(0.2)
        assert not result
        assert (result.delivered, result.dropped, result.remaining) == (0, 0, 3)
    assert tracker.stats().dropped["shutdown"] == 3
    assert adds_up(tracker)


def test_flush_cuts_a_back_off_short(collector: LocalCollector) -> None:
    collector.fail(503, times=1, headers={"Retry-After": "60"})
    with Tracker.hostname(collector.url) as tracker:
        track(tracker, 3)
        tracker.flush(0)
        wait_until(lambda: tracker.stats().requests == 1, what="the first attempt")
        assert tracker.flush(10)
        assert tracker.stats().delivered == 3


def test_flush_ends_while_other_threads_keep_tracking(collector: LocalCollector) -> None:
    stop = threading.Event()
    with Tracker.hostname(collector.url) as tracker:

        def busy() -> None:
            while not stop.is_set():
                tracker.track_struct_event("a", "b")

        threads = [threading.Thread(target=busy) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            assert tracker.flush(20) or tracker.stats().dropped["overflow"]
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_flush_from_a_callback_returns_at_once_and_says_what_remains(collector: LocalCollector) -> None:
    results: list[Any] = []
    tracker = Tracker.hostname(collector.url, batch_size=1, on_success=lambda events: results.append(tracker.flush(30)))
    track(tracker, 3)
    assert tracker.flush()
    tracker.close()
    assert len(results) == 3
    assert results[-1]


def test_closing_twice_and_from_two_threads_delivers_once(collector: LocalCollector) -> None:
    tracker = Tracker.hostname(collector.url)
    tracked = track(tracker, 50)
    closers = [threading.Thread(target=tracker.close) for _ in range(2)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
    assert tracker.close()
    assert ids(collector) == tracked
    status, message = tracker.track_struct_event("a", "b")
    assert (status, message) == (False, "the tracker is closed")
    assert tracker.stats().dropped["closed"] == 1
    assert adds_up(tracker)


def test_what_close_could_not_deliver_is_counted_and_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    tracker = Tracker.hostname(DEAD, shutdown_timeout=0.2)
    track(tracker, 25)
    tracker.close()
    assert tracker.stats().dropped["shutdown"] == 25
    assert [r.getMessage() for r in caplog.records if "shutdown" in r.getMessage()] == [
        "25 events could not be delivered in time and are dropped (shutdown)"
    ]


def test_a_closed_tracker_leaves_no_thread(collector: LocalCollector) -> None:
    emitter = Emitter(collector.url)
    with Tracker("ns", emitter) as tracker:
        track(tracker, 1)
        assert any(thread.name == "snowplow-emitter" for thread in emitter._delivery._threads)
    assert not any(thread.is_alive() for thread in emitter._delivery._threads)


def test_a_tracker_dropped_without_close_delivers_and_its_thread_ends(collector: LocalCollector) -> None:
    tracker = Tracker.hostname(collector.url, flush_interval=60)
    tracked = track(tracker, 10)
    (thread,) = tracker.emitters[0]._delivery._threads
    del tracker
    collector.wait_for(10)
    assert ids(collector) == tracked
    thread.join(10)
    assert not thread.is_alive()


# --- callbacks ----------------------------------------------------------------------------------------------------


def test_a_raising_callback_harms_nothing_and_its_text_is_not_logged(
    collector: LocalCollector, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(events: list[dict[str, str]]) -> None:
        raise RuntimeError(f"private {events}")

    with Tracker.hostname(collector.url, on_success=fail) as tracker:
        for _ in range(2):
            track(tracker, 1)
            assert tracker.flush()
        assert tracker.stats().delivered == 2
    assert "a callback raised RuntimeError" in caplog.text
    assert "private" not in caplog.text


def test_a_callback_may_track(collector: LocalCollector) -> None:
    tracker = Tracker.hostname(
        collector.url,
        on_success=lambda events: [tracker.track_page_view("http://b.com") for e in events if e["e"] == "se"],
    )
    track(tracker, 3)
    tracker.flush()
    collector.wait_for(6)
    tracker.close()
    assert tracker.stats().delivered == 6


# --- accounting ---------------------------------------------------------------------------------------------------


def test_the_numbers_add_up_at_every_moment_under_threads_and_faults(collector: LocalCollector) -> None:
    broken: list[Any] = []
    done = threading.Event()
    options: dict[str, Any] = {"threads": 2, "buffer_capacity": 300, "batch_size": 20, **FAST}
    with Tracker.hostname(collector.url, overflow="drop_oldest", **options) as tracker:

        def sample() -> None:
            while not done.is_set():
                if not adds_up(tracker):
                    broken.append(tracker.stats())

        sampler = threading.Thread(target=sample)
        sampler.start()
        workers = [threading.Thread(target=track, args=(tracker, 500)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for status in (503, 400, 429):
            collector.fail(status, times=3)
        for worker in workers:
            worker.join()
        assert tracker.flush(20)
        done.set()
        sampler.join()
        stats = tracker.stats()
    assert broken == []
    assert stats.tracked == 2000
    arrived = ids(collector)
    assert len(arrived) == len(set(arrived)) == stats.delivered


# --- fork ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_parent_and_child_deliver_their_own_events_each_once(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, flush_interval=60) as tracker:
        parents = track(tracker, 5, label="parent")
        child = os.fork()
        if child == 0:
            track(tracker, 3, label="child")
            os._exit(0 if tracker.flush(10) and tracker.stats().tracked == 3 else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        assert tracker.flush()
    arrived = collector.events
    assert sorted(e["eid"] for e in arrived if e["se_la"] == "parent") == sorted(parents)
    assert sum(e["se_la"] == "child" for e in arrived) == 3
    assert len({e["eid"] for e in arrived}) == 8


# --- signals ------------------------------------------------------------------------------------------------------


def test_signal_handlers_can_be_undone() -> None:
    from snowplow_tracker import install_signal_handlers

    before = signal.getsignal(signal.SIGUSR1)
    undo = install_signal_handlers([signal.SIGUSR1])
    assert signal.getsignal(signal.SIGUSR1) is not before
    undo()
    assert signal.getsignal(signal.SIGUSR1) is before


# --- consent ------------------------------------------------------------------------------------------------------


def test_disabling_gives_up_what_waits_for_its_next_attempt(collector: LocalCollector) -> None:
    collector.fail(503, times=1, headers={"Retry-After": "60"})
    with Tracker.hostname(collector.url, flush_interval=0.01) as tracker:
        track(tracker, 3)
        wait_until(lambda: tracker.stats().requests == 1)
        tracker.disable()
        wait_until(lambda: tracker.stats().dropped["disabled"] == 3, what="the events to be given up")
        tracker.enable()
        (wanted,) = track(tracker, 1)
        assert tracker.flush(5)
        assert adds_up(tracker)
    assert ids(collector) == [wanted]


def test_disabling_in_the_middle_of_a_request_that_fails_does_not_repeat_it() -> None:
    release = threading.Event()

    def hold_and_fail(connection: Connection) -> None:
        connection.read_request()
        asked.append(1)
        release.wait(20)
        connection.send(status(503))

    asked: list[int] = []
    with (
        FaultyServer(hold_and_fail) as server,
        Tracker.hostname(server.url, **BY_THREES, request_timeout=20) as tracker,
    ):
        track(tracker, 3)
        wait_until(lambda: bool(asked))
        track(tracker, 2)
        tracker.disable()
        assert tracker.stats().in_flight == 3
        assert tracker.stats().dropped["disabled"] == 2
        release.set()
        wait_until(lambda: tracker.stats().dropped["disabled"] == 5)
        assert adds_up(tracker)
        assert tracker.flush(5)
    assert len(asked) == 1
