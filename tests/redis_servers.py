"""Real Redis servers, each a process of its own in a folder of its own, started and killed by the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from faults import VALID_PEM
from processes import wait_until

PROGRAMS: Final = ("redis-server", "valkey-server")


def program() -> str:
    """The server's program: ``REDIS_SERVER`` names one, else what is installed. Without any, skip; in CI, fail."""
    named = os.environ.get("REDIS_SERVER")
    found = named or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed, and this is CI")
        pytest.skip("redis-server is not installed")
    return found


class RedisProcess:
    """A server on a Unix socket; a context manager that starts it and leaves nothing behind.

    Args:
        options: For its command line, such as ``"--requirepass", "secret"``.
        lasting: Whether everything it took survives `kill`, as with an append-only file that is synced at each write.
        tls: Speak TLS on a port of this machine, with the certificate `VALID_PEM`, besides the socket.
    """

    def __init__(self, *options: str, lasting: bool = False, tls: bool = False) -> None:
        self._program = program()
        # Not pytest's tmp_path: a Unix socket's path has 107 characters at the most.
        self._folder = tempfile.TemporaryDirectory(prefix="redis-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name) / "socket"
        self.url = f"unix://{self.path}"
        self.tls_url = ""
        self._options = ["--appendonly", "yes", "--appendfsync", "always"] if lasting else []
        self._options += options
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis.Redis(unix_socket_path=str(self.path), **_password(options))

    def __enter__(self) -> RedisProcess:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self.client.close()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.path.unlink(missing_ok=True)
        port = ["--port", "0", *(self._tls_options() if self._tls else [])]
        command = [self._program, *port, "--unixsocket", str(self.path), "--save", "", "--dir", self._folder.name]
        with (Path(self._folder.name) / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_until(self._answers, 20, "redis-server to start")

    def _tls_options(self) -> list[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.tls_url = f"rediss://127.0.0.1:{port}"
        pem = str(VALID_PEM)
        return [
            "--tls-port", str(port), "--tls-cert-file", pem, "--tls-key-file", pem, "--tls-ca-cert-file", pem,
            "--tls-auth-clients", "no",
        ]  # fmt: skip

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (Path(self._folder.name) / "log").read_text()
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def entries(self, stream: str = "snowplow") -> list[tuple[bytes, dict[bytes, bytes]]]:
        """What lies in a stream, oldest first."""
        found: list[tuple[bytes, dict[bytes, bytes]]] = self.client.xrange(stream)
        return found


def _password(options: tuple[str, ...]) -> dict[str, str]:
    return {"password": options[options.index("--requirepass") + 1]} if "--requirepass" in options else {}
