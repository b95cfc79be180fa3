"""A nightly job: track every line of a CSV file, and tell by the exit status whether all of it arrived.

    python -m examples.batch_script scores.csv --collector https://collector.acme.com

The file has four columns, ``player,level,score,played_at``, the last in seconds since the epoch. A job differs from a
game in three settings: it waits for room in the buffer instead of dropping, it sends large batches, and it takes its
time at the end.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from snowplow_tracker import Subject, Tracker, ValidationError


def make_tracker(collector: str, patience_s: float) -> Tracker:
    """A tracker for jobs: ``overflow="block"`` holds the reading back to the speed of the collector."""
    return Tracker.hostname(
        collector,
        app_id="nightly",
        event_vendor="com.acme",
        batch_size=500,
        overflow="block",
        block_timeout=patience_s,
        shutdown_timeout=patience_s,
    ).set_platform("srv")


def track_rows(tracker: Tracker, rows: Iterable[dict[str, Any]]) -> int:
    """Track one event a row; returns how many rows could not be used."""
    unusable = 0
    for number, row in enumerate(rows, start=2):
        try:
            tracker.track_unstruct_event(
                "level-finished",
                {"level$int": int(row["level"]), "score$int": int(row["score"])},
                float(row["played_at"]),
                event_subject=Subject().set_user_id(row["player"]),
            )
        except (ValidationError, ValueError, KeyError, TypeError) as error:
            unusable += 1
            print(f"line {number} is not usable: {error}", file=sys.stderr)
    return unusable


def run(file: TextIO, collector: str, patience_s: float) -> int:
    """Track the file and report; returns the exit status."""
    with make_tracker(collector, patience_s) as tracker:
        unusable = track_rows(tracker, csv.DictReader(file))
    stats = tracker.stats()
    dropped = sum(stats.dropped.values())
    print(f"tracked {stats.tracked}, delivered {stats.delivered}, dropped {dropped}, lines not usable {unusable}")
    return 1 if dropped or unusable else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.batch_script", description="Track the lines of a CSV.")
    parser.add_argument("file", type=argparse.FileType(encoding="utf-8"), help="the CSV file, or - for stdin")
    parser.add_argument("--collector", default="http://127.0.0.1:9090", help="where events go (%(default)s)")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds to wait for a collector (%(default)s)")
    options = parser.parse_args(arguments)
    with options.file as file:
        return run(file, options.collector, options.patience)


if __name__ == "__main__":
    sys.exit(main())
