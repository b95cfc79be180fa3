"""From an accepted event to the bytes of a request and back: nothing is lost, and nothing illegal is sent."""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import EVENTS, JSON_DATA, JSON_VALUES, texts

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.events import Event
from snowplow_tracker.payload import (
    ENVELOPE_BYTES,
    STAMP_BYTES,
    JsonForm,
    encode_json,
    encode_pairs,
    fragment,
    get_query,
    payload_dict,
    post_body,
)
from snowplow_tracker.self_describing_json import SelfDescribingJson

# payload_data 1-0-4: a key outside of this list costs a POST its whole body.
KEYS = frozenset(
    {
        "ad_ad",
        "ad_ba",
        "ad_ca",
        "ad_uid",
        "aid",
        "cd",
        "co",
        "cookie",
        "cs",
        "ctype",
        "cx",
        "ds",
        "dtm",
        "duid",
        "e",
        "eid",
        "f_ag",
        "f_dir",
        "f_fla",
        "f_gears",
        "f_java",
        "f_pdf",
        "f_qt",
        "f_realp",
        "f_wma",
        "fp",
        "ip",
        "lang",
        "mac",
        "nuid",
        "p",
        "page",
        "pp_max",
        "pp_may",
        "pp_mix",
        "pp_miy",
        "refr",
        "res",
        "sa",
        "se_ac",
        "se_ca",
        "se_la",
        "se_pr",
        "se_va",
        "sid",
        "sn",
        "sp",
        "st",
        "stm",
        "ti_ca",
        "ti_cu",
        "ti_id",
        "ti_na",
        "ti_nm",
        "ti_pr",
        "ti_qu",
        "ti_sk",
        "tid",
        "tna",
        "tnuid",
        "tr_af",
        "tr_ci",
        "tr_co",
        "tr_cu",
        "tr_id",
        "tr_sh",
        "tr_st",
        "tr_tt",
        "tr_tx",
        "ttm",
        "tv",
        "tz",
        "ua",
        "ue_na",
        "ue_pr",
        "ue_px",
        "uid",
        "url",
        "vid",
        "vp",
    }
)
SCHEMAS = Path(__file__).parents[2] / "shared" / "iglu-schemas"
HEAD = b'{"tv":"py-test","p":"pc",'
STAMP_MS = 1369330909123
URI = "iglu:com.acme/save_game/jsonschema/1-0-0"
PLAIN, BASE64 = JsonForm(base64=False), JsonForm(base64=True)


def as_json(value: Any) -> Any:
    """What a value is once it has been JSON: tuples are arrays."""
    return json.loads(json.dumps(value))


def unbase64(text: str) -> str:
    return base64.urlsafe_b64decode(text).decode("utf-8")


def fragment_of(event: Event, form: JsonForm) -> bytes:
    return fragment(HEAD, event.pairs(form))


def read_query(query: str) -> dict[str, str]:
    """As the enrichment reads it: both & and ; separate, + is a blank."""
    assert re.fullmatch(r"(?:[A-Za-z0-9\-._~=&]|%[0-9A-F]{2})*", query), "not a legal query"
    pairs = [part.partition("=") for part in re.split("[&;]", query)]
    return {unquote_plus(key): unquote_plus(text, errors="strict") for key, _, text in pairs}


# --- laws ------------------------------------------------------------------------------------------------------


@given(EVENTS, st.booleans())
@settings(max_examples=300)
def test_any_event_is_a_flat_object_of_strings_that_a_post_may_carry(event: Event, as_base64: bool) -> None:
    pairs = event.pairs(JsonForm(as_base64))
    encoded = fragment(HEAD, pairs)
    assert not encoded.endswith(b"}")
    assert json.loads(encoded + b"}") == {"tv": "py-test", "p": "pc", **pairs} == payload_dict(encoded)
    assert set(pairs) <= KEYS
    assert all(isinstance(text, str) and text for text in pairs.values())


@given(st.lists(EVENTS, min_size=1, max_size=4))
@settings(max_examples=100)
def test_a_post_body_carries_every_event_stamped_and_in_order(events: list[Event]) -> None:
    fragments = [fragment_of(event, BASE64) for event in events]
    body = post_body(fragments, sent_at_ms=STAMP_MS)
    assert json.loads(body) == {
        "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
        "data": [{**payload_dict(encoded), "stm": str(STAMP_MS)} for encoded in fragments],
    }
    # A byte limit can be kept exactly from the fragments' sizes; the last event has no comma after it.
    assert len(body) == ENVELOPE_BYTES + sum(len(encoded) + STAMP_BYTES for encoded in fragments) - 1


