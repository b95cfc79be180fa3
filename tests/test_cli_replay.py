"""``snowplow-tracker replay``: every line of a file arrives, or is told of, through whatever happens."""

from __future__ import annotations

import io
import json
import signal
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from command import Ended, Shell, on_a_terminal, run_program, start_program
from hypothesis import given
from hypothesis import strategies as st
from processes import wait_until

from snowplow_tracker import SelfDescribingJson, Tracker
from snowplow_tracker.cli.json_lines import MAX_LINE_BYTES, BadLine, EventLine, Place, read_lines
from snowplow_tracker.testing import LocalCollector

CUT_REQUEST = 250
"""The most events of a request, and so what an interruption in the middle of one can make come twice."""


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def event(**wire: str) -> dict[str, str]:
    return {"e": "se", "p": "pc", "tv": "py-1.0.0", "se_ca": "a", "se_ac": "b", **wire}


def events(count: int) -> list[dict[str, str]]:
    return [event(eid=str(uuid.UUID(int=number)), se_la=str(number)) for number in range(count)]


def write(file: Path, lines: Iterable[dict[str, Any] | str]) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def arrived(collector: LocalCollector) -> Counter[str]:
    """How often each event came, by its label."""
    return Counter(event["se_la"] for event in collector.events)


def bookmark(file: Path) -> Path:
    return file.with_name("events.jsonl.replay")


# --- what is sent ----------------------------------------------------------------------------------------------


def test_what_a_collector_has_collected_is_the_same_after_a_replay(
    shell: Shell, collector: LocalCollector, file: Path
) -> None:
    user = SelfDescribingJson("iglu:com.acme/user/jsonschema/1-0-0", {"name": "Zoë 🦭\t\"'\\"})
    with Tracker.hostname(collector.url, event_vendor="com.acme") as tracker:
        tracker.track_page_view("https://acme.com/?q=1", "Tab\tand\nnewline", context=[user])
        tracker.track_unstruct_event("save-game", {"level": 23, "hard": True}, context=[user])
        tracker.track_ecommerce_transaction("o1", "shop", 9.98)
    before = collector.wait_for(3)
    write(file, before)
    collector.reset()
    ended = shell("replay", file, "--collector", collector.url)
    assert ended.status == 0, ended.err
    after = collector.wait_for(3)
    assert [{**one, "stm": ""} for one in after] == [{**one, "stm": ""} for one in before]
    assert ended.out.startswith(f"delivered 3 events to {collector.url} in ")
    assert collector.bad == []


def test_a_bad_line_is_told_with_its_number_and_skipped(shell: Shell, collector: LocalCollector, file: Path) -> None:
    good = events(4)
    lines: list[dict[str, str] | str] = [
        good[0], "not JSON", "", good[1], "[]", event(zz="1"), event(se_va="walrus"), good[2],
        json.dumps({**event(), "se_va": 1}), json.dumps({"e": "se"}), event(page="x" * 200_000), good[3],
    ]  # fmt: skip
    ended = shell("replay", write(file, lines), "--collector", collector.url)
    assert ended.status == 3
    assert arrived(collector) == Counter("0123")
    assert collector.bad == []
    told = ended.err.splitlines()
    assert [line.partition(":")[0] for line in told] == [f"line {number}" for number in (2, 5, 6, 7, 9, 10, 11)]
    for line, words in zip(
        told,
        ["not JSON", "not a JSON object", "'zz' is not a key", "se_va must be a decimal number, got 'walrus'",
         "se_va must be a string, got 1", "p is required", "200"],
        strict=True,
    ):  # fmt: skip
        assert words in line
        assert line.endswith("; skipped")
    assert "delivered 4 events" in ended.out
    assert "lines skipped: 7" in ended.out


@pytest.mark.parametrize("levels", [40, 300, 900, 100_000])
def test_a_value_that_is_nested_is_a_bad_line_however_deep(
    shell: Shell, collector: LocalCollector, file: Path, levels: int
) -> None:
    nested = f'{{"e":"se","p":"pc","tv":"x","page":{"[" * levels}{"]" * levels}}}'
    ended = shell("replay", write(file, [nested, event(se_la="0")]), "--collector", collector.url)
    assert ended.status == 3
    assert ended.err.startswith("line 1: ")
    assert len(ended.err.splitlines()) == 1
    assert arrived(collector) == Counter("0")


def test_of_many_bad_lines_only_the_first_are_told(shell: Shell, collector: LocalCollector, file: Path) -> None:
    ended = shell("replay", write(file, ["x"] * 100), "--collector", collector.url)
    assert ended.status == 3
    assert len(ended.err.splitlines()) == 21
    assert ended.err.endswith("and 80 more lines like these\n")


