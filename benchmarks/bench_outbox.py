"""What the outbox costs: ``python -m benchmarks.bench_outbox``.

The call, beside the same one with the store in memory and interleaved with it; then a file of a million rows: opening
it, and claiming from it at its beginning and near its end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from benchmarks.bench_call import US, QuietTracker, time_calls
from benchmarks.samples import percentiles, summary

MANY: Final = 10_000_000
_BATCH: Final = 250
_BODY_BYTES: Final = 500_000


def calls(rounds: int, calls: int) -> dict[str, Any]:
    """The call with each store, its emitter thread stuck in a request that nobody answers.

    Returns:
        ``memory``, ``spilling``, ``written through``: a summary of each percentile over the rounds, in µs, and ``all``,
        the percentiles over all calls; ``ratio``: spilling to memory at p50, round by round; ``log_bytes``: how large
        the log became.
    """
    from snowplow_tracker import SQLiteEventStore

    folder = Path(tempfile.mkdtemp(prefix="outbox-bench-"))
    try:
        through = folder / "through.db"
        spilling = SQLiteEventStore(folder / "spilling.db", write_through=False, memory_events=MANY)
        contestants = {
            "memory": QuietTracker(),
            "spilling": QuietTracker(event_store=spilling),
            "written through": QuietTracker(event_store=SQLiteEventStore(through)),
        }
        found, everything, log_bytes = _in_turns(contestants, rounds, calls, Path(f"{through}-wal"))
        summaries: dict[str, Any] = {
            name: {key: summary([one[key] for one in told]) for key in ("p50", "p99", "p99.9")}
            for name, told in found.items()
        }
        for name, samples in everything.items():
            summaries[name]["all"] = percentiles(samples)
        pairs = zip(found["memory"], found["spilling"], strict=True)
        ratio = summary([spilled["p50"] / memory["p50"] for memory, spilled in pairs])
        return {**summaries, "ratio": ratio, "log_bytes": log_bytes}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_turns(contestants: dict[str, QuietTracker], rounds: int, calls: int, log: Path) -> tuple[Any, Any, int]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    everything: dict[str, list[float]] = {name: [] for name in contestants}
    log_bytes = 0
    for quiet in contestants.values():
        time_calls(quiet.call, calls)
    for _ in range(rounds):
        for name, quiet in contestants.items():
            samples = [sample / US for sample in time_calls(quiet.call, calls)]
            found[name].append(percentiles(samples))
            everything[name] += samples
            log_bytes = max(log_bytes, log.stat().st_size)
            if name != "written through":  # a file may grow
                quiet.forget()
    return found, everything, log_bytes


def rows(count: int, claims: int) -> dict[str, Any]:
    """A file with so many events, left by a process that is gone.

    Returns:
        ``open_ms``; ``first_ms`` and ``last_ms``: a summary of *claims* claims of a batch, each with its deletion, at
        the beginning of the file and after most of it is gone; ``megabytes``.
    """
    from snowplow_tracker import SQLiteEventStore

    folder = Path(tempfile.mkdtemp(prefix="outbox-bench-"))
    try:
        path = folder / "rows.db"
        store = SQLiteEventStore(path, write_through=False)
        event = b'{"e":"se","x":"%s"' % (b"x" * 560)
        for _ in range(count):
            store.put(event)
        store.close()
        began = perf_counter()
        store = SQLiteEventStore(path)
        open_ms = (perf_counter() - began) * 1000
        assert len(store) == count
        first = _timed_claims(store, claims)
        while (more := len(store) - claims * _BATCH) > 0:
            _timed_claims(store, 1, batch=min(10_000, more))
        last = _timed_claims(store, claims)
        store.close()
        size = path.stat().st_size
        return {"open_ms": open_ms, "first_ms": summary(first), "last_ms": summary(last), "megabytes": size / 1e6}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _timed_claims(store: Any, claims: int, batch: int = _BATCH) -> list[float]:
    """In milliseconds each; none once the store is empty."""
    told: list[float] = []
    for _ in range(claims):
        began = perf_counter()
        claim = store.claim(batch, _BODY_BYTES * batch // _BATCH, 22)
        if claim is None:
            break
        store.ack(claim)
        told.append((perf_counter() - began) * 1000)
        if len(told) % 50 == 0:
            store.tend()  # what its thread would do, were it attended
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=2000, help="calls a round")
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    found = calls(asked.rounds, asked.calls)
    print(f"track_struct_event, {asked.rounds} rounds of {asked.calls} calls, interleaved; µs, over all calls\n")
    print(f"{'':18}{'p50':>10}{'p99':>10}{'p99.9':>10}")
    for name in ("memory", "spilling", "written through"):
        told = found[name]["all"]
        print(f"{name:18}" + "".join(f"{told[key]:10.1f}" for key in ("p50", "p99", "p99.9")))
    ratio = found["ratio"]
    print(f"\nspilling to memory at p50: {ratio['median']:.2f} [{ratio['min']:.2f} to {ratio['max']:.2f}]; target: 1.2")
    print(f"the log became {found['log_bytes'] / 1e6:.1f} MB; target: 32", flush=True)
    file = rows(asked.rows, 40)
    print(f"\n{asked.rows:,} rows, {file['megabytes']:.0f} MB: opened in {file['open_ms']:.1f} ms; target: 100")
    first, last = file["first_ms"]["median"], file["last_ms"]["median"]
    print(
        f"a claim of {_BATCH} and its deletion: {first:.2f} ms at the beginning, {last:.2f} ms at the end", flush=True
    )
    os._exit(0)  # what cannot be delivered needs no orderly end


if __name__ == "__main__":
    main()