@given(EVENTS, st.booleans())
@settings(max_examples=200)
def test_a_query_decodes_to_what_was_passed(event: Event, as_base64: bool) -> None:
    encoded = fragment_of(event, JsonForm(as_base64))
    assert read_query(get_query(encoded, sent_at_ms=STAMP_MS)) == {**payload_dict(encoded), "stm": str(STAMP_MS)}


@given(EVENTS)
@settings(max_examples=200)
def test_base64_and_plain_text_say_the_same(event: Event) -> None:
    plain, encoded = event.pairs(PLAIN), event.pairs(BASE64)
    assert "ue_px" not in plain
    assert "ue_pr" not in encoded
    if "ue_pr" in plain:
        assert plain.pop("ue_pr") == unbase64(encoded.pop("ue_px"))
    assert plain == encoded


@given(JSON_DATA)
@settings(max_examples=200)
def test_data_arrives_as_it_was_passed(data: Any) -> None:
    pairs = PLAIN.event_pairs("event_json", URI, data)
    assert json.loads(pairs["ue_pr"]) == {
        "schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
        "data": {"schema": URI, "data": as_json(data)},
    }


@given(JSON_VALUES)
@settings(max_examples=200)
def test_types_that_merely_look_plain_are_encoded_like_the_plain_ones(value: Any) -> None:
    class Object(dict[str, Any]):
        pass

    class Array(list[Any]):
        pass

    class Text(str):
        value = "not this"

    class Float(float):
        def __repr__(self) -> str:
            return "not this"

    def disguised(item: Any) -> Any:
        if isinstance(item, dict):
            return Object({Text(name): disguised(inner) for name, inner in item.items()})
        if isinstance(item, list):
            return Array(map(disguised, item))
        return Text(item) if isinstance(item, str) else Float(item) if isinstance(item, float) else item

    assert encode_json("data", disguised(value), None, 47) == encode_json("data", value, None, 47)


@given(st.lists(st.builds(SelfDescribingJson, st.just(URI), JSON_DATA), min_size=1, max_size=3))
def test_contexts_arrive_as_a_list(entities: list[SelfDescribingJson]) -> None:
    encoded = [PLAIN.context_json("context", entity) for entity in entities]
    expected = {
        "schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1",
        "data": [as_json(entity.to_json()) for entity in entities],
    }
    assert json.loads(PLAIN.context_pair(encoded)["co"]) == expected
    assert json.loads(unbase64(BASE64.context_pair(encoded)["cx"])) == expected


@given(st.dictionaries(st.sampled_from(sorted(KEYS - {"stm"})), texts(100), min_size=1))
def test_pairs_survive_the_way_there_and_back(pairs: dict[str, str]) -> None:
    assert json.loads(b"{" + encode_pairs(pairs) + b"}") == pairs
    assert payload_dict(fragment(b"{", pairs)) == pairs


# --- cases -----------------------------------------------------------------------------------------------------


def test_a_body_of_no_events_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one event"):
        post_body([], sent_at_ms=STAMP_MS)


def test_base64_is_of_the_url_safe_alphabet() -> None:
    text = BASE64.event_pairs("event_json", URI, {"x": "???>>>~~~ÿÿÿ"})["ue_px"]
    assert re.fullmatch(r"[A-Za-z0-9_\-]+={0,2}", text)
    assert "-" in text or "_" in text


def test_the_post_keys_are_those_of_the_published_schema() -> None:
    published = SCHEMAS / "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    if not published.exists():
        pytest.skip("the published schemas are not beside this checkout")
    assert set(json.loads(published.read_bytes())["items"]["properties"]) == KEYS


class Colour(str, Enum):
    RED = "red"


class Level(IntEnum):
    HARD = 3


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        ({"a": (1, 2)}, '{"a":[1,2]}'),
        ({1: 1, None: 2, False: 3, 1.5: 4}, '{"1":1,"null":2,"false":3,"1.5":4}'),
        ({1e22: 1}, '{"1e+22":1}'),
        ({Level.HARD: Level.HARD, Colour.RED: Colour.RED}, '{"3":3,"red":"red"}'),
        ([2**63 - 1, -(2**63)], "[9223372036854775807,-9223372036854775808]"),
        (["\x00\x1f\x7f\t\n\r"], '["\\u0000\\u001f\x7f\\t\\n\\r"]'),
        ([-0.0, 5.0, 0.1], "[-0.0,5.0,0.1]"),
        ([], "[]"),
    ],
)
def test_data_is_encoded_as_json_writes_it(data: Any, encoded: str) -> None:
    assert encode_json("data", data, None, 47).decode() == encoded


