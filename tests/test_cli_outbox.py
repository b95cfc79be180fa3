"""``snowplow-tracker outbox``: looking into a file, exporting and delivering it, in another process than its owner."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import FaultyServer, answering, status
from processes import ROOT, environment, wait_until
from servers import WAIT_S, adds_up, event_ids, track

from snowplow_tracker import SQLiteEventStore, Tracker
from snowplow_tracker.testing import LocalCollector

NOBODY = "http://127.0.0.1:9"
PROGRAM = [sys.executable, "-c", "from snowplow_tracker.cli.outbox import outbox; outbox(prog_name='outbox')"]


def outbox(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=60
    )
    assert finished.returncode == status, finished.stdout + finished.stderr
    return finished


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture
def offline(path: Path) -> Iterator[Tracker]:
    """A program that fails to deliver once and then waits for an hour, so that others may have its events."""
    with FaultyServer(answering(status(503, "Retry-After: 3600"))) as server:
        tracker = Tracker.hostname(server.url, event_store=SQLiteEventStore(path), max_retry_delay_seconds=3600)
        yield tracker
        tracker.close(0)


def test_status_begins_with_a_count(path: Path, offline: Tracker) -> None:
    track(offline, 12)
    lines = outbox("status", path).stdout.splitlines()
    assert lines[0].startswith(f"12 events wait in {path}: ")
    assert "which is running" in lines[1]
    offline.close(0)
    assert "process that is gone" in outbox("status", path).stdout


def test_an_empty_outbox_has_nothing_to_tell(path: Path) -> None:
    SQLiteEventStore(path).close()
    assert outbox("status", path).stdout == f"0 events wait in {path}\n"
    assert outbox("export", path).stdout == ""
    assert outbox("drain", path, "--collector", NOBODY).stdout.startswith("delivered 0 events")


def test_export_prints_each_event_and_leaves_it(path: Path, offline: Tracker) -> None:
    ids = track(offline, 2500)
    for _ in range(2):
        lines = outbox("export", path).stdout.splitlines()
        assert sorted(json.loads(line)["eid"] for line in lines) == sorted(ids)


def test_drain_delivers_what_a_running_process_cannot(path: Path, offline: Tracker, collector: LocalCollector) -> None:
    ids = track(offline, 700)
    wait_until(lambda: offline.stats().requests > 0, WAIT_S)
    finished = outbox("drain", path, "--collector", collector.url)
    assert finished.stdout.startswith(f"delivered 700 events to {collector.url}")
    assert sorted(event_ids(collector.events)) == sorted(ids)
    assert outbox("status", path).stdout.startswith("0 events")
    offline.flush(0.5)
    wait_until(lambda: offline.stats().recovered == -700, WAIT_S)
    assert adds_up(offline.stats())


def test_a_running_process_goes_on_after_another_one_has_closed_the_file(
    path: Path, offline: Tracker, collector: LocalCollector
) -> None:
    """It must not take the log with it, as it would if it could think that it was the last."""
    first = track(offline, 5)
    wait_until(lambda: offline.stats().requests > 0, WAIT_S)
    outbox("drain", path, "--collector", collector.url)
    second = track(offline, 5)
    assert outbox("status", path).stdout.startswith("5 events")
    outbox("drain", path, "--collector", collector.url)
    assert sorted(event_ids(collector.events)) == sorted(first + second)


def test_a_drain_that_gets_nowhere_says_what_is_left(path: Path, offline: Tracker) -> None:
    track(offline, 3)
    offline.close(0)
    finished = outbox("drain", path, "--collector", NOBODY, "--patience", "0.5", status=1)
    assert "3 events are still in the file" in finished.stderr
    assert "Run the same command again" in finished.stderr
    assert outbox("status", path).stdout.startswith("3 events")


def test_a_drain_whose_events_are_refused_says_so(path: Path, offline: Tracker, collector: LocalCollector) -> None:
    track(offline, 3)
    offline.close(0)
    collector.fail(400)
    finished = outbox("drain", path, "--collector", collector.url, status=3)
    assert "refused: 3" in finished.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_an_interrupted_drain_keeps_what_it_did_not_deliver(
    path: Path, offline: Tracker, collector: LocalCollector
) -> None:
    track(offline, 3)
    offline.close(0)
    collector.black_hole()
    process = subprocess.Popen(
        [*PROGRAM, "drain", str(path), "--collector", collector.url],
        stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
    )  # fmt: skip
    wait_until(lambda: collector.requests, WAIT_S)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted: 3 events are still in the file" in errors
    collector.recover()
    outbox("drain", path, "--collector", collector.url)


@pytest.mark.parametrize("command", ["status", "export", "drain"])
def test_a_file_that_is_no_outbox_is_one_sentence_and_a_hint(command: str, tmp_path: Path) -> None:
    diary = tmp_path / "diary.txt"
    diary.write_text("Dear diary")
    finished = outbox(command, diary, status=1)
    assert finished.stderr.splitlines()[0] == f"Error: {diary} can't be read as an outbox: it is not an outbox."
    assert diary.read_text() == "Dear diary"
    assert "no such file" in outbox(command, tmp_path / "none.db", status=1).stderr
    assert not (tmp_path / "none.db").exists()
