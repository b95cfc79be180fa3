"""Medians, percentiles and spread, the same way for every benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import Any


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that is not below *percent* of them (nearest rank): a value that was measured."""
    ordered = sorted(samples)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """The three that a latency is told by, and the largest."""
    ordered = sorted(samples)
    last = len(ordered) - 1
    picked = {name: ordered[min(last, max(0, ceil(len(ordered) * p / 100) - 1))] for name, p in _TOLD}
    return {**picked, "max": ordered[-1]}


_TOLD = (("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9))


def summary(values: Sequence[float]) -> dict[str, Any]:
    """One number a round: their median, the least and the greatest of them, and all of them."""
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": list(values)}


def shown(numbers: dict[str, Any], unit: str = "", digits: int = 2) -> str:
    """A `summary` as a table shows it: the median, and the spread in brackets."""
    middle, low, high = (f"{numbers[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{middle}{unit and ' ' + unit} [{low} to {high}]"


def histogram(samples: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many samples lie below each of *edges* (ascending) and not below the one before; the last is the rest."""
    counts = [0] * (len(edges) + 1)
    ordered = sorted(samples)
    at = 0
    for place, edge in enumerate(edges):
        start = at
        while at < len(ordered) and ordered[at] < edge:
            at += 1
        counts[place] = at - start
    counts[-1] = len(ordered) - at
    return counts
