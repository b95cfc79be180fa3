"""Memory is bounded, whatever happens outside, and what has no room is counted exactly."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from faults import refused_port
from processes import run, wait_until
from servers import WAIT_S, HeldTransport, ScriptedTransport, adds_up, event_ids, has_happened, track

from snowplow_tracker import Emitter, SelfDescribingJson, Tracker, ValidationError
from snowplow_tracker.transport import Result

URI = "iglu:com.acme/save_game/jsonschema/1-0-0"


def large_event(size: int) -> SelfDescribingJson:
    return SelfDescribingJson(URI, {"text": "x" * size})


def test_a_million_events_against_a_dead_collector_take_the_memory_of_the_buffer() -> None:
    with refused_port() as url:
        finished = run(
            """
            import resource
            from snowplow_tracker import Tracker

            def rss_kb():
                pages = int(open("/proc/self/statm").read().split()[1])
                return pages * resource.getpagesize() // 1024

            t = Tracker.hostname(URL, overflow="drop_oldest", shutdown_timeout=0.1)
            call = t.track_struct_event
            sizes = []
            for _ in range(10):
                for number in range(100_000):
                    call("memory", "track", "a label", "a property", number)
                sizes.append(rss_kb())
            stats = t.stats()
            t.close()
            say_stats(t, sizes=sizes, held=stats.queued + stats.in_flight)
            """,
            url,
            timeout=120,
        )
    sizes = finished.fact("sizes")
    assert max(sizes) - sizes[0] < 3_000, f"RSS in kB after each 100,000 events: {sizes}"
    assert finished.fact("held") == 10_000
    assert finished.fact("tracked") == 1_000_000
    dropped = finished.fact("dropped")
    assert (dropped["overflow"], dropped["shutdown"]) == (990_000, 10_000)


def test_a_buffer_of_large_events_holds_its_bytes_and_no_more() -> None:
    with refused_port() as url:
        finished = run(
            """
            import resource
            from snowplow_tracker import SelfDescribingJson, Tracker
            uri = "iglu:com.acme/save_game/jsonschema/1-0-0"
            t = Tracker.hostname(URL, buffer_bytes=8 * 2**20, encode_base64=False, shutdown_timeout=0.1)
            t.track_self_describing_event(SelfDescribingJson(uri, {"text": "x" * 100_000}))
            before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for number in range(1000):
                t.track_self_describing_event(SelfDescribingJson(uri, {"text": "x" * 100_000}))
            stats = t.stats()
            grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
            say(grown_kb=grown_kb, held=stats.queued + stats.in_flight, overflow=stats.dropped["overflow"])
            """,
            url,
        )
    held = finished.fact("held")
    assert 8 * 2**20 // 101_000 <= held <= 8 * 2**20 // 100_000
    assert finished.fact("overflow") == 1001 - held
    # The buffer, a request's body or two of at most 500 kB, and what an allocator leaves lying about.
    assert finished.fact("grown_kb") < 8 * 1024 + 6_000


# --- bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "block"])
def test_a_huge_event_cannot_pass_the_byte_cap(overflow: Any) -> None:
    transport = ScriptedTransport()
    emitter = Emitter(
        transport=transport, buffer_bytes=10_000, overflow=overflow, block_timeout=0.05, flush_interval=60
    )
    t = Tracker("ns", emitter, encode_base64=False)
    with pytest.raises(ValidationError, match="max_event_bytes"):
        t.track_self_describing_event(large_event(20_000))
    assert t.stats().tracked == 0
    ids = track(t, 3)
    receipt = t.track_self_describing_event(large_event(9_500))
    dropped = t.stats().dropped["overflow"]
    assert emitter.flush(WAIT_S)
    sent = [event["eid"] for events in transport.offered for event in events]
    if overflow == "drop_oldest":
        assert receipt
        assert dropped >= 1
        assert sent == [*ids, receipt.event_id][dropped:]
    else:
        assert not receipt
        assert (sent, dropped) == (ids, 1)
    t.close()
    assert adds_up(t.stats())


# --- exact counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "block"])
def test_fifty_of_150_events_have_no_room_in_a_buffer_of_100(overflow: Any) -> None:
    with refused_port() as url:
        options: dict[str, Any] = {"overflow": overflow, "block_timeout": 0.001, "shutdown_timeout": 0.1}
        t = Tracker.hostname(url, buffer_capacity=100, batch_size=10, **options)
        receipts = [t.track_struct_event("a", "b", None, None, number) for number in range(150)]
        stats = t.stats()
        t.close()
    assert (stats.dropped["overflow"], stats.queued + stats.in_flight, stats.tracked) == (50, 100, 150)
    assert adds_up(stats)
    assert t.stats().dropped["shutdown"] == 100
    if overflow != "drop_oldest":
        assert [bool(receipt) for receipt in receipts] == [True] * 100 + [False] * 50
        assert {receipt.message for receipt in receipts[100:]} == {"the buffer is full"}


def held_tracker(**options: Any) -> tuple[Tracker, HeldTransport]:
    """A tracker whose first ten events are on their way, and stay there."""
    transport = HeldTransport()
    emitter = Emitter(transport=transport, buffer_capacity=100, batch_size=10, flush_interval=60, **options)
    return Tracker("ns", emitter), transport


def track_until_full(t: Tracker, transport: HeldTransport, count: int) -> list[Any]:
    receipts = [t.track_struct_event("a", "b", None, None, number) for number in range(10)]
    transport.wait_for_request()
    return receipts + [t.track_struct_event("a", "b", None, None, number) for number in range(10, count)]


def delivered(t: Tracker, transport: HeldTransport) -> list[str]:
    transport.answer_all()
    assert t.flush(WAIT_S)
    t.close()
    return [event_id for events in transport.offered for event_id in event_ids(events)]


def test_drop_newest_keeps_the_oldest_and_says_so_in_the_receipt() -> None:
    t, transport = held_tracker()
    receipts = track_until_full(t, transport, 150)
    assert [bool(receipt) for receipt in receipts] == [True] * 100 + [False] * 50
    assert delivered(t, transport) == [receipt.event_id for receipt in receipts[:100]]
    assert t.stats().dropped["overflow"] == 50


def test_drop_oldest_keeps_the_newest_and_what_is_on_its_way() -> None:
    t, transport = held_tracker(overflow="drop_oldest")
    receipts = track_until_full(t, transport, 150)
    assert all(receipts)
    ids = [receipt.event_id for receipt in receipts]
    assert delivered(t, transport) == ids[:10] + ids[60:]
    assert t.stats().dropped["overflow"] == 50


def test_drop_oldest_can_drop_only_the_newest_while_everything_is_on_its_way() -> None:
    transport = HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, buffer_capacity=10, flush_interval=60, overflow="drop_oldest"))
    ids = track(t, 10)
    transport.wait_for_request()
    assert not t.track_struct_event("a", "b")
    assert delivered(t, transport) == ids


# --- block -----------------------------------------------------------------------------------------------------


def test_block_waits_no_longer_than_its_bound() -> None:
    t, transport = held_tracker(overflow="block", block_timeout=0.3)
    assert all(track_until_full(t, transport, 100))
    start = time.monotonic()
    assert not t.track_struct_event("a", "b")
    assert 0.28 <= time.monotonic() - start < 3
    delivered(t, transport)
    assert adds_up(t.stats())


def test_block_goes_on_as_soon_as_there_is_room() -> None:
    t, transport = held_tracker(overflow="block", block_timeout=WAIT_S)
    track_until_full(t, transport, 100)
    receipts: list[Any] = []
    begun, done = threading.Event(), threading.Event()

    def wait_for_room() -> None:
        begun.set()
        receipts.append(t.track_struct_event("late", "event"))
        done.set()

    thread = threading.Thread(target=wait_for_room)
    thread.start()
    has_happened(begun, "the thread to begin")
    assert not done.wait(0.2), "it waits while there is no room"
    transport.answer()
    has_happened(done, "the event to be taken")
    thread.join()
    assert receipts[0]
    assert receipts[0].event_id in delivered(t, transport)
    assert t.stats().dropped["overflow"] == 0


def test_close_ends_the_waiting_of_a_blocked_call() -> None:
    t, transport = held_tracker(overflow="block", block_timeout=60)
    track_until_full(t, transport, 100)
    messages: list[str | None] = []
    thread = threading.Thread(target=lambda: messages.append(t.track_struct_event("late", "event").message))
    thread.start()
    while t.stats().tracked < 101:
        thread.join(0.01)
    t.close(0.1)
    thread.join(WAIT_S)
    transport.answer_all()
    assert messages == ["the tracker is closed"]
    assert adds_up(t.stats())


@pytest.mark.parametrize("callback", ["on_success", "on_failure"])
def test_block_does_not_block_a_callback(callback: str) -> None:
    """The callback runs in the thread that makes the room: waiting there would be for nothing."""
    receipts: list[Any] = []

    def track_more(*_: Any) -> None:
        if not receipts:
            receipts.extend(t.track_struct_event("from", "callback") for _ in range(15))

    transport = HeldTransport()
    options: dict[str, Any] = {callback: track_more}
    t = Tracker(
        "ns",
        Emitter(transport=transport, buffer_capacity=10, batch_size=5, overflow="block", block_timeout=60, **options),
    )
    track(t, 10)
    transport.wait_for_request()
    transport.answer(Result(200 if callback == "on_success" else 400))
    transport.answer_all()
    assert t.flush(WAIT_S)
    # The batch that was settled made room for five.
    assert [bool(receipt) for receipt in receipts] == [True] * 5 + [False] * 10
    t.close()
    assert adds_up(t.stats())


def test_large_events_do_not_wait_for_company_until_the_buffer_is_full() -> None:
    transport = ScriptedTransport()
    t = Tracker(
        "ns", Emitter(transport=transport, flush_interval=3600, byte_limit=50_000, buffer_bytes=200_000),
        encode_base64=False,
    )  # fmt: skip
    for _ in range(4):
        track(t, 15, "x" * 4_000)
        wait_until(lambda: t.stats().queued < 15, WAIT_S, "what fills a request to be sent")
    assert t.stats().dropped["overflow"] == 0
    t.close()
