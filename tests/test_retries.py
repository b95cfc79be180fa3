"""A collector in trouble, on real sockets: what is sent again, what is given up, and how soon."""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from faults import (
    BODY_OF_10_MB,
    BREAKS_OFF_IN_THE_HEAD,
    CLOSES_IDLE_CONNECTIONS,
    EARLY_HINTS_THEN_OK,
    ENDLESS_1XX,
    GARBAGE,
    OK,
    Connection,
    FaultyServer,
    answering,
    answering_once,
    refused_port,
    status,
)
from processes import run, wait_until
from servers import WAIT_S, adds_up, at_first, event_ids, recording, sent_events, taking_without_answer, track

from snowplow_tracker import Tracker
from snowplow_tracker.testing import LocalCollector

# Tests should not wait for more than they are about.
QUICK: dict[str, Any] = {"flush_interval": 0, "max_retry_delay_seconds": 0.1}
FINAL = (400, 401, 403, 410, 422)


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture(params=["post", "get"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Failures:
    """An ``on_failure`` that keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[dict[str, str]]]] = []

    def __call__(self, sent: int, events: list[dict[str, str]]) -> None:
        self.calls.append((sent, events))

    @property
    def events(self) -> list[dict[str, str]]:
        return [event for _, events in self.calls for event in events]


def gaps(collector: LocalCollector) -> list[float]:
    """Seconds between one request and the next."""
    times = [request.arrived_at for request in collector.requests]
    return [after - before for before, after in itertools.pairwise(times)]


# --- what is sent again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 408, 418, 429, 500, 502, 503, 504, 599])
def test_an_answer_of_trouble_is_retried_until_the_event_arrives_once(collector: LocalCollector, status: int) -> None:
    collector.fail(status, times=2)
    with Tracker.hostname(collector.url, **QUICK) as t:
        (event_id,) = track(t, 1)
        assert event_ids(collector.wait_for(1, WAIT_S)) == [event_id]
        assert t.flush()
        stats = t.stats()
    assert (stats.delivered, stats.requests, stats.retries) == (1, 3, 2)
    assert not sum(stats.dropped.values())


def test_a_retry_carries_the_same_id_and_the_time_of_its_own_attempt(collector: LocalCollector, method: str) -> None:
    collector.fail(503, times=3)
    before_ms = time.time() * 1000
    with Tracker.hostname(collector.url, method=method, **QUICK) as t:
        (event_id,) = track(t, 1)
        (collected,) = collector.wait_for(1, WAIT_S)
    attempts = [_first_event(request) for request in collector.requests]
    assert [attempt["eid"] for attempt in attempts] == [event_id] * 4
    sent_ms = [int(attempt["stm"]) for attempt in attempts]
    assert sent_ms == sorted(set(sent_ms)), "each attempt has its own time"
    assert int(collected["stm"]) == sent_ms[-1]
    for milliseconds, request in zip(sent_ms, collector.requests, strict=True):
        assert before_ms - 1 <= milliseconds <= request.arrived_at * 1000 + 1
    assert len({attempt["dtm"] for attempt in attempts}) == 1


def _first_event(request: Any) -> dict[str, str]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl(request.query)) if request.method == "GET" else sent_events(request)[0]


def test_a_request_without_an_answer_is_retried_after_its_time_out(collector: LocalCollector) -> None:
    collector.black_hole()
    with Tracker.hostname(collector.url, request_timeout=0.5, **QUICK) as t:
        (event_id,) = track(t, 1)
        wait_until(lambda: t.stats().requests >= 2, WAIT_S)
        collector.recover()
        assert event_ids(collector.wait_for(1, WAIT_S)) == [event_id]


def test_a_dropped_connection_is_retried(collector: LocalCollector, method: str) -> None:
    collector.drop_connection(times=3)
    with Tracker.hostname(collector.url, method=method, **QUICK) as t:
        ids = track(t, 3)
        collector.wait_for(3, WAIT_S)
        assert t.flush()
    assert sorted(event_ids(collector.events)) == sorted(ids)


def test_a_collector_that_comes_up_late_gets_what_was_tracked_before(collector: LocalCollector) -> None:
    url = collector.url
    collector.stop()
    with Tracker.hostname(url, **QUICK) as t:
        ids = track(t, 10)
        wait_until(lambda: t.stats().retries >= 1, WAIT_S)
        collector.start()
        collector.wait_for(10, WAIT_S)
    assert event_ids(collector.events) == ids


# --- how soon --------------------------------------------------------------------------------------------------


def test_no_wait_exceeds_max_retry_delay_seconds(collector: LocalCollector) -> None:
    collector.fail(503, times=8)
    with Tracker.hostname(collector.url, flush_interval=0, max_retry_delay_seconds=0.3) as t:
        track(t, 1)
        collector.wait_for(1, WAIT_S)
    # Without the cap, eight waits average 63 s. The rest is what a busy machine may add.
    assert max(gaps(collector)) < 0.3 + 1.0


def test_a_collector_in_trouble_is_not_asked_at_full_speed(collector: LocalCollector) -> None:
    collector.fail(503, times=10)
    with Tracker.hostname(collector.url, flush_interval=0, max_retry_delay_seconds=0) as t:
        track(t, 1)
        collector.wait_for(1, WAIT_S)
    assert min(gaps(collector)) >= 0.04


def test_retry_after_in_seconds_is_honoured(collector: LocalCollector) -> None:
    collector.fail(503, times=1, headers={"Retry-After": "1"})
    with Tracker.hostname(collector.url, flush_interval=0) as t:
        track(t, 1)
        collector.wait_for(1, WAIT_S)
    assert gaps(collector)[0] >= 0.95


def test_retry_after_as_a_date_is_honoured(collector: LocalCollector) -> None:
    until = int(time.time()) + 2
    collector.fail(429, times=1, headers={"Retry-After": formatdate(until, usegmt=True)})
    with Tracker.hostname(collector.url, flush_interval=0) as t:
        track(t, 1)
        collector.wait_for(1, WAIT_S)
    assert collector.requests[-1].arrived_at >= until - 0.05


@pytest.mark.parametrize("asked", ["3600", formatdate(4_000_000_000, usegmt=True)], ids=["seconds", "date"])
def test_retry_after_is_capped(collector: LocalCollector, asked: str) -> None:
    collector.fail(503, times=1, headers={"Retry-After": asked})
    with Tracker.hostname(collector.url, flush_interval=0, max_retry_delay_seconds=0.3) as t:
        track(t, 1)
        collector.wait_for(1, WAIT_S)
    assert gaps(collector)[0] >= 0.28


@pytest.mark.parametrize("asked", ["soon", "-5", "", "1e3", "²", "Thu, 99 Foo 2026", "Mon, 01 Jan 0001 00:00:00 GMT"])
def test_a_retry_after_that_makes_no_sense_changes_nothing(collector: LocalCollector, asked: str) -> None:
    answer = status(503, f"Retry-After: {asked}".rstrip()).decode().encode("latin-1")
    with (
        FaultyServer(at_first(answering_once(answer), 1, answering(OK))) as server,
        Tracker.hostname(server.url, **QUICK) as t,
    ):
        track(t, 1)
        wait_until(lambda: t.stats().delivered == 1, WAIT_S)
        assert t.stats().requests == 2


# --- what is given up ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("final", FINAL)
def test_a_final_answer_drops_the_batch_as_refused_and_tells_once(collector: LocalCollector, final: int) -> None:
    failures = Failures()
    collector.fail(final, times=1)
    with Tracker.hostname(collector.url, flush_interval=60, on_failure=failures) as t:
        refused = track(t, 5)
        result = t.flush()
        assert (bool(result), result.delivered, result.dropped) == (True, 0, 5)
        later = track(t, 2)
        assert t.flush().delivered == 2
        stats = t.stats()
    assert [sent for sent, _ in failures.calls] == [0]
    assert event_ids(failures.events) == refused
    assert event_ids(collector.events) == later
    assert stats.dropped["refused"] == 5
    assert stats.requests == 2


def test_custom_retry_codes_make_a_status_final(collector: LocalCollector) -> None:
    failures = Failures()
    collector.fail(503, times=1)
    options: dict[str, Any] = {"flush_interval": 60, "custom_retry_codes": {503: False}, "on_failure": failures}
    with Tracker.hostname(collector.url, **options) as t:
        ids = track(t, 1)
        assert t.flush().dropped == 1
        assert t.stats().dropped["refused"] == 1
    assert len(collector.requests) == 1
    assert event_ids(failures.events) == ids


def test_custom_retry_codes_make_a_final_status_worth_retrying(collector: LocalCollector) -> None:
    failures = Failures()
    collector.fail(400, times=2)
    with Tracker.hostname(collector.url, custom_retry_codes={400: True}, on_failure=failures, **QUICK) as t:
        ids = track(t, 1)
        assert event_ids(collector.wait_for(1, WAIT_S)) == ids
    assert not failures.calls
    assert len(collector.requests) == 3


@pytest.mark.parametrize("position", [0, 5, 10])
def test_the_one_event_that_is_too_large_does_not_take_its_batch_with_it(position: int) -> None:
    failures = Failures()
    with (
        LocalCollector(max_body_bytes=4000) as collector,
        Tracker.hostname(collector.url, flush_interval=60, on_failure=failures) as t,
    ):
        ids = track(t, position)
        large = t.track_self_describing_event(_save_game("x" * 6000)).event_id
        ids += track(t, 10 - position)
        result = t.flush()
        assert (bool(result), result.delivered, result.dropped) == (True, 10, 1)
        assert t.stats().dropped["too_large"] == 1
        assert event_ids(collector.events) == ids
    assert [event_ids(events) for _, events in failures.calls] == [[large]]


def test_a_batch_that_is_too_large_as_a_whole_arrives_in_pieces() -> None:
    with (
        LocalCollector(max_body_bytes=2000) as collector,
        Tracker.hostname(collector.url, flush_interval=60) as t,
    ):
        ids = track(t, 100)
        result = t.flush()
        assert (result.delivered, result.dropped) == (100, 0)
        assert event_ids(collector.events) == ids
        assert t.stats().retries == 0, "a half is no repetition"


def test_a_half_of_a_split_batch_may_fail_and_be_retried(collector: LocalCollector) -> None:
    collector.fail(413, times=1)
    collector.fail(503, times=2)
    with Tracker.hostname(collector.url, flush_interval=60, max_retry_delay_seconds=0.1) as t:
        ids = track(t, 10)
        assert t.flush().delivered == 10
    assert event_ids(collector.events) == ids


def _save_game(text: str) -> Any:
    from snowplow_tracker import SelfDescribingJson

    return SelfDescribingJson("iglu:com.acme/save_game/jsonschema/1-0-0", {"text": text})


# --- redirects -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_warning_says_which_address_to_use(
    collector: LocalCollector, method: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "snowplow_tracker")
    with LocalCollector() as elsewhere:
        collector.fail(code, headers={"Location": f"{elsewhere.url}/i?e=pv&secret=1"})
        with Tracker.hostname(collector.url, method=method, **QUICK) as t:
            track(t, 1)
            wait_until(lambda: t.stats().requests >= 3, WAIT_S)
            assert t.stats().delivered == 0
            warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
            collector.recover()
            collector.wait_for(1, WAIT_S)
        assert elsewhere.requests == []
    (warning,) = warnings
    assert f"to {elsewhere.url}: " in warning
    assert str(code) in warning
    assert "secret" not in warning


# --- connections -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["post", "get"])
def test_a_connection_that_the_server_closed_on_the_next_request_is_retried_at_once_in_silence(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    requests: list[bytes] = []
    behave = at_first(taking_without_answer(requests), 1, recording(requests, OK))
    with FaultyServer(behave) as server, Tracker.hostname(server.url, method=method, flush_interval=0) as t:
        for number in range(1, 3):
            track(t, 1)
            assert t.flush()
            assert t.stats().delivered == number
        stats = t.stats()
        assert (stats.requests, stats.retries) == (3, 1)
    assert [r.getMessage() for r in caplog.records if r.name.startswith("snowplow_tracker")] == []


def test_a_connection_that_the_server_closed_while_idle_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    with FaultyServer(CLOSES_IDLE_CONNECTIONS) as server, Tracker.hostname(server.url, flush_interval=0) as t:
        for number in range(1, 6):
            track(t, 1)
            assert t.flush()
            assert t.stats().delivered == number
        assert not sum(t.stats().dropped.values())
    assert [r.getMessage() for r in caplog.records if r.name.startswith("snowplow_tracker")] == []


def test_connections_of_several_threads_that_were_closed_at_once_are_all_retried_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every connection breaks on its second request, and four threads find out in the same moment."""
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    together = threading.Barrier(4)
    requests: list[bytes] = []

    def first_four(connection: Connection) -> None:
        for answer in (OK, b""):
            request = connection.read_request()
            if request is None:
                return
            requests.append(request)
            together.wait(WAIT_S)
            connection.send(answer)

    behave = at_first(first_four, 4, recording(requests, OK))
    with FaultyServer(behave) as server, Tracker.hostname(server.url, method="get", threads=4) as t:
        for number in (4, 8):
            track(t, 4)
            assert t.flush()
            assert t.stats().delivered == number
        assert t.stats().requests == 12
    assert [r.getMessage() for r in caplog.records if r.name.startswith("snowplow_tracker")] == []


def test_connections_are_kept_alive(collector: LocalCollector, method: str) -> None:
    with Tracker.hostname(collector.url, method=method, flush_interval=0) as t:
        for _ in range(5):
            track(t, 1)
            assert t.flush()
    assert len({request.connection_id for request in collector.requests}) == 1


# --- after an outage -------------------------------------------------------------------------------------------


def test_after_an_outage_batches_obey_batch_size_and_byte_limit(collector: LocalCollector) -> None:
    url = collector.url
    collector.stop()
    with Tracker.hostname(url, batch_size=40, byte_limit=12_000, max_retry_delay_seconds=0.1) as t:
        ids = track(t, 500)
        ids += [t.track_self_describing_event(_save_game("x" * 1000)).event_id for _ in range(50)]
        wait_until(lambda: t.stats().retries >= 1, WAIT_S)
        collector.start()
        assert t.flush(WAIT_S)
    assert event_ids(collector.events) == ids
    assert max(request.event_count for request in collector.requests) == 40
    assert max(len(request.body) for request in collector.requests) <= 12_000
    # They are not small for nothing either: all but the last fill one of the limits.
    full = [r for r in collector.requests[:-1] if r.event_count == 40 or len(r.body) > 12_000 - 1700]
    assert len(full) >= len(collector.requests) - 3


def test_get_settles_event_by_event(collector: LocalCollector) -> None:
    failures = Failures()
    collector.fail(503, times=1)
    collector.fail(400, times=1)
    with Tracker.hostname(collector.url, method="get", on_failure=failures, **QUICK) as t:
        ids = track(t, 10)
        assert t.flush(WAIT_S)
        stats = t.stats()
    assert event_ids(collector.events) == ids[1:]
    assert event_ids(failures.events) == ids[:1]
    assert (stats.delivered, stats.dropped["refused"]) == (9, 1)


def test_several_threads_send_no_event_twice(collector: LocalCollector, method: str) -> None:
    with Tracker.hostname(collector.url, method=method, threads=4, batch_size=5, **QUICK) as t:
        ids: list[str] = []
        for fault in (lambda: collector.fail(503, times=5), lambda: collector.drop_connection(times=5), lambda: None):
            fault()
            ids += track(t, 60)
        assert t.flush(WAIT_S)
        assert t.stats().delivered == 180
        assert adds_up(t.stats())
    assert sorted(event_ids(collector.events)) == sorted(ids)


def test_several_threads_work_side_by_side(collector: LocalCollector) -> None:
    collector.black_hole()
    with Tracker.hostname(collector.url, method="get", threads=4, **QUICK) as t:
        track(t, 8)
        wait_until(lambda: len(collector.requests) == 4, WAIT_S, "four requests at once")
        collector.recover()
        collector.wait_for(8, WAIT_S)


# --- servers that speak no HTTP --------------------------------------------------------------------------------


def _resets(connection: Connection) -> None:
    import socket
    import struct

    connection.read_request()
    connection.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _endless_header(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not connection.stopping.is_set():
        connection.send(b"x" * 65536)


TROUBLE: dict[str, Callable[[Connection], None]] = {
    "garbage": GARBAGE,
    "a body of 10 MB": BODY_OF_10_MB,
    "100 Continue without end": ENDLESS_1XX,
    "304": answering_once(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "101": answering_once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "a head that breaks off": BREAKS_OFF_IN_THE_HEAD,
    "a body that breaks off": answering_once(b"HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\nshort"),
    "a chunked body that breaks off": answering_once(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nxx"),
    "chunks that are none": answering_once(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx"),
    "no status": answering_once(b"HTTP/1.1 \r\n\r\n"),
    "a status that is no number": answering_once(b"HTTP/1.1 abc OK\r\n\r\n"),
    "two lengths": answering_once(b"HTTP/1.1 503 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "a negative length": answering_once(b"HTTP/1.1 503 No\r\nContent-Length: -5\r\n\r\nab"),
    "a body that lies about gzip": answering_once(status(503, "Content-Encoding: gzip", body=b"no gzip at all")),
    "a header without end": _endless_header,
    "a thousand headers": answering_once(status(503, *[f"X-{n}: y" for n in range(1000)])),
    "a location that is no URL": answering_once(status(302, "Location: http://[::1:bad")),
    "a reset": _resets,
}


@pytest.mark.parametrize("method", ["post", "get"])
@pytest.mark.parametrize("trouble", TROUBLE)
def test_an_answer_that_is_no_answer_costs_a_retry_and_nothing_else(trouble: str, method: str) -> None:
    with (
        FaultyServer(at_first(TROUBLE[trouble], 2, answering(OK))) as server,
        Tracker.hostname(server.url, method=method, request_timeout=0.3, **QUICK) as t,
    ):
        track(t, 1)
        wait_until(lambda: t.stats().delivered == 1, WAIT_S, "the event to be delivered")
        track(t, 1)
        assert t.flush(WAIT_S), "the worker lives on"
        stats = t.stats()
    assert (stats.delivered, sum(stats.dropped.values())) == (2, 0)


DELIVERED: dict[str, Callable[[Connection], None]] = {
    "a body that breaks off": answering_once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
    "a body that never comes": answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
    "a chunked body that breaks off": answering_once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nxx"),
    "chunks that are none": answering_once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx"),
    "a body of 10 MB": answering_once(status(200, body=b"x" * 10_000_000)),
    "a body that lies about gzip": answering(status(200, "Content-Encoding: gzip", body=b"no gzip at all")),
    "a retry-after that is no number": answering(status(200, "Retry-After: ²").decode().encode("latin-1")),
    "no body and no connection": answering_once(b"HTTP/1.0 200 OK\r\n\r\n"),
    "nothing more to say": answering(b"HTTP/1.1 204 No Content\r\n\r\n"),
}


@pytest.mark.parametrize("answer", DELIVERED)
def test_an_event_that_was_answered_200_is_not_sent_again_whatever_follows(answer: str) -> None:
    requests: list[bytes] = []

    class Counting(Connection):
        def read_request(self) -> bytes | None:
            request = super().read_request()
            requests.extend([request] if request is not None else [])
            return request

    with (
        FaultyServer(lambda connection: DELIVERED[answer](Counting(connection.stream, connection.stopping))) as server,
        Tracker.hostname(server.url, request_timeout=1, **QUICK) as t,
    ):
        for number in (1, 2):
            track(t, 1)
            assert t.flush(WAIT_S)
            assert t.stats().delivered == number
    sent = [event["eid"] for request in requests for event in sent_events(request)]
    assert len(sent) == len(set(sent)) == 2


def test_a_connection_is_not_used_again_after_an_interim_answer() -> None:
    """What follows a 103 may still be on its way, and would pass for the answer to the next request."""
    reused: list[bytes] = []

    def early_hints(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        again = connection.read_request()
        if again is not None:
            reused.append(again)

    with (
        FaultyServer(at_first(early_hints, 2, answering(OK))) as server,
        Tracker.hostname(server.url, **QUICK) as t,
    ):
        track(t, 1)
        wait_until(lambda: t.stats().delivered == 1, WAIT_S)
    assert reused == []


def test_early_hints_do_not_end_the_worker() -> None:
    with (
        FaultyServer(at_first(EARLY_HINTS_THEN_OK, 2, answering(OK))) as server,
        Tracker.hostname(server.url, **QUICK) as t,
    ):
        track(t, 1)
        wait_until(lambda: t.stats().delivered == 1, WAIT_S)


def test_large_answers_take_no_memory() -> None:
    with FaultyServer(at_first(BODY_OF_10_MB, 30, answering(OK))) as server:
        finished = run(
            """
            import resource
            from snowplow_tracker import Tracker
            t = Tracker.hostname(URL, flush_interval=0, max_retry_delay_seconds=0)
            before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            track(t, 1)
            assert t.flush(20)
            say(grown_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb, **t.stats().dropped)
            """,
            server.url,
        )
    assert finished.fact("grown_kb") < 8_000


def test_a_refused_port_is_asked_a_bounded_number_of_times() -> None:
    with refused_port() as url, Tracker.hostname(url, flush_interval=0, shutdown_timeout=0.2) as t:
        track(t, 100)
        wait_until(lambda: t.stats().requests >= 2, WAIT_S)
        for _ in range(5):
            assert not t.flush(0.05)
        # One an attempt of its own accord, and one a flush: not thousands a second.
        assert t.stats().requests <= 20


def test_what_was_sent_is_json_after_every_fault(collector: LocalCollector) -> None:
    collector.fail(500, times=1)
    with Tracker.hostname(collector.url, **QUICK) as t:
        track(t, 3)
        collector.wait_for(3, WAIT_S)
    assert {json.dumps(sorted(json.loads(r.body))) for r in collector.requests} == {'["data", "schema"]'}
