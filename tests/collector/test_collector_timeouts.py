"""Clients that never finish, and answers that cannot be given."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from sending import exchange

from snowplow_tracker.collector.http1 import HttpError, Request, RequestReader, Response
from snowplow_tracker.collector.server import Server


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    "beginning", [b"GE", b"GET /i HTTP/1.1\r\nA: b\r\n", b"POST /a/b HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_request_that_is_not_complete_in_time_is_refused_with_408(
    pair: tuple[socket.socket, socket.socket], beginning: bytes
) -> None:
    pair[1].sendall(beginning)
    with pytest.raises(HttpError, match=r"not complete after 0\.01 s") as refused:
        RequestReader(pair[0], 1000, read_timeout_s=0.01).read()
    assert refused.value.status == 408


def test_a_client_that_is_silent_too_long_is_let_go(pair: tuple[socket.socket, socket.socket]) -> None:
    assert RequestReader(pair[0], 1000, idle_timeout_s=0.01).read() is None


def test_a_client_that_leaves_within_its_head_is_let_go(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].sendall(b"GET /i HTTP")
    pair[1].shutdown(socket.SHUT_WR)
    assert RequestReader(pair[0], 1000).read() is None


def test_empty_lines_before_a_request_are_skipped(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].sendall(b"\r\n\r\nGET /i HTTP/1.1\n\n")
    request = RequestReader(pair[0], 1000).read()
    assert request is not None
    assert request.path == "/i"


def test_a_fault_of_our_own_is_answered_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def answer(self, request: Request) -> Response | None:
            raise RuntimeError("walrus")

        def refuse(self, error: HttpError) -> Response:
            return Response(error.status)

        def end_streams(self) -> None: ...

    server = Server(Broken(), "127.0.0.1", 0)
    server.start()
    try:
        assert b" 500 " in exchange(server.port, b"GET /i HTTP/1.1\r\nConnection: close\r\n\r\n")
    finally:
        server.stop()
    assert "could not answer a request" in caplog.text


def test_a_server_listens_on_ipv6_as_well() -> None:
    class Ok:
        def answer(self, request: Request) -> Response | None:
            return Response(200, request.local_host.encode())

        def refuse(self, error: HttpError) -> Response:
            return Response(error.status)

        def end_streams(self) -> None: ...

    server = Server(Ok(), "::1", 0)
    try:
        server.start()
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        assert server.url == f"http://[::1]:{server.port}"
        with socket.create_connection(("::1", server.port), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert client.recv(65536).endswith(b"::1")
    finally:
        server.stop()
