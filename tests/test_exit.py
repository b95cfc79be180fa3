"""A script that ends without a flush: what it tracked arrives, or is counted, and it ends in time."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest
from faults import (
    EXPIRED_PEM,
    FaultyServer,
    answering,
    black_hole,
    one_byte_a_second,
    refused_port,
    stall_in_the_handshake,
    stall_on_connect,
    status,
    trickle,
)
from processes import Finished, run

from snowplow_tracker.testing import LocalCollector

EXIT_S: Final = 1.0
BUDGET_S: Final = 1.0
GRACE_S: Final = 0.5

ENDINGS: Final = {
    "in main": """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        track(t, 250)
        last_words()
    """,
    "by GET": """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL, method="get")
        track(t, 250)
        last_words()
    """,
    "in a thread": """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        thread = threading.Thread(target=track, args=(t, 250))
        thread.start()
        thread.join()
        last_words()
    """,
    "in a function whose tracker is dropped": """
        from snowplow_tracker import Tracker
        def game():
            track(Tracker.hostname(URL), 250)
        game()
        last_words()
    """,
    "in an atexit handler registered before the import": """
        @atexit.register
        def goodbye():
            track(t, 125)
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        track(t, 125)
        last_words()
    """,
    "in an atexit handler registered after the import": """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        @atexit.register
        def goodbye():
            track(t, 125)
        track(t, 125)
        last_words()
    """,
    "all in an atexit handler registered before the import": """
        @atexit.register
        def goodbye():
            track(t, 250)
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        last_words()
    """,
    "all in an atexit handler registered after the import": """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        @atexit.register
        def goodbye():
            track(t, 250)
        last_words()
    """,
    "with a tracker made in an atexit handler registered before the import": """
        @atexit.register
        def goodbye():
            track(Tracker.hostname(URL), 250)
        from snowplow_tracker import Tracker
        last_words()
    """,
    "with a tracker made in an atexit handler registered after the import": """
        from snowplow_tracker import Tracker
        @atexit.register
        def goodbye():
            track(Tracker.hostname(URL), 250)
        last_words()
    """,
    "before sys.exit in an atexit handler": """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        @atexit.register
        def goodbye():
            track(t, 125)
            sys.exit(0)
        track(t, 125)
        last_words()
    """,
    "before sys.exit in an atexit handler that runs after ours": """
        @atexit.register
        def goodbye():
            track(t, 125)
            sys.exit(0)
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        track(t, 125)
        last_words()
    """,
    "before sys.exit": """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        track(t, 250)
        last_words()
        sys.exit()
    """,
    "with five trackers": """
        from snowplow_tracker import Tracker
        trackers = [Tracker.hostname(URL) for _ in range(5)]
        for t in trackers:
            track(t, 50)
        last_words()
    """,
    "after a flush and a pause": """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        track(t, 125)
        t.flush()
        track(t, 125)
        last_words()
    """,
    "with an emitter that waits a minute for company": """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL, flush_interval=60, batch_size=1000)
        track(t, 250)
        last_words()
    """,
}


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


def assert_each_once(events: list[dict[str, Any]], count: int) -> None:
    assert len(events) == count
    assert len({event["eid"] for event in events}) == count


def run_and_exit_in_time(script: str, collector: LocalCollector, status: int = 0, answer: int = 200) -> Finished:
    """Run a script that has to be gone within `EXIT_S`; its first request gets *answer*.

    How long an exit takes is the machine's doing as well as ours, and a busy one gets four more attempts: what hangs,
    waits for a time-out or works too much does so every time.
    """
    for _ in range(5):
        collector.reset()
        if answer != 200:
            collector.fail(answer, times=1)
        finished = run(script, collector.url, status=status)
        if finished.exit_seconds < EXIT_S:
            break
    assert finished.exit_seconds < EXIT_S
    return finished


@pytest.mark.parametrize("ending", ENDINGS)
def test_everything_tracked_is_delivered_when_a_script_ends_without_a_flush(
    ending: str, collector: LocalCollector
) -> None:
    finished = run_and_exit_in_time(ENDINGS[ending], collector)
    assert_each_once(collector.events, 250)
    # Python itself reports an exception in an atexit handler; nothing else is to be seen.
    assert finished.stderr == "" or ("sys.exit(0)" in ENDINGS[ending] and finished.stderr.count("Traceback") == 1)


def test_events_are_delivered_after_an_uncaught_exception(collector: LocalCollector) -> None:
    script = """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        track(t, 250)
        last_words()
        raise KeyError("a bug in the game")
    """
    finished = run_and_exit_in_time(script, collector, status=1)
    assert_each_once(collector.events, 250)
    assert "a bug in the game" in finished.stderr


def test_an_event_tracked_in_the_excepthook_is_delivered(collector: LocalCollector) -> None:
    script = """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        sys.excepthook = lambda *error: track(t, 250)
        last_words()
        raise KeyError("a bug in the game")
    """
    run_and_exit_in_time(script, collector, status=1)
    assert_each_once(collector.events, 250)


def test_the_exit_status_is_the_scripts_own(collector: LocalCollector) -> None:
    script = """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        track(t, 10)
        sys.exit(42)
    """
    run(script, collector.url, status=42)
    assert_each_once(collector.events, 10)


@pytest.mark.parametrize("first", ["in main", "in the thread"])
def test_a_thread_that_goes_on_after_main_loses_nothing(first: str, collector: LocalCollector) -> None:
    # On Python 3.12 and newer no thread can be started once main has ended, so the second case is drained at exit.
    script = f"""
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        main_has_ended = threading.Event()
        def game():
            threading.main_thread().join()
            for _ in range(250):
                assert t.track_page_view("https://example.com")
                time.sleep(0.001)
            last_words()
        threading.Thread(target=game).start()
        if {first == "in main"}:
            t.track_page_view("https://example.com/first")
    """
    finished = run_and_exit_in_time(script, collector)
    assert_each_once(collector.events, 251 if first == "in main" else 250)
    assert finished.stderr == ""


STILL_TRACKING: Final = """
    receipts, running = [0, 0, 0, 0], [True]

    @atexit.register
    def at_the_very_end():
        running[0] = False
        for thread in threads:
            thread.join(10)
        say_stats(t, receipts=sum(receipts), took=time.time() - exit_began[0])

    from snowplow_tracker import Tracker

    exit_began = [0.0]
    t = Tracker.hostname(URL, shutdown_timeout=1.0)
    begun = threading.Event()

    def game(number):
        while running[0]:
            receipts[number] += bool(t.track_struct_event("test", "daemon"))
            begun.set()
            time.sleep(0.001)

    threads = [threading.Thread(target=game, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    begun.wait(10)
    track(t, 250, "main")
    exit_began[0] = time.time()
    last_words()
"""


def test_daemon_threads_that_still_track_do_not_hold_up_the_exit(collector: LocalCollector) -> None:
    run_and_exit_in_time(STILL_TRACKING, collector)
    assert_each_once([event for event in collector.events if event.get("se_la") == "main"], 250)


def test_receipts_of_daemon_threads_during_exit_mean_delivered_or_counted(collector: LocalCollector) -> None:
    finished = run(STILL_TRACKING, collector.url)
    delivered, dropped = finished.fact("delivered"), finished.fact("dropped")["shutdown"]
    assert finished.fact("tracked") == delivered + sum(finished.fact("dropped").values())
    assert finished.fact("receipts") + 250 <= delivered + dropped
    assert_each_once(collector.events, delivered)


def test_daemon_threads_get_false_receipts_once_the_budget_is_spent() -> None:
    with FaultyServer(black_hole) as server:
        finished = run(STILL_TRACKING, server.url)
    dropped = finished.fact("dropped")["shutdown"]
    assert finished.fact("delivered") == 0
    assert finished.fact("tracked") == dropped
    assert finished.fact("receipts") + 250 <= dropped
    assert finished.exit_seconds < BUDGET_S + GRACE_S


# --- one budget ------------------------------------------------------------------------------------------------

LOSING: Final = """
    @atexit.register
    def at_the_very_end():
        say_stats(t)

    logging.basicConfig(format="LOG %(levelname)s %(message)s")
    from snowplow_tracker import Tracker

    t = Tracker.hostname(URL, shutdown_timeout=1.0)
    track(t, 400)
    last_words()
"""
STALLED_RESOLUTION: Final = """
    import socket
    socket.getaddrinfo = lambda *arguments, **options: threading.Event().wait()
"""
FIRST_EVENT_AT_EXIT: Final = """
    @atexit.register
    def at_the_very_end():
        say_stats(t)

    logging.basicConfig(format="LOG %(levelname)s %(message)s")
    from snowplow_tracker import Tracker

    t = Tracker.hostname(URL, shutdown_timeout=1.0)

    @atexit.register
    def goodbye():
        track(t, 400)

    last_words()
"""


def given_up(finished: Finished) -> list[int]:
    """The counts in the log lines about what could not be delivered."""
    return [int(count) for count in re.findall(r"LOG WARNING (\d+) events could not be delivered", finished.stderr)]


@contextlib.contextmanager
def unreachable(how: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    """A collector that can't be delivered to, as its URL and what to set in the environment."""
    with contextlib.ExitStack() as stack:
        env: dict[str, str | None] = {}
        if how == "refused port":
            url = stack.enter_context(refused_port())
        elif how in ("a name that does not resolve", "a name whose resolution stalls"):
            url = "https://collector.something.invalid"
        elif how == "stalled proxy":
            url = "https://collector.example.com"
            env["HTTPS_PROXY"] = stack.enter_context(FaultyServer(stall_on_connect)).url
        elif how == "expired certificate":
            server = stack.enter_context(FaultyServer(answering(status(200)), EXPIRED_PEM))
            url, env["REQUESTS_CA_BUNDLE"] = server.url, str(EXPIRED_PEM)
        else:
            behave = {
                "black hole": black_hole,
                "one byte a second": one_byte_a_second,
                "twenty bytes a second": trickle,
                "stalled TLS handshake": black_hole,
                "TLS handshake that stalls half-way": stall_in_the_handshake,
                "503": answering(status(503)),
                "Retry-After of a minute": answering(status(503, "Retry-After: 60")),
            }[how]
            url = stack.enter_context(FaultyServer(behave)).url
            if "TLS" in how:
                url = url.replace("http:", "https:")
        yield url, env


UNREACHABLE: Final = (
    "refused port",
    "black hole",
    "one byte a second",
    "twenty bytes a second",
    "a name that does not resolve",
    "a name whose resolution stalls",
    "stalled TLS handshake",
    "TLS handshake that stalls half-way",
    "stalled proxy",
    "expired certificate",
    "503",
    "Retry-After of a minute",
)


def assert_given_up_in_time(finished: Finished, events: int = 400) -> None:
    assert finished.exit_seconds < BUDGET_S + GRACE_S
    assert finished.fact("dropped")["shutdown"] == events
    assert finished.fact("delivered") == finished.fact("queued") == finished.fact("in_flight") == 0
    assert given_up(finished) == [events]


@pytest.mark.parametrize("how", UNREACHABLE)
def test_exit_ends_within_its_budget_and_counts_what_is_lost(how: str) -> None:
    setup = STALLED_RESOLUTION if "resolution stalls" in how else ""
    with unreachable(how) as (url, env):
        finished = run(setup + LOSING, url, env=env)
    assert_given_up_in_time(finished)


@pytest.mark.parametrize("how", UNREACHABLE)
def test_exit_ends_within_its_budget_when_the_first_event_comes_in_an_atexit_handler(how: str) -> None:
    if "resolution stalls" in how and (3, 12, 0) <= sys.version_info[:3] <= (3, 12, 1):
        pytest.skip(
            "Python 3.12.0 and 3.12.1 start no thread at exit, and nobody can stop a thread that asks a resolver"
        )
    # On Python 3.12.0 and 3.12.1 no thread can be started then, so the main thread itself meets the fault.
    setup = STALLED_RESOLUTION if "resolution stalls" in how else ""
    with unreachable(how) as (url, env):
        finished = run(setup + FIRST_EVENT_AT_EXIT, url, env=env)
    assert_given_up_in_time(finished)


def test_exit_ends_within_its_budget_when_an_attempt_already_waits_for_a_minute() -> None:
    script = LOSING.replace("last_words()", "t.flush(0.2)\n    last_words()")
    with unreachable("Retry-After of a minute") as (url, _):
        finished = run(script, url)
    assert_given_up_in_time(finished)


def test_exit_ends_within_its_budget_in_the_middle_of_a_request_that_hangs() -> None:
    script = LOSING.replace("last_words()", "t.flush(0.2)\n    last_words()")
    with unreachable("black hole") as (url, _):
        finished = run(script, url)
    assert_given_up_in_time(finished)


@pytest.mark.parametrize("how", ["black hole", "refused port"])
def test_five_trackers_share_one_budget(how: str) -> None:
    script = """
        @atexit.register
        def at_the_very_end():
            say(dropped=[t.stats().dropped["shutdown"] for t in trackers])

        logging.basicConfig(format="LOG %(levelname)s %(message)s")
        from snowplow_tracker import Tracker

        trackers = [Tracker.hostname(URL, shutdown_timeout=1.0) for _ in range(5)]
        for t in trackers:
            track(t, 400)
        last_words()
    """
    with unreachable(how) as (url, _):
        finished = run(script, url)
    assert finished.exit_seconds < BUDGET_S + GRACE_S
    assert finished.fact("dropped") == [400] * 5
    assert given_up(finished) == [2000]


def test_five_emitters_of_one_tracker_share_one_budget() -> None:
    script = """
        logging.basicConfig(format="LOG %(levelname)s %(message)s")
        from snowplow_tracker import Emitter, Tracker
        t = Tracker("game", [Emitter(URL, shutdown_timeout=1.0) for _ in range(5)])
        track(t, 400)
        last_words()
    """
    with unreachable("black hole") as (url, _):
        finished = run(script, url)
    assert finished.exit_seconds < BUDGET_S + GRACE_S
    assert given_up(finished) == [2000]


def test_a_collector_that_is_back_within_the_budget_gets_everything(collector: LocalCollector) -> None:
    collector.fail(503, times=2)
    finished = run(LOSING.replace("shutdown_timeout=1.0", "shutdown_timeout=5.0"), collector.url)
    assert_each_once(collector.events, 400)
    assert finished.fact("delivered") == 400
    assert given_up(finished) == []


def test_a_budget_of_zero_ends_at_once() -> None:
    with unreachable("black hole") as (url, _):
        finished = run(LOSING.replace("shutdown_timeout=1.0", "shutdown_timeout=0"), url)
    assert finished.exit_seconds < GRACE_S
    assert finished.fact("dropped")["shutdown"] == 400


def test_on_failure_gets_what_exit_gave_up() -> None:
    script = """
        from snowplow_tracker import Tracker
        lost = []
        t = Tracker.hostname(URL, shutdown_timeout=0.2, on_failure=lambda sent, events: lost.extend(events))
        import snowplow_tracker
        track(t, 400)
        t.close()
        say(sent=len(lost), ids=len({event["eid"] for event in lost}))
    """
    with unreachable("black hole") as (url, _):
        finished = run(script, url)
    assert finished.fact("sent") == finished.fact("ids") == 400


def test_after_close_there_is_nothing_left_to_do_at_exit(collector: LocalCollector) -> None:
    script = """
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL, batch_size=1000, flush_interval=60)
        track(t, 250)
        result = t.close()
        say(delivered=result.delivered, threads=[thread.name for thread in threading.enumerate()])
        last_words()
    """
    finished = run_and_exit_in_time(script, collector)
    assert finished.fact("delivered") == 250
    assert finished.fact("threads") == ["MainThread"]


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="needs fork")
def test_what_a_process_tracks_just_before_exec_is_lost_only_without_a_flush(collector: LocalCollector) -> None:
    script = f"""
        from snowplow_tracker import Tracker
        t = Tracker.hostname(URL)
        track(t, 250)
        t.flush()
        os.execv({sys.executable!r}, [{sys.executable!r}, "-c", "pass"])
    """
    run(script, collector.url)
    assert_each_once(collector.events, 250)


STOPPED_WITH_THE_LOCK: Final = """
    stopped, late = threading.Event(), threading.Event()

    # Python stops daemon threads wherever they are; here, where the emitter thread holds its lock. In a namespace of
    # its own: what a stopped thread refers to is never taken apart, and that must not be this whole script.
    profiler = {"stopped": stopped, "late": late, "forever": threading.Event()}
    exec(
        "def profile(frame, event, argument):\\n"
        "    if late.is_set() and event == 'call' and frame.f_code.co_name == '_patience_s':\\n"
        "        stopped.set()\\n"
        "        forever.wait()\\n",
        profiler,
    )
    threading.setprofile(profiler["profile"])

    @atexit.register  # before the import, so it runs after the package's own hook
    def goodbye():
        late.set()
        t.emitters[0].hurry()
        assert stopped.wait(10)

    from snowplow_tracker import Tracker

    class LastWill:
        def __init__(self, tracker, write=os.write, dumps=json.dumps):
            self.tracker, self.write, self.dumps = tracker, write, dumps

        def __del__(self):
            receipt = self.tracker.track_struct_event("test", "last")
            self.tracker.flush(), self.tracker.close()
            stats = self.tracker.stats()
            said = {"taken": bool(receipt), "delivered": stats.delivered, "dropped": stats.dropped["shutdown"]}
            self.write(1, (self.dumps(said) + "\\n").encode())

    t = Tracker.hostname(URL)
    track(t, 250)
    last_will = LastWill(t)
    last_words()
"""


@pytest.mark.parametrize("will", ["a last will", "none"])
def test_a_thread_that_was_stopped_with_the_lock_in_hand_does_not_hold_up_the_end(
    will: str, collector: LocalCollector
) -> None:
    script = STOPPED_WITH_THE_LOCK if will == "a last will" else STOPPED_WITH_THE_LOCK.replace("LastWill(t)", "None")
    finished = run(script, collector.url)
    assert_each_once(collector.events, 250)
    if will == "a last will":
        assert not finished.fact("taken")
        assert (finished.fact("delivered"), finished.fact("dropped")) == (250, 1)


# --- callbacks and interruptions at the end ----------------------------------------------------------------------

TRACKING_WHILE_IT_ENDS: Final = """
        from snowplow_tracker import Tracker
        followed = []
        def follow_up(*arguments):
            if not followed:
                followed.append(t.track_struct_event("test", "follow up"))
        class Following(logging.Handler):
            def emit(self, record):
                follow_up()
        {where}
        t = Tracker.hostname(URL, flush_interval=60{option})
        track(t, 99)
        last_words()
"""


@pytest.mark.parametrize(
    ("where", "option", "answer", "collected"),
    [
        ("", ", on_success=follow_up", 200, 100),
        ("", ", on_failure=follow_up", 400, 1),
        ('logging.getLogger("snowplow_tracker").addHandler(Following())', "", 503, 100),
    ],
    ids=["on_success", "on_failure", "a logging handler"],
)
def test_an_event_that_the_emitter_thread_tracks_while_the_process_ends_is_delivered_with_the_rest(
    where: str, option: str, answer: int, collected: int, collector: LocalCollector
) -> None:
    script = TRACKING_WHILE_IT_ENDS.format(where=where, option=option)
    run_and_exit_in_time(script, collector, answer=answer)
    actions = [event["se_ac"] for event in collector.events]
    assert (len(actions), actions.count("follow up")) == (collected, 1)


def test_ctrl_c_while_the_exit_hook_waits_ends_the_wait_and_tells_what_was_lost() -> None:
    script = """
        from snowplow_tracker import Tracker
        logging.basicConfig()
        trackers = [Tracker.hostname(URL, flush_interval=0, shutdown_timeout=60) for _ in range(2)]
        for t in trackers:
            track(t, 300)
        ctrl_c_when(lambda: trackers[0].emitters[0]._delivery._exited)
    """
    with FaultyServer(black_hole) as server:
        finished = run(script, server.url)
    assert "KeyboardInterrupt" in finished.stderr
    assert "600 events could not be delivered in time and are dropped (shutdown)" in finished.stderr
