"""What the page asks the collector for, and what keeps others from asking."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sending import BASICS, JSON, SAVE_GAME, TP2, USER, contexts, exchange, payload_data, request, unstruct

from snowplow_tracker.collector.faults import Script
from snowplow_tracker.collector.journal import Journal
from snowplow_tracker.collector.schemas import SchemaFolders
from snowplow_tracker.collector.service import Service
from snowplow_tracker.collector.streams import MAX_STREAMS, ROWS_A_MESSAGE
from snowplow_tracker.testing import LocalCollector

PRIVATE = ["/micro/ui/stream", "/micro/ui/row/1", "/micro/ui/export", "/micro/good"]
UUID = "c6ef3124-b53a-4b13-a233-0088f79dcbcb"


def ask(
    client: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    return response, response.read()


def send(client: http.client.HTTPConnection, *wires: dict[str, str]) -> None:
    client.request("POST", TP2, payload_data(*({**BASICS, **wire} for wire in wires)), {"Content-Type": JSON})
    client.getresponse().read()


class Listener:
    """A page that has asked for the stream, without a browser."""

    def __init__(self, port: int, query: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(f"GET /micro/ui/stream{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self._file = self.socket.makefile("rb")
        self.head = b"".join(iter(self._file.readline, b"\r\n")).decode()

    def message(self) -> dict[str, Any]:
        for line in self._file:
            if line.startswith(b"data: "):
                found: dict[str, Any] = json.loads(line[6:])
                return found
        raise AssertionError("the stream has ended")

    def rows(self, count: int) -> list[list[Any]]:
        found: list[list[Any]] = []
        while len(found) < count:
            found += self.message()["rows"]
        return found

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def listener(collector: LocalCollector) -> Iterator[Listener]:
    listening = Listener(collector.port)
    yield listening
    listening.close()


# --- the document --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/micro/ui"])
def test_the_page_is_one_document_that_may_load_nothing_from_elsewhere(
    client: http.client.HTTPConnection, path: str
) -> None:
    response, body = ask(client, path)
    assert (response.status, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for name in ("script", "style"):
        (content,) = re.findall(rb"<%b>(.*?)</%b>" % (name.encode(), name.encode()), body, re.DOTALL)
        assert policy[f"{name}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"


def test_the_page_has_no_address_of_another_host_and_no_way_to_make_html_of_text() -> None:
    text = (Path(__file__).parents[2] / "snowplow_tracker" / "collector" / "page.html").read_text("utf-8")
    addresses = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+", text)) - {"http://www.w3.org", "https://example.com"}
    assert addresses == set()
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=", ' onclick="'):
        assert sink not in text


def test_a_head_request_gets_the_headers_alone(client: http.client.HTTPConnection) -> None:
    for path in ("/", "/micro/ui/stream"):
        response, body = ask(client, path, "HEAD")
        assert (response.status, body) == (200, b"")


def test_a_link_on_another_site_leads_to_the_page_but_not_to_what_it_shows(client: http.client.HTTPConnection) -> None:
    assert ask(client, "/", Sec_Fetch_Site="cross-site")[0].status == 200
    for path in PRIVATE:
        assert ask(client, path, Sec_Fetch_Site="cross-site")[0].status == 403
        assert ask(client, path, Origin="https://evil.example")[0].status == 403


@pytest.mark.parametrize("path", ["/", "/micro/ui", *PRIVATE, "/micro/iglu/a/b/jsonschema/1-0-0"])
def test_a_name_that_is_made_to_lead_here_is_refused(client: http.client.HTTPConnection, path: str) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"):
        client.putrequest("GET", path, skip_host=True)
        client.putheader("Host", host)
        client.endheaders()
        response = client.getresponse()
        response.read()
        assert response.status == 403


@pytest.mark.parametrize("path", ["/", *PRIVATE, "/micro/ui/nothing", "/micro/iglu/a/b/jsonschema/1-0-0"])
def test_no_answer_lets_another_origin_read_it(client: http.client.HTTPConnection, path: str) -> None:
    response, _ = ask(client, path, "HEAD")
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/micro/ui/", "/micro/ui/row/", "/micro/ui/row/x", "/micro/ui/row/1/2", "/micro/ui/.."]
)
def test_what_is_not_there_is_not_found(client: http.client.HTTPConnection, path: str) -> None:
    response, body = ask(client, path)
    assert response.status == 404
    assert "error" in json.loads(body)


# --- the stream ----------------------------------------------------------------------------------------------------


def test_the_stream_tells_what_was_there_and_what_comes(
    collector: LocalCollector, client: http.client.HTTPConnection
) -> None:
    send(client, {"eid": UUID, "aid": "shop", "page": "Home", "dtm": "1369330909000"}, {"e": "se", "se_va": "walrus"})
    listener = Listener(collector.port)
    assert "Content-Type: text/event-stream" in listener.head
    assert "Content-Length" not in listener.head
    first = listener.message()
    assert (first["good"], first["bad"], first["first"], first["last"]) == (1, 1, 1, 2)
    good, bad = first["rows"]
    assert good[:7] == [1, 1, "page_view", UUID, "Home", "", "shop"]
    assert good[8] == good[7] - 1369330909000
    assert bad[:6] == [2, 0, "struct", "", "(no name)", "se_va must be a decimal number, got 'walrus'"]
    send(client, {"page": "Next"})
    assert listener.rows(1)[0][4] == "Next"
    listener.close()


def test_a_search_finds_names_values_schemas_and_errors(listener: Listener, client: http.client.HTTPConnection) -> None:
    send(
        client,
        {"e": "ue", "ue_pr": unstruct(), "co": contexts(USER), "uid": "Ada"},
        {"e": "se", "se_ca": "Shop", "se_va": "walrus"},
    )
    game, shop = (row[9] for row in listener.rows(2))
    for words in ("save_game", '"level": 23', "ada", "com.acme/user", '"tester"', "unstruct"):
        assert words in game
    assert "shop" in shop
    assert "must be a decimal number" in shop


def test_a_page_that_comes_back_gets_only_what_it_missed(
    collector: LocalCollector, client: http.client.HTTPConnection
) -> None:
    send(client, {"page": "a"}, {"page": "b"})
    listener = Listener(collector.port)
    generation = listener.message()["generation"]
    listener.close()
    send(client, {"page": "c"})
    again = Listener(collector.port, f"?generation={generation}&after=2")
    assert [row[4] for row in again.rows(1)] == ["c"]
    again.close()


@pytest.mark.parametrize("query", ["?generation=x&after=99", "?after=walrus", "?generation=&after=-1", "?" + "&" * 99])
def test_a_page_that_knows_another_collector_gets_everything(
    collector: LocalCollector, client: http.client.HTTPConnection, query: str
) -> None:
    send(client, {"page": "a"}, {"page": "b"})
    listener = Listener(collector.port, query)
    assert [row[4] for row in listener.rows(2)] == ["a", "b"]
    listener.close()


def test_a_reset_is_told_as_a_new_generation(
    listener: Listener, collector: LocalCollector, client: http.client.HTTPConnection
) -> None:
    send(client, {}, {})
    before = listener.message()["generation"]
    collector.reset()
    after = listener.message()
    while after["generation"] == before:
        after = listener.message()
    assert (after["good"], after["rows"]) == (0, [])
    send(client, {"page": "new"})
    assert listener.rows(1)[0][4] == "new"


def test_many_rows_come_in_small_messages_and_none_is_left_out(
    collector: LocalCollector, client: http.client.HTTPConnection
) -> None:
    for part in range(4):
        send(client, *({"page": str(part * 400 + number)} for number in range(400)))
    listener = Listener(collector.port)
    pages: list[str] = []
    while len(pages) < 1600:
        rows = listener.message()["rows"]
        assert len(rows) <= ROWS_A_MESSAGE
        pages += [row[4] for row in rows]
    assert pages == [str(number) for number in range(1600)]
    listener.close()


def test_a_reader_who_missed_what_left_the_ring_is_told_where_it_goes_on() -> None:
    with LocalCollector(max_events=10) as collector:
        client = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
        send(client, *({"page": str(number)} for number in range(25)))
        listener = Listener(collector.port)
        told = listener.message()
        assert (told["first"], told["last"], told["good"]) == (16, 25, 25)
        assert [row[4] for row in told["rows"]] == [str(number) for number in range(15, 25)]
        listener.close()
        client.close()


def test_the_number_of_streams_is_bounded_and_a_closed_one_makes_room(
    collector: LocalCollector, client: http.client.HTTPConnection
) -> None:
    listeners = [Listener(collector.port) for _ in range(MAX_STREAMS)]
    response, body = ask(client, "/micro/ui/stream")
    assert response.status == 503
    assert "too many pages" in json.loads(body)["error"]
    listeners.pop().close()
    deadline = time.monotonic() + 10
    while True:  # the collector notices with its next message
        send(client, {})
        late = Listener(collector.port)
        if " 200 " in late.head:
            break
        late.close()
        assert time.monotonic() < deadline
    for listener in (*listeners, late):
        listener.close()


def test_readers_who_read_nothing_hold_nobody_up(
    collector: LocalCollector, client: http.client.HTTPConnection, listener: Listener
) -> None:
    silent = [Listener(collector.port) for _ in range(3)]
    for _ in range(20):
        send(client, *({"page": "x" * 1900} for _ in range(400)))
    assert len(listener.rows(8000)) == 8000
    for one in silent:
        one.close()


def test_stopping_does_not_wait_for_open_pages() -> None:
    with LocalCollector() as collector:
        listeners = [Listener(collector.port) for _ in range(3)]
        for listener in listeners:
            listener.message()
        begun = time.monotonic()
        collector.stop()
        assert time.monotonic() - begun < 2.0
        for listener in listeners:
            listener.close()


# --- one event -----------------------------------------------------------------------------------------------------


def row(client: http.client.HTTPConnection, sequence: int) -> dict[str, Any]:
    response, body = ask(client, f"/micro/ui/row/{sequence}")
    assert response.status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


def test_an_opened_event_shows_its_data_its_request_its_batch_and_its_times(client: http.client.HTTPConnection) -> None:
    times = {"dtm": "1369330909000", "stm": "1369330909500"}
    send(client, {"page": "a"}, {"e": "ue", "ue_pr": unstruct(), "co": contexts(USER), **times}, {"e": "xx"})
    found = row(client, 2)
    assert found["good"] is True
    assert found["data"] == SAVE_GAME
    assert found["contexts"] == [USER]
    assert found["schema"] == SAVE_GAME["schema"]
    assert (found["times"]["created"], found["times"]["sent"]) == (1369330909000, 1369330909500)
    asked = found["request"]
    assert (asked["method"], asked["path"], asked["status"], asked["number"]) == ("POST", TP2, 200, 1)
    assert ["Content-Type", JSON] in asked["headers"]
    assert len(json.loads(asked["body"])["data"]) == found["batchSize"] == 3
    assert [(other["sequence"], other["good"]) for other in found["batch"]] == [(1, True), (2, True), (3, False)]


def test_a_bad_event_says_why_and_which_call_made_it(client: http.client.HTTPConnection) -> None:
    send(client, {"e": "se", "se_ca": "shop", "se_ac": "buy", "se_va": "walrus", "res": "big", "co": "no json"})
    found = row(client, 1)
    assert found["errorType"] == "schema_violations"
    assert found["origin"] == (
        "track_struct_event('shop', 'buy'), se_va is its 'value', "
        "res comes from set_screen_resolution(), co is its 'context'"
    )
    assert found["contexts"] == "no json"


def test_a_request_that_was_refused_as_a_whole_can_be_opened(client: http.client.HTTPConnection) -> None:
    client.request("POST", TP2, b"wal\xffrus", {"Content-Type": "text/plain"})
    client.getresponse().read()
    found = row(client, 1)
    assert (found["kind"], found["wire"], found["batchSize"]) == ("request", {}, 1)
    assert "Content-Type must be application/json" in found["errors"][0]
    assert found["request"]["body"] == "wal\ufffdrus"


def test_a_body_that_was_lost_names_the_calls_that_made_its_events(client: http.client.HTTPConnection) -> None:
    body = payload_data({**BASICS, "e": "se", "se_ca": "shop", "se_ac": "buy", "se_va": 4}, {"e": "pv", "url": "/a"}, 7)
    client.request("POST", TP2, body, {"Content-Type": JSON})
    client.getresponse().read()
    found = row(client, 1)
    assert "event 0: se_va must be a string, got 4 (int)" in found["errors"]
    assert found["lost"] == [
        "event 0: track_struct_event('shop', 'buy')",
        "event 1: track_page_view('/a')",
        "event 2: no event",
    ]


@pytest.mark.parametrize("sequence", [0, 2, 10**17])
def test_an_event_that_is_not_there_is_a_sentence(client: http.client.HTTPConnection, sequence: int) -> None:
    send(client, {})
    response, body = ask(client, f"/micro/ui/row/{sequence}")
    assert response.status == 404
    assert "has left the collector's memory" in json.loads(body)["error"]


# --- the export ----------------------------------------------------------------------------------------------------


def exported(client: http.client.HTTPConnection, query: str = "") -> list[dict[str, str]]:
    response, body = ask(client, f"/micro/ui/export{query}")
    assert response.status == 200
    assert re.fullmatch(r'attachment; filename="events-\d{8}-\d{6}\.jsonl"', response.headers["Content-Disposition"])
    return [json.loads(line) for line in body.splitlines()]


def test_the_export_is_the_wire_of_each_event_a_line(client: http.client.HTTPConnection) -> None:
    wires = [{**BASICS, "page": f"\ud800 ü\n{number}"} for number in range(1200)]
    send(client, *wires, {"e": "se", "se_va": "walrus"})
    client.request("POST", "/com.acme/v9", b"x")  # refused as a whole: there is no event in it
    client.getresponse().read()
    assert exported(client) == [*wires, {**BASICS, "e": "se", "se_va": "walrus"}]


@pytest.mark.parametrize(
    ("query", "pages"),
    [
        ("?verdict=good", ["Home", "Shop", "se"]),
        ("?verdict=bad", ["bad"]),
        ("?kind=struct", ["se"]),
        ("?kind=struct&kind=page_view&verdict=good", ["Home", "Shop", "se"]),
        ("?words=HOME", ["Home"]),
        ("?words=home%20walrus", []),
        ("?verdict=walrus", ["Home", "Shop", "se", "bad"]),
    ],
)
def test_the_export_can_be_narrowed_as_the_list_is(
    client: http.client.HTTPConnection, query: str, pages: list[str]
) -> None:
    send(client, {"page": "Home"}, {"page": "Shop"}, {"e": "se", "page": "se"}, {"page": "bad", "res": "x"})
    assert [wire["page"] for wire in exported(client, query)] == pages


# --- hostile events ------------------------------------------------------------------------------------------------

HOSTILE = [
    {"page": "<script>alert(1)</script>", "aid": "<img src=x onerror=alert(1)>"},
    {"page": "\ud800\udfff lone \udc00", "uid": "\u202e\u2028\u2029\x00\x1b[2J"},
    {"e": "ue", "ue_pr": unstruct({"schema": SAVE_GAME["schema"], "data": {"x" * 1000: "y" * 700_000}})},
    {"e": "ue", "ue_pr": unstruct({"schema": SAVE_GAME["schema"], "data": json.loads("[" * 40 + "]" * 40)})},
    {"e": "ue", "ue_pr": "[" * 90_000},
    {"e": "ue", "ue_px": "AAAA/-_!~"},
    {"e": "data: x\n\nevent: y\n\n", "dtm": "9" * 400, "stm": "-1"},
    {"e": "__proto__", "constructor": "x"},
]


@pytest.mark.parametrize("wire", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_events_are_shown_and_break_nothing(
    listener: Listener, client: http.client.HTTPConnection, wire: dict[str, str]
) -> None:
    send(client, wire, {"page": "after"})
    rows = listener.rows(2) if "constructor" not in wire else listener.rows(1)
    assert all(len(line[9]) <= 1000 and len(line[4]) <= 120 and len(line[5]) <= 240 for line in rows)
    assert row(client, rows[0][0])["sequence"] == rows[0][0]
    exported(client)


def test_huge_headers_and_slow_senders_do_not_reach_the_page(collector: LocalCollector) -> None:
    asked = b"GET /micro/ui/stream HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 50_000
    assert b" 431 " in exchange(collector.port, asked + b"\r\n\r\n")[:30]
    assert b" 414 " in exchange(collector.port, b"GET /micro/ui/export?" + b"x" * 30_000 + b" HTTP/1.1\r\n\r\n")[:30]


# --- schemas over HTTP ---------------------------------------------------------------------------------------------


def iglu(tmp_path: Path, path: str) -> tuple[int, bytes]:
    folder = tmp_path / "schemas" / "com.acme" / "thing" / "jsonschema"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1-0-0").write_bytes(b'{"type": "object"}')
    (tmp_path / "secret").mkdir(exist_ok=True)
    (tmp_path / "secret" / "1-0-0").write_bytes(b"secret")
    folders = SchemaFolders([tmp_path / "schemas"])
    response = Service(Journal(), Script(), "127.0.0.1", folders.check, folders).answer(request("GET", path))
    assert response is not None
    return response.status, response.body


def test_a_schema_is_shown_as_it_lies_in_the_folder(tmp_path: Path) -> None:
    assert iglu(tmp_path, "/micro/iglu/com.acme/thing/jsonschema/1-0-0") == (200, b'{"type": "object"}')


@pytest.mark.parametrize(
    "path",
    [
        "com.acme/thing/jsonschema/1-0-1",
        "../secret/1-0-0",
        "../../secret/1-0-0",
        "..%2f..%2fsecret/1-0-0",
        "%2e%2e/secret/jsonschema/1-0-0",
        "com.acme/../../secret/1-0-0",
        "com.acme/thing/jsonschema/../../../../secret/1-0-0",
        "/etc/passwd",
        "com.acme/thing/jsonschema/1-0-0%00",
        "..\\..\\secret\\1-0-0",
        "com.acme",
        "",
    ],
)
def test_no_path_leads_to_another_file(tmp_path: Path, path: str) -> None:
    status, body = iglu(tmp_path, f"/micro/iglu/{path}")
    assert status == 404
    assert json.loads(body) == {"error": f"there is no schema {path} in the folders of --schemas"}


def test_a_collector_without_schemas_says_how_to_give_it_some(client: http.client.HTTPConnection) -> None:
    response, body = ask(client, "/micro/iglu/com.acme/thing/jsonschema/1-0-0")
    assert response.status == 404
    assert "--schemas" in json.loads(body)["error"]
