"""Snowplow Micro's REST, and who may use it."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from sending import BASICS, JSON, SAVE_GAME, SNOWPLOW, TP2, USER, contexts, payload_data, unstruct

from snowplow_tracker.testing import LocalCollector

UUID = "c6ef3124-b53a-4b13-a233-0088f79dcbcb"
ALL_TYPES = [
    ({"e": "pv", "url": "http://example.com/a?b=c#d"}, "page_view", f"{SNOWPLOW}/page_view/jsonschema/1-0-0"),
    ({"e": "pp", "pp_mix": "-1"}, "page_ping", f"{SNOWPLOW}/page_ping/jsonschema/1-0-0"),
    ({"e": "se", "se_ca": "a", "se_va": "2"}, "struct", "iglu:com.google.analytics/event/jsonschema/1-0-0"),
    ({"e": "ue", "ue_pr": unstruct(), "co": contexts(USER)}, "unstruct", SAVE_GAME["schema"]),
    ({"e": "tr", "tr_id": "1", "tr_tt": "12.5"}, "transaction", f"{SNOWPLOW}/transaction/jsonschema/1-0-0"),
    ({"e": "ti", "ti_qu": "2"}, "transaction_item", f"{SNOWPLOW}/transaction_item/jsonschema/1-0-0"),
]


def call(
    client: http.client.HTTPConnection,
    path: str,
    filters: Any = None,
    method: str | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    body = None if filters is None else json.dumps(filters)
    client.request(method or ("GET" if filters is None else "POST"), f"/micro/{path}", body, headers or {})
    response = client.getresponse()
    answer = response.read()
    assert response.status == 200, answer
    assert response.headers["Content-Type"] == "application/json"
    return json.loads(answer)


def send(client: http.client.HTTPConnection, *wires: dict[str, str], query: str = "") -> None:
    client.request("POST", TP2 + query, payload_data(*({**BASICS, **wire} for wire in wires)), {"Content-Type": JSON})
    client.getresponse().read()


@pytest.fixture
def filled(client: http.client.HTTPConnection) -> http.client.HTTPConnection:
    send(client, *(wire for wire, _, _ in ALL_TYPES), {"e": "se", "se_va": "walrus"})
    client.request("POST", "/com.acme/v9", b"x")
    client.getresponse().read()
    return client


def test_all_counts_good_and_bad(filled: http.client.HTTPConnection) -> None:
    assert call(filled, "all") == {"total": 8, "good": 6, "bad": 2}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reset_forgets_all_and_answers_with_zeroes(filled: http.client.HTTPConnection, method: str) -> None:
    assert call(filled, "reset", method=method) == {"total": 0, "good": 0, "bad": 0}
    assert call(filled, "good") == call(filled, "bad") == []


def test_good_lists_the_newest_first_with_type_and_schema(filled: http.client.HTTPConnection) -> None:
    found = [(event["eventType"], event["schema"]) for event in call(filled, "good")]
    assert found == [(name, schema) for _, name, schema in reversed(ALL_TYPES)]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 6),
        ({"event_type": "struct"}, 1),
        ({"event_type": "page_ping"}, 1),
        ({"event_type": "se"}, 0),
        ({"schema": SAVE_GAME["schema"]}, 1),
        ({"schema": SAVE_GAME["schema"], "event_type": "struct"}, 0),
        ({"contexts": [USER["schema"]]}, 1),
        ({"contexts": [USER["schema"], "iglu:com.acme/other/jsonschema/1-0-0"]}, 0),
        ({"contexts": []}, 6),
        ({"limit": 2}, 2),
        ({"limit": 0}, 0),
        ({"limit": 99}, 6),
        ({"event_type": None, "limit": None}, 6),
        ({"unknown": "ignored"}, 6),
    ],
)
def test_good_is_filtered(filled: http.client.HTTPConnection, filters: dict[str, Any], count: int) -> None:
    assert len(call(filled, "good", filters)) == count


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 2),
        ({"vendor": "com.acme"}, 1),
        ({"vendor": "com.acme", "version": "v9"}, 1),
        ({"vendor": "com.acme", "version": "tp2"}, 0),
        ({"version": "tp2"}, 1),
        ({"limit": 1}, 1),
    ],
)
def test_bad_is_filtered(filled: http.client.HTTPConnection, filters: dict[str, Any], count: int) -> None:
    assert len(call(filled, "bad", filters)) == count


@pytest.mark.parametrize(
    "body", [b"walrus", b"[]", b'{"limit": "2"}', b'{"limit": true}', b'{"contexts": "x"}', b'{"schema": 1}']
)
def test_a_filter_that_makes_no_sense_is_refused_with_a_reason(filled: http.client.HTTPConnection, body: bytes) -> None:
    filled.request("POST", "/micro/good", body)
    response = filled.getresponse()
    assert "must be" in json.loads(response.read())["error"]
    assert response.status == 400


def test_a_good_event_has_the_shape_of_micro(client: http.client.HTTPConnection) -> None:
    wire = {
        **BASICS,
        "e": "ue",
        "eid": UUID.upper(),
        "ue_pr": unstruct(),
        "co": contexts(USER),
        "dtm": "1369330909000",
        "stm": "1369330909500",
        "res": "1920x1080",
        "vid": "3",
        "uid": "a\tb",
        "tid": "null",
    }
    send(client, wire, query="?aid=from-url")
    (event,) = call(client, "good")
    assert set(event) == {"rawEvent", "eventType", "schema", "contexts", "event"}
    assert event["rawEvent"]["parameters"] == {**wire, "aid": "from-url"}
    assert event["rawEvent"]["api"] == {"vendor": "com.snowplowanalytics.snowplow", "version": "tp2"}
    assert event["rawEvent"]["contentType"] == JSON
    assert event["rawEvent"]["context"]["ipAddress"] == "127.0.0.1"
    assert event["contexts"] == [USER["schema"]]
    expected = {
        "app_id": "from-url",
        "platform": "pc",
        "event": "unstruct",
        "event_id": UUID,
        "event_vendor": "com.acme",
        "event_name": "save_game",
        "event_format": "jsonschema",
        "event_version": "1-0-0",
        "dvce_created_tstamp": "2013-05-23T17:41:49.000Z",
        "dvce_sent_tstamp": "2013-05-23T17:41:49.500Z",
        "dvce_screenwidth": 1920,
        "dvce_screenheight": 1080,
        "domain_sessionidx": 3,
        "user_id": "a    b",
        "txn_id": None,
        "se_value": None,
        "contexts": {"schema": f"{SNOWPLOW}/contexts/jsonschema/1-0-0", "data": [USER]},
        "unstruct_event": {"schema": f"{SNOWPLOW}/unstruct_event/jsonschema/1-0-0", "data": SAVE_GAME},
    }
    assert {key: event["event"][key] for key in expected} == expected


def enriched(client: http.client.HTTPConnection, **wire: str) -> dict[str, Any]:
    send(client, wire)
    found = call(client, "good", {"limit": 1})[0]["event"]
    assert isinstance(found, dict)
    return found


def test_numbers_are_numbers_and_what_json_cannot_say_is_null(client: http.client.HTTPConnection) -> None:
    assert enriched(client, e="se", se_va="1e+2")["se_value"] == 100
    assert enriched(client, e="se", se_va="1e999")["se_value"] is None
    assert enriched(client, e="ti", ti_qu="0" * 5000 + "7", ti_pr="null")["ti_quantity"] == 7


def test_times_of_all_legal_years_can_be_shown(client: http.client.HTTPConnection) -> None:
    for value in ("-62167219200000", "253402300799999", "0" * 5000 + "1"):
        assert enriched(client, dtm=value)["dvce_created_tstamp"]


def test_the_derived_time_is_corrected_by_the_clock_of_the_device(client: http.client.HTTPConnection) -> None:
    event = enriched(client, dtm="1369330909000", stm="1369330909000")
    assert event["derived_tstamp"] == event["collector_tstamp"]
    event = enriched(client, dtm="0", stm="1700000000000")
    assert event["derived_tstamp"] < event["collector_tstamp"]
    assert enriched(client, ttm="1369330909000", dtm="0", stm="1")["derived_tstamp"] == "2013-05-23T17:41:49.000Z"


def test_a_page_comes_in_its_parts(client: http.client.HTTPConnection) -> None:
    event = enriched(client, url="https://u@shop.example:81/a/b?c=d#e", refr="www.example.com")
    parts = {key.removeprefix("page_url"): value for key, value in event.items() if key.startswith("page_url")}
    assert parts == {
        "": "https://u@shop.example:81/a/b?c=d#e",
        "scheme": "https",
        "host": "shop.example",
        "path": "/a/b",
        "query": "c=d",
        "fragment": "e",
    }
    assert event["refr_urlpath"] == "www.example.com"


def test_the_tracker_speaks_for_its_user_before_the_request_does(client: http.client.HTTPConnection) -> None:
    event = enriched(client, ip="1.2.3.4, 5.6.7.8", ua="Game/1", tnuid="t", nuid="n")
    assert (event["user_ipaddress"], event["useragent"], event["network_userid"]) == ("1.2.3.4", "Game/1", "t")
    assert enriched(client)["user_ipaddress"] == "127.0.0.1"


def test_a_bad_event_says_why_and_shows_what_came(filled: http.client.HTTPConnection) -> None:
    payload, event = call(filled, "bad")
    assert event["errorType"] == "schema_violations"
    assert event["errors"] == ["se_va must be a decimal number, got 'walrus'"]
    assert event["rawEvent"]["parameters"]["se_va"] == "walrus"
    assert payload["errorType"] == "adapter_failures"
    assert payload["collectorPayload"]["api"] == {"vendor": "com.acme", "version": "v9"}
    assert payload["collectorPayload"]["body"] == "x"
    assert payload["rawEvent"] is None


class TestTrust:
    """Pages of other origins may send events, and nothing more."""

    def answer(self, client: http.client.HTTPConnection, path: str, **headers: str) -> http.client.HTTPResponse:
        client.putrequest("GET", path, skip_host=True)
        for name, value in headers.items():
            client.putheader(name.replace("_", "-"), value)
        client.endheaders()
        response = client.getresponse()
        response.read()
        return response

    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:9090", "LOCALHOST", "127.0.0.1", "127.0.0.1:1", "127.1.2.3", "[::1]:80"]
    )
    def test_a_loopback_host_is_let_in(self, client: http.client.HTTPConnection, host: str) -> None:
        assert self.answer(client, "/micro/all", Host=host).status == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "[::2]", "0.0.0.0"]
    )
    @pytest.mark.parametrize("path", ["/micro/all", "/micro/good", "/micro/bad", "/micro/reset", "/micro/iglu/x"])
    def test_any_other_host_is_refused(self, client: http.client.HTTPConnection, host: str, path: str) -> None:
        assert self.answer(client, path, Host=host).status == 403

    def test_no_host_is_refused(self, client: http.client.HTTPConnection) -> None:
        assert self.answer(client, "/micro/good").status == 403

    def test_any_host_may_send_events(self, client: http.client.HTTPConnection) -> None:
        assert self.answer(client, "/i?e=pv", Host="collector.evil.example").status == 200

    def test_a_page_of_another_origin_is_refused(
        self, collector: LocalCollector, filled: http.client.HTTPConnection
    ) -> None:
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
            assert self.answer(filled, "/micro/reset", Host="localhost", **headers).status == 403
        assert len(collector.events) == 6

    def test_our_own_origin_is_let_in(self, collector: LocalCollector, client: http.client.HTTPConnection) -> None:
        host = f"127.0.0.1:{collector.port}"
        answer = self.answer(client, "/micro/all", Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin")
        assert answer.status == 200

    @pytest.mark.parametrize("path", ["all", "good", "bad", "reset", "nothing"])
    @pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD", "PUT"])
    def test_no_answer_lets_another_origin_read_it(
        self, client: http.client.HTTPConnection, path: str, method: str
    ) -> None:
        client.request(method, f"/micro/{path}", headers={"Access-Control-Request-Method": "POST"})
        response = client.getresponse()
        response.read()
        assert not [name for name in response.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/micro", "/micro/", "/micro/nothing", "/micro/iglu/../../etc/passwd", "/micro/good/"]
)
def test_what_is_not_there_is_not_found_and_not_collected(
    collector: LocalCollector, client: http.client.HTTPConnection, path: str
) -> None:
    client.request("GET", path)
    response = client.getresponse()
    assert "error" in json.loads(response.read())
    assert response.status == 404
    assert collector.bad == []


def test_the_rest_answers_while_the_collector_is_scripted_to_fail(
    collector: LocalCollector, client: http.client.HTTPConnection
) -> None:
    collector.black_hole()
    assert call(client, "all") == {"total": 0, "good": 0, "bad": 0}