def test_a_line_of_any_length_costs_no_more_than_a_line(shell: Shell, collector: LocalCollector, file: Path) -> None:
    lines: list[dict[str, str] | str] = [event(se_la="0"), "y" * (3 * MAX_LINE_BYTES), event(se_la="1")]
    ended = shell("replay", write(file, lines), "--collector", collector.url)
    assert "line 2: it is longer than" in ended.err
    assert arrived(collector) == Counter("01")


def test_unchecked_sends_what_todays_pipeline_would_refuse(shell: Shell, collector: LocalCollector, file: Path) -> None:
    write(file, [event(se_va="walrus"), {"e": "se", "zz": "1"}])
    ended = shell("replay", file, "--collector", collector.url, "--unchecked")
    assert ended.status == 3, "the second has not even the form of an event"
    assert "lines skipped: 1" in ended.out
    (bad,) = collector.bad
    assert bad.errors == ["se_va must be a decimal number, got 'walrus'"]


def test_an_event_without_an_id_has_the_same_one_in_every_run(
    shell: Shell, collector: LocalCollector, file: Path
) -> None:
    write(file, [event(), event(), event(se_la="x")])
    for _ in range(2):
        assert shell("replay", file, "--collector", collector.url).status == 0
    ids = [found["eid"] for found in collector.wait_for(6)]
    assert ids[:3] == ids[3:]
    assert len(set(ids)) == 3


def test_get_and_stdin_work_as_well(shell: Shell, collector: LocalCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"{json.dumps(one)}\n" for one in events(3)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    ended = shell("replay", "-", "--collector", collector.url, "--method", "get")
    assert ended.status == 0, ended.err
    assert arrived(collector) == Counter("012")
    assert {request.method for request in collector.requests} == {"GET"}


def test_a_rate_is_the_most_that_is_sent(shell: Shell, collector: LocalCollector, file: Path) -> None:
    write(file, events(60))
    began = monotonic()
    assert shell("replay", file, "--collector", collector.url, "--rate", "200").status == 0
    assert monotonic() - began >= 40 / 200, "20 events at once, and 20 more a tenth of a second later, twice"
    assert len(collector.events) == 60


# --- trouble and interruptions ---------------------------------------------------------------------------------


def test_an_outage_is_waited_for(shell: Shell, collector: LocalCollector, file: Path) -> None:
    collector.fail(503, times=3)
    ended = shell("replay", write(file, events(600)), "--collector", collector.url)
    assert ended.status == 0, ended.err
    assert "is lost: it answers 503" in ended.err
    assert arrived(collector) == Counter(str(number) for number in range(600))


def test_a_collector_that_stays_away_stops_the_replay_and_the_next_goes_on(
    shell: Shell, collector: LocalCollector, file: Path
) -> None:
    write(file, events(2_300))
    command = ("replay", file, "--collector", collector.url)
    collector.fail(200, times=5)  # answers well and collects; each request has 250
    collector.fail(503)
    stopped = shell(*command, "--patience", "2")
    assert stopped.status == 1
    assert "delivered 1250 events" in stopped.out
    assert "Error: Stopped before line 1251: the collector has not taken everything within 2 s." in stopped.err
    assert "Run the same command again to go on." in stopped.err
    assert "dropped" not in stopped.err, "nothing is lost: it is still in the file"
    collector.recover()
    ended = shell(*command)
    assert ended.status == 0, ended.err
    assert "1250 lines were replayed before: going on at line 1251" in ended.err
    assert "delivered 1050 events" in ended.out
    assert arrived(collector) == Counter(str(number) for number in range(2_300))
    assert not bookmark(file).exists()


def test_a_collector_that_refuses_everything_stops_the_replay(
    shell: Shell, collector: LocalCollector, file: Path
) -> None:
    write(file, events(1_500))
    collector.fail(403)
    ended = shell("replay", file, "--collector", collector.url)
    assert ended.status == 3
    assert "Error: Stopped before line 1: the collector refuses everything." in ended.err
    assert "250 events in lines 1 to 250: refused by the collector" in ended.err
    collector.recover()
    assert shell("replay", file, "--collector", collector.url).status == 0
    assert arrived(collector) == Counter(str(number) for number in range(1_500))


def test_a_refused_request_is_told_by_its_lines(shell: Shell, collector: LocalCollector, file: Path) -> None:
    write(file, ["bad", *events(600)])
    collector.fail(400, times=1)
    ended = shell("replay", file, "--collector", collector.url)
    assert ended.status == 3
    assert "250 events in lines 2 to 251: refused by the collector" in ended.err
    assert "delivered 350 events" in ended.out
    assert "events refused: 250" in ended.out


def replay_until(collector: LocalCollector, file: Path, count: int, number: int) -> Ended:
    """Start a replay, and send it a signal once so many events have come."""
    with start_program("replay", str(file), "--collector", collector.url, "--rate", "2000") as process:
        wait_until(lambda: len(collector.events) >= count, 20, "events to come")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    return Ended(process.returncode, out, err)


def test_ctrl_c_keeps_the_place(collector: LocalCollector, file: Path) -> None:
    write(file, events(4_000))
    interrupted = replay_until(collector, file, 500, signal.SIGINT)
    assert interrupted.status == 130
    assert "Error: Interrupted before line " in interrupted.err
    assert "Traceback" not in interrupted.err
    assert len(collector.events) < 4_000
    ended = run_program("replay", str(file), "--collector", collector.url)
    assert ended.status == 0, ended.err
    came = arrived(collector)
    assert set(came) == {str(number) for number in range(4_000)}
    assert came.total() - len(came) <= CUT_REQUEST


def test_a_killed_replay_goes_on_where_it_was(collector: LocalCollector, file: Path) -> None:
    write(file, events(4_000))
    killed = replay_until(collector, file, 1_000, signal.SIGKILL)
    assert killed.status == -signal.SIGKILL
    assert bookmark(file).exists()
    ended = run_program("replay", str(file), "--collector", collector.url)
    assert ended.status == 0, ended.err
    came = arrived(collector)
    assert set(came) == {str(number) for number in range(4_000)}
    assert came.total() - len(came) <= 1_000, "at most what lies between two bookmarks"


def stop_in_the_middle(shell: Shell, collector: LocalCollector, file: Path) -> None:
    """Leave a bookmark behind the first 250 of 500 events."""
    write(file, events(500))
    collector.fail(200, times=1)
    collector.fail(503)
    assert shell("replay", file, "--collector", collector.url, "--patience", "1").status == 1
    collector.recover()
    assert bookmark(file).exists()


def test_restart_begins_anew(shell: Shell, collector: LocalCollector, file: Path) -> None:
    stop_in_the_middle(shell, collector, file)
    ended = shell("replay", file, "--collector", collector.url, "--restart")
    assert "delivered 500 events" in ended.out


def test_another_collector_gets_the_whole_file(shell: Shell, collector: LocalCollector, file: Path) -> None:
    stop_in_the_middle(shell, collector, file)
    with LocalCollector() as other:
        assert "delivered 500 events" in shell("replay", file, "--collector", other.url).out


def test_another_file_of_the_same_name_is_sent_whole(shell: Shell, collector: LocalCollector, file: Path) -> None:
    stop_in_the_middle(shell, collector, file)
    write(file, [event(se_la=f"other {number}") for number in range(500)])
    ended = shell("replay", file, "--collector", collector.url)
    assert "delivered 500 events" in ended.out


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"line": "x"}', '{"line": 1, "offset": 10}'])
def test_a_damaged_bookmark_is_no_bookmark(shell: Shell, collector: LocalCollector, file: Path, damage: str) -> None:
    write(file, events(10))
    bookmark(file).write_text(damage)
    ended = shell("replay", file, "--collector", collector.url)
    assert ended.status == 0, ended.err
    assert len(collector.events) == 10


