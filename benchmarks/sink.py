"""A loopback collector that does as little as possible, in a process of its own.

It answers 200 to everything, and counts requests, bytes and events. An event is one occurrence of `MARKER` in a request
(every library under test sends it once an event, in a query string, JSON or protobuf), so counting is one C call.
`python sink.py` prints its port, and ends when its standard input is closed.

It is steered over HTTP as well, by paths that begin with ``/_``:

    /_reset          counts from nothing
    /_counts         JSON: requests, events, bytes, connections, cpu_s, last_at (CLOCK_MONOTONIC of the last event)
    /_await?N        the same, answered when N events have come: who waits for it uses no CPU
    /_hold           leave every request unanswered from now on, as a black hole does
    /_release        answer them all, and go on as usual
"""

from __future__ import annotations

import http.client
import json
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

MARKER: Final = b"bench-marker"
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
_STEP: Final = 1 << 20


class Connection:
    """One client: what it has sent of its request so far, in a buffer that is filled in place."""

    __slots__ = ("buffer", "filled", "needed", "socket")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.buffer = bytearray(1 << 16)
        self.filled = 0
        self.needed = 0

    def receive(self) -> int:
        if self.filled == len(self.buffer):
            self.buffer.extend(bytes(_STEP))
        received = self.socket.recv_into(memoryview(self.buffer)[self.filled :])
        self.filled += received
        return received

    def request_size(self) -> int:
        """The size of the request at the front of the buffer; 0 while its head is not complete."""
        if not self.needed:
            end = self.buffer.find(b"\r\n\r\n", 0, self.filled)
            if end < 0:
                return 0
            head = bytes(self.buffer[:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            body = int(head[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0
            self.needed = end + 4 + body
        return self.needed

    def discard(self, size: int) -> None:
        rest = self.filled - size
        if rest:
            self.buffer[:rest] = self.buffer[size : self.filled]
        self.filled = rest
        self.needed = 0


class Sink:
    """The server: one thread, one selector."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.held: list[socket.socket] = []
        self.awaiting: list[tuple[int, socket.socket]] = []
        self.holding = False
        self.reset()

    def reset(self) -> None:
        self.counts: dict[str, float] = {"requests": 0, "events": 0, "bytes": 0, "connections": 0, "last_at": 0.0}

    def serve(self) -> None:
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        print(self.port, flush=True)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj is sys.stdin:
                    return
                else:
                    self._serve(key.data)

    def _accept(self) -> None:
        accepted, _ = self.listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.counts["connections"] += 1
        self.selector.register(accepted, selectors.EVENT_READ, Connection(accepted))

    def _serve(self, connection: Connection) -> None:
        try:
            if not connection.receive():
                raise ConnectionError
            size = connection.request_size()
            while size and connection.filled >= size:
                self._answer(connection, size)
                connection.discard(size)
                size = connection.request_size()
        except OSError:
            self.selector.unregister(connection.socket)
            connection.socket.close()

    def _answer(self, connection: Connection, size: int) -> None:
        if connection.buffer.startswith(b"GET /_"):
            self._steer(connection)
            return
        counts = self.counts
        counts["requests"] += 1
        counts["bytes"] += size
        if self.holding:
            # Counted when it is answered: until then nothing was delivered.
            self.held.append((connection.socket, connection.buffer.count(MARKER, 0, size)))  # type: ignore[arg-type]
            return
        connection.socket.sendall(_OK)
        self._count(connection.buffer.count(MARKER, 0, size))

    def _count(self, events: int) -> None:
        self.counts["events"] += events
        self.counts["last_at"] = time.monotonic()
        for pair in [pair for pair in self.awaiting if pair[0] <= self.counts["events"]]:
            self.awaiting.remove(pair)
            self._tell(pair[1])

    def _steer(self, connection: Connection) -> None:
        command, _, argument = bytes(connection.buffer[6 : connection.buffer.find(b" HTTP")]).partition(b"?")
        if command == b"await" and self.counts["events"] < int(argument):
            self.awaiting.append((int(argument), connection.socket))
            return
        if command == b"reset":
            self.reset()
        elif command == b"hold":
            self.holding = True
        elif command == b"release":
            self._release()
        self._tell(connection.socket)

    def _release(self) -> None:
        self.holding = False
        held, self.held = self.held, []
        for waiting, events in held:  # type: ignore[misc]
            try:
                waiting.sendall(_OK)  # type: ignore[has-type]
            except OSError:
                continue
            self._count(events)  # type: ignore[has-type]

    def _tell(self, client: socket.socket) -> None:
        body = json.dumps({**self.counts, "cpu_s": time.process_time()}).encode()
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class SinkControl:
    """Steers a sink from another process.

    Args:
        port: The sink's.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def __call__(self, command: str) -> dict[str, Any]:
        """Say *command* (see the module's docstring) and return the counts."""
        self._connection.request("GET", f"/_{command}")
        counts: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return counts

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def await_events(self, events: int, timeout_s: float = 60.0) -> dict[str, Any] | None:
        """Wait, without using CPU, until so many events have come; None if they did not within *timeout_s*."""
        patient = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            patient.request("GET", f"/_await?{events}")
            counts: dict[str, Any] = json.loads(patient.getresponse().read())
        except TimeoutError:
            return None
        finally:
            patient.close()
        return counts


class SinkProcess:
    """A sink in its own process, for the length of a ``with`` block."""

    def __enter__(self) -> SinkControl:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._control = SinkControl(int(self._process.stdout.readline()))
        return self._control

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._control.close()
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


if __name__ == "__main__":
    Sink().serve()
