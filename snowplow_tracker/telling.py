"""What an emitter tells its user of delivery: a few log lines, and the callbacks.

A line carries counts, reasons and places, never what is in an event. None of this may cost an event or a thread, and
no lock is held while a handler or a callback runs.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Any

from snowplow_tracker.transport import Result

logger = logging.getLogger("snowplow_tracker")


class Teller:
    """Tells of each trouble once, whichever of an emitter's threads met it.

    Args:
        address: Where the events go, without credentials.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.RLock()  # re-entrant for a signal handler that flushes
        self._lost_at: float | None = None
        self._well_at = 0.0
        self._told: set[str] = set()

    def attempted(self, result: Result, *, began: float, lost: bool, waiting: int) -> None:
        """One warning when the collector is lost, one line when it is back; nothing per event or attempt.

        Args:
            result: What an attempt brought.
            began: When it began (`time.monotonic`): a failure says nothing of the time after another one's success.
            lost: Whether that means an outage.
            waiting: How many events are queued or on their way.
        """
        with self._lock:
            since = self._lost_at
            if not lost:
                self._well_at = monotonic()
            if lost == (since is not None) or (lost and began < self._well_at):
                return
            self._lost_at = monotonic() if lost else None
        if since is None:
            message = "collector %s is lost: %s; events wait and are retried"
            _log(logging.WARNING, message, self._address, _why(result))
        else:
            message = "collector %s is back after %.1f s; %d events waited"
            _log(logging.INFO, message, self._address, monotonic() - since, waiting)

    def refused(self, result: Result) -> None:
        """One warning in all: whoever gave a wrong address would otherwise see nothing arrive, and not why."""
        if self._is_news("refusal"):
            _log(
                logging.WARNING,
                "collector %s refuses events: %s; they are dropped (refused), and further refusals are not logged; if "
                "all are refused, check that this is a collector's address, with the right scheme",
                self._address,
                _why(result),
            )

    def store_raised(self, error: Exception) -> None:
        """One line for all the trouble with a store: a handler that tracks what is logged would never come to an
        end."""
        if self._is_news("store"):
            _log(
                logging.ERROR,
                "the event store raised %s; what it cannot take is dropped (store), and further errors are not logged",
                type(error).__name__,
            )

    def _is_news(self, what: str) -> bool:
        with self._lock:
            known = what in self._told
            self._told.add(what)
        return not known


def call_back(callback: Callable[..., Any], *arguments: object) -> None:
    """Call a user's function; what it raises is logged by type and place, since its text may hold an event."""
    try:
        callback(*arguments)
    except Exception as error:
        log_error("a callback raised %s at %s:%s", error)


def log_error(message: str, error: BaseException) -> None:
    """Log an error's type and place.

    Args:
        message: With three places, for the type, the file and the line.
        error: One that was raised.
    """
    place = traceback.extract_tb(error.__traceback__)[-1]
    _log(logging.ERROR, message, type(error).__name__, place.filename, place.lineno)


def _why(result: Result) -> str:
    if result.status is None:
        return result.error
    if 300 <= result.status < 400 and result.location:
        return f"it redirects ({result.status}) to {result.location}: use that address, redirects are not followed"
    return f"it answers {result.status}"


def _log(level: int, message: str, *arguments: object) -> None:
    """Log. A handler that raises must not cost an event, let alone the thread."""
    with contextlib.suppress(Exception):
        logger.log(level, message, *arguments)
