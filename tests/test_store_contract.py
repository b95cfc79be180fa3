"""What every event store promises, whatever it is made of: one suite, one factory a store."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import pytest
from processes import wait_until
from servers import WAIT_S, ScriptedTransport

from snowplow_tracker import Emitter, MemoryEventStore
from snowplow_tracker.event_store import EventStore
from snowplow_tracker.outbox import SQLiteEventStore

CAPACITY: Final = 10
MAX_BYTES: Final = 1000

# A factory takes `capacity` and `max_bytes` and makes an empty store; a fixture below closes it.
StoreFactory = Callable[..., EventStore]


def outbox(capacity: int, max_bytes: int, **options: Any) -> EventStore:
    """In a folder that goes with the store, and on a file system in memory if there is one: it is made very often."""
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.TemporaryDirectory(prefix="outbox-test-", dir=shm, ignore_cleanup_errors=True)
    store = SQLiteEventStore(
        os.path.join(folder.name, "events.db"), max_events=capacity, max_bytes=max_bytes, **options
    )
    weakref.finalize(store, folder.cleanup)
    return store


FACTORIES: dict[str, StoreFactory] = {
    "memory": MemoryEventStore,
    "written through": outbox,
    "spilling": partial(outbox, write_through=False),
    "spilling at once": partial(outbox, write_through=False, memory_events=2),
}


@pytest.fixture(params=FACTORIES)
def make(request: pytest.FixtureRequest) -> Iterator[StoreFactory]:
    made: list[EventStore] = []

    def factory(capacity: int = CAPACITY, max_bytes: int = MAX_BYTES) -> EventStore:
        made.append(FACTORIES[request.param](capacity, max_bytes))
        return made[-1]

    yield factory
    for store in made:
        store.close()


@pytest.fixture
def store(make: StoreFactory) -> EventStore:
    return make()


def fragments(count: int, size: int = 10) -> list[bytes]:
    return [b"%0*d" % (size, number) for number in range(count)]


def put_all(store: EventStore, events: list[bytes]) -> None:
    assert all(store.put(event) for event in events)


def claim(store: EventStore, max_events: int = 1000, max_bytes: int = 10**6, per_event_bytes: int = 0) -> Any:
    return store.claim(max_events, max_bytes, per_event_bytes)


def drain(store: EventStore) -> list[bytes]:
    """Everything that waits, oldest first, settled."""
    events: list[bytes] = []
    while (claimed := claim(store)) is not None:
        events += claimed.events
        store.ack(claimed)
    return events


def wait_for_sizes(store: EventStore, events: int, size: int) -> None:
    """What waits; asked without a lock, so that events on their way from memory to a file may be seen in both."""
    wait_until(lambda: (len(store), store.queued_bytes) == (events, size), WAIT_S, f"{events} events, {size} bytes")


# --- putting ---------------------------------------------------------------------------------------------------


def test_a_new_store_is_empty_and_well(store: EventStore) -> None:
    assert (len(store), store.queued_bytes, store.degraded) == (0, 0, "")
    assert claim(store) is None


def test_events_leave_in_the_order_they_came(store: EventStore) -> None:
    put_all(store, fragments(5))
    assert drain(store) == fragments(5)


def test_length_and_bytes_are_those_of_what_waits(store: EventStore) -> None:
    put_all(store, [b"a" * 100, b"b" * 50])
    wait_for_sizes(store, 2, 150)
    claimed = claim(store, max_events=1)
    wait_for_sizes(store, 1, 50)
    store.nack(claimed)
    wait_for_sizes(store, 2, 150)
    store.ack(claim(store))
    wait_for_sizes(store, 0, 0)


def test_the_same_bytes_twice_are_two_events(store: EventStore) -> None:
    put_all(store, [b"same", b"same"])
    assert drain(store) == [b"same", b"same"]


@pytest.mark.parametrize("event", [b"{", b'{"a":"\xf0\x9f\x98\x80"', bytes(range(256))])
def test_an_event_comes_out_byte_by_byte_as_it_went_in(store: EventStore, event: bytes) -> None:
    put_all(store, [event])
    assert drain(store) == [event]


# --- bounds ----------------------------------------------------------------------------------------------------


def test_a_store_is_full_at_its_capacity(store: EventStore) -> None:
    put_all(store, fragments(CAPACITY))
    assert not store.put(b"one more")
    assert drain(store) == fragments(CAPACITY)


def test_a_store_is_full_at_its_bytes(store: EventStore) -> None:
    put_all(store, [b"x" * 600])
    assert not store.put(b"x" * 401)
    assert store.put(b"x" * 400)
    wait_for_sizes(store, 2, 1000)


def test_an_event_larger_than_the_store_never_fits(store: EventStore) -> None:
    assert not store.put(b"x" * (MAX_BYTES + 1))
    assert store.evict(b"x" * (MAX_BYTES + 1)) == 0
    assert len(store) == 0


def test_claimed_events_take_room_until_they_are_settled(store: EventStore) -> None:
    put_all(store, fragments(CAPACITY))
    claimed = claim(store)
    assert not store.put(b"x")
    store.ack(claimed)
    assert store.put(b"x")


def test_bytes_of_claimed_events_take_room_until_they_are_settled(store: EventStore) -> None:
    put_all(store, [b"x" * MAX_BYTES])
    claimed = claim(store)
    assert not store.put(b"x")
    store.ack(claimed)
    assert store.put(b"x" * MAX_BYTES)


# --- claiming --------------------------------------------------------------------------------------------------


def test_a_claim_takes_at_most_so_many(store: EventStore) -> None:
    put_all(store, fragments(5))
    assert list(claim(store, max_events=3).events) == fragments(5)[:3]
    assert list(claim(store, max_events=3).events) == fragments(5)[3:]
    assert claim(store) is None


def test_a_claim_counts_what_sending_adds_to_each(store: EventStore) -> None:
    put_all(store, fragments(5, size=10))
    assert len(claim(store, max_bytes=45, per_event_bytes=5).events) == 3
    assert len(claim(store, max_bytes=29, per_event_bytes=5).events) == 1


def test_an_event_over_the_limit_is_handed_out_alone(store: EventStore) -> None:
    put_all(store, [b"x" * 100, b"y", b"z"])
    assert list(claim(store, max_bytes=10).events) == [b"x" * 100]
    assert list(claim(store, max_bytes=10).events) == [b"y", b"z"]


def test_a_claimed_event_belongs_to_its_claimer(store: EventStore) -> None:
    put_all(store, fragments(2))
    first = claim(store, max_events=1)
    assert drain(store) == fragments(2)[1:]
    store.ack(first)
    assert claim(store) is None


def test_what_is_given_back_is_first_again_in_its_order(store: EventStore) -> None:
    put_all(store, fragments(4))
    claimed = claim(store, max_events=2)
    store.nack(claimed)
    put_all(store, [b"newest"])
    assert drain(store) == [*fragments(4), b"newest"]


def test_a_part_of_a_claim_can_be_settled_by_itself(store: EventStore) -> None:
    put_all(store, fragments(6))
    claimed = claim(store)
    store.ack(claimed.part(0, 2))
    store.nack(claimed.part(4))
    assert drain(store) == fragments(6)[4:]
    store.ack(claimed.part(2, 4))
    put_all(store, fragments(CAPACITY))


def test_given_back_events_are_not_counted_as_recovered(store: EventStore) -> None:
    put_all(store, fragments(3))
    store.nack(claim(store))
    assert claim(store).recovered == 0


def test_two_claimers_never_get_the_same_event(make: StoreFactory) -> None:
    store = make(capacity=2000, max_bytes=10**6)
    put_all(store, fragments(2000))
    got: list[list[bytes]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def work(mine: list[bytes]) -> None:
        start.wait()
        while (claimed := claim(store, max_events=7)) is not None:
            mine += claimed.events
            store.ack(claimed)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(event for mine in got for event in mine) == fragments(2000)


def test_threads_that_put_lose_nothing_and_pass_no_bound(make: StoreFactory) -> None:
    store = make(capacity=1000, max_bytes=10**6)
    taken: list[bytes] = []

    def work(name: bytes) -> None:
        for number in range(400):
            event = name + b"%d" % number
            if store.put(event):
                taken.append(event)

    threads = [threading.Thread(target=work, args=(name,)) for name in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(taken) == len(store) == 1000
    assert sorted(drain(store)) == sorted(taken)


# --- making room -----------------------------------------------------------------------------------------------


def test_evicting_forgets_the_oldest_until_the_new_one_fits(store: EventStore) -> None:
    put_all(store, fragments(CAPACITY))
    assert store.evict(b"new") == 1
    assert store.put(b"new")
    assert drain(store) == [*fragments(CAPACITY)[1:], b"new"]


def test_evicting_makes_room_in_bytes(store: EventStore) -> None:
    put_all(store, [b"a" * 300, b"b" * 300, b"c" * 400])
    assert store.evict(b"d" * 500) == 2
    assert store.put(b"d" * 500)
    assert drain(store) == [b"c" * 400, b"d" * 500]


def test_evicting_does_nothing_where_there_is_room(store: EventStore) -> None:
    put_all(store, fragments(3))
    assert store.evict(b"x") == 0
    assert len(store) == 3


def test_claimed_events_cannot_be_evicted(store: EventStore) -> None:
    put_all(store, fragments(CAPACITY))
    claimed = claim(store)
    assert store.evict(b"x") == 0
    assert not store.put(b"x")
    store.nack(claimed)
    assert drain(store) == fragments(CAPACITY)


def test_evicting_does_not_sacrifice_events_for_one_that_cannot_fit(store: EventStore) -> None:
    """The claimed bytes alone are too many: what waits must not be thrown away in vain."""
    put_all(store, [b"c" * 800, b"w" * 100])
    claim(store, max_events=1)
    assert store.evict(b"x" * 300) == 0
    assert len(store) == 1


def test_clearing_forgets_what_waits_and_leaves_what_is_claimed(store: EventStore) -> None:
    put_all(store, fragments(5))
    claimed = claim(store, max_events=2)
    assert store.clear() == 3
    assert (len(store), store.queued_bytes) == (0, 0)
    store.nack(claimed)
    assert drain(store) == fragments(5)[:2]
    put_all(store, fragments(CAPACITY))


# --- the end ---------------------------------------------------------------------------------------------------


def test_a_closed_store_takes_nothing(store: EventStore) -> None:
    put_all(store, fragments(3))
    assert store.close() == (0 if store.durable else 3)
    assert not store.put(b"x")
    assert store.close() == 0


def test_after_a_fork_what_waits_is_the_parents(store: EventStore) -> None:
    put_all(store, fragments(3))
    store.after_fork()
    if not store.durable:
        assert (len(store), store.queued_bytes) == (0, 0)
    assert store.put(b"the child's")


# --- in an emitter ---------------------------------------------------------------------------------------------


def test_an_emitter_delivers_from_it(store: EventStore) -> None:
    transport = ScriptedTransport()
    emitter = Emitter(transport=transport, event_store=store, flush_interval=60)
    assert [emitter.emit(b'{"n":"%d"' % number) for number in range(5)] == [None] * 5
    assert len(store) == 5
    assert emitter.flush(20)
    assert transport.offered == [[{"n": str(number)} for number in range(5)]]
    assert emitter.stats().delivered == 5
    emitter.close()


def test_times_are_those_of_putting() -> None:
    store = MemoryEventStore(keep_times=True)
    before = time.monotonic()
    put_all(store, fragments(3))
    claimed = claim(store)
    assert claimed is not None
    assert len(claimed.stored_at) == 3
    assert before <= min(claimed.stored_at) <= max(claimed.stored_at) <= time.monotonic()
    store.nack(claimed)
    assert claim(store).stored_at == claimed.stored_at


# --- waiting for another attempt ---------------------------------------------------------------------------------


def test_a_claim_that_rested_is_still_the_claimers_where_nobody_took_it(store: EventStore) -> None:
    put_all(store, fragments(6))
    claimed = claim(store, max_events=4)
    store.rest(claimed)
    assert list(claim(store).events) == fragments(6)[4:]
    kept = store.resume(claimed)
    assert kept is not None
    assert list(kept.events) == fragments(6)[:4]
    store.ack(kept.part(0, 1))
    store.rest(kept.part(1))
    store.nack(kept.part(1))
    assert drain(store) == fragments(6)[1:4]


def test_what_was_secured_is_still_there_in_its_order(store: EventStore) -> None:
    put_all(store, fragments(6))
    claimed = claim(store, max_events=2)
    store.nack(claimed)
    store.secure()
    assert (len(store), store.queued_bytes) == (6, 60)
    assert drain(store) == fragments(6)
