"""What ``doctor`` finds out, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["ok", "note", "warn", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What, in a word.
        verdict: ``ok``; ``note`` for what is worth knowing; ``warn`` for what costs something; ``FAIL`` for what keeps
            events from arriving.
        text: What was found.
        advice: What to do about it, if anything.
    """

    topic: str
    verdict: Verdict
    text: str
    advice: str = ""
