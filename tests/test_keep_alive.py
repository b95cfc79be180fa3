"""Requests after the first, which do not go by way of requests: they must look and end as that one does."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import socket
import threading
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any, Final

import attrs
import pytest
import responses
from faults import CERTIFICATES, OK, VALID_PEM, Connection, FaultyServer
from hypothesis import given
from hypothesis import strategies as st
from servers import recording, transport

from snowplow_tracker import keep_alive
from snowplow_tracker.testing import LocalCollector
from snowplow_tracker.transport import Result

FRAGMENT: Final = b'{"e":"pv","p":"pc","tv":"py-1.0.0","url":"http://e.com/?a b"'
BOTH = pytest.mark.parametrize("method", ["post", "get"])


def wait_for_close(connection: Connection) -> None:
    """Read on until the client has closed."""
    while connection.stream.recv(65536):
        pass


# --- what is sent ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("certificate", [None, VALID_PEM], ids=["http", "https"])
def test_the_second_request_is_to_the_byte_what_requests_sends(
    method: str, certificate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATES / "valid.pem"))
    received: list[bytes] = []
    with FaultyServer(recording(received, OK), certificate) as server:
        way = transport(method, server.url, anonymous=True)
        results = [way.send([FRAGMENT], None) for _ in range(3)]
        by_requests = way._adapter.pool.num_requests
        way.close()
    assert results == [Result(200)] * 3
    assert (server.connections, by_requests) == (1, 1)
    first, *later = [head_and_body(request) for request in received]
    assert later == [first, first]


def head_and_body(request: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Head and body without what differs: the order of fields, and the time of sending."""
    head, _, body = re.sub(rb'(stm(?:=|":"))[0-9]{13}', rb"\1", request).partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    return line, sorted(fields), body


def test_a_test_library_that_replaces_requests_sees_every_request() -> None:
    received: list[bytes] = []
    with FaultyServer(recording(received, OK)) as server:
        way = transport("post", server.url)
        assert [way.send([FRAGMENT], None).status for _ in range(2)] == [200, 200]
        with responses.RequestsMock() as mocked:
            mocked.post(way.url, status=503)
            assert way.send([FRAGMENT], None) == Result(503)
            assert json.loads(mocked.calls[0].request.body or b"")["data"][0]["e"] == "pv"
        way.close()
    assert len(received) == 2


# --- what comes back -------------------------------------------------------------------------------------------


