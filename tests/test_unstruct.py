"""Flat properties: what a suffix takes, what it stands for, and that nothing else gets in."""

from __future__ import annotations

import base64
import json
from collections import OrderedDict, namedtuple
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FLAT_PROPERTIES, data_texts

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.payload import JsonForm
from snowplow_tracker.unstruct import UnstructEvent, check_event_vendor

PLAIN, BASE64 = JsonForm(base64=False), JsonForm(base64=True)
NAN, INF = float("nan"), float("inf")
ALL_TYPES = {
    "n": None,
    "s": "x",
    "b": True,
    "in_stock$int": 23,
    "price$flt": 4.99,
    "sales_tax": 49.99,
    "check_in$geo": (40.11041, -88.21337),
    "birthday$dt": 3996,
    "registered$tm": 1371129610,
    "registered$ts": 1371129610,
    "last$tms": 1368454114215,
    "levels$int": [1, 2, 3],
    "path$geo": [(1.0, 2.0), (3.0, 4.0)],
}


def flat(properties: Any) -> Any:
    """The properties as they go out without a vendor."""
    return json.loads(UnstructEvent("all-types", properties).pairs(PLAIN)["ue_pr"])


def resolved(properties: Any) -> Any:
    """The data as it goes out with a vendor."""
    return json.loads(UnstructEvent("all-types", properties, "com.acme").pairs(PLAIN)["ue_pr"])["data"]["data"]


def refusal(properties: Any, vendor: str | None = None) -> str:
    with pytest.raises(ValidationError) as caught:
        UnstructEvent("save-game", properties, vendor)
    return str(caught.value)


# --- the 2013 form ---------------------------------------------------------------------------------------------


def test_without_a_vendor_it_goes_out_as_2013_wrote_it() -> None:
    properties = {"save_id": "4321", "level": 23, "difficultyLevel": "HARD", "dl_content": True}
    encoded = '{"save_id":"4321","level":23,"difficultyLevel":"HARD","dl_content":true}'
    event = UnstructEvent("save-game", properties)
    assert event.pairs(PLAIN) == {"e": "ue", "ue_na": "save-game", "ue_pr": encoded}
    pairs = event.pairs(BASE64)
    assert base64.urlsafe_b64decode(pairs.pop("ue_px")).decode() == encoded
    assert pairs == {"e": "ue", "ue_na": "save-game"}


def test_every_type_of_the_2013_page_is_taken_as_it_is() -> None:
    assert flat(ALL_TYPES) == json.loads(json.dumps(ALL_TYPES))


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"with blank": 1, "ü": "😀", "a-b": None},
        {"array": [1, "two", None, 2.5, False], "empty": [], "tuple": (1, 2)},
        {"max": 2**63 - 1, "min": -(2**63)},
        {"text": "tab\tnewline\nNUL\x00DEL\x7f\u2028"},
        {"a$int": [], "b$geo": [], "c$flt": (), "d$tm": [1, None]},
        {
            "pair$geo": [90, -180],
            "pairs$geo": [[90.0, 180.0], None, (-90, 0)],
            "none$geo": None,
            "nulls$geo": [None, None],
        },
        {"n$int": None, "f$flt": None, "d$dt": None, "m$tm": None, "s$ts": None, "ms$tms": None},
        {"far$tms": 2**63 - 1, "back$dt": -(2**63)},
    ],
)
def test_flat_values_and_arrays_go_out_as_they_are(properties: Any) -> None:
    assert flat(properties) == json.loads(json.dumps(properties))


@given(FLAT_PROPERTIES)
def test_any_flat_properties_arrive(properties: dict[str, Any]) -> None:
    assert flat(properties) == json.loads(json.dumps(properties))


class Difficulty(str, Enum):
    HARD = "hard"


class Level(IntEnum):
    LAST = 23


class LoudFloat(float):
    def __repr__(self) -> str:
        return "not a number"


def test_types_built_on_the_plain_ones_count_as_those() -> None:
    point = namedtuple("point", "lat lon")
    properties = OrderedDict(
        {
            Difficulty.HARD: Difficulty.HARD,
            "l": Level.LAST,
            "f": LoudFloat(1.5),
            "i$int": Level.LAST,
            "p$flt": LoudFloat(2.5),
        }
    )
    properties["g$geo"] = point(Level.LAST, LoudFloat(0.5))
    assert flat(properties) == {"hard": "hard", "l": 23, "f": 1.5, "i$int": 23, "p$flt": 2.5, "g$geo": [23, 0.5]}