def test_where_no_place_can_be_kept_it_says_so_once_and_goes_on(
    shell: Shell, collector: LocalCollector, file: Path
) -> None:
    write(file, events(2_500))
    bookmark(file).mkdir()
    ended = shell("replay", file, "--collector", collector.url)
    assert ended.status == 0
    assert ended.err.count("can't be written") == 1
    assert len(collector.events) == 2_500


# --- what it looks like ----------------------------------------------------------------------------------------


def test_a_terminal_shows_how_far_it_is_and_a_pipe_does_not(collector: LocalCollector, file: Path) -> None:
    write(file, events(300))
    shown = on_a_terminal("replay", str(file), "--collector", collector.url)
    assert "300 events" in shown
    assert "100%" in shown
    piped = run_program("replay", str(file), "--collector", collector.url)
    assert piped.err == ""
    assert len(piped.out.splitlines()) == 1


# --- the format ------------------------------------------------------------------------------------------------

LINES = st.one_of(
    st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")),
    st.sampled_from([event(), event(se_va="walrus"), {"e": "se"}, event(se_la="ü🦭")]).map(
        lambda pairs: json.dumps(pairs, ensure_ascii=False).encode()
    ),
)


@given(lines=st.lists(LINES, max_size=12), ended=st.booleans(), data=st.data())
def test_whatever_is_in_a_file_each_line_with_something_in_it_is_an_event_or_a_bad_one(
    lines: list[bytes], ended: bool, data: st.DataObject
) -> None:
    text = b"\n".join(lines) + (b"\n" if ended else b"")
    found = list(read_lines(io.BytesIO(text), Place()))
    filled = [number for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    assert [line.end.line for line in found] == filled
    assert all(isinstance(line, (EventLine, BadLine)) for line in found)
    # Reading that begins at the end of any of them finds the same rest.
    if found:
        position = data.draw(st.integers(0, len(found) - 1))
        stream = io.BytesIO(text)
        stream.seek(found[position].end.offset)
        assert list(read_lines(stream, found[position].end)) == found[position + 1 :]