def answer(status: str = "200 OK", *fields: str, body: bytes = b"ok", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{version} {status}", *fields, "", ""]).encode("latin-1") + body


TWO: Final = "Content-Length: 2"
ANSWERS: Final = {
    "200": answer("200 OK", TWO),
    "200 without a reason": answer("200", TWO),
    "200 with names in any case": answer("200 OK", "cOnTeNt-lEnGtH:2", "X-Other: a: b"),
    "200, lines ended by line feeds": answer("200 OK", TWO).replace(b"\r\n", b"\n"),
    "204": answer("204 No Content", body=b""),
    "304": answer("304 Not Modified", "Content-Length: 100", body=b""),
    "200 in chunks": answer("200 OK", "Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n"),
    "200 of HTTP/1.0": answer("200 OK", TWO, version="HTTP/1.0"),
    "200 and close": answer("200 OK", TWO, "Connection: close"),
    "200 without a length": answer("200 OK"),
    "200 that breaks off": answer("200 OK", "Content-Length: 100"),
    "200 and half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "200 with more than it said": answer("200 OK", TWO, body=b"ok and more"),
    "200 with a length that is none": answer("200 OK", "Content-Length: two"),
    "200 with a long length": answer("200 OK", "Content-Length: " + "9" * 400),
    "200, large": answer("200 OK", "Content-Length: 100000", body=b"x" * 100_000),
    "100, then 200": answer("100 Continue", body=b"") + answer("200 OK", TWO),
    "103": answer("103 Early Hints", "Link: </a>", body=b""),
    "302": answer("302 Found", TWO, "Location: https://user:secret@b.com:8443/i?e=pv"),
    "302, Latin-1": answer("302 Found", TWO, "Location: https://b\xfccher.example/"),
    "413": answer("413 Too Large", TWO),
    "429": answer("429 Slow Down", TWO, "Retry-After: 17"),
    "503": answer("503 Trouble", TWO, "Retry-After:  5 "),
    "999": answer("999 What", TWO),
}
NO_ANSWERS: Final = {
    "nothing": b"",
    "garbage": b"\x16\x03\x01\x02\x00 garbage\r\n\r\n",
    "garbage without an end": b"x" * 200_000,
    "half a status line": b"HTTP/1.1 20",
    "HTTP/2": b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status of words": b"HTTP/1.1 fine\r\n\r\n",
    "a head without an end": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 200_000,
}


def results_of(raw: bytes, method: str, in_pieces: int | None = None) -> tuple[Result, Result]:
    """What a transport makes of an answer to the first and to the second request of a connection."""

    def behave(connection: Connection, plain_before: int) -> None:
        for number in itertools.count():
            if connection.read_request() is None:
                return
            if number < plain_before:
                connection.send(OK)
                continue
            size = in_pieces or len(raw) or 1
            for start in range(0, len(raw), size):
                connection.send(raw[start : start + size])
            return

    found = []
    for plain_before in (0, 1):
        with FaultyServer(lambda connection, n=plain_before: behave(connection, n)) as server:  # type: ignore[misc]
            way = transport(method, server.url)
            for _ in range(plain_before):
                assert way.send([FRAGMENT], None) == Result(200)
            found.append(way.send([FRAGMENT], None))
            way.close()
    return found[0], found[1]


@BOTH
@pytest.mark.parametrize("raw", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("in_pieces", [None, 7], ids=["at once", "in pieces"])
def test_an_answer_means_the_same_to_every_request(raw: bytes, method: str, in_pieces: int | None) -> None:
    if in_pieces and len(raw) > 10_000:
        in_pieces = 9_000
    first, second = results_of(raw, method, in_pieces)
    assert first.status is not None
    assert second == first


@BOTH
@pytest.mark.parametrize("raw", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_is_asked_again_over_a_new_connection(raw: bytes, method: str) -> None:
    first, second = results_of(raw, method)
    assert first.status is None
    # The server answers the first request of its next connection as it should: only the second attempt tells.
    assert second == Result(200, requests=2)


@pytest.mark.parametrize(
    ("raw", "connections"),
    [
        (ANSWERS["200"], 1),
        (ANSWERS["204"], 1),
        (ANSWERS["200 in chunks"], 1),
        (ANSWERS["503"], 1),
        (ANSWERS["200, large"], 5),
        (ANSWERS["200 and close"], 5),
        (ANSWERS["200 without a length"], 5),
    ],
)
def test_a_connection_is_used_again_only_after_a_small_and_whole_answer(raw: bytes, connections: int) -> None:
    with FaultyServer(recording([], raw)) as server:
        way = transport("post", server.url)
        results = [way.send([FRAGMENT], None) for _ in range(5)]
        way.close()
    assert {result.requests for result in results} == {1}
    assert server.connections == connections


def test_what_a_server_said_unasked_is_no_answer_to_the_next_request() -> None:
    said = threading.Event()

    def behave(connection: Connection) -> None:
        # Else the second of two small messages waits for the first one's acknowledgement.
        connection.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            connection.read_request()
            connection.send(OK)
        connection.send(answer("408 Request Timeout", TWO, "Connection: close"))
        said.set()
        wait_for_close(connection)

    with FaultyServer(behave) as server:
        way = transport("post", server.url)
        for _ in range(3):
            assert [way.send([FRAGMENT], None) for _ in range(2)] == [Result(200)] * 2
            assert said.wait(10)
            said.clear()
        way.close()
    assert server.connections == 3


def test_an_answer_that_came_before_the_whole_request_was_read_counts() -> None:
    # What a server does with a body that is too large for it: it says so and hangs up.
    def behave(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.stream.recv(1000)
        connection.send(answer("413 Too Large", TWO, "Connection: close"))
        connection.stream.shutdown(socket.SHUT_WR)
        wait_for_close(connection)

    with FaultyServer(behave) as server:
        way = transport("post", server.url)
        assert way.send([FRAGMENT], None) == Result(200)
        assert way.send([b'{"e":"pv","url":"%b"' % (b"x" * 3_000_000)], None).status == 413
        way.close()


@BOTH
def test_a_server_that_answers_a_byte_now_and_then_holds_no_request_longer_than_its_time_out(method: str) -> None:
    def behave(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.read_request()
        for position in range(len(OK)):
            if connection.stopping.wait(0.2):
                return
            connection.send(OK[position : position + 1])

    for deadline, options in ((None, {"timeout": (5.0, 0.5)}), (0.5, {"timeout": (60.0, 60.0)})):
        with FaultyServer(behave) as server:
            way = transport(method, server.url, **options)
            way.send([FRAGMENT], None)
            start = monotonic()
            assert way.send([FRAGMENT], deadline) == Result(error="ReadTimeout (no answer within request_timeout)")
            assert monotonic() - start < 5
            way.close()


def test_a_server_that_reads_nothing_holds_no_request_longer_than_its_time_out() -> None:
    def behave(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.stopping.wait(30)

    with FaultyServer(behave) as server:
        way = transport("post", server.url, timeout=(5.0, 0.5))
        way.send([FRAGMENT], None)
        start = monotonic()
        result = way.send([b'{"e":"pv","url":"%b"' % (b"x" * 20_000_000)], None)
        assert result == Result(error="ReadTimeout (no answer within request_timeout)")
        assert monotonic() - start < 5
        way.close()


def test_a_pool_that_was_closed_has_no_connection() -> None:
    by_requests = 0
    with LocalCollector() as collector:
        way = transport("post", collector.url)
        for _ in range(2):
            assert [way.send([FRAGMENT], None) for _ in range(2)] == [Result(200)] * 2
            by_requests += way._adapter.pool.num_requests
            way.close()
    assert by_requests == 2


# --- any answer, beside http.client ----------------------------------------------------------------------------

TOKENS = st.from_regex(r"[A-Za-z][A-Za-z\-]{0,12}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f\x85\xa0"), max_size=30)
FIELDS = st.lists(
    st.tuples(st.one_of(TOKENS, st.sampled_from(["Retry-After", "Location"])), VALUES),
    max_size=8,
    unique_by=lambda field: field[0].lower(),
)


def read_by(reader: Callable[[socket.socket], Any], raw: bytes) -> Any:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(raw)
        theirs.shutdown(socket.SHUT_WR)
        return reader(ours)


def by_http_client(stream: socket.socket) -> tuple[Any, ...]:
    with http.client.HTTPResponse(stream) as response:
        response.begin()
        return response.status, response.getheader("Retry-After"), response.getheader("Location")


def by_us(stream: socket.socket) -> tuple[Any, ...]:
    answer = keep_alive._exchange(stream, b"", 5.0, inf)
    return answer.status, answer.retry_after, answer.location


@given(status=st.integers(200, 999), reason=VALUES, fields=FIELDS)
def test_any_head_says_what_http_client_reads_in_it(status: int, reason: str, fields: list[tuple[str, str]]) -> None:
    raw = answer(f"{status} {reason}", *[f"{name}: {value}" for name, value in fields])
    assert read_by(by_us, raw) == read_by(by_http_client, raw)


@given(raw=st.binary(max_size=300), before=st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", OK[:-4]]))
def test_any_bytes_are_an_answer_or_a_connection_that_broke(raw: bytes, before: bytes) -> None:
    try:
        found = read_by(lambda stream: keep_alive._exchange(stream, b"", 5.0, inf), before + raw)
    except (OSError, http.client.HTTPException):
        return
    assert attrs.has(type(found))
    assert 100 < found.status < 1000
