"""Events by way of a Redis Stream: trackers add, forwarders deliver (extra ``[redis]``).

A fleet of trackers adds its batches to a stream::

    Tracker("shop", Emitter(transport=RedisStreamTransport("redis://127.0.0.1:6379")))

and a few processes of ``snowplow-tracker forward`` bring them to a collector.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Final

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.redis_entries import ADD, DEFAULT_MAXLEN, DEFAULT_STREAM, check_stream, trimmed_key
from snowplow_tracker.redis_group import Backlog, GroupTaken
from snowplow_tracker.redis_server import DEFAULT_TIMEOUT_S, RedisServer, reason
from snowplow_tracker.redis_store import RedisStreamStore
from snowplow_tracker.transport import Result
from snowplow_tracker.validators import check_integer

__all__ = ["Backlog", "GroupTaken", "RedisStreamStore", "RedisStreamTransport"]

logger = logging.getLogger("snowplow_tracker")

_ADDED: Final = Result(200)
_SECONDS_BETWEEN_WARNINGS: Final = 60.0


class RedisStreamTransport:
    """Adds batches to a Redis Stream, for ``Emitter(transport=...)``: a batch is one atomic round trip.

    A server that is away, full or refuses is an outage as a collector's is: events wait in the emitter's store and are
    retried. Where an answer is lost on the way, the batch is added again: the same events, with the same ids, twice.

    Args:
        url: ``redis://[user[:password]@]host[:port][/db]``, ``rediss://`` for TLS, or ``unix://``. Needs Redis 6.2 or
            newer, or Valkey.
        stream: The stream's name.
        maxlen: About how many events the stream holds; beyond that the oldest are pushed out, see `trimmed`.
            Default 1,000,000, about 0.3 GB with events of 250 bytes.
        username: The ACL user, where the URL does not say. It may be limited to ``+evalsha +script|load +xadd +xlen
            +xtrim +incrby`` on the keys ``snowplow`` and ``{snowplow}:trimmed``.
        password: Where the URL does not say.
        ca_certs: A file of certificates to trust, for ``rediss://``; default the system's.
        timeout: How many seconds one attempt may take in all.

    Attributes:
        trimmed: How many entries this process's batches have pushed out of the full stream: events that were lost,
            where forwarders delete what they delivered. The sum over all processes is in the key
            ``{snowplow}:trimmed``.

    Raises:
        ValidationError: An argument is wrong.
    """

    max_batch: int | None = None

    def __init__(
        self,
        url: str,
        stream: str = DEFAULT_STREAM,
        maxlen: int = DEFAULT_MAXLEN,
        *,
        username: str | None = None,
        password: str | None = None,
        ca_certs: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        try:
            check_integer("maxlen", maxlen, 1, 2**53, "a positive integer (events in the stream)")
            self._stream = check_stream(stream)
            self._server = RedisServer(url, username=username, password=password, ca_certs=ca_certs, timeout=timeout)
        except ValidationError as error:
            raise error.within(type(self).__name__) from None
        self._maxlen = maxlen
        self.address = f"{self._server.address}#{stream}"
        self._add = self._server.script(ADD)
        self.trimmed = 0
        self._start_anew()

    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # re-entrant for a signal handler that flushes
        self._untold = 0
        self._told_at: float | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def send(self, events: Sequence[bytes], remaining_s: float | None) -> Result:
        try:
            with self._server.within(remaining_s) as client:
                keys = [self._stream, trimmed_key(self._stream)]
                trimmed = self._add(keys=keys, args=[self._maxlen, *events], client=client)
        except Exception as error:
            return Result(error=reason(error))
        if trimmed:
            self._count_trimmed(trimmed)
        return _ADDED

    def _count_trimmed(self, events: int) -> None:
        now = monotonic()
        with self._lock:
            self.trimmed += events
            self._untold += events
            if self._told_at is not None and now < self._told_at + _SECONDS_BETWEEN_WARNINGS:
                return
            untold, self._untold, self._told_at = self._untold, 0, now
        with contextlib.suppress(Exception):  # a handler that raises must not make a batch come twice
            logger.warning(
                "%s is full (maxlen %d): its %d oldest events were pushed out by newer ones",
                self.address,
                self._maxlen,
                untold,
            )

    def surely_takes(self) -> int | None:
        return None

    def why_too_large(self, fragment: bytes) -> str | None:
        return None

    def close(self) -> None:
        self._server.close()

    def after_fork(self) -> None:
        self._server.after_fork()
        self.trimmed = 0
        self._start_anew()
