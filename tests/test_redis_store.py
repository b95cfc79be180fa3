"""The forwarder's side of a Redis Stream: what its members hand out, share, take over, set aside and delete."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from processes import run, wait_until
from redis_servers import RedisProcess, pending
from servers import WAIT_S, HeldTransport, ScriptedTransport, adds_up

from snowplow_tracker import Emitter, ValidationError
from snowplow_tracker.event_store import Claim
from snowplow_tracker.redis_stream import GroupTaken, RedisStreamStore, RedisStreamTransport
from snowplow_tracker.transport import Result

STREAM = "snowplow"
LONG_S = 3600.0
StoreFactory = Callable[..., RedisStreamStore]


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisProcess]:
    with RedisProcess() as running:
        yield running


@pytest.fixture
def server(shared: RedisProcess) -> Iterator[RedisProcess]:
    """A server that holds nothing; for tests that do not kill or configure it."""
    shared.client.flushall()
    yield shared
    shared.client.config_set("maxmemory", "0")


@pytest.fixture
def make(server: RedisProcess) -> Iterator[StoreFactory]:
    made: list[RedisStreamStore] = []

    def factory(**options: Any) -> RedisStreamStore:
        made.append(RedisStreamStore(server.url, **{"lease_s": LONG_S, **options}))
        return made[-1]

    yield factory
    for store in made:
        store.close()


def fragments(count: int, label: str = "n", size: int = 0) -> list[bytes]:
    return [b'{"%s":"%06d%s"' % (label.encode(), number, b"x" * size) for number in range(count)]


def add(server: RedisProcess, events: list[bytes], **options: Any) -> None:
    transport = RedisStreamTransport(server.url, **options)
    assert transport.send(events, None).status == 200
    transport.close()


def claim(store: RedisStreamStore, max_events: int = 1000, max_bytes: int = 10**6) -> Claim | None:
    return store.claim(max_events, max_bytes, 0)


def claimed(store: RedisStreamStore, max_events: int = 1000, max_bytes: int = 10**6) -> Claim:
    found = claim(store, max_events, max_bytes)
    assert found is not None
    return found


def drain(store: RedisStreamStore) -> list[bytes]:
    events: list[bytes] = []
    while (found := claim(store)) is not None:
        events += found.events
        store.ack(found)
    return events


def eventually_claimed(store: RedisStreamStore) -> Claim:
    found: list[Claim] = []

    def look() -> bool:
        found.extend(filter(None, [claim(store)]))
        return bool(found)

    wait_until(look, WAIT_S, "something to be claimed")
    return found[0]


# --- handing out -----------------------------------------------------------------------------------------------


def test_events_come_out_byte_by_byte_in_the_order_they_were_added(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(20))
    store = make()
    found = claimed(store)
    assert list(found.events) == fragments(20)
    assert found.recovered == 20
    assert claim(store) is None


def test_what_was_added_before_the_group_was_made_is_not_missed(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(3))
    assert drain(make(group="newcomers")) == fragments(3)


def test_an_empty_server_is_a_stream_without_events(make: StoreFactory) -> None:
    store = make()
    assert claim(store) is None
    assert (len(store), store.queued_bytes, store.degraded) == (0, 0, "")


def test_a_claim_takes_at_most_so_many_events_and_bytes(server: RedisProcess, make: StoreFactory) -> None:
    events = fragments(10, size=90)
    size = len(events[0])
    add(server, events)
    store = make()
    assert len(claimed(store, max_events=3).events) == 3
    assert len(claimed(store, max_events=7, max_bytes=size * 4).events) == 4
    assert list(claimed(store, max_bytes=size - 1).events) == [events[7]]
    assert drain(store) == events[8:]


def test_more_is_expected_while_reading_brings_as_much_as_was_asked_for(
    server: RedisProcess, make: StoreFactory
) -> None:
    add(server, fragments(25))
    store = make()
    lengths = []
    for _ in range(3):
        claim(store, max_events=10)
        lengths.append(len(store))
    assert lengths == [10, 10, 0]


def test_what_is_acknowledged_is_gone_from_the_stream(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(10))
    store = make()
    found = claimed(store)
    assert (server.client.xlen(STREAM), pending(server)["pending"]) == (10, 10)
    store.ack(found.part(0, 4))
    assert (server.client.xlen(STREAM), pending(server)["pending"]) == (6, 6)
    store.ack(found.part(4))
    assert (server.client.xlen(STREAM), pending(server)["pending"]) == (0, 0)


def test_what_is_given_back_is_first_again_and_not_recovered_twice(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(6))
    store = make()
    first = claimed(store, max_events=4)
    store.nack(first)
    again = claimed(store, max_events=4)
    assert list(again.events) == fragments(6)[:4]
    assert again.recovered == 0
    assert list(claimed(store).events) == fragments(6)[4:]


def test_nothing_can_be_put_or_evicted(make: StoreFactory) -> None:
    store = make()
    assert not store.put(b'{"a":"b"')
    assert store.evict(b'{"a":"b"') == 0


def test_clearing_forgets_what_was_given_back_and_nothing_of_others(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(6))
    store = make()
    store.nack(claimed(store, max_events=4))
    assert store.clear() == 4
    assert drain(store) == fragments(6)[4:]
    assert server.client.xlen(STREAM) == 0


# --- sharing ---------------------------------------------------------------------------------------------------


def test_two_members_never_get_the_same_event(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(2000))
    got: list[list[bytes]] = [[] for _ in range(3)]
    start = threading.Barrier(3)

    def work(mine: list[bytes]) -> None:
        store = make()
        store.join()
        start.wait()
        while (found := claim(store, max_events=37)) is not None:
            mine += found.events
            store.ack(found)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert sorted(event for mine in got for event in mine) == fragments(2000)


def test_what_a_member_leaves_behind_others_have_at_once(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(30))
    first, second = make(), make()
    found = claimed(first, max_events=10)
    first.ack(found.part(0, 3))
    first.nack(found.part(3, 6))
    first.close()  # with 4 in flight, and 3 given back; its lease would last an hour
    assert sorted(drain(second)) == fragments(30)[3:]
    assert server.client.xlen(STREAM) == 0
    consumers = [told["name"].decode() for told in server.client.xinfo_consumers(STREAM, "forwarders")]
    assert first.consumer not in consumers


def test_what_a_dead_member_held_is_taken_over_when_its_lease_has_run_out(
    server: RedisProcess, make: StoreFactory
) -> None:
    add(server, fragments(5))
    dead = claimed(make())  # nobody vouches for it within an hour, as for a dead one's
    assert list(eventually_claimed(make(lease_s=0.2)).events) == list(dead.events)


def test_what_a_member_vouches_for_stays_its_own(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(5))
    slow, other = make(lease_s=1.5), make(lease_s=1.5)
    found = claimed(slow)
    vouched: list[int] = []

    def idle_ms() -> int:
        return max(
            entry["time_since_delivered"] for entry in server.client.xpending_range(STREAM, "forwarders", "-", "+", 10)
        )

    def vouched_four_times() -> bool:
        assert claim(other) is None
        vouched.append(idle_ms())
        return sum(later < earlier for earlier, later in itertools.pairwise(vouched)) >= 4

    wait_until(vouched_four_times, WAIT_S, "the lease to be renewed four times, which is longer than it lasts")
    assert slow.resume(found) is found
    slow.ack(found)
    assert server.client.xlen(STREAM) == 0


def test_a_member_that_was_away_for_too_long_learns_what_is_no_longer_its_own(
    server: RedisProcess, make: StoreFactory
) -> None:
    add(server, fragments(6))
    late = make(lease_s=1.0)
    found = claimed(late)
    ids = [entry_id for entry_id, _ in server.entries()]
    server.client.xclaim(STREAM, "forwarders", "somebody", 0, ids[1:3])
    kept = [found]

    def noticed() -> bool:
        kept[0] = late.resume(kept[0])
        return len(kept[0].events) < 6

    wait_until(noticed, WAIT_S, "the loss to be noticed")
    assert list(kept[0].events) == [*fragments(6)[:1], *fragments(6)[3:]]
    late.ack(kept[0])
    assert [entry_id for entry_id, _ in server.entries()] == ids[1:3]


def test_a_reply_that_was_lost_on_the_way_is_read_again(server: RedisProcess, make: StoreFactory) -> None:
    """The server has given the entries to a member that never saw them."""
    add(server, fragments(5))
    store = make(lease_s=0.2)
    store.join()
    server.client.xreadgroup("forwarders", store.consumer, {STREAM: ">"})
    assert list(eventually_claimed(store).events) == fragments(5)


# --- with others on the same stream ----------------------------------------------------------------------------


def test_a_stream_that_another_group_reads_is_refused(server: RedisProcess, make: StoreFactory) -> None:
    server.client.xgroup_create(STREAM, "analysts", mkstream=True)
    with pytest.raises(GroupTaken, match="also read by the group 'analysts'"):
        make().join()


def test_with_keep_every_group_gets_every_event(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(10))
    assert drain(make(keep=True)) == drain(make(group="analysts", keep=True)) == fragments(10)
    assert server.client.xlen(STREAM) == 10
    assert drain(make(keep=True)) == []


# --- poison ----------------------------------------------------------------------------------------------------


def add_poison(server: RedisProcess) -> list[bytes]:
    entries: list[dict[str | bytes, str | bytes]] = [
        {"hello": "world"},
        {"v": "9", "e": '{"a":"b"'},
        {"v": "1", "e": b"\xff\xfe"},
    ]
    return [server.client.xadd(STREAM, entry) for entry in entries]


def test_what_is_no_event_is_set_aside_and_blocks_nothing(
    server: RedisProcess, make: StoreFactory, caplog: pytest.LogCaptureFixture
) -> None:
    add(server, fragments(3))
    ids = add_poison(server)
    add(server, fragments(3, "later"))
    store = make()
    assert drain(store) == fragments(3) + fragments(3, "later")
    assert store.poison == 3
    assert store.backlog().poison == 3
    aside = server.entries("{snowplow}:poison")
    assert [fields[b"id"] for _, fields in aside] == ids
    assert aside[0][1][b"hello"] == b"world"
    assert (server.client.xlen(STREAM), pending(server)["pending"]) == (0, 0)
    (warning,) = [record for record in caplog.records if record.name == "snowplow_tracker"]
    assert "entries that are no events" in warning.getMessage()
    assert "world" not in warning.getMessage()


def test_a_stream_of_nothing_but_poison_is_gone_through(server: RedisProcess, make: StoreFactory) -> None:
    for _ in range(20):
        add_poison(server)
    add(server, fragments(1))
    store = make()
    found: list[bytes] = []
    wait_until(lambda: found.extend(drain(store)) or found, WAIT_S, "the event behind the poison")  # type: ignore[func-returns-value]
    assert found == fragments(1)
    assert store.poison == 60


def test_poison_that_cannot_be_set_aside_is_left_and_blocks_nothing(server: RedisProcess, make: StoreFactory) -> None:
    server.client.set("{snowplow}:poison", "no stream")
    add_poison(server)
    add(server, fragments(2))
    store = make()
    assert drain(store) == fragments(2)
    assert (store.poison, server.client.xlen(STREAM), pending(server)["pending"]) == (3, 3, 0)


# --- the server's troubles -------------------------------------------------------------------------------------


def test_an_outage_is_told_once_and_over_once_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "snowplow_tracker")
    with RedisProcess(lasting=True) as server:
        store = RedisStreamStore(server.url)
        add(server, fragments(10))
        found = claimed(store, max_events=5)
        server.kill()
        store.ack(found)
        wait_until(lambda: claim(store) is None and store.degraded, WAIT_S, "the outage to be noticed")
        assert store.degraded == f"{store.address} is lost: ConnectionError"
        server.start()
        assert list(eventually_claimed(store).events) == fragments(10)[5:]
        assert store.degraded == ""
        assert server.client.xlen(STREAM) == 5  # the acknowledgement from before arrived first
        store.close()
    lost, back = [record.getMessage() for record in caplog.records if record.name == "snowplow_tracker"]
    assert lost == f"{store.address} is lost: ConnectionError; forwarding waits"
    assert back.startswith(f"{store.address} is back after ")


def test_after_an_outage_longer_than_a_lease_everybody_keeps_what_is_in_hand() -> None:
    with RedisProcess(lasting=True) as server:
        first, second = RedisStreamStore(server.url, lease_s=1.5), RedisStreamStore(server.url, lease_s=1.5)
        add(server, fragments(10))
        found = claimed(first)
        assert claim(second) is None
        server.kill()
        wait_until(lambda: claim(second) is None and second.degraded, WAIT_S, "the outage to be noticed")
        held_since = started(server)
        while time.time() - held_since < 1.5:  # nobody has been able to vouch for longer than a lease
            server.kill()
            held_since = started(server)
        wait_until(lambda: claim(second) is None and not second.degraded, WAIT_S, "the outage to be over")
        kept = idle_below(server, 1000, second)
        assert kept
        assert first.resume(found) is found
        first.ack(found)
        assert claim(second) is None
        first.close()
        second.close()


def started(server: RedisProcess) -> float:
    """Start it; since when the oldest entry is in its owner's hands."""
    server.start()
    (entry,) = server.client.xpending_range(STREAM, "forwarders", "-", "+", 1)
    return float(time.time() - entry["time_since_delivered"] / 1000)


