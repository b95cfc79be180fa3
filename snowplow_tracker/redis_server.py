"""One Redis server, and a way to talk to it that never takes longer than it may (extra ``[redis]``)."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Final

from snowplow_tracker.validators import check_number, invalid

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "Redis Streams need the package redis, which is not installed: pip install 'snowplow-event-tracker[redis]'",
        name=missing.name,
    ) from missing

RedisError: Final = redis.RedisError
ResponseError: Final = redis.ResponseError
"""What the server answers when it refuses a command; other errors are about reaching it."""
RedisConnectionError: Final = redis.ConnectionError
AuthenticationError: Final = redis.AuthenticationError
"""A wrong user or password; a `RedisConnectionError` as well."""
DEFAULT_TIMEOUT_S: Final = 5.0

_EXPECTED: Final = "the server's address: 'redis://host:port/0', 'rediss://host:port/0' (TLS) or 'unix:///path'"
_LEAST_TIME_OUT_S: Final = 0.05


class _Attempt(threading.local):
    """What a thread is in the middle of."""

    ends_at = inf
    """When it must be done (`time.monotonic`)."""


_attempt: Final = _Attempt()


def _time_left() -> float:
    left = _attempt.ends_at - monotonic()
    if left <= 0:
        raise TimeoutError("the answer takes too long")
    return left


class _BoundedSocket:
    """A socket whose reading and writing end by the attempt's deadline.

    A socket's time-out bounds each read only: a server that sends a byte now and then would hold the thread for ever.
    """

    def __init__(self, stream: socket.socket, timeout: float | None) -> None:
        self._stream = stream
        self._timeout = timeout

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._stream.settimeout(timeout)

    def recv(self, *arguments: Any) -> bytes:
        return self._bounded().recv(*arguments)

    def recv_into(self, *arguments: Any) -> int:
        return self._bounded().recv_into(*arguments)

    def sendall(self, data: Any) -> None:
        self._bounded().sendall(data)

    def _bounded(self) -> socket.socket:
        own = inf if self._timeout is None else self._timeout
        self._stream.settimeout(None if own == _attempt.ends_at == inf else min(own, _time_left()))
        return self._stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _bounded(kind: type[Any]) -> type[Any]:
    """A connection class of redis-py, with `_BoundedSocket` for a socket."""

    class Bounded(kind):  # type: ignore[misc]
        def _connect(self) -> Any:
            connection: Any = self
            usual = connection.socket_timeout
            # Connecting, and what TLS says first, are bounded by these alone.
            connection.socket_timeout = connection.socket_connect_timeout = min(usual, _time_left())
            try:
                return _BoundedSocket(super()._connect(), usual)
            finally:
                connection.socket_timeout = usual

    return Bounded


class RedisServer:
    """A server's address, and a pool of connections to it. It may be used from any thread.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py takes it, with its options in the query.
        username: The ACL user, where the URL does not say.
        password: Where the URL does not say.
        ca_certs: A file of certificates to trust, for ``rediss://``; default the system's.
        timeout: How many seconds one round trip may take in all, connecting included.

    Attributes:
        address: Scheme, host, port and database: for logs, without user, password and options.

    Raises:
        ValidationError: An argument is wrong. It shows no password.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        ca_certs: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        check_number("timeout", timeout, "a number of seconds")
        if timeout <= 0:
            raise invalid("timeout", "a positive number of seconds", timeout)
        if not isinstance(url, str) or not re.match(r"(?:rediss?|unix)://.", url):
            raise invalid("url", _EXPECTED, _without_credentials(url))
        if ca_certs is not None and not Path(ca_certs).is_file():
            raise invalid("ca_certs", "a file of certificates", ca_certs)
        self._url = url
        self._timeout = float(timeout)
        self._options: dict[str, Any] = {"username": username, "password": password}
        if url.startswith("rediss:"):
            self._options |= {"ssl_ca_certs": ca_certs, "ssl_check_hostname": True}
        self.after_fork()
        self.address = self._address()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def after_fork(self) -> None:
        """Forget the parent's connections without touching them: its threads may have held their locks."""
        try:
            pool: Any = redis.ConnectionPool.from_url(
                self._url,
                protocol=2,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                retry=Retry(NoBackoff(), 0),  # the emitter's loop is the one that retries
                **self._options,
            )
            pool.connection_class = _bounded(pool.connection_class)
            pool.connection_class(**pool.connection_kwargs)  # it opens nothing, and raises for an unknown option
        except (TypeError, ValueError, AttributeError):
            raise invalid("url", _EXPECTED, _without_credentials(self._url)) from None
        self._pool = pool
        self._client: Any = redis.Redis(connection_pool=pool)

    def _address(self) -> str:
        known = self._pool.connection_kwargs
        if "path" in known:
            return f"unix://{known['path']}"
        scheme = self._url.partition(":")[0]
        return f"{scheme}://{known.get('host', 'localhost')}:{known.get('port', 6379)}/{known.get('db') or 0}"

    @contextlib.contextmanager
    def within(self, seconds: float | None = None) -> Iterator[Any]:
        """A redis-py client whose calls in this thread must all be done by one deadline.

        Args:
            seconds: From now; at most the server's ``timeout``, which is the default.
        """
        usual = _attempt.ends_at
        budget = self._timeout if seconds is None else min(self._timeout, max(seconds, _LEAST_TIME_OUT_S))
        _attempt.ends_at = min(usual, monotonic() + budget)
        try:
            yield self._client
        finally:
            _attempt.ends_at = usual

    def script(self, source: str) -> Any:
        """A Lua script: called with ``keys``, ``args`` and ``client``; loaded where the server does not know it."""
        return self._client.register_script(source)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._pool.disconnect()


def _without_credentials(url: object) -> object:
    """An address as an error may show it."""
    if not isinstance(url, str):
        return url
    return re.sub(r"//.*@", "//…@", url).partition("?")[0]


def reason(error: Exception) -> str:
    """What went wrong, for a log: the type alone, since a text may hold an event or a password."""
    return type(error).__name__
