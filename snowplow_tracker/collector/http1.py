"""HTTP/1.1 on one socket: requests in, answers out.

Written by hand because `http.server` reads headers through the `email` package, which costs more than judging the
event inside. It takes what HTTP clients send (keep-alive, pipelining, ``Expect: 100-continue``, chunked bodies) and
answers everything else with a status instead of an exception.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol

MAX_REQUEST_LINE_BYTES: Final = 20_480
MAX_HEADER_BYTES: Final = 40_960
"""Both are the collector's own (protocol: "request line over 20480 bytes, headers over 40960")."""
IDLE_TIMEOUT_S: Final = 75.0
READ_TIMEOUT_S: Final = 30.0
"""A request that is begun and not complete after this long is answered 408 (protocol: 30 s)."""

_RECEIVE_BYTES: Final = 262_144
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# A blank within the target is let through: that it loses the payload is the enrichment's verdict, not HTTP's.
_REQUEST_LINE: Final = re.compile(rf"({_TOKEN}) ([^\x00-\x1f\x7f]+) HTTP/1\.([01])")
_HEADER: Final = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_BEGINNING: Final = re.compile(rf"{_TOKEN}(?: |$)")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_LINE_END: Final = re.compile(r"\r?\n")
_ORIGIN_FORM: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class HttpError(Exception):
    """A request that cannot be served; the connection closes after its answer.

    Args:
        status: The status to answer with.
        reason: One sentence for the body of the answer.

    Attributes:
        request: The request as far as it was read, if its head was.
    """

    request: Request | None = None

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Headers(Mapping[str, str]):
    """Header fields by name, whatever its case; one that came twice has its values joined by a comma."""

    __slots__ = ("_fields",)

    def __init__(self, pairs: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> None:
        self._fields: dict[str, tuple[str, str]] = {}
        for name, value in pairs:
            known = self._fields.get(name.lower())
            self._fields[name.lower()] = (name, f"{known[1]}, {value}" if known else value)

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(slots=True)
class Request:
    """One request as it was read.

    Attributes:
        method: In capitals, as sent.
        path: As sent, before the question mark; escapes are left alone.
        query: As sent, after the question mark; empty if there is none.
        keep_alive: Whether the client wants the connection after the answer.
        arrived_at: When the request was complete, seconds since the epoch.
        connection_id: Counts connections from 1; requests on one connection share it.
        peer: The client's IP address.
        local_host: The address that the client connected to.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    keep_alive: bool
    arrived_at: float = 0.0
    connection_id: int = 0
    peer: str = ""
    local_host: str = ""


class Chunks(Protocol):
    """A body that is made while it is sent; whoever takes one must close it, read to its end or not."""

    def __iter__(self) -> Iterator[bytes]:
        """The pieces, in order."""

    def close(self) -> None:
        """Give up what the body holds. May be called twice."""


@dataclass(slots=True)
class Response:
    """One answer; ``Content-Length``, ``Date`` and ``Connection`` are added on the way out.

    Attributes:
        chunks: A body of unknown length, sent in place of *body*; the end of the connection is its end.
    """

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: Chunks | None = None

    def encode(self, *, keep_alive: bool, with_body: bool) -> bytes:
        """The bytes to send.

        Args:
            keep_alive: Whether this side keeps the connection open.
            with_body: False for HEAD: the length is still that of the body left out.
        """
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Scripted"
        lines = [f"HTTP/1.1 {self.status} {phrase}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status != HTTPStatus.NO_CONTENT and self.chunks is None:
            lines.append(f"Content-Length: {len(self.body)}")
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n")
        bodyless = not with_body or self.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        return "\r\n".join(lines).encode("latin-1", "replace") + (b"" if bodyless else self.body)


class RequestReader:
    """Reads one request after another from a socket.

    Args:
        connection: A connected socket; its timeout is this reader's to set.
        max_body_bytes: A longer body is an `HttpError` 413.
        idle_timeout_s: How long to wait for a request to begin.
        read_timeout_s: How long a request may take from its first byte to its last.
    """

    def __init__(
        self,
        connection: socket.socket,
        max_body_bytes: int,
        *,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._socket = connection
        self._max_body_bytes = max_body_bytes
        self._idle_timeout_s = idle_timeout_s
        self._read_timeout_s = read_timeout_s
        self._buffer = bytearray()
        self._deadline = 0.0

    def read(self) -> Request | None:
        """The next request, or None once the client has gone or has been silent for too long.

        Raises:
            HttpError: What came is no request, or too long, or too slow.
            OSError: The connection broke.
        """
        if not self._await_first_byte():
            return None
        self._deadline = time.monotonic() + self._read_timeout_s
        head = self._read_head()
        if head is None:
            return None
        request = _parse_head(head)
        request.arrived_at = time.time()
        try:
            request.body = self._read_body(request.headers)
        except HttpError as error:
            error.request = request
            raise
        request.arrived_at = time.time()
        return request

    def _await_first_byte(self) -> bool:
        if self._buffer:
            return True
        self._socket.settimeout(self._idle_timeout_s)
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError:
            return False
        self._buffer += data
        return bool(data)

    def _receive(self) -> bool:
        """Read what is there into the buffer; false at the end of the stream."""
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            raise self._too_slow()
        self._socket.settimeout(remaining_s)
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError:
            raise self._too_slow() from None
        self._buffer += data
        return bool(data)

    def _read_head(self) -> bytes | None:
        while True:
            # A client may send empty lines before a request (RFC 9112, 2.2).
            while self._buffer[:2] == b"\r\n":
                del self._buffer[:2]
            end = _HEAD_END.search(self._buffer)
            head_bytes = end.start() if end else len(self._buffer)
            self._check_head_size(head_bytes)
            if end:
                return self._take(end.end())[:head_bytes]
            self._check_first_line()
            if not self._receive():
                return None

    def _check_head_size(self, head_bytes: int) -> None:
        line_bytes = len(self._buffer[:head_bytes].partition(b"\n")[0].rstrip(b"\r"))
        if line_bytes > MAX_REQUEST_LINE_BYTES:
            raise HttpError(414, f"the request line is longer than {MAX_REQUEST_LINE_BYTES} bytes")
        if head_bytes - line_bytes > MAX_HEADER_BYTES:
            raise HttpError(431, f"the headers are longer than {MAX_HEADER_BYTES} bytes")

    def _check_first_line(self) -> None:
        """Refuse at once what can never become a request, instead of waiting for its end."""
        line, newline, _ = self._buffer.partition(b"\n")
        text = line.decode("latin-1").rstrip("\r")
        if newline or (text and not _BEGINNING.match(text)):  # such as a TLS handshake
            _parse_request_line(text)

    def _read_body(self, headers: Headers) -> bytes:
        encoding = headers.get("Transfer-Encoding", "").lower()
        length = _content_length(headers)
        if encoding and (encoding != "chunked" or length is not None):
            raise HttpError(400, "Transfer-Encoding may only be chunked, and not beside Content-Length")
        if length is not None and length > self._max_body_bytes:
            raise self._too_large()
        if headers.get("Expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._read_chunks() if encoding else self._read_exactly(length or 0)

    def _read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._receive():
                raise HttpError(400, f"the connection ended {count - len(self._buffer)} bytes short of the body's end")
        return self._take(count)

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := self._read_chunk_size():
            if len(body) + size > self._max_body_bytes:
                raise self._too_large()
            body += self._read_exactly(size)
            if self._read_line():
                raise HttpError(400, "a chunk is longer than it says")
        while self._read_line():
            pass  # trailers, which mean nothing here
        return bytes(body)

    def _read_chunk_size(self) -> int:
        text = self._read_line().partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", text):
            raise HttpError(400, "a chunk must begin with its size in hexadecimal")
        return int(text, 16)

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise HttpError(400, "a chunk's header has no end")
            if not self._receive():
                raise HttpError(400, "the connection ended within the body")
        return self._take(end + 1).rstrip(b"\r\n")

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _too_slow(self) -> HttpError:
        return HttpError(408, f"the request was not complete after {self._read_timeout_s:g} s")

    def _too_large(self) -> HttpError:
        return HttpError(413, f"the body is longer than {self._max_body_bytes} bytes")


def _parse_head(head: bytes) -> Request:
    first, *lines = _LINE_END.split(head.decode("latin-1"))
    method, target, minor_version = _parse_request_line(first)
    headers = Headers([_parse_header(line) for line in lines])
    path, _, query = _origin_form(target).partition("?")
    wanted = headers.get("Connection", "").lower()
    keep_alive = "close" not in wanted if minor_version == "1" else "keep-alive" in wanted
    return Request(method, path, query, headers, b"", keep_alive)


def _parse_request_line(line: str) -> tuple[str, str, str]:
    matched = _REQUEST_LINE.fullmatch(line)
    if not matched:
        raise HttpError(400, f"this is no HTTP/1.1 request line: {line[:80]!r}")
    method, target, minor_version = matched.groups()
    return method, target, minor_version


def _parse_header(line: str) -> tuple[str, str]:
    matched = _HEADER.fullmatch(line)
    if not matched:
        raise HttpError(400, f"this is no header: {line[:80]!r}")
    return matched[1], matched[2]


def _origin_form(target: str) -> str:
    """The target without what a proxy's client puts before it, as text in UTF-8, without a fragment."""
    if not target.isascii():
        target = target.encode("latin-1").decode("utf-8", "replace")
    return _ORIGIN_FORM.sub("", target, count=1).partition("#")[0] if target[:1] != "/" else target.partition("#")[0]


def _content_length(headers: Headers) -> int | None:
    text = headers.get("Content-Length")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise HttpError(400, f"Content-Length must be a number of bytes, got {text[:40]!r}")
    return int(text)