def idle_below(server: RedisProcess, milliseconds: int, other: RedisStreamStore) -> bool:
    """Whether the owner has vouched for its entries again before *other* got any."""

    def vouched() -> bool:
        assert claim(other) is None
        told = server.client.xpending_range(STREAM, "forwarders", "-", "+", 10)
        return max(entry["time_since_delivered"] for entry in told) < milliseconds

    wait_until(vouched, WAIT_S, "the entries to be vouched for")
    return True


def test_a_server_that_was_emptied_is_joined_anew(server: RedisProcess, make: StoreFactory) -> None:
    store = make()
    assert claim(store) is None
    server.client.flushall()
    add(server, fragments(4))
    assert list(eventually_claimed(store).events) == fragments(4)


def test_a_server_without_memory_can_be_drained(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(100))
    store = make()
    store.join()
    server.client.config_set("maxmemory", "1")
    with pytest.raises(redis.ResponseError, match=r"OOM|maxmemory"):
        server.client.set("x", "y")
    assert drain(store) == fragments(100)
    assert (server.client.xlen(STREAM), pending(server)["pending"]) == (0, 0)


def test_what_was_trimmed_in_a_dead_members_hands_blocks_nobody(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(10))
    claim(make())
    ids = [entry_id for entry_id, _ in server.entries()]
    server.client.xdel(STREAM, *ids[:6])
    heir = make(lease_s=0.2)
    assert list(eventually_claimed(heir).events) == fragments(10)[6:]
    wait_until(lambda: claim(heir) is None and pending(server)["pending"] == 4, WAIT_S, "what is gone to be forgotten")


