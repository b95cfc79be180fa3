"""Every rule for an argument, one row each: what is refused, by which words, and what is taken at the very limit."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import NUMBERS, required_texts

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.validators import (
    INT32_MAX,
    LAST_MS,
    check_flag,
    check_iglu_uri,
    check_integer,
    check_number,
    check_size,
    check_text,
    check_true_timestamp,
    check_uuid,
    currency,
    decimal_text,
    describe,
    invalid,
    one_of,
    tstamp_ms,
    utf16_length,
)

HUGE = 10**400
"""Too large for a float."""


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr today")


class Kind(str, Enum):
    A = "a"


class Depth(IntEnum):
    TRUE_COLOR = 24


# --- wording ---------------------------------------------------------------------------------------------------


def test_an_error_says_argument_rule_value_type_and_way_out() -> None:
    error = invalid("depth", "a positive integer (bits per pixel)", "walrus", "count them")
    assert str(error) == "'depth' must be a positive integer (bits per pixel), got 'walrus' (str); count them"


def test_an_error_names_the_call_once_it_is_known() -> None:
    error = invalid("depth", "positive", 0).within("Tracker.set_color_depth")
    assert str(error) == "Tracker.set_color_depth(): 'depth' must be positive, got 0 (int)"


def test_an_error_is_what_each_generation_of_callers_catches() -> None:
    assert issubclass(ValidationError, ValueError)
    assert issubclass(ValidationError, RuntimeError)


def test_an_error_keeps_a_form_without_the_value_for_logs() -> None:
    error = invalid("user_id", "a non-empty string", b"anna@example.com", "decode it first")
    assert "anna" in error.problem
    assert "anna" not in error.rule
    assert "decode it first" in error.rule


def test_the_underscore_of_a_python_keyword_is_not_shown() -> None:
    assert str(invalid("property_", "text", 1)).startswith("'property' must be text")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (True, "True (bool)"),
        ("x" * 500, "… (502 characters) (str)"),
        (Broken(), "a value (Broken)"),
        pytest.param(10**5000, "a value (int)", id="5001 digits"),
        ("\ud800", r"'\ud800' (str)"),
    ],
)
def test_a_value_is_described_shortly_and_without_fail(value: object, shown: str) -> None:
    assert describe(value).endswith(shown)
    assert len(describe(value)) < 120


# --- text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "units"),
    [("abc", 3), ("é", 1), ("😀", 2), ("𝄞x", 3), ("\t", 4), ("a\nb", 2), ("\x85", 1), ("👩\u200d🚀", 5)],
)
def test_text_is_measured_as_the_enrichment_measures_it(text: str, units: int) -> None:
    assert utf16_length(text) == units


@given(st.text(st.characters(codec="utf-8")))
def test_without_tabs_and_newlines_the_length_is_that_of_utf16(text: str) -> None:
    folded = text.replace("\t", "    ").replace("\n", "")
    assert utf16_length(text) == len(folded.encode("utf-16-le")) // 2


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "a non-empty string, got ''"),
        ("\n\n", "a non-empty string"),
        (None, "a non-empty string, got None"),
        (7, "a non-empty string, got 7 (int)"),
        (b"x", "a non-empty string, got b'x' (bytes); decode it first"),
        (bytearray(b"x"), "decode it first"),
        ("a\ud800", "text that can be encoded as UTF-8 (it holds a lone surrogate)"),
        ("a\x00b", r"text without control characters (it holds '\x00')"),
        ("a\x1fb", "control characters"),
        ("a\rb", r"control characters (it holds '\r')"),
        ("a\x0bb", "control characters"),
        ("a\x7fb", r"control characters (it holds '\x7f')"),
        ("x" * 9, "at most 8 characters long (UTF-16 units; this has 9)"),
        ("😀" * 4 + "x", "this has 9"),
        ("\t\tx", "this has 9"),
    ],
)
def test_text_is_refused_in_words(value: object, rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check_text("label", value, 8)
    assert str(caught.value).startswith("'label' must be ")
    assert rule in str(caught.value)


@pytest.mark.parametrize("text", ["x" * 8, "😀" * 4, "\t\t", "a\nb", "\x85\x9f", "\u00a0", " ", Kind.A])
def test_text_up_to_its_limit_is_taken(text: str) -> None:
    check_text("label", text, 8)


@given(required_texts(40))
def test_any_ordinary_text_is_taken(text: str) -> None:
    check_text("label", text, 40)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "3f2504e0-4f89-41d3-9a0c-0305e82c330",
        "3f2504e04f8941d39a0c0305e82c3301",
        "{3f2504e0-4f89-41d3-9a0c-0305e82c3301}",
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301\n",
        "3f2504e0-4f89-41d3-9a0c-0305e82c330g",
        5,
        None,
    ],
)
def test_what_is_no_uuid_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="'sid' must be a UUID such as"):
        check_uuid("sid", value)


def test_a_uuid_of_either_case_is_taken() -> None:
    check_uuid("sid", "3F2504E0-4f89-41d3-9a0c-0305E82C3301")


@pytest.mark.parametrize(
    "uri", ["iglu:com.acme/a-b_c/jsonschema/1-0-0", "iglu:a/b/c/10-20-30", "iglu:com_a.c-d/B/jsonschema/1-0-10"]
)
def test_an_iglu_uri_is_taken(uri: str) -> None:
    check_iglu_uri("schema", uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "com.acme/a/jsonschema/1-0-0",
        "iglu:com.acme/a/jsonschema/0-0-0",
        "iglu:com.acme/a/jsonschema/1-00-0",
        "iglu:com.acme/a/jsonschema/01-0-0",
        "iglu:com.acme/a/jsonschema/1-0",
        "iglu:com.acme/a.b/jsonschema/1-0-0",
        "iglu:com.acmé/a/jsonschema/1-0-0",
        "iglu:com.acme/a/jsonschema/1-0-0\n",
        "iglu:com.acme/a/jsonschema/1-0-*",
        "iglu:com.acme/a/jsonschema/1-0-٣",
        "iglu://com.acme/a/jsonschema/1-0-0",
        None,
        b"iglu:com.acme/a/jsonschema/1-0-0",
    ],
)
def test_what_is_no_iglu_uri_is_refused(uri: object) -> None:
    with pytest.raises(ValidationError, match="'schema' must be an Iglu URI: iglu:vendor/name/format/M-R-A"):
        check_iglu_uri("schema", uri)


def test_one_of_lists_the_choices() -> None:
    check = one_of(("pc", "web"))
    check("value", "pc")
    for value in ("PC", "", None, 1, ["pc"]):
        with pytest.raises(ValidationError, match="'value' must be one of pc, web, got"):
            check("value", value)


@pytest.mark.parametrize(("given_", "sent"), [(None, None), ("", None), ("eur", "EUR"), ("USD", "USD")])
def test_a_currency_is_sent_in_capitals(given_: str | None, sent: str | None) -> None:
    assert currency(given_) == sent


@pytest.mark.parametrize("value", ["EURO", "E", "E1R", "ÄÖÜ", "EUR\n", "ſſſ", 978, b"EUR", [1, 2]])
def test_what_is_no_currency_is_refused(value: Any) -> None:
    with pytest.raises(
        ValidationError, match="'currency' must be a currency code of three letters, such as 'EUR', got"
    ):
        currency(value)


# --- numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [0, 1, 1.5, -2, Decimal("9.99"), 2**63 - 1, -(2**63), 1e308, Decimal("1E+300"), Depth.TRUE_COLOR]
)
def test_a_number_is_taken(value: object) -> None:
    check_number("value", value)


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        None,
        "1",
        b"1",
        1j,
        [1],
        float("nan"),
        float("inf"),
        float("-inf"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1E+400"),
    ],
)
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match=r"'value' must be a finite number \(int, float or Decimal\), got"):
        check_number("value", value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, HUGE])
def test_an_integer_over_64_bits_is_refused(value: int) -> None:
    with pytest.raises(ValidationError, match="'value' must be an integer of at most 64 bits"):
        check_number("value", value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (142, "142"),
        (12.99, "12.99"),
        (1e22, "1e+22"),
        (-0.0, "-0.0"),
        (Decimal("12.990"), "12.990"),
        (Decimal("-0"), "-0"),
        (Decimal("1E+3"), "1E+3"),
        (Depth.TRUE_COLOR, "24"),
    ],
)
def test_a_number_is_written_as_the_pipeline_reads_it(value: Any, text: str) -> None:
    assert decimal_text(value) == text


@given(NUMBERS)
def test_any_number_survives_its_text(value: Any) -> None:
    text = decimal_text(value)
    assert type(value)(text) == value
    assert set(text) <= set("0123456789+-.eE")


class LoudFloat(float):
    """As numpy.float64: a float whose repr is not a number's."""

    def __repr__(self) -> str:
        return f"LoudFloat({float(self)})"


