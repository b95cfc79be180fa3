"""Fork: the parent sends the parent's events and the child the child's, each once, over connections of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from processes import Finished, Running, child_pids, run, sleeps, wait_until

from snowplow_tracker.testing import LocalCollector

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# Python 3.12 and newer warn about a fork in a process with threads; that a script does so is the point here.
SETUP: Final = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    from snowplow_tracker import Emitter, Tracker

    def in_child(work):
        # Run in a forked child that ends without any clean-up; returns its pid.
        pid = os.fork()
        if pid == 0:
            signal.alarm(15)
            try:
                work()
            finally:
                os._exit(0)
        return pid

    def reap(*pids):
        for pid in pids:
            say(child_status=os.waitpid(pid, 0)[1])

    def child():
        say_stats(t, who="child at its start")
        track(t, 50, "child")
        say(child_flushed=bool(t.flush(10)), child_delivered=t.stats().delivered)
"""


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


def labels(collector: LocalCollector) -> dict[str, int]:
    """How many events there are of each label."""
    counts: dict[str, int] = defaultdict(int)
    for event in collector.events:
        counts[event["se_la"]] += 1
    return dict(counts)


def assert_each_once_over_its_own_connection(collector: LocalCollector) -> None:
    """Ids are unique, and no connection has carried the events of two labels."""
    assert collector.bad == []
    assert len({event["eid"] for event in collector.events}) == len(collector.events)
    users: dict[int, set[str]] = defaultdict(set)
    for request in collector.requests:
        users[request.connection_id] |= {event["se_la"] for event in json.loads(request.body)["data"]}
    assert [names for names in users.values() if len(names) > 1] == []


def assert_children_well(finished: Finished) -> None:
    assert set(finished.facts("child_status")) == {0}
    assert set(finished.facts("child_flushed")) <= {True}


def forked(script: str, collector: LocalCollector, **options: float) -> Finished:
    """Run a script that forks, and check what holds in any case."""
    finished = run(SETUP + script, collector.url, timeout=options.get("timeout", 40.0))
    assert_children_well(finished)
    assert_each_once_over_its_own_connection(collector)
    return finished


def test_parent_and_child_each_deliver_their_own_events_once(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, flush_interval=60)
    track(t, 50, "parent")
    pid = in_child(child)
    reap(pid)
    track(t, 50, "parent")
    """
    finished = forked(script, collector)
    assert labels(collector) == {"parent": 100, "child": 50}
    (start,) = [said for said in finished.said if said.get("who") == "child at its start"]
    numbers = ("tracked", "delivered", "queued", "in_flight", "requests")
    assert {name: start[name] for name in numbers} == dict.fromkeys(numbers, 0)
    assert set(start["dropped"].values()) == {0}
    assert finished.fact("child_delivered") == 50


def test_the_child_never_sends_on_the_parents_connection(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL)
    for round in range(3):
        track(t, 10, "parent")
        t.flush()
        reap(in_child(child))
    """
    forked(script, collector)
    assert labels(collector) == {"parent": 30, "child": 150}
    connections = {request.connection_id for request in collector.requests}
    assert len(connections) == 4


def test_a_child_that_exits_as_programs_do_delivers_without_a_flush(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL)
    track(t, 50, "parent")
    pid = os.fork()
    if pid == 0:
        track(t, 50, "child")
        sys.exit(0)
    reap(pid)
    """
    forked(script, collector)
    assert labels(collector) == {"parent": 50, "child": 50}


def test_a_child_that_tracks_nothing_exits_at_once_and_sends_nothing(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, flush_interval=60, shutdown_timeout=10)
    track(t, 50, "parent")
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    reap(pid)
    say(child_took=time.monotonic() - start)
    """
    finished = forked(script, collector)
    assert labels(collector) == {"parent": 50}
    assert finished.fact("child_took") < 4.0  # it would wait for its dead thread for 5 or 10 s


def test_a_grandchild_delivers_its_own_events(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, flush_interval=60)
    track(t, 5, "parent")
    def grandchild():
        track(t, 5, "grandchild")
        t.flush()
    def middle():
        track(t, 5, "child")
        os.waitpid(in_child(grandchild), 0)
        t.flush()
    reap(in_child(middle))
    """
    forked(script, collector)
    assert labels(collector) == {"parent": 5, "child": 5, "grandchild": 5}


def test_ids_are_unique_across_many_children(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, flush_interval=60)
    track(t, 1, "parent")
    def work():
        track(t, 100, os.getpid())
        t.flush()
    reap(*[in_child(work) for _ in range(8)])
    """
    forked(script, collector)
    assert len(collector.events) == 801