def test_members_that_died_long_ago_with_nothing_in_hand_are_forgotten(
    server: RedisProcess, make: StoreFactory
) -> None:
    add(server, fragments(2))
    make().join()
    server.client.xreadgroup("forwarders", "has-some", {STREAM: ">"}, count=1)
    server.client.execute_command("XGROUP", "CREATECONSUMER", STREAM, "forwarders", "just-came")
    make().join()
    consumers = {told["name"] for told in server.client.xinfo_consumers(STREAM, "forwarders")}
    assert {b"has-some", b"just-came"} <= consumers


# --- how much is left ------------------------------------------------------------------------------------------


def test_the_backlog_is_what_the_whole_group_has_before_it(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(30))
    first, second = make(), make()
    claim(first, max_events=10)
    claim(second, max_events=5)
    backlog = first.backlog()
    assert (backlog.waiting, backlog.pending, backlog.all_read) == (15, 15, False)
    assert 0 <= backlog.oldest_s < 60
    claim(second)
    assert (second.backlog().waiting, second.backlog().all_read) == (0, True)


def test_the_backlog_of_a_finished_group_is_empty(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(3), maxlen=1)
    store = make()
    drain(store)
    backlog = store.backlog()
    assert (backlog.waiting, backlog.pending, backlog.all_read, backlog.oldest_s) == (0, 0, True, 0.0)


