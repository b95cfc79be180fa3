"""Each event renders exactly what it was given, and refuses at construction what the pipeline would lose later."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from strategies import STRUCTURED_EVENTS

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.events import (
    DesktopScreenView,
    EcommerceTransaction,
    EcommerceTransactionItem,
    Event,
    PagePing,
    PageView,
    ScreenView,
    SelfDescribing,
    StructuredEvent,
)
from snowplow_tracker.payload import JsonForm
from snowplow_tracker.self_describing_json import SelfDescribingJson
from snowplow_tracker.subject import Subject

PLAIN = JsonForm(base64=False)
UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
URI = "iglu:com.acme/save_game/jsonschema/1-0-0"
NAN, INF = float("nan"), float("inf")

# The least that each class takes; a row of a table below changes one argument of it.
LEAST: dict[type[Event], dict[str, Any]] = {
    PageView: {"page_url": "http://e.com"},
    PagePing: {"page_url": "http://e.com"},
    StructuredEvent: {"category": "shop", "action": "add"},
    EcommerceTransaction: {"order_id": "1", "tr_affiliation": None, "tr_total_value": 1},
    EcommerceTransactionItem: {
        "ti_id": "1",
        "ti_sku": "pbz",
        "ti_name": None,
        "ti_category": None,
        "ti_price": 1,
        "ti_quantity": 1,
    },
    SelfDescribing: {"event_json": SelfDescribingJson(URI, {})},
    ScreenView: {"id_": UUID, "name": "HUD"},
    DesktopScreenView: {"name": "HUD"},
}


def made(kind: type[Event], **changes: Any) -> Event:
    return kind(**{**LEAST[kind], **changes})


def screen_data(event: Event) -> Any:
    return json.loads(event.pairs(PLAIN)["ue_pr"])["data"]


# --- what is sent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "pairs"),
    [
        (PageView("http://e.com/a b"), {"e": "pv", "url": "http://e.com/a%20b"}),
        (PageView("e.com", "Title", "/from"), {"e": "pv", "url": "e.com", "page": "Title", "refr": "/from"}),
        (PageView("e.com", "", ""), {"e": "pv", "url": "e.com"}),
        (
            PagePing("e.com", None, None, 0, 100, -5, 2147483647),
            {"e": "pp", "url": "e.com", "pp_mix": "0", "pp_max": "100", "pp_miy": "-5", "pp_may": "2147483647"},
        ),
        (PagePing("e.com"), {"e": "pp", "url": "e.com"}),
        (
            StructuredEvent("shop", "add-to-basket", None, "pcs", 2),
            {"e": "se", "se_ca": "shop", "se_ac": "add-to-basket", "se_pr": "pcs", "se_va": "2"},
        ),
        (
            StructuredEvent("a", "b", "c", "d", Decimal("0.10")),
            {"e": "se", "se_ca": "a", "se_ac": "b", "se_la": "c", "se_pr": "d", "se_va": "0.10"},
        ),
        (StructuredEvent("a", "b", "", "", 0), {"e": "se", "se_ca": "a", "se_ac": "b", "se_va": "0"}),
        (
            EcommerceTransaction("order-456", "", 142, 20, 12.99, "London", "", "United Kingdom"),
            {
                "e": "tr",
                "tr_id": "order-456",
                "tr_tt": "142",
                "tr_tx": "20",
                "tr_sh": "12.99",
                "tr_ci": "London",
                "tr_co": "United Kingdom",
            },
        ),
        (
            EcommerceTransaction("1", "shop", 0, tr_state="CA", currency="gbp"),
            {"e": "tr", "tr_id": "1", "tr_af": "shop", "tr_tt": "0", "tr_st": "CA", "tr_cu": "GBP"},
        ),
        (
            EcommerceTransactionItem("1", "pbz0001", "Pencil", "Office", 9.99, 3, currency="EUR"),
            {
                "e": "ti",
                "ti_id": "1",
                "ti_sk": "pbz0001",
                "ti_nm": "Pencil",
                "ti_ca": "Office",
                "ti_pr": "9.99",
                "ti_qu": "3",
                "ti_cu": "EUR",
            },
        ),
        (
            EcommerceTransactionItem("1", "s", None, "", 0, 0),
            {"e": "ti", "ti_id": "1", "ti_sk": "s", "ti_pr": "0", "ti_qu": "0"},
        ),
    ],
)
def test_an_event_sends_its_keys_and_leaves_absent_ones_off(event: Event, pairs: dict[str, str]) -> None:
    assert event.pairs(PLAIN) == pairs


def test_a_self_describing_event_wraps_schema_and_data() -> None:
    pairs = SelfDescribing(SelfDescribingJson(URI, {"level": 23})).pairs(PLAIN)
    assert set(pairs) == {"e", "ue_pr"}
    assert pairs["e"] == "ue"
    assert json.loads(pairs["ue_pr"])["data"] == {"schema": URI, "data": {"level": 23}}


@pytest.mark.parametrize(
    ("event", "schema", "data"),
    [
        (DesktopScreenView("Game HUD", "23"), "snowplow/screen_view", {"name": "Game HUD", "id": "23"}),
        (DesktopScreenView("HUD", ""), "snowplow/screen_view", {"name": "HUD"}),
        (ScreenView(UUID, "HUD"), "mobile/screen_view", {"id": UUID, "name": "HUD"}),
        (
            ScreenView(UUID, "HUD", "t", "before", UUID, "pt", "fade"),
            "mobile/screen_view",
            {
                "id": UUID,
                "name": "HUD",
                "type": "t",
                "previousName": "before",
                "previousId": UUID,
                "previousType": "pt",
                "transitionType": "fade",
            },
        ),
        (ScreenView(UUID, "HUD", "", previous_name=""), "mobile/screen_view", {"id": UUID, "name": "HUD"}),
    ],
)
def test_a_screen_view_sends_the_properties_of_its_schema(event: Event, schema: str, data: Any) -> None:
    assert screen_data(event) == {"schema": f"iglu:com.snowplowanalytics.{schema}/jsonschema/1-0-0", "data": data}


@given(STRUCTURED_EVENTS)
def test_a_structured_event_arrives_as_it_was_passed(event: StructuredEvent) -> None:
    pairs = event.pairs(PLAIN)
    assert (pairs["se_ca"], pairs["se_ac"]) == (event.category, event.action)
    assert (pairs.get("se_la"), pairs.get("se_pr")) == (event.label or None, event.property_ or None)
    assert event.value is None if "se_va" not in pairs else Decimal(pairs["se_va"]) == Decimal(str(event.value))


def test_an_event_is_frozen() -> None:
    with pytest.raises(AttributeError, match=r"attrs\.evolve"):
        StructuredEvent("a", "b").category = "c"  # type: ignore[misc]


def test_pairs_are_the_callers_to_change() -> None:
    event = StructuredEvent("a", "b")
    event.pairs(PLAIN)["se_ca"] = "changed"
    assert event.pairs(PLAIN)["se_ca"] == "a"


# --- text ------------------------------------------------------------------------------------------------------

REQUIRED: list[tuple[type[Event], str, int]] = [
    (StructuredEvent, "category", 1000),
    (StructuredEvent, "action", 1000),
    (EcommerceTransaction, "order_id", 255),
    (EcommerceTransactionItem, "ti_id", 255),
    (EcommerceTransactionItem, "ti_sku", 255),
    (DesktopScreenView, "name", 65_535),
    (ScreenView, "name", 65_535),
]
OPTIONAL: list[tuple[type[Event], str, int]] = [
    (PageView, "page_title", 2000),
    (PagePing, "page_title", 2000),
    (StructuredEvent, "label", 4096),
    (StructuredEvent, "property_", 1000),
    (EcommerceTransaction, "tr_affiliation", 255),
    (EcommerceTransaction, "tr_city", 255),
    (EcommerceTransaction, "tr_state", 255),
    (EcommerceTransaction, "tr_country", 255),
    (EcommerceTransactionItem, "ti_name", 255),
    (EcommerceTransactionItem, "ti_category", 255),
    (DesktopScreenView, "id_", 65_535),
    (ScreenView, "type", 65_535),
]
ADDRESSES: list[tuple[type[Event], str]] = [(PageView, "page_url"), (PageView, "referrer"), (PagePing, "page_url")]


@pytest.mark.parametrize(("kind", "argument", "limit"), REQUIRED + OPTIONAL)
def test_text_fits_up_to_the_limit_of_its_key_and_no_further(kind: type[Event], argument: str, limit: int) -> None:
    odd = limit % 2
    for text in (
        "x" * limit,
        "x" * odd + "😀" * (limit // 2),
        "\t" * (limit // 4) + "x" * (limit % 4),
        "x" * limit + "\n",
    ):
        assert getattr(made(kind, **{argument: text}), argument) == text
        with pytest.raises(ValidationError) as caught:
            made(kind, **{argument: text + "x"})
        assert f"'{argument.rstrip('_')}' must be at most {limit} characters long" in str(caught.value)


@pytest.mark.parametrize(("kind", "argument"), [(kind, argument) for kind, argument, _ in REQUIRED] + ADDRESSES[::2])
@pytest.mark.parametrize("value", ["", "\n", None, 5, True, ["x"], {"x": 1}])
def test_a_required_text_says_something(kind: type[Event], argument: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        made(kind, **{argument: value})
    assert f"'{argument.rstrip('_')}' must be a non-empty string, got " in str(caught.value)


@pytest.mark.parametrize(("kind", "argument"), [(kind, argument) for kind, argument, _ in OPTIONAL])
@pytest.mark.parametrize("value", [5, True, ["x"], 1.5])
def test_an_optional_text_is_text(kind: type[Event], argument: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        made(kind, **{argument: value})
    assert f"'{argument.rstrip('_')}' must be a string or None, got {value!r} (" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "argument"), [(kind, argument) for kind, argument, _ in REQUIRED + OPTIONAL] + ADDRESSES
)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"bytes", "decode it first"),
        ("a\ud800", "lone surrogate"),
        ("\udc00\ud83d", "lone surrogate"),
        ("a\x00", "control characters"),
        ("\x1b[0m", "control characters"),
        ("a\x7f", "control characters"),
        ("a\r\n", "control characters"),
    ],
)
def test_what_cannot_travel_as_text_is_refused(kind: type[Event], argument: str, value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        made(kind, **{argument: value})
    assert str(caught.value).startswith(f"'{argument.rstrip('_')}' must be ")
    assert words in str(caught.value)


# --- numbers, ids, codes ---------------------------------------------------------------------------------------

NUMBERS: list[tuple[type[Event], str]] = [
    (StructuredEvent, "value"),
    (EcommerceTransaction, "tr_total_value"),
    (EcommerceTransaction, "tr_tax_value"),
    (EcommerceTransaction, "tr_shipping"),
    (EcommerceTransactionItem, "ti_price"),
]
INTEGERS: list[tuple[type[Event], str]] = [
    (PagePing, "min_x"),
    (PagePing, "max_x"),
    (PagePing, "min_y"),
    (PagePing, "max_y"),
    (EcommerceTransactionItem, "ti_quantity"),
]


@pytest.mark.parametrize(("kind", "argument"), NUMBERS)
@pytest.mark.parametrize(
    "value", [True, False, NAN, INF, -INF, "1", b"1", Decimal("NaN"), Decimal("sNaN"), Decimal("Inf")]
)
def test_a_number_is_finite_and_no_boolean(kind: type[Event], argument: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        made(kind, **{argument: value})
    assert str(caught.value).startswith(f"'{argument}' must be a finite number (int, float or Decimal)")


@pytest.mark.parametrize(("kind", "argument"), NUMBERS)
def test_a_number_of_over_64_bits_is_refused(kind: type[Event], argument: str) -> None:
    made(kind, **{argument: 2**63 - 1})
    with pytest.raises(ValidationError, match=f"'{argument}' must be an integer of at most 64 bits"):
        made(kind, **{argument: 2**63})


@pytest.mark.parametrize(("kind", "argument"), INTEGERS)
@pytest.mark.parametrize("value", [True, 1.0, 2.5, "1", NAN, Decimal(1), 2**31, -(2**31) - 1, 2**64])
def test_a_count_is_an_integer_of_32_bits(kind: type[Event], argument: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=f"'{argument}' must be an integer"):
        made(kind, **{argument: value})


def test_required_numbers_may_not_be_left_out() -> None:
    for kind, argument in ((EcommerceTransaction, "tr_total_value"), (EcommerceTransactionItem, "ti_price")):
        with pytest.raises(ValidationError, match=f"'{argument}' must be a finite number"):
            made(kind, **{argument: None})
    with pytest.raises(ValidationError, match="'ti_quantity' must be an integer, got None"):
        made(EcommerceTransactionItem, ti_quantity=None)


@pytest.mark.parametrize("argument", ["id_", "previous_id"])
@pytest.mark.parametrize("value", ["23", 23, "3f2504e04f8941d39a0c0305e82c3301"])
def test_a_mobile_screens_ids_are_uuids(argument: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=f"'{argument.rstrip('_')}' must be a UUID"):
        made(ScreenView, **{argument: value})


@pytest.mark.parametrize("kind", [EcommerceTransaction, EcommerceTransactionItem])
@pytest.mark.parametrize("value", ["EURO", "€", 978, True])
def test_a_currency_is_three_letters(kind: type[Event], value: Any) -> None:
    with pytest.raises(ValidationError, match="'currency' must be a currency code of three letters"):
        made(kind, currency=value)


# --- what every event can carry --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LEAST)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tstamp": 1369330909000}, "'tstamp' must be in seconds since the epoch; this looks like milliseconds"),
        ({"tstamp": 0}, "'tstamp' must be positive"),
        ({"tstamp": -1.5}, "'tstamp' must be positive"),
        ({"tstamp": True}, "'tstamp' must be seconds"),
        ({"tstamp": NAN}, "'tstamp' must be seconds"),
        ({"tstamp": INF}, "'tstamp' must be seconds"),
        ({"tstamp": 10**400}, "milliseconds"),
        ({"tstamp": "now"}, "'tstamp' must be seconds"),
        ({"tstamp": [SelfDescribingJson(URI, {})]}, "context=[…]"),
        ({"tstamp": datetime(2013, 5, 23)}, "'tstamp' must be an aware datetime"),
        (
            {"true_timestamp": 1369330909},
            "'true_timestamp' must be milliseconds since the epoch; this looks like seconds",
        ),
        ({"true_timestamp": True}, "'true_timestamp' must be milliseconds"),
        ({"context": {"a": 1}}, "'context' must be a list of SelfDescribingJson"),
        ({"context": [{"a": 1}]}, "'context[0]' must be a SelfDescribingJson"),
        ({"event_subject": "anna"}, "'event_subject' must be a Subject or None, got 'anna' (str)"),
    ],
)
def test_bad_circumstances_are_refused_by_every_event(kind: type[Event], changes: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        made(kind, **changes)
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", LEAST)
def test_circumstances_are_taken_by_every_event_and_are_not_among_its_own_pairs(kind: type[Event]) -> None:
    event = made(
        kind,
        context=[SelfDescribingJson(URI, {})],
        true_timestamp=1369330909000,
        event_subject=Subject().set_user_id("anna"),
        tstamp=datetime(2013, 5, 23, tzinfo=timezone.utc),
    )
    assert event.pairs(PLAIN) == made(kind).pairs(PLAIN)
