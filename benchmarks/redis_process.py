"""A real Redis server as a process of its own, for benchmarks and tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

PROGRAMS: Final = ("redis-server", "valkey-server")
_START_WITHIN_S: Final = 20.0


def installed_program() -> str | None:
    """The server's program: what ``REDIS_SERVER`` names, else what is installed, else None."""
    return os.environ.get("REDIS_SERVER") or next(filter(None, map(shutil.which, PROGRAMS)), None)


class RedisProcess:
    """A server on a Unix socket, in a folder of its own; a context manager that starts it and leaves nothing behind.

    Args:
        options: For its command line, such as ``"--requirepass", "secret"``.
        lasting: Whether everything it took survives `kill`, as with an append-only file that is synced at each write.
        certificate: A PEM file with key and certificate, to speak TLS on a port of this machine as well.

    Attributes:
        url: How to reach it by the socket.
        tls_url: How to reach it by TLS.
        client: A redis-py client of the tests' own.
    """

    def __init__(self, *options: str, lasting: bool = False, certificate: Path | None = None) -> None:
        import redis

        program = installed_program()
        if program is None:
            raise FileNotFoundError("redis-server is not installed")
        # A short path: that of a Unix socket has 107 characters at the most.
        self._folder = tempfile.TemporaryDirectory(prefix="redis-", ignore_cleanup_errors=True)
        path = f"{self._folder.name}/socket"
        self.url = f"unix://{path}"
        self.tls_url = ""
        self._command = [program, "--unixsocket", path, "--save", "", "--dir", self._folder.name, "--port", "0"]
        self._command += ["--appendonly", "yes", "--appendfsync", "always"] if lasting else []
        self._command += [*options, *self._tls_options(certificate)]
        self._process: subprocess.Popen[bytes] | None = None
        password = options[options.index("--requirepass") + 1] if "--requirepass" in options else None
        self.client: Any = redis.Redis(unix_socket_path=path, password=password)

    def _tls_options(self, certificate: Path | None) -> list[str]:
        if certificate is None:
            return []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.tls_url = f"rediss://127.0.0.1:{port}"
        files = [part for kind in ("cert", "key", "ca-cert") for part in (f"--tls-{kind}-file", str(certificate))]
        return ["--tls-port", str(port), *files, "--tls-auth-clients", "no"]

    def __enter__(self) -> RedisProcess:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self.client.close()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = Path(self._folder.name) / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        deadline = monotonic() + _START_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or monotonic() > deadline:
                raise RuntimeError(f"the server does not start:\n{log.read_text()}")
            sleep(0.01)

    def _answers(self) -> bool:
        import redis

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