def test_the_backlog_of_a_group_that_keeps_is_not_the_length_of_the_stream(
    server: RedisProcess, make: StoreFactory
) -> None:
    add(server, fragments(30))
    store = make(keep=True)
    store.ack(claimed(store, max_events=10))
    backlog = store.backlog()
    assert backlog.waiting in (20, None)  # None: before Redis 7
    assert (backlog.pending, backlog.all_read) == (0, False)
    drain(store)
    assert (store.backlog().waiting, store.backlog().all_read) == (0, True)


def test_what_trackers_pushed_out_can_be_seen_by_forwarders(server: RedisProcess, make: StoreFactory) -> None:
    store = make()
    store.join()
    for _ in range(5):
        add(server, fragments(100), maxlen=100)
    assert store.backlog().trimmed == 500 - server.client.xlen(STREAM) > 0


# --- in an emitter ---------------------------------------------------------------------------------------------


def test_an_emitter_delivers_from_it_without_being_told(server: RedisProcess, make: StoreFactory) -> None:
    transport = ScriptedTransport()
    emitter = Emitter(transport=transport, event_store=make(), batch_size=50, flush_interval=0)
    add(server, fragments(120))
    wait_until(lambda: emitter.stats().delivered == 120, WAIT_S)
    add(server, fragments(1))
    wait_until(lambda: emitter.stats().delivered == 121, WAIT_S)
    stats = emitter.stats()
    assert (stats.tracked, stats.recovered, stats.queued, stats.in_flight) == (0, 121, 0, 0)
    assert adds_up(stats)
    emitter.close()
    assert server.client.xlen(STREAM) == 0


