"""From requests to events: bodies, query strings, and payloads that are lost as a whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sending import BASICS, JSON, SNOWPLOW, TP2, collected, get, payload_data, post, refusal, request

UUID = "c6ef3124-b53a-4b13-a233-0088f79dcbcb"
PROTOCOL = "tracker_protocol_violations"
FORMAT = "collector_payload_format_violation"


class TestBody:
    def test_all_its_events_arrive_in_order(self) -> None:
        journal = post(payload_data(*({**BASICS, "page": str(number)} for number in range(5))))
        assert [event.wire["page"] for event in journal.good()] == ["0", "1", "2", "3", "4"]

    @pytest.mark.parametrize("number", range(5))
    def test_versions_0_to_4_of_payload_data_are_taken(self, number: int) -> None:
        assert post(payload_data(BASICS, version=f"1-0-{number}")).counts.good == 1

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "APPLICATION/JSON ; Charset = utf-8",
        ],
    )
    def test_json_in_utf8_is_the_content_type(self, content_type: str) -> None:
        assert post(payload_data(BASICS), content_type=content_type).counts.good == 1

    @pytest.mark.parametrize(
        "content_type",
        [
            None,
            "",
            "text/plain",
            "application/json; charset=latin-1",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-8; x=y",
            "application/vnd.api+json",
        ],
    )
    def test_any_other_content_type_loses_the_body(self, content_type: str | None) -> None:
        error_type, errors = refusal(post(payload_data(BASICS, BASICS), content_type=content_type))
        assert error_type == PROTOCOL
        assert errors[0].startswith("Content-Type must be application/json")

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"", "the body must be JSON"),
            (b"walrus", "the body must be JSON"),
            (b"\x1f\x8b\x08 gzipped", "the body must be JSON"),
            (payload_data(BASICS)[:-1], "the body must be JSON"),
            (payload_data(BASICS).replace(b'"pc"', b"NaN"), "NaN is not JSON"),
            (b"[" * 60 + b"]" * 60, "50 levels"),
            (b"[" * 200_000, "50 levels"),
            (payload_data(BASICS)[:-1] + b', "x": ' + b"[" * 50 + b"]" * 50 + b"}", "50 levels"),
            (b"[]", "must be {schema, data}"),
            (b"null", "must be {schema, data}"),
            (json.dumps([BASICS]).encode(), "must be {schema, data}"),
            (json.dumps({"data": [BASICS]}).encode(), "must be {schema, data}"),
            (payload_data(BASICS, version="1-0-5"), "schema must be"),
            (payload_data(BASICS, version="2-0-0"), "schema must be"),
            (payload_data(BASICS).replace(b"payload_data", b"contexts"), "schema must be"),
            (payload_data(BASICS).replace(b"iglu:", b""), "schema must be"),
            (json.dumps({"schema": 1, "data": [BASICS]}).encode(), "schema must be"),
            (payload_data(), "at least one event"),
            (json.dumps({"schema": f"{SNOWPLOW}/payload_data/jsonschema/1-0-4", "data": BASICS}).encode(), "a list"),
            (json.dumps({"schema": f"{SNOWPLOW}/payload_data/jsonschema/1-0-4", "data": None}).encode(), "a list"),
        ],
    )
    def test_a_body_of_another_form_is_lost(self, body: bytes, words: str) -> None:
        error_type, errors = refusal(post(body))
        assert error_type == PROTOCOL
        assert words in errors[0]
        assert len(errors[0]) < 300

    @pytest.mark.parametrize(
        ("event", "words"),
        [
            ({**BASICS, "se_va": 2}, "event 1: se_va must be a string, got 2 (int)"),
            ({**BASICS, "se_va": 2.5}, "event 1: se_va must be a string, got 2.5 (float)"),
            ({**BASICS, "uid": None}, "event 1: uid must be a string, got None (NoneType)"),
            ({**BASICS, "f_pdf": True}, "event 1: f_pdf must be a string, got True (bool)"),
            ({**BASICS, "ue_pr": {"schema": "x"}}, "event 1: ue_pr must be a string"),
            ({**BASICS, "co": [[[]]]}, "event 1: co must be a string"),
            ({"e": "pv", "p": "pc"}, "event 1: tv is required"),
            ({"e": "pv", "tv": "x"}, "event 1: p is required"),
            ({"tv": "x", "p": "pc"}, "event 1: e is required"),
            ({**BASICS, "walrus": "x"}, "event 1: 'walrus' is not a key of payload_data 1-0-4"),
            ("pv", "event 1 must be an object, got 'pv'"),
            (None, "event 1 must be an object, got None"),
            ([], "event 1 must be an object, got []"),
        ],
    )
    def test_one_bad_event_fails_all_of_it(self, event: Any, words: str) -> None:
        journal = post(payload_data(BASICS, event, BASICS))
        error_type, errors = refusal(journal)
        assert error_type == PROTOCOL
        assert words in errors[0]
        assert journal.bad()[0].event_count == 3

    def test_one_bad_value_fails_its_event_alone(self) -> None:
        journal = post(payload_data(BASICS, {**BASICS, "se_va": "walrus"}, BASICS))
        assert (journal.counts.good, journal.counts.bad) == (2, 1)

    def test_the_reasons_are_not_without_end(self) -> None:
        errors = refusal(post(payload_data(*[{"x": 1}] * 500)))[1]
        assert len(errors) == 21
        assert errors[-1] == "and 2480 more"

    def test_parameters_of_the_url_override_every_event(self) -> None:
        journal = post(payload_data(BASICS, {**BASICS, "aid": "body"}), query="aid=url&p=tv")
        assert [(row.wire["aid"], row.wire["p"]) for row in journal.good()] == [("url", "tv"), ("url", "tv")]

    def test_a_parameter_of_the_url_is_judged_like_a_key(self) -> None:
        assert post(payload_data(BASICS, BASICS), query="p=walrus").counts.bad == 2

    def test_bytes_that_are_no_utf8_do_not_lose_the_event(self) -> None:
        body = payload_data({**BASICS, "page": "XX"}).replace(b"XX", b"\xff\xfe")
        assert post(body).good()[0].wire["page"] == "\ufffd\ufffd"

    def test_of_a_repeated_key_the_last_wins(self) -> None:
        body = payload_data({**BASICS, "page": "last"}).replace(b'"e":', b'"page": "first", "e":')
        assert post(body).good()[0].wire["page"] == "last"


class TestSize:
    def test_a_payload_of_a_mebibyte_arrives_and_one_byte_more_is_lost(self) -> None:
        room = 1_048_576 - len(payload_data({**BASICS, "ue_na": ""}))
        assert post(payload_data({**BASICS, "ue_na": "x" * room})).counts.good == 1
        journal = post(payload_data({**BASICS, "ue_na": "x" * room}, BASICS))
        error_type, errors = refusal(journal)
        assert error_type == "size_violation"
        assert "at most 1048576 bytes" in errors[0]
        assert journal.bad()[0].event_count == 2

    def test_the_query_string_counts_as_well(self) -> None:
        room = 1_048_576 - len(payload_data({**BASICS, "ue_na": ""}))
        journal = post(payload_data({**BASICS, "ue_na": "x" * room}), query="a=b")
        assert refusal(journal)[0] == "size_violation"


class TestQuery:
    def test_it_is_one_event(self) -> None:
        journal = get("e=se&p=pc&tv=x&se_ca=some%20cat&se_ac=save+action&se_la=%C3%BC")
        assert journal.good()[0].wire == {
            "e": "se",
            "p": "pc",
            "tv": "x",
            "se_ca": "some cat",
            "se_ac": "save action",
            "se_la": "ü",
        }

    def test_of_duplicates_the_last_wins(self) -> None:
        assert get("e=pv&aid=a&aid=b&aid=c").good()[0].wire["aid"] == "c"

    def test_a_semicolon_separates(self) -> None:
        assert get("e=pv&page=a;b&aid=c").good()[0].wire == {"e": "pv", "page": "a", "aid": "c"}
        assert get("e=pv;aid=a").good()[0].wire == {"e": "pv", "aid": "a"}
        assert get("e=pv&page=a%3Bb").good()[0].wire["page"] == "a;b"

    def test_what_has_no_name_or_no_value_is_left_out(self) -> None:
        assert get("e=pv&=x&page&&aid=").good()[0].wire == {"e": "pv", "aid": ""}

    def test_unknown_keys_are_ignored(self) -> None:
        assert get("e=pv&walrus=1&data=x&contexts=y").counts.good == 1

    @pytest.mark.parametrize("character", [*' "<>\\^`{|}\x7f', "%", "%z1", "%1", "%1z"])
    def test_what_is_illegal_in_a_uri_loses_the_payload(self, character: str) -> None:
        error_type, errors = refusal(get(f"e=pv&page=a{character}"))
        assert error_type == FORMAT
        assert "must be legal in a URI" in errors[0]

    @pytest.mark.parametrize("character", [*"!$'()*,-./:?@[]_~", "%22", "ü"])
    def test_what_is_legal_arrives(self, character: str) -> None:
        assert get(f"e=pv&page=a{character}").counts.good == 1

    @pytest.mark.parametrize("query", ["", "walrus", "&&;", "=x"])
    def test_without_parameters_there_is_no_event(self, query: str) -> None:
        error_type, errors = refusal(get(query))
        assert error_type == "adapter_failures"
        assert "query string is empty" in errors[0]

    def test_a_standard_base64_plus_arrives_as_a_blank_and_is_skipped(self) -> None:
        assert get("e=ue&ue_px=eyJ+").counts.bad == 1


class TestNetworkUser:
    @pytest.mark.parametrize("nuid", ["walrus", "", "1-1-1-1-1"])
    def test_a_nuid_in_the_url_must_be_a_uuid(self, nuid: str) -> None:
        error_type, errors = refusal(get(f"e=pv&nuid={nuid}"))
        assert error_type == FORMAT
        assert "must be a UUID" in errors[0]

    def test_a_nuid_in_the_url_of_a_post_loses_its_body(self) -> None:
        assert refusal(post(payload_data(BASICS, BASICS), query="nuid=walrus"))[0] == FORMAT

    def test_a_nuid_in_a_body_is_text(self) -> None:
        assert post(payload_data({**BASICS, "nuid": "walrus"})).counts.good == 1

    def test_an_sp_cookie_must_be_a_uuid(self) -> None:
        assert refusal(get("e=pv", {"Cookie": "a=b; sp=walrus"}))[0] == FORMAT
        assert get("e=pv", {"Cookie": f"a=b; sp={UUID}; c=d"}).good()[0].payload.network_user_id == UUID
        assert get("e=pv", {"Cookie": "xsp=walrus"}).counts.good == 1

    def test_a_nuid_comes_before_the_cookie(self) -> None:
        assert get(f"e=pv&nuid={UUID}", {"Cookie": "sp=walrus"}).counts.good == 1

    def test_an_anonymous_request_keeps_nothing_that_identifies(self) -> None:
        headers = {"SP-Anonymous": "*", "Cookie": "sp=walrus", "X-Forwarded-For": "1.2.3.4"}
        payload = get("e=pv&nuid=walrus", headers).good()[0].payload
        assert payload.network_user_id == "00000000-0000-0000-0000-000000000000"
        assert payload.ip == ""
        assert "Cookie" not in payload.headers
        assert "X-Forwarded-For" not in payload.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/com.snowplowanalytics.iglu/v1"),
        ("POST", "/com.acme/v1"),
        ("HEAD", "/any/pair"),
        ("GET", "/com.snowplowanalytics.snowplow/tp3"),
    ],
)
def test_another_vendor_has_no_adapter(method: str, path: str) -> None:
    error_type, errors = refusal(collected(request(method, path, "e=pv", payload_data(BASICS))))
    assert error_type == "adapter_failures"
    assert path[1:] in errors[0]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/i", "/ice.png", TP2, TP2.replace("tp2", "tp1")])
def test_a_get_or_head_is_its_query_string_and_its_body_is_ignored(method: str, path: str) -> None:
    journal = collected(request(method, path, "e=pv&aid=url", b"walrus", {"Content-Type": JSON}))
    assert journal.good()[0].wire == {"e": "pv", "aid": "url"}
