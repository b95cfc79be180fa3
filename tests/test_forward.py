"""`snowplow-tracker forward`: the command, as processes, against a real server and a real collector."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner
from faults import VALID_PEM, refused_port
from processes import ROOT, environment, run, wait_until
from redis_servers import RedisProcess, needs_redis, pending
from servers import WAIT_S, adds_up, event_ids, track

from benchmarks.forwarders_killed import BATCH, kill_while_delivering
from snowplow_tracker import Emitter, Tracker, ValidationError
from snowplow_tracker.cli.forward import forward
from snowplow_tracker.forwarder import Forwarder, ForwardingFailed, Progress
from snowplow_tracker.redis_stream import RedisStreamStore, RedisStreamTransport
from snowplow_tracker.testing import LocalCollector

PROGRAM: Final = "from snowplow_tracker.cli.forward import forward; forward(prog_name='snowplow-tracker forward')"
PASSWORD: Final = "s3cret-hunter2"


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisProcess]:
    with RedisProcess() as running:
        yield running


@pytest.fixture
def server(shared: RedisProcess) -> RedisProcess:
    shared.client.flushall()
    return shared


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


class Command:
    """The command as a process; a context manager that leaves none behind."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str | None] | None = None) -> None:
        self._stdout, self._stderr = folder / "forward.out", folder / "forward.err"
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                env=environment(env), cwd=ROOT,
            )  # fmt: skip

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()

    def status(self, timeout: float = 30.0) -> int:
        """Its exit status, once it has ended by itself."""
        return self.process.wait(timeout)

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()


def fill(server: RedisProcess, events: int) -> list[str]:
    with Tracker("n", Emitter(transport=RedisStreamTransport(server.url)), app_id="test") as t:
        ids = track(t, events)
        assert t.flush(WAIT_S)
    return ids


# --- once ------------------------------------------------------------------------------------------------------


def test_once_drains_the_stream_and_ends(server: RedisProcess, collector: LocalCollector, tmp_path: Path) -> None:
    ids = fill(server, 1234)
    with Command(tmp_path, "--redis", server.url, "--collector", collector.url, "--once") as command:
        assert command.status() == 0, command.stderr
    assert sorted(event_ids(collector.events)) == sorted(ids)
    assert collector.bad == []
    assert server.client.xlen("snowplow") == 0
    line = command.stdout.splitlines()[-1]
    assert "delivered=1234 per_second=" in line
    assert "waiting=0 pending=0 oldest_s=0.0 trimmed=0 retries=0 dropped=0 poison=0" in line
    assert command.stderr == ""


def test_once_on_an_empty_stream_ends_at_once(server: RedisProcess, collector: LocalCollector) -> None:
    ended = CliRunner().invoke(forward, ["--redis", server.url, "--collector", collector.url, "--once"])
    assert ended.exit_code == 0
    assert "delivered=0" in ended.output


def test_the_addresses_can_come_from_the_environment(
    server: RedisProcess, collector: LocalCollector, tmp_path: Path
) -> None:
    fill(server, 3)
    env: dict[str, str | None] = {"SNOWPLOW_REDIS": server.url, "SNOWPLOW_COLLECTOR": collector.url}
    with Command(tmp_path, "--once", env=env) as command:
        assert command.status() == 0, command.stderr
    assert len(collector.events) == 3


def test_once_fails_where_the_collector_takes_nothing(server: RedisProcess) -> None:
    fill(server, 10)
    with refused_port() as url:
        forwarder = Forwarder(RedisStreamStore(server.url), url, once=True, patience_s=0.5)
        with pytest.raises(ForwardingFailed, match="the collector takes nothing; 10 events in hand"):
            forwarder.run(lambda progress: None)
    assert server.client.xlen("snowplow") == 10


def test_once_fails_where_redis_dies_on_the_way(collector: LocalCollector) -> None:
    with RedisProcess() as server:
        fill(server, 10)
        collector.fail(503)
        forwarder = Forwarder(RedisStreamStore(server.url), collector.url, once=True, patience_s=1)
        failed: list[str] = []

        def forward_once() -> None:
            try:
                forwarder.run(lambda progress: None)
            except ForwardingFailed as error:
                failed.append(str(error))

        thread = threading.Thread(target=forward_once)
        thread.start()
        wait_until(lambda: collector.requests, WAIT_S, "a request")
        server.kill()
        thread.join(WAIT_S)
        assert failed == [f"not drained: {RedisStreamStore(server.url).address} is lost: ConnectionError"]


def test_once_waits_for_the_lease_of_a_dead_forwarder(server: RedisProcess, collector: LocalCollector) -> None:
    ids = fill(server, 10)
    dead = RedisStreamStore(server.url, lease_s=3600)
    assert dead.claim(4, 10**6, 0)
    stats = Forwarder(RedisStreamStore(server.url, lease_s=0.3), collector.url, once=True).run(lambda progress: None)
    assert stats.delivered == 10
    assert sorted(event_ids(collector.events)) == sorted(ids)
    dead.close()