def test_a_float_subclass_with_a_repr_of_its_own_is_written_plainly() -> None:
    check_number("value", LoudFloat(1.5))
    assert decimal_text(LoudFloat(1.5)) == "1.5"


@pytest.mark.parametrize("value", [True, 1.0, "1", None, Decimal(1), float("nan")])
def test_only_an_int_is_an_integer(value: object) -> None:
    with pytest.raises(ValidationError, match="'count' must be an integer, got"):
        check_integer("count", value, 0, 10)


def test_an_integer_is_taken_from_its_lowest_to_its_highest() -> None:
    for value in (0, 10):
        check_integer("count", value, 0, 10)
    for value in (-1, 11, HUGE):
        with pytest.raises(ValidationError, match="'count' must be an integer between 0 and 10, got"):
            check_integer("count", value, 0, 10)


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1024", None])
def test_a_size_is_a_positive_integer(value: object) -> None:
    with pytest.raises(ValidationError, match=r"'width' must be a positive integer \(pixels\), got"):
        check_size("width", value, "pixels")


def test_a_size_has_32_bits() -> None:
    check_size("width", INT32_MAX, "pixels")
    with pytest.raises(ValidationError, match="of at most 2147483647"):
        check_size("width", INT32_MAX + 1, "pixels")


@pytest.mark.parametrize("value", [0, 1, None, "true"])
def test_a_flag_is_a_boolean(value: object) -> None:
    with pytest.raises(ValidationError, match="'encode_base64' must be True or False, got"):
        check_flag("encode_base64", value)


