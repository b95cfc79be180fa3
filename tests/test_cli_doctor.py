"""``snowplow-tracker doctor``: for each way in which a collector can be wrong, the words that lead out of it."""

from __future__ import annotations

import re
import socket
import textwrap
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
from command import Ended, Shell
from faults import (
    ANOTHER_NAME,
    EXPIRED_PEM,
    OK,
    VALID_PEM,
    FaultyServer,
    answering,
    answering_once,
    black_hole,
    needs_another_name,
    refused_port,
    stall_in_the_handshake,
    status,
)
from servers import forward_proxy

from snowplow_tracker.testing import LocalCollector

GIF = status(200, "Content-Type: image/gif", body=b"GIF")


@pytest.fixture(autouse=True)
def _no_ca_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Any:
    shell = Shell(capsys)
    return lambda *arguments: shell("doctor", "--timeout", "2", *arguments)


def findings(ended: Ended) -> dict[str, tuple[str, str]]:
    """From topic to verdict and words, advice included."""
    found: dict[str, tuple[str, str]] = {}
    for line in ended.out.splitlines():
        head = re.fullmatch(r"  (ok|note|warn|FAIL) +(name|proxy|port|TLS|POST|GET|clock|keep-alive) +(.*)", line)
        if head:
            topic = head[2]
            found[topic] = (head[1], head[3])
        elif found and line.startswith(" " * 19):
            verdict, words = found[topic]
            found[topic] = (verdict, f"{words} {line.strip()}")
    return found


def server(*answers: bytes, certificate: Path | None = None) -> FaultyServer:
    return FaultyServer(answering(*answers), certificate)


# --- all is well -----------------------------------------------------------------------------------------------


def test_a_collector_in_good_health_passes_and_gets_one_event_of_each_method(
    doctor: Any, collector: LocalCollector
) -> None:
    ended = doctor(collector.url)
    assert ended.status == 0
    assert {topic: verdict for topic, (verdict, _) in findings(ended).items()} == dict.fromkeys(
        ("port", "POST", "GET", "clock"), "ok"
    )
    assert "200 OK, text/plain" in findings(ended)["POST"][1]
    assert "200 OK, image/gif" in findings(ended)["GET"][1]
    for method in ("post", "get"):
        collector.assert_tracked(aid="snowplow-tracker-doctor", se_ca="snowplow-tracker", se_ac="doctor", se_la=method)
    assert collector.bad == []
    assert "snowplow-tracker-doctor" in ended.out.splitlines()[-1]


def test_without_events_nothing_is_sent(doctor: Any, collector: LocalCollector) -> None:
    ended = doctor(collector.url, "--no-events")
    assert ended.status == 0
    assert list(findings(ended)) == ["port"]
    assert collector.requests == []


def test_a_certificate_that_is_trusted_is_told_with_its_remaining_days(
    doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(VALID_PEM))
    with server(GIF, certificate=VALID_PEM) as collector:
        ended = doctor(collector.url)
    assert ended.status == 0
    assert re.search(r"^TLSv1\.\d, the certificate is good for \d+ more days$", findings(ended)["TLS"][1])


def test_no_line_is_wider_than_a_terminal(doctor: Any) -> None:
    with server(status(404)) as wrong:
        assert [line for line in doctor(wrong.url).out.splitlines() if len(line) > 80] == []


# --- below HTTP ------------------------------------------------------------------------------------------------


def test_a_name_that_is_not_known(doctor: Any) -> None:
    ended = doctor("https://collector.invalid")
    assert ended.status == 1
    assert list(findings(ended)) == ["name"]
    assert "collector.invalid can't be found" in findings(ended)["name"][1]
    assert "check the spelling" in findings(ended)["name"][1]