def test_fork_with_a_full_queue(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, buffer_capacity=100, batch_size=100, flush_interval=60)
    collector_is_down = Tracker.hostname("http://127.0.0.1:9", buffer_capacity=100)
    track(collector_is_down, 100, "lost")
    assert not track(collector_is_down, 1, "lost")[0]
    def work():
        assert all(track(collector_is_down, 1, "child's"))
        child()
    reap(in_child(work))
    track(t, 50, "parent")
    """
    forked(script, collector)
    assert labels(collector) == {"parent": 50, "child": 50}


def test_fork_during_a_request(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, flush_interval=0)
    track(t, 20, "parent")
    while not t.stats().in_flight:
        time.sleep(0.001)
    pid = in_child(child)
    say(parent_flushed=bool(t.flush(10)))
    reap(pid)
    """
    collector.latency(0.3)
    finished = forked(script, collector)
    assert finished.fact("parent_flushed")
    assert labels(collector) == {"parent": 20, "child": 50}


def test_fork_during_a_back_off(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, flush_interval=0)
    track(t, 20, "parent")
    while not t.stats().requests:
        time.sleep(0.001)
    reap(in_child(child))
    say(parent_flushed=bool(t.flush(10)))
    """
    collector.fail(503, times=1, headers={"Retry-After": "60"})
    finished = forked(script, collector)
    assert finished.fact("parent_flushed")
    assert labels(collector) == {"parent": 20, "child": 50}


def test_fork_in_a_thread(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, flush_interval=60)
    track(t, 20, "parent")
    thread = threading.Thread(target=lambda: reap(in_child(child)))
    thread.start()
    thread.join()
    """
    forked(script, collector)
    assert labels(collector) == {"parent": 20, "child": 50}


def test_fork_in_a_callback_of_the_emitter_thread(collector: LocalCollector) -> None:
    script = """
    forked = []
    def on_success(events):
        if not forked:
            forked.append(None)
            forked[0] = in_child(child)
    t = Tracker.hostname(URL, on_success=on_success)
    track(t, 20, "parent")
    assert t.flush(10)
    reap(forked[0])
    """
    forked(script, collector)
    assert labels(collector) == {"parent": 20, "child": 50}


def test_fork_while_other_threads_track(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, buffer_capacity=1_000_000)
    done = threading.Event()
    def game():
        while not done.is_set():
            track(t, 10, "parent")
            time.sleep(0.001)
    threads = [threading.Thread(target=game) for _ in range(3)]
    for thread in threads:
        thread.start()
    def work():
        track(t, 5, "child")
        say(child_flushed=bool(t.flush(10)))
    for _ in range(20):
        reap(in_child(work))
    done.set()
    for thread in threads:
        thread.join()
    assert t.flush(20)
    say(parent=t.stats().delivered)
    """
    finished = forked(script, collector, timeout=60.0)
    assert len(finished.facts("child_flushed")) == 20
    assert labels(collector) == {"parent": finished.fact("parent"), "child": 100}


AT_ANY_MOMENT: Final = """
    import itertools

    def case(moment):
        # A thread stops at its moment-th function call, wherever that is and whatever it holds, while we fork.
        reached, go_on, calls = threading.Event(), threading.Event(), itertools.count(1)
        def profile(frame, event, argument):
            if event in ("call", "c_call") and next(calls) == moment:
                reached.set()
                go_on.wait(20)
        {begin}
        came = reached.wait({patience})
        pid = in_child(lambda: (track(t, 2, "child"), say(child_flushed=bool(t.flush(5)))))
        go_on.set()
        reap(pid)
        assert t.flush(10)
        {end}
        return came

    for moment in itertools.count(1, {step}):
        if not case(moment):
            break
    say(moments=moment)
