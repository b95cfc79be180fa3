"""A progress bar where there is a terminal, and sentences above it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Bar:
    """Shown while it is entered, and gone afterwards: what came of it all is said in a line of its own.

    Args:
        count: What stands before the bar, with ``{task...}`` in it, as rich takes it.
        total: What *completed* is when all is done, or None if nobody knows.
        completed: Where it begins.
        fields: Further numbers for *count*.
    """

    def __init__(self, count: str, total: float | None, completed: float = 0, **fields: Any) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn(count),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        )
        self._shown: AbstractContextManager[object] = self._bar if sys.stderr.isatty() else nullcontext()
        self._task = self._bar.add_task("", total=total, completed=int(completed), rate=0.0, **fields)
        self._started = monotonic()

    def __enter__(self) -> Bar:
        self._shown.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._shown.__exit__(None, None, None)

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return monotonic() - self._started

    def show(self, delivered: int, **changes: Any) -> None:
        """Move it: *delivered* events make the rate, *changes* are rich's, such as ``completed=``."""
        self._bar.update(self._task, rate=delivered / max(self.seconds, 0.001), **changes)

    def say(self, text: str) -> None:
        """Print a sentence above it."""
        self._console.print(text, markup=False, soft_wrap=True)
