"""What is kept, for how long, and how to wait for it."""

from __future__ import annotations

import threading

import pytest
from sending import BASICS, collected, payload_data, request

from snowplow_tracker.collector.faults import Fault, Script
from snowplow_tracker.collector.http1 import Headers, Response
from snowplow_tracker.collector.journal import Counts, Journal, ReceivedRequest, Ring
from snowplow_tracker.collector.rows import GoodEvent
from snowplow_tracker.collector.service import Service


def rows(count: int) -> list[GoodEvent]:
    payload = collected(request(query="e=pv")).good()[0].payload
    return [GoodEvent({"e": "pv", "aid": str(number)}, str(number), payload) for number in range(count)]


def test_a_ring_keeps_the_newest_by_number() -> None:
    ring: Ring[int] = Ring(max_items=3, max_bytes=1000)
    for number in range(5):
        ring.append(number, 1)
    assert ring.items() == [2, 3, 4]
    assert ring.newest(2) == [3, 4]
    assert ring.newest(9) == [2, 3, 4]


def test_a_ring_keeps_the_newest_by_weight_and_always_one() -> None:
    ring: Ring[str] = Ring(max_items=100, max_bytes=10)
    for name, size in (("a", 4), ("b", 4), ("c", 4)):
        ring.append(name, size)
    assert ring.items() == ["b", "c"]
    ring.append("huge", 1000)
    assert ring.items() == ["huge"]
    ring.append("d", 1)
    assert ring.items() == ["d"]


def test_counts_go_on_where_the_ring_ends() -> None:
    journal = Journal(max_events=10)
    journal.record(rows(25), wire_bytes=100)
    assert journal.counts == Counts(good=25)
    assert [row.event_id for row in journal.good()] == [str(number) for number in range(15, 25)]


def test_memory_is_bounded_by_bytes_as_well() -> None:
    journal = Journal(max_bytes=1_000_000)
    for row in rows(100):
        journal.record([row], wire_bytes=100_000)
    assert len(journal.good()) == 2
    assert journal.counts.good == 100


def test_requests_are_bounded_too() -> None:
    journal = Journal()
    for number in range(70):
        journal.receive(ReceivedRequest("POST", "/", "", Headers([]), b"x" * 1_000_000, 0.0, number))
    assert 60 <= len(journal.requests()) <= 68
    assert journal.requests()[-1].connection_id == 69


def test_a_follower_sees_each_row_once_and_in_order() -> None:
    journal = Journal()
    all_rows = rows(6)
    journal.record(all_rows[:2], 10)
    sequence, seen = journal.rows_after(0, timeout_s=0)
    journal.record(all_rows[2:5], 10)
    journal.record(all_rows[5:], 10)
    sequence, more = journal.rows_after(sequence, timeout_s=0)
    assert [*seen, *more] == all_rows
    assert journal.rows_after(sequence, timeout_s=0) == (sequence, [])


def test_a_follower_goes_on_after_a_reset() -> None:
    journal = Journal()
    journal.record(rows(3), 10)
    sequence, _ = journal.rows_after(0, timeout_s=0)
    journal.reset()
    journal.record(rows(1), 10)
    assert len(journal.rows_after(sequence, timeout_s=0)[1]) == 1


def test_a_follower_is_woken_by_what_comes() -> None:
    journal = Journal()
    found: list[int] = []
    follower = threading.Thread(target=lambda: found.append(len(journal.rows_after(0, timeout_s=30)[1])))
    follower.start()
    journal.record(rows(2), 10)
    follower.join(10)
    assert found == [2]


def test_what_a_reader_changes_does_not_change_the_journal() -> None:
    journal = collected(request(query="e=pv&aid=a"))
    journal.good()[0].event["aid"] = "b"
    assert journal.good()[0].event["aid"] == "a"


@pytest.mark.parametrize("accept", [True, False])
def test_a_service_collects_what_a_fault_accepts(accept: bool) -> None:
    journal, script = Journal(), Script()
    script.add(Fault(remaining=None, response=Response(201), accept=accept))
    answer = Service(journal, script, "127.0.0.1").answer(
        request("POST", "/com.snowplowanalytics.snowplow/tp2", body=payload_data(BASICS))
    )
    assert answer is not None
    assert answer.status == 201
    assert journal.counts.total == accept
