"""A first user's errors, one after the other: each message alone is enough to mend it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from faults import EXPIRED_PEM, OK, VALID_PEM, FaultyServer, answering, black_hole, refused_port, status
from processes import wait_until
from servers import WAIT_S

from snowplow_tracker import Emitter, PageView, SelfDescribing, SelfDescribingJson, Subject, Tracker
from snowplow_tracker.testing import LocalCollector

# --- at the call --------------------------------------------------------------------------------------------------

URI = "iglu:com.acme/save_game/jsonschema/1-0-0"
CONTEXT = SelfDescribingJson(URI, {})
T = Tracker.hostname("127.0.0.1:1")

AT_THE_CALL: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: Tracker.hostname("ftp://c.acme.com"),
        "Tracker.hostname(): 'host' must be the collector's host: 'name', 'name:port' or 'https://name:port'; a scheme "
        "is http or https, got 'ftp://c.acme.com' (str)",
    ),
    (lambda: Tracker.hostname("htps://c.acme.com"), "a scheme is http or https, got 'htps://c.acme.com' (str)"),
    (lambda: Emitter("c.acme.com", "ftp"), "Emitter(): 'protocol' must be one of http, https, got 'ftp' (str)"),
    (lambda: Emitter("c.acme.com", method="put"), "Emitter(): 'method' must be one of get, post, got 'put' (str)"),
    (lambda: Emitter("c.acme.com", port="8080"), "Emitter(): 'port' must be a port number, got '8080' (str)"),
    (lambda: Emitter("c.acme.com", port=0), "'port' must be a port number between 1 and 65535, got 0 (int)"),
    (lambda: Tracker.hostname("c.acme.com:99999"), "'host' must be a port between 1 and 65535, got 99999 (int)"),
    (lambda: Tracker.hostname("c.acme.com/i"), "leave the path off: the tracker adds its own"),
    (
        lambda: Tracker.hostname("c.acme.com", buffer_sise=10),
        "no option 'buffer_sise'; did you mean 'buffer_size'?",
    ),
    (
        lambda: Emitter("c.acme.com", bufer_capacity=10),
        "no option 'bufer_capacity'; did you mean 'buffer_capacity'?",
    ),
    (lambda: T.track_page_view("u", page_titel="x"), "has no option 'page_titel'; did you mean 'page_title'?"),
    (lambda: T.track_page_view("u", contexts=[]), "has no option 'contexts'; did you mean 'context'?"),
    (lambda: T.track_page_view("u", context=CONTEXT), "'context' must be a list of SelfDescribingJson, got"),
    (lambda: T.track_page_view("u", context=CONTEXT), "put it in a list: context=[…]"),
    (lambda: T.track_page_view("u", context=URI), "'context' must be a list of SelfDescribingJson, got 'iglu:com.acme"),
    (
        lambda: T.track_site_search("shoes"),
        "'terms' must be a list of strings, got 'shoes' (str); put it in a",
    ),
    (lambda: T.track_link_click("u", None, "big"), "'element_classes' must be a list of strings, got 'big' (str); put"),
    (lambda: T.track_ecommerce_transaction("o", None, 1, items="s"), "'items' must be a list of dicts, got 's' (str)"),
    (lambda: Tracker("game", "c.acme.com"), "got 'c.acme.com' (str); make one: Emitter('collector.acme.com')"),
    (lambda: Tracker(Emitter("c.acme.com"), Subject()), "the namespace comes first: Tracker('my-game', emitter)"),
    (
        lambda: T.track_self_describing_event({"schema": URI, "data": {}}),
        "wrap it: SelfDescribingJson('iglu:vendor/name/jsonschema/1-0-0', {…})",
    ),
    (lambda: SelfDescribing({}), "wrap it: SelfDescribingJson('iglu:vendor/name/jsonschema/1-0-0', {…})"),
    (
        lambda: T.track_page_view("u", context=[{}]),
        "'context[0]' must be a SelfDescribingJson, got {} (dict); wrap it",
    ),
    (
        lambda: T.track_unstruct_event({"schema": URI}),
        "'event_json' must be a SelfDescribingJson, got {'schema': 'iglu:com.acme/save_game/jsonschema/1-0-0'} (dict)",
    ),
    (lambda: SelfDescribingJson("com.acme/save_game/1-0-0", {}), "an Iglu URI: iglu:vendor/name/format/M-R-A, such as"),
    (lambda: SelfDescribingJson(URI, "data"), "'data' must be a JSON object (dict) or array (list), got 'data' (str)"),
    (lambda: T.track({"e": "pv"}), "'event' must be an event, such as PageView(…), got {'e': 'pv'} (dict)"),
    (lambda: T.track(PageView), "'event' must be an event, such as PageView(…), got <class"),
]


@pytest.mark.parametrize(("call", "words"), AT_THE_CALL)
def test_an_error_at_the_call_says_what_is_meant(call: Callable[[], Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert words in str(caught.value)


# --- at the collector ---------------------------------------------------------------------------------------------


def plain(behave: Any) -> AbstractContextManager[str]:
    return _At(FaultyServer(behave), "http://127.0.0.1:{}")


class _At:
    """A server, and the address that a user would have written for it."""

    def __init__(self, server: Any, address: str) -> None:
        self.server, self.address = server, address

    def __enter__(self) -> str:
        self.server.__enter__()
        return self.address.format(self.server.port)

    def __exit__(self, *exception: Any) -> None:
        self.server.__exit__(*exception)


LOST = "is lost: "
AT_THE_COLLECTOR: list[tuple[str, Callable[[], Any], str]] = [
    (
        "wrong port",
        refused_port,
        f"{LOST}ConnectionError (nothing listens there: check host and port, and that the collector runs); events wait",
    ),
    (
        "http where the collector redirects",
        lambda: plain(answering(status(301, "Location: https://c.acme.com/com.snowplowanalytics.snowplow/tp2"))),
        f"{LOST}it redirects (301) to https://c.acme.com: use that address, redirects are not followed; events wait",
    ),
    (
        "http to a port of https",
        lambda: _At(FaultyServer(answering(OK), certificate=VALID_PEM), "http://127.0.0.1:{}"),
        "no HTTP answer from there: check the port, or write https:// if it is encrypted",
    ),
    (
        "https to a port of http",
        lambda: _At(LocalCollector(), "https://127.0.0.1:{}"),
        "no TLS there, WRONG_VERSION_NUMBER: check the port, or write http:// if it is not encrypted",
    ),
    (
        "a certificate of one's own",
        lambda: _At(FaultyServer(answering(OK), certificate=EXPIRED_PEM), "https://localhost:{}"),
        "the certificate is not trusted: self",
    ),
    ("a server of another kind", lambda: plain(answering(status(404))), f"{LOST}it answers 404"),
    (
        "a server that refuses",
        lambda: plain(answering(status(400))),
        "refuses events: it answers 400; they are dropped (refused), and further refusals are not logged; if all are "
        "refused, check that this is a collector's address, with the right scheme",
    ),
    ("a server that says nothing", lambda: plain(black_hole), f"{LOST}ReadTimeout (no answer within request_timeout)"),
]


@pytest.mark.parametrize(("server", "words"), [c[1:] for c in AT_THE_COLLECTOR], ids=[c[0] for c in AT_THE_COLLECTOR])
@pytest.mark.parametrize("method", ["post", "get"])
def test_trouble_with_the_address_is_one_warning_that_says_what_to_look_at(
    server: Callable[[], Any], words: str, method: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "snowplow_tracker")
    with server() as url:
        t = Tracker.hostname(url, method=method, request_timeout=0.5, flush_interval=0, shutdown_timeout=0)
        for _ in range(3):
            t.track_struct_event("a", "b")
        wait_until(lambda: bool(caplog.records), WAIT_S)
        warning = caplog.records[0].getMessage()
        t.close()
    assert words in warning
    assert f"collector {url}" in warning
    assert all("shutdown" in record.getMessage() for record in caplog.records[1:])


def test_a_name_that_does_not_exist_is_said_to_be_one(caplog: pytest.LogCaptureFixture) -> None:
    t = Tracker.hostname("no-such-collector.invalid", flush_interval=0, shutdown_timeout=0)
    t.track_struct_event("a", "b")
    wait_until(lambda: bool(caplog.records), WAIT_S)
    assert "https://no-such-collector.invalid is lost: ConnectionError (" in caplog.text
    assert "there is no host of that name" in caplog.text or "cannot be resolved" in caplog.text
    t.close()
