"""Scripted answers: a collector that fails, is slow, hangs, or closes the connection, on demand."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from snowplow_tracker.collector.http1 import Response


@dataclass(slots=True)
class Fault:
    """One way to answer.

    Attributes:
        remaining: For how many requests; None for all until the script changes.
        response: What to answer with; None for no answer.
        hang: Whether to keep the connection waiting instead of closing it.
        accept: Whether the events of the request are collected all the same.
    """

    remaining: int | None
    response: Response | None = None
    hang: bool = False
    accept: bool = False


class Script:
    """What happens to the next requests. Faults of a stated number queue up; then all is well again."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._faults: deque[Fault] = deque()
        self._latency_s = 0.0
        self._generation = 0
        self._ended = False

    def add(self, fault: Fault) -> None:
        """Append *fault*, in place of one before it that would never end.

        Raises:
            ValueError: It would concern no request at all.
        """
        if fault.remaining is not None and fault.remaining < 1:
            raise ValueError(f"times must be at least 1, or None for all requests, got {fault.remaining}")
        with self._changed:
            if self._faults and self._faults[-1].remaining is None:
                self._faults.pop()
            self._faults.append(fault)

    def set_latency(self, seconds: float) -> None:
        """Let every answer wait this long."""
        with self._changed:
            self._latency_s = seconds

    def begin(self) -> None:
        """The collector starts; what was scripted before holds."""
        with self._changed:
            self._ended = False

    def clear(self, *, ended: bool = False) -> None:
        """Forget everything and wake whoever waits.

        Args:
            ended: The collector stops: whoever waits is not to be answered any more.
        """
        with self._changed:
            self._faults.clear()
            self._latency_s = 0.0
            self._generation += 1
            self._ended = self._ended or ended
            self._changed.notify_all()

    def meet(self) -> Fault | None:
        """Wait as long as the script says, then tell what the request at hand meets: None if it is served as usual."""
        with self._changed:
            if self._latency_s > 0:
                self._wait(self._latency_s)
            fault = self._take()
            if fault and fault.hang:
                self._wait(None)
            return Fault(remaining=None) if self._ended else fault

    def _take(self) -> Fault | None:
        fault = self._faults[0] if self._faults else None
        if fault and fault.remaining is not None:
            fault.remaining -= 1
            if fault.remaining <= 0:
                self._faults.popleft()
        return fault

    def _wait(self, timeout_s: float | None) -> None:
        generation = self._generation
        self._changed.wait_for(lambda: self._generation != generation, timeout_s)
