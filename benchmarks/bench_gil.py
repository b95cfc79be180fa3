"""How long the emitter thread keeps the GIL at a stretch, and what another thread feels of it.

**Stretches.** The process's sockets are of a class that notes, for each thread, the CPU that it used between the end of
one call that sends, receives or connects and the start of the next: these calls let go of the GIL. A thread may let go
of it elsewhere too (a lock, a condition, a poll), so a stretch is never counted too short. It is CPU and not time,
because a thread that waits uses none, and because what else the machine does would lengthen time.

**Waits.** Meanwhile the main thread is a probe: it lets go of the GIL for some 20 µs, takes it back, and notes how long
that took, again and again. That includes the sleep itself, the system's delay in waking a thread, and, with as many
busy processes as cores, the wait for one; ``idle`` is the same with nothing else running.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from time import monotonic, perf_counter, thread_time_ns
from typing import Any, Final

from benchmarks.samples import percentiles
from benchmarks.sink import SinkControl

_SLEEP_S: Final = 20e-6
_stretches_ms: dict[int, list[float]] = {}
_taken_back = threading.local()


def _letting_go(call: Callable[..., Any]) -> Callable[..., Any]:
    """A socket's method that lets go of the GIL, with the thread's stretch before it noted."""

    def noted(*arguments: Any) -> Any:
        since = getattr(_taken_back, "at_ns", 0)
        _stretches_ms.setdefault(threading.get_ident(), []).append((thread_time_ns() - since) / 1e6)
        try:
            return call(*arguments)
        finally:
            _taken_back.at_ns = thread_time_ns()

    return noted


class NotingSocket(socket.socket):
    """A socket that notes the stretches between its calls."""

    connect = _letting_go(socket.socket.connect)
    send = _letting_go(socket.socket.send)
    sendall = _letting_go(socket.socket.sendall)
    recv = _letting_go(socket.socket.recv)
    recv_into = _letting_go(socket.socket.recv_into)


def stretches(library: str, sink_port: int, events: int) -> dict[str, Any]:
    """Queue *events* while the sink answers nothing, let it answer, and watch until all have arrived.

    Returns:
        ``stretch``: percentiles over the emitter threads' stretches, in ms of CPU, the connection's set-up (once) left
        out; ``idle`` and ``waits``: percentiles of the probe's waits, in ms.
    """
    sink = SinkControl(sink_port)
    arrival = socket.create_connection(("127.0.0.1", sink_port))
    socket.socket = NotingSocket  # type: ignore[misc]
    from benchmarks.libraries import open_library

    opened = open_library(library, sink.url)
    opened.track()
    opened.hurry()
    assert sink.await_events(1) is not None, "the first event did not arrive"
    sink("hold")
    for _ in range(events):
        opened.track()
    opened.hurry()
    idle = _probe(arrival, until=monotonic() + 0.3)
    _stretches_ms.clear()
    arrival.sendall(b"GET /_await?%d HTTP/1.1\r\n\r\n" % (events + 1))
    SinkControl(sink_port)("release")
    _stretches_ms.pop(threading.get_ident(), None)
    waits = _probe(arrival, until=monotonic() + 60)
    assert sink("counts")["events"] > events, f"{library}: the events did not arrive"
    _stretches_ms.pop(threading.get_ident(), None)
    found = [stretch for told in _stretches_ms.values() for stretch in told[1:]]
    return {"stretch": percentiles(found), "idle": percentiles(idle), "waits": percentiles(waits)}


def _probe(arrival: socket.socket, until: float) -> list[float]:
    """Let go of the GIL and take it back until *arrival* has something to read; how long each took, in ms."""
    waits = []
    while monotonic() < until:
        start = perf_counter()
        readable, _, _ = select.select([arrival], [], [], _SLEEP_S)
        waits.append((perf_counter() - start) * 1000)
        if readable:
            break
    return waits
