"""Draws the plots of a results directory, as SVG: ``.venvs/bench/bin/python benchmarks/plots.py results``.

It is run in the benchmarks' environment, which has matplotlib, and needs nothing else of this repository.
"""

from __future__ import annotations

import json
import sys
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, Final

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "snowplow"  # the same numbers give the same file
from matplotlib import pyplot as plt  # noqa: E402

COLOURS: Final = {
    "ours": "#6638b8",
    "official": "#d1495b",
    "official, tuned": "#edae49",
    "segment": "#4f9d69",
    "posthog": "#30638e",
    "opentelemetry": "#888888",
    "honest floor": "#bbbbbb",
    "honest, no environment floor": "#cccccc",
    "physical floor": "#dddddd",
}
NAMES: Final = {
    "ours": "this tracker",
    "official": "official 1.1.0",
    "official, tuned": "official 1.1.0 at its best",
    "segment": "Segment",
    "posthog": "PostHog",
    "opentelemetry": "OpenTelemetry logs",
    "honest floor": "honest floor",
    "honest, no environment floor": "honest floor, no environment",
    "physical floor": "physical floor",
}
_EDGES_US: Final = [10 ** (step / 20) for step in range(-10, 81)]


def _figure(title: str) -> Any:
    figure, axes = plt.subplots(figsize=(8, 4.2))
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, directory: Path, name: str) -> None:
    figure.tight_layout()
    figure.savefig(directory / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def latency(found: dict[str, Any], directory: Path) -> None:
    """How many of 100 events a frame take longer than so long."""
    figure, axes = _figure("A call, 100 of them in each frame of 16.7 ms: share that takes longer")
    for name, rounds in found["frames"].items():
        counts = [sum(each) for each in zip(*(one["calls_histogram"] for one in rounds), strict=True)]
        whole = sum(counts)
        longer = [1 - below / whole for below in accumulate(counts[:-1])]
        points = [(edge, share) for edge, share in zip(_EDGES_US, longer, strict=True) if share > 0]
        axes.plot(*zip(*points, strict=True), label=NAMES[name], color=COLOURS[name], lw=2 if name == "ours" else 1.3)
    axes.set(xscale="log", yscale="log", xlabel="µs", ylabel="share of calls", ylim=(1e-4, 1.1))
    axes.axhline(0.001, color="#dddddd", lw=0.8, zorder=0)
    axes.text(_EDGES_US[0], 0.0011, "p99.9", fontsize=8, color="#888888")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, directory, "latency")


def _bars(found: dict[str, Any], key: str, title: str, unit: str, directory: Path, file: str, *, log: bool) -> None:
    figure, axes = _figure(title)
    names = list(found)[::-1]
    told = [[one[key] for one in found[name]] for name in names]
    middles = [median(rounds) for rounds in told]
    spread = [
        [middle - min(rounds) for middle, rounds in zip(middles, told, strict=True)],
        [max(rounds) - middle for middle, rounds in zip(middles, told, strict=True)],
    ]
    axes.barh(
        [NAMES[name] for name in names], middles, xerr=spread, color=[COLOURS[n] for n in names], ecolor="#555555"
    )
    for place, middle in enumerate(middles):
        axes.annotate(
            f"{middle:,.0f}" if middle >= 1000 else f"{middle:.1f}",
            (max(told[place]), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    if log:
        axes.set_xscale("log")
    axes.set_xlabel(unit)
    axes.margins(x=0.12)
    _save(figure, directory, file)


def throughput(found: dict[str, Any], directory: Path) -> None:
    """Events a second."""
    title = "Delivered events a second, flat out, 100 a request"
    _bars(found["batch 100"], "per_second", title, "events/s (logarithmic)", directory, "throughput", log=True)


def cpu(found: dict[str, Any], directory: Path) -> None:
    """CPU an event."""
    title = "CPU of a delivered event, all threads, 100 a request"
    _bars(found["batch 100"], "cpu_us", title, "µs", directory, "cpu", log=False)


def memory(found: dict[str, Any], directory: Path) -> None:
    """Memory against the queue's length."""
    figure, axes = _figure("Resident memory of waiting events, while the collector does not answer")
    lengths = found["memory"]["lengths"]
    for name, rounds in found["memory"]["found"].items():
        growth = [median(sizes) / 2**20 for sizes in zip(*(one["growth"] for one in rounds), strict=True)]
        axes.plot(lengths, growth, "o-", label=NAMES[name], color=COLOURS[name], ms=4)
    axes.set(xlabel="events queued", ylabel="MiB", ylim=(0, None), xlim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    _save(figure, directory, "memory")


def queue(found: dict[str, Any], directory: Path) -> None:
    """The cost of a call against the queue's length."""
    figure, axes = _figure("A call (p50) with so many events waiting")
    told = found["queue"]
    middles = [one["median"] for one in told["p50"]]
    spread = [[one["median"] - one["min"] for one in told["p50"]], [one["max"] - one["median"] for one in told["p50"]]]
    axes.errorbar(told["lengths"], middles, yerr=spread, fmt="o-", color=COLOURS["ours"], capsize=3)
    axes.set(xscale="log", xlabel="events queued", ylabel="µs", ylim=(0, max(one["max"] for one in told["p50"]) * 1.2))
    _save(figure, directory, "queue")


def frames(found: dict[str, Any], directory: Path) -> None:
    """What tracking adds to a frame."""
    figure, axes = _figure("Time that 100 calls add to a frame of 16.7 ms: share of frames that pay more")
    for name, rounds in found["frames"].items():
        samples = sorted(sample for one in rounds for sample in one["added_ms"])
        longer = [1 - place / len(samples) for place in range(len(samples))]
        axes.step(
            samples, longer, where="post", label=NAMES[name], color=COLOURS[name], lw=2 if name == "ours" else 1.3
        )
    axes.axvline(16.7, color="#dddddd", lw=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="ms", ylabel="share of frames")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, directory, "frames")


def main() -> None:
    directory = Path(sys.argv[1])
    found = json.loads((directory / "results.json").read_text())["found"]
    for draw in (latency, throughput, cpu, memory, queue, frames):
        draw(found, directory)


if __name__ == "__main__":
    main()
