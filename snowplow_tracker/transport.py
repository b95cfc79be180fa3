"""The way out of an emitter: what it asks of it, and what comes of one attempt.

A transport knows nothing of events and never raises for a failed delivery: whatever happens becomes a `Result`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs


@attrs.frozen
class Result:
    """What one attempt brought.

    Attributes:
        status: The HTTP status, or None if no answer came.
        error: What went wrong, if no answer came, by `snowplow_tracker.trouble.words`.
        retry_after_s: How long the collector asked to be left alone, in seconds.
        location: Scheme and host that a redirect pointed to.
        requests: How many requests it took: 2 where an idle connection turned out to be closed.
    """

    status: int | None = None
    error: str = ""
    retry_after_s: float | None = None
    location: str = ""
    requests: int = 1


class Transport(Protocol):
    """What an emitter asks of the way to the collector. `send` may be called from several threads at once."""

    address: str
    """Where it sends, for logs; without credentials."""
    max_batch: int | None
    """The most events a request can carry, if there is a limit."""

    def send(self, events: Sequence[bytes], remaining_s: float | None) -> Result:
        """Send fragments, all or none.

        Args:
            events: At least one, at most `max_batch`.
            remaining_s: How long the attempt may take, where a deadline is near.
        """

    def surely_takes(self) -> int | None:
        """The size in bytes up to which every fragment can be sent, or None if there is no limit."""

    def why_too_large(self, fragment: bytes) -> str | None:
        """Why a fragment over `surely_takes` cannot be sent, or None if it can."""

    def close(self) -> None:
        """Let go of connections."""

    def after_fork(self) -> None:
        """Forget the parent's connections without touching them."""
