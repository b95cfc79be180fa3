"""Where trackers live: gevent, asyncio, suspended processes, interpreters with odd options."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults import OK, VALID_PEM, FaultyServer, answering, refused_port
from processes import ROOT, Running, run, wait_until
from servers import WAIT_S, at_first, event_ids, recording, sent_events, taking_without_answer, track

from snowplow_tracker import Tracker
from snowplow_tracker.testing import LocalCollector

needs_gevent = pytest.mark.skipif(not importlib.util.find_spec("gevent"), reason="gevent is not installed")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


# --- gevent ----------------------------------------------------------------------------------------------------

GEVENT = "from gevent import monkey; monkey.patch_all()\n"


@needs_gevent
@pytest.mark.parametrize(
    "script",
    [
        "track(t, 250); assert t.flush(10); say(delivered=t.stats().delivered)",
        "track(t, 250); say(delivered=250)",
        "import gevent; gevent.joinall([gevent.spawn(track, t, 50) for _ in range(5)]); t.close(); say(delivered=250)",
        "import gevent.pool; gevent.pool.Pool(5).map(lambda n: track(t, 50, n), range(5)); say(delivered=250)",
    ],
    ids=["flush", "exit", "greenlets and close", "a pool and exit"],
)
@pytest.mark.parametrize("method", ["post", "get"])
def test_events_of_a_gevent_program_are_delivered(collector: LocalCollector, script: str, method: str) -> None:
    if "flush" not in script and "close" not in script and (3, 12, 0) <= sys.version_info[:3] <= (3, 12, 1):
        pytest.skip("gevent asks its resolver in a thread, and Python 3.12.0 and 3.12.1 start none at exit")
    finished = run(
        f"""
        {GEVENT.strip()}
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL, method="{method}", shutdown_timeout=10)
        {script}
        """,
        collector.url,
        # gevent patches before our import, as its documentation asks; some of its own warnings are not ours.
        env={"PYTHONWARNINGS": None},
    )
    assert finished.fact("delivered") == 250
    assert len(set(event_ids(collector.wait_for(250, WAIT_S)))) == len(collector.events) == 250


@needs_gevent
def test_greenlets_go_on_while_a_request_waits(collector: LocalCollector) -> None:
    collector.latency(0.5)
    finished = run(
        f"""
        {GEVENT.strip()}
        import gevent
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL, flush_interval=0)
        ticks = 0
        def tick():
            global ticks
            while True:
                gevent.sleep(0.01)
                ticks += 1
        gevent.spawn(tick)
        track(t, 1)
        assert t.flush(10)
        say(ticks=ticks)
        """,
        collector.url,
    )
    assert finished.fact("ticks") > 10


# --- asyncio ---------------------------------------------------------------------------------------------------


class Heartbeat:
    """A task that beats every 5 ms; `longest` is the longest time for which the loop was not free to."""

    def __init__(self) -> None:
        self.beats = 0
        self.longest = 0.0

    async def _beat(self) -> None:
        while True:
            start = time.monotonic()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, time.monotonic() - start)
            self.beats += 1

    async def __aenter__(self) -> Heartbeat:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._task.cancel()


@pytest.mark.parametrize("method", ["aflush", "aclose"])
def test_the_event_loop_goes_on_while_it_waits_for_delivery(collector: LocalCollector, method: str) -> None:
    collector.latency(1.0)

    async def main() -> None:
        t = Tracker.hostname(collector.url, shutdown_timeout=WAIT_S)
        async with Heartbeat() as heart:
            track(t, 10)
            result = await getattr(t, method)()
        assert (bool(result), result.delivered) == (True, 10)
        assert heart.beats > 20
        assert heart.longest < 0.7, "it beat all the time, not before and after"
        await t.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("method", ["aflush", "aclose"])
def test_the_event_loop_goes_on_while_the_collector_is_a_black_hole(collector: LocalCollector, method: str) -> None:
    collector.black_hole()

    async def main() -> None:
        t = Tracker.hostname(collector.url)
        async with Heartbeat() as heart:
            track(t, 10)
            result = await getattr(t, method)(0.5)
        assert bool(result) == (method == "aclose")  # closing settles everything: what is left is dropped
        assert heart.beats > 10
        await t.aclose(0)

    asyncio.run(main())


def test_many_tasks_may_flush_at_once(collector: LocalCollector) -> None:
    async def main() -> None:
        t = Tracker.hostname(collector.url)

        async def player(number: int) -> None:
            track(t, 5, str(number))
            assert await t.aflush(WAIT_S)

        await asyncio.gather(*map(player, range(20)))
        assert t.stats().delivered == 100
        assert await t.aclose()

    asyncio.run(main())


def test_a_cancelled_flush_harms_nothing(collector: LocalCollector) -> None:
    collector.latency(0.3)

    async def main() -> None:
        t = Tracker.hostname(collector.url)
        track(t, 5)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(t.aflush(), 0.05)
        assert await t.aflush()
        assert t.stats().delivered == 5
        await t.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("method", ["aflush", "aclose"])
def test_threads_that_the_event_loop_lacks_hold_nothing_up(collector: LocalCollector, method: str) -> None:
    free = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, free.wait, WAIT_S)
        t = Tracker.hostname(collector.url)
        track(t, 5)
        assert (await getattr(t, method)()).delivered == 5
        assert not busy.done()
        free.set()
        await busy
        await t.aclose()

    asyncio.run(main())


# --- suspended processes ---------------------------------------------------------------------------------------


def state(pid: int) -> str:
    """What Linux says of a process: R, S, T for stopped, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def suspended(running: Running) -> Iterator[None]:
    """Stop a process, as a frozen lambda or a closed laptop does, and let it go on."""
    running.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: state(running.process.pid) == "T", WAIT_S, "the process to be stopped")
    yield
    running.process.send_signal(signal.SIGCONT)


