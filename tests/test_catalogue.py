"""The typed catalogue: every property under its schema's name, and nothing that the schema refuses."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from strategies import CATALOGUE_EVENTS

from snowplow_tracker.catalogue import (
    INPUT_TYPES,
    NODE_NAMES,
    AddToCart,
    FormChange,
    FormSubmit,
    LinkClick,
    RemoveFromCart,
    SiteSearch,
    SocialInteraction,
    Timing,
)
from snowplow_tracker.errors import ValidationError
from snowplow_tracker.events import DesktopScreenView, Event, SchemaEvent, ScreenView
from snowplow_tracker.payload import JsonForm

PLAIN = JsonForm(base64=False)
NAN, INF = float("nan"), float("inf")
SCHEMAS = Path(__file__).parents[2] / "shared" / "iglu-schemas"

LEAST: dict[type[SchemaEvent], dict[str, Any]] = {
    LinkClick: {"target_url": "http://e.com"},
    AddToCart: {"sku": "pbz0001", "quantity": 1},
    RemoveFromCart: {"sku": "pbz0001", "quantity": 1},
    SiteSearch: {"terms": ["shoes"]},
    SocialInteraction: {"action": "like", "network": "mastodon"},
    FormChange: {"form_id": "signup", "element_id": "mail", "node_name": "INPUT", "value": "x"},
    FormSubmit: {"form_id": "signup"},
    Timing: {"category": "loading", "variable": "level 3", "timing": 1500},
}


def made(kind: type[SchemaEvent], **changes: Any) -> SchemaEvent:
    return kind(**{**LEAST[kind], **changes})


def sent(event: Event) -> Any:
    """The inner ``{schema, data}`` that goes out."""
    return json.loads(event.pairs(PLAIN)["ue_pr"])["data"]


def refusal(kind: type[SchemaEvent], **changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        made(kind, **changes)
    return str(caught.value)


# --- what is sent ----------------------------------------------------------------------------------------------

ELEMENT = {"name": "mail", "value": "a@b.c", "nodeName": "INPUT", "type": "email"}
ALL: list[tuple[SchemaEvent, str, dict[str, Any]]] = [
    (
        LinkClick("http://e.com", "id", ["c"], "_blank", "Click"),
        "link_click/jsonschema/1-0-1",
        {
            "targetUrl": "http://e.com",
            "elementId": "id",
            "elementClasses": ["c"],
            "elementTarget": "_blank",
            "elementContent": "Click",
        },
    ),
    (LinkClick("not a url"), "link_click/jsonschema/1-0-1", {"targetUrl": "not a url"}),
    (
        AddToCart("s", 2, "Pencil", "Office", 9.99, "eur"),
        "add_to_cart/jsonschema/1-0-0",
        {"sku": "s", "quantity": 2, "name": "Pencil", "category": "Office", "unitPrice": 9.99, "currency": "EUR"},
    ),
    (AddToCart("s", 0), "add_to_cart/jsonschema/1-0-0", {"sku": "s", "quantity": 0}),
    (
        RemoveFromCart("s", 0.5, "Rope", "", None, ""),
        "remove_from_cart/jsonschema/1-0-0",
        {"sku": "s", "quantity": 0.5, "name": "Rope"},
    ),
    (
        SiteSearch(("red", "shoes"), {"size": "42", "sale": True}, 100, 10),
        "site_search/jsonschema/1-0-0",
        {"terms": ["red", "shoes"], "filters": {"size": "42", "sale": True}, "totalResults": 100, "pageResults": 10},
    ),
    (
        SiteSearch([""], {}, 0, 2147483647),
        "site_search/jsonschema/1-0-0",
        {"terms": [""], "filters": {}, "totalResults": 0, "pageResults": 2147483647},
    ),
    (
        SocialInteraction("like", "mastodon", "page"),
        "social_interaction/jsonschema/1-0-0",
        {"action": "like", "network": "mastodon", "target": "page"},
    ),
    (
        FormChange("f", "e", "INPUT", "v", "text", []),
        "change_form/jsonschema/1-0-0",
        {"formId": "f", "elementId": "e", "nodeName": "INPUT", "value": "v", "type": "text", "elementClasses": []},
    ),
    (
        FormChange("f", "", "SELECT", None),
        "change_form/jsonschema/1-0-0",
        {"formId": "f", "elementId": "", "nodeName": "SELECT", "value": None},
    ),
    (
        FormChange("f", "e", "TEXTAREA", ""),
        "change_form/jsonschema/1-0-0",
        {"formId": "f", "elementId": "e", "nodeName": "TEXTAREA", "value": ""},
    ),
    (
        FormSubmit("f", ["c"], [ELEMENT, {"name": "", "value": None, "nodeName": "SELECT", "type": None}]),
        "submit_form/jsonschema/1-0-0",
        {"formId": "f", "formClasses": ["c"], "elements": [ELEMENT, {"name": "", "value": None, "nodeName": "SELECT"}]},
    ),
    (
        Timing("loading", "level 3", 1500.5, "cold"),
        "timing/jsonschema/1-0-0",
        {"category": "loading", "variable": "level 3", "timing": 1500.5, "label": "cold"},
    ),
]


@pytest.mark.parametrize(("event", "schema", "data"), ALL)
def test_an_event_sends_its_properties_by_the_schemas_names(
    event: SchemaEvent, schema: str, data: dict[str, Any]
) -> None:
    assert sent(event) == {"schema": f"iglu:com.snowplowanalytics.snowplow/{schema}", "data": data}


@pytest.mark.parametrize("kind", LEAST)
def test_only_required_arguments_are_required(kind: type[SchemaEvent]) -> None:
    assert len(sent(made(kind))["data"]) == len(LEAST[kind])
    for argument in LEAST[kind]:
        with pytest.raises(TypeError, match=argument):
            kind(**{name: value for name, value in LEAST[kind].items() if name != argument})


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (Decimal("12.99"), "12.99"),
        (Decimal("2"), "2"),
        (Decimal("2.00"), "2"),
        (Decimal("-0"), "0"),
        (Decimal("1E+3"), "1000"),
        (Decimal(2**63 - 1), "9223372036854775807"),
        (Decimal("0.1"), "0.1"),
        (3, "3"),
        (3.0, "3.0"),
    ],
)
def test_a_decimal_is_sent_as_the_number_it_is(value: Any, number: str) -> None:
    for event in (made(Timing, timing=value), made(AddToCart, quantity=value), made(AddToCart, unit_price=value)):
        assert f":{number}" in event.pairs(PLAIN)["ue_pr"].replace("}", ",")


def test_what_the_caller_changes_afterwards_does_not_change_the_event() -> None:
    terms, filters, element = ["shoes"], {"sale": True}, dict(ELEMENT)
    elements = [element]
    search, submit = SiteSearch(terms, filters), FormSubmit("f", elements=elements)
    before = sent(search), sent(submit)
    terms.clear()
    filters.clear()
    element.clear()
    elements.clear()
    assert (sent(search), sent(submit)) == before


def test_what_users_typed_arrives_with_every_character() -> None:
    text = "a\r\nb\x00\x7f\t😀"
    assert sent(made(FormChange, value=text))["data"]["value"] == text
    assert sent(made(SiteSearch, terms=[text], filters={text: text}))["data"] == {
        "terms": [text],
        "filters": {text: text},
    }
    element = {"name": text, "value": text, "nodeName": "TEXTAREA"}
    assert sent(made(FormSubmit, elements=[element]))["data"]["elements"] == [element]


# --- refused ---------------------------------------------------------------------------------------------------

REQUIRED_TEXTS: list[tuple[type[SchemaEvent], str]] = [
    (LinkClick, "target_url"),
    (AddToCart, "sku"),
    (RemoveFromCart, "sku"),
    (SocialInteraction, "action"),
    (SocialInteraction, "network"),
    (FormChange, "form_id"),
    (FormSubmit, "form_id"),
    (Timing, "category"),
    (Timing, "variable"),
]
OPTIONAL_TEXTS: list[tuple[type[SchemaEvent], str]] = [
    (LinkClick, "element_id"),
    (LinkClick, "element_target"),
    (LinkClick, "element_content"),
    (AddToCart, "name"),
    (RemoveFromCart, "category"),
    (SocialInteraction, "target"),
    (Timing, "label"),
]
LISTS: list[tuple[type[SchemaEvent], str]] = [
    (LinkClick, "element_classes"),
    (SiteSearch, "terms"),
    (FormChange, "element_classes"),
    (FormSubmit, "form_classes"),
]


@pytest.mark.parametrize(("kind", "argument"), REQUIRED_TEXTS)
@pytest.mark.parametrize("value", ["", None, 5, True, b"x", ["x"]])
def test_a_required_text_says_something(kind: type[SchemaEvent], argument: str, value: Any) -> None:
    assert refusal(kind, **{argument: value}).startswith(f"'{argument}' must be a non-empty string, got {value!r}")


@pytest.mark.parametrize(("kind", "argument"), OPTIONAL_TEXTS)
@pytest.mark.parametrize("value", [5, True, b"x", ["x"]])
def test_an_optional_text_is_text(kind: type[SchemaEvent], argument: str, value: Any) -> None:
    assert refusal(kind, **{argument: value}).startswith(f"'{argument}' must be a string or None, got {value!r} (")


@pytest.mark.parametrize(("kind", "argument"), OPTIONAL_TEXTS)
def test_an_optional_text_that_is_empty_is_left_out(kind: type[SchemaEvent], argument: str) -> None:
    assert sent(made(kind, **{argument: ""})) == sent(made(kind))


@pytest.mark.parametrize(("kind", "argument"), [*REQUIRED_TEXTS, *OPTIONAL_TEXTS, (FormChange, "element_id")])
@pytest.mark.parametrize(("value", "words"), [("a\x00", "control characters"), ("\ud800", "lone surrogate")])
def test_what_cannot_travel_as_text_is_refused(kind: type[SchemaEvent], argument: str, value: str, words: str) -> None:
    assert words in refusal(kind, **{argument: value})


@pytest.mark.parametrize(("kind", "argument"), LISTS)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("shoes", "must be a list of strings, got 'shoes' (str); put it in a list: […]"),
        (5, "must be a list of strings, got 5 (int)"),
        ({"a": 1}, "must be a list of strings"),
        (["a", 1], "[1]' must be a string, got 1 (int)"),
        (["a", None], "[1]' must be a string, got None"),
        ([b"a"], "[0]' must be a string, got b'a' (bytes); decode it first"),
        (["\ud800"], "lone surrogate"),
    ],
)
def test_a_list_of_texts_is_one(kind: type[SchemaEvent], argument: str, value: Any, words: str) -> None:
    message = refusal(kind, **{argument: value})
    assert message.startswith(f"'{argument}")
    assert words in message


def test_a_search_has_a_term() -> None:
    assert refusal(SiteSearch, terms=[]) == "'terms' must be a list of at least one string, got [] (list)"
    assert refusal(SiteSearch, terms=None).startswith("'terms' must be a list of strings, got None")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["sale"], "'filters' must be a dict of strings and booleans, or None"),
        ({1: "x"}, "'filters' must be a dict whose keys are strings, got 1 (int)"),
        ({"size": 42}, "'filters['size']' must be a string or a boolean, got 42 (int)"),
        ({"size": None}, "'filters['size']' must be a string or a boolean, got None"),
        ({"size": ["42"]}, "'filters['size']' must be a string or a boolean"),
        ({"size": "\ud800"}, "lone surrogate"),
    ],
)
def test_filters_are_texts_and_booleans(value: Any, words: str) -> None:
    assert words in refusal(SiteSearch, filters=value)


@pytest.mark.parametrize("argument", ["total_results", "page_results"])
@pytest.mark.parametrize("value", [-1, 2**31, True, 1.0, "1"])
def test_a_count_of_results_is_an_integer_of_31_bits(argument: str, value: Any) -> None:
    assert refusal(SiteSearch, **{argument: value}).startswith(f"'{argument}' must be an integer")


@pytest.mark.parametrize(
    ("kind", "argument"), [(AddToCart, "quantity"), (RemoveFromCart, "unit_price"), (Timing, "timing")]
)
@pytest.mark.parametrize(
    "value", [True, "1", NAN, INF, 2**63, Decimal("NaN"), Decimal("sNaN"), Decimal("1E+400"), Decimal("1E+999999"), 1j]
)
def test_a_number_is_finite_and_no_boolean(kind: type[SchemaEvent], argument: str, value: Any) -> None:
    message = refusal(kind, **{argument: value})
    assert message.startswith(
        (f"'{argument}' must be a finite number", f"'{argument}' must be an integer of at most 64")
    )


@pytest.mark.parametrize(("kind", "argument"), [(AddToCart, "quantity"), (Timing, "timing")])
def test_a_required_number_may_not_be_none(kind: type[SchemaEvent], argument: str) -> None:
    assert refusal(kind, **{argument: None}).startswith(f"'{argument}' must be a finite number")


def test_a_currency_is_three_letters() -> None:
    assert refusal(AddToCart, currency="euro").startswith("'currency' must be a currency code of three letters")


def test_form_enumerations_are_the_schemas() -> None:
    for node_name in NODE_NAMES:
        assert sent(made(FormChange, node_name=node_name))["data"]["nodeName"] == node_name
    for type_ in INPUT_TYPES:
        assert sent(made(FormChange, type_=type_))["data"]["type"] == type_
    for value in ("input", "", None, "BUTTON"):
        assert refusal(FormChange, node_name=value).startswith(
            "'node_name' must be one of INPUT, TEXTAREA, SELECT, got"
        )
    for value in ("TEXT", "textarea", 5):
        assert refusal(FormChange, type_=value).startswith("'type' must be one of button, checkbox, color")


@pytest.mark.parametrize("value", [5, True, ["x"], "\ud800", b"x"])
def test_a_form_value_is_text_or_null(value: Any) -> None:
    assert refusal(FormChange, value=value).startswith("'value' must be ")


@pytest.mark.parametrize("kind", [FormChange, FormSubmit])
def test_lengths_of_form_ids_are_the_schemas_counted_in_code_points(kind: type[SchemaEvent]) -> None:
    assert sent(made(kind, form_id="😀" * 4096))["data"]["formId"] == "😀" * 4096
    assert "at most 4096 characters long (this has 4097)" in refusal(kind, form_id="x" * 4097)


def test_lengths_of_other_form_texts_are_the_schemas() -> None:
    made(FormChange, value="😀" * 65_535, element_id="x" * 4096, element_classes=["x" * 4096])
    assert "at most 65535 characters long" in refusal(FormChange, value="x" * 65_536)
    assert "at most 4096 characters long" in refusal(FormChange, element_id="x" * 4097)
    assert "'element_classes[0]' must be at most 4096" in refusal(FormChange, element_classes=["x" * 4097])
    assert "'form_classes[1]' must be at most 4096" in refusal(FormSubmit, form_classes=["", "x" * 4097])
    for key in ("name", "value"):
        made(FormSubmit, elements=[{**ELEMENT, key: "x" * 65_535}])
        message = refusal(FormSubmit, elements=[{**ELEMENT, key: "x" * 65_536}])
        assert f"'elements[0]['{key}']' must be at most 65535" in message


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        (ELEMENT, "'elements' must be a list of dicts, or None"),
        ("mail", "'elements' must be a list of dicts, or None"),
        ([ELEMENT, "mail"], "'elements[1]' must be a dict with name, value, nodeName and perhaps type"),
        ([{"name": "a", "value": "b"}], "'elements[0]' must be a dict with name, value, nodeName"),
        ([{**ELEMENT, "id": 1}], "and no other key"),
        ([{**ELEMENT, "name": None}], "'elements[0]['name']' must be a string, got None"),
        ([{**ELEMENT, "value": 5}], "'elements[0]['value']' must be a string or None, got 5 (int)"),
        ([{**ELEMENT, "nodeName": "input"}], "'elements[0]['nodeName']' must be one of INPUT, TEXTAREA, SELECT"),
        ([{**ELEMENT, "type": "EMAIL"}], "'elements[0]['type']' must be one of button"),
    ],
)
def test_form_elements_are_the_schemas(elements: Any, words: str) -> None:
    assert words in refusal(FormSubmit, elements=elements)


# --- against the published schemas -----------------------------------------------------------------------------


def published(event_schema: str) -> Any:
    path = SCHEMAS / event_schema.removeprefix("iglu:")
    if not path.exists():
        pytest.skip("the published schemas are not beside this checkout")
    return json.loads(path.read_bytes())


@pytest.mark.parametrize("kind", [*LEAST, ScreenView, DesktopScreenView])
def test_each_class_has_the_published_schemas_properties(kind: type[SchemaEvent]) -> None:
    schema = published(kind.schema)
    ours = {name: required for _, name, required in kind._properties}
    assert set(ours) == set(schema["properties"])
    # The old screen view requires neither of its two, but one of them, by minProperties: see test_events.py.
    assert {name for name in ours if ours[name]} == set(schema.get("required", []))


@given(CATALOGUE_EVENTS)
@settings(max_examples=200)
def test_every_event_that_can_be_made_is_valid_by_its_published_schema(event: SchemaEvent) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = published(event.schema)
    jsonschema.Draft4Validator(schema).validate(sent(event)["data"])


def test_every_event_of_the_table_above_is_valid_by_its_published_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    for event, schema, data in ALL:
        jsonschema.Draft4Validator(published(f"iglu:com.snowplowanalytics.snowplow/{schema}")).validate(data)
        assert event.schema.endswith(schema)
