"""What was collected outlives the collector: the file, its bounds, and what happens when it cannot be used."""

from __future__ import annotations

import http.client
import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sending import BASICS, JSON, TP2, payload_data, request

from snowplow_tracker.collector.faults import Script
from snowplow_tracker.collector.journal import Journal
from snowplow_tracker.collector.request_store import RequestStore, StoreError
from snowplow_tracker.collector.service import Service

USER = "11111111-2222-3333-4444-555555555555"


def kept(path: Path, **bounds: int) -> list[str]:
    """The queries of what a file holds, oldest first."""
    store = RequestStore(path, **bounds)
    try:
        return [request.query for request, _ in store.requests()]
    finally:
        store.close()


def fill(path: Path, count: int, body: bytes = b"", **bounds: int) -> None:
    store = RequestStore(path, **bounds)
    for number in range(count):
        store.append(request(query=f"e=pv&aid={number}", body=body), USER)
    store.close()


def test_a_request_comes_back_as_it_was(tmp_path: Path) -> None:
    sent = request("POST", TP2, "a=b", b"\x00\xff", {"Content-Type": "x", "Cookie": "sp=1"})
    sent.peer = "127.0.0.9"
    store = RequestStore(tmp_path / "events.db")
    store.append(sent, USER)
    store.close()
    store = RequestStore(tmp_path / "events.db")
    ((found, network_user_id),) = store.requests()
    store.close()
    assert (found.method, found.path, found.query, found.body) == ("POST", TP2, "a=b", b"\x00\xff")
    assert (dict(found.headers), found.peer) == (dict(sent.headers), "127.0.0.9")
    assert (found.arrived_at, network_user_id) == (sent.arrived_at, USER)


def test_the_newest_are_kept_by_number(tmp_path: Path) -> None:
    fill(tmp_path / "events.db", 25, max_requests=10)
    assert kept(tmp_path / "events.db") == [f"e=pv&aid={number}" for number in range(15, 25)]


def test_the_file_does_not_grow_beyond_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    fill(path, 300, b"x" * 50_000, max_bytes=1_000_000)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size < 3_000_000
    assert 15 <= len(kept(path)) <= 20
    assert kept(path)[-1] == "e=pv&aid=299"


@given(steps=st.lists(st.integers(0, 3_000) | st.none(), max_size=25), limit=st.integers(1, 6))
@settings(max_examples=25)
def test_the_file_holds_the_newest_that_fit_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | None], limit: int
) -> None:
    path = tmp_path_factory.mktemp("store") / "events.db"
    store, model = RequestStore(path, max_requests=limit, max_bytes=10_000), list[str]()
    for number, step in enumerate(steps):
        if step is None:
            store.clear()
            model.clear()
        else:
            store.append(request(query=f"aid={number}", body=b"x" * step), USER)
            model.append(f"aid={number}")
    store.close()
    found = kept(path)
    assert found == model[len(model) - len(found) :]
    assert len(found) <= limit
    assert bool(found) == bool(model)


def test_two_collectors_cannot_share_a_file(tmp_path: Path) -> None:
    store = RequestStore(tmp_path / "events.db")
    store.append(request(), USER)
    with pytest.raises(StoreError, match="is in use by another collector"):
        RequestStore(tmp_path / "events.db")
    store.close()
    assert len(kept(tmp_path / "events.db")) == 1


@pytest.mark.parametrize("content", [b"walrus" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"notes\.txt cannot be used"):
        RequestStore(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bank.db"
    with sqlite3.connect(path) as bank:
        bank.execute("CREATE TABLE accounts (owner)")
    bank.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is a database of something else"):
        RequestStore(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        RequestStore(tmp_path / "none" / "events.db")


def test_a_restarted_service_judges_what_was_kept_by_todays_rules(tmp_path: Path) -> None:
    store = RequestStore(tmp_path / "events.db")
    service = Service(Journal(), Script(), "127.0.0.1", store=store)
    body = payload_data(BASICS, {**BASICS, "e": "se", "se_va": "walrus"})
    service.answer(request("POST", TP2, "", body, {"Content-Type": JSON}))
    service.answer(request("POST", "/com.acme/v9", "", b"x"))
    service.answer(request("GET", "/health"))
    store.close()

    journal, store = Journal(), RequestStore(tmp_path / "events.db")
    strict = Service(journal, Script(), "127.0.0.1", store=store)
    strict.restore()
    assert (journal.counts.good, journal.counts.bad) == (1, 2)
    assert [one.number for one in journal.requests()] == [1, 2]
    assert journal.requests()[0].body == body
    strict.answer(request("POST", "/micro/reset"))
    store.close()
    assert kept(tmp_path / "events.db") == []


# --- the command ---------------------------------------------------------------------------------------------------


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "snowplow_tracker.collector", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    assert process.stdout
    return process, process.stdout.readline().strip()


def ask(url: str, method: str, path: str, body: bytes | None = None) -> Any:
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    client.request(method, path, body, {"Content-Type": JSON} if body else {})
    answer = client.getresponse().read()
    client.close()
    return json.loads(answer) if answer[:1] in (b"{", b"[") else answer


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    path = str(tmp_path / "events.db")
    process, url = start("--store", path)
    with process:
        for number in range(20):
            assert ask(url, "POST", TP2, payload_data({**BASICS, "aid": str(number)})) == b"ok"
        before = ask(url, "GET", "/micro/good")
        process.kill()
    process, url = start("--store", path)
    with process:
        assert process.stderr
        assert process.stderr.readline() == "kept from before: 20 good, 0 bad\n"
        after = ask(url, "GET", "/micro/good")
        assert ask(url, "POST", "/micro/reset") == {"total": 0, "good": 0, "bad": 0}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    for event in (*before, *after):  # made up anew, for the sender gave none
        del event["event"]["event_id"]
    assert after == before
    assert kept(Path(path)) == []


def test_a_full_disk_costs_one_warning_and_no_event(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from snowplow_tracker.collector.__main__ import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "sys.exit(main(['--port', '0', '--store', sys.argv[1]]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "events.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        for _ in range(10):
            assert ask(url, "POST", TP2, payload_data({**BASICS, "page": "x" * 1900}, *[BASICS] * 2000)) == b"ok"
        assert ask(url, "GET", "/micro/all")["good"] == 20_010
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert errors.count("\n") == 1
    assert "from here on, what is collected is kept in memory only" in errors


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--store", "/no/such/folder/x.db"], "/no/such/folder/x.db cannot be opened: "),
        (["--schemas", "/no/such/folder"], "--schemas: schemas must be in a folder, got '/no/such/folder'"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_sentence_and_status_1(options: list[str], sentence: str) -> None:
    process, url = start(*options)
    with process:
        assert process.stderr
        assert process.stderr.read().startswith(sentence)
        assert (process.wait(timeout=20), url) == (1, "")