"""


@pytest.mark.parametrize("first_request", [True, False])
def test_fork_at_any_moment_of_the_emitter_thread(first_request: bool, collector: LocalCollector) -> None:
    begin = """
        threading.setprofile(profile)
        t = Tracker.hostname(URL, flush_interval=0)
        track(t, 1, "parent")
        threading.setprofile(None)
    """
    script = AT_ANY_MOMENT.format(begin=begin.strip(), patience=0.5, end="t.close()", step=11)
    warm_up = '    Tracker.hostname(URL).track_struct_event("test", "track", "warm-up")'
    finished = forked(("" if first_request else warm_up) + script, collector, timeout=90.0)
    cases = len(finished.facts("child_flushed"))
    assert finished.fact("moments") > 100
    counts = labels(collector)
    assert (counts["parent"], counts["child"]) == (cases, 2 * cases)


def test_fork_at_any_moment_of_a_thread_that_tracks(collector: LocalCollector) -> None:
    begin = """
        t = Tracker.hostname(URL)
        def game():
            sys.setprofile(profile)
            t.track_struct_event("test", "track", "parent")
            sys.setprofile(None)
        thread = threading.Thread(target=game)
        thread.start()
    """
    end = "thread.join(); t.close()"
    finished = forked(AT_ANY_MOMENT.format(begin=begin.strip(), patience=0.3, end=end, step=2), collector, timeout=90.0)
    cases = len(finished.facts("child_flushed"))
    assert cases > 5
    assert labels(collector) == {"parent": cases, "child": 2 * cases}


@pytest.mark.parametrize("address", ["http", "https", "name"])
def test_the_emitter_thread_imports_nothing(address: str, collector: LocalCollector) -> None:
    # A fork in the middle of an import leaves the child with an import lock that nobody will ever release.
    script = """
    urls = {"http": URL, "https": URL.replace("http:", "https:"), "name": "http://collector.something.invalid"}
    t = Tracker.hostname(urls[sys.argv[2]], shutdown_timeout=0.2)
    t.stats(), t.flush(0)
    before = set(sys.modules)
    track(t, 5)
    t.flush(1)
    say(imported=sorted(set(sys.modules) - before))
    """
    assert run(SETUP + script, collector.url, address).fact("imported") == []


def test_a_users_own_session_is_not_shared_with_the_child(collector: LocalCollector) -> None:
    script = """
    import requests
    session = requests.Session()
    session.headers["X-Game"] = "chess"
    t = Tracker.hostname(URL, session=session)
    track(t, 20, "parent")
    assert t.flush(10)
    reap(in_child(child))
    track(t, 20, "parent")
    assert t.flush(10)
    """
    forked(script, collector)
    assert labels(collector) == {"parent": 40, "child": 50}
    assert {request.headers["X-Game"] for request in collector.requests} == {"chess"}


def test_several_trackers_and_emitters_survive_a_fork(collector: LocalCollector) -> None:
    script = """
    t = Tracker("game", [Emitter(URL, flush_interval=60), Emitter(URL, flush_interval=60, method="post")])
    other = Tracker.hostname(URL, flush_interval=60)
    track(other, 20, "parent")
    def work():
        track(other, 30, "child")
        assert other.flush(10)
    reap(in_child(work))
    track(other, 20, "parent")
    """
    forked(script, collector)
    assert labels(collector) == {"parent": 40, "child": 30}


def test_what_a_tracker_refused_in_the_parent_is_not_counted_in_the_child(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL, on_invalid="drop")
    t.track_page_view("")
    t.disable()
    track(t, 5, "parent")
    t.enable()
    reap(in_child(child))
    """
    finished = forked(script, collector)
    (start,) = [said for said in finished.said if said.get("who") == "child at its start"]
    assert start["tracked"] == sum(start["dropped"].values()) == 0
    assert labels(collector) == {"child": 50}


# --- forks that Python's hooks do not see ----------------------------------------------------------------------

WITHOUT_HOOKS: Final = """
    import ctypes
    fork = ctypes.PyDLL(None).fork  # what a server in C does that embeds Python
"""


def test_a_fork_without_pythons_hooks(collector: LocalCollector) -> None:
    script = f"""{WITHOUT_HOOKS}
    t = Tracker.hostname(URL, flush_interval=60)
    track(t, 20, "parent")
    pid = fork()
    if pid == 0:
        signal.alarm(15)
        child_events = track(t, 50, "child")
        say(child_flushed=bool(t.flush(10)), child_delivered=t.stats().delivered, tracked=t.stats().tracked)
        os._exit(0)
    reap(pid)
    track(t, 20, "parent")
    """
    finished = forked(script, collector)
    assert finished.fact("child_delivered") == finished.fact("tracked") == 50
    assert labels(collector) == {"parent": 40, "child": 50}


