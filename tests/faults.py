"""Servers that misbehave below HTTP, on real sockets, for what `LocalCollector` has no scripted answer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

CERTIFICATES: Final = Path(__file__).resolve().parent / "certificates"
EXPIRED_PEM: Final = CERTIFICATES / "expired.pem"
"""Key and certificate for ``localhost`` and ``127.0.0.1``; self-signed, from 2013 to 2014."""
VALID_PEM: Final = CERTIFICATES / "valid.pem"
"""The same until 2113: trusted by whoever has it as CA bundle."""

ANOTHER_NAME: Final = "127.0.0.2"
"""This machine, and not in the certificates; for tests marked `needs_another_name`."""
needs_another_name = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has one loopback address")

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class Connection:
    """One accepted connection, read as HTTP as far as a faulty server needs to.

    Attributes:
        stopping: Set when the server stops: whatever waits, waits on this.
    """

    def __init__(self, stream: socket.socket, stopping: threading.Event) -> None:
        self.stream = stream
        self.stopping = stopping
        self._buffer = b""

    def read_request(self) -> bytes | None:
        """One whole request: head and body; None when the client has closed."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._receive():
                return None
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        size = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        self._buffer = rest
        while len(self._buffer) < size:
            if not self._receive():
                return None
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return head + b"\r\n\r\n" + body

    def _receive(self) -> bool:
        data = self.stream.recv(65536)
        self._buffer += data
        return bool(data)

    def send(self, data: bytes) -> None:
        """Send all of *data*."""
        self.stream.sendall(data)


class FaultyServer:
    """A server on a free port of this machine, a thread a connection; a context manager.

    Args:
        behave: What it does with each connection, until it returns.
        certificate: A PEM file that makes it speak TLS.
        host: The address of this machine at which it listens.

    Attributes:
        connections: How many were accepted so far.
        requests: How many whole requests `answering` and its like have read.
    """

    def __init__(
        self, behave: Callable[[Connection], None], certificate: Path | None = None, host: str = "127.0.0.1"
    ) -> None:
        self._behave = behave
        self._tls = _server_context(certificate) if certificate else None
        self._listener = socket.create_server((host, 0), backlog=128)
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.connections = 0
        self.url = f"{'https' if certificate else 'http'}://{host}:{self.port}"

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> FaultyServer:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept() on Linux
        self._listener.close()
        for stream in list(self._open):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="faulty-server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(stream)
            self._start(self._serve, stream)

    def _serve(self, stream: socket.socket) -> None:
        # Whatever the client does to the connection is the point of the test, not an error of the server.
        wrapped = stream
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._tls:
                wrapped = self._tls.wrap_socket(stream, server_side=True)
                self._open.add(wrapped)
            self._behave(Connection(wrapped, self._stopping))
        for one in {stream, wrapped}:
            self._open.discard(one)
            one.close()


def _server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


# --- behaviours ------------------------------------------------------------------------------------------------


def black_hole(connection: Connection) -> None:
    """Take everything and never say a word: neither an answer, nor a TLS handshake, nor a proxy's CONNECT."""
    while connection.stream.recv(65536):
        pass


def one_byte_a_second(connection: Connection) -> None:
    """Answer so slowly that no time-out between two bytes ever strikes."""
    connection.read_request()
    for byte in OK.replace(b"ok", b"o" * 10_000).replace(b": 2", b": 10000"):
        if connection.stopping.wait(1.0):
            return
        connection.send(bytes([byte]))


def trickle(connection: Connection) -> None:
    """As `one_byte_a_second`, twenty times as fast."""
    connection.read_request()
    while not connection.stopping.wait(0.05):
        connection.send(b"H")


def stall_in_the_handshake(connection: Connection) -> None:
    """Begin a TLS answer and stop in the middle of it: five bytes of a record's head, none of its body."""
    connection.stream.recv(65536)
    connection.send(b"\x16\x03\x03\x10\x00")
    black_hole(connection)


def stall_on_connect(connection: Connection) -> None:
    """A proxy that takes CONNECT and is never through to the other side."""
    connection.read_request()
    connection.stopping.wait()


def answering(*answers: bytes) -> Callable[[Connection], None]:
    """Answer the requests of each connection with these bytes in turn, the last one for good."""

    def behave(connection: Connection) -> None:
        for number in range(1_000_000):
            if connection.read_request() is None:
                return
            connection.send(answers[min(number, len(answers) - 1)])

    return behave


def answering_once(answer: bytes) -> Callable[[Connection], None]:
    """Answer one request and close: an answer that breaks off, or a keep-alive connection that does not last."""

    def behave(connection: Connection) -> None:
        if connection.read_request() is not None:
            connection.send(answer)

    return behave


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    """A plain answer."""
    lines = [f"HTTP/1.1 {code} Status", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


GARBAGE: Final = answering_once(b"\x00\xff\xfeno HTTP at all\r\n" * 50)
BODY_OF_10_MB: Final = answering_once(status(503, body=b"x" * 10_000_000))
ENDLESS_1XX: Final = answering(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)
CONTINUE_THEN_OK: Final = answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
EARLY_HINTS_THEN_OK: Final = answering(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
NOT_MODIFIED: Final = answering(b"HTTP/1.1 304 Not Modified\r\n\r\n")
BREAKS_OFF_IN_THE_STATUS_LINE: Final = answering_once(b"HTTP/1.1 2")
BREAKS_OFF_IN_THE_HEAD: Final = answering_once(b"HTTP/1.1 200 OK\r\nContent-Le")
CLOSES_IDLE_CONNECTIONS: Final = answering_once(OK)


@contextlib.contextmanager
def refused_port() -> Iterator[str]:
    """The address of a port that refuses connections, and that nobody else can get meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, and not listening
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"
