"""Judging by a folder of JSON Schemas: the rules of the real pipeline, and words that lead to the fault."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sending import BASICS, SAVE_GAME, USER, base64url, contexts, payload_data, request, unstruct

from snowplow_tracker.collector.faults import Script
from snowplow_tracker.collector.journal import Journal
from snowplow_tracker.collector.schemas import SchemaFolders
from snowplow_tracker.collector.service import Service

URI = "iglu:com.acme/thing/jsonschema/1-0-0"
UUID = "c6ef3124-b53a-4b13-a233-0088f79dcbcb"


def write(folder: Path, schema: Any, key: str = "com.acme/thing/jsonschema/1-0-0") -> Path:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema), encoding="utf-8")
    return path


def faults(folder: Path, schema: Any, data: Any) -> list[str]:
    """What a schema says of data, without the schema's name at the end."""
    write(folder, schema)
    return [fault.removesuffix(f", says {URI}") for fault in SchemaFolders([folder]).check(URI, data)]


def of_property(folder: Path, rule: dict[str, Any], value: Any) -> list[str]:
    return faults(folder, {"type": "object", "properties": {"x": rule}}, {"x": value})


LEVEL = {"type": "object", "properties": {"level": {"type": "integer"}}, "required": ["level"]}
CLOSED = {"type": "object", "properties": {"level": {}, "mode": {}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "data", "sentence"),
    [
        (LEVEL, {"level": "3"}, "data.level must be an integer, got '3' (string)"),
        (
            LEVEL,
            {"level": 5.0},
            "data.level must be an integer, got 5.0 (number; with a decimal point it is no integer)",
        ),
        (LEVEL, {"level": True}, "data.level must be an integer, got True (boolean)"),
        (LEVEL, {"level": None}, "data.level must be an integer, got None (null; leave out what is absent)"),
        (LEVEL, {}, "data must have 'level', which is missing"),
        (LEVEL, [], "data must be an object, got [] (array)"),
        (CLOSED, {"levle": 1}, "data must not have 'levle' (did you mean 'level'?); the schema knows level, mode"),
        ({"enum": ["EASY", "HARD"]}, "hard", "data must be one of 'EASY', 'HARD', got 'hard'"),
        ({"maxLength": 3}, "abcd", "data must be at most 3 characters long, has 4: 'abcd'"),
        ({"minItems": 1}, [], "data must have at least 1 items, has 0: []"),
        ({"maximum": 10}, 11, "data must be at most 10, got 11"),
        ({"pattern": "^a"}, "b", "data must match the pattern ^a, got 'b'"),
        ({"format": "uuid"}, "x", "data must be a UUID (8-4-4-4-12 hexadecimal digits) (format uuid), got 'x'"),
        (
            {"anyOf": [{"minimum": 9, "maximum": 5}]},
            7,
            "data must match one of 1 alternatives; nearest: data must be at least 9, got 7",
        ),
        ({"uniqueItems": True}, [1, 1], "data breaks the rule 'uniqueItems': [1, 1] has non-unique elements"),
        (
            {"properties": {"a": {"items": {"properties": {"b c": {"type": "null"}}}}}},
            {"a": [{}, {"b c": 1}]},
            "data.a[1]['b c'] must be a null, got 1 (integer)",
        ),
    ],
)
def test_a_fault_names_the_property_the_rule_and_the_value(
    tmp_path: Path, schema: Any, data: Any, sentence: str
) -> None:
    assert faults(tmp_path, schema, data) == [sentence]


def test_the_sentence_ends_with_the_schema_that_says_so(tmp_path: Path) -> None:
    write(tmp_path, LEVEL)
    (fault,) = SchemaFolders([tmp_path]).check(URI, {"level": "3"})
    assert fault.endswith(f", says {URI}")


def test_every_fault_is_told_up_to_a_number(tmp_path: Path) -> None:
    schema = {"items": {"type": "string"}}
    assert len(faults(tmp_path, schema, list(range(5)))) == 5
    found = faults(tmp_path, schema, list(range(500)))
    assert len(found) == 21
    assert found[-1] == "and 480 more"


def test_lengths_count_code_points(tmp_path: Path) -> None:
    assert of_property(tmp_path, {"maxLength": 2}, "\N{PILE OF POO}" * 2) == []
    assert of_property(tmp_path, {"maxLength": 2}, "\N{PILE OF POO}" * 3)


