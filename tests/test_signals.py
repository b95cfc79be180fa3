"""`install_signal_handlers`: a process that is told to end delivers first, then ends as it would have."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Final

import pytest
from faults import FaultyServer, black_hole
from processes import Finished, Running, run
from servers import WAIT_S

from snowplow_tracker import SnowplowTrackerError, Tracker, install_signal_handlers
from snowplow_tracker.testing import LocalCollector

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a process can catch")

BUDGET_S: Final = 1.0
GRACE_S: Final = 0.5

READY: Final = """
    from snowplow_tracker import Tracker, install_signal_handlers
    t = Tracker.hostname(URL, flush_interval=60, batch_size=1000, shutdown_timeout=1.0)
    {before}
    undo = install_signal_handlers()
    {after}
    track(t, 250)
    say(ready=True, starved_s=starved_s())
    {wait}
"""
WAIT: Final = "threading.Event().wait(20)"


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


def program(before: str = "pass", after: str = "pass", wait: str = WAIT) -> str:
    return READY.format(before=before, after=after, wait=wait)


def run_and_signal(script: str, url: str, *numbers: int) -> tuple[Finished, float]:
    """How the script ended, and how long after the first signal, without the time that other programs took from it."""
    with Running(script, url) as running:
        running.wait_until_said("ready")
        start = time.time()
        for number in numbers:
            running.process.send_signal(number)
        finished = running.wait()
    return finished, finished.ended_at - start - max(0.0, finished.starved_s - finished.fact("starved_s"))


def ids(collector: LocalCollector) -> set[str]:
    return {event["eid"] for event in collector.events}


def test_sigterm_delivers_and_the_process_is_killed_by_it(collector: LocalCollector) -> None:
    finished, seconds = run_and_signal(program(), collector.url, signal.SIGTERM)
    assert finished.status == -signal.SIGTERM
    assert len(ids(collector)) == len(collector.events) == 250
    assert seconds < 1.0
    assert finished.stderr == ""


@pytest.mark.parametrize("wait", ["while True: time.sleep(20)", "while True: sum(range(1000))", "signal.pause()"])
def test_sigterm_delivers_whatever_the_main_thread_does(wait: str, collector: LocalCollector) -> None:
    finished, _ = run_and_signal(program(wait=wait), collector.url, signal.SIGTERM)
    assert finished.status == -signal.SIGTERM
    assert len(collector.events) == 250


def test_sigterm_during_a_flush_of_the_main_thread_delivers(collector: LocalCollector) -> None:
    collector.latency(0.3)
    finished, _ = run_and_signal(program(wait="t.flush(20)\n    " + WAIT), collector.url, signal.SIGTERM)
    assert finished.status == -signal.SIGTERM
    assert len(ids(collector)) == len(collector.events) == 250


def test_sigterm_chains_to_the_python_handler_that_was_there(collector: LocalCollector) -> None:
    before = "signal.signal(signal.SIGTERM, lambda number, frame: (say(former=number), sys.exit(7)))"
    finished, _ = run_and_signal(program(before), collector.url, signal.SIGTERM)
    assert finished.status == 7
    assert finished.fact("former") == signal.SIGTERM
    assert len(ids(collector)) == len(collector.events) == 250


def test_the_program_may_go_on_after_a_handler_that_returns(collector: LocalCollector) -> None:
    before = "go_on = threading.Event(); signal.signal(signal.SIGTERM, lambda number, frame: go_on.set())"
    wait = "go_on.wait(20); track(t, 50, 'later'); result = t.flush(); say(flushed=bool(result))"
    finished, _ = run_and_signal(program(before, wait=wait), collector.url, signal.SIGTERM)
    assert finished.status == 0
    assert finished.fact("flushed")
    assert len(ids(collector)) == len(collector.events) == 300


def test_sigint_delivers_and_still_raises_keyboard_interrupt(collector: LocalCollector) -> None:
    wait = """try:
        threading.Event().wait(20)
    except KeyboardInterrupt:
        say(interrupted=True, delivered=t.stats().delivered)"""
    finished, _ = run_and_signal(program(wait=wait), collector.url, signal.SIGINT)
    assert finished.status == 0
    assert finished.fact("interrupted")
    assert finished.fact("delivered") == len(collector.events) == 250


def test_sigint_that_nobody_catches_ends_the_process_as_ever(collector: LocalCollector) -> None:
    finished, _ = run_and_signal(program(), collector.url, signal.SIGINT)
    assert finished.status == -signal.SIGINT
    assert "KeyboardInterrupt" in finished.stderr
    assert len(collector.events) == 250


def test_a_signal_that_was_ignored_stays_ignored(collector: LocalCollector) -> None:
    before = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    wait = "time.sleep(0.5); track(t, 50); t.flush(); say(alive=True)"
    finished, _ = run_and_signal(program(before, wait=wait), collector.url, signal.SIGTERM)
    assert finished.status == 0
    assert finished.fact("alive")
    assert len(ids(collector)) == len(collector.events) == 300


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_any_signal_can_be_chosen(number: int, collector: LocalCollector) -> None:
    script = program(before="undo = install_signal_handlers([signal.SIGTERM, signal.SIGHUP])").replace(
        "undo = install_signal_handlers()\n", "pass\n"
    )
    finished, _ = run_and_signal(script, collector.url, number)
    assert finished.status == -number
    assert len(collector.events) == 250


def test_sigterm_ends_within_the_budget_against_a_black_hole() -> None:
    script = program(before="logging.basicConfig(format='LOG %(message)s')")
    with FaultyServer(black_hole) as server:
        finished, seconds = run_and_signal(script, server.url, signal.SIGTERM)
    assert finished.status == -signal.SIGTERM
    assert seconds < BUDGET_S + GRACE_S
    # A line about the collector's time-out may come before it, if that strikes first.
    told = [line for line in finished.stderr.splitlines() if "shutdown" in line]
    assert told == ["LOG 250 events could not be delivered in time and are dropped (shutdown)"]


def test_five_trackers_share_one_budget_at_sigterm() -> None:
    before = "more = [Tracker.hostname(URL, shutdown_timeout=1.0) for _ in range(4)]"
    with FaultyServer(black_hole) as server:
        script = program(before, after="[track(other, 10) for other in more]")
        finished, seconds = run_and_signal(script, server.url, signal.SIGTERM)
    assert finished.status == -signal.SIGTERM
    assert seconds < BUDGET_S + GRACE_S


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_chained_handler_is_reached_within_the_budget_against_a_black_hole(number: int) -> None:
    before = f"signal.signal({int(number)}, lambda number, frame: os._exit(7))"
    with FaultyServer(black_hole) as server:
        finished, seconds = run_and_signal(program(before), server.url, number)
    assert finished.status == 7
    assert seconds < BUDGET_S + GRACE_S


def test_a_second_sigterm_during_the_delivery_does_no_harm(collector: LocalCollector) -> None:
    collector.latency(0.3)
    finished, seconds = run_and_signal(program(), collector.url, signal.SIGTERM, signal.SIGTERM, signal.SIGTERM)
    assert finished.status == -signal.SIGTERM
    assert seconds < BUDGET_S + GRACE_S
    assert len(ids(collector)) == len(collector.events) == 250


def test_undo_restores_what_was_there(collector: LocalCollector) -> None:
    script = """
        from snowplow_tracker import install_signal_handlers
        def mine(number, frame): pass
        signal.signal(signal.SIGTERM, mine)
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        undo = install_signal_handlers()
        during = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        undo()
        after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        undo()
        say(installed=not set(before) & set(during), restored=before == after)
    """
    finished = run(script, collector.url)
    assert finished.fact("installed")
    assert finished.fact("restored")


def test_undo_leaves_a_handler_alone_that_was_set_later() -> None:
    script = """
        from snowplow_tracker import install_signal_handlers
        undo = install_signal_handlers()
        later = lambda number, frame: None
        signal.signal(signal.SIGTERM, later)
        undo()
        say(kept=signal.getsignal(signal.SIGTERM) is later)
        say(restored=signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """
    finished = run(script)
    assert finished.fact("kept")
    assert finished.fact("restored")


def test_after_undo_sigterm_ends_the_process_without_delivery(collector: LocalCollector) -> None:
    finished, _ = run_and_signal(program(after="undo()"), collector.url, signal.SIGTERM)
    assert finished.status == -signal.SIGTERM
    assert collector.events == []


def test_outside_the_main_thread_it_is_refused_with_a_clear_error() -> None:
    errors: list[Exception] = []

    def install() -> None:
        try:
            install_signal_handlers()
        except SnowplowTrackerError as error:
            errors.append(error)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=install)
    thread.start()
    thread.join()
    (error,) = errors
    assert "install_signal_handlers" in str(error)
    assert "main thread" in str(error)
    assert signal.getsignal(signal.SIGTERM) is before


def test_importing_the_package_installs_no_handler() -> None:
    script = """
        before = [signal.getsignal(number) for number in signal.valid_signals()]
        import snowplow_tracker
        say(same=before == [signal.getsignal(number) for number in signal.valid_signals()])
    """
    assert run(script).fact("same")


# --- in the middle of a call -----------------------------------------------------------------------------------


def test_handlers_that_interrupt_track_lose_nothing_and_never_deadlock(collector: LocalCollector) -> None:
    script = """
        from snowplow_tracker import Tracker, install_signal_handlers
        t = Tracker.hostname(URL, buffer_capacity=1_000_000)
        taken = [0, 0]
        def mine(number, frame):
            taken[1] += bool(t.track_struct_event("test", "handler"))
        signal.signal(signal.SIGTERM, mine)
        install_signal_handlers()
        def interrupt():
            for _ in range(50):
                seen = taken[1]
                os.kill(os.getpid(), signal.SIGTERM)
                while taken[1] == seen:
                    time.sleep(0.001)
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        while interrupter.is_alive():
            taken[0] += bool(t.track_struct_event("test", "main"))
        result = t.flush(20)
        say_stats(t, taken=taken, flushed=bool(result))
    """
    finished = run(script, collector.url, timeout=90)
    main, handler = finished.fact("taken")
    assert handler == 50
    assert finished.fact("flushed")
    assert finished.fact("tracked") == finished.fact("delivered") == main + handler
    assert len(ids(collector)) == min(main + handler, len(collector.events))
    assert finished.fact("queued") == finished.fact("in_flight") == 0


AT_ANY_MOMENT: Final = """
    import faulthandler, itertools
    import snowplow_tracker.http_transport  # once, and not in each process
    from snowplow_tracker import Tracker, install_signal_handlers

    def game(moment, done):
        # A process of its own, which signals itself at its moment-th function call on the way through `track`.
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(5)
        t = Tracker.hostname(URL, shutdown_timeout={budget}, flush_interval=60)
        install_signal_handlers()
        calls = itertools.count(1)
        def profile(frame, event, argument):
            if event in ("call", "c_call") and next(calls) == moment:
                os.kill(os.getpid(), signal.SIGTERM)
        {prepare}
        sys.setprofile(profile)
        {act}
        sys.setprofile(None)
        os.write(done, b"x")  # the moment never came
        os._exit(0)

    endings = []
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    for moment in itertools.count(1):
        pid = os.fork()
        if pid == 0:
            game(moment, writer)
        endings.append(os.waitpid(pid, 0)[1])
        if os.WIFSIGNALED(endings[-1]) and os.WTERMSIG(endings[-1]) == signal.SIGALRM:
            break
        try:
            os.read(reader, 1)
        except BlockingIOError:
            continue
        break
    say(moments=moment - 1, killed=sum(os.WIFSIGNALED(e) and os.WTERMSIG(e) == signal.SIGTERM for e in endings),
        hung=[n for n, e in enumerate(endings, 1) if os.WIFSIGNALED(e) and os.WTERMSIG(e) == signal.SIGALRM])
"""


def at_any_moment(prepare: str, act: str, budget: float) -> str:
    script = AT_ANY_MOMENT.replace("{prepare}", prepare).replace("{act}", act)
    return script.replace("{budget}", str(budget))


@pytest.mark.parametrize("queued_before", [0, 1])
def test_sigterm_at_any_moment_of_track_delivers_what_was_tracked_before(
    queued_before: int, collector: LocalCollector
) -> None:
    script = at_any_moment(f"track(t, {queued_before}, 'before')", "t.track_struct_event('test', 'track')", 0.5)
    finished = run(script, collector.url, timeout=90)
    moments = finished.fact("moments")
    assert finished.fact("hung") == [], finished.stderr
    assert moments > 10
    assert finished.fact("killed") == moments
    before = [event for event in collector.events if event.get("se_la") == "before"]
    assert len(before) >= moments * queued_before
    assert len(ids(collector)) == len(collector.events)


@pytest.mark.parametrize("ending", ["t.close()", "t.flush()"])
def test_sigterm_at_any_moment_of_close_and_flush_delivers_and_never_hangs(
    ending: str, collector: LocalCollector
) -> None:
    finished = run(at_any_moment("track(t, 3, 'before')", ending, 2.0), collector.url, timeout=90)
    moments = finished.fact("moments")
    assert finished.fact("hung") == [], finished.stderr
    assert finished.fact("killed") == moments > 10
    assert len(ids(collector)) == len(collector.events)
    assert len(collector.events) >= 3 * moments


def test_sigterm_at_any_moment_of_a_close_that_gives_up_never_hangs() -> None:
    with FaultyServer(black_hole) as server:
        finished = run(at_any_moment("track(t, 3)", "t.close(0)", 0.02), server.url, timeout=90)
    assert finished.fact("hung") == [], finished.stderr
    assert finished.fact("killed") == finished.fact("moments") > 10


def test_keyboard_interrupt_at_any_moment_of_track_leaves_a_tracker_that_works(collector: LocalCollector) -> None:
    # A player presses Ctrl-C, and the game catches it: what was being tracked may be lost, and nothing else.
    script = """
        import itertools
        from snowplow_tracker import Tracker

        Tracker.hostname(URL).track_struct_event("test", "track")

        def case(moment):
            t = Tracker.hostname(URL, flush_interval=60, shutdown_timeout=0.2)
            track(t, 2, "before")
            calls = itertools.count(1)
            def profile(frame, event, argument):
                # Where CPython looks for signals: on the way into a function, and after a call of C code.
                if event in ("call", "c_return") and next(calls) == moment:
                    sys.setprofile(None)
                    os.kill(os.getpid(), signal.SIGINT)
            came = False
            try:
                sys.setprofile(profile)
                t.track_struct_event("test", "track", "interrupted")
                sys.setprofile(None)
            except KeyboardInterrupt:
                came = True
            track(t, 1, "after")
            if not t.flush(1):
                stuck.append(moment)
            stats = t.stats()
            if stats.tracked != stats.delivered + stats.queued + stats.in_flight + sum(stats.dropped.values()):
                wrong.append(moment)
            t.close()
            return came

        stuck, wrong = [], []
        for moment in itertools.count(1):
            if not case(moment):
                break
        say(stuck=stuck, wrong=wrong, moments=moment)
    """
    finished = run(script, collector.url, timeout=60)
    assert finished.fact("moments") > 10
    assert finished.fact("wrong") == []
    assert finished.fact("stuck") == []
    for label in ("before", "after"):
        found = [event for event in collector.events if event.get("se_la") == label]
        assert len(found) == finished.fact("moments") * {"before": 2, "after": 1}[label]


def test_sigterm_while_another_thread_tracks_delivers_what_came_before(collector: LocalCollector) -> None:
    after = """def game():
        while True:
            t.track_struct_event("test", "daemon")
            time.sleep(0.001)
    threading.Thread(target=game, daemon=True).start()"""
    finished, seconds = run_and_signal(program(after=after), collector.url, signal.SIGTERM)
    assert finished.status == -signal.SIGTERM
    assert len([event for event in collector.events if event["se_ac"] == "track"]) == 250
    assert seconds < BUDGET_S


def test_forked_children_of_a_program_with_handlers_deliver_their_own(collector: LocalCollector) -> None:
    wait = """pid = os.fork()
    if pid == 0:
        track(t, 10, "child")
        say(child=os.getpid())
        threading.Event().wait(20)
    _, status = os.waitpid(pid, 0)
    say(child_status=status)"""
    with Running(program(wait=wait), collector.url) as running:
        (child,) = running.wait_until_said("child")
        os.kill(child, signal.SIGTERM)
        finished = running.wait()
    assert finished.fact("child_status") == signal.SIGTERM
    assert len([event for event in collector.events if event["se_la"] == "child"]) == 10
    assert len(ids(collector)) == len(collector.events) == 260


def test_handlers_that_raise_inside_track_do_not_leave_the_emitter_thread_asleep(collector: LocalCollector) -> None:
    """As Ctrl-C does at a prompt, or the alarm by which a job queue ends a job that takes too long."""
    finished = run(
        """
        import random
        from snowplow_tracker import Tracker

        def interrupt(*_):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        t = Tracker.hostname(URL, flush_interval=0)
        track(t, 1)

        def is_idle(patience_s=10):
            until = time.monotonic() + patience_s
            while t.stats().queued and time.monotonic() < until:
                time.sleep(0.001)
            return not t.stats().queued

        interrupted, until = 0, time.monotonic() + 1.5
        while is_idle() and time.monotonic() < until:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00002, 0.00015))
                while True:
                    track(t, 1)
                    time.sleep(0.0003)
            except KeyboardInterrupt:
                interrupted += 1
            track(t, 1)
        say(interrupted=interrupted, idle=is_idle())
        """,
        collector.url,
        timeout=60,
    )
    assert finished.fact("interrupted") > 5
    assert finished.fact("idle")


def test_a_start_of_the_emitter_thread_that_was_interrupted_is_made_up_for(
    collector: LocalCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    t = Tracker.hostname(collector.url, flush_interval=0)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        t.track_struct_event("a", "b")
    t.track_struct_event("a", "b")
    collector.wait_for(2, WAIT_S)
    t.close()


def test_ctrl_c_cuts_the_delivery_at_sigterm_short_and_not_the_end() -> None:
    script = """
        import snowplow_tracker
        snowplow_tracker.install_signal_handlers([signal.SIGTERM])
        t = snowplow_tracker.Tracker.hostname(URL, flush_interval=0, shutdown_timeout=60)
        track(t, 10)
        ctrl_c_when(lambda: t.emitters[0]._delivery._exited)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(30)
        finally:
            say(survived=True)
    """
    with FaultyServer(black_hole) as server:
        finished = run(script, server.url, status=-signal.SIGTERM)
    assert finished.facts("survived") == []


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to be the first process of a namespace")
def test_the_first_process_of_a_container_ends_by_sigterm_too(collector: LocalCollector) -> None:
    """The system spares process 1 what a signal does by default."""
    script = """
        import snowplow_tracker, os, signal, sys
        t = snowplow_tracker.Tracker.hostname(sys.argv[1], flush_interval=60)
        snowplow_tracker.install_signal_handlers()
        t.track_struct_event("a", "b")
        assert os.getpid() == 1
        os.kill(1, signal.SIGTERM)
    """
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", textwrap.dedent(script), collector.url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if "unshare" in ended.stderr:
        pytest.skip(f"this machine lets nobody do that: {ended.stderr.strip()}")
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGTERM, "")
    assert len(collector.events) == 1