def test_events_are_deleted_only_after_the_collector_took_them(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(5))
    transport = HeldTransport()
    emitter = Emitter(transport=transport, event_store=make(), flush_interval=0, max_retry_delay_seconds=0.1)
    transport.wait_for_request()
    assert server.client.xlen(STREAM) == 5
    transport.answer(Result(503))
    transport.wait_for_request(2)
    assert server.client.xlen(STREAM) == 5
    transport.answer()
    wait_until(lambda: server.client.xlen(STREAM) == 0, WAIT_S)
    transport.answer_all()
    emitter.close()


def test_flush_and_close_wait_for_what_is_in_a_request(server: RedisProcess, make: StoreFactory) -> None:
    add(server, fragments(5))
    transport = HeldTransport()
    emitter = Emitter(transport=transport, event_store=make(), flush_interval=0)
    transport.wait_for_request()
    assert emitter.flush(0.05).remaining == 5
    closing = threading.Thread(target=emitter.close, args=(WAIT_S,))
    closing.start()
    transport.answer()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert emitter.stats().delivered == 5
    assert server.client.xlen(STREAM) == 0


def test_what_an_emitter_could_not_deliver_when_it_is_closed_is_the_others(
    server: RedisProcess, make: StoreFactory
) -> None:
    add(server, fragments(5))
    transport = ScriptedTransport(*[Result(503)] * 10_000)
    emitter = Emitter(transport=transport, event_store=make(), flush_interval=0, max_retry_delay_seconds=0.1)
    wait_until(lambda: emitter.stats().retries >= 1, WAIT_S)
    assert not emitter.close(0.2)
    stats = emitter.stats()
    assert (stats.delivered, stats.queued, stats.in_flight, sum(stats.dropped.values())) == (0, 5, 0, 0)
    assert adds_up(stats)
    assert sorted(drain(make())) == fragments(5)


def test_what_the_collector_refuses_for_good_is_counted_and_does_not_come_again(
    server: RedisProcess, make: StoreFactory
) -> None:
    add(server, fragments(5))
    emitter = Emitter(transport=ScriptedTransport(Result(400)), event_store=make(), flush_interval=0)
    wait_until(lambda: emitter.stats().dropped["refused"] == 5, WAIT_S)
    emitter.close()
    assert server.client.xlen(STREAM) == 0


def test_a_forked_child_is_a_member_of_its_own_that_holds_nothing(server: RedisProcess) -> None:
    add(server, fragments(5))
    finished = run(
        """
        from snowplow_tracker import Emitter
        from snowplow_tracker.redis_stream import RedisStreamStore

        store = RedisStreamStore(URL)
        emitter = Emitter("127.0.0.1:1", event_store=store)  # a collector that refuses: what is read stays in hand
        while not emitter.stats().retries:
            time.sleep(0.01)
        pid = os.fork()
        if not pid:
            say(child=store.consumer, in_hand=len(store), stats=emitter.stats().recovered)
            emitter.close(0)
            os._exit(0)
        os.waitpid(pid, 0)
        say(parent=store.consumer, recovered=emitter.stats().in_flight)
        emitter.close(0)
        """,
        server.url,
    )
    assert finished.fact("child") != finished.fact("parent")
    assert (finished.fact("in_hand"), finished.fact("stats"), finished.fact("recovered")) == (0, 0, 5)
    assert pending(server)["pending"] == 5
    assert [told["name"] for told in pending(server)["consumers"]] == [b"released"]


# --- settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"stream": ""}, {"group": ""}, {"group": None}, {"lease_s": 0}, {"lease_s": "30"}, {"timeout": -1}]
)
def test_a_wrong_setting_is_an_error_that_names_it(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValidationError, match=rf"^RedisStreamStore\(\): '{name}' must be "):
        RedisStreamStore("redis://127.0.0.1", **options)