GOOD_FORMATS = [
    ("date-time", "2013-05-23T17:41:49Z"),
    ("date-time", "2013-05-23T17:41:49.123456789+01:00"),
    ("date-time", "2016-12-31T23:59:60Z"),
    ("date", "2024-02-29"),
    ("time", "17:41:49"),
    ("uuid", UUID.upper()),
    ("uri", "https://acme.com/a?b=c#d"),
    ("uri", "urn:isbn:0451450523"),
    ("ipv4", "127.0.0.1"),
    ("ipv6", "::1"),
    ("email", "ada@acme.com"),
    ("hostname", "a-b.acme.com"),
    ("duration", "P3Y6M4DT12H30M5S"),
    ("duration", "PT1H"),
    ("duration", "P2W"),
]
BAD_FORMATS = [
    ("date-time", "2013-05-23T17:41:49"),  # a naive isoformat()
    ("date-time", "2013-05-23 17:41Z"),
    ("date-time", "2013-02-30T00:00:00Z"),
    ("date-time", "2013-05-23T17:41:49.1234567890Z"),
    ("date-time", "2013-05-23T24:00:00Z"),
    ("date", "2023-02-29"),
    ("date", "23.05.2013"),
    ("time", "25:00:00"),
    ("uuid", UUID.replace("-", "")),
    ("uri", "/relative"),
    ("uri", "https://acme.com/a b"),
    ("ipv4", "256.1.1.1"),
    ("ipv4", "127.1"),
    ("ipv6", "fe80::1%eth0"),
    ("ipv6", "::g"),
    ("email", "ada"),
    ("email", "a b@acme.com"),
    ("hostname", "-a.com"),
    ("hostname", "a_b.com"),
    ("duration", "P"),
    ("duration", "PT"),
    ("duration", "1 hour"),
]


@pytest.mark.parametrize(("name", "value"), GOOD_FORMATS)
def test_what_has_a_format_is_taken(tmp_path: Path, name: str, value: str) -> None:
    assert of_property(tmp_path, {"format": name}, value) == []


@pytest.mark.parametrize(("name", "value"), BAD_FORMATS)
def test_formats_are_enforced(tmp_path: Path, name: str, value: str) -> None:
    (fault,) = of_property(tmp_path, {"format": name}, value)
    assert fault.startswith("data.x must be a")
    assert f"(format {name}), got {value!r}" in fault


def test_a_format_concerns_text_only_and_an_unknown_one_nothing(tmp_path: Path) -> None:
    assert of_property(tmp_path, {"format": "uuid"}, 7) == []
    assert of_property(tmp_path, {"format": "phone"}, "x") == []


def test_digits_of_a_pattern_are_ascii_and_a_pattern_of_java_is_not_applied(tmp_path: Path) -> None:
    assert of_property(tmp_path, {"pattern": r"^\d$"}, "\N{ARABIC-INDIC DIGIT THREE}")
    assert of_property(tmp_path, {"pattern": r"^\p{L}+$"}, "7") == []


# --- which schema -------------------------------------------------------------------------------------------------


def test_a_folder_may_hold_its_schemas_in_schemas_as_iglu_repositories_do(tmp_path: Path) -> None:
    write(tmp_path / "schemas", LEVEL)
    assert SchemaFolders([tmp_path]).check(URI, {"level": 3}) == []
    assert SchemaFolders([tmp_path]).check(URI, {}) != []


def test_the_first_folder_that_has_a_schema_wins(tmp_path: Path) -> None:
    write(tmp_path / "one", {}, "com.acme/other/jsonschema/1-0-0")
    write(tmp_path / "one", {"type": "string"})
    write(tmp_path / "two", {"type": "integer"})
    folders = SchemaFolders([tmp_path / "one", tmp_path / "two"])
    assert folders.check(URI, "x") == []
    assert folders.count() == 3


@pytest.mark.parametrize(
    ("schema", "hint"),
    [
        ("iglu:com.acme/thing/jsonschema/1-0-1", "of thing there is 1-0-0"),
        ("iglu:com.acme/thingy/jsonschema/1-0-0", "did you mean 'thing'?"),
        ("iglu:com.acme/walrus/jsonschema/1-0-0", "add the file com.acme/walrus/jsonschema/1-0-0"),
        ("iglu:com.other/thing/jsonschema/1-0-0", "add the file com.other/thing/jsonschema/1-0-0"),
        ("iglu:com.snowplowanalytics.snowplow/walrus/jsonschema/1-0-0", "add the file"),
    ],
)
def test_a_schema_that_is_not_there_is_a_fault_that_says_what_is(tmp_path: Path, schema: str, hint: str) -> None:
    write(tmp_path, {})
    write(tmp_path, {}, "com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1")
    (fault,) = SchemaFolders([tmp_path]).check(schema, {})
    assert fault.startswith(f"its schema {schema} must be in {tmp_path}, where it is not")
    assert hint in fault


def test_snowplows_own_schemas_may_be_left_out_altogether(tmp_path: Path) -> None:
    write(tmp_path, LEVEL)
    folders = SchemaFolders([tmp_path])
    assert folders.lacks_standard
    assert folders.check("iglu:com.snowplowanalytics.mobile/screen_view/jsonschema/1-0-0", {"name": 1}) == []
    write(tmp_path, {}, "com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1")
    assert not folders.lacks_standard