def test_a_port_where_nothing_listens(doctor: Any) -> None:
    with refused_port() as url:
        ended = doctor(url)
    assert ended.status == 1
    verdict, words = findings(ended)["port"]
    assert verdict == "FAIL"
    assert "nothing listens there" in words
    assert f"snowplow-tracker collector --port {url.rpartition(':')[2]}" in words


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """A port whose connections are never accepted, as behind a firewall that drops them."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(4):
            stream = socket.socket()
            stream.setblocking(False)
            stream.connect_ex(listener.getsockname())
            waiting.append(stream)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for stream in waiting:
            stream.close()


def test_a_port_that_does_not_answer(doctor: Any, full_backlog: str) -> None:
    ended = doctor("--timeout", "0.3", full_backlog)
    assert ended.status == 1
    assert "no answer within 0.3 s → a firewall drops it" in findings(ended)["port"][1]


def test_plain_http_where_https_is_expected(doctor: Any, collector: LocalCollector) -> None:
    ended = doctor(collector.url.replace("http:", "https:"))
    assert ended.status == 1
    assert f"try {collector.url}" in findings(ended)["TLS"][1]


@pytest.mark.parametrize("behave", [black_hole, stall_in_the_handshake])
def test_a_handshake_that_is_not_answered(doctor: Any, behave: Any) -> None:
    with FaultyServer(behave) as collector:
        ended = doctor("--timeout", "0.3", collector.url.replace("http:", "https:"))
    assert ended.status == 1
    assert "no answer to the TLS handshake" in findings(ended)["TLS"][1]


@pytest.mark.parametrize(
    ("certificate", "trusted", "name", "words"),
    [
        (VALID_PEM, None, "127.0.0.1", "self-signed certificate → a certificate that only the collector itself"),
        (EXPIRED_PEM, EXPIRED_PEM, "127.0.0.1", "certificate has expired → renew it"),
        pytest.param(
            VALID_PEM,
            VALID_PEM,
            ANOTHER_NAME,
            f"not valid for '{ANOTHER_NAME}' → use the name that the certificate is for",
            marks=needs_another_name,
        ),
    ],
)
def test_a_certificate_that_is_not_accepted(
    doctor: Any, monkeypatch: pytest.MonkeyPatch, certificate: Path, trusted: Path | None, name: str, words: str
) -> None:
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with FaultyServer(answering(OK), certificate, host=name) as collector:
        ended = doctor(collector.url)
    assert ended.status == 1
    verdict, found = findings(ended)["TLS"]
    assert verdict == "FAIL"
    assert words in found.replace("self signed", "self-signed")  # OpenSSL 1 has no hyphen
    assert "POST" not in findings(ended)


def test_a_bundle_of_certificates_that_is_not_there(doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    with server(OK, certificate=VALID_PEM) as collector:
        ended = doctor(collector.url)
    assert ended.status == 1
    assert "/no/such/bundle.pem can't be read" in findings(ended)["TLS"][1]


def test_a_proxy_is_told_and_used(doctor: Any, collector: LocalCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with forward_proxy() as (proxy, lines):
        monkeypatch.setenv("http_proxy", proxy)
        ended = doctor(collector.url)
    assert ended.status == 0, ended.out
    assert findings(ended)["proxy"][0] == "note"
    assert proxy.removeprefix("http://") in findings(ended)["proxy"][1]
    assert len(lines) == 2


def test_a_certificate_behind_a_proxy_that_is_not_accepted(doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with forward_proxy() as (proxy, _), server(OK, certificate=VALID_PEM) as collector:
        monkeypatch.setenv("https_proxy", proxy)
        ended = doctor(collector.url)
    assert ended.status == 1
    assert "the certificate behind the proxy is not accepted" in findings(ended)["POST"][1]


def test_an_ipv6_address_keeps_its_brackets(doctor: Any) -> None:
    ended = doctor("https://[::1]:1")
    assert ended.status == 1
    assert findings(ended)["port"][1].startswith("::1 port 1: ")


# --- HTTP ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status(301, "Location: https://new.example/x?y"), "use https://new.example: the tracker follows no redirect"),
        (status(302, "Location: /elsewhere"), "use the address it points to"),
        (status(400), "perhaps it wants https: try https://127.0.0.1:"),
        (status(401), "wants credentials"),
        (status(404), "no collector answers at this path"),
        (status(429), "asks for fewer requests"),
        (status(503), "the collector, or the load balancer before it, is in trouble"),
        (status(200, "Content-Type: text/html; charset=utf-8"), "a web page is no collector's answer"),
        (status(418), "a collector answers 200: is it one?"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_an_answer_that_keeps_events_from_arriving(doctor: Any, answer: bytes, words: str) -> None:
    with server(answer) as wrong:
        ended = doctor(wrong.url)
    assert ended.status == 1
    verdict, found = findings(ended)["POST"]
    assert verdict == "FAIL"
    assert words in found
    assert ended.out.endswith("Events do not arrive there by POST.\n")


def test_another_content_type_is_a_doubt(doctor: Any) -> None:
    with server(status(200, "Content-Type: application/json")) as strange:
        ended = doctor(strange.url)
    assert ended.status == 0
    assert findings(ended)["POST"][0] == "warn"
    assert "collectors answer text/plain: is it one?" in findings(ended)["POST"][1]


def get_only(connection: Any) -> None:
    while request := connection.read_request():
        connection.send(GIF if request.startswith(b"GET") else status(405))


def test_a_collector_that_takes_get_only(doctor: Any) -> None:
    with FaultyServer(get_only) as pixel:
        by_post, by_get = doctor(pixel.url), doctor(pixel.url, "--method", "get")
    assert by_post.status == 1
    assert "use method='get', or Tracker.cloudfront()" in findings(by_post)["POST"][1]
    assert findings(by_post)["GET"][0] == "ok"
    assert by_get.status == 0
    assert findings(by_get)["POST"][0] == "note"


def test_a_collector_that_never_answers(doctor: Any) -> None:
    with FaultyServer(black_hole) as hole:
        ended = doctor("--timeout", "0.3", hole.url)
    assert ended.status == 1
    assert "no answer within 0." in findings(ended)["POST"][1]
    assert findings(ended)["clock"] == ("note", "the answer has no date to compare with")


def test_a_server_that_hangs_up(doctor: Any) -> None:
    with FaultyServer(lambda connection: connection.read_request() and None) as rude:
        ended = doctor(rude.url)
    assert ended.status == 1
    assert "the connection ended without an answer" in findings(ended)["POST"][1]
    assert f"Try {rude.url.replace('http:', 'https:')}" in findings(ended)["POST"][1]


def test_a_connection_that_is_not_kept(doctor: Any) -> None:
    with FaultyServer(answering_once(status(200, "Content-Type: text/plain", "Connection: close"))) as hasty:
        ended = doctor(hasty.url)
    assert ended.status == 0
    assert findings(ended)["keep-alive"][0] == "warn"


@pytest.mark.parametrize(
    ("shift_s", "words"),
    [
        (-3 * 3600, "3 hours ahead of the collector's"),
        (+10 * 60, "10 minutes behind the collector's"),
        (+60, "behind the collector's"),
        (-400 * 86_400, "400 days ahead of the collector's"),
    ],
)
def test_a_clock_that_is_wrong(doctor: Any, shift_s: int, words: str) -> None:
    date = f"Date: {formatdate(time() + shift_s, usegmt=True)}"
    with server(status(200, "Content-Type: text/plain", date)) as collector:
        ended = doctor(collector.url)
    assert ended.status == 0
    verdict, found = findings(ended)["clock"]
    assert verdict == "warn"
    assert words in found


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Foo 2026 00:00:00 GMT"])
def test_a_date_that_is_none_is_not_compared(doctor: Any, date: str) -> None:
    with server(status(200, "Content-Type: text/plain", f"Date: {date}")) as collector:
        assert findings(doctor(collector.url))["clock"][0] == "note"


def test_tracking_that_is_turned_off_is_told(
    doctor: Any, collector: LocalCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNOWPLOW_DISABLED", "1")
    ended = doctor(collector.url)
    assert ended.status == 1
    assert "is SNOWPLOW_DISABLED set" in findings(ended)["POST"][1]


# --- the address -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9090/com.snowplowanalytics.snowplow/tp2", "leave the path off"),
        ("ftp://collector.acme.com", "a scheme is http or https"),
        ("https://user:secret@collector.acme.com", "credentials in the address"),
        ("http://127.0.0.1:99999", "a port between 1 and 65535"),
    ],
)
def test_an_address_that_is_none(doctor: Any, url: str, words: str) -> None:
    ended = doctor(url)
    assert ended.status == 2
    assert words in ended.err
    assert "secret" not in ended.err
    assert len(textwrap.dedent(ended.err).splitlines()) == 2
