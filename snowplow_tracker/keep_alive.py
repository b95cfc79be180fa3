"""A request over a connection that has carried one already.

requests and urllib3 make the connection: proxies, TLS, certificates, what the environment says. By them each later
request would take 220 µs of CPU, in long stretches with the GIL held. Here it takes 60: one write, and of the answer
only what a `snowplow_tracker.transport.Result` needs.
"""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Final

import attrs
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ProtocolError

SMALL_BODY: Final = 4096
"""How much of an answer's body is read, in bytes, to use its connection again."""
_LONGEST_HEAD: Final = 65536
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) +([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_NO_BODY: Final = (204, 304)
_unpatched_send: Final = HTTPAdapter.send


@attrs.frozen
class Answer:
    """What a collector said.

    Attributes:
        status: The HTTP status.
        retry_after: The header ``Retry-After``.
        location: The header ``Location``.
        reusable: Whether the connection can carry another request.
        plain: Whether the body was not chunked, so that the next answer, too, can be read here.
    """

    status: int
    retry_after: str | None
    location: str | None
    reusable: bool
    plain: bool


def is_patched() -> bool:
    """Whether a test library has replaced requests' own way out: it expects to see every request."""
    return HTTPAdapter.send is not _unpatched_send


def head_of(host: str, headers: Mapping[str, str]) -> bytes:
    """What all heads of requests have in common: all but the first line and ``Content-Length``."""
    lines = {"Host": host, **headers}
    return "".join(f"{name}: {text}\r\n" for name, text in lines.items() if name != "Content-Length").encode("latin-1")


def exchange(pool: Any, request: bytes, *, timeout_s: float, ends_at: float = inf) -> Answer | None:
    """Send one request over an idle connection of a pool, and read the answer.

    Args:
        pool: A `urllib3.HTTPConnectionPool`.
        request: Head and body.
        timeout_s: How long the writing may take, and then how long the whole answer may, in seconds.
        ends_at: When the answer must be there (`time.monotonic`).

    Returns:
        The answer; or None, and nothing was sent, if no connection is open.

    Raises:
        requests.ConnectionError: The connection broke, or what came was not HTTP.
        requests.ReadTimeout: No answer came in time.
    """
    try:
        connection = pool._get_conn()  # it finds out that the server has closed a connection, or said something unasked
    except HTTPError:
        return None  # the pool was closed
    reusable = False
    try:
        if connection.sock is None:
            reusable = True  # in so far as it opens itself
            return None
        answer = _exchange(connection.sock, request, timeout_s, ends_at)
        reusable = answer.reusable
        return answer
    except TimeoutError as error:
        raise requests.ReadTimeout(error) from None
    except (OSError, http.client.HTTPException) as error:
        raise requests.ConnectionError(ProtocolError("Connection aborted.", error)) from None
    finally:
        if not reusable:
            connection.close()
        pool._put_conn(connection if reusable else None)


def _exchange(stream: socket.socket, request: bytes, timeout_s: float, ends_at: float) -> Answer:
    bound(stream, min(ends_at, monotonic() + timeout_s))
    with suppress(BrokenPipeError, ConnectionResetError):  # who will not read it to its end (413) may have said why
        stream.sendall(request)
    ends_at = min(ends_at, monotonic() + timeout_s)
    received = b""
    while True:
        version, status, end, received = _read_head(stream, received, ends_at)
        if status != 100:  # nobody asked for it, and the answer is still to come
            break
        received = received[end:]
    fields = _fields(received[:end])
    plain = b"transfer-encoding" not in fields
    kept = version == b"1" and b"close" not in fields.get(b"connection", b"").lower() and status > 199 and plain
    return Answer(
        status,
        _text(fields.get(b"retry-after")),
        _text(fields.get(b"location")),
        reusable=kept and _read_body(stream, status, fields, received[end:], ends_at),
        plain=plain,
    )


def _read_head(stream: socket.socket, received: bytes, ends_at: float) -> tuple[bytes, int, int, bytes]:
    """The minor version, the status, where the head ends, and all that was received."""
    while True:
        line = _STATUS.match(received)
        if line is None and (b"\n" in received or len(received) > _LONGEST_HEAD):
            raise http.client.BadStatusLine("…")  # what it is may hold anything
        end = _HEAD_END.search(received, line.end() - 2) if line else None
        if line and end:
            return line[1], int(line[2]), end.end(), received
        if len(received) > _LONGEST_HEAD:
            raise http.client.LineTooLong("head")
        more = _receive(stream, ends_at)
        if not more:
            if line is None:
                raise http.client.RemoteDisconnected("no answer")
            received += b"\r\n\r\n"  # the status is there: an event that was taken is not to be sent again
        received += more


def _fields(head: bytes) -> dict[bytes, bytes]:
    """Header lines by their names in small letters."""
    lines = (line.partition(b":") for line in head.split(b"\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _read_body(
    stream: socket.socket, status: int, fields: Mapping[bytes, bytes], received: bytes, ends_at: float
) -> bool:
    """Read a small body, which frees the connection; whether that went well. What goes wrong behind the status changes
    nothing."""
    told = b"0" if status in _NO_BODY else fields.get(b"content-length", b"")
    if not told.isdigit() or len(told) > 9 or int(told) > SMALL_BODY:
        return False
    size, length = len(received), int(told)
    try:
        while size < length and (more := _receive(stream, ends_at)):
            size += len(more)
    except OSError:
        return False
    return size == length


def _receive(stream: socket.socket, ends_at: float) -> bytes:
    bound(stream, ends_at)
    return stream.recv(8192)


def bound(stream: socket.socket, ends_at: float) -> None:
    """Let the next call on a socket last until *ends_at* (`time.monotonic`).

    Its own time-out bounds each call only: a server that sends a byte now and then would hold the thread for ever.
    """
    left = ends_at - monotonic()
    if left <= 0:
        raise TimeoutError("the answer takes too long")
    stream.settimeout(left)