def test_once_says_so_when_others_hold_what_is_left(server: RedisProcess, collector: LocalCollector) -> None:
    fill(server, 10)
    slow = RedisStreamStore(server.url, lease_s=2)
    assert slow.claim(4, 10**6, 0)  # and vouches for it
    forwarder = Forwarder(RedisStreamStore(server.url, lease_s=2), collector.url, once=True, patience_s=1)
    with pytest.raises(ForwardingFailed, match="other forwarders hold 4 events"):
        forwarder.run(lambda progress: None)
    slow.close()


# --- running on ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0_and_nothing_half_done(
    server: RedisProcess, collector: LocalCollector, tmp_path: Path, number: signal.Signals
) -> None:
    ids = fill(server, 300)
    with Command(tmp_path, "--redis", server.url, "--collector", collector.url, "--batch-size", "50") as command:
        collector.wait_for(300, WAIT_S)
        more = fill(server, 10)
        collector.wait_for(310, WAIT_S)
        command.process.send_signal(number)
        assert command.status() == 0, command.stderr
    assert sorted(event_ids(collector.events)) == sorted(ids + more)
    assert (server.client.xlen("snowplow"), pending(server)["pending"]) == (0, 0)
    assert server.client.xinfo_consumers("snowplow", "forwarders") == []
    assert "delivered=310" in command.stdout.splitlines()[-1]
    assert command.stderr == ""


def test_a_signal_in_the_middle_of_a_request_waits_for_its_answer(
    server: RedisProcess, collector: LocalCollector, tmp_path: Path
) -> None:
    fill(server, 100)
    collector.latency(0.5)
    with Command(tmp_path, "--redis", server.url, "--collector", collector.url, "--batch-size", "10") as command:
        wait_until(lambda: len(collector.requests) > 0, WAIT_S, "a request")
        command.process.send_signal(signal.SIGTERM)
        assert command.status() == 0, command.stderr
    delivered = len(collector.events)
    assert delivered in (10, 20, 30)
    # What it had is deleted, what it had not is there for others, and nobody has to wait for its lease.
    assert (server.client.xlen("snowplow"), pending(server)["pending"]) == (100 - delivered, 0)


def test_a_signal_during_an_outage_leaves_everything_to_the_others(
    server: RedisProcess, collector: LocalCollector, tmp_path: Path
) -> None:
    ids = fill(server, 100)
    with refused_port() as url, Command(tmp_path, "--redis", server.url, "--collector", url) as command:
        wait_until(lambda: "is lost" in command.stderr, WAIT_S, "the outage to be told")
        start = time.monotonic()
        command.process.send_signal(signal.SIGTERM)
        assert command.status() == 0, command.stderr
        assert time.monotonic() - start < 15
    assert server.client.xlen("snowplow") == 100
    Forwarder(RedisStreamStore(server.url, lease_s=3600), collector.url, once=True).run(lambda progress: None)
    assert sorted(event_ids(collector.events)) == sorted(ids)
    (line,) = command.stderr.splitlines()
    assert line.startswith(f"collector {url} is lost: ConnectionError")
    assert line.endswith("; events wait and are retried")


def test_a_collector_that_comes_back_gets_each_event_once(
    server: RedisProcess, collector: LocalCollector, caplog: pytest.LogCaptureFixture
) -> None:
    ids = fill(server, 500)
    collector.fail(503)
    forwarder = Forwarder(RedisStreamStore(server.url, lease_s=1.5), collector.url, batch_size=100)
    other = Forwarder(RedisStreamStore(server.url, lease_s=1.5), collector.url, batch_size=100)
    shown: list[Progress] = []
    threads = [
        threading.Thread(target=lambda one=one: one.run(shown.append))  # type: ignore[misc]
        for one in (forwarder, other)
    ]
    for thread in threads:
        thread.start()
    # The outage is longer than the lease: who waits for the collector must vouch for what it holds.
    wait_until(lambda: len(shown) >= 5, WAIT_S, "two seconds of outage")
    collector.recover()
    collector.wait_for(500, WAIT_S)
    for one in (forwarder, other):
        one.stop()
    for thread in threads:
        thread.join(WAIT_S)
    assert sorted(event_ids(collector.events)) == sorted(ids)
    assert all(adds_up(progress.stats) for progress in shown)
    assert sum(progress.stats.delivered for progress in shown if progress.ended) == 500


def test_a_redis_that_is_killed_is_waited_for(collector: LocalCollector, tmp_path: Path) -> None:
    with RedisProcess(lasting=True) as server:
        fill(server, 10)
        with Command(tmp_path, "--redis", server.url, "--collector", collector.url) as command:
            collector.wait_for(10, WAIT_S)
            server.kill()
            wait_until(lambda: "is lost: ConnectionError; forwarding waits" in command.stderr, WAIT_S)
            server.start()
            fill(server, 5)
            collector.wait_for(15, WAIT_S)
            command.process.send_signal(signal.SIGTERM)
            assert command.status() == 0
        _, back = command.stderr.splitlines()
    assert "is back after" in back