@pytest.mark.parametrize("call", ["t.stats()", "t.flush(5)", "t.close()", "pass"])
def test_a_child_forked_without_hooks_that_tracks_nothing_ends_at_once(call: str, collector: LocalCollector) -> None:
    script = f"""{WITHOUT_HOOKS}
    t = Tracker.hostname(URL, flush_interval=60, shutdown_timeout=10)
    track(t, 20, "parent")
    start = time.monotonic()
    pid = fork()
    if pid == 0:
        signal.alarm(15)
        {call}
        say_stats(t)
        import atexit
        atexit._run_exitfuncs()
        os._exit(0)
    reap(pid)
    say(child_took=time.monotonic() - start)
    """
    finished = forked(script, collector)
    assert finished.fact("tracked") == 0
    assert finished.fact("child_took") < 4.0  # it would wait for its dead thread for 5 or 10 s
    assert labels(collector) == {"parent": 20}


def test_forks_without_pythons_hooks_right_after_the_first_events(collector: LocalCollector) -> None:
    """A thread that is waking up at that moment leaves the child with the interpreter's own lock half-way."""
    script = f"""{WITHOUT_HOOKS}
    for round in range(20):
        t = Tracker.hostname(URL, flush_interval=60)
        track(t, 20, "parent")
        pid = fork()
        if pid == 0:
            signal.alarm(15)
            track(t, 5, "child")
            assert t.flush(10)
            os._exit(0)
        reap(pid)
        t.close()
    """
    forked(script, collector, timeout=120.0)
    assert labels(collector) == {"parent": 400, "child": 100}


# --- multiprocessing -------------------------------------------------------------------------------------------

MULTIPROCESSING: Final = """
    import multiprocessing

    t = None

    def work(count):
        track(t, count, f"child {os.getpid()}")
        return os.getpid()

    def later(tracker, count):
        track(tracker, count, f"child {os.getpid()}")
"""


def children_and_parent(collector: LocalCollector) -> tuple[int, int]:
    counts = labels(collector)
    parents = counts.pop("parent", 0)
    return sum(counts.values()), parents


