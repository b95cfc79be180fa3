"""Getting a batch to a collector, over one `requests.Session`.

A transport knows nothing of events and never raises for a failed delivery: whatever happens becomes a `Result`.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  # the socket module would import it in the emitter thread, where a fork could cut in
import http.client
import http.cookiejar
import io
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from math import inf
from time import monotonic, time_ns
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import attrs
import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from snowplow_tracker.payload import get_query, post_body
from snowplow_tracker.trouble import words
from snowplow_tracker.validators import invalid

POST_PATH: Final = "/com.snowplowanalytics.snowplow/tp2"
GET_PATH: Final = "/i"
GET_URL_LIMIT: Final = 8000
"""CloudFront takes a URL of 8,192 bytes, a collector a request line of 20,480 (protocol: "Sizes")."""
_SMALL_BODY: Final = 4096
_LEAST_TIME_OUT_S: Final = 0.05


@attrs.frozen
class Result:
    """What one attempt brought.

    Attributes:
        status: The HTTP status, or None if no answer came.
        error: What went wrong, if no answer came, by `snowplow_tracker.trouble.words`.
        retry_after_s: How long the collector asked to be left alone, in seconds.
        location: Scheme and host that a redirect pointed to.
        requests: How many requests it took: 2 where an idle connection turned out to be closed.
    """

    status: int | None = None
    error: str = ""
    retry_after_s: float | None = None
    location: str = ""
    requests: int = 1


class Transport(Protocol):
    """What an emitter asks of the way to the collector. `send` may be called from several threads at once."""

    address: str
    """Where it sends, for logs; without credentials."""
    max_batch: int | None
    """The most events a request can carry, if there is a limit."""

    def send(self, events: Sequence[bytes], remaining_s: float | None) -> Result:
        """Send fragments, all or none.

        Args:
            events: At least one, at most `max_batch`.
            remaining_s: How long the attempt may take, where a deadline is near.
        """

    def surely_takes(self) -> int | None:
        """The size in bytes up to which every fragment can be sent, or None if there is no limit."""

    def why_too_large(self, fragment: bytes) -> str | None:
        """Why a fragment over `surely_takes` cannot be sent, or None if it can."""

    def close(self) -> None:
        """Let go of connections."""

    def after_fork(self) -> None:
        """Forget the parent's connections without touching them."""


# --- addresses -------------------------------------------------------------------------------------------------

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]\\]+)(?::(?P<port>[0-9]{1,5}))?")
_SUBDOMAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?")


def cloudfront_host(cf_subdomain: object) -> str:
    """The host of a CloudFront distribution, from the part before ``.cloudfront.net``."""
    if not isinstance(cf_subdomain, str) or not _SUBDOMAIN.fullmatch(cf_subdomain):
        expected = "the subdomain alone, such as 'd3rkrsqld9gmqf' for d3rkrsqld9gmqf.cloudfront.net"
        hint = "for a host name use Tracker.hostname()" if isinstance(cf_subdomain, str) and "." in cf_subdomain else ""
        raise invalid("cf_subdomain", expected, cf_subdomain, hint)
    return f"{cf_subdomain}.cloudfront.net"


def collector_url(argument: str, endpoint: object, protocol: str | None, port: int | None, method: str) -> str:
    """The whole address that requests go to.

    Args:
        argument: The argument that *endpoint* came by, for errors.
        endpoint: ``name``, ``name:port`` or ``http(s)://name[:port]``.
        protocol: ``http`` or ``https`` where *endpoint* does not say; https if neither does, but http for a loopback
            address.
        port: Where *endpoint* does not say.
        method: ``post`` or ``get``.
    """
    expected = "the collector's host: 'name', 'name:port' or 'https://name:port'"
    if not isinstance(endpoint, str) or not endpoint:
        raise invalid(argument, expected, endpoint)
    scheme, separator, rest = endpoint.rpartition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise invalid(argument, f"{expected}; a scheme is http or https", endpoint)
    match = _HOST.fullmatch(rest.rstrip("/"))
    if match is None:
        raise invalid(argument, expected, _without_credentials(endpoint), _what_is_wrong(rest))
    name, own_port = match["name"], match["port"]
    if own_port and port is not None and int(own_port) != port:
        raise invalid("port", f"the same as in {argument}, {own_port}", port)
    number = int(own_port) if own_port else port
    if number is not None and not 0 < number < 65536:
        raise invalid(argument if own_port else "port", "a port between 1 and 65535", number)
    secure = (scheme.lower() or protocol or ("http" if is_loopback(name) else "https")) == "https"
    origin = f"{'https' if secure else 'http'}://{name}{f':{number}' if number else ''}"
    url = origin + (POST_PATH if method == "post" else GET_PATH)
    try:
        prepared = requests.Request("POST", url).prepare()
    except (requests.RequestException, UnicodeError, ValueError):
        raise invalid(argument, expected, endpoint) from None
    return prepared.url or url


