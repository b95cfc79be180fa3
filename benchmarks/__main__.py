"""One command for all benchmarks: ``python -m benchmarks`` (a few minutes, with the peers) or ``--quick`` (under a
minute,
ours and the floors). Exits 0 when everything could be measured, whatever the numbers are."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import environment, report
from benchmarks.run import REPOSITORY
from benchmarks.suite import FULL, QUICK, TINY, Sizes, Suite


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ours and the floors, in this environment")
    parser.add_argument("--tiny", action="store_true", help="as --quick, but so little that no number means anything")
    parser.add_argument("--out", type=Path, help="where to write; default results/, or results/quick/")
    asked = parser.parse_args()
    if asked.quick or asked.tiny:
        measure_and_write(
            "quick", sys.executable, TINY if asked.tiny else QUICK, asked.out or REPOSITORY / "results/quick"
        )
        return
    python, out = environment.ready(), asked.out or REPOSITORY / "results"
    measure_and_write("full", python, FULL, out)
    subprocess.run([python, str(Path(__file__).with_name("plots.py")), str(out)], check=True)


def measure_and_write(mode: str, python: str, sizes: Sizes, out: Path) -> None:
    """Run the suite and write the files."""
    machine = environment.machine()  # before: the load average is that of the others
    found = Suite(python, sizes, peers=mode == "full").run()
    result = report.make(mode, machine, environment.versions(python), found)
    if mode == "full":
        result["plots"] = list(PLOTS)
    report.write(result, out)
    print(f"\n{report.terminal(result)}\n\nwritten: {out / 'results.md'}, {out / 'results.json'}")


PLOTS = ("latency", "throughput", "cpu", "memory", "queue", "frames")
"""The files that plots.py draws."""

if __name__ == "__main__":
    main()
