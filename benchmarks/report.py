"""From what was measured to the table of targets, and to the files in ``results/``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import bench_redis
from benchmarks.libraries import TITLES
from benchmarks.samples import shown, summary

_MISSING: Final = "not measured"
_NO_TARGET: Final = "no target"


@dataclass(frozen=True)
class Row:
    """One line of the table of targets.

    Attributes:
        what: What is measured.
        target: In words.
        ours, other: The numbers, median and spread; *other* is what it is compared with.
        value: What the target is about, as shown: a ratio or a number.
        verdict: ``met``, ``missed``, ``not measured``, or nothing where there is no target.
    """

    what: str
    target: str
    ours: str
    other: str
    value: str
    verdict: str


class Table:
    """The rows, from what a `Suite` found. Ratios are taken round by round, of what ran next to each other."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found
        self.rows: list[Row] = []
        self._call()
        self._frames()
        self._delivery()
        self._queue()
        self._rest()
        self._threads()
        self._outbox()

    # --- making rows ---------------------------------------------------------------------------------------------

    def _add(self, what: str, target: str, ours: str, other: str, value: str, good: bool) -> None:
        verdict = "" if target == _NO_TARGET else "met" if good else "missed"
        self.rows.append(Row(what, target, ours, other, value, verdict))

    def _limit(self, what: str, rounds: Sequence[float], limit: float, unit: str, digits: int = 2) -> None:
        told = summary(rounds)
        text = shown(told, unit, digits)
        self._add(what, f"≤ {limit:g} {unit}", text, "", f"{told['median']:.{digits}f} {unit}", told["median"] <= limit)

    def _ratio(
        self,
        what: str,
        target: str,
        ours: Sequence[float],
        other: Sequence[float] | None,
        good: Callable[[float], bool],
        unit: str,
        digits: int = 2,
        inverse: bool = False,
    ) -> None:
        """A row about ours over the other's; *inverse*: the ratio is told as one over it."""
        if not other:
            self.rows.append(Row(what, target, shown(summary(ours), unit, digits), "", "", _MISSING))
            return
        told = summary([mine / theirs for mine, theirs in zip(ours, other, strict=True)])
        ratio = told["median"]
        text = f"1/{1 / ratio:.2f}" if inverse else f"{ratio:.2f} ×"
        self._add(
            what,
            target,
            shown(summary(ours), unit, digits),
            shown(summary(other), unit, digits),
            text,
            good(ratio),
        )

    def _rounds(self, step: str, contestant: str, *keys: str) -> list[float] | None:
        rounds = self._found[step].get(contestant)
        return None if rounds is None else [_inside(one, keys) for one in rounds]

    # --- the rows ------------------------------------------------------------------------------------------------

    def _call(self) -> None:
        ours = self._rounds("call", "ours", "p50") or []
        for name, target in (("official", 1 / 3), ("official, tuned", 1 / 3)):
            other = self._rounds("call", name, "p50")
            self._ratio(
                f"`track_struct_event`, p50, against {TITLES[name]}", "≤ 1/3, aim 1/4", ours, other,
                lambda ratio, target=target: ratio <= target, "µs", inverse=True,  # type: ignore[misc]
            )  # fmt: skip
        floor = self._found["floor"]
        self._ratio(
            "the same, undisturbed, against the physical floor", "aim: ≤ 6 ×",
            floor["call"]["p50"]["rounds"], floor["floor"]["p50"]["rounds"], lambda ratio: ratio <= 6, "µs",
        )  # fmt: skip
        self._ratio(
            "the same with the event's own time (`tstamp`)", "aim: ≤ 6 ×",
            floor["long call"]["p50"]["rounds"], floor["floor"]["p50"]["rounds"], lambda ratio: ratio <= 6, "µs",
        )  # fmt: skip

    def _frames(self) -> None:
        self._ratio(
            "p99.9 of a call, 100 events a frame", "≤ the official one's",
            self._rounds("frames", "ours", "calls", "p99.9") or [],
            self._rounds("frames", "official", "calls", "p99.9"),
            lambda ratio: ratio <= 1, "µs", 1, inverse=True,
        )  # fmt: skip
        for key, limit in (("p50", 0.7), ("p99.9", 1.5)):
            rounds = self._rounds("frames", "ours", "added", key) or []
            self._limit(f"added frame time, {key}", rounds, limit, "ms")

    def _delivery(self) -> None:
        ours = self._rounds("batch 100", "ours", "cpu_us") or []
        for name, target, limit in (
            ("official", "≤ 1/4, aim 1/6", 1 / 4),
            ("official, tuned", "≤ 1/4, aim 1/6", 1 / 4),
        ):
            self._ratio(
                f"CPU an event, batch 100, against {TITLES[name]}", target, ours,
                self._rounds("batch 100", name, "cpu_us"), lambda ratio, limit=limit: ratio <= limit, "µs",  # type: ignore[misc]
                inverse=True,
            )  # fmt: skip
        for floor in ("honest floor", "honest, no environment floor"):
            self._ratio(
                f"the same, against the {TITLES[floor]}", "≤ 1.3 ×", ours, self._rounds("batch 100", floor, "cpu_us"),
                lambda ratio: ratio <= 1.3, "µs",
            )  # fmt: skip
        default = self._rounds("default batch", "ours", "cpu_us") or []
        self._ratio(
            "CPU an event, each at its default batch", "≤ 1/6", default,
            self._rounds("default batch", "official", "cpu_us"), lambda ratio: ratio <= 1 / 6, "µs", inverse=True,
        )  # fmt: skip
        self._ratio(
            "the same, the official one at 100", "≤ 1/6, read strictly", default,
            self._rounds("batch 100", "official", "cpu_us"), lambda ratio: ratio <= 1 / 6, "µs", inverse=True,
        )  # fmt: skip
        for step, title in (("batch 100", "batch 100"), ("default batch", "each at its default batch")):
            self._ratio(
                f"delivered events/s, flat out, {title}", "≥ 4 ×, aim 5 ×",
                self._rounds(step, "ours", "per_second") or [], self._rounds(step, "official", "per_second"),
                lambda ratio: ratio >= 4, "/s", 0,
            )  # fmt: skip

    def _queue(self) -> None:
        memory = self._found["memory"]
        ours = [one["per_event"] for one in memory["found"]["ours"]]
        official = [one["per_event"] for one in memory["found"].get("official", [])]
        self._ratio("memory a queued event", "≤ 1/2", ours, official, lambda ratio: ratio <= 0.5, "B", 0, inverse=True)
        over = memory["overhead"]["bytes"]
        mean, shortest = sum(over) / len(over), memory["overhead"]["length"]
        self._add(
            "the same, over the fragment's length", "≤ 60 B",
            f"{mean:.0f} B [{min(over):.0f} to {max(over):.0f}] over 16 lengths", f"{shortest} to {shortest + 15} B",
            f"{mean:.0f} B", mean <= 60,
        )  # fmt: skip
        queue = self._found["queue"]
        first, last = queue["lengths"][0], queue["lengths"][-1]
        self._ratio(
            f"call with {last:,} queued against {first:,}", "≤ 1.25 ×", queue["p50"][-1]["rounds"],
            queue["p50"][0]["rounds"], lambda ratio: ratio <= 1.25, "µs",
        )  # fmt: skip

    def _rest(self) -> None:
        stretches = self._rounds("gil", "ours", "stretch", "max") or []
        self._limit("longest stretch the emitter thread holds the GIL", stretches, 0.5, "ms")
        exits = self._found["exit"]["ours"]
        seconds = summary([one["seconds"] for one in exits])
        least = min(one["delivered"] for one in exits)
        self._add(
            "exit with 10,000 queued", "all delivered, < 0.3 s", shown(seconds, "s", 3), "",
            f"{least:,} in {seconds['median']:.3f} s", least == 10_000 and seconds["median"] < 0.3,
        )  # fmt: skip
        self._ratio(
            "`import snowplow_tracker`", "≤ 1.1 ×", self._rounds("import", "ours", "wall_ms") or [],
            self._rounds("import", "official", "wall_ms"), lambda ratio: ratio <= 1.1, "ms", 1,
        )  # fmt: skip
        # No target, but a sceptic's question: ours imports requests when an emitter is made.
        self._ratio(
            "import, and a tracker made", _NO_TARGET, self._rounds("import", "ours", "ready_ms") or [],
            self._rounds("import", "official", "ready_ms"), lambda ratio: True, "ms", 1,
        )  # fmt: skip
        self._ratio(
            "GET, threads=4, events/s", "≥ 4 ×", self._rounds("get", "ours", "per_second") or [],
            self._rounds("get", "official", "per_second"), lambda ratio: ratio >= 4, "/s", 0,
        )  # fmt: skip

    def _threads(self) -> None:
        flat, paced = self._found["threads"]["flat out"], self._found["threads"]["paced"]
        for key, title in (("calls_per_second", "calls"), ("per_second", "delivered events")):
            self._ratio(
                f"4 tracking threads against one, {title}/s", "≥ 1 ×", [one[key] for one in flat["ours, 4"]],
                [one[key] for one in flat["ours, 1"]], lambda ratio: ratio >= 1, "/s", 0,
            )  # fmt: skip
        # No target: what the interpreter makes of four threads, whatever they do.
        self._ratio(
            "the same of threads that share nothing, calls/s", _NO_TARGET,
            [one["calls_per_second"] for one in flat["sharing nothing, 4"]],
            [one["calls_per_second"] for one in flat["sharing nothing, 1"]], lambda ratio: True, "/s", 0,
        )  # fmt: skip
        for title, rounds in (("flat out", flat["ours, 4"]), ("100 events a frame", paced["ours"])):
            told = [one["calls"]["p99.9"] / 1000 for one in rounds]
            self._limit(f"4 tracking threads, p99.9 of a call, {title}", told, 1.0, "ms", 3)

    def _outbox(self) -> None:
        calls, rows = self._found["outbox"]["calls"], self._found["outbox"]["rows"]
        through = calls["written through"]
        self._limit("a call written through to the outbox, p50", [through["all"]["p50"]], 25, "µs", 1)
        self._limit("the same, p99.9", [through["all"]["p99.9"] / 1000], 2, "ms", 3)
        self._ratio(
            "a call whose outbox spills, p50, against the store in memory", "≤ 1.2 ×",
            calls["spilling"]["p50"]["rounds"], calls["memory"]["p50"]["rounds"], lambda ratio: ratio <= 1.2, "µs",
        )  # fmt: skip
        self._limit("the outbox's log, flat out", [calls["log_bytes"] / 1e6], 32, "MB", 1)
        self._limit("opening an outbox that holds many events", [rows["open_ms"]], 100, "ms", 1)
        self._ratio(
            "a claim at its end against one at its beginning", "≤ 1.25 ×", rows["last_ms"]["rounds"],
            rows["first_ms"]["rounds"], lambda ratio: ratio <= 1.25, "ms",
        )  # fmt: skip