def test_a_process_whose_target_only_tracks_delivers(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL)
    track(t, 20, "parent")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(25,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        say(child_status=process.exitcode)
    """
    forked(MULTIPROCESSING + script, collector)
    assert children_and_parent(collector) == (100, 20)


def test_a_process_that_makes_its_own_tracker_delivers(collector: LocalCollector) -> None:
    script = """
    def game():
        track(Tracker.hostname(URL), 25, "child")
    process = multiprocessing.get_context("fork").Process(target=game)
    process.start()
    process.join()
    say(child_status=process.exitcode)
    """
    forked(MULTIPROCESSING + script, collector)
    assert children_and_parent(collector) == (25, 0)


def test_a_process_that_raises_delivers_what_it_tracked_before(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL)
    def game():
        work(25)
        raise KeyError("a bug in the game")
    process = multiprocessing.get_context("fork").Process(target=game)
    process.start()
    process.join()
    say(child_status=process.exitcode - 1)
    """
    forked(MULTIPROCESSING + script, collector)
    assert children_and_parent(collector) == (25, 0)


def test_a_process_that_cannot_deliver_ends_within_its_budget() -> None:
    script = """
    t = Tracker.hostname("http://127.0.0.1:9", shutdown_timeout=0.5)
    process = multiprocessing.get_context("fork").Process(target=work, args=(25,))
    start = time.monotonic()
    process.start()
    process.join()
    say(child_took=time.monotonic() - start)
    """
    finished = run(SETUP + MULTIPROCESSING + script)
    assert finished.fact("child_took") < 0.5 + 0.5 + 0.5 + finished.starved_s  # fork and join take their time, too


def test_spawned_processes_deliver(collector: LocalCollector) -> None:
    script = """
    def game(url):
        track(Tracker.hostname(url), 25, "child")
    if __name__ == "__main__":
        process = multiprocessing.get_context("spawn").Process(target=game, args=(URL,))
        process.start()
        process.join()
        say(child_status=process.exitcode)
    """
    forked(MULTIPROCESSING + script, collector)
    assert children_and_parent(collector) == (25, 0)


def test_workers_of_a_pool_deliver_when_it_is_closed_and_joined(collector: LocalCollector) -> None:
    script = """
    t = Tracker.hostname(URL)
    track(t, 20, "parent")
    pool = multiprocessing.get_context("fork").Pool(3)
    pids = set(pool.map(work, [5] * 40, chunksize=1))
    pool.close()
    pool.join()
    say(child_status=0)
    """
    forked(MULTIPROCESSING + script, collector)
    assert children_and_parent(collector) == (200, 20)


def test_workers_of_a_process_pool_executor_deliver(collector: LocalCollector) -> None:
    script = """
    from concurrent.futures import ProcessPoolExecutor
    t = Tracker.hostname(URL)
    track(t, 20, "parent")
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("fork")) as executor:
        assert len(list(executor.map(work, [5] * 40))) == 40
    say(child_status=0)
    """
    forked(MULTIPROCESSING + script, collector)
    assert children_and_parent(collector) == (200, 20)


# --- prefork servers -------------------------------------------------------------------------------------------


PREFORK_APP: Final = """
import os
from snowplow_tracker import Tracker
t = Tracker.hostname(os.environ["COLLECTOR"])
t.track_struct_event("test", "track", "preload")
def app(environ, start_response):
    t.track_struct_event("test", "track", f"worker {os.getpid()}")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
application = app
"""


def serving(command: str) -> str:
    """A script that becomes the server of `PREFORK_APP`."""
    return f"""
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    with open("game.py", "w") as app:
        app.write(sys.argv[2])
    os.environ["COLLECTOR"] = URL
    {command}
    """


def assert_each_worker_delivers_its_requests(
    script: str, listening: str, booted: str, collector: LocalCollector
) -> None:
    """Run a server with two workers, ask it 60 times, end it, and compare.

    Args:
        script: From `serving`.
        listening: What it logs before its address.
        booted: What it logs for each worker.
    """
    with Running(script, collector.url, PREFORK_APP) as server:
        wait_until(lambda: server.stderr.count(booted) == 2, 20, "two workers")
        address = "http://" + server.stderr.split(listening)[1].split()[0].removeprefix("http://")
        answers = [urllib.request.urlopen(address, timeout=10).read().decode() for _ in range(60)]
        workers = child_pids(server.process.pid)
        assert len(workers) == 2
        # uWSGI runs no atexit handler of a worker that is told to end while it is still busy with its last request.
        wait_until(lambda: all(map(sleeps, workers)), 20, "idle workers")
        server.process.send_signal(signal.SIGTERM)
        finished = server.wait()
    assert finished.status == 0, finished.stderr
    counts = labels(collector)
    assert counts.pop("preload") == 1
    assert counts == {f"worker {pid}": answers.count(pid) for pid in set(answers)}
    assert_each_once_over_its_own_connection(collector)


@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed")
def test_workers_of_a_preloaded_gunicorn_app_each_deliver_their_requests(collector: LocalCollector) -> None:
    script = serving(
        'os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:0", '
        '"game:app"])'
    )
    assert_each_worker_delivers_its_requests(script, "Listening at: ", "Booting worker", collector)


UWSGI: Final = Path(sys.executable).with_name("uwsgi")


@pytest.mark.skipif(not UWSGI.exists(), reason="uWSGI is not installed")
@pytest.mark.parametrize("threads", ["--enable-threads", "--need-app"], ids=["with threads", "without threads"])
def test_uwsgi_workers_each_deliver_their_requests_without_fork_hooks(threads: str, collector: LocalCollector) -> None:
    # It calls Python's hooks after its fork only if told to (--py-call-osafterfork), and here it is not.
    options = f'"--http-socket", "127.0.0.1:0", "--master", "--processes", "2", "{threads}", "--die-on-term"'
    script = serving(f'os.execv("{UWSGI}", ["{UWSGI}", {options}, "--wsgi-file", "game.py"])')
    assert_each_worker_delivers_its_requests(
        script, "uwsgi socket 0 bound to TCP address ", "spawned uWSGI worker", collector
    )


def test_a_child_of_a_process_whose_exit_hook_has_run_is_at_its_beginning(collector: LocalCollector) -> None:
    script = """
    from snowplow_tracker import lifecycle
    t = Tracker.hostname(URL, shutdown_timeout=0.1)
    track(t, 20, "parent")
    lifecycle.deliver_at_exit()
    pid = os.fork()
    if pid == 0:
        signal.alarm(15)
        for tracker in (t, Tracker.hostname(URL)):
            track(tracker, 10, "child")
            assert tracker.flush(10)
        os._exit(0)
    reap(pid)
    """
    forked(script, collector)
    assert labels(collector) == {"parent": 20, "child": 20}
