"""What stands between a tracker and its collector in tests: scripted transports, a proxy, and laws that always hold."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from faults import Connection, FaultyServer

from snowplow_tracker import Stats, Tracker
from snowplow_tracker.addresses import collector_url
from snowplow_tracker.collector.journal import ReceivedRequest
from snowplow_tracker.http_transport import GetTransport, PostTransport
from snowplow_tracker.payload import payload_dict
from snowplow_tracker.transport import Result

OK: Final = Result(200)
WAIT_S: Final = 20.0
"""How long a test waits for something that is sure to come, on a machine with better things to do."""


def adds_up(stats: Stats) -> bool:
    """The accounting identity of `Stats`."""
    settled = stats.delivered + sum(stats.dropped.values())
    return stats.tracked + stats.recovered == settled + stats.queued + stats.in_flight


def track(tracker: Tracker, count: int, label: str = "event") -> list[str]:
    """Track events that must be taken; returns their ids."""
    receipts = [tracker.track_struct_event("test", "track", label, str(number)) for number in range(count)]
    assert all(receipts)
    return [receipt.event_id for receipt in receipts]


def event_ids(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["eid"] for event in events]


def sent_events(request: ReceivedRequest | bytes) -> list[dict[str, str]]:
    """What a POST carried, whatever became of it."""
    body = request.partition(b"\r\n\r\n")[2] if isinstance(request, bytes) else request.body
    events: list[dict[str, str]] = json.loads(body)["data"]
    return events


def has_happened(event: threading.Event, what: str) -> None:
    """Wait for *event*, or fail."""
    assert event.wait(WAIT_S), f"waited {WAIT_S:g} s in vain for {what}"


# --- transports ------------------------------------------------------------------------------------------------


class HeldTransport:
    """A way out that keeps every request inside `send` until the test answers it.

    Attributes:
        offered: The events of every attempt so far, as payload dicts.
        threads: The ids of the threads that have called `send`.
    """

    address = "memory://held"

    def __init__(self, max_batch: int | None = None) -> None:
        self.max_batch = max_batch
        self.offered: list[list[dict[str, str]]] = []
        self.threads: set[int] = set()
        self._changed = threading.Condition()
        self._answers: list[Result] = []
        self._answered = 0
        self._ever_after: Result | None = None

    def send(self, events: Sequence[bytes], remaining_s: float | None) -> Result:
        with self._changed:
            self.threads.add(threading.get_ident())
            self.offered.append([payload_dict(event) for event in events])
            self._changed.notify_all()
            while not self._answers and self._ever_after is None:
                self._changed.wait(WAIT_S)
            self._answered += 1
            answer = self._answers.pop(0) if self._answers else self._ever_after
            assert answer is not None
            return answer

    def wait_for_request(self, number: int = 1) -> list[dict[str, str]]:
        """The events of the *number*-th attempt, once it is made."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.offered) >= number, WAIT_S), f"no attempt number {number}"
            return self.offered[number - 1]

    def answer(self, result: Result = OK) -> None:
        """End one attempt."""
        with self._changed:
            self._answers.append(result)
            self._changed.notify_all()

    def answer_all(self, result: Result = OK) -> None:
        """End this attempt and every one that follows."""
        with self._changed:
            self._ever_after = result
            self._changed.notify_all()

    @property
    def pending(self) -> int:
        """How many attempts are inside `send`."""
        with self._changed:
            return len(self.offered) - self._answered

    def surely_takes(self) -> int | None:
        return None

    def why_too_large(self, fragment: bytes) -> str | None:
        return None

    def close(self) -> None:
        """There is nothing to let go of."""

    def after_fork(self) -> None:
        """There is nothing to forget."""


class ScriptedTransport(HeldTransport):
    """Answers at once: with *answers* in turn, then 200; a function among them is called with the events."""

    def __init__(self, *answers: Result | Callable[[Sequence[bytes]], Result], max_batch: int | None = None) -> None:
        super().__init__(max_batch)
        self._script = iter(answers)

    def send(self, events: Sequence[bytes], remaining_s: float | None) -> Result:
        with self._changed:
            self.offered.append([payload_dict(event) for event in events])
            answer = next(self._script, OK)
            self._changed.notify_all()
        return answer if isinstance(answer, Result) else answer(events)


def transport(method: str, address: str, **options: Any) -> Any:
    """A way to a collector by POST or GET, as an emitter makes it."""
    kind = PostTransport if method == "post" else GetTransport
    return kind(collector_url("host", address, None, None, method), **{"timeout": (5.0, 5.0), **options})


# --- servers ---------------------------------------------------------------------------------------------------


def at_first(
    behaviour: Callable[[Connection], None], connections: int, then: Callable[[Connection], None]
) -> Callable[[Connection], None]:
    """Treat so many connections in one way, and all that follow in another."""
    numbers = itertools.count()

    def behave(connection: Connection) -> None:
        (behaviour if next(numbers) < connections else then)(connection)

    return behave


def recording(requests: list[bytes], *answers: bytes) -> Callable[[Connection], None]:
    """As `answering`, and keep every request that was read."""

    def behave(connection: Connection) -> None:
        for number in itertools.count():
            request = connection.read_request()
            if request is None:
                return
            requests.append(request)
            connection.send(answers[min(number, len(answers) - 1)])

    return behave


def taking_without_answer(requests: list[bytes]) -> Callable[[Connection], None]:
    """Answer the first request of a connection, and close it on receiving the second."""

    def behave(connection: Connection) -> None:
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b""):
            request = connection.read_request()
            if request is None:
                return
            requests.append(request)
            connection.send(answer)

    return behave


@contextlib.contextmanager
def forward_proxy() -> Iterator[tuple[str, list[str]]]:
    """A real HTTP proxy, for absolute addresses and CONNECT; yields its address and the request lines it has seen."""
    lines: list[str] = []

    def behave(connection: Connection) -> None:
        request = connection.read_request()
        if request is None:
            return
        line, _, rest = request.partition(b"\r\n")
        lines.append(line.decode())
        method, target, version = line.split(b" ")
        if method == b"CONNECT":
            host, _, port = target.partition(b":")
            upstream = socket.create_connection((host.decode(), int(port)))
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            authority, _, path = target.removeprefix(b"http://").partition(b"/")
            host, _, port = authority.partition(b":")
            upstream = socket.create_connection((host.decode(), int(port or 80)))
            upstream.sendall(b" ".join((method, b"/" + path, version)) + b"\r\n" + rest)
        with upstream:
            _tunnel(connection.stream, upstream)

    with FaultyServer(behave) as server:
        yield server.url, lines


def _tunnel(client: socket.socket, upstream: socket.socket) -> None:
    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=pump, args=(upstream, client), daemon=True)
    back.start()
    pump(client, upstream)
    back.join(10)
