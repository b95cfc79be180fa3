"""The exceptions a caller can meet.

    SnowplowTrackerError
    └── ValidationError          (also a ValueError and a RuntimeError, as the 2013 release raised)

Trouble in delivery is never raised: it becomes an outcome, counted with a reason (see `snowplow_tracker.outcomes`).
"""

from __future__ import annotations


class SnowplowTrackerError(Exception):
    """Base of every exception that this package defines."""


class ValidationError(SnowplowTrackerError, ValueError, RuntimeError):
    """An argument cannot become a valid event or setting; nothing was queued or changed.

    Args:
        problem: What is wrong, with the value met, ready to show to the caller.
        rule: The same without the value, fit for a log (a value may be personal data).

    Attributes:
        where: The public call that was given the argument, such as ``Tracker.track_page_view``; empty until known.
    """

    def __init__(self, problem: str, rule: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.rule = rule or problem
        self.where = ""

    def within(self, where: str) -> ValidationError:
        """Name the call that the caller made, in place of the inner one that noticed."""
        self.where = where
        return self

    def __str__(self) -> str:
        return f"{self.where}(): {self.problem}" if self.where else self.problem
