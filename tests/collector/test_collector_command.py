"""``python -m snowplow_tracker.collector``, as a user runs it."""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from sending import BASICS, JSON, TP2, payload_data

from snowplow_tracker.testing import LocalCollector

BUY = {"e": "se", "se_ca": "shop", "se_ac": "buy"}
COMMAND = [sys.executable, "-m", "snowplow_tracker.collector"]


@pytest.fixture
def running() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        yield process
        process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().rstrip("\n")


def send(url: str, body: bytes) -> None:
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    client.request("POST", TP2, body, {"Content-Type": JSON})
    client.getresponse().read()
    client.close()


def test_it_prints_its_url_first_and_then_a_line_an_event(running: subprocess.Popen[str]) -> None:
    url = line(running)
    assert url.startswith("http://127.0.0.1:")
    eid = "c6ef3124-b53a-4b13-a233-0088f79dcbcb"
    send(url, payload_data({**BASICS, "eid": eid, "aid": "shop"}, {**BASICS, **BUY, "se_va": "walrus"}))
    good, bad = line(running), line(running)
    assert good.split() == [
        "GOOD",
        "page_view",
        eid,
        "shop",
        "iglu:com.snowplowanalytics.snowplow/page_view/jsonschema/1-0-0",
    ]
    assert bad == (
        "BAD   schema_violations: se_va must be a decimal number, got 'walrus' "
        "(from track_struct_event('shop', 'buy'), se_va is its 'value')"
    )


def test_what_a_terminal_would_obey_is_not_printed(running: subprocess.Popen[str]) -> None:
    send(line(running), payload_data({**BASICS, "aid": "\x1b[2J\r\n\u202eevil"}))
    assert "\ufffd[2J\ufffd\ufffd\ufffdevil" in line(running)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_when_asked_to(running: subprocess.Popen[str], number: signal.Signals) -> None:
    send(line(running), payload_data(BASICS))
    line(running)
    running.send_signal(number)
    _, errors = running.communicate(timeout=20)
    assert (running.returncode, errors) == (0, "")


def test_it_ends_quietly_when_nobody_reads_its_lines(running: subprocess.Popen[str]) -> None:
    url = line(running)
    assert running.stdout
    running.stdout.close()
    with contextlib.suppress(OSError, http.client.HTTPException):  # it may end before it answers
        send(url, payload_data(*[BASICS] * 2000))
    assert running.wait(timeout=20) == 0
    assert running.stderr
    assert running.stderr.read() == ""


def test_a_taken_port_is_one_sentence_and_status_1() -> None:
    with LocalCollector() as other:
        found = subprocess.run(
            [*COMMAND, "--port", str(other.port)], capture_output=True, text=True, timeout=20, check=False
        )
    assert found.returncode == 1
    assert found.stdout == ""
    assert found.stderr == f"cannot listen on 127.0.0.1 port {other.port}: Address already in use\n"


@pytest.mark.parametrize("port", ["walrus", "-1", "65536", ""])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    found = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=20, check=False)
    assert found.returncode == 2
    assert "must be a number from 0 to 65535" in found.stderr


def test_it_says_what_an_open_address_exposes() -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--host", "0.0.0.0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        assert "whoever reaches this address can send events" in process.stderr.readline()
        process.terminate()
        assert process.wait(timeout=20) == 0
