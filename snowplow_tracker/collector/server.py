"""The collector's sockets and threads: one thread accepts, one daemon thread serves each connection."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import random
import selectors
import socket
import ssl
import threading
import time
from typing import Final, Protocol

from snowplow_tracker.collector.http1 import READ_TIMEOUT_S, HttpError, Request, RequestReader, Response

MAX_BODY_BYTES: Final = 2_097_152
"""The collector's own limit (protocol: "body over 2097152 bytes")."""


class Application(Protocol):
    """What a `Server` serves; its methods are called in the threads of the connections."""

    def answer(self, request: Request) -> Response | None:
        """The answer to a request; None closes the connection without one."""

    def refuse(self, error: HttpError) -> Response:
        """The answer to what could not be read as a request; the connection closes after it."""

    def end_streams(self) -> None:
        """The server stops: the bodies that are still being made must end, without waiting for more."""


_logger: Final = logging.getLogger("snowplow_tracker.collector")

_BACKLOG: Final = 512
_JOIN_TIMEOUT_S: Final = 5.0
_LINGER_S: Final = 2.0
_NO_DESCRIPTOR_PAUSE_S: Final = 0.05
# Below the range that systems pick a client's port from (32768 on Linux, 49152 elsewhere): while the collector is
# stopped, no other program is given its port by chance, and no client connects to itself by using it at both ends.
# Above the ports that no browser opens, of which 10080 is the highest ("bad port" in the Fetch standard).
_OWN_PORTS: Final = range(10_081, 32_768)
_OWN_PORT_ATTEMPTS: Final = 50


class Server:
    """Listens on one address and answers each request on every connection.

    Args:
        application: What answers the requests.
        host: Where to listen.
        port: 0 takes a free one when `start` is called for the first time.
        ssl_context: Speaks TLS with it; None speaks plain HTTP.
        max_body_bytes: A longer body is answered 413.
    """

    def __init__(
        self,
        application: Application,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.application = application
        self.host = host
        self.port = port
        self.max_body_bytes = max_body_bytes
        self._ssl_context = ssl_context
        self._life = threading.Lock()
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._connection_ids = itertools.count(1)
        self._listening: socket.socket | None = None
        self._waker: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:9090``."""
        scheme = "https" if self._ssl_context else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the port accepts connections."""
        return self._listening is not None

    def start(self) -> None:
        """Listen; the second time on the same port as the first. Does nothing while it runs.

        Raises:
            OSError: The address cannot be listened on.
        """
        with self._life:
            if self._listening:
                return
            listening = _listen(self.host, self.port)
            woken, self._waker = socket.socketpair()
            self.port = listening.getsockname()[1]
            self._listening, self._pid = listening, os.getpid()
            self._thread = threading.Thread(
                target=self._accept_all, args=(listening, woken), name="snowplow-collector", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Refuse connections, cut the open ones and wait for their threads. Does nothing while it is stopped."""
        with self._life:
            listening, waker, thread = self._listening, self._waker, self._thread
            self._listening = self._waker = self._thread = None
            if not listening or not waker or not thread:
                return
            waker.close()
            if os.getpid() == self._pid:  # in a forked child the sockets are the parent's, and the threads not there
                with contextlib.suppress(OSError):
                    listening.shutdown(socket.SHUT_RDWR)  # close() alone would leave a child's copy of it listening
                thread.join(_JOIN_TIMEOUT_S)
                self.application.end_streams()
                self._cut_connections()
            listening.close()

    def _cut_connections(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.cut()
        deadline = time.monotonic() + _JOIN_TIMEOUT_S
        for connection in connections:
            connection.join(max(0.0, deadline - time.monotonic()))

    def _accept_all(self, listening: socket.socket, woken: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, woken:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while self._listening is listening:
                for key, _ in selector.select():
                    if key.fileobj is listening:
                        self._accept(listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            client, address = listening.accept()
            client = self._secured(client)
        except OSError as error:  # the client has gone again
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(_NO_DESCRIPTOR_PAUSE_S)
            return
        connection = _Connection(self, client, next(self._connection_ids), address[0])
        with self._lock:
            self._connections.add(connection)
        try:
            connection.start()
        except RuntimeError:  # no thread can be started
            client.close()
            self.forget(connection)

    def _secured(self, client: socket.socket) -> socket.socket:
        client.setblocking(True)
        if self._ssl_context is None:
            return client
        return self._ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)

    def forget(self, connection: _Connection) -> None:
        """A connection has ended."""
        with self._lock:
            self._connections.discard(connection)


class _Connection(threading.Thread):
    """One client's connection, served until either side ends it."""

    def __init__(self, server: Server, client: socket.socket, connection_id: int, peer: str) -> None:
        super().__init__(name=f"snowplow-collector-{connection_id}", daemon=True)
        self._server = server
        self._socket = client
        self._id = connection_id
        self._peer = peer

    def run(self) -> None:
        try:
            self._prepare()
            self._serve()
        except OSError:
            pass  # the client has gone, or stop() has cut the connection
        except Exception:
            _logger.exception("the collector could not serve a connection")
        finally:
            self.cut()
            self._socket.close()
            self._server.forget(self)

    def cut(self) -> None:
        """End the connection, also from another thread; `run` then returns."""
        # close() alone would leave it open for as long as a forked child holds a copy; SSLSocket.shutdown() would
        # pull its state from under the thread that reads.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _prepare(self) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(READ_TIMEOUT_S)
            self._socket.do_handshake()

    def _serve(self) -> None:
        reader = RequestReader(self._socket, self._server.max_body_bytes)
        local_host = self._socket.getsockname()[0]
        try:
            while request := reader.read():
                request.connection_id, request.peer, request.local_host = self._id, self._peer, local_host
                response = self._answer(request)
                if response is None:
                    return
                keep_alive = request.keep_alive and response.chunks is None
                self._send(response, keep_alive=keep_alive, with_body=request.method != "HEAD")
                if not keep_alive:
                    return
        except HttpError as error:
            self._send(self._server.application.refuse(error), keep_alive=False, with_body=True)
            self._linger()

    def _answer(self, request: Request) -> Response | None:
        try:
            return self._server.application.answer(request)
        except Exception:
            _logger.exception("the collector could not answer a request")
            return Response(500, b"internal error")

    def _send(self, response: Response, *, keep_alive: bool, with_body: bool) -> None:
        with contextlib.closing(response.chunks) if response.chunks else contextlib.nullcontext():
            self._socket.settimeout(READ_TIMEOUT_S)
            self._socket.sendall(response.encode(keep_alive=keep_alive, with_body=with_body))
            if response.chunks and with_body:
                for chunk in response.chunks:  # a reader who takes none of it for READ_TIMEOUT_S is cut off
                    self._socket.sendall(chunk)

    def _linger(self) -> None:
        """Read what the client still sends: closing on unread data would reset the connection under the answer."""
        socket.socket.shutdown(self._socket, socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER_S
        while (remaining_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(remaining_s)
            if not self._socket.recv(262_144):
                return


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens on *port*, or on a free one for 0."""
    if port == 0:
        # Not the numbers of `random` itself: a test that has seeded it counts on them.
        for candidate in random.SystemRandom().sample(_OWN_PORTS, _OWN_PORT_ATTEMPTS):
            with contextlib.suppress(OSError):
                return _bind(host, candidate)
    return _bind(host, port)


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere the option would let two programs share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening
