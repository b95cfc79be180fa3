"""A store that outlives its process and is shared with others: what an emitter makes of what happens there by itself.

The store here keeps its events in memory and does to its listener what one on disk or in Redis does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from processes import wait_until
from servers import OK, WAIT_S, HeldTransport, ScriptedTransport, adds_up

from snowplow_tracker import Emitter, MemoryEventStore
from snowplow_tracker.event_store import Claim, Listener
from snowplow_tracker.transport import Result

OUTAGE = Result(503)


class SharedStore(MemoryEventStore):
    """Holds events from before, may get more from others, and may lose some to them."""

    durable = True

    def __init__(self, left_behind: Sequence[bytes] = (), **options: Any) -> None:
        super().__init__(**options)
        self.left_behind = list(left_behind)
        self.taken: set[bytes] = set()
        self.resting = threading.Event()

    def attach(self, listener: Listener) -> None:
        self.listener = listener
        self.bring(self.left_behind)

    def bring(self, events: Sequence[bytes]) -> None:
        if events:
            self.listener.arrived(len(events))
            for event in events:
                self.put(event)

    def rest(self, claim: Claim) -> None:
        self.resting.set()

    def resume(self, claim: Claim) -> Claim:
        kept = [event for event in claim.events if event not in self.taken]
        return Claim(kept)

    def ack(self, claim: Claim) -> None:
        super().ack(claim)
        self.taken.difference_update(claim.events)

    def close(self) -> int:
        """What waits stays for others."""
        return 0


def numbered(*numbers: int) -> list[bytes]:
    return [b'{"n":"%d"' % number for number in numbers]


def numbers(batches: Sequence[Sequence[dict[str, str]]]) -> list[int]:
    return [int(event["n"]) for batch in batches for event in batch]


@pytest.fixture
def transport() -> ScriptedTransport:
    return ScriptedTransport()


@pytest.fixture
def held() -> Iterator[HeldTransport]:
    transport = HeldTransport()
    yield transport
    transport.answer_all()


def test_events_from_before_are_sent_without_a_call(transport: ScriptedTransport) -> None:
    emitter = Emitter(transport=transport, event_store=SharedStore(numbered(1, 2)), flush_interval=3600)
    wait_until(lambda: emitter.stats().delivered == 2, WAIT_S)
    stats = emitter.stats()
    assert (stats.tracked, stats.recovered, stats.queued) == (0, 2, 0)
    assert adds_up(stats)
    emitter.close()


def test_a_flush_waits_for_events_from_before(held: HeldTransport) -> None:
    emitter = Emitter(transport=held, event_store=SharedStore(numbered(1, 2, 3)), batch_size=1)
    assert emitter.flush(0.05).remaining == 3
    held.answer_all()
    assert emitter.flush(WAIT_S)
    assert numbers(held.offered) == [1, 2, 3]
    emitter.close()


def test_events_that_others_bring_later_wake_the_emitter(transport: ScriptedTransport) -> None:
    store = SharedStore()
    emitter = Emitter(transport=transport, event_store=store, flush_interval=0.01)
    store.bring(numbered(7))
    wait_until(lambda: emitter.stats().delivered == 1, WAIT_S)
    assert adds_up(emitter.stats())
    emitter.close()


def test_a_flush_is_not_cut_short_by_events_that_arrive_meanwhile(held: HeldTransport) -> None:
    """What arrives is older and is sent first; the flush still waits for what it was called for."""
    store = SharedStore()
    emitter = Emitter(transport=held, event_store=store, batch_size=1, flush_interval=3600)
    for event in numbered(1, 2):
        emitter.emit(event)
    held.wait_for_request(1)
    flushed: list[Any] = []
    thread = threading.Thread(target=lambda: flushed.append(emitter.flush(WAIT_S)))
    thread.start()
    store.bring(numbered(8, 9))
    held.answer_all()
    thread.join(WAIT_S)
    assert [bool(result) for result in flushed] == [True]
    assert 2 in numbers(held.offered)
    assert emitter.flush(WAIT_S)
    stats = emitter.stats()
    assert (stats.tracked, stats.recovered, stats.delivered) == (2, 2, 4)
    emitter.close()


def test_what_others_take_from_the_queue_is_theirs_to_count(transport: ScriptedTransport) -> None:
    store = SharedStore()
    emitter = Emitter(transport=transport, event_store=store, flush_interval=3600)
    for event in numbered(1, 2, 3):
        emitter.emit(event)
    store.clear()
    store.listener.left(3)
    stats = emitter.stats()
    assert (stats.tracked, stats.recovered, stats.queued) == (3, -3, 0)
    assert adds_up(stats)
    assert emitter.flush(WAIT_S)
    emitter.close()


def test_what_others_take_while_a_batch_waits_is_not_sent_again() -> None:
    transport = ScriptedTransport(OUTAGE, OK)
    store = SharedStore()
    emitter = Emitter(transport=transport, event_store=store, max_retry_delay_seconds=3600, flush_interval=3600)
    for event in numbered(1, 2, 3):
        emitter.emit(event)
    emitter.hurry()
    assert store.resting.wait(WAIT_S)
    store.taken.update(numbered(1, 3))
    assert emitter.flush(WAIT_S)
    assert numbers(transport.offered) == [1, 2, 3, 2]
    stats = emitter.stats()
    assert (stats.tracked, stats.recovered, stats.delivered, stats.in_flight) == (3, -2, 1, 0)
    assert adds_up(stats)
    emitter.close()


def test_a_batch_that_others_took_whole_is_nobodys_request() -> None:
    transport = ScriptedTransport(OUTAGE)
    store = SharedStore()
    emitter = Emitter(transport=transport, event_store=store, max_retry_delay_seconds=3600, flush_interval=3600)
    emitter.emit(b'{"n":"1"')
    emitter.hurry()
    assert store.resting.wait(WAIT_S)
    store.taken.update(numbered(1))
    assert emitter.flush(WAIT_S)
    assert len(transport.offered) == emitter.stats().requests == 1
    assert (emitter.stats().recovered, emitter.stats().delivered) == (-1, 0)
    assert adds_up(emitter.stats())
    emitter.close()


def test_what_the_store_gives_up_is_counted_once(transport: ScriptedTransport) -> None:
    store = SharedStore()
    emitter = Emitter(transport=transport, event_store=store, flush_interval=3600)
    for event in numbered(1, 2):
        emitter.emit(event)
    store.clear()
    store.listener.dropped("expired", 2)
    stats = emitter.stats()
    assert (stats.dropped["expired"], stats.queued) == (2, 0)
    assert adds_up(stats)
    emitter.close()


def test_what_a_durable_store_keeps_is_not_counted_as_lost(held: HeldTransport) -> None:
    store = SharedStore()
    emitter = Emitter(transport=held, event_store=store, batch_size=1, flush_interval=0)
    for event in numbered(1, 2):
        emitter.emit(event)
    held.wait_for_request()
    result = emitter.close(0.05)
    assert result.remaining == 2
    assert not result
    stats = emitter.stats()
    assert (stats.queued, stats.in_flight, sum(stats.dropped.values())) == (2, 0, 0)
    assert adds_up(stats)


class TurnsOutNotToLast(SharedStore):
    def secure(self) -> None:
        self.durable = False


def test_what_a_store_cannot_secure_is_counted_as_lost(held: HeldTransport) -> None:
    emitter = Emitter(transport=held, event_store=TurnsOutNotToLast(), batch_size=1, flush_interval=0)
    for event in numbered(1, 2):
        emitter.emit(event)
    held.wait_for_request()
    emitter.close(0.05)
    stats = emitter.stats()
    assert (stats.queued, stats.dropped["shutdown"]) == (0, 2)
    assert adds_up(stats)


class OldestGoFirst(SharedStore):
    oldest_go_first = True


def test_a_store_may_insist_that_the_oldest_go_first(transport: ScriptedTransport) -> None:
    store = OldestGoFirst(capacity=2)
    emitter = Emitter(transport=transport, event_store=store, flush_interval=3600, overflow="drop_newest")
    assert [emitter.emit(event) for event in numbered(1, 2, 3)] == [None] * 3
    assert emitter.stats().dropped["overflow"] == 1
    assert emitter.flush(WAIT_S)
    assert numbers(transport.offered) == [2, 3]
    emitter.close()


class PolledStore(SharedStore):
    """Learns of what others put only by looking, as a stream does."""

    poll_s = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: list[bytes] = []

    def claim(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Claim | None:
        if not self.elsewhere:
            return None
        event = self.elsewhere.pop(0)
        return Claim([event], recovered=1)

    def ack(self, claim: Claim) -> None:
        """Nothing is kept."""


def test_a_store_that_cannot_tell_is_asked_now_and_then(transport: ScriptedTransport) -> None:
    store = PolledStore()
    emitter = Emitter(transport=transport, event_store=store)
    store.elsewhere += numbered(1, 2)
    wait_until(lambda: emitter.stats().delivered == 2, WAIT_S)
    stats = emitter.stats()
    assert (stats.recovered, stats.in_flight) == (2, 0)
    assert adds_up(stats)
    assert emitter.close(WAIT_S)