def test_an_edited_schema_counts_from_the_next_event(tmp_path: Path) -> None:
    path = write(tmp_path, {"type": "string"})
    folders = SchemaFolders([tmp_path])
    assert folders.check(URI, 5) != []
    path.write_text(json.dumps({"type": ["string", "integer"]}), encoding="utf-8")
    assert folders.check(URI, 5) == []
    path.unlink()
    assert "where it is not" in folders.check(URI, 5)[0]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("walrus", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([], "is not a JSON Schema of draft 4"),
        ({"type": "walrus"}, "is not a JSON Schema of draft 4"),
        ({"$ref": "https://acme.com/other.json"}, "refers to https://acme.com/other.json, which is not within it"),
        ({"$ref": "#/definitions/none"}, "refers to /definitions/none, which is not within it"),
    ],
)
def test_a_schema_that_cannot_be_used_fails_its_events_and_says_why(tmp_path: Path, schema: Any, reason: str) -> None:
    (fault,) = faults(tmp_path, schema, {})
    assert fault.startswith("its schema cannot be used: ")
    assert reason in fault


def test_a_reference_within_the_schema_is_followed(tmp_path: Path) -> None:
    schema = {"definitions": {"l": {"type": "integer"}}, "properties": {"x": {"$ref": "#/definitions/l"}}}
    assert faults(tmp_path, schema, {"x": 1}) == []
    assert faults(tmp_path, schema, {"x": "1"}) == ["data.x must be an integer, got '1' (string)"]


@pytest.mark.parametrize(
    "key",
    [
        "../secret/jsonschema/1-0-0",
        "./thing/jsonschema/1-0-0",
        ".../thing/jsonschema/1-0-0",
        "com.acme/../jsonschema/1-0-0",
        "%2e%2e/secret/jsonschema/1-0-0",
        "com.acme/thing/../1-0-0",
        "com.acme/thing/jsonschema/..",
        "com.acme/thing/jsonschema/1-0-0/../1-0-0",
        "/etc/passwd",
        "",
        "com.acme\\thing/jsonschema/1-0-0",
        "com.acme/thing/jsonschema/1-0-0\n",
    ],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    write(tmp_path / "in", {})
    write(tmp_path, {}, "secret/jsonschema/1-0-0")
    write(tmp_path, {}, "thing/jsonschema/1-0-0")
    folders = SchemaFolders([tmp_path / "in"])
    assert folders.text(key) is None
    assert folders.check(f"iglu:{key}", {}) != []


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="must be in a folder, got"):
        SchemaFolders([tmp_path / "walrus"])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
STRICT = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 3}, "b": {"type": "array", "items": {"format": "date"}}},
    "required": ["a"],
    "additionalProperties": False,
}


@given(data=JSON_VALUES | st.fixed_dictionaries({"a": JSON_VALUES, "b": JSON_VALUES}))
def test_any_data_is_judged_in_short_lines(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "strict"
    if not folder.exists():
        write(folder, STRICT)
    found = SchemaFolders([folder]).check(URI, data)
    assert all(len(fault) < 600 and "\n" not in fault for fault in found)
    good = isinstance(data, dict) and type(data.get("a")) is int and data["a"] >= 3 and data.keys() == {"a"}
    if good:
        assert found == []
    elif not isinstance(data, dict) or type(data.get("a")) is not int:
        assert found != []


# --- in the collector ---------------------------------------------------------------------------------------------


def judged(folder: Path, **wire: str) -> Journal:
    journal, folders = Journal(), SchemaFolders([folder])
    service = Service(journal, Script(), "127.0.0.1", folders.check, folders)
    body = payload_data({**BASICS, "e": "ue", "ue_pr": unstruct(), **wire})
    service.answer(
        request("POST", "/com.snowplowanalytics.snowplow/tp2", "", body, {"Content-Type": "application/json"})
    )
    return journal


def test_an_event_and_its_contexts_are_judged_each_by_its_schema(tmp_path: Path) -> None:
    write(tmp_path, LEVEL, "com.acme/save_game/jsonschema/1-0-0")
    write(tmp_path, {"properties": {"type": {"enum": ["player"]}}}, "com.acme/user/jsonschema/1-0-0")
    assert judged(tmp_path).counts.good == 1
    (row,) = judged(
        tmp_path, ue_pr=unstruct({**SAVE_GAME, "data": {"level": "23"}}), cx=base64url(contexts(USER))
    ).bad()
    assert row.errors == [
        f"ue_pr: data.level must be an integer, got '23' (string), says {SAVE_GAME['schema']}",
        f"cx[0]: data.type must be one of 'player', got 'tester', says {USER['schema']}",
    ]
    assert row.origin == (
        "track_self_describing_event() of com.acme/save_game or track_unstruct_event('save_game'), "
        "ue_pr holds its data, cx is its 'context'"
    )


def test_the_folder_is_read_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "schemas", LEVEL)
    monkeypatch.chdir(tmp_path)
    assert SchemaFolders([os.curdir]).count() == 1
