"""The way to a collector by itself: addresses, one attempt, and what becomes of connections."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
import requests
from faults import FaultyServer, one_byte_a_second, refused_port
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import BaseAdapter
from servers import transport
from strategies import texts
from urllib3 import HTTPResponse

from snowplow_tracker import ValidationError
from snowplow_tracker.addresses import cloudfront_host, collector_url, is_loopback
from snowplow_tracker.http_transport import GET_URL_LIMIT
from snowplow_tracker.payload import encode_pairs
from snowplow_tracker.testing import LocalCollector
from snowplow_tracker.transport import Result

TP2 = "/com.snowplowanalytics.snowplow/tp2"
FRAGMENT = b'{"e":"pv","p":"pc","tv":"py-1.0.0","url":"http://e.com"'


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


# --- addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "protocol", "port", "address"),
    [
        ("c.acme.com", None, None, "https://c.acme.com"),
        ("c.acme.com", "http", None, "http://c.acme.com"),
        ("c.acme.com", None, 8080, "https://c.acme.com:8080"),
        ("c.acme.com:8080", None, None, "https://c.acme.com:8080"),
        ("c.acme.com:8080", None, 8080, "https://c.acme.com:8080"),
        ("http://c.acme.com", "https", None, "http://c.acme.com"),
        ("HTTPS://c.acme.com/", None, None, "https://c.acme.com"),
        ("localhost:9090", None, None, "http://localhost:9090"),
        ("localhost", "https", None, "https://localhost"),
        ("127.0.0.1", None, None, "http://127.0.0.1"),
        ("127.8.9.10", None, None, "http://127.8.9.10"),
        ("[::1]:9090", None, None, "http://[::1]:9090"),
        ("127.0.0.1.example.com", None, None, "https://127.0.0.1.example.com"),
        ("localhost.example.com", None, None, "https://localhost.example.com"),
        ("bücher.example", None, None, "https://xn--bcher-kva.example"),
    ],
)
def test_the_forms_of_an_address(endpoint: str, protocol: str | None, port: int | None, address: str) -> None:
    assert collector_url("host", endpoint, protocol, port, "post") == address + TP2
    assert collector_url("host", endpoint, protocol, port, "get") == address + "/i"


@pytest.mark.parametrize(
    ("endpoint", "hint"),
    [
        ("", ""),
        (None, ""),
        (b"c.acme.com", ""),
        ("ftp://c.acme.com", "a scheme is http or https"),
        ("c.acme.com/path", "leave the path off"),
        ("https://c.acme.com/i?x=1", "leave the path off"),
        ("my host.com", "blanks"),
        ("user:secret@c.acme.com", "credentials"),
        ("c.acme.com:0", "a port between 1 and 65535"),
        ("c.acme.com:70000", "a port between 1 and 65535"),
        ("c.acme.com:port", ""),
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(endpoint: Any, hint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        collector_url("host", endpoint, None, None, "post")
    assert hint in str(caught.value)
    assert "secret" not in str(caught.value)


def test_two_different_ports_are_refused() -> None:
    with pytest.raises(ValidationError, match="'port'"):
        collector_url("host", "c.acme.com:80", None, 81, "post")


@pytest.mark.parametrize("subdomain", ["a.b", "", "a b", None, "-a", "a-", "a" * 64, "https://a"])
def test_what_is_no_cloudfront_subdomain_is_refused(subdomain: Any) -> None:
    with pytest.raises(ValidationError, match="'cf_subdomain'"):
        cloudfront_host(subdomain)


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.1", "[::1]"]))
    assert not any(map(is_loopback, ["localhost.acme.com", "127.0.0.1.nip.io", "128.0.0.1", "[::2]", "acme"]))


# --- one attempt -----------------------------------------------------------------------------------------------


BOTH = pytest.mark.parametrize("method", ["post", "get"])


@BOTH
def test_an_attempt_that_arrives(method: str, collector: LocalCollector) -> None:
    way = transport(method, collector.url)
    assert way.address == collector.url
    assert way.send([FRAGMENT], None) == Result(200)
    way.close()
    (event,) = collector.events
    assert event["url"] == "http://e.com"


@BOTH
def test_what_the_collector_says_is_in_the_result(method: str, collector: LocalCollector) -> None:
    way = transport(method, collector.url)
    collector.fail(503, headers={"Retry-After": "7", "Location": "https://user:secret@b.com:8443/i?e=pv"})
    assert way.send([FRAGMENT], None) == Result(503, retry_after_s=7.0, location="https://b.com:8443")
    way.close()


@BOTH
def test_a_failed_attempt_is_a_result_that_names_the_error_and_holds_no_event(method: str) -> None:
    with refused_port() as url:
        way = transport(method, url)
        result = way.send([FRAGMENT], None)
        way.close()
    assert result == Result(
        error="ConnectionError (nothing listens there: check host and port, and that the collector runs)"
    )


def test_an_attempt_near_a_deadline_does_not_wait_for_the_whole_time_out(collector: LocalCollector) -> None:
    collector.black_hole()
    way = transport("post", collector.url, timeout=(60.0, 60.0))
    start = time.monotonic()
    assert way.send([FRAGMENT], 0.2) == Result(error="ReadTimeout (no answer within request_timeout)")
    assert time.monotonic() - start < 5
    way.close()


def test_sending_works_after_close(collector: LocalCollector) -> None:
    way = transport("post", collector.url)
    way.close()
    assert way.send([FRAGMENT], None) == Result(200)
    way.close()


def test_a_slow_collector_does_not_hold_another_thread_up() -> None:
    with FaultyServer(one_byte_a_second) as slow, LocalCollector() as collector:
        stuck = transport("post", slow.url)
        thread = threading.Thread(target=stuck.send, args=([FRAGMENT], None))
        thread.start()
        way = transport("post", collector.url)
        assert way.send([FRAGMENT], None) == Result(200)
        way.close()
        slow.__exit__()
        thread.join(20)
        stuck.close()


def test_anonymous_asks_for_neither_address_nor_cookie(collector: LocalCollector) -> None:
    way = transport("post", collector.url, anonymous=True)
    way.send([FRAGMENT], None)
    way.close()
    assert collector.requests[0].headers["SP-Anonymous"] == "*"


def test_the_collectors_cookie_is_not_kept(collector: LocalCollector) -> None:
    way = transport("post", collector.url)
    for _ in range(2):
        assert way.send([FRAGMENT], None) == Result(200)
    way.close()
    assert ["Cookie" in request.headers for request in collector.requests] == [False, False]


# --- whatever a server may say ---------------------------------------------------------------------------------


class CannedAdapter(BaseAdapter):
    """Answers in memory, where a real server would take too long for hundreds of examples."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        super().__init__()
        self._status, self._headers = status, headers

    def send(self, request: Any, *arguments: Any, **options: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = self._status
        response.headers.update(self._headers)
        response.raw = HTTPResponse(io.BytesIO(b"ok"), status=self._status, preload_content=False)
        response.request = request
        response.url = request.url
        return response

    def close(self) -> None:
        """There is nothing to let go of."""


HEADER = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF)),
    st.from_regex(r"[0-9]{1,40}", fullmatch=True),
    st.from_regex(r"(Mon, )?[0-9]{1,3} (Jan|Foo) [0-9]{1,20} [0-9]{1,3}:[0-9]{1,3}(:[0-9]+)? ([+-][0-9]{1,20}|GMT)"),
    st.from_regex(r"(https?:)?//[^/ ]{0,9}(:[0-9]{0,9})?/?.{0,9}", fullmatch=True),
)


