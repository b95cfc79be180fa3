"""Each key of the protocol: what is taken, what is refused, and in what words."""

from __future__ import annotations

import json
import urllib.parse

import pytest
from sending import BASICS, get, payload_data, post, refusal

from snowplow_tracker.collector.rules import BODY_KEYS, CHECKS, EVENT_TYPES, PLATFORMS

TEXT_LIMITS = {
    "tv": 100, "tna": 128, "aid": 255, "tz": 255, "uid": 255, "duid": 128, "nuid": 128, "tnuid": 128, "fp": 128,
    "ip": 128, "ua": 1000, "lang": 255, "cs": 128, "cd": 12, "page": 2000, "se_ca": 1000, "se_ac": 1000, "se_la": 4096,
    "se_pr": 1000, "tr_id": 255, "tr_af": 255, "tr_ci": 255, "tr_st": 255, "tr_co": 255, "tr_cu": 3, "ti_cu": 3,
    "ti_id": 255, "ti_sk": 255, "ti_nm": 255, "ti_na": 255, "ti_ca": 255,
}  # fmt: skip
QUERY_TEXT_LIMITS = {"cv": 100, "ev_ca": 1000, "ev_ac": 1000, "ev_la": 4096, "ev_pr": 1000}
TIMESTAMPS = ("dtm", "stm", "ttm")
INT32 = ("tid", "vid", "ti_qu", "pp_mix", "pp_max", "pp_miy", "pp_may")
DECIMALS = ("se_va", "tr_tt", "tr_tx", "tr_sh", "ti_pr")
UUIDS = ("eid", "sid")
FLAGS = ("cookie", "f_pdf", "f_fla", "f_java", "f_dir", "f_qt", "f_realp", "f_wma", "f_gears", "f_ag")
SIZES = ("res", "vp", "ds")
URIS = ("url", "refr")
IGNORED = ("mac", "ctype", "sa", "sn", "st", "sp", "ad_ba", "ad_ca", "ad_ad", "ad_uid", "ue_na")
UUID = "c6ef3124-b53a-4b13-a233-0088f79dcbcb"

GOOD = [
    *((key, "x" * limit) for key, limit in TEXT_LIMITS.items()),
    *((key, "") for key in TEXT_LIMITS),
    *((key, "null") for key in TEXT_LIMITS if key not in ("tr_cu", "ti_cu")),
    *((key, value) for key in TIMESTAMPS for value in ("1369330909000", "0", "-1", "+5", "1369330909", "0005")),
    *((key, value) for key in TIMESTAMPS for value in ("-62167219200000", "253402300799999")),
    *((key, value) for key in INT32 for value in ("0", "-7", "+7", "2147483647", "-2147483648", "null", "NULL", "007")),
    *((key, value) for key in DECIMALS for value in ("2", "12.99", "-1", "+1", "23.", ".5", "1e+22", "1E5", "5e-3")),
    *((key, value) for key in DECIMALS for value in ("null", "Null", "0.1000000000000000055511151231257827")),
    *((key, value) for key in UUIDS for value in (UUID, UUID.upper())),
    *((key, value) for key in FLAGS for value in ("0", "1")),
    *((key, value) for key in SIZES for value in ("1920x1080", "0x0", "2147483647x1", "0001x1")),
    *((key, value) for key in URIS for value in (
        "http://example.com/a?b=c#d", "www.example.com", "/a/b", "?q", "#f", "", "\n", "mailto:a@example.com",
        "http://ex%C3%A4mple.com/%20", "http://example.com/ä", "http://[::1]:8080/", "http://u:p@example.com:1/",
        "file:///a", "http://example.com/" + "p" * 2900, "http://example.com/?q=[1]", "android-app://com.acme",
    )),
    *((key, "anything at all" * 1000) for key in IGNORED),
]  # fmt: skip

