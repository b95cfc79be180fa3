"""Real Redis servers for the tests, which need one to be installed."""

from __future__ import annotations

import os
from typing import Any

import pytest
from faults import VALID_PEM

from benchmarks.redis_process import RedisProcess as _RedisProcess
from benchmarks.redis_process import installed_program


def needs_redis() -> None:
    """Skip the test where no server is installed; in CI, fail."""
    if installed_program() is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed, and this is CI")
        pytest.skip("redis-server is not installed")


class RedisProcess(_RedisProcess):
    """The same; where there is no program to run, the test is skipped, and fails in CI.

    Args:
        options: For its command line.
        lasting: Whether everything it took survives `kill`.
        tls: Speak TLS as well, with the certificate `VALID_PEM`.
    """

    def __init__(self, *options: str, lasting: bool = False, tls: bool = False) -> None:
        needs_redis()
        super().__init__(*options, lasting=lasting, certificate=VALID_PEM if tls else None)

    def start(self) -> None:
        try:
            super().start()
        except RuntimeError as error:
            if "tls" in str(error).lower() and not os.environ.get("CI"):
                pytest.skip("this redis-server is built without TLS")
            raise

    def entries(self, stream: str = "snowplow") -> list[tuple[bytes, dict[bytes, bytes]]]:
        """What lies in a stream, oldest first."""
        found: list[tuple[bytes, dict[bytes, bytes]]] = self.client.xrange(stream)
        return found


def pending(server: RedisProcess, group: str = "forwarders") -> dict[str, Any]:
    """What the members of a group hold, in sum."""
    found: dict[str, Any] = server.client.xpending("snowplow", group)
    return found
