"""The benchmarks run, deliver what they track, and write what they say. No number is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import processes
import pytest
from redis_servers import needs_redis

from benchmarks import bench_redis, report
from benchmarks.__main__ import measure_and_write
from benchmarks.bench_call import HISTOGRAM_EDGES_US, pairs_of_the_event
from benchmarks.floors import WIRE_PAIRS, RawSender, body_of, honest_call, physical_call
from benchmarks.run import REPOSITORY, MeasuredProcessFailed, environment, measure
from benchmarks.samples import histogram, percentile, percentiles, summary
from benchmarks.sink import SinkProcess
from benchmarks.suite import TINY, in_turns

# What they measure depends on the Python, whether they run does not.
pytestmark = [pytest.mark.once, pytest.mark.xdist_group("benchmarks")]


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    measure_and_write("quick", sys.executable, TINY, out)
    return out


def test_the_quick_run_writes_every_measurement_with_machine_date_and_versions(quick_run: Path) -> None:
    result = json.loads((quick_run / "results.json").read_text())

    assert {"processor", "cores", "python", "date", "commit"} <= set(result["machine"])
    assert {"requests", "orjson", "attrs", "tenacity"} <= set(result["versions"])
    assert all("ours" in result["found"][step] for step in ("call", "frames", "batch 100", "get", "gil", "exit"))
    assert result["found"]["exit"]["ours"][0]["delivered"] == 10_000
    assert {"physical floor", "honest floor"} <= set(result["found"]["batch 100"])


def test_the_table_has_a_row_for_each_target_and_says_what_was_not_measured(quick_run: Path) -> None:
    result = json.loads((quick_run / "results.json").read_text())

    assert len(result["rows"]) >= 20
    assert {row["verdict"] for row in result["rows"] if "official" in row["what"]} == {"not measured"}
    for row in result["rows"]:
        judged = ("",) if row["target"] == "no target" else ("met", "missed")
        assert row["verdict"] in (*judged, "not measured")
    text = (quick_run / "results.md").read_text()
    assert all(row["what"] in text for row in result["rows"])


def test_the_way_by_redis_is_measured_with_1_2_and_4_forwarders(quick_run: Path) -> None:
    needs_redis()
    found = json.loads((quick_run / "results.json").read_text())["found"]["redis"]

    assert list(found) == ["1", "2", "4"]
    assert all(sum(one["shares"]) == pytest.approx(1) for rounds in found.values() for one in rounds)
    assert "| 4 |" in bench_redis.markdown(found)


def test_without_a_redis_server_the_benchmarks_say_so_and_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")

    found = bench_redis.measure_all(1, 10)
    assert found is None
    assert "redis-server is not installed" in capsys.readouterr().err
    assert bench_redis.markdown(found) == bench_redis.MISSING


def test_the_benchmarked_event_has_14_pairs_and_the_floors_encode_the_same() -> None:
    pairs = pairs_of_the_event()

    assert len(pairs) == 14
    assert set(pairs) == set(WIRE_PAIRS)
    different = {key for key in pairs if pairs[key] != WIRE_PAIRS[key]}
    assert different <= {"eid", "dtm", "tv"}


def test_the_sink_counts_requests_events_and_bytes_and_forgets_them_when_told() -> None:
    call, queue = physical_call()
    with SinkProcess() as sink, closing(RawSender(sink.port)) as send:
        for events in (3, 2):
            for _ in range(events):
                call()
            send(body_of(queue, events))
        counts = sink.await_events(5)
        assert counts is not None
        assert (counts["requests"], counts["events"]) == (2, 5)
        assert counts["bytes"] > 5 * 200
        assert sink("reset")["events"] == 0


def test_a_request_larger_than_the_sinks_buffer_is_counted_whole() -> None:
    call, queue = honest_call()
    for _ in range(5000):
        call()
    with SinkProcess() as sink, closing(RawSender(sink.port)) as send:
        send(body_of(queue, 5000))
        assert sink("counts")["events"] == 5000


def test_a_held_sink_answers_nothing_until_it_is_released() -> None:
    with SinkProcess() as sink:
        sink("hold")
        result = measure("bench_exit", "fill_and_end", library="ours", sink_port=sink.port, events=300)
        assert result > 0
        assert sink("counts")["events"] == 300


def test_awaiting_events_that_do_not_come_ends_by_its_timeout() -> None:
    with SinkProcess() as sink:
        assert sink.await_events(1, timeout_s=0.2) is None


def test_only_processes_that_measure_ours_see_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("https_proxy", "http://proxy")

    assert "PYTHONPATH" not in environment(ours=False)
    assert (Path(environment(ours=True)["PYTHONPATH"]) / "snowplow_tracker").is_dir()
    assert "https_proxy" not in environment(ours=True)


def test_a_measured_process_that_fails_says_why() -> None:
    with pytest.raises(MeasuredProcessFailed, match="no_such_library"):
        measure("bench_delivery", "flat_out", library="no_such_library", sink_port=1, events=1)


def test_contestants_run_in_turns() -> None:
    order: list[str] = []

    def contestant(name: str) -> Any:
        return lambda: order.append(name) or name

    found = in_turns(2, {"a": contestant("a"), "b": contestant("b")})

    assert order == ["a", "b", "a", "b"]
    assert found == {"a": ["a", "a"], "b": ["b", "b"]}


def test_percentiles_are_values_that_were_measured() -> None:
    samples = list(range(1, 1001))

    assert percentile(samples, 50) == 500
    assert percentiles(samples) == {"p50": 500, "p99": 990, "p99.9": 999, "max": 1000}
    assert percentiles([7]) == {"p50": 7, "p99": 7, "p99.9": 7, "max": 7}


def test_a_histogram_loses_no_sample() -> None:
    samples = [0.1, 1, 1, 5, 1e9]

    assert sum(histogram(samples, HISTOGRAM_EDGES_US)) == len(samples)
    assert histogram([1, 2, 3], [2, 3]) == [1, 1, 1]


def test_a_table_shows_the_spread_beside_the_median() -> None:
    told = summary([3.0, 1.0, 2.0])

    assert told == {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": [3.0, 1.0, 2.0]}
    assert report.shown(told, "ms") == "2.00 ms [1.00 to 3.00]"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_short_soak_ends_with_every_id_where_the_statistics_say_it_is() -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--seconds", "2"]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=processes.environment(), capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("\nok ") == 9