def _inside(one: Any, keys: Sequence[str]) -> float:
    for key in keys:
        one = one[key]
    return float(one)


# --- the files -------------------------------------------------------------------------------------------------

_PEERS: Final[tuple[tuple[str, str, tuple[str, ...], int], ...]] = (
    ("call p50, µs", "call", ("p50",), 1),
    ("p99.9 paced, µs", "frames", ("calls", "p99.9"), 0),
    ("added frame time p50, ms", "frames", ("added", "p50"), 2),
    ("CPU an event at 100, µs", "batch 100", ("cpu_us",), 1),
    ("of that: other threads", "batch 100", ("rest_cpu_us",), 1),
    ("CPU at its default batch", "default batch", ("cpu_us",), 1),
    ("CPU at 6,000 events/s", "frames", ("cpu_us",), 1),
    ("events/s at 100", "batch 100", ("per_second",), 0),
    ("longest GIL stretch, ms", "gil", ("stretch", "max"), 2),
    ("a thread waits, p99, ms", "gil", ("waits", "p99"), 2),
)


def peers_table(found: dict[str, Any]) -> str:
    """One line a library and floor: the medians."""
    names = [name for name in TITLES if name in found["batch 100"]]
    lines = ["| | " + " | ".join(title for title, *_ in _PEERS) + " |", "|---|" + "---:|" * len(_PEERS)]
    for name in names:
        cells = []
        for _, step, keys, digits in _PEERS:
            rounds = found[step].get(name)
            keyed = rounds and all(keys[0] in one for one in rounds)
            cells.append(f"{summary([_inside(one, keys) for one in rounds])['median']:,.{digits}f}" if keyed else "")
        lines.append(f"| {TITLES[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown(result: dict[str, Any]) -> str:
    """The whole report."""
    rows = [Row(**row) for row in result["rows"]]
    facts = "\n".join(f"- {name}: {value}" for name, value in {**result["machine"], **result["versions"]}.items())
    table = "\n".join(
        f"| {row.what} | {row.target} | {row.ours} | {row.other} | {row.value} | {row.verdict} |" for row in rows
    )
    plots = "\n".join(f"![{name}]({name}.svg)\n" for name in result.get("plots", []))
    return f"""# Results ({result["mode"]})

Median over the rounds, and in brackets the least and the greatest. How it is measured, and what it is not:
[the method](../benchmarks/README.md).

| what | target | ours | the other | value | verdict |
|---|---|---|---|---|---|
{table}

## Beside the peers (medians)

{peers_table(result["found"])}

## By way of Redis

{bench_redis.markdown(result["found"]["redis"])}

## Where and with what

{facts}

{plots}"""


def make(mode: str, machine: dict[str, Any], versions: dict[str, str], found: dict[str, Any]) -> dict[str, Any]:
    """Everything about one run, as it goes into the JSON file."""
    rows = [asdict(row) for row in Table(found).rows]
    return {"mode": mode, "machine": machine, "versions": versions, "rows": rows, "found": found}


def write(result: dict[str, Any], directory: Path) -> None:
    """Write ``results.json`` and ``results.md``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    (directory / "results.md").write_text(markdown(result))


def terminal(result: dict[str, Any]) -> str:
    """The table of targets for 100 columns."""
    lines = [f"{'what':62}{'target':16}{'value':18}verdict"]
    for row in result["rows"]:
        lines.append(
            f"{row['what'][:61]:62}{row['target'][:15]:16}{(row['value'] or row['ours'])[:17]:18}{row['verdict']}"
        )
    return "\n".join(lines)
