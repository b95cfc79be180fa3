"""Bringing the events of a Redis Stream to a collector: an emitter over a `RedisStreamStore`, and its supervision."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

import attrs

from snowplow_tracker.addresses import POST_PATH, collector_url
from snowplow_tracker.emitters import Emitter
from snowplow_tracker.errors import SnowplowTrackerError
from snowplow_tracker.outcomes import Stats
from snowplow_tracker.redis_server import AuthenticationError, RedisConnectionError, RedisError, reason
from snowplow_tracker.redis_stream import Backlog, RedisStreamStore

_LOOK_EVERY_S: Final = 1.0
_STEP_S: Final = 0.1
_STALLED_AFTER_S: Final = 20.0
"""How long a run that is to end by itself goes on while nothing gets any less."""
_LONGEST_LEASE_S: Final = 60.0
"""How long such a run waits, at the most, for the lease of a dead forwarder."""
_SHUTDOWN_S: Final = 3.0
_LONGEST_WAIT_S: Final = 10.0
"""Between attempts: many forwarders share a collector, and whoever comes back late leaves the work to the others."""


class ForwardingFailed(SnowplowTrackerError):
    """Redis cannot be used, or a run that was to drain the stream could not; the text says why, ready to be shown."""


@attrs.frozen
class Progress:
    """How far a forwarder is.

    Attributes:
        stats: What became of the events that this forwarder took.
        backlog: What the whole group has before it; None while Redis is away.
        poison: How many entries this forwarder has set aside.
        trouble: What is wrong at the moment, or "".
        ended: Whether this is the last one.
    """

    stats: Stats
    backlog: Backlog | None
    poison: int
    trouble: str
    ended: bool = False


class Forwarder:
    """One member of a group of forwarders; `run` returns when `stop` was called, or at the end of a ``once`` run.

    Args:
        store: Whose events; closed at the end.
        collector: The collector's host, as for `Emitter`.
        once: End when the stream is empty and nothing is in any member's hands.
        batch_size: The most events in one request.
        threads: How many requests are under way at once.
        patience_s: How long to wait for a server at the start (half of it), and, if *once*, for anything to get less.

    Raises:
        ValidationError: The collector's address is wrong.
    """

    def __init__(
        self,
        store: RedisStreamStore,
        collector: str,
        *,
        once: bool = False,
        batch_size: int = 500,
        threads: int = 1,
        patience_s: float = _STALLED_AFTER_S,
    ) -> None:
        url = collector_url("collector", collector, None, None, "post")
        self._store = store
        self._once = once
        self._patience_s = patience_s
        self._ending = False
        self._make_emitter: Callable[[], Emitter] = lambda: Emitter(
            url.removesuffix(POST_PATH),
            event_store=store,
            batch_size=batch_size,
            threads=threads,
            flush_interval=0,
            max_retry_delay_seconds=_LONGEST_WAIT_S,
            shutdown_timeout=_SHUTDOWN_S,
        )

    def stop(self) -> None:
        """Have `run` end: what is in a request is waited for, everything else is left to the other members.

        It may be called from a signal handler.
        """
        self._ending = True

    def run(self, show: Callable[[Progress], object]) -> Stats:
        """Forward.

        Args:
            show: Called about every second with how far it is, and once at the end.

        Returns:
            What became of the events.

        Raises:
            ForwardingFailed: Redis could not be used at the start, or a ``once`` run did not come to its end.
        """
        self._join()
        if self._ending:
            self._store.close()
            return Stats()
        emitter = self._make_emitter()
        left = "stopped"
        try:
            left = self._drain(emitter, show) if self._once else self._forward(emitter, show)
        finally:
            self._store.stop()
            emitter.close(0 if left else None)  # what could not be delivered all the time will not be now
        # A server that does not answer has had its chances, and a run that failed is to end soon.
        show(attrs.evolve(self._progress(emitter, ask=not left), ended=True))
        self._store.close()  # once more: it was just asked how much is left
        if left:
            raise ForwardingFailed(left)
        return emitter.stats()

    def _wait(self, seconds: float) -> bool:
        """Wait; False if it is time to end.

        In steps, with no lock or event: `stop` is called by signal handlers, which may interrupt anything.
        """
        deadline = monotonic() + seconds
        while not self._ending and (left := deadline - monotonic()) > 0:
            sleep(min(left, _STEP_S))
        return not self._ending

    def _join(self) -> None:
        """Wait a moment for a server that is about to start; one that refuses will refuse again."""
        deadline = monotonic() + self._patience_s / 2
        while not self._ending:
            try:
                return self._store.join()
            except (RedisError, SnowplowTrackerError, OSError) as error:
                unreachable = isinstance(error, (RedisConnectionError, OSError))
                if not unreachable or isinstance(error, AuthenticationError) or monotonic() >= deadline:
                    self._store.close()
                    raise ForwardingFailed(f"{self._store.address}: {error}") from None
            self._wait(0.5)

    def _forward(self, emitter: Emitter, show: Callable[[Progress], object]) -> str:
        while self._wait(_LOOK_EVERY_S):
            show(self._progress(emitter))
        return ""

    def _drain(self, emitter: Emitter, show: Callable[[Progress], object]) -> str:
        """Until nothing is left; returns what keeps it from that, or ""."""
        patience = _Patience(self._patience_s, self._store.lease_s)
        shown_at = monotonic()
        while self._wait(_STEP_S):
            progress = self._progress(emitter)
            backlog = progress.backlog
            if backlog is not None and backlog.all_read and not backlog.pending and not progress.stats.in_flight:
                return ""
            if patience.is_over(progress):
                return patience.complaint(progress)
            if monotonic() >= shown_at + _LOOK_EVERY_S:
                show(progress)
                shown_at = monotonic()
        return ""

    def _progress(self, emitter: Emitter, *, ask: bool = True) -> Progress:
        stats = emitter.stats()
        backlog, trouble = None, self._store.degraded
        try:
            backlog = self._store.backlog() if ask else None
        except (RedisError, OSError) as error:
            trouble = trouble or f"{self._store.address} is lost: {reason(error)}"
        return Progress(stats, backlog, self._store.poison, trouble)


class _Patience:
    """How long a ``once`` run goes on while nothing happens."""

    def __init__(self, seconds: float, lease_s: float) -> None:
        self._seconds = seconds
        self._lease_s = lease_s
        self._moved_at = monotonic()
        self._seen: object = None

    def is_over(self, progress: Progress) -> bool:
        stats, backlog = progress.stats, progress.backlog
        seen = stats.delivered, sum(stats.dropped.values()), progress.poison, backlog and backlog.pending
        if seen != self._seen:
            self._seen, self._moved_at = seen, monotonic()
        # What a dead member left can be had when its lease has run out, and not before.
        others = backlog is not None and backlog.all_read and not stats.in_flight
        limit = min(self._lease_s, _LONGEST_LEASE_S) + min(self._seconds, 5) if others else self._seconds
        return monotonic() > self._moved_at + limit

    def complaint(self, progress: Progress) -> str:
        backlog, mine = progress.backlog, progress.stats.in_flight
        if backlog is None:
            return f"not drained: {progress.trouble}"
        if mine:
            return f"not drained: the collector takes nothing; {mine} events in hand and all behind them are left"
        return f"not drained: other forwarders hold {backlog.pending} events and do not settle them"
