"""What tracking can't go below: the physical floor, and the honest one, which does what every tracker has to do."""

from __future__ import annotations

import random
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import time_ns
from typing import Any, Final

import orjson

from benchmarks import libraries as values

WIRE_PAIRS: Final = {
    "e": "se",
    "eid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "dtm": "1369330909000",
    "tv": "py-2.0.0",
    "tna": values.NAMESPACE,
    "aid": values.APP,
    "p": "pc",
    "uid": values.USER,
    "res": f"{values.WIDTH}x{values.HEIGHT}",
    "se_ca": values.CATEGORY,
    "se_ac": values.ACTION,
    "se_la": values.LABEL,
    "se_pr": values.PROPERTY,
    "se_va": str(values.VALUE),
}
"""The 14 pairs of the event that every benchmark tracks."""

_HEAD: Final = b'{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":['
_PATH: Final = "/com.snowplowanalytics.snowplow/tp2"


def physical_call() -> tuple[Callable[[], None], deque[bytes]]:
    """The floor of a call: a constant dict through orjson, appended to a deque under a lock."""
    queue: deque[bytes] = deque()
    lock, pairs, dumps = threading.Lock(), WIRE_PAIRS, orjson.dumps

    def call() -> None:
        with lock:
            # The slice is a copy: the object that orjson returns would keep an over-sized buffer alive.
            queue.append(dumps(pairs)[:-1])

    return call, queue


def honest_call() -> tuple[Callable[[], None], deque[bytes]]:
    """A call that does what a tracker cannot leave out: an id, the clock, the event's dict, the queue's lock."""
    queue: deque[bytes] = deque()
    lock, constant, dumps, bits = threading.Lock(), dict(WIRE_PAIRS), orjson.dumps, random.Random().getrandbits

    def call() -> None:
        digits = "%032x" % bits(128)
        pairs = {
            **constant,
            "eid": f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}",
            "dtm": str(time_ns() // 1_000_000),
        }
        encoded = dumps(pairs)[:-1]
        with lock:
            queue.append(encoded)

    return call, queue


def body_of(queue: deque[bytes], events: int) -> bytes:
    """The same POST body that we send, made of the oldest *events* of the queue."""
    stamp = b',"stm":"%d"}' % (time_ns() // 1_000_000)
    popped = [queue.popleft() for _ in range(events)]
    return b"".join((_HEAD, (stamp + b",").join(popped), stamp, b"]}"))


class RawSender:
    """Writes bodies as POSTs over one keep-alive socket, and reads the answers."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            f"POST {_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json; charset=utf-8\r\n"
            "Content-Length: "
        ).encode()

    def __call__(self, body: bytes) -> None:
        self._connection.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        assert self._connection.recv(4096).startswith(b"HTTP/1.1 200")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def session_sender(port: int, *, trust_env: bool) -> Callable[[bytes], None]:
    """The same through one `requests.Session`, which looks up proxies and .netrc for each request if *trust_env*."""
    import requests

    session: Any = requests.Session()
    session.trust_env = trust_env
    url, headers = f"http://127.0.0.1:{port}{_PATH}", {"Content-Type": "application/json; charset=utf-8"}

    def send(body: bytes) -> None:
        assert session.post(url, data=body, headers=headers).status_code == 200

    return send
