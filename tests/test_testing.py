"""`LocalCollector`: what a test sees of it, its scripted answers, and that it leaves nothing behind."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from snowplow_tracker.collector.server import _OWN_PORTS
from snowplow_tracker.testing import LocalCollector

TP2 = "/com.snowplowanalytics.snowplow/tp2"
SNOWPLOW = "iglu:com.snowplowanalytics.snowplow"
CERTIFICATE = pathlib.Path(__file__).parent / "collector" / "localhost.pem"
USER = {"schema": "iglu:com.acme/user/jsonschema/1-0-0", "data": {"type": "tester", "level": 3}}
SAVE_GAME = {"schema": "iglu:com.acme/save_game/jsonschema/1-0-0", "data": {"level": 23, "at": {"x": 1, "y": 2}}}


def event(**wire: str) -> dict[str, str]:
    return {"e": "se", "p": "pc", "tv": "py-1.0.0", **wire}


def save_game() -> dict[str, str]:
    unstruct = {"schema": f"{SNOWPLOW}/unstruct_event/jsonschema/1-0-0", "data": SAVE_GAME}
    contexts = {"schema": f"{SNOWPLOW}/contexts/jsonschema/1-0-0", "data": [USER]}
    return event(e="ue", ue_pr=json.dumps(unstruct), co=json.dumps(contexts))


def send(collector: LocalCollector, *events: dict[str, str]) -> http.client.HTTPResponse:
    """POST events on a connection of their own."""
    client = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
    body = json.dumps({"schema": f"{SNOWPLOW}/payload_data/jsonschema/1-0-4", "data": list(events)})
    try:
        client.request("POST", TP2, body, {"Content-Type": "application/json; charset=utf-8"})
        response = client.getresponse()
        response.read()
        return response
    finally:
        client.close()


def in_background(action: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run *action* in a thread; the list gets its result, or the exception it raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(action())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def until(happened: Callable[[], Any], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not happened():
        assert time.monotonic() < deadline
        pause.wait(0.005)


def collector_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("snowplow-collector")]


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


class TestWhatItShows:
    def test_events_are_wire_pairs_with_data_and_contexts_decoded(self, collector: LocalCollector) -> None:
        send(collector, event(se_va="2"), save_game())
        plain, rich = collector.wait_for(2)
        assert plain == {**event(se_va="2"), "data": None, "contexts": []}
        assert rich == {**save_game(), "data": SAVE_GAME, "contexts": [USER]}

    def test_what_a_test_does_to_an_event_stays_with_the_test(self, collector: LocalCollector) -> None:
        send(collector, save_game())
        collector.wait_for(1)[0]["data"]["data"].clear()
        assert collector.events[0]["data"] == SAVE_GAME

    def test_bad_rows_say_why(self, collector: LocalCollector) -> None:
        send(collector, event(se_va="walrus"))
        (row,) = collector.bad
        assert row.error_type == "schema_violations"
        assert row.errors == ["se_va must be a decimal number, got 'walrus'"]
        assert str(row).startswith("schema_violations: se_va must be a decimal number, got 'walrus' (from track_struct")

    def test_requests_are_shown_as_they_came(self, collector: LocalCollector) -> None:
        before = time.time()
        send(collector, event(), event())
        (request,) = collector.requests
        assert (request.method, request.path, request.query, request.status) == ("POST", TP2, "", 200)
        assert request.headers["content-type"] == request.headers["Content-Type"] == "application/json; charset=utf-8"
        assert dict(request.headers)["Content-Type"] == "application/json; charset=utf-8"
        assert json.loads(request.body)["data"] == [event(), event()]
        assert request.event_count == 2
        assert before - 1 <= request.arrived_at <= time.time() + 1
        assert request.connection_id == 1

    def test_reset_forgets_all_of_it(self, collector: LocalCollector) -> None:
        send(collector, event(), event(se_va="walrus"))
        collector.reset()
        assert collector.events == collector.bad == collector.requests == []
        send(collector, event())
        assert len(collector.wait_for(1)) == 1

    def test_it_counts_what_it_no_longer_keeps(self) -> None:
        with LocalCollector(max_events=10) as collector:
            send(collector, *[event(aid=str(number)) for number in range(25)])
            assert [found["aid"] for found in collector.wait_for(25)] == [str(number) for number in range(15, 25)]

    def test_the_url_is_where_it_listens(self, collector: LocalCollector) -> None:
        assert collector.url == f"http://127.0.0.1:{collector.port}"
        assert collector.port > 0


class TestWaiting:
    def test_it_returns_as_soon_as_the_events_are_there(self, collector: LocalCollector) -> None:
        thread, outcome = in_background(lambda: collector.wait_for(2, timeout=30))
        send(collector, event())
        send(collector, event())
        thread.join(10)
        assert len(outcome[0]) == 2

    def test_on_timeout_it_says_how_many_came_and_why_others_did_not(self, collector: LocalCollector) -> None:
        send(collector, event(), *[event(se_va=f"walrus {number}") for number in range(7)])
        with pytest.raises(AssertionError) as failure:
            collector.wait_for(8, timeout=0.01)
        text = str(failure.value)
        assert text.startswith("1 of 8 events came within 0.01 s, in 1 requests\nrefused (7):")
        assert "schema_violations: se_va must be a decimal number, got 'walrus 0'" in text
        assert text.endswith("and 2 more")

    def test_nothing_is_there_at_once(self, collector: LocalCollector) -> None:
        assert collector.wait_for(0, timeout=0) == []


class TestAssertTracked:
    @pytest.mark.parametrize(
        "expected",
        [
            {},
            {"e": "ue"},
            {"e": "ue", "p": "pc", "aid": None},
            {"data": {"level": 23}},
            {"data": {"at": {"x": 1}}},
            {"data": SAVE_GAME},
            {"data": {"schema": SAVE_GAME["schema"]}},
            {"data": {"data": {"level": 23}}},
            {"contexts": [USER["schema"]]},
            {"contexts": [{"data": {"type": "tester"}}]},
            {"e": "ue", "data": {"level": 23}, "contexts": [USER["schema"]]},
        ],
    )
    def test_it_finds_an_event_by_parts_of_it(self, collector: LocalCollector, expected: dict[str, Any]) -> None:
        send(collector, save_game())
        assert collector.assert_tracked(**expected) == collector.events

    @pytest.mark.parametrize(
        ("expected", "difference"),
        [
            ({"e": "pv"}, "e is 'ue', not 'pv'"),
            ({"aid": "shop"}, "aid is None, not 'shop'"),
            ({"p": None}, "p is 'pc', not None"),
            ({"data": {"level": 24}}, "data.level is 23, not 24"),
            ({"data": {"level": "23"}}, "data.level is 23, not '23'"),
            ({"data": {"at": {"z": 1}}}, "data.at.z is missing"),
            ({"data": {"at": {"x": True}}}, "data.at.x is 1, not True"),
            ({"data": {"level": {"x": 1}}}, "data.level is 23, not an object"),
            ({"contexts": ["iglu:com.acme/x/jsonschema/1-0-0"]}, f"(it has {USER['schema']})"),
        ],
    )
    def test_a_near_miss_is_shown_with_what_differs(
        self, collector: LocalCollector, expected: dict[str, Any], difference: str
    ) -> None:
        send(collector, save_game())
        with pytest.raises(AssertionError) as failure:
            collector.assert_tracked(timeout=0, **expected)
        assert str(failure.value).startswith("expected 1 event with ")
        assert "found 0 among 1" in str(failure.value)
        assert difference in str(failure.value)

    def test_the_nearest_miss_comes_first(self, collector: LocalCollector) -> None:
        send(collector, event(), event(se_ca="shop", se_ac="add", se_va="1"), event(se_ca="shop"))
        with pytest.raises(AssertionError) as failure:
            collector.assert_tracked(timeout=0, se_ca="shop", se_ac="add", se_va="2")
        lines = str(failure.value).splitlines()
        assert lines[2] == "  event 1 (e=se): se_va is '1', not '2'"
        assert len(lines) == 5

    def test_values_are_compared_as_text(self, collector: LocalCollector) -> None:
        send(collector, event(se_va="2"))
        collector.assert_tracked(se_va=2)

    def test_an_event_without_data_does_not_match_data(self, collector: LocalCollector) -> None:
        send(collector, event())
        with pytest.raises(AssertionError, match="it has no data"):
            collector.assert_tracked(timeout=0, data={"level": 1})

    def test_it_waits_for_what_is_on_its_way(self, collector: LocalCollector) -> None:
        thread, outcome = in_background(lambda: collector.assert_tracked(times=2, timeout=30, se_ca="shop"))
        for category in ("shop", "other", "shop"):
            send(collector, event(se_ca=category))
        thread.join(10)
        assert len(outcome[0]) == 2

    def test_too_many_are_as_wrong_as_too_few(self, collector: LocalCollector) -> None:
        send(collector, event(), event())
        with pytest.raises(AssertionError, match="expected 1 event with e='se', found 2 among 2"):
            collector.assert_tracked(e="se")
        with pytest.raises(AssertionError, match="expected 0 events with e='se', found 2 among 2"):
            collector.assert_tracked(times=0, timeout=30, e="se")
        collector.assert_tracked(times=0, timeout=0, e="pv")

    def test_it_shows_what_was_refused(self, collector: LocalCollector) -> None:
        send(collector, event(se_va="walrus"))
        with pytest.raises(AssertionError, match="got 'walrus'"):
            collector.assert_tracked(timeout=0, e="se")


class TestScriptedAnswers:
    def test_a_failing_status_collects_nothing(self, collector: LocalCollector) -> None:
        collector.fail(503, headers={"Retry-After": "7"}, body=b"down")
        response = send(collector, event(), event())
        assert (response.status, response.headers["Retry-After"]) == (503, "7")
        assert collector.events == collector.bad == []
        assert [(request.status, request.event_count) for request in collector.requests] == [(503, 2)]

    def test_a_refused_body_is_not_recorded_while_failing(self, collector: LocalCollector) -> None:
        collector.fail(500)
        send(collector, {"e": "pv"})
        assert collector.bad == []

    def test_a_fault_of_a_number_of_times_ends_by_itself(self, collector: LocalCollector) -> None:
        collector.fail(503, times=2)
        assert [send(collector, event()).status for _ in range(4)] == [503, 503, 200, 200]
        assert len(collector.events) == 2

    def test_faults_of_a_number_of_times_queue_up(self, collector: LocalCollector) -> None:
        collector.fail(503, times=1)
        collector.fail(429, times=2)
        collector.fail(400)
        assert [send(collector, event()).status for _ in range(5)] == [503, 429, 429, 400, 400]

    def test_a_new_fault_replaces_one_without_end(self, collector: LocalCollector) -> None:
        collector.fail(503)
        collector.fail(500, times=1)
        assert [send(collector, event()).status for _ in range(2)] == [500, 200]

    def test_a_fault_for_no_request_is_an_error(self, collector: LocalCollector) -> None:
        with pytest.raises(ValueError, match="times must be at least 1"):
            collector.fail(503, times=0)

    def test_an_odd_success_collects(self, collector: LocalCollector) -> None:
        collector.fail(204)
        assert send(collector, event()).status == 204
        assert len(collector.events) == 1

    def test_a_script_may_be_written_before_the_start(self) -> None:
        collector = LocalCollector()
        collector.fail(503, times=1)
        with collector:
            assert [send(collector, event()).status for _ in range(2)] == [503, 200]

    @pytest.mark.parametrize("accept", [False, True])
    def test_a_dropped_connection_gives_no_answer(self, collector: LocalCollector, accept: bool) -> None:
        collector.drop_connection(times=1, accept=accept)
        with pytest.raises(http.client.RemoteDisconnected):
            send(collector, event())
        assert len(collector.events) == accept
        assert [request.status for request in collector.requests] == [None]
        assert send(collector, event()).status == 200

    def test_latency_delays_an_answer_and_what_it_collects(self, collector: LocalCollector) -> None:
        collector.latency(0.1)
        began = time.monotonic()
        assert send(collector, event()).status == 200
        assert time.monotonic() - began >= 0.1
        assert len(collector.events) == 1

    def test_recover_answers_at_once_what_latency_holds(self, collector: LocalCollector) -> None:
        collector.latency(600)
        thread, outcome = in_background(lambda: send(collector, event()).status)
        until(lambda: collector.requests)
        assert collector.events == []
        collector.recover()
        thread.join(10)
        assert outcome == [200]
        assert len(collector.events) == 1

    def test_a_black_hole_shows_its_requests_and_closes_them_on_recovery(self, collector: LocalCollector) -> None:
        collector.black_hole()
        thread, outcome = in_background(lambda: send(collector, event()))
        until(lambda: collector.requests)
        assert outcome == []
        collector.recover()
        thread.join(10)
        assert isinstance(outcome[0], http.client.RemoteDisconnected)
        assert collector.events == []
        assert send(collector, event()).status == 200

    def test_a_black_hole_swallows_many_at_once(self, collector: LocalCollector) -> None:
        collector.black_hole()
        waiting = [in_background(lambda: send(collector, event())) for _ in range(10)]
        until(lambda: len(collector.requests) == 10)
        collector.stop()
        for thread, outcome in waiting:
            thread.join(10)
            assert isinstance(outcome[0], OSError)
        assert collector_threads() == []

    def test_health_is_not_scripted(self, collector: LocalCollector) -> None:
        collector.fail(503)
        client = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
        client.request("GET", "/health")
        assert client.getresponse().status == 200
        client.close()

    def test_a_small_body_limit_can_be_set(self) -> None:
        with LocalCollector(max_body_bytes=1000) as collector:
            assert send(collector, event(ue_na="x" * 1000)).status == 413
            assert send(collector, event()).status == 200
            assert collector.bad == []


class TestStoppingAndStarting:
    def test_after_stop_the_port_refuses(self, collector: LocalCollector) -> None:
        collector.stop()
        with pytest.raises(ConnectionRefusedError):
            send(collector, event())

    def test_it_starts_again_on_the_same_port_with_what_it_had(self, collector: LocalCollector) -> None:
        port = collector.port
        for number in range(1, 4):
            send(collector, event())
            collector.stop()
            assert len(collector.events) == number
            collector.start()
            assert collector.port == port
        send(collector, event())
        assert len(collector.wait_for(4)) == 4

    def test_stop_cuts_idle_connections(self, collector: LocalCollector) -> None:
        with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as idle:
            idle.sendall(b"GET /i?e=pv HTTP/1.1\r\n\r\n")
            assert idle.recv(65536)
            collector.stop()
            assert idle.recv(65536) == b""

    def test_stop_cuts_a_request_that_waits_and_collects_nothing_of_it(self, collector: LocalCollector) -> None:
        collector.latency(600)
        thread, outcome = in_background(lambda: send(collector, event()))
        until(lambda: collector.requests)
        began = time.monotonic()
        collector.stop()
        assert time.monotonic() - began < 5
        thread.join(10)
        assert isinstance(outcome[0], OSError)
        assert collector.events == []

    def test_stop_forgets_the_script(self, collector: LocalCollector) -> None:
        collector.fail(503)
        collector.stop()
        collector.start()
        assert send(collector, event()).status == 200

    def test_starting_and_stopping_twice_does_nothing(self, collector: LocalCollector) -> None:
        collector.start()
        collector.start()
        send(collector, event())
        collector.stop()
        collector.stop()
        assert len(collector.events) == 1

    def test_it_is_started_by_any_thread_and_once(self) -> None:
        collector = LocalCollector()
        threads = [threading.Thread(target=collector.start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert collector_threads() == ["snowplow-collector"]
        collector.stop()

    def test_browsers_open_the_port_that_it_picks(self) -> None:
        # The "bad ports" of the Fetch standard, from 1024 on: Chromium says ERR_UNSAFE_PORT.
        refused = "1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080"
        assert set(map(int, refused.split())).isdisjoint(_OWN_PORTS)

    def test_picking_a_port_takes_no_number_from_a_test_that_seeded_random(self) -> None:
        random.seed(2013)
        before = random.getstate()
        with LocalCollector():
            assert random.getstate() == before

    def test_a_taken_port_is_an_error(self, collector: LocalCollector) -> None:
        with pytest.raises(OSError, match="in use"):
            LocalCollector(port=collector.port).start()

    def test_events_sent_while_it_is_stopped_and_started_are_collected_when_answered(self) -> None:
        with LocalCollector() as collector:
            answered = 0
            done = threading.Event()

            def keep_sending() -> None:
                nonlocal answered
                while not done.is_set():
                    try:
                        answered += send(collector, event()).status == 200
                    except (OSError, http.client.HTTPException):
                        continue

            thread, _ = in_background(keep_sending)
            for number in range(10):
                collector.wait_for(number + 1)
                collector.stop()
                collector.start()
            done.set()
            thread.join(10)
            assert answered <= len(collector.events) <= answered + 10

    def test_it_leaves_no_thread_and_no_socket(self) -> None:
        def descriptors() -> set[str]:
            found = set()
            for name in os.listdir("/proc/self/fd"):
                try:
                    found.add(os.readlink(f"/proc/self/fd/{name}"))
                except OSError:
                    continue
            return {target for target in found if target.startswith("socket:")}

        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("needs /proc")
        before = descriptors()
        clients = []
        with LocalCollector() as collector:
            for _ in range(5):
                clients.append(socket.create_connection(("127.0.0.1", collector.port), timeout=10))
                clients[-1].sendall(b"GET /i?e=pv HTTP/1.1\r\n\r\nGET /i?")
            collector.wait_for(5)
        for client in clients:
            client.close()
        assert collector_threads() == []
        assert descriptors() <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_may_send_and_its_end_leaves_the_parent_alone(collector: LocalCollector) -> None:
    send(collector, event(aid="parent"))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            send(collector, event(aid="child"))
            collector.stop()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    send(collector, event(aid="parent"))
    assert sorted(found["aid"] for found in collector.wait_for(3)) == ["child", "parent", "parent"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_port_refuses_and_starts_again_while_a_forked_child_lives(collector: LocalCollector) -> None:
    waiting, ending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ending)
        os.read(waiting, 1)
        os._exit(0)
    try:
        collector.stop()
        with pytest.raises(ConnectionRefusedError):
            send(collector, event())
        collector.start()
        assert send(collector, event()).status == 200
    finally:
        os.close(ending)
        os.close(waiting)
        os.waitpid(child, 0)


class TestTls:
    @pytest.fixture
    def secure(self) -> Iterator[LocalCollector]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        with LocalCollector(ssl_context=context) as running:
            yield running

    def test_it_speaks_https(self, secure: LocalCollector) -> None:
        client = http.client.HTTPSConnection(
            "127.0.0.1", secure.port, timeout=10, context=ssl.create_default_context(cafile=str(CERTIFICATE))
        )
        client.request("GET", "/i?e=pv")
        assert client.getresponse().status == 200
        client.close()
        assert secure.url.startswith("https://")
        assert len(secure.events) == 1

    def test_a_client_that_speaks_plain_http_does_no_harm(self, secure: LocalCollector) -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            send(secure, event())
        self.test_it_speaks_https(secure)

    def test_stop_cuts_a_connection_in_its_handshake(self, secure: LocalCollector) -> None:
        with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as client:
            until(lambda: len(collector_threads()) == 2)
            secure.stop()
            assert client.recv(1) == b""
        assert collector_threads() == []