# --- times -----------------------------------------------------------------------------------------------------

UTC = timezone.utc


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (1369330092, 1369330092000),
        (1369330092.123, 1369330092123),
        (1369330092.0006, 1369330092001),
        (99_999_999_999, 99_999_999_999_000),
        (datetime(2013, 5, 23, 17, 28, 12, tzinfo=UTC), 1369330092000),
        (datetime(2013, 5, 23, 17, 28, 12, 123_499, tzinfo=UTC), 1369330092123),
        (datetime(2013, 5, 23, 17, 28, 12, 123_500, tzinfo=UTC), 1369330092124),
        (datetime(2013, 5, 23, 19, 28, 12, tzinfo=timezone(timedelta(hours=2))), 1369330092000),
        (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), LAST_MS),
    ],
)
def test_a_tstamp_becomes_milliseconds(value: Any, milliseconds: int) -> None:
    assert tstamp_ms("tstamp", value) == milliseconds


@given(st.integers(1, 99_999_999_999_999))
def test_whole_milliseconds_come_out_exactly(milliseconds: int) -> None:
    assert tstamp_ms("tstamp", milliseconds / 1000) == milliseconds


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            1369330909000,
            "in seconds since the epoch; this looks like milliseconds, got 1369330909000 (int); divide by 1000",
        ),
        (1369330909000, "true_timestamp="),
        (1e11, "milliseconds"),
        (HUGE, "milliseconds"),
        ([], "context=[…]"),
        (0, "positive"),
        (-1, "positive"),
        (-HUGE, "positive"),
        (True, "seconds since the epoch"),
        (float("nan"), "seconds since the epoch"),
        (float("inf"), "seconds since the epoch"),
        ("1369330909", "seconds since the epoch"),
        (Decimal(1), "seconds since the epoch"),
        (datetime(2013, 5, 23), "an aware datetime"),
        (datetime(2013, 5, 23), "datetime.now(timezone.utc)"),
        (datetime(1969, 12, 31, tzinfo=UTC), "after 1970-01-01T00:00:00Z"),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))), "before the year 10000"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_900, tzinfo=UTC), "before the year 10000"),
    ],
)
def test_what_is_no_tstamp_is_refused_with_the_way_out(value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        tstamp_ms("tstamp", value)
    assert str(caught.value).startswith("'tstamp' must be ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1369330909, "this looks like seconds, got 1369330909 (int); multiply by 1000"),
        (0, "seconds"),
        (-HUGE, "seconds"),
        (HUGE, "up to the year 9999"),
        (LAST_MS + 1, "up to the year 9999"),
        (True, "milliseconds since the epoch, got True (bool)"),
        (float("nan"), "milliseconds"),
        (float("inf"), "milliseconds"),
        ("1369330909000", "milliseconds"),
        (datetime(2013, 5, 23, tzinfo=UTC), "milliseconds"),
    ],
)
def test_what_is_no_true_timestamp_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check_true_timestamp("true_timestamp", value)
    assert str(caught.value).startswith("'true_timestamp' must be ")
    assert words in str(caught.value)


@pytest.mark.parametrize("value", [10**11, 1369330909000, 1369330909000.0, LAST_MS])
def test_a_true_timestamp_is_milliseconds(value: Any) -> None:
    check_true_timestamp("true_timestamp", value)
