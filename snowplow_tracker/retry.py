"""Which answers are worth another attempt, how long to wait for it, and when to stop."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Mapping
from typing import Final

import tenacity

from snowplow_tracker.transport import Result

FINAL_STATUSES: Final = frozenset({400, 401, 403, 410, 422})
FIRST_DELAY_S: Final = 0.5
"""The upper bound of the first wait; each further one is twice as high."""
CLOSING_DELAY_S: Final = 0.5
"""The upper bound of every wait while closing: the budget is seconds, and a collector may be back within it."""
LEAST_DELAY_S: Final = 0.05
"""Jitter may come out as nothing, but a collector in trouble is never asked at full speed."""
_JITTER: Final = random.SystemRandom()
"""Not the numbers of `random` itself: a game that has seeded it counts on them, and a fleet of such games must not come
back at once."""


class Verdict(enum.Enum):
    """What an answer means for the events that were sent."""

    DELIVERED = "delivered"
    RETRY = "retry"
    SPLIT = "split"
    REFUSED = "refused"


def judge(result: Result, custom_retry_codes: Mapping[int, bool]) -> Verdict:
    """Read an answer.

    Args:
        result: The outcome of one attempt.
        custom_retry_codes: The user's own rules, status to whether it is retried; a 2xx is never retried.
    """
    status = result.status
    if status is None:
        return Verdict.RETRY
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status in custom_retry_codes:
        return Verdict.RETRY if custom_retry_codes[status] else Verdict.REFUSED
    if status == 413:
        return Verdict.SPLIT
    return Verdict.REFUSED if status in FINAL_STATUSES else Verdict.RETRY


def retrying(
    *,
    max_delay_s: float,
    worth_retrying: Callable[[Result], bool],
    stop: Callable[[], bool],
    closing: Callable[[], bool],
    sleep: Callable[[float], None],
) -> tenacity.Retrying:
    """The one retry loop: full jitter, `Retry-After` honoured, never more than *max_delay_s* between attempts.

    Args:
        max_delay_s: ``max_retry_delay_seconds``.
        worth_retrying: Whether an attempt's result asks for another.
        stop: Whether time is up; asked after each attempt, so an interrupted wait always costs one more.
        closing: Whether the emitter is on its way out and waits must be short.
        sleep: Waits that many seconds, or less when a flush or a close cuts it short.
    """
    longest = tenacity.wait_exponential(multiplier=FIRST_DELAY_S, max=max_delay_s)

    def wait(state: tenacity.RetryCallState) -> float:
        asked: Result = state.outcome.result()  # type: ignore[union-attr]
        if closing():
            seconds = _JITTER.uniform(0, min(CLOSING_DELAY_S, max_delay_s))
        else:
            seconds = max(_JITTER.uniform(0, longest(state)), min(asked.retry_after_s or 0.0, max_delay_s))
        return max(seconds, LEAST_DELAY_S)

    return tenacity.Retrying(
        retry=tenacity.retry_if_result(worth_retrying),
        stop=lambda state: stop(),
        wait=wait,
        sleep=sleep,
        # Out of time: the last result is the answer, not an exception about it.
        retry_error_callback=lambda state: state.outcome.result(),  # type: ignore[union-attr]
    )