@on_linux
def test_an_event_from_after_a_suspension_finds_a_new_connection_in_silence(tmp_path: Path) -> None:
    """The server has let go of the connection meanwhile, in a way that only sending reveals."""
    requests: list[bytes] = []
    go = tmp_path / "go"
    with (
        FaultyServer(at_first(taking_without_answer(requests), 1, recording(requests, OK))) as server,
        Running(
            """
            from snowplow_tracker import Tracker
            logging.basicConfig(level=logging.DEBUG)
            t = Tracker.hostname(URL, flush_interval=0)
            track(t, 1)
            say(flushed=bool(t.flush(10)))
            while not os.path.exists(sys.argv[2]):
                time.sleep(0.01)
            track(t, 1)
            say(flushed_again=bool(t.flush(10)))
            say_stats(t)
            """,
            server.url,
            str(go),
        ) as running,
    ):
        assert running.wait_until_said("flushed") == [True]
        with suspended(running):
            go.touch()
        finished = running.wait()
    assert finished.fact("flushed_again")
    assert (finished.fact("delivered"), finished.fact("requests")) == (2, 3)
    assert "snowplow_tracker" not in finished.stderr


@on_linux
def test_an_event_that_was_queued_before_a_suspension_carries_the_time_of_sending(
    collector: LocalCollector, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with Running(
        """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL, flush_interval=60)
        track(t, 1)
        say(tracked=True)
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
        say(flushed=bool(t.flush(10)))
        """,
        collector.url,
        str(go),
    ) as running:
        running.wait_until_said("tracked")
        with suspended(running):
            threading.Event().wait(1.0)
            woken_ms = time.time() * 1000
            go.touch()
        assert running.wait().fact("flushed")
    (event,) = collector.events
    assert int(event["stm"]) >= woken_ms - 1
    assert int(event["stm"]) - int(event["dtm"]) >= 900


@on_linux
def test_an_attempt_that_was_suspended_is_repeated_with_its_own_time(collector: LocalCollector) -> None:
    collector.fail(503, times=1)
    with Running(
        """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL, flush_interval=0, max_retry_delay_seconds=60)
        track(t, 1)
        say(flushed=bool(t.flush(20)))
        """,
        collector.url,
    ) as running:
        wait_until(lambda: len(collector.requests) == 1, WAIT_S)
        with suspended(running):
            before = len(collector.requests)
            threading.Event().wait(0.5)
            woken_ms = time.time() * 1000
        assert running.wait().fact("flushed")
    first, *_, last = [sent_events(request)[0] for request in collector.requests]
    assert first["eid"] == last["eid"]
    if before == 1:  # it did not get its second attempt in before it was stopped
        assert int(last["stm"]) >= woken_ms - 1


# --- imports ---------------------------------------------------------------------------------------------------

IMPORTS = """
    from snowplow_tracker import Tracker
    {setup}
    t = Tracker.hostname(URL, flush_interval=0, max_retry_delay_seconds=0, {options})
    before = set(sys.modules)
    track(t, 3)
    flushed = bool(t.flush({timeout}))
    say(flushed=flushed, imported=sorted(set(sys.modules) - before))
    t.close({timeout})
"""


def imported(url: str, setup: str = "", options: str = "", timeout: float = 20, **env: str) -> list[str]:
    finished = run(IMPORTS.format(setup=setup, options=options, timeout=timeout), url, env=env)
    assert finished.fact("flushed") == (timeout > 1)
    modules: list[str] = finished.fact("imported")
    return modules


@pytest.mark.parametrize("options", ["", "method='get'", "threads=4", "max_event_age_s=60"])
def test_the_emitter_thread_imports_nothing(collector: LocalCollector, options: str) -> None:
    """A fork during an import leaves the child with a lock that nobody holds."""
    assert imported(collector.url, options=options) == []


@pytest.mark.parametrize("trouble", ["503", "413", "400", "302", "dropped", "cut"])
def test_the_emitter_thread_imports_nothing_in_trouble_either(collector: LocalCollector, trouble: str) -> None:
    if trouble == "cut":
        requests: list[bytes] = []
        with FaultyServer(at_first(taking_without_answer(requests), 1, answering(OK))) as server:
            assert imported(server.url, options="batch_size=1") == []
        return
    if trouble == "dropped":
        collector.drop_connection(times=2)
    else:
        dates = {"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT", "Location": "http://b.com/"}
        collector.fail(int(trouble), times=2, headers=dates)
    assert imported(collector.url, options="on_failure=print, on_success=print") == []


def test_the_emitter_thread_imports_nothing_for_tls() -> None:
    with FaultyServer(answering(OK), certificate=VALID_PEM) as server:
        assert imported(server.url, REQUESTS_CA_BUNDLE=str(VALID_PEM)) == []


def test_the_emitter_thread_imports_nothing_for_a_certificate_that_is_not_trusted() -> None:
    with FaultyServer(answering(OK), certificate=VALID_PEM) as server:
        assert imported(server.url, timeout=0.5) == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_emitter_thread_imports_nothing_for_a_refused_port(host: str) -> None:
    with refused_port() as url:
        assert imported(url.replace("127.0.0.1", host), timeout=0.5) == []


def test_the_emitter_thread_imports_nothing_for_a_name_that_does_not_resolve() -> None:
    assert imported("http://bücher.invalid", timeout=0.5) == []


# --- interpreters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-O", "-OO", "-I", "-B"])
def test_it_works_whatever_the_interpreters_options(collector: LocalCollector, option: str) -> None:
    finished = run(
        f"""
        sys.path[:0] = {[str(ROOT)]}
        from snowplow_tracker import Tracker
        with Tracker.hostname(URL) as t:
            track(t, 5)
        say(delivered=t.stats().delivered)
        """,
        collector.url,
        python=(sys.executable, option),
    )
    assert finished.fact("delivered") == 5


def test_it_ends_quietly_with_all_warnings_on(collector: LocalCollector) -> None:
    finished = run(
        """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        track(t, 5)
        with Tracker.hostname(URL) as u:
            track(u, 5)
        say(done=True)
        """,
        collector.url,
        python=(sys.executable, "-X", "dev", "-W", "error"),
    )
    assert finished.stderr == ""
    assert len(collector.events) == 10