def is_loopback(name: str) -> bool:
    """Whether a host name is this machine: ``localhost``, ``127.*``, ``[::1]``, and no name that only begins so."""
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _without_credentials(endpoint: str) -> str:
    return re.sub(r"[^/@]*@", "…@", endpoint)


def _what_is_wrong(rest: str) -> str:
    if "@" in rest:
        return "credentials in the address would end up in logs: configure them on a session="
    if "/" in rest.rstrip("/") or "?" in rest or "#" in rest:
        return "leave the path off: the tracker adds its own"
    return "it has blanks in it" if re.search(r"\s", rest) else ""


# --- HTTP ------------------------------------------------------------------------------------------------------


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
    """Reads an answer to the end by one deadline.

    A socket's time-out bounds each read only: a server that sends a byte now and then would hold the thread for ever.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._raw = stream.makefile("rb", buffering=0)
        timeout = stream.gettimeout()
        self._ends_at = min(_attempt.ends_at, inf if timeout is None else monotonic() + timeout)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ends_at < inf:
            left = self._ends_at - monotonic()
            if left <= 0:
                raise TimeoutError("the answer takes too long")
            self._stream.settimeout(left)
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
    """An adapter for one address with settings that never change.

    What requests works out anew for every request (the pool, the CA bundle's file, cookies) is worked out once here. A
    request takes 120 µs of CPU where it took 180.
    """

    _pool: Any = None

    def close(self) -> None:
        # Letting go of the pool would not do: urllib3 closes its connections when it is collected, which at exit is
        # too late to go well.
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        super().close()

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        if self._pool is None:
            pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
            super().cert_verify(pool, request.url, verify, cert)  # type: ignore[no-untyped-call,unused-ignore]
            pool.ConnectionCls = type("_Connection", (pool.ConnectionCls,), {"response_class": _Answer})
            self._pool = pool
        return self._pool

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

    warm = False
    """Whether it has carried a request, so that the server may have closed it since."""


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
        adapter = _OneCollectorAdapter(pool_connections=1, pool_maxsize=self._threads)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        # Proxies, CA bundle and no_proxy are looked up once, not for each request, and in the caller's thread.
        self._environment: Any = self._session.merge_environment_settings(self.url, {}, True, None, None)
        self._template = self._session.prepare_request(requests.Request(self.method, self.url, headers=self._headers))

    def send(self, events: Sequence[bytes], remaining_s: float | None) -> Result:
        _attempt.ends_at = inf if remaining_s is None else monotonic() + max(remaining_s, _LEAST_TIME_OUT_S)
        try:
            return self._attempt(events, remaining_s, requests=1)
        except requests.ConnectionError as error:
            if not (self._connection.warm and _is_cut(error)):
                return self._failed(error)
        except Exception as error:  # whatever a session, an adapter or a proxy may raise is a failed delivery
            return self._failed(error)
        # The server closed a connection that had been idle: not an outage. A new one tells.
        self._connection.warm = False
        try:
            return self._attempt(events, remaining_s, requests=2)
        except Exception as error:
            return attrs.evolve(self._failed(error), requests=2)

    def _failed(self, error: Exception) -> Result:
        self._connection.warm = False
        return Result(error=words(error, self.url.partition(":")[0]))

    def _attempt(self, events: Sequence[bytes], remaining_s: float | None, requests: int) -> Result:
        response = self._exchange(events, sent_at_ms=time_ns() // 1_000_000, timeout=self._time_outs(remaining_s))
        try:
            result = Result(
                response.status_code,
                retry_after_s=_retry_after_s(response.headers.get("Retry-After")),
                location=_origin(response.headers.get("Location")),
                requests=requests,
            )
            self._connection.warm = _can_be_used_again(response)
        finally:
            response.close()
        return result

    def _time_outs(self, remaining_s: float | None) -> tuple[float, float]:
        if remaining_s is None:
            return self._timeout
        connect, read = self._timeout
        left = max(remaining_s, _LEAST_TIME_OUT_S)
        return min(connect, left), min(read, left)

    def _exchange(self, events: Sequence[bytes], sent_at_ms: int, timeout: tuple[float, float]) -> requests.Response:
        url, body = self._target(events, sent_at_ms)
        if self._users_session is not None:
            return self._users_session.request(
                self.method, url, data=body, headers=self._headers, timeout=timeout, allow_redirects=False, stream=True
            )
        # A copy of its own: whoever looks at requests, as test libraries do, keeps them.
        prepared = self._template.copy()
        prepared.url = url
        if body is not None:
            prepared.body = body
            prepared.headers["Content-Length"] = str(len(body))
        return self._session.get_adapter(url).send(prepared, timeout=timeout, **self._environment)

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
        length = int(response.headers.get("Content-Length", 0))
        return length <= _SMALL_BODY and len(response.raw.read(_SMALL_BODY)) < _SMALL_BODY
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
