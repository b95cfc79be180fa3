"""Self-describing JSON: ue_pr, ue_px, co and cx."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any

import pytest
from sending import BASICS, SAVE_GAME, SNOWPLOW, USER, base64url, contexts, payload_data, post, refusal, unstruct

from snowplow_tracker.testing import LocalCollector

EVENT = {**BASICS, "e": "ue"}


def judged(**wire: str) -> Any:
    return post(payload_data({**EVENT, **wire}))


@pytest.mark.parametrize("pair", [("ue_pr", unstruct()), ("ue_px", base64url(unstruct()))])
def test_an_event_comes_decoded(pair: tuple[str, str]) -> None:
    assert judged(**dict([pair])).good()[0].event["data"] == SAVE_GAME


@pytest.mark.parametrize("pair", [("co", contexts(USER, USER)), ("cx", base64url(contexts(USER, USER)))])
def test_contexts_come_decoded(pair: tuple[str, str]) -> None:
    assert judged(**dict([pair])).good()[0].event["contexts"] == [USER, USER]


def test_an_event_without_any_has_no_data_and_no_contexts() -> None:
    event = judged().good()[0].event
    assert event["data"] is None
    assert event["contexts"] == []


@pytest.mark.parametrize("data", [{}, [], None, 1, "x", {"a": None, "b": [1.5, {"c": "ü"}]}])
def test_the_inner_data_may_be_anything(data: Any) -> None:
    inner = {"schema": "iglu:com.acme/x/jsonschema/1-0-0", "data": data}
    assert judged(ue_pr=unstruct(inner)).good()[0].data == inner


class TestBase64:
    TEXT = unstruct({"schema": "iglu:com.acme/x/jsonschema/1-0-0", "data": "???>>>üü"})

    @pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.standard_b64encode])
    @pytest.mark.parametrize("padding", ["", "="])
    def test_both_alphabets_pass_with_and_without_padding(self, encode: Any, padding: str) -> None:
        encoded = encode(self.TEXT.encode()).decode().rstrip("=")
        encoded += padding * (-len(encoded) % 4)
        assert judged(ue_px=encoded).counts.good == 1

    def test_characters_it_does_not_know_are_skipped(self) -> None:
        encoded = base64url(self.TEXT)
        assert judged(ue_px=encoded[:10] + " \n!" + encoded[10:]).counts.good == 1

    @pytest.mark.parametrize("value", ["", "=", "A", "walrus", "ü", unstruct(), base64url("not json"), "/w=="])
    def test_what_decodes_to_no_json_is_refused_as_no_json(self, value: str) -> None:
        error_type, errors = refusal(judged(ue_px=value))
        assert error_type == "schema_violations"
        assert errors[0].startswith("ue_px must be JSON, got ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "ue_pr must be JSON"),
        ("{", "ue_pr must be JSON"),
        ("walrus", "ue_pr must be JSON"),
        ("{'a': 1}", "ue_pr must be JSON"),
        (unstruct().replace("23", "NaN"), "NaN is not JSON"),
        (unstruct().replace("23", "-Infinity"), "-Infinity is not JSON"),
        (unstruct().replace("level", "le\nvel"), "ue_pr must be JSON"),
        (unstruct() + "x", "ue_pr must be JSON"),
        ("\ufeff" + unstruct(), "ue_pr must be JSON"),
        ("null", "must be self-describing JSON"),
        ("[]", "must be self-describing JSON"),
        ('"x"', "must be self-describing JSON"),
        (json.dumps({"schema": f"{SNOWPLOW}/unstruct_event/jsonschema/1-0-0"}), "must be self-describing JSON"),
        (json.dumps({"save_id": "4321", "level$int": 23}), "flat object as trackers of 2013 sent"),
        (json.dumps(SAVE_GAME), "must have the schema iglu:com.snowplowanalytics.snowplow/unstruct_event"),
        (unstruct(version="1-0-1"), "must have the schema"),
        (unstruct(version="2-0-0"), "must have the schema"),
        (contexts(USER), "must have the schema"),
        (unstruct({"level": 23}), "no other keys as its data"),
        (unstruct({**SAVE_GAME, "more": 1}), "no other keys as its data"),
        (unstruct({"schema": SAVE_GAME["schema"]}), "no other keys as its data"),
        (unstruct([SAVE_GAME]), "no other keys as its data"),
    ],
)
def test_a_malformed_event_is_refused(value: str, words: str) -> None:
    error_type, errors = refusal(judged(ue_pr=value))
    assert error_type == "schema_violations"
    assert words in errors[0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "co must be JSON"),
        ("[]", "must be self-describing JSON"),
        (json.dumps([USER]), "must be self-describing JSON"),
        (contexts(), "refuses an empty list"),
        (contexts(USER, version="1-0-2"), "must have the schema"),
        (unstruct(), "must have the schema"),
        (json.dumps({"schema": f"{SNOWPLOW}/contexts/jsonschema/1-0-0", "data": USER}), "must hold a list"),
        (contexts(USER, {"schema": USER["schema"]}), "no other keys as context 1"),
        (contexts({**USER, "x": 1}), "no other keys as context 0"),
        (contexts("x"), "no other keys as context 0"),
    ],
)
def test_malformed_contexts_are_refused(value: str, words: str) -> None:
    error_type, errors = refusal(judged(co=value))
    assert error_type == "schema_violations"
    assert words in errors[0]


def test_the_newer_contexts_schema_takes_an_empty_list() -> None:
    assert judged(co=contexts(version="1-0-1")).good()[0].contexts == []


@pytest.mark.parametrize("uri", ["iglu:a/b/jsonschema/1-0-0", "iglu:A-z_0.9/b_C-1/jsonschema/12-345-6"])
def test_a_schema_is_named_by_its_iglu_uri(uri: str) -> None:
    assert judged(ue_pr=unstruct({"schema": uri, "data": {}})).counts.good == 1


@pytest.mark.parametrize(
    "uri",
    [
        "", "save_game", "com.acme/b/jsonschema/1-0-0", "iglu:com.acme/b/jsonschema/1-0", "iglu:a/b/jsonschema/1-0-0-0",
        "iglu:com.acme/b/jsonschema/0-1-0", "iglu:com.acme/b/jsonschema/01-0-0", "iglu:com.acme/b/jsonschema/1-00-0",
        "iglu:com.acme/b.c/jsonschema/1-0-0", "iglu:com acme/b/jsonschema/1-0-0", "iglu:ümlaut/b/jsonschema/1-0-0",
        "iglu:com.acme/b/avro/1-0-0", "IGLU:com.acme/b/jsonschema/1-0-0", "iglu:com.acme/b/jsonschema/1-0-0\n",
        "http://iglucentral.com/schemas/a/b/jsonschema/1-0-0", "iglu:a//jsonschema/1-0-0", 1, None, [],
    ],
)  # fmt: skip
def test_any_other_name_of_a_schema_is_refused(uri: Any) -> None:
    for wire in ({"ue_pr": unstruct({"schema": uri, "data": {}})}, {"co": contexts({"schema": uri, "data": {}})}):
        assert "iglu:vendor/name/jsonschema/1-0-0" in refusal(judged(**wire))[1][0]


@pytest.mark.parametrize(("levels", "good"), [(47, 1), (48, 0), (5000, 0)])
def test_json_of_fifty_levels_is_refused(levels: int, good: int) -> None:
    # The envelope and what is in it are two levels of their own.
    value = unstruct().replace('{"level": 23}', "[" * levels + "]" * levels)
    journal = judged(ue_pr=value)
    assert journal.counts.good == good
    assert all("50 levels" in row.errors[0] for row in journal.bad())


def test_brackets_within_text_are_not_levels() -> None:
    inner = {"schema": "iglu:com.acme/x/jsonschema/1-0-0", "data": '[{"' * 100}
    assert judged(ue_pr=unstruct(inner)).counts.good == 1


def test_many_siblings_are_not_levels() -> None:
    inner = {"schema": "iglu:com.acme/x/jsonschema/1-0-0", "data": [{"a": []}] * 200}
    assert judged(ue_pr=unstruct(inner)).counts.good == 1


@pytest.mark.parametrize(
    "wire",
    [
        {"ue_pr": unstruct(), "ue_px": base64url(unstruct())},
        {"co": contexts(USER), "cx": base64url(contexts(USER))},
    ],
)
def test_only_one_of_the_two_forms_may_be_there(wire: dict[str, str]) -> None:
    assert "must not both be there" in refusal(judged(**wire))[1][0]


def test_an_event_that_should_describe_itself_and_does_not_arrives_without_a_name() -> None:
    journal = judged(ue_na="save-game")
    assert journal.good()[0].data is None


def test_a_bad_context_fails_an_event_of_any_type() -> None:
    assert post(payload_data({**BASICS, "cx": "walrus"})).counts.bad == 1


def test_what_schemas_say_of_the_data_makes_a_bad_row() -> None:
    def check(schema: str, data: Any) -> list[str]:
        return [] if schema == USER["schema"] else [f"{schema}: level must be text, got {data['level']!r}"]

    with LocalCollector(check_data=check) as collector:
        client = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
        body = payload_data({**EVENT, "ue_pr": unstruct(), "co": contexts(USER)}, {**EVENT, "co": contexts(USER)})
        client.request("POST", "/com.snowplowanalytics.snowplow/tp2", body, {"Content-Type": "application/json"})
        client.getresponse().read()
        client.close()
        assert len(collector.events) == 1
        assert collector.bad[0].errors == [
            "ue_pr: iglu:com.acme/save_game/jsonschema/1-0-0: level must be text, got 23"
        ]
