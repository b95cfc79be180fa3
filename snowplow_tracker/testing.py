"""A real collector inside the test's process: what a tracker sends to it is judged as the real pipeline would judge it.

with LocalCollector() as collector:
    tracker = Tracker.hostname(collector.url)
    tracker.track_page_view("https://example.com")
    collector.assert_tracked(e="pv", url="https://example.com")
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from snowplow_tracker.collector.faults import Fault, Script
from snowplow_tracker.collector.http1 import Response
from snowplow_tracker.collector.journal import MAX_EVENT_BYTES, MAX_EVENTS, Journal, ReceivedRequest
from snowplow_tracker.collector.matching import Expectation
from snowplow_tracker.collector.rows import BadRow
from snowplow_tracker.collector.self_describing import SchemaCheck, no_schema_check
from snowplow_tracker.collector.server import MAX_BODY_BYTES, Server
from snowplow_tracker.collector.service import Service

__all__ = ["BadRow", "LocalCollector", "ReceivedRequest"]

_BAD_ROWS_SHOWN = 5


class LocalCollector:
    """A collector on a socket of this machine, served by threads of this process.

    It is a context manager; without one, call `start` and `stop`. All of it may be used from any thread. A forked
    child may send to it but not serve or read it.

    Args:
        port: Where to listen; 0 takes a free port.
        host: The address to listen on.
        ssl_context: A server's context makes it speak https.
        max_body_bytes: A longer body is answered 413.
        max_events: How many events and bad rows are kept, the newest; `wait_for` counts all.
        max_bytes: About how much memory they may take.
        check_data: What the schemas say of self-describing data: from URI and data to what is wrong.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_EVENT_BYTES,
        check_data: SchemaCheck = no_schema_check,
    ) -> None:
        self._journal = Journal(max_events, max_bytes)
        self._script = Script()
        service = Service(self._journal, self._script, host, check_data)
        self._server = Server(service, host, port, ssl_context, max_body_bytes)

    def start(self) -> LocalCollector:
        """Listen; after `stop`, on the same port and with what was collected before. Returns itself.

        Raises:
            OSError: The port is taken.
        """
        self._script.begin()
        self._server.start()
        return self

    def stop(self) -> None:
        """Refuse connections, cut open ones in the middle of whatever they do, and forget scripted answers.

        What was collected stays. The threads and sockets have ended when this returns.
        """
        self._script.clear(ended=True)
        self._server.stop()

    def __enter__(self) -> LocalCollector:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:23456``; known once it was started."""
        return self._server.url

    @property
    def port(self) -> int:
        """The port it listens on; 0 until it was started, if none was asked for."""
        return self._server.port

    @property
    def events(self) -> list[dict[str, Any]]:
        """The good events, in order of arrival.

        Each is a dict of the wire's keys to strings, and two decoded ones: ``data``, the inner ``{schema, data}`` of a
        self-describing event or None, and ``contexts``, a list of ``{schema, data}``.
        """
        return [row.event for row in self._journal.good()]

    @property
    def bad(self) -> list[BadRow]:
        """What the pipeline would refuse, in order of arrival; ``.errors`` says why, a sentence each."""
        return self._journal.bad()

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests received, also those that were answered with an error or not at all."""
        return self._journal.requests()

    def reset(self) -> None:
        """Forget what was collected; scripted answers stay."""
        self._journal.reset()

    def wait_for(self, n: int, timeout: float = 5.0) -> list[dict[str, Any]]:
        """Wait until *n* good events have come since the last reset.

        Args:
            n: How many; more are no error.
            timeout: How long to wait, in seconds.

        Returns:
            All good events, as `events`.

        Raises:
            AssertionError: Fewer have come; it says how many, and why others were refused.
        """
        __tracebackhide__ = True  # pytest then shows the line of the test
        if not self._journal.wait_until(lambda: self._journal.counts.good >= n, timeout):
            counts = self._journal.counts
            raise AssertionError(
                f"{counts.good} of {n} events came within {timeout:g} s, in {len(self.requests)} requests"
                f"{self._refusals()}"
            )
        return self.events

    def assert_tracked(
        self,
        times: int = 1,
        timeout: float = 2.0,
        data: Mapping[str, Any] | None = None,
        contexts: Iterable[str | Mapping[str, Any]] = (),
        **wire: Any,
    ) -> list[dict[str, Any]]:
        """Wait until exactly *times* good events match.

        Args:
            times: How many must match; for 0 the whole timeout is waited to see that none comes.
            timeout: How long to wait, in seconds.
            data: What a self-describing event must at least hold, in its ``{schema, data}`` or in its properties.
            contexts: What must be among the contexts: a schema's URI, or a part of a ``{schema, data}``.
            wire: What keys of the wire must be, compared as text; None for a key that must not be there.

        Returns:
            The events that match.

        Raises:
            AssertionError: Another number matches; it shows the nearest misses and what differs in them.
        """
        __tracebackhide__ = True  # pytest then shows the line of the test
        expected = Expectation(wire, data, list(contexts))

        def matching() -> list[dict[str, Any]]:
            return [event for event in self.events if not expected.differences(event)]

        if times > 0:
            self._journal.wait_until(lambda: len(matching()) >= times, timeout)
        else:
            self._journal.wait_until(lambda: len(matching()) > 0, timeout)
        found = matching()
        if len(found) != times:
            raise AssertionError(f"{expected.explain(self.events, times, len(found))}{self._refusals()}")
        return found

    def fail(
        self,
        status: int = 503,
        times: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        """Answer the next requests with a status; their events are not collected unless it is a 2xx.

        Scripted answers with *times* queue up behind one another; one without lasts until the next, `recover` or
        `stop`. They concern what trackers send, not health checks and not ``/micro``.

        Args:
            status: The status of the answer.
            times: For how many requests; None for all.
            headers: What the answer is to carry, such as ``Retry-After``.
            body: The answer's body.
        """
        response = Response(status, body, list((headers or {}).items()))
        self._script.add(Fault(times, response, accept=200 <= status < 300))

    def latency(self, seconds: float) -> None:
        """Let every answer wait this long; events count as collected when the answer is given."""
        self._script.set_latency(seconds)

    def black_hole(self) -> None:
        """Read requests and never answer. `recover` and `stop` close what waits, uncollected and unanswered."""
        self._script.add(Fault(remaining=None, hang=True))

    def drop_connection(self, times: int | None = None, accept: bool = False) -> None:
        """Read requests, then close the connection without an answer.

        Args:
            times: For how many requests; None for all.
            accept: Whether their events are collected all the same, as when the answer was lost on the way.
        """
        self._script.add(Fault(times, accept=accept))

    def recover(self) -> None:
        """Forget scripted answers and latency, and end the waiting of those that wait."""
        self._script.clear()

    def _refusals(self) -> str:
        bad = self.bad
        if not bad:
            return ""
        shown = [f"\n  {row}" for row in bad[:_BAD_ROWS_SHOWN]]
        more = f"\n  and {len(bad) - _BAD_ROWS_SHOWN} more" if len(bad) > _BAD_ROWS_SHOWN else ""
        return f"\nrefused ({self._journal.counts.bad}):{''.join(shown)}{more}"
