"""Writers over one outbox file that are killed at random moments: ``python tests/outbox_kills.py --kills 1000``.

Each writer reports the id of every event whose ``track`` returned true over a pipe, before its next call. In the end,
every id that was reported must have arrived, and an id may have arrived twice only if all requests with it but one were
the last of their connections: those that were cut by a kill, between the collector's acceptance and the deletion.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processes import Running

from snowplow_tracker.testing import LocalCollector

SCRIPT: Final = """
    import random
    import select
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(message)s")
    from snowplow_tracker import SQLiteEventStore, Tracker

    path, kills, writers, least_s, most_s, seed = sys.argv[2], *map(float, sys.argv[3:])
    kills, writers = int(kills), int(writers)
    chance = random.Random(seed)
    options = dict(flush_interval=0.005, batch_size=20, max_retry_delay_seconds=0.05)

    def write(report):
        t = Tracker.hostname(URL, event_store=SQLiteEventStore(path), **options)
        while True:
            receipt = t.track_struct_event("kill", "track")
            if receipt:
                os.write(report, receipt.event_id.encode() + b"\\n")
            time.sleep(random.random() * 0.0005)

    def start():
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            try:
                write(writing)
            finally:
                os._exit(70)  # it never ends by itself
        os.close(writing)
        return pid, reading

    alive = {}  # pid to the pipe's end and what was read from it
    def read_what_there_is():
        ready, _, _ = select.select([pipe for pipe, _ in alive.values()], [], [], 0)
        for pipe, text in alive.values():
            if pipe in ready:
                text.append(os.read(pipe, 65536))

    def end(pid):
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), status
        pipe, text = alive.pop(pid)
        while chunk := os.read(pipe, 65536):
            text.append(chunk)
        os.close(pipe)
        say(accepted=b"".join(text).decode().split())

    for _ in range(kills):
        while len(alive) < writers:
            pid, pipe = start()
            alive[pid] = pipe, []
        ends = time.monotonic() + chance.uniform(least_s, most_s)
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, 0.02))
            read_what_there_is()
        end(chance.choice(list(alive)))
    for pid in list(alive):
        end(pid)

    t = Tracker.hostname(URL, event_store=SQLiteEventStore(path), batch_size=500)
    own = t.track_struct_event("kill", "the last one")
    say(accepted=[own.event_id])
    say(flushed=bool(t.flush(120)))
    say_stats(t)
    t.close()
"""


@dataclass(frozen=True)
class Outcome:
    """What became of the events.

    Attributes:
        accepted: How many were reported.
        lost: Those among them that did not arrive.
        again: How many arrived a second time in a way that a kill explains.
        unexplained: Those that did so in any other way.
        unusable: How often a writer could not use the file, which a machine with too much to do may bring about.
    """

    accepted: int
    lost: list[str]
    again: int
    unexplained: list[str]
    unusable: int


def run_kills(path: Path, kills: int, writers: int, lives_s: tuple[float, float], seed: int) -> Outcome:
    """Kill so many writers over the file, *writers* of them alive at a time, and deliver what they left."""
    with LocalCollector(max_events=10**7, max_bytes=10**10) as collector:
        collector.latency(0.003)  # time for a kill between the request and its answer
        arguments = [str(argument) for argument in (path, kills, writers, *lives_s, seed)]
        with Running(SCRIPT, collector.url, *arguments) as running:
            finished = running.wait(60 + kills * 2)
        assert finished.status == 0, finished.stderr
        assert finished.fact("flushed"), finished.said[-2:]
        accepted = [event_id for ids in finished.facts("accepted") for event_id in ids]
        # A kill in the middle of sending leaves a request without a body, which the collector refused.
        requests = [request for request in collector.requests if request.status != 400 or request.body]
        unusable = finished.stderr.count("cannot be used")
        return judge(accepted, {event["eid"] for event in collector.events}, requests, unusable)


def judge(accepted: list[str], arrived: set[str], requests: list[Any], unusable: int) -> Outcome:
    """Read what arrived, request by request."""
    last_of_connection = {request.connection_id: number for number, request in enumerate(requests)}
    arrivals: dict[str, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        for event in json.loads(request.body)["data"]:
            arrivals[event["eid"]].append(number)
    again = 0
    unexplained = []
    for event_id, numbers in arrivals.items():
        # A request that was cut may be read after the one that repeats it: its bytes were on their way.
        whole = [number for number in numbers if last_of_connection[requests[number].connection_id] != number]
        again += len(numbers) - 1
        if len(whole) > 1:
            unexplained.append(event_id)
    return Outcome(len(accepted), sorted(set(accepted) - arrived), again, unexplained, unusable)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--writers", type=int, default=3, help="alive at a time")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_kills(Path(folder) / "outbox.db", asked.kills, asked.writers, (0.02, 0.3), asked.seed)
    print(
        f"{asked.kills} kills, {outcome.accepted} accepted, {len(outcome.lost)} lost; {outcome.unusable} times locked"
    )
    print(f"{outcome.again} arrived again after a cut request, {len(outcome.unexplained)} without")
    raise SystemExit(bool(outcome.lost or outcome.unexplained))


if __name__ == "__main__":
    main()
