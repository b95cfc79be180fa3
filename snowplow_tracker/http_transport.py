"""Getting a batch to a collector, over one `requests.Session`.

`Emitter` imports this module when it is made, in its caller's thread: a program that only imports the package does not
pay for requests, which takes longer to import than all the rest.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  # the socket module would import it in the emitter thread, where a fork could cut in
import http.client
import http.cookiejar
import io
import socket
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from math import inf
from time import monotonic, time_ns
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from snowplow_tracker.keep_alive import SMALL_BODY, Answer, bound, exchange, head_of, is_patched
from snowplow_tracker.payload import get_query, post_body
from snowplow_tracker.transport import Result
from snowplow_tracker.trouble import words

GET_URL_LIMIT: Final = 8000
"""CloudFront takes a URL of 8,192 bytes, a collector a request line of 20,480 (protocol: "Sizes")."""
_LEAST_TIME_OUT_S: Final = 0.05


class _NoCookies(http.cookiejar.DefaultCookiePolicy):
    """One process may speak for many users, so the collector's ``sp`` cookie is not kept (protocol: "Cookies")."""

    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False


class _Attempt(threading.local):
    """What a thread is in the middle of."""

    ends_at = inf
    """When its answer must be there (`time.monotonic`)."""


_attempt: Final = _Attempt()