def test_what_the_caller_changes_afterwards_does_not_change_the_event() -> None:
    properties: dict[str, Any] = {"levels": [1], "path$geo": [[1.0, 2.0]], "level": 1}
    event = UnstructEvent("save-game", properties)
    properties["levels"].append({"nested": 1})
    properties["path$geo"][0][0] = 1000.0
    properties["more"] = object()
    assert json.loads(event.pairs(PLAIN)["ue_pr"]) == {"levels": [1], "path$geo": [[1.0, 2.0]], "level": 1}
    plain: dict[str, Any] = {"level": 1}
    event = UnstructEvent("save-game", plain)
    plain["level"] = object()
    assert json.loads(event.pairs(PLAIN)["ue_pr"]) == {"level": 1}


def test_a_json_encoder_is_not_asked() -> None:
    asked: list[object] = []
    with pytest.raises(ValidationError):
        UnstructEvent("save-game", {"at": Decimal(1)}).pairs(JsonForm(False, asked.append))
    assert asked == []


# --- refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (None, "'properties' must be a dict of names and values, got None"),
        ([("a", 1)], "'properties' must be a dict of names and values, got [('a', 1)] (list)"),
        ("a=1", "'properties' must be a dict of names and values, got 'a=1' (str)"),
        ({"": 1}, "'properties' must be a dict whose names are non-empty strings, got '' (str)"),
        ({1: 1}, "'properties' must be a dict whose names are non-empty strings, got 1 (int)"),
        ({None: 1}, "'properties' must be a dict whose names are non-empty strings, got None"),
        ({b"a": 1}, "'properties' must be a dict whose names are non-empty strings, got b'a' (bytes)"),
        ({"price$flt": 5}, "'properties['price$flt']' must be a finite float ($flt), got 5 (int)"),
        ({"level$int": 5.0}, "'properties['level$int']' must be an integer ($int), got 5.0 (float)"),
    ],
)
def test_the_whole_message_tells_property_rule_value_and_type(properties: Any, message: str) -> None:
    assert refusal(properties) == message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": 1}, "an array of these, got {'a': 1} (dict); nested data needs a SelfDescribingJson"),
        ([[1]], "nested data needs a SelfDescribingJson"),
        ([{"a": 1}], "nested data needs a SelfDescribingJson"),
        ([(1.0, 2.0)], "nested data needs a SelfDescribingJson"),
        (NAN, "a finite float"),
        (INF, "a finite float"),
        ([-INF], "a finite float"),
        (2**63, "an integer between"),
        ([-(2**63) - 1], "an integer between"),
        (10**400, "an integer between"),
        ("\ud800", "lone surrogate"),
        (["a", "\ud800"], "lone surrogate"),
        (b"bytes", "None, a boolean, a string, an integer or a finite float"),
        (Decimal(1), "None, a boolean, a string, an integer or a finite float"),
        (1j, "None, a boolean, a string, an integer or a finite float"),
        (datetime(2013, 5, 23, tzinfo=timezone.utc), "None, a boolean, a string"),
        ({1, 2}, "None, a boolean, a string"),
        (object(), "None, a boolean, a string"),
        (iter([]), "None, a boolean, a string"),
    ],
)
def test_what_is_not_flat_is_refused_and_names_the_property(value: Any, words: str) -> None:
    # Both on the fast path, behind a plain name, and on the careful one.
    for name in ("save_id", "save id"):
        message = refusal({"first": 1, name: value})
        assert message.startswith(f"'properties['{name}']")
        assert words in message


def test_a_cycle_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert "nested data needs a SelfDescribingJson" in refusal({"ring": ring})


@pytest.mark.parametrize(
    "name", ["a$", "$", "a$$int", "a$INT", "a$integer", "a$int$flt", "a$b$int", "a$int ", "$a$int"]
)
def test_an_unknown_suffix_is_refused(name: str) -> None:
    message = refusal({name: 1})
    assert message.startswith(
        f"'properties['{name}']' must be named with a suffix out of $int $flt $geo $dt $tm $ts $tms, or"
    )
    assert message.endswith("got 1 (int)")


