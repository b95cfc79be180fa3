"""A good guest in the host's process: nothing starts on import, logs are few and discreet, the environment counts."""

from __future__ import annotations

import base64
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from faults import (
    ANOTHER_NAME,
    EXPIRED_PEM,
    OK,
    VALID_PEM,
    FaultyServer,
    answering,
    answering_once,
    needs_another_name,
    refused_port,
    status,
)
from processes import run, wait_until
from servers import WAIT_S, HeldTransport, at_first, event_ids, forward_proxy, track

from snowplow_tracker import Emitter, SelfDescribingJson, Tracker
from snowplow_tracker.telling import Teller
from snowplow_tracker.testing import LocalCollector
from snowplow_tracker.transport import Result

SECRET = "k3ks-in-the-event"


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


def ours(caplog: pytest.LogCaptureFixture, least: int = logging.DEBUG) -> list[logging.LogRecord]:
    return [r for r in caplog.records if r.name.startswith("snowplow_tracker") and r.levelno >= least]


# --- import ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["snowplow_tracker", "snowplowtracker.tracker"])
def test_importing_starts_no_thread_opens_no_file_and_leaves_logging_alone(module: str) -> None:
    finished = run(
        f"""
        import socket, warnings

        sys.dont_write_bytecode = True  # the first import of all would write some, which is Python's doing
        opened = []
        def watch(event, arguments):
            if event.startswith("socket.") and event not in ("socket.__new__",):
                opened.append(event)
            if event == "open" and arguments[1] and any(letter in str(arguments[1]) for letter in "wax+"):
                opened.append([event, str(arguments[0])])
            if event in ("os.fork", "subprocess.Popen", "os.putenv", "signal.signal"):
                opened.append(event)

        def handlers():
            return [[name, [type(h).__name__ for h in logger.handlers], logger.level, logger.propagate]
                    for name, logger in sorted(logging.root.manager.loggerDict.items())
                    if name.startswith("snowplow") and isinstance(logger, logging.Logger)]

        import requests, orjson, attrs, tenacity  # what these do is not ours
        files = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
        root, handlers_of_signals = list(logging.root.handlers), [signal.getsignal(s) for s in (2, 15)]
        level, filters, excepthook = logging.root.level, list(warnings.filters), sys.excepthook
        sys.addaudithook(watch)
        import {module}
        seen = list(opened)
        say(
            threads=threading.active_count(),
            seen=seen,
            files=sorted((set(os.listdir("/proc/self/fd")) if files else set()) - files),
            handlers=handlers(),
            root_untouched=root == logging.root.handlers and level == logging.root.level,
            signals_untouched=handlers_of_signals == [signal.getsignal(s) for s in (2, 15)],
            hooks_untouched=excepthook is sys.excepthook and filters == list(warnings.filters),
        )
        """
    )
    assert finished.fact("threads") == 1
    assert finished.fact("seen") == []
    assert finished.fact("files") == []
    assert [entry for entry in finished.fact("handlers") if entry[0] == "snowplow_tracker"] == [
        ["snowplow_tracker", ["NullHandler"], logging.NOTSET, True]
    ]
    assert all(entry[1:] == [[], logging.NOTSET, True] for entry in finished.fact("handlers")[1:])
    assert finished.fact("root_untouched")
    assert finished.fact("signals_untouched")
    assert finished.fact("hooks_untouched")
    assert finished.stderr == ""


def test_making_a_tracker_starts_no_thread_and_opens_no_socket() -> None:
    finished = run(
        """
        from snowplow_tracker import Tracker
        files = set(os.listdir("/proc/self/fd"))
        trackers = [Tracker.hostname("collector.invalid"), Tracker.cloudfront("d3rkrsqld9gmqf")]
        say(threads=threading.active_count(), files=sorted(set(os.listdir("/proc/self/fd")) - files))
        """
    )
    assert (finished.fact("threads"), finished.fact("files")) == (1, [])


def test_a_program_that_configures_no_logging_sees_none() -> None:
    with refused_port() as url:
        finished = run(
            """
            from snowplow_tracker import Tracker
            t = Tracker.hostname(URL, shutdown_timeout=0.2)
            track(t, 3)
            t.flush(0.2)
            say(retries=t.stats().requests)
            """,
            url,
        )
    # Python's own handler of last resort prints warnings where nobody has configured anything; ours has a NullHandler.
    assert finished.stderr == ""