class _BoundedReader(io.RawIOBase):
    """Reads an answer to the end by one deadline."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._raw = stream.makefile("rb", buffering=0)
        timeout = stream.gettimeout()
        self._ends_at = min(_attempt.ends_at, inf if timeout is None else monotonic() + timeout)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ends_at < inf:
            bound(self._stream, self._ends_at)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer that is bounded, and of which nothing is logged."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_BoundedReader(sock))

    def begin(self) -> None:
        super().begin()
        # urllib3 warns of headers that it can't read, with the whole URL: in a GET, that is the event.
        message: Any = self.msg
        message.defects.clear()
        message.set_payload(None)


class _OneCollectorAdapter(HTTPAdapter):
    """An adapter for one address with settings that never change: what requests works out anew for every request (the
    pool, the CA bundle's file, cookies) is worked out once here.

    Attributes:
        pool: The connections, once the first request was sent.
    """

    pool: Any = None

    def close(self) -> None:
        # Letting go of the pool would not do: urllib3 closes its connections when it is collected, which at exit is
        # too late to go well.
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.close()
        super().close()

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        if self.pool is None:
            pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
            super().cert_verify(pool, request.url, verify, cert)  # type: ignore[no-untyped-call,unused-ignore]
            pool.ConnectionCls = type("_Connection", (pool.ConnectionCls,), {"response_class": _Answer})
            self.pool = pool
        return self.pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Done when the pool was made."""

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = resp.status
        response.headers = resp.headers
        response.raw = resp
        response.request = req
        return response


class _Connection(threading.local):
    """What a thread knows of its connection."""

    last: Answer | None = None
    """What it has carried last, if it can be used again; but the server may have closed it since."""


class _HttpTransport:
    """What GET and POST share: the session, time-outs, and reading an answer.

    Args:
        url: From `collector_url`.
        timeout: Seconds to connect, and seconds to wait for the whole answer.
        session: The user's own, used as it is and never closed; or None for one of our own.
        threads: How many threads will send at once.
        anonymous: Ask the collector not to keep the address or set a cookie (header ``SP-Anonymous``).
    """

    method: str
    headers: Mapping[str, str] = {}
    max_batch: int | None = None

    def __init__(
        self,
        url: str,
        *,
        timeout: tuple[float, float],
        session: requests.Session | None = None,
        threads: int = 1,
        anonymous: bool = False,
    ) -> None:
        parts = urlsplit(url)
        self.url = url
        self.address = f"{parts.scheme}://{parts.netloc}"
        self._timeout = timeout
        self._users_session = session
        self._threads = threads
        self._headers = {**self.headers, **({"SP-Anonymous": "*"} if anonymous else {})}
        self._open()

    def _open(self) -> None:
        self._connection = _Connection()
        if self._users_session is not None:
            return
        self._session = requests.Session()
        self._session.cookies.set_policy(_NoCookies())
        self._adapter = adapter = _OneCollectorAdapter(pool_connections=1, pool_maxsize=self._threads)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        # Proxies, CA bundle and no_proxy are looked up once, not for each request, and in the caller's thread.
        self._environment: Any = self._session.merge_environment_settings(self.url, {}, True, None, None)
        self._template = self._session.prepare_request(requests.Request(self.method, self.url, headers=self._headers))
        self._head = head_of(urlsplit(self.url).netloc, self._template.headers)

    def send(self, events: Sequence[bytes], remaining_s: float | None) -> Result:
        _attempt.ends_at = inf if remaining_s is None else monotonic() + max(remaining_s, _LEAST_TIME_OUT_S)
        try:
            return self._attempt(events, remaining_s, requests=1)
        except requests.ConnectionError as error:
            if not (self._connection.last and _is_cut(error)):
                return self._failed(error)
        except Exception as error:  # whatever a session, an adapter or a proxy may raise is a failed delivery
            return self._failed(error)
        # The server closed a connection that had been idle: not an outage. A new one tells.
        self._connection.last = None
        try:
            return self._attempt(events, remaining_s, requests=2)
        except Exception as error:
            return attrs.evolve(self._failed(error), requests=2)

    def _failed(self, error: Exception) -> Result:
        self._connection.last = None
        return Result(error=words(error, self.url.partition(":")[0]))

    def _attempt(self, events: Sequence[bytes], remaining_s: float | None, requests: int) -> Result:
        url, body = self._target(events, sent_at_ms=time_ns() // 1_000_000)
        timeout = self._time_outs(remaining_s)
        last = self._connection.last
        answer = self._exchange_kept_alive(url, body, timeout[1]) if last and last.plain else None
        if answer is None:
            answer = self._exchange(url, body, timeout)
        self._connection.last = answer if answer.reusable else None
        return Result(
            answer.status,
            retry_after_s=_retry_after_s(answer.retry_after),
            location=_origin(answer.location),
            requests=requests,
        )

    def _time_outs(self, remaining_s: float | None) -> tuple[float, float]:
        if remaining_s is None:
            return self._timeout
        connect, read = self._timeout
        left = max(remaining_s, _LEAST_TIME_OUT_S)
        return min(connect, left), min(read, left)

    def _exchange_kept_alive(self, url: str, body: bytes | None, timeout_s: float) -> Answer | None:
        """One request over a connection that is open; None, and nothing was sent, if there is none."""
        pool = self._adapter.pool
        if pool is None or pool.proxy is not None or is_patched():
            return None
        line = f"{self.method} {url[len(self.address) :]} HTTP/1.1\r\n".encode("ascii")
        length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
        request = b"".join((line, self._head, length, b"\r\n", body or b""))
        return exchange(pool, request, timeout_s=timeout_s, ends_at=_attempt.ends_at)

    def _exchange(self, url: str, body: bytes | None, timeout: tuple[float, float]) -> Answer:
        """One request by way of requests, which opens a connection if need be."""
        if self._users_session is not None:
            response = self._users_session.request(
                self.method, url, data=body, headers=self._headers, timeout=timeout, allow_redirects=False, stream=True
            )
        else:
            # A copy of its own: whoever looks at requests, as test libraries do, keeps them.
            prepared = self._template.copy()
            prepared.url = url
            if body is not None:
                prepared.body = body
                prepared.headers["Content-Length"] = str(len(body))
            response = self._session.get_adapter(url).send(prepared, timeout=timeout, **self._environment)
        try:
            headers = response.headers
            return Answer(
                response.status_code,
                headers.get("Retry-After"),
                headers.get("Location"),
                reusable=_can_be_used_again(response),
                plain=self._users_session is None and "Transfer-Encoding" not in headers,
            )
        finally:
            response.close()

    def _target(self, events: Sequence[bytes], sent_at_ms: int) -> tuple[str, bytes | None]:
        """The address and the body of one request."""
        raise NotImplementedError

    def close(self) -> None:
        if self._users_session is None:
            self._session.close()

    def after_fork(self) -> None:
        if self._users_session is not None:
            self._users_session = _reconnected(self._users_session)
        # Our old session is dropped, not closed: its locks may be held by a thread that this process does not have.
        self._open()


class PostTransport(_HttpTransport):
    """Many events a request, as one JSON body (protocol: "POST body")."""

    method = "POST"
    headers = {"Content-Type": "application/json; charset=utf-8"}

    def _target(self, events: Sequence[bytes], sent_at_ms: int) -> tuple[str, bytes | None]:
        return self.url, post_body(events, sent_at_ms=sent_at_ms)

    def surely_takes(self) -> int | None:
        return None

    def why_too_large(self, fragment: bytes) -> str | None:
        return None


class GetTransport(_HttpTransport):
    """One event a request, as a query string: so no batch can have a mixed answer (protocol: "Query string")."""

    method = "GET"
    max_batch: int | None = 1

    def _target(self, events: Sequence[bytes], sent_at_ms: int) -> tuple[str, bytes | None]:
        (fragment,) = events
        return f"{self.url}?{get_query(fragment, sent_at_ms=sent_at_ms)}", None

    def surely_takes(self) -> int | None:
        # Percent-encoding makes three characters of a byte at the most; the rest is the address and `stm`.
        return (GET_URL_LIMIT - len(self.url) - len("?&stm=1369330909000")) // 3

    def why_too_large(self, fragment: bytes) -> str | None:
        url, _ = self._target([fragment], sent_at_ms=time_ns() // 1_000_000)
        if len(url) <= GET_URL_LIMIT:
            return None
        return f"its GET URL would have {len(url)} bytes and the limit is {GET_URL_LIMIT}; send it by POST"


def _is_cut(error: requests.ConnectionError) -> bool:
    """Whether an established connection broke, as opposed to one that could not be made."""
    return bool(error.args) and isinstance(error.args[0], urllib3.exceptions.ProtocolError)


def _can_be_used_again(response: requests.Response) -> bool:
    """Read a small body, which frees the connection; a large one is not worth it. Never raises: the status has been
    the answer, and what goes wrong behind it changes nothing."""
    # After an interim answer (103) the real one is still to come, and would pass for that to the next request.
    if response.status_code < 200:
        return False
    try:
        length = 0 if response.raw.chunked else response.raw.length_remaining
        return length is not None and length <= SMALL_BODY and len(response.raw.read(SMALL_BODY)) < SMALL_BODY
    except Exception:
        return False


def _retry_after_s(value: str | None) -> float | None:
    """The header ``Retry-After``, in seconds or as a date."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _origin(location: str | None) -> str:
    """Scheme and host of a redirect's target: all that a log needs, and nothing of an event."""
    if not location:
        return ""
    try:
        parts = urlsplit(location)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}" if parts.hostname else ""
    except ValueError:
        return ""


def _reconnected(session: requests.Session) -> requests.Session:
    """A user's session in a child process: the same settings, none of the parent's connections, no lock taken."""
    copy: requests.Session = object.__new__(type(session))
    copy.__dict__.update(session.__dict__)
    copy.adapters = type(session.adapters)()
    for prefix, adapter in session.adapters.items():
        copy.adapters[prefix] = _fresh_adapter(adapter)
    return copy


def _fresh_adapter(adapter: Any) -> Any:
    """Adapters can be pickled for this purpose: they travel without their pools and make new ones."""
    try:
        state = adapter.__getstate__()
        fresh = object.__new__(type(adapter))
        fresh.__dict__.update({k: v for k, v in adapter.__dict__.items() if k not in ("poolmanager", "proxy_manager")})
        fresh.__setstate__(state)
        return fresh
    except Exception:
        return adapter
