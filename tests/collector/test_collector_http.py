"""The collector over a socket: routes, headers, and clients that behave badly."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading

import pytest
from sending import BASICS, JSON, TP2, exchange, payload_data

from snowplow_tracker.testing import LocalCollector

HEADERS = {"Content-Type": JSON}
PAIR = "/com.snowplowanalytics.snowplow/"
ASK = b"GET /i?e=pv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ASK_ONCE = b"GET /i?e=pv HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def ask(
    client: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[http.client.HTTPResponse, bytes]:
    client.request(method, target, body, headers or {})
    response = client.getresponse()
    return response, response.read()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


class TestRoutes:
    @pytest.mark.parametrize("path", ["/i", "/ice.png", PAIR + "tp1", PAIR + "tp2", "/com.acme/v1"])
    def test_a_get_is_answered_with_a_pixel_that_is_not_cached(
        self, client: http.client.HTTPConnection, path: str
    ) -> None:
        response, body = ask(client, "GET", path + "?e=pv")
        assert response.status == 200
        assert response.headers["Content-Type"] == "image/gif"
        assert "no-cache" in response.headers["Cache-Control"]
        assert body[:6] in (b"GIF87a", b"GIF89a")
        assert body[6:10] == b"\x01\x00\x01\x00"

    @pytest.mark.parametrize("path", ["/i", "/ice.png", PAIR + "tp1", PAIR + "tp2"])
    def test_a_head_is_collected_and_answered_without_a_body(
        self, collector: LocalCollector, client: http.client.HTTPConnection, path: str
    ) -> None:
        response, body = ask(client, "HEAD", path + "?e=pv")
        assert (response.status, body) == (200, b"")
        assert int(response.headers["Content-Length"]) > 0
        assert ask(client, "GET", "/health")[1] == b"ok"
        assert len(collector.wait_for(1)) == 1

    @pytest.mark.parametrize("path", [TP2, "/com.acme/v1"])
    def test_a_post_is_answered_ok(self, client: http.client.HTTPConnection, path: str) -> None:
        response, body = ask(client, "POST", path, payload_data(BASICS), HEADERS)
        assert (response.status, body) == (200, b"ok")
        assert response.headers["Content-Type"].startswith("text/plain")

    def test_a_200_says_nothing_about_validity(
        self, collector: LocalCollector, client: http.client.HTTPConnection
    ) -> None:
        assert ask(client, "POST", TP2, b"walrus", HEADERS)[0].status == 200
        assert collector.bad[0].error_type == "tracker_protocol_violations"

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/i"),
            ("POST", "/ice.png"),
            ("POST", "/"),
            ("GET", "/i/"),
            ("POST", TP2 + "/"),
            ("POST", "/a/b/c"),
            ("POST", "//tp2"),
            ("POST", "/a"),
            ("PUT", TP2),
            ("DELETE", TP2),
            ("PATCH", TP2),
            ("PUT", "/i"),
            ("GET", "/r/tp2"),
            ("POST", "/health"),
            ("GET", "/../../etc/passwd"),
        ],
    )
    def test_anything_else_is_not_found_and_lost(
        self, collector: LocalCollector, client: http.client.HTTPConnection, method: str, path: str
    ) -> None:
        assert ask(client, method, path + "?e=pv", payload_data(BASICS), HEADERS)[0].status == 404
        assert collector.events == collector.bad == []
        assert [(request.status, request.event_count) for request in collector.requests] == [(404, 0)]

    def test_redirects_are_disabled(self, client: http.client.HTTPConnection) -> None:
        assert ask(client, "GET", "/r/tp2?u=http%3A%2F%2Fexample.com")[1] == b"redirects disabled"

    @pytest.mark.parametrize("path", ["/health", "/sink-health", "/robots.txt"])
    def test_health_is_answered_and_not_tracked(
        self, collector: LocalCollector, client: http.client.HTTPConnection, path: str
    ) -> None:
        assert ask(client, "GET", path + "?e=pv")[0].status == 200
        assert collector.events == collector.bad == []


class TestCors:
    @pytest.mark.parametrize("path", [TP2, "/i", "/", "/anything/at/all", "*"])
    def test_a_preflight_is_always_allowed(self, client: http.client.HTTPConnection, path: str) -> None:
        response, _ = ask(client, "OPTIONS", path, headers={"Origin": "https://shop.example"})
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert response.headers["Access-Control-Allow-Headers"] == "Content-Type, SP-Anonymous"
        assert response.headers["Access-Control-Max-Age"] == "3600"

    def test_without_an_origin_any_is_allowed(self, client: http.client.HTTPConnection) -> None:
        assert ask(client, "OPTIONS", TP2)[0].headers["Access-Control-Allow-Origin"] == "*"
        assert ask(client, "GET", "/i?e=pv")[0].headers["Access-Control-Allow-Origin"] == "*"

    def test_a_post_of_another_origin_may_read_its_answer(self, client: http.client.HTTPConnection) -> None:
        response, _ = ask(client, "POST", TP2, payload_data(BASICS), {**HEADERS, "Origin": "https://shop.example"})
        assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"

    def test_an_origin_cannot_smuggle_a_header_into_the_answer(self, collector: LocalCollector) -> None:
        data = ASK_ONCE.replace(b"Host", b"Origin: x\rSet-Cookie: a=b\r\nHost")
        assert status(exchange(collector.port, data)) == 400


class TestCookie:
    def test_a_client_gets_an_id_of_its_own(self, client: http.client.HTTPConnection) -> None:
        cookies = [ask(client, "GET", "/i?e=pv")[0].headers["Set-Cookie"] for _ in range(2)]
        assert re.match(r"sp=[0-9a-f]{8}-[0-9a-f-]{27}; Expires=.* GMT; Path=/; Secure; HttpOnly", cookies[0])
        assert cookies[0] != cookies[1]

    def test_a_client_keeps_its_id(self, client: http.client.HTTPConnection) -> None:
        sent = "sp=c6ef3124-b53a-4b13-a233-0088f79dcbcb"
        assert ask(client, "GET", "/i?e=pv", headers={"Cookie": sent})[0].headers["Set-Cookie"].startswith(sent + ";")

    def test_an_anonymous_client_gets_none(self, client: http.client.HTTPConnection) -> None:
        assert "Set-Cookie" not in ask(client, "GET", "/i?e=pv", headers={"SP-Anonymous": "*"})[0].headers

    def test_a_nuid_cannot_smuggle_a_header_into_the_answer(self, client: http.client.HTTPConnection) -> None:
        response, _ = ask(client, "GET", "/i?e=pv&nuid=x%0d%0aEvil:%20yes")
        assert "Evil" not in response.headers


class TestConnections:
    def test_a_connection_is_kept_alive(self, collector: LocalCollector, client: http.client.HTTPConnection) -> None:
        for _ in range(3):
            assert ask(client, "POST", TP2, payload_data(BASICS), HEADERS)[0].headers["Connection"] == "keep-alive"
        assert len({request.connection_id for request in collector.requests}) == 1

    def test_a_client_that_says_close_gets_a_close(self, collector: LocalCollector) -> None:
        answer = exchange(collector.port, ASK_ONCE)
        assert status(answer) == 200
        assert b"Connection: close\r\n" in answer

    def test_http_1_0_closes_unless_asked_not_to(self, collector: LocalCollector) -> None:
        assert status(exchange(collector.port, b"GET /i?e=pv HTTP/1.0\r\n\r\n")) == 200
        both = b"GET /i?e=pv HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + b"GET /i?e=pv HTTP/1.0\r\n\r\n"
        assert exchange(collector.port, both).count(b"HTTP/1.1 200") == 2

    def test_pipelined_requests_are_answered_in_order(self, collector: LocalCollector) -> None:
        body = payload_data(BASICS)
        post = b"POST %s HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            TP2.encode(),
            len(body),
            body,
        )
        answer = exchange(collector.port, ASK + post + b"GET /nowhere HTTP/1.1\r\n\r\n" + ASK_ONCE)
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200", b"404", b"200"]
        assert len(collector.events) == 3

    def test_a_client_may_close_its_sending_side_first(self, collector: LocalCollector) -> None:
        assert status(exchange(collector.port, ASK, half_close=True)) == 200

    def test_a_request_may_arrive_a_byte_at_a_time(self, collector: LocalCollector) -> None:
        body = payload_data(BASICS)
        head = b"POST %s HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in head % (TP2.encode(), len(body)) + body:
                connection.sendall(bytes([byte]))
            assert status(connection.recv(65536)) == 200
        assert len(collector.wait_for(1)) == 1

    def test_a_client_that_asks_may_continue(self, collector: LocalCollector) -> None:
        body = payload_data(BASICS)
        head = (
            f"POST {TP2} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as connection:
            connection.sendall(head.encode())
            assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(body)
            assert status(connection.recv(65536)) == 200

    def test_a_chunked_body_is_read(self, collector: LocalCollector) -> None:
        body = payload_data(BASICS)
        chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:]))
        head = f"POST {TP2} HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        answer = exchange(collector.port, head + chunks + b"0\r\nTrailer: x\r\n\r\n" + ASK_ONCE)
        assert answer.count(b"HTTP/1.1 200") == 2
        assert len(collector.events) == 2

    def test_an_absolute_target_is_taken_for_its_path(self, collector: LocalCollector) -> None:
        assert status(exchange(collector.port, ASK_ONCE.replace(b"/i?", b"http://example.com/i?"))) == 200
        assert len(collector.events) == 1

    def test_a_raw_blank_in_the_target_reaches_the_enrichment(self, collector: LocalCollector) -> None:
        assert status(exchange(collector.port, ASK_ONCE.replace(b"e=pv", b"e=pv&page=a b"))) == 200
        assert collector.bad[0].error_type == "collector_payload_format_violation"

    def test_raw_utf8_in_the_target_is_read_as_such(self, collector: LocalCollector) -> None:
        assert status(exchange(collector.port, ASK_ONCE.replace(b"e=pv", "e=pv&page=ü".encode()))) == 200
        assert collector.events[0]["page"] == "ü"


class TestBadClients:
    @pytest.mark.parametrize(
        "data",
        [
            b"garbage\r\n\r\n",
            b"garbage\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x00" * 100,
            b"GET\r\n",
            b"GET /i\r\n\r\n",
            b"GET /i HTTP/2.0\r\n\r\n",
            b"GET  HTTP/1.1\r\n\r\n",
            b"GET /i\x00 HTTP/1.1\r\n\r\n",
            b"GET /i HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET /i HTTP/1.1\r\n: no name\r\n\r\n",
            b"GET /i HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            b"GET /i HTTP/1.1\r\nBlank : x\r\n\r\n",
            b"POST /a/b HTTP/1.1\r\nContent-Length: walrus\r\n\r\n",
            b"POST /a/b HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST /a/b HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST /a/b HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /a/b HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"POST /a/b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nwalrus\r\n",
            b"POST /a/b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
            b"POST /a/b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nabc\r\n",
        ],
    )
    def test_what_is_no_request_is_refused_at_once(self, collector: LocalCollector, data: bytes) -> None:
        answer = exchange(collector.port, data)
        assert status(answer) == 400
        assert b"Connection: close\r\n" in answer
        assert status(exchange(collector.port, ASK_ONCE)) == 200

    def test_a_body_that_ends_early_is_refused_and_not_collected(self, collector: LocalCollector) -> None:
        data = b"POST /a/b HTTP/1.1\r\nContent-Length: 100\r\n\r\nshort"
        assert status(exchange(collector.port, data, half_close=True)) == 400
        assert collector.bad == []

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"GET /i?" + b"x" * 20_480 + b" HTTP/1.1\r\n\r\n", 414),
            (b"GET /i?" + b"x" * 100_000, 414),
            (b"GET /i HTTP/1.1\r\nX: " + b"x" * 41_000 + b"\r\n\r\n", 431),
            (b"GET /i HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, 431),
        ],
    )
    def test_a_head_beyond_the_limits_is_refused(self, collector: LocalCollector, data: bytes, expected: int) -> None:
        assert status(exchange(collector.port, data)) == expected

    def test_a_head_just_within_the_limits_is_taken(self, collector: LocalCollector) -> None:
        line = b"GET /i?e=pv&x=" + b"x" * (20_480 - 23) + b" HTTP/1.1\r\n"
        data = line + b"Connection: close\r\nX: " + b"x" * 40_900 + b"\r\n\r\n"
        assert status(exchange(collector.port, data)) == 200

    def test_a_body_of_two_mebibytes_is_answered_and_one_byte_more_is_413(
        self, collector: LocalCollector, client: http.client.HTTPConnection
    ) -> None:
        assert ask(client, "POST", TP2, b"x" * 2_097_152, HEADERS)[0].status == 200
        assert collector.bad[0].error_type == "size_violation"
        assert ask(client, "POST", TP2, b"x" * 2_097_153, HEADERS)[0].status == 413
        assert [request.status for request in collector.requests] == [200, 413]
        assert len(collector.bad) == 1

    def test_a_chunked_body_has_the_same_limit(self, collector: LocalCollector) -> None:
        head = f"POST {TP2} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        assert status(exchange(collector.port, head + chunk * 2 + b"1\r\nx\r\n0\r\n\r\n")) == 413

    def test_slow_clients_do_not_hold_up_others(self, collector: LocalCollector) -> None:
        slow = [socket.create_connection(("127.0.0.1", collector.port), timeout=10) for _ in range(50)]
        for number, connection in enumerate(slow):
            connection.sendall(b"POST /a/b HTTP/1.1\r\nContent-Length: 9\r\n\r\nx" if number % 2 else b"GE")
        try:
            assert status(exchange(collector.port, ASK_ONCE)) == 200
        finally:
            for connection in slow:
                connection.close()

    def test_a_client_that_goes_without_reading_leaves_no_trace(self, collector: LocalCollector) -> None:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as connection:
                connection.sendall(ASK * 5)
        assert status(exchange(collector.port, ASK_ONCE)) == 200
        collector.stop()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("snowplow-collector")]


def test_many_clients_at_once_lose_nothing(collector: LocalCollector) -> None:
    body = payload_data(*[BASICS] * 10)

    def send() -> None:
        client = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=30)
        for _ in range(25):
            assert ask(client, "POST", TP2, body, HEADERS)[0].status == 200
        client.close()

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(collector.wait_for(2000)) == 2000
    assert len(collector.requests) == 200
    assert len({request.connection_id for request in collector.requests}) == 8


def test_a_hostile_event_is_kept_as_text(collector: LocalCollector, client: http.client.HTTPConnection) -> None:
    event = {**BASICS, "page": "<script>\x00\ud800\u2028</script>", "uid": "é" * 255}
    assert ask(client, "POST", TP2, payload_data(event), HEADERS)[0].status == 200
    assert collector.wait_for(1)[0]["page"] == event["page"]
    assert json.loads(ask(client, "GET", "/micro/good")[1])[0]["rawEvent"]["parameters"] == event