def test_forwarders_killed_again_and_again_lose_nothing() -> None:
    needs_redis()
    found = kill_while_delivering(3000, every_s=0.7, kills=4, lease_s=0.5, latency_s=0.1, within_s=60)
    assert found["killed"] >= 2
    assert (found["lost"], found["tracked"]) == (0, 3000)
    assert found["duplicates"] <= found["killed"] * BATCH


# --- what it refuses -------------------------------------------------------------------------------------------


def test_a_wrong_password_ends_it_at_once_and_is_not_shown(tmp_path: Path) -> None:
    with RedisProcess("--requirepass", "another") as server:
        url = server.url.replace("unix://", f"unix://:{PASSWORD}@")
        with Command(tmp_path, "--redis", url, "--collector", "http://127.0.0.1:1") as command:
            assert command.status() == 1
    assert "password" in command.stderr
    assert command.stderr.startswith(f"Error: {server.url}#snowplow: ")
    assert PASSWORD not in command.stdout + command.stderr


def test_a_redis_that_cannot_be_reached_ends_it_after_a_while() -> None:
    forwarder = Forwarder(RedisStreamStore("redis://127.0.0.1:1"), "http://127.0.0.1:1", patience_s=0.2)
    with pytest.raises(ForwardingFailed, match=r"^redis://127\.0\.0\.1:1/0#snowplow: .*refused"):
        forwarder.run(lambda progress: None)


def test_a_stream_with_other_groups_is_refused_with_the_way_out(server: RedisProcess) -> None:
    server.client.xgroup_create("snowplow", "analysts", mkstream=True)
    ended = CliRunner().invoke(forward, ["--redis", server.url, "--collector", "http://127.0.0.1:1"])
    assert ended.exit_code == 1
    assert "'analysts'" in ended.output
    assert "--keep" in ended.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--redis", f"http://x:{PASSWORD}@h", "--collector", "h"], "--redis must be the server's address"),
        (["--redis", "redis://h", "--collector", "http://h/path"], "--collector must be the collector's host"),
        (["--redis", "redis://h", "--collector", "h", "--lease", "0"], "'--lease'"),
        (["--redis", "rediss://h", "--collector", "h", "--ca-certs", "/none"], "--ca-certs must be a file"),
        (["--redis", "redis://h"], "--collector"),
    ],
)
def test_wrong_use_is_status_2_and_names_the_option(arguments: list[str], told: str) -> None:
    ended = CliRunner().invoke(forward, arguments)
    assert ended.exit_code == 2
    assert told in ended.output
    assert PASSWORD not in ended.output


def test_a_wrong_collector_is_an_error_before_anything_is_read() -> None:
    with pytest.raises(ValidationError, match="'collector' must be the collector's host"):
        Forwarder(RedisStreamStore("redis://127.0.0.1:1"), "http://h/path")


def test_redis_behind_tls_with_an_acl_user(collector: LocalCollector, tmp_path: Path) -> None:
    """The rights are those that docs/scaling.md tells to give."""
    with RedisProcess(tls=True) as server:
        fill(server, 50)
        page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
        (rule,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER forwarder ")]
        server.client.execute_command(*rule.replace("PASSWORD", PASSWORD).split())
        url = server.tls_url.replace("//", f"//forwarder:{PASSWORD}@")
        arguments = ["--redis", url, "--collector", collector.url, "--ca-certs", str(VALID_PEM), "--once"]
        with Command(tmp_path, *arguments) as command:
            assert command.status() == 0, command.stderr
        assert server.client.xlen("snowplow") == 0
    assert len(collector.events) == 50


def test_a_tracker_has_enough_with_the_rights_that_are_documented() -> None:
    with RedisProcess() as server:
        page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
        (rule,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER tracker ")]
        server.client.execute_command(*rule.replace("PASSWORD", PASSWORD).split())
        transport = RedisStreamTransport(server.url, username="tracker", password=PASSWORD, maxlen=10)
        for _ in range(5):
            assert transport.send([b'{"e":"ue"'] * 100, None).status == 200
        assert transport.trimmed == 500 - server.client.xlen("snowplow") > 0
        transport.close()


def test_the_programs_of_the_page_run_as_they_stand(collector: LocalCollector) -> None:
    programs = re.findall(
        r"^```py\n(.*?)^```", (ROOT / "docs" / "scaling.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    with RedisProcess() as server:
        for program in programs:
            # The first database is the one that an address without a number means.
            local = program.replace("redis://127.0.0.1:6379/", f"{server.url}?db=")
            local = local.replace("redis://127.0.0.1:6379", server.url)
            assert local != program
            run(local)
        for database in range(2):
            store = RedisStreamStore(f"{server.url}?db={database}")
            Forwarder(store, collector.url, once=True).run(lambda progress: None)
    assert sorted(event["se_ac"] for event in collector.events) == ["add-to-basket", "pay"]
    assert collector.bad == []


def test_the_log_is_left_as_it_was(server: RedisProcess, collector: LocalCollector) -> None:
    logger = logging.getLogger("snowplow_tracker")
    before = list(logger.handlers), logger.level
    CliRunner().invoke(forward, ["--redis", server.url, "--collector", collector.url, "--once"])
    assert (list(logger.handlers), logger.level) == before