@pytest.mark.parametrize("suffix", ["$int", "$flt", "$geo", "$dt", "$tm", "$ts", "$tms"])
def test_a_suffix_needs_a_name_before_it(suffix: str) -> None:
    assert f"'properties['{suffix}']' must be named with something before its suffix {suffix}" in refusal(
        {suffix: None}
    )


def test_a_name_is_text_that_can_travel() -> None:
    assert "lone surrogate" in refusal({"a\ud800": 1})
    assert len(refusal({"x" * 100_000: object()})) < 400


@pytest.mark.parametrize("suffix", ["int", "dt", "tm", "ts", "tms"])
@pytest.mark.parametrize(
    "value", [True, 5.0, "5", NAN, Decimal(5), {}, [5, 5.0], [True], [[5]], ["5"], 2**63, [-(2**63) - 1]]
)
def test_an_integer_suffix_takes_integers(suffix: str, value: Any) -> None:
    message = refusal({f"level${suffix}": value})
    assert message.startswith(f"'properties['level${suffix}']")
    assert "must be an integer" in message
    assert f"(${suffix})" in message


@pytest.mark.parametrize("value", [5, True, "5.0", NAN, INF, [1.0, 2], [[1.0]], Decimal(5), {}])
def test_the_float_suffix_takes_floats(value: Any) -> None:
    message = refusal({"price$flt": value})
    assert message.startswith("'properties['price$flt']")
    assert "must be a finite float ($flt)" in message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((91, 0), "whose latitude is a number between -90 and 90 ($geo), got 91 (int)"),
        ((-90.001, 0), "latitude"),
        ((0, 180.001), "whose longitude is a number between -180 and 180 ($geo)"),
        ((0, -181), "longitude"),
        ((NAN, 0), "latitude"),
        ((0, INF), "longitude"),
        ((True, 0), "latitude"),
        ((0, "1"), "longitude"),
        ((None, 1.0), "latitude"),
        ((Decimal(1), 1.0), "latitude"),
        ((10**400, 1.0), "64 bits"),
        ((1.0,), "a pair (latitude, longitude) of numbers ($geo)"),
        ((1.0, 2.0, 3.0), "a pair"),
        (1.0, "a pair"),
        ("1,2", "a pair"),
        ({"latitude": 1, "longitude": 2}, "a pair"),
        ([(1.0, 2.0), (3.0,)], "a pair"),
        ([(1.0, 2.0), 3.0], "latitude"),
        ([[(1.0, 2.0)]], "a pair"),
        ([(91.0, 2.0)], "latitude"),
        ([[]], "a pair"),
    ],
)
def test_the_geo_suffix_takes_pairs_on_earth(value: Any, words: str) -> None:
    message = refusal({"check_in$geo": value})
    assert message.startswith("'properties['check_in$geo']")
    assert words in message


@pytest.mark.parametrize("name", ["", None, 5, b"save", "\ud800", "a\x00", "x" * 1001])
def test_a_name_says_what_happened(name: Any) -> None:
    with pytest.raises(ValidationError, match=r"^'name' must be "):
        UnstructEvent(name, {})


def test_a_name_fits_up_to_its_limit() -> None:
    assert UnstructEvent("x" * 1000, {}).pairs(PLAIN)["ue_na"] == "x" * 1000


# --- the self-describing form ----------------------------------------------------------------------------------


def test_with_a_vendor_it_goes_out_as_a_self_describing_event() -> None:
    pairs = UnstructEvent("save-game", {"level": 23, "birthday$dt": 3996}, "com.acme").pairs(PLAIN)
    assert set(pairs) == {"e", "ue_pr"}
    assert json.loads(pairs["ue_pr"]) == {
        "schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
        "data": {
            "schema": "iglu:com.acme/save-game/jsonschema/1-0-0",
            "data": {"level": 23, "birthday": "1980-12-10T00:00:00.000Z"},
        },
    }


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("a", 1, 1),
        ("a", [1, "x", None], [1, "x", None]),
        ("a$int", 23, 23),
        ("a$int", [1, None], [1, None]),
        ("a$flt", 4.99, 4.99),
        ("a$geo", (40.11041, -88.21337), {"latitude": 40.11041, "longitude": -88.21337}),
        ("a$geo", [0, 0], {"latitude": 0, "longitude": 0}),
        ("a$geo", [[1, 2], None], [{"latitude": 1, "longitude": 2}, None]),
        ("a$geo", [], []),
        ("a$dt", 3996, "1980-12-10T00:00:00.000Z"),
        ("a$dt", -1, "1969-12-31T00:00:00.000Z"),
        ("a$dt", [0, None], ["1970-01-01T00:00:00.000Z", None]),
        ("a$tm", 1371129610, "2013-06-13T13:20:10.000Z"),
        ("a$ts", 1371129610, "2013-06-13T13:20:10.000Z"),
        ("a$tms", 1368454114215, "2013-05-13T14:08:34.215Z"),
        ("a$tms", -1, "1969-12-31T23:59:59.999Z"),
        ("a$tms", -62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        ("a$tms", 253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ("a$dt", None, None),
        ("a$geo", None, None),
    ],
)
def test_a_suffix_is_resolved_to_what_it_stands_for(name: str, value: Any, meant: Any) -> None:
    assert resolved({name: value}) == {"a": meant}


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_any_time_of_the_calendar_comes_back(milliseconds: int) -> None:
    text = resolved({"at$tms": milliseconds})["at"]
    at = datetime.fromisoformat(text.removesuffix("Z") + "+00:00")
    assert (at - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1) == milliseconds