def test_a_game_that_has_seeded_random_gets_its_numbers_through_an_outage(collector: LocalCollector) -> None:
    collector.fail(503, times=3)
    finished = run(
        """
        import random, tempfile
        random.seed("the same dungeon")
        before = random.getstate()
        from snowplow_tracker import SQLiteEventStore, Tracker
        with tempfile.TemporaryDirectory() as folder:
            store = SQLiteEventStore(os.path.join(folder, "outbox.db"), write_through=False)
            for options in ({"event_store": store}, {}):
                t = Tracker.hostname(URL, flush_interval=0, max_retry_delay_seconds=0.1, **options)
                track(t, 10)
                while not t.stats().delivered == 10:
                    time.sleep(0.01)
                t.close()
        say(untouched=random.getstate() == before)
        """,
        collector.url,
    )
    assert len(collector.requests) > 2
    assert finished.fact("untouched")


# --- logs ------------------------------------------------------------------------------------------------------


def test_an_outage_is_one_warning_and_one_line_when_it_is_over(
    collector: LocalCollector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    collector.fail(503)
    with Tracker.hostname(collector.url, flush_interval=0, max_retry_delay_seconds=0.1) as t:
        track(t, 5)
        wait_until(lambda: t.stats().retries >= 3, WAIT_S)
        (lost,) = ours(caplog)
        track(t, 5)
        collector.recover()
        collector.wait_for(10, WAIT_S)
        assert t.flush()
    _, back = ours(caplog)
    assert lost.levelno == logging.WARNING
    assert lost.getMessage() == f"collector {collector.url} is lost: it answers 503; events wait and are retried"
    assert back.levelno == logging.INFO
    assert re.fullmatch(
        rf"collector {re.escape(collector.url)} is back after \d+\.\d s; (\d+) events waited", back.getMessage()
    )
    assert back.getMessage().endswith("; 10 events waited")


def test_every_outage_has_its_own_two_lines(collector: LocalCollector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    with Tracker.hostname(collector.url, flush_interval=0, max_retry_delay_seconds=0) as t:
        for _ in range(3):
            collector.fail(500, times=4)
            track(t, 1)
            assert t.flush(WAIT_S)
    words = [re.findall("lost|back", record.getMessage())[0] for record in ours(caplog)]
    assert words == ["lost", "back"] * 3


def test_several_threads_warn_of_one_outage_once(collector: LocalCollector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    collector.fail(503)
    with Tracker.hostname(collector.url, method="get", threads=4, flush_interval=0, max_retry_delay_seconds=0.1) as t:
        track(t, 12)
        wait_until(lambda: t.stats().retries >= 12, WAIT_S)
        assert len(ours(caplog)) == 1
        collector.recover()
        assert t.flush(WAIT_S)
    assert [record.levelname for record in ours(caplog)] == ["WARNING", "INFO"]


def test_an_answer_to_what_was_sent_before_the_collector_was_back_is_no_new_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    teller, began = Teller("http://collector"), time.monotonic()
    for status_code in (503, 200, 503):
        teller.attempted(Result(status_code), began=began, lost=status_code == 503, waiting=1)
    assert [record.levelname for record in ours(caplog)] == ["WARNING", "INFO"]
    teller.attempted(Result(503), began=time.monotonic(), lost=True, waiting=1)
    assert [record.levelname for record in ours(caplog)] == ["WARNING", "INFO", "WARNING"]


def test_nothing_is_logged_while_all_is_well(collector: LocalCollector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    with Tracker.hostname(collector.url, batch_size=10) as t:
        track(t, 500)
        assert t.flush(WAIT_S)
    assert ours(caplog) == []


def test_what_could_not_be_delivered_at_close_is_one_line_with_the_count(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "snowplow_tracker")
    transport = HeldTransport()
    t = Tracker("ns", Emitter(transport=transport, batch_size=5, flush_interval=0))
    track(t, 23)
    transport.wait_for_request()
    t.close(0.05)
    t.close(0.05)
    transport.answer_all()
    assert [record.getMessage() for record in ours(caplog)] == [
        "23 events could not be delivered in time and are dropped (shutdown)"
    ]


def track_secrets(t: Tracker) -> None:
    uri = "iglu:com.acme/save_game/jsonschema/1-0-0"
    t.set_user_id(SECRET)
    t.track_page_view(f"http://e.com/{SECRET}", SECRET)
    t.track_struct_event(SECRET, SECRET, SECRET)
    t.track_self_describing_event(SelfDescribingJson(uri, {SECRET: SECRET}))


def mentions_secret(record: logging.LogRecord) -> bool:
    text = logging.Formatter().format(record) + repr(record.args)
    encoded = [base64.b64encode(b"xx"[:shift] + SECRET.encode())[4:-4].decode() for shift in range(3)]
    return any(needle in text for needle in (SECRET, "/i?", *encoded))


TROUBLES: dict[str, Any] = {
    "503": answering(status(503)),
    "400": answering(status(400)),
    "413": answering(status(413)),
    "302": answering(status(302, f"Location: http://user:{SECRET}@b.com/{SECRET}?q={SECRET}")),
    "garbage": answering_once(b"\x00" * 100),
    "nothing": lambda connection: connection.read_request() and None,
    "echo": lambda connection: connection.send(connection.read_request() or b""),
    "headers that are none": answering_once(b"HTTP/1.1 503 No\r\nno colon here\r\n: x\r\n\r\n"),
}


@pytest.mark.parametrize("method", ["post", "get"])
@pytest.mark.parametrize("trouble", [*TROUBLES, "refused", "black hole", "no name"])
def test_no_record_holds_an_event(trouble: str, method: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not ours at any level; not those of the libraries below either, unless somebody asks them for their DEBUG."""
    caplog.set_level(logging.DEBUG)

    def bad_callback(*arguments: Any) -> None:
        raise ValueError(f"{SECRET} {arguments}")

    def send_to(url: str) -> None:
        t = Tracker.hostname(
            url, method=method, batch_size=1, flush_interval=0, max_retry_delay_seconds=0, request_timeout=0.2,
            on_failure=bad_callback, on_success=bad_callback, on_invalid="drop", encode_base64=False,
        )  # fmt: skip
        track_secrets(t)
        assert not t.track_struct_event("", SECRET)
        assert not t.track_struct_event(SECRET, "a", value=SECRET)  # type: ignore[arg-type]
        t.set_color_depth(SECRET)  # type: ignore[arg-type]
        wait_until(lambda: t.stats().requests >= 2, WAIT_S)
        t.close(0.1)
        t.close(WAIT_S)  # waits for a callback that still runs: what it logs is for this test, not for the next one

    if trouble == "refused":
        with refused_port() as url:
            send_to(url)
    elif trouble == "no name":
        send_to("http://collector.invalid")
    else:
        behave = TROUBLES.get(trouble, lambda connection: connection.stopping.wait())
        with FaultyServer(behave) as server:
            send_to(server.url)
    assert ours(caplog)
    told = [r for r in caplog.records if r.name.startswith("snowplow_tracker") or r.levelno > logging.DEBUG]
    assert [logging.Formatter().format(record) for record in told if mentions_secret(record)] == []


def test_credentials_of_a_proxy_are_in_no_record(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    with refused_port() as url:
        monkeypatch.setenv("HTTPS_PROXY", url.replace("://", f"://user:{SECRET}@"))
        monkeypatch.setenv("https_proxy", url.replace("://", f"://user:{SECRET}@"))
        t = Tracker.hostname("collector.invalid", flush_interval=0)
        track(t, 1)
        wait_until(lambda: t.stats().requests >= 1, WAIT_S)
        assert SECRET not in repr(t)
        t.close(0.1)
    assert len(ours(caplog)) >= 1
    assert not any(SECRET in logging.Formatter().format(record) for record in caplog.records)


# --- TLS -------------------------------------------------------------------------------------------------------

DELIVER = """
    from snowplow_tracker import Tracker
    logging.basicConfig(level=logging.WARNING)
    t = Tracker.hostname(URL, shutdown_timeout=0.3)
    track(t, 3)
    t.flush(0)
    # A second attempt comes after the first one's failure was told of.
    until = time.monotonic() + {patience_s}
    while t.stats().queued + t.stats().in_flight and not t.stats().retries and time.monotonic() < until:
        time.sleep(0.005)
    say(delivered=t.stats().delivered)
"""


def deliver(url: str, expected: bool, env: dict[str, str | None] | None = None) -> str:
    """Track three events in a process of its own; returns what it wrote to stderr."""
    nothing_else = {"REQUESTS_CA_BUNDLE": None, "CURL_CA_BUNDLE": None}
    finished = run(DELIVER.format(patience_s=WAIT_S), url, env={**nothing_else, **(env or {})})
    assert finished.fact("delivered") == (3 if expected else 0), finished.stderr
    return finished.stderr


def refuse(certificate: Path, host: str = "127.0.0.1", trusted: Path | None = None) -> None:
    """Offer events a server that must not get any."""
    requests_read: list[bytes] = []

    def behave(connection: Any) -> None:
        request = connection.read_request()
        requests_read.extend([request] if request else [])

    with FaultyServer(behave, certificate, host=host) as server:
        env: dict[str, str | None] = {"REQUESTS_CA_BUNDLE": str(trusted)} if trusted else {}
        assert "SSLError" in deliver(server.url, expected=False, env=env)
        assert server.connections >= 2
    assert requests_read == []


def test_a_certificate_that_nobody_vouches_for_gets_no_event() -> None:
    refuse(VALID_PEM)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_ca_bundle_from_the_environment_is_trusted(variable: str) -> None:
    with FaultyServer(answering(OK), certificate=VALID_PEM) as server:
        assert deliver(server.url, expected=True, env={variable: str(VALID_PEM)}) == ""


def test_an_expired_certificate_is_refused_even_if_it_is_in_the_bundle() -> None:
    refuse(EXPIRED_PEM, trusted=EXPIRED_PEM)


@needs_another_name
def test_a_certificate_for_another_name_is_refused() -> None:
    refuse(VALID_PEM, host=ANOTHER_NAME, trusted=VALID_PEM)


# --- proxies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_from_the_environment_is_used(collector: LocalCollector, variable: str) -> None:
    with forward_proxy() as (proxy, lines):
        deliver(collector.url, expected=True, env={variable: proxy})
    assert lines[0] == f"POST {collector.url}/com.snowplowanalytics.snowplow/tp2 HTTP/1.1"
    assert len(collector.events) == 3


def test_no_proxy_goes_around_the_proxy(collector: LocalCollector) -> None:
    with forward_proxy() as (proxy, lines):
        deliver(collector.url, expected=True, env={"http_proxy": proxy, "no_proxy": "127.0.0.1,localhost"})
    assert lines == []
    assert len(collector.events) == 3


def test_https_goes_through_a_tunnel_and_is_verified_at_its_end() -> None:
    with forward_proxy() as (proxy, lines), FaultyServer(answering(OK), certificate=VALID_PEM) as server:
        deliver(server.url, expected=True, env={"https_proxy": proxy, "REQUESTS_CA_BUNDLE": str(VALID_PEM)})
        deliver(server.url, expected=False, env={"https_proxy": proxy})
        assert {line.rpartition(" ")[0] for line in lines} == {f"CONNECT 127.0.0.1:{server.port}"}


def test_get_goes_through_a_proxy_as_it_is(collector: LocalCollector) -> None:
    with forward_proxy() as (proxy, lines):
        finished = run(
            """
            from snowplow_tracker import Tracker
            with Tracker.hostname(URL, method="get") as t:
                t.track_struct_event("a b", "c&d=é+%")
            say(delivered=t.stats().delivered)
            """,
            collector.url,
            env={"http_proxy": proxy},
        )
    assert finished.fact("delivered") == 1
    assert lines[0].startswith(f"GET {collector.url}/i?")
    (event,) = collector.events
    assert (event["se_ca"], event["se_ac"]) == ("a b", "c&d=é+%")


# --- the user's own session ------------------------------------------------------------------------------------


class MySession(requests.Session):
    """A session that knows whether somebody has closed it."""

    closed = 0

    def close(self) -> None:
        self.closed += 1
        super().close()


@pytest.mark.parametrize("method", ["post", "get"])
def test_a_users_own_session_is_used_as_it_is_and_not_closed(collector: LocalCollector, method: Any) -> None:
    session = MySession()
    session.headers["X-Api-Key"] = "mine"
    session.auth = ("user", "password")
    before = (dict(session.headers), dict(session.adapters), session.verify, session.trust_env, session.max_redirects)
    t = Tracker("ns", Emitter(collector.url, method=method, session=session))
    ids = track(t, 3)
    assert t.close()
    assert session.closed == 0
    after = (dict(session.headers), dict(session.adapters), session.verify, session.trust_env, session.max_redirects)
    assert after == before
    for request in collector.requests:
        assert request.headers["X-Api-Key"] == "mine"
        assert request.headers["Authorization"].startswith("Basic ")
    assert event_ids(collector.events) == ids
    assert session.get(f"{collector.url}/health").status_code == 200, "it still works"
    session.close()


def test_a_users_session_does_not_follow_redirects_either(collector: LocalCollector) -> None:
    with LocalCollector() as elsewhere, MySession() as session:
        collector.fail(302, times=2, headers={"Location": elsewhere.url})
        with Tracker("ns", Emitter(collector.url, session=session, flush_interval=0, max_retry_delay_seconds=0)) as t:
            track(t, 1)
            collector.wait_for(1, WAIT_S)
        assert elsewhere.requests == []


def test_our_own_session_is_closed_with_the_tracker() -> None:
    ended: list[bool] = []

    def behave(connection: Any) -> None:
        connection.read_request()
        connection.send(OK)
        ended.append(connection.read_request() is None)

    with FaultyServer(at_first(behave, 1, answering(OK))) as server:
        with Tracker.hostname(server.url) as t:
            track(t, 1)
        wait_until(lambda: ended == [True], WAIT_S, "the connection to be closed")
