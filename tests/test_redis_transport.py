"""Trackers that add to a Redis Stream: the format, outages, the bound of the stream, credentials, fork."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest
from faults import VALID_PEM, Connection, FaultyServer
from processes import run, wait_until
from redis_servers import RedisProcess
from servers import WAIT_S, adds_up, track

from snowplow_tracker import Emitter, Tracker, ValidationError
from snowplow_tracker.payload import payload_dict
from snowplow_tracker.redis_stream import RedisStreamTransport

PASSWORD = "s3cret-hunter2"


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisProcess]:
    with RedisProcess() as running:
        yield running


@pytest.fixture
def server(shared: RedisProcess) -> RedisProcess:
    """A server that holds nothing; for tests that do not kill or configure it."""
    shared.client.flushall()
    return shared


def tracker_on(transport: RedisStreamTransport, **options: object) -> Tracker:
    options = {"flush_interval": 0, "max_retry_delay_seconds": 0.2, **options}
    return Tracker("redis", Emitter(transport=transport, **options), app_id="test")


def event_ids_in(server: RedisProcess, stream: str = "snowplow") -> list[str]:
    return [payload_dict(fields[b"e"])["eid"] for _, fields in server.entries(stream)]


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("snowplow_tracker")]


# --- what lies in the stream -----------------------------------------------------------------------------------


def test_each_event_is_an_entry_in_the_order_of_tracking(server: RedisProcess) -> None:
    with tracker_on(RedisStreamTransport(server.url), batch_size=7) as t:
        ids = track(t, 30)
        assert t.flush(WAIT_S)
        assert event_ids_in(server) == ids
        assert t.stats().delivered == 30


def test_an_entry_is_a_version_and_the_bytes_of_the_event(server: RedisProcess) -> None:
    with tracker_on(RedisStreamTransport(server.url)) as t:
        receipt = t.track_page_view("https://example.com/ünï", "Tïtle")
        assert t.flush(WAIT_S)
    ((_, fields),) = server.entries()
    assert set(fields) == {b"v", b"e"}
    assert fields[b"v"] == b"1"
    assert fields[b"e"].startswith(b'{"')
    event = payload_dict(fields[b"e"])
    assert (event["eid"], event["e"], event["page"]) == (receipt.event_id, "pv", "Tïtle")
    assert "stm" not in event


def test_events_go_to_the_stream_that_was_named(server: RedisProcess) -> None:
    with tracker_on(RedisStreamTransport(server.url, stream="shop:events")) as t:
        ids = track(t, 3)
        assert t.flush(WAIT_S)
    assert event_ids_in(server, "shop:events") == ids
    assert server.client.keys() == [b"shop:events"]


def test_a_batch_is_one_round_trip(server: RedisProcess) -> None:
    transport = RedisStreamTransport(server.url)
    transport.send([b'{"e":"ue"'], None)  # connects, and has the script loaded
    before = server.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    transport.send([b'{"e":"ue"'] * 250, None)
    assert server.client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
    assert server.client.xlen("snowplow") == 251
    transport.close()


def test_a_server_that_forgot_its_scripts_is_no_outage(server: RedisProcess) -> None:
    with tracker_on(RedisStreamTransport(server.url)) as t:
        track(t, 1)
        assert t.flush(WAIT_S)
        server.client.script_flush()
        track(t, 1)
        assert t.flush(WAIT_S)
        assert (t.stats().delivered, t.stats().retries) == (2, 0)


def test_an_idle_connection_that_was_closed_is_no_outage(
    server: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    with tracker_on(RedisStreamTransport(server.url)) as t:
        track(t, 1)
        assert t.flush(WAIT_S)
        server.client.client_kill_filter(_type="normal", skipme=True)
        track(t, 1)
        assert t.flush(WAIT_S)
        assert (t.stats().delivered, t.stats().retries) == (2, 0)
    assert ours(caplog) == []


def test_sending_imports_nothing_in_the_emitter_thread(server: RedisProcess) -> None:
    finished = run(
        """
        from snowplow_tracker import Emitter, Tracker
        from snowplow_tracker.redis_stream import RedisStreamTransport

        t = Tracker("n", Emitter(transport=RedisStreamTransport(URL, maxlen=1)))
        track(t, 1000)
        before = set(sys.modules)
        assert t.flush(20)
        say(imported=sorted(set(sys.modules) - before))
        """,
        server.url,
    )
    assert finished.fact("imported") == []


# --- outages ---------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_is_an_outage_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    with RedisProcess() as server:
        server.kill()
        transport = RedisStreamTransport(server.url)
        with tracker_on(transport) as t:
            ids = track(t, 500)
            wait_until(lambda: t.stats().retries >= 2, WAIT_S)
            assert adds_up(t.stats())
            assert t.stats().delivered == 0
            server.start()
            assert t.flush(WAIT_S)
            assert event_ids_in(server) == ids
            assert t.stats().delivered == 500
        lost, back = ours(caplog)
    assert lost == f"collector {transport.address} is lost: ConnectionError; events wait and are retried"
    assert back.startswith(f"collector {transport.address} is back after ")


def test_a_server_killed_again_and_again_loses_nothing_that_it_acknowledged() -> None:
    with RedisProcess(lasting=True) as server, tracker_on(RedisStreamTransport(server.url), batch_size=20) as t:
        ids: list[str] = []
        for _ in range(3):
            some = len(ids) + 10
            ids += track(t, 300)
            wait_until(lambda at_least=some: t.stats().delivered >= at_least, WAIT_S)
            server.kill()
            ids += track(t, 50)
            server.start()
        assert t.flush(WAIT_S)
        arrived = event_ids_in(server)
        assert set(arrived) == set(ids)
        # A batch whose answer was cut off may be there twice, no other.
        assert len(arrived) - len(ids) <= 3 * 20
        assert t.stats().delivered == len(ids)


def test_a_server_without_memory_takes_a_batch_whole_or_not_at_all() -> None:
    with RedisProcess() as server, tracker_on(RedisStreamTransport(server.url), batch_size=100) as t:
        server.client.config_set("maxmemory", "1")
        ids = track(t, 250)
        wait_until(lambda: t.stats().retries >= 2, WAIT_S)
        assert server.client.xlen("snowplow") == 0
        server.client.config_set("maxmemory", "0")
        assert t.flush(WAIT_S)
        assert event_ids_in(server) == ids


def test_what_redis_did_not_take_by_the_end_is_counted() -> None:
    with RedisProcess() as server:
        server.kill()
        t = tracker_on(RedisStreamTransport(server.url))
        track(t, 10)
        start = time.monotonic()
        assert not t.close(0.3) or t.stats().dropped["shutdown"] == 10
        assert time.monotonic() - start < 5
        assert t.stats().dropped["shutdown"] == 10
        assert adds_up(t.stats())


def silent(connection: Connection) -> None:
    """Take everything, say nothing."""
    while connection.stream.recv(65536):
        pass


def dripping(connection: Connection) -> None:
    """A byte now and then, of an answer that has no end."""
    connection.send(b"+")
    while not connection.stopping.wait(0.02):
        connection.send(b"x")


@pytest.mark.parametrize("behaviour", [silent, dripping])
def test_an_attempt_ends_by_its_time_whatever_the_server_does(behaviour: object) -> None:
    with FaultyServer(behaviour) as server:  # type: ignore[arg-type]
        transport = RedisStreamTransport(f"redis://127.0.0.1:{server.port}", timeout=30)
        start = time.monotonic()
        result = transport.send([b'{"e":"ue"'], 0.3)
        assert time.monotonic() - start < 10
        assert (result.status, result.error) == (None, "TimeoutError")
        transport.close()


def test_an_attempt_ends_by_the_transports_own_time_out() -> None:
    with FaultyServer(dripping) as server:
        transport = RedisStreamTransport(f"redis://127.0.0.1:{server.port}", timeout=0.3)
        start = time.monotonic()
        assert transport.send([b'{"e":"ue"'], None).error == "TimeoutError"
        assert time.monotonic() - start < 10
        transport.close()


def test_a_stream_key_of_another_kind_is_an_outage_and_not_a_loss(server: RedisProcess) -> None:
    server.client.set("snowplow", "somebody else's")
    with tracker_on(RedisStreamTransport(server.url)) as t:
        ids = track(t, 3)
        wait_until(lambda: t.stats().retries >= 1, WAIT_S)
        server.client.delete("snowplow")
        assert t.flush(WAIT_S)
    assert event_ids_in(server) == ids


# --- the stream's bound ----------------------------------------------------------------------------------------


def test_what_a_full_stream_pushes_out_is_counted_to_the_event(
    server: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    transport = RedisStreamTransport(server.url, maxlen=200)
    with tracker_on(transport, batch_size=100) as t:
        ids = track(t, 3000)
        assert t.flush(WAIT_S)
    kept = event_ids_in(server)
    assert kept == ids[-len(kept) :]
    assert 200 <= len(kept) <= 400  # "about": whole nodes go
    assert transport.trimmed == 3000 - len(kept)
    assert int(server.client.get("{snowplow}:trimmed")) == transport.trimmed
    (warning,) = ours(caplog)
    assert warning.startswith(f"{transport.address} is full (maxlen 200): its ")


def test_what_several_trackers_push_out_adds_up(server: RedisProcess) -> None:
    transports = [RedisStreamTransport(server.url, maxlen=200) for _ in range(3)]
    start = threading.Barrier(3)

    def add(transport: RedisStreamTransport) -> None:
        start.wait()
        for _ in range(20):
            assert transport.send([b'{"e":"ue"'] * 50, None).status == 200

    threads = [threading.Thread(target=add, args=(transport,)) for transport in transports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    trimmed = sum(transport.trimmed for transport in transports)
    assert trimmed == 3000 - server.client.xlen("snowplow")
    assert int(server.client.get("{snowplow}:trimmed")) == trimmed
    for transport in transports:
        transport.close()


def test_a_count_that_cannot_be_kept_does_not_make_a_batch_come_twice(server: RedisProcess) -> None:
    server.client.lpush("{snowplow}:trimmed", "no number")
    transport = RedisStreamTransport(server.url, maxlen=10)
    for _ in range(10):
        assert transport.send([b'{"e":"ue"'] * 100, None).status == 200
    assert transport.trimmed == 1000 - server.client.xlen("snowplow")
    transport.close()


# --- credentials -----------------------------------------------------------------------------------------------


def test_a_wrong_password_is_an_outage_that_ends_when_it_is_set_right(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RedisProcess("--requirepass", "another") as server:
        transport = RedisStreamTransport(server.url, password=PASSWORD)
        with tracker_on(transport) as t:
            ids = track(t, 3)
            wait_until(lambda: t.stats().retries >= 1, WAIT_S)
            server.client.config_set("requirepass", PASSWORD)
            assert t.flush(WAIT_S)
            told = repr(transport) + transport.address + repr(t.emitters) + caplog.text
        server.client.connection_pool.connection_kwargs["password"] = PASSWORD
        assert event_ids_in(server) == ids
    assert "is lost: AuthenticationError" in caplog.text
    assert PASSWORD not in told


def test_a_user_with_no_more_rights_than_are_documented_is_enough() -> None:
    with RedisProcess() as server:
        server.client.acl_setuser(
            "shop", enabled=True, passwords=[f"+{PASSWORD}"], keys=["snowplow", "{snowplow}:trimmed"],
            commands=["+evalsha", "+script|load", "+xadd", "+xlen", "+xtrim", "+incrby"],
        )  # fmt: skip
        transport = RedisStreamTransport(server.url, username="shop", password=PASSWORD, maxlen=10)
        with tracker_on(transport, batch_size=100) as t:
            track(t, 500)
            assert t.flush(WAIT_S)
            assert (t.stats().delivered, t.stats().retries) == (500, 0)
        assert transport.trimmed == 500 - server.client.xlen("snowplow")


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{PASSWORD}@127.0.0.1",
        f"redis://user:{PASSWORD}@127.0.0.1:port",
        f"redis://user:{PASSWORD}/x@127.0.0.1:1:2",
        f"redis://127.0.0.1?pasword={PASSWORD}",
        f"redis://127.0.0.1/0?db={PASSWORD}",
        "redis://",
        "",
        None,
    ],
)
def test_a_wrong_address_is_an_error_that_shows_no_password(url: object) -> None:
    with pytest.raises(ValidationError, match=r"^RedisStreamTransport\(\): 'url' must be the server's address") as info:
        RedisStreamTransport(url)  # type: ignore[arg-type]
    assert PASSWORD not in str(info.value)


@pytest.mark.parametrize(
    "options",
    [
        {"stream": ""}, {"stream": 5}, {"maxlen": 0}, {"maxlen": True}, {"maxlen": 1.5}, {"timeout": 0},
        {"timeout": "5"}, {"ca_certs": "/no/such/file"},
    ],
)  # fmt: skip
def test_a_wrong_setting_is_an_error_that_names_it(options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(ValidationError, match=rf"^RedisStreamTransport\(\): '{name}' must be "):
        RedisStreamTransport("redis://127.0.0.1", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", "redis://h:6379/0#snowplow"),
        (f"rediss://u:{PASSWORD}@h:1234/5", "rediss://h:1234/5#snowplow"),
        (f"redis://h?password={PASSWORD}&db=2", "redis://h:6379/2#snowplow"),
        (f"unix://u:{PASSWORD}@/run/redis.sock", "unix:///run/redis.sock#snowplow"),
    ],
)
def test_an_address_is_shown_without_credentials(url: str, address: str) -> None:
    transport = RedisStreamTransport(url)
    assert transport.address == Emitter(transport=transport).endpoint == address
    assert PASSWORD not in repr(vars(transport)["_server"])


# --- TLS -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls_server() -> Iterator[RedisProcess]:
    with RedisProcess(tls=True) as running:
        yield running


def test_a_server_behind_tls_is_used_if_its_certificate_is_trusted(tls_server: RedisProcess) -> None:
    tls_server.client.flushall()
    with tracker_on(RedisStreamTransport(tls_server.tls_url, ca_certs=str(VALID_PEM))) as t:
        ids = track(t, 400)
        assert t.flush(WAIT_S)
    assert event_ids_in(tls_server) == ids


@pytest.mark.parametrize("trusted", [None, str(VALID_PEM)])
def test_a_server_behind_tls_that_is_not_who_it_says_gets_nothing(
    tls_server: RedisProcess, trusted: str | None
) -> None:
    """Neither with a certificate that nobody vouches for, nor under a name that is not in it."""
    url = tls_server.tls_url if trusted is None else tls_server.tls_url.replace("127.0.0.1", "127.0.0.2")
    transport = RedisStreamTransport(url, ca_certs=trusted)
    assert transport.send([b'{"e":"ue"'], None).error == "ConnectionError"
    transport.close()


# --- processes -------------------------------------------------------------------------------------------------


def test_after_a_fork_each_process_adds_its_own_events_once(server: RedisProcess) -> None:
    finished = run(
        """
        from snowplow_tracker import Emitter, Tracker
        from snowplow_tracker.redis_stream import RedisStreamTransport

        t = Tracker("n", Emitter(transport=RedisStreamTransport(URL), flush_interval=60))
        track(t, 5, "before")
        t.flush(20)
        waiting = [r.event_id for r in track(t, 20, "parent")]
        pid = os.fork()
        if not pid:
            ids = [r.event_id for r in track(t, 30, "child")]
            result = t.close(20)
            say(ids=ids, delivered=t.stats().delivered)
            os._exit(0)
        os.waitpid(pid, 0)
        t.close(20)
        say(ids=waiting, delivered=t.stats().delivered)
        """,
        server.url,
    )
    (child, parent) = finished.facts("ids")
    assert finished.facts("delivered") == [30, 25]
    arrived = event_ids_in(server)
    assert len(arrived) == 55
    assert sorted(arrived[5:]) == sorted([*child, *parent])


def test_without_redis_py_the_import_says_what_to_install() -> None:
    finished = run(
        """
        sys.modules["redis"] = None
        try:
            import snowplow_tracker.redis_stream
        except ImportError as error:
            say(error=str(error))
        import snowplow_tracker
        """
    )
    assert "pip install 'snowplow-event-tracker[redis]'" in finished.fact("error")


def test_the_package_itself_does_not_import_redis() -> None:
    finished = run("import snowplow_tracker; say(imported='redis' in sys.modules)")
    assert finished.fact("imported") is False
