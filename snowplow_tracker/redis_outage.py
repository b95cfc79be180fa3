"""When a server is away: told once when it begins and once when it is over, and how long to leave it alone."""

from __future__ import annotations

import contextlib
import logging
import threading
from time import monotonic
from typing import Final

logger = logging.getLogger("snowplow_tracker")

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0


class Outage:
    """Whether a server is away, from what its users note.

    Args:
        address: The server's, for the log.

    Attributes:
        what: What is wrong, or "".
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.RLock()
        self.what = ""
        self._since: float | None = None
        self._pause_s = 0.0
        self._ask_at = 0.0

    def pauses(self) -> bool:
        """Whether it is too early to ask again."""
        return monotonic() < self._ask_at

    def begin(self, why: str) -> None:
        """The server cannot be used."""
        with self._lock:
            first = self._since is None
            self._since = monotonic() if self._since is None else self._since
            self.what = f"{self._address} is lost: {why}"
            self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2 or _FIRST_PAUSE_S)
            self._ask_at = monotonic() + self._pause_s
        if first:
            log(logging.WARNING, "%s; forwarding waits", self.what)

    def end(self) -> bool:
        """The server has answered; returns whether that is news."""
        with self._lock:
            since, self._since = self._since, None
            self.what, self._pause_s = "", 0.0
        if since is None:
            return False
        log(logging.INFO, "%s is back after %.1f s", self._address, monotonic() - since)
        return True


def log(level: int, message: str, *arguments: object) -> None:
    """Log. A handler that raises must not cost an event."""
    with contextlib.suppress(Exception):
        logger.log(level, message, *arguments)