BAD = [
    *((key, "x" * (limit + 1), f"at most {limit} characters") for key, limit in TEXT_LIMITS.items()),
    *((key, value, "an integer of milliseconds since the epoch") for key in TIMESTAMPS for value in (
        "", " ", "null", "2.0", "1e3", "1369330909000.0", "walrus", "1 ", "0x10", "１２", "-62167219200001",
        "253402300800000", "9" * 19, "9" * 5000, "--1", "1_000",
    )),
    *((key, value, "an integer of 32 bits") for key in INT32 for value in (
        "", " ", "2.0", "1e3", "walrus", "1,5", "2147483648", "-2147483649", "None", "9" * 5000, "１", "1_000", "+",
    )),
    *((key, value, "a decimal number") for key in DECIMALS for value in (
        "", " ", "walrus", "NaN", "inf", "Infinity", "1,5", "1_000", " 1", "1 ", ".", "1e", "1e5.5", "0x1", "$5", "１",
        "1e2147483648", "True",
    )),
    *((key, value, "a UUID") for key in UUIDS for value in (
        "", "null", "walrus", UUID.replace("-", ""), "{" + UUID + "}", UUID + "0", "1-1-1-1-1", UUID[:-1] + "g",
    )),
    *((key, value, "0 or 1") for key in FLAGS for value in ("", "true", "True", "2", "null", "01")),
    *((key, value, "WIDTHxHEIGHT in pixels") for key in SIZES for value in (
        "", "1920", "1920X1080", "1920x", "x1080", "1920 x 1080", "-1x1", "1.5x1", "2147483648x1", "1x2147483648",
        "１x１", "null", "1x1x1", "9" * 30 + "x1",
    )),
    *((key, value, "a URI") for key in URIS for value in (
        "http://example.com/a b", 'http://example.com/"', "http://example.com/<b>", "http://example.com/a|b",
        "http://example.com/{id}", "http://example.com/100%", "http://example.com/%zz", "http://example.com/\\",
        "http://example.com/`", "http://example.com/^", "http://example.com/\t", "http://", "http:", ":a", "1a:b",
        "http://[::1", "http://[walrus]/", "a#b#c", "/a[1]", "http://example.com/\u00a0", "http://example.com/\u2028",
    )),
    *((key, "http://" + "h" * 256 + "/", "a host of at most 255") for key in URIS),
    *((key, "http://h/?" + "q" * 6001, "a query of at most 6000") for key in URIS),
    *((key, "http://h/#" + "f" * 3001, "a fragment of at most 3000") for key in URIS),
    *((key, "http://h/?" + "q" * 6000 + "#" + "f" * 2999 + "x" * 1500, "at most 10000 characters") for key in URIS),
    ("url", "http://h/" + "p" * 3000, "a path of at most 3000"),
    ("refr", "http://h/" + "p" * 6000, "a path of at most 6000"),
    ("url", "s" * 17 + "://h/", "a scheme of at most 16"),
    *(("p", value, "one of web, iot, app") for value in ("", "PC", "desktop", "null", "pc ")),
    *(("e", value, "one of pv, pp") for value in ("", "PV", "sv", "struct", "null", "xx")),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), GOOD)
def test_a_body_with_a_legal_value_becomes_a_good_event(key: str, value: str) -> None:
    journal = post(payload_data({**BASICS, key: value}))
    assert [str(row) for row in journal.bad()] == []
    assert journal.good()[0].wire == {**BASICS, key: value}


@pytest.mark.parametrize(("key", "value", "rule"), BAD)
def test_a_body_with_an_illegal_value_becomes_a_schema_violation_that_names_it(key: str, value: str, rule: str) -> None:
    error_type, errors = refusal(post(payload_data({**BASICS, key: value})))
    assert error_type == "schema_violations"
    assert len(errors) == 1
    assert errors[0].startswith(f"{key} must be ")
    assert rule in errors[0]
    assert len(errors[0]) < 400


@pytest.mark.parametrize(("key", "value"), [row for row in GOOD if row[0] not in ("nuid", *IGNORED)])
def test_a_query_string_is_judged_by_the_same_rules_when_legal(key: str, value: str) -> None:
    assert [str(row) for row in get(urllib.parse.urlencode({**BASICS, key: value})).bad()] == []


@pytest.mark.parametrize(("key", "value", "rule"), [row for row in BAD if row[0] != "nuid"])
def test_a_query_string_is_judged_by_the_same_rules_when_illegal(key: str, value: str, rule: str) -> None:
    error_type, errors = refusal(get(urllib.parse.urlencode({**BASICS, key: value})))
    assert error_type == "schema_violations"
    assert rule in errors[0]


@pytest.mark.parametrize(("key", "limit"), QUERY_TEXT_LIMITS.items())
def test_old_keys_are_read_from_a_query_string_with_their_limits(key: str, limit: int) -> None:
    assert get(urllib.parse.urlencode({**BASICS, key: "x" * limit})).counts.good == 1
    assert refusal(get(urllib.parse.urlencode({**BASICS, key: "x" * (limit + 1)})))[0] == "schema_violations"


def test_the_old_value_key_must_be_a_decimal() -> None:
    assert get("e=ev&p=web&tv=x&ev_va=2.5").counts.good == 1
    assert refusal(get("e=ev&p=web&tv=x&ev_va=walrus"))[1] == ["ev_va must be a decimal number, got 'walrus'"]


def test_the_message_reads_as_a_sentence() -> None:
    assert refusal(post(payload_data({**BASICS, "se_va": "walrus"})))[1] == [
        "se_va must be a decimal number, got 'walrus'"
    ]