@given(FLAT_PROPERTIES)
def test_no_suffix_is_left_and_no_property_is_lost(properties: dict[str, Any]) -> None:
    data = resolved(properties)
    assert set(data) == {name.partition("$")[0] for name in properties}


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        (
            {"level": 1, "level$int": 2},
            "'properties['level$int']' must be the only property called 'level' once suffixes are gone",
        ),
        ({"at$tm": 1, "at$ts": 2}, "'properties['at$ts']' must be the only property called 'at'"),
        ({"at$dt": 2_932_897}, "'properties['at$dt']' must be a time between the years 1 and 9999"),
        ({"at$dt": -719_163}, "a time between the years 1 and 9999"),
        ({"at$tm": 253_402_300_800}, "a time between the years 1 and 9999"),
        ({"at$ts": -62_135_596_801}, "a time between the years 1 and 9999"),
        ({"at$tms": 2**63 - 1}, "a time between the years 1 and 9999"),
        ({"at$tms": [0, 253_402_300_800_000]}, "'properties['at$tms'][1]' must be a time"),
    ],
)
def test_what_has_no_self_describing_form_is_refused_when_a_vendor_is_set(properties: Any, words: str) -> None:
    assert words in refusal(properties, "com.acme")
    UnstructEvent("save-game", properties)  # and is as good as in 2013 without one


@pytest.mark.parametrize("name", ["save game", "save.game", "spiel_öffnen", "a/b", "save-game\n"])
def test_a_name_unfit_for_an_iglu_uri_is_refused_when_a_vendor_is_set(name: str) -> None:
    with pytest.raises(ValidationError, match="'name' must be fit for an Iglu URI, as event_vendor is set"):
        UnstructEvent(name, {}, "com.acme")
    UnstructEvent(name, {})


@pytest.mark.parametrize("vendor", ["", "com acme", "com/acme", "com.acmé", "com.acme\n", 5, b"com.acme", "x" * 1001])
def test_a_vendor_is_part_of_an_iglu_uri(vendor: Any) -> None:
    with pytest.raises(ValidationError, match=r"'event_vendor' must be a vendor such as 'com\.acme'"):
        UnstructEvent("save-game", {}, vendor)
    with pytest.raises(ValidationError, match="'vendor' must be a vendor"):
        check_event_vendor("vendor", vendor)


def test_an_enums_member_is_a_name_by_its_value() -> None:
    class Name(str, Enum):
        SAVE = "save-game"
        ACME = "com.acme"

    pairs = UnstructEvent(Name.SAVE, {}, Name.ACME).pairs(PLAIN)
    assert json.loads(pairs["ue_pr"])["data"]["schema"] == "iglu:com.acme/save-game/jsonschema/1-0-0"


@given(st.dictionaries(data_texts() | st.sampled_from(["a$int", "b$geo", "$"]), st.from_type(object), max_size=3))
def test_whatever_comes_is_taken_or_refused_in_words(properties: Any) -> None:
    for vendor in (None, "com.acme"):
        try:
            pairs = UnstructEvent("save-game", properties, vendor).pairs(BASE64)
        except ValidationError as error:
            problem = str(error)
        else:
            problem = "" if pairs["e"] == "ue" else "not what was asked for"
        assert not problem or problem.startswith("'properties")