def cycle() -> list[Any]:
    ring: list[Any] = []
    ring.append({"again": ring})
    return ring


def nested(levels: int) -> Any:
    data: Any = []
    for _ in range(levels - 1):
        data = [data]
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([float("nan")], "'data[0]' must be a finite number: JSON has no NaN and no infinity, got nan (float)"),
        ({"a": [1, math.inf]}, "'data['a'][1]' must be a finite number"),
        ({"a": 2**63}, "'data['a']' must be an integer of at most 64 bits"),
        ([-(2**63) - 1], "'data[0]' must be an integer of at most 64 bits"),
        ([10**400], "an integer of at most 64 bits"),
        (["\ud800"], "'data[0]' must be text that can be encoded as UTF-8"),
        ({"\udfff": 1}, "'data' must be text that can be encoded as UTF-8"),
        (
            {"a": b"x"},
            "'data['a']' must be a value with a JSON form, got b'x' (bytes); give the tracker a json_encoder=",
        ),
        ({"a": datetime(2013, 5, 23, tzinfo=timezone.utc)}, "a value with a JSON form"),
        ({"a": Decimal(1)}, "a value with a JSON form"),
        ({"a": {1, 2}}, "a value with a JSON form"),
        ({(1, 2): 1}, "an object whose keys are text, numbers, booleans or None, got (1, 2) (tuple)"),
        ({b"a": 1}, "an object whose keys are text"),
        ({float("nan"): 1}, "a finite number"),
        ({1: 1, "1": 2}, "an object whose keys differ as text (two are '1')"),
        (cycle(), "'data' must not contain itself, nor be nested 50 levels deep or more"),
        (nested(48), "nested 50 levels deep or more"),
    ],
)
def test_what_json_cannot_hold_is_refused_and_says_where(data: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PLAIN.event_pairs("data", URI, data)
    assert words in str(caught.value)


def depth(text: str) -> int:
    """How many brackets are open at most; the texts here hold none in strings."""
    open_now = deepest = 0
    for character in text:
        open_now += (character in "[{") - (character in "]}")
        deepest = max(deepest, open_now)
    return deepest


def test_nesting_fits_to_the_last_level_that_the_pipeline_takes() -> None:
    assert depth(PLAIN.event_pairs("data", URI, nested(47))["ue_pr"]) == 49
    entity = SelfDescribingJson(URI, nested(46))
    assert depth(PLAIN.context_pair([PLAIN.context_json("context", entity)])["co"]) == 49
    with pytest.raises(ValidationError, match="50 levels"):
        PLAIN.context_json("context", SelfDescribingJson(URI, nested(47)))


# --- json_encoder ----------------------------------------------------------------------------------------------


def test_json_encoder_gives_a_form_to_what_has_none() -> None:
    form = JsonForm(False, lambda value: {"seconds": value.timestamp()})
    pairs = form.event_pairs("data", URI, {"at": datetime(2013, 5, 23, tzinfo=timezone.utc)})
    assert json.loads(pairs["ue_pr"])["data"]["data"] == {"at": {"seconds": 1369267200.0}}


def test_json_encoder_is_not_asked_about_what_has_one() -> None:
    asked: list[object] = []
    form = JsonForm(False, asked.append)
    form.event_pairs("data", URI, {"a": [1, "x", None, 1.5, True], "b": {"c": (1,)}})
    assert asked == []


def raising(value: object) -> object:
    raise KeyError("no such thing")


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (lambda value: value, "must not contain itself"),
        (lambda value: [value], "must not contain itself"),
        (lambda value: float("nan"), "must be a finite number"),
        (lambda value: 2**64, "an integer of at most 64 bits"),
        (raising, "a value that json_encoder takes (it raised KeyError('no such thing')"),
    ],
)
def test_an_encoder_that_does_not_help_is_an_error_and_no_hang(encoder: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        JsonForm(False, encoder).event_pairs("data", URI, {"a": object()})
    assert words in str(caught.value)


def test_data_that_changes_while_it_is_encoded_is_an_error_that_says_so() -> None:
    data: dict[str, Any] = {"a": object()}

    def meddling(value: object) -> str:
        data["b"] = 1
        return "x"

    with pytest.raises(ValidationError, match="left alone while it is tracked"):
        JsonForm(False, meddling).event_pairs("data", URI, data)


def test_what_the_caller_changes_afterwards_does_not_reach_the_fragment() -> None:
    data = {"level": 23}
    encoded = fragment(HEAD, PLAIN.event_pairs("data", URI, data))
    before = bytes(encoded)
    data["level"] = 24
    assert encoded == before