@given(status=st.integers(200, 599), retry_after=HEADER, location=HEADER, length=HEADER)
def test_no_header_changes_the_status_or_raises(status: int, retry_after: str, location: str, length: str) -> None:
    # In our own session: one of the user's is asked to send, and may raise for a redirect that it can't read.
    way = transport("post", "localhost")
    headers = {"Retry-After": retry_after, "Location": location, "Content-Length": length}
    way._session.mount("http://", CannedAdapter(status, headers))
    result = way.send([FRAGMENT], None)
    way.close()
    assert result.status == status
    assert result.retry_after_s is None or result.retry_after_s >= 0
    assert result.location == "" or "@" not in result.location


@given(ahead=st.integers(2, 10**6))
def test_retry_after_as_a_date_is_seconds_from_now(ahead: int) -> None:
    with requests.Session() as session:
        until = int(time.time()) + ahead
        session.mount("http://", CannedAdapter(503, {"Retry-After": formatdate(until, usegmt=True)}))
        result = transport("post", "localhost", session=session).send([FRAGMENT], None)
    assert result.retry_after_s == pytest.approx(ahead, abs=2)


# --- sizes of GET ----------------------------------------------------------------------------------------------


@given(text=texts(3000))
def test_what_surely_fits_into_a_get_url_does(text: str) -> None:
    way = transport("get", "c.acme.com")
    fragment = b"{" + encode_pairs({"e": "se", "se_la": text})
    if len(fragment) <= way.surely_takes():
        assert way.why_too_large(fragment) is None


def test_a_get_url_that_is_too_long_says_what_to_do() -> None:
    way = transport("get", "c.acme.com")
    reason = way.why_too_large(b"{" + encode_pairs({"e": "se", "se_la": "é" * 1500}))
    assert str(GET_URL_LIMIT) in reason
    assert "POST" in reason
    assert transport("post", "c.acme.com").surely_takes() is None


# --- after a fork ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("users", [True, False], ids=["the user's session", "our own session"])
def test_after_a_fork_the_connection_is_a_new_one_with_the_same_settings(
    method: str, users: bool, collector: LocalCollector
) -> None:
    session = requests.Session() if users else None
    if session is not None:
        session.headers["X-Mine"] = "yes"
    way = transport(method, collector.url, session=session)
    way.send([FRAGMENT], None)
    way.send([FRAGMENT], None)
    way.after_fork()
    way.send([FRAGMENT], None)
    connections = [request.connection_id for request in collector.requests]
    assert connections[0] == connections[1] != connections[2]
    assert [request.headers.get("X-Mine") for request in collector.requests] == ["yes" if users else None] * 3
    way.close()
    if session is not None:
        session.close()
