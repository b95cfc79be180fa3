"""What the demo writes to the terminal."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import Final

WIDTH: Final = 78
NAME_WIDTH: Final = 12


class Screen:
    """Writes to the terminal, in colour where there is one that wants it."""

    _COLOURS: Final = {"good": "\x1b[32m", "bad": "\x1b[31m", "": ""}

    def __init__(self) -> None:
        # A terminal that cannot show "µ" shows "?" instead of ending the demo.
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def line(self, text: str, mood: str = "") -> None:
        """One line, in the colour of *mood*: ``good``, ``bad`` or none."""
        colour = self._COLOURS[mood] if self._coloured else ""
        print(f"{colour}{text}\x1b[0m" if colour else text, flush=True)

    def text(self, text: str, mood: str = "", indent: str = "") -> None:
        """Prose, in lines that fit."""
        wrapped = textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        for line in wrapped:
            self.line(line, mood)

    def row(self, name: str, value: str) -> None:
        """A line of a table: a name and what it has."""
        self.line(f"{name:{NAME_WIDTH}}{value}")