def test_every_fault_of_an_event_is_named() -> None:
    errors = refusal(post(payload_data({**BASICS, "se_va": "x", "vid": "1.5", "res": "big"})))[1]
    assert [error.split()[0] for error in errors] == ["se_va", "vid", "res"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_is_taken(platform: str) -> None:
    assert post(payload_data({**BASICS, "p": platform})).counts.good == 1


@pytest.mark.parametrize("code", [code for code in EVENT_TYPES if code != "ad"])
def test_every_event_code_is_taken(code: str) -> None:
    assert post(payload_data({**BASICS, "e": code})).counts.good == 1


@pytest.mark.parametrize("query", ["p=pc&tv=x", "e=ad&p=pc&tv=x"])
def test_an_event_without_a_type_fails_the_enrichment(query: str) -> None:
    error_type, errors = refusal(get(query))
    assert error_type == "enrichment_failures"
    assert errors[0].startswith("e ")


def test_a_query_string_needs_neither_platform_nor_version() -> None:
    assert get("e=pv").counts.good == 1


class TestLengths:
    """Counted in UTF-16 units, after cleaning."""

    def test_a_character_beyond_the_basic_plane_counts_twice(self) -> None:
        assert post(payload_data({**BASICS, "aid": "🎮" * 127})).counts.good == 1
        assert refusal(post(payload_data({**BASICS, "aid": "🎮" * 128})))[1][0].startswith(
            "aid must be at most 255 characters long (UTF-16 units; this has 256)"
        )

    def test_a_tab_counts_as_four_blanks(self) -> None:
        assert post(payload_data({**BASICS, "cd": "\t\t\t"})).counts.good == 1
        assert post(payload_data({**BASICS, "cd": "\t\t\t1"})).counts.bad == 1

    def test_other_control_characters_do_not_count(self) -> None:
        assert post(payload_data({**BASICS, "cd": "\n\r\x00\x7f" * 100 + "x" * 12})).counts.good == 1

    def test_of_an_ip_only_the_first_item_counts(self) -> None:
        for separator in (",", "|", " "):
            assert post(payload_data({**BASICS, "ip": "127.0.0.1" + separator + "x" * 500})).counts.good == 1

    def test_the_headers_that_stand_in_for_keys_are_judged_as_well(self) -> None:
        assert get("e=pv", {"User-Agent": "x" * 1001}).counts.bad == 1
        assert get("e=pv&ua=mine", {"User-Agent": "x" * 1001}).counts.good == 1
        assert get("e=pv", {"Referer": "http://h/" + "p" * 3000}).counts.bad == 1
        assert get("e=pv&url=http%3A%2F%2Fh", {"Referer": "http://h/" + "p" * 3000}).counts.good == 1


class TestBodyKeys:
    """What each version of payload_data allows."""

    def test_there_are_as_many_keys_as_the_schemas_have(self) -> None:
        assert {version: len(keys) for version, keys in BODY_KEYS.items()} == {
            "1-0-0": 75,
            "1-0-1": 76,
            "1-0-2": 77,
            "1-0-3": 79,
            "1-0-4": 80,
        }

    def test_every_key_but_the_ignored_ones_has_a_rule(self) -> None:
        assert BODY_KEYS["1-0-4"] - CHECKS.keys() == {*IGNORED, "co", "cx", "ue_pr", "ue_px"}

    @pytest.mark.parametrize(
        ("key", "value", "since"),
        [("ua", "x", 1), ("tnuid", "x", 2), ("stm", "1", 3), ("sid", UUID, 3), ("ttm", "1", 4)],
    )
    def test_a_newer_key_is_refused_by_an_older_schema(self, key: str, value: str, since: int) -> None:
        for number in range(5):
            journal = post(payload_data({**BASICS, key: value}, version=f"1-0-{number}"))
            assert journal.counts.good == (number >= since)

    @pytest.mark.parametrize("key", ["cv", "ev_ca", "ev_va", "evn", "data", "E", "", "se_va "])
    def test_a_key_outside_the_list_fails_the_body(self, key: str) -> None:
        error_type, errors = refusal(post(payload_data({**BASICS, key: "1"})))
        assert error_type == "tracker_protocol_violations"
        assert errors == [f"event 0: {key!r} is not a key of payload_data 1-0-4"]


def test_values_are_kept_as_they_came() -> None:
    wire = {**BASICS, "eid": UUID.upper(), "page": "a\tb", "se_va": "1e5"}
    journal = post(json.dumps(json.loads(payload_data(wire))).encode())
    assert journal.good()[0].wire == wire
    assert journal.good()[0].event_id == UUID
