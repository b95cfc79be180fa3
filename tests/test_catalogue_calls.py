"""The typed catalogue as ``track_*`` methods, and orders: what arrives, and what is said about the wrong call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import pytest
from schemas import complaints

from snowplow_tracker import SelfDescribingJson, Subject, Tracker, ValidationError
from snowplow_tracker.testing import LocalCollector

ELEMENT = {"name": "mail", "value": "a@b.c", "nodeName": "INPUT", "type": "email"}
CONTEXT = SelfDescribingJson("iglu:com.acme/room/jsonschema/1-0-0", {"room": "library"})
SNOWPLOW, MOBILE = "iglu:com.snowplowanalytics.snowplow", "iglu:com.snowplowanalytics.mobile"
ID, OTHER_ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "3f2504e0-4f89-41d3-9a0c-0305e82c3302"

# Each method with all its arguments by position and with those it requires, and the data that it stands for.
CALLS: list[tuple[str, tuple[Any, ...], str, dict[str, Any]]] = [
    (
        "track_link_click",
        ("https://acme.com", "buy", ["big", "red"], "_blank", "Buy"),
        f"{SNOWPLOW}/link_click/jsonschema/1-0-1",
        {
            "targetUrl": "https://acme.com",
            "elementId": "buy",
            "elementClasses": ["big", "red"],
            "elementTarget": "_blank",
            "elementContent": "Buy",
        },
    ),
    (
        "track_link_click",
        ("https://acme.com",),
        f"{SNOWPLOW}/link_click/jsonschema/1-0-1",
        {"targetUrl": "https://acme.com"},
    ),
    (
        "track_add_to_cart",
        ("pbz0001", 2, "Pencil", "Office", 9.99, "eur"),
        f"{SNOWPLOW}/add_to_cart/jsonschema/1-0-0",
        {
            "sku": "pbz0001",
            "quantity": 2,
            "name": "Pencil",
            "category": "Office",
            "unitPrice": 9.99,
            "currency": "EUR",
        },
    ),
    (
        "track_add_to_cart",
        ("pbz0001", 2),
        f"{SNOWPLOW}/add_to_cart/jsonschema/1-0-0",
        {"sku": "pbz0001", "quantity": 2},
    ),
    (
        "track_remove_from_cart",
        ("pbz0001", 1, "Pencil", "Office", 9, "EUR"),
        f"{SNOWPLOW}/remove_from_cart/jsonschema/1-0-0",
        {"sku": "pbz0001", "quantity": 1, "name": "Pencil", "category": "Office", "unitPrice": 9, "currency": "EUR"},
    ),
    (
        "track_remove_from_cart",
        ("pbz0001", 1),
        f"{SNOWPLOW}/remove_from_cart/jsonschema/1-0-0",
        {"sku": "pbz0001", "quantity": 1},
    ),
    (
        "track_site_search",
        (("red", "shoes"), {"size": "42", "sale": True}, 100, 10),
        f"{SNOWPLOW}/site_search/jsonschema/1-0-0",
        {"terms": ["red", "shoes"], "filters": {"size": "42", "sale": True}, "totalResults": 100, "pageResults": 10},
    ),
    ("track_site_search", (["red"],), f"{SNOWPLOW}/site_search/jsonschema/1-0-0", {"terms": ["red"]}),
    (
        "track_social_interaction",
        ("like", "mastodon", "the page"),
        f"{SNOWPLOW}/social_interaction/jsonschema/1-0-0",
        {"action": "like", "network": "mastodon", "target": "the page"},
    ),
    (
        "track_social_interaction",
        ("like", "mastodon"),
        f"{SNOWPLOW}/social_interaction/jsonschema/1-0-0",
        {"action": "like", "network": "mastodon"},
    ),
    (
        "track_form_change",
        ("signup", "mail", "INPUT", "a@b.c", "email", ("wide",)),
        f"{SNOWPLOW}/change_form/jsonschema/1-0-0",
        {
            "formId": "signup",
            "elementId": "mail",
            "nodeName": "INPUT",
            "value": "a@b.c",
            "type": "email",
            "elementClasses": ["wide"],
        },
    ),
    (
        "track_form_change",
        ("signup", "", "SELECT", None),
        f"{SNOWPLOW}/change_form/jsonschema/1-0-0",
        {"formId": "signup", "elementId": "", "nodeName": "SELECT", "value": None},
    ),
    (
        "track_form_submit",
        ("signup", ["wide"], [ELEMENT]),
        f"{SNOWPLOW}/submit_form/jsonschema/1-0-0",
        {"formId": "signup", "formClasses": ["wide"], "elements": [ELEMENT]},
    ),
    ("track_form_submit", ("signup",), f"{SNOWPLOW}/submit_form/jsonschema/1-0-0", {"formId": "signup"}),
    (
        "track_timing",
        ("loading", "level 3", 1500, "cold"),
        f"{SNOWPLOW}/timing/jsonschema/1-0-0",
        {"category": "loading", "variable": "level 3", "timing": 1500, "label": "cold"},
    ),
    (
        "track_timing",
        ("loading", "level 3", 1500),
        f"{SNOWPLOW}/timing/jsonschema/1-0-0",
        {"category": "loading", "variable": "level 3", "timing": 1500},
    ),
    (
        "track_screen_view",
        ("HUD", "23"),
        f"{SNOWPLOW}/screen_view/jsonschema/1-0-0",
        {"name": "HUD", "id": "23"},
    ),
    ("track_screen_view", ("HUD",), f"{SNOWPLOW}/screen_view/jsonschema/1-0-0", {"name": "HUD"}),
    ("track_screen_view", (None, "23"), f"{SNOWPLOW}/screen_view/jsonschema/1-0-0", {"id": "23"}),
    (
        "track_mobile_screen_view",
        ("HUD", ID, "overlay", "Menu", OTHER_ID, "full", "fade"),
        f"{MOBILE}/screen_view/jsonschema/1-0-0",
        {
            "name": "HUD",
            "id": ID,
            "type": "overlay",
            "previousName": "Menu",
            "previousId": OTHER_ID,
            "previousType": "full",
            "transitionType": "fade",
        },
    ),
    (
        "track_mobile_screen_view",
        ("HUD", ID),
        f"{MOBILE}/screen_view/jsonschema/1-0-0",
        {"name": "HUD", "id": ID},
    ),
]
METHODS = sorted({method for method, *_ in CALLS})


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector(check_data=complaints) as running:
        yield running


@pytest.fixture
def tracker(collector: LocalCollector) -> Iterator[Tracker]:
    with Tracker.hostname(collector.url) as made:
        yield made


def only(collector: LocalCollector, tracker: Tracker) -> dict[str, Any]:
    assert tracker.flush()
    assert collector.bad == []
    (event,) = collector.wait_for(1)
    return event


@pytest.mark.parametrize(
    ("method", "arguments", "schema", "data"), CALLS, ids=[f"{call[0]}-{len(call[1])}" for call in CALLS]
)
def test_a_call_sends_its_arguments_by_the_schemas_names(
    collector: LocalCollector, tracker: Tracker, method: str, arguments: tuple[Any, ...], schema: str, data: Any
) -> None:
    receipt = getattr(tracker, method)(*arguments)
    event = only(collector, tracker)
    assert event["data"] == {"schema": schema, "data": data}
    assert (event["e"], event["eid"]) == ("ue", receipt.event_id)


@pytest.mark.parametrize("method", METHODS)
def test_every_call_takes_what_every_event_can_carry(collector: LocalCollector, tracker: Tracker, method: str) -> None:
    arguments = next(call[1] for call in CALLS if call[0] == method)
    subject = Subject().set_user_id("p1")
    getattr(tracker, method)(
        *arguments, 1369330909, context=[CONTEXT], true_timestamp=1369330909001, event_subject=subject
    )
    event = only(collector, tracker)
    assert (event["dtm"], event["ttm"], event["uid"]) == ("1369330909000", "1369330909001", "p1")
    assert event["contexts"] == [CONTEXT.to_json()]


@pytest.mark.parametrize("method", METHODS)
def test_tstamp_is_the_last_argument_by_position(method: str) -> None:
    positional = [
        p.name for p in signature(getattr(Tracker, method)).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert positional[-1] == "tstamp"


def test_a_mobile_screen_view_without_an_id_gets_a_new_one(collector: LocalCollector, tracker: Tracker) -> None:
    for _ in range(2):
        tracker.track_mobile_screen_view("HUD")
    assert tracker.flush()
    assert len({event["data"]["data"]["id"] for event in collector.wait_for(2)}) == 2


# --- the official order of arguments ------------------------------------------------------------------------------

WRONG: list[tuple[str, Callable[[Tracker], Any], type[Exception], str]] = [
    (
        "contexts before tstamp",
        lambda t: t.track_page_view("u", "t", None, [CONTEXT]),
        ValidationError,
        "pass the list of contexts by keyword: context=[…]",
    ),
    (
        "contexts in the catalogue",
        lambda t: t.track_link_click("u", None, None, None, None, [CONTEXT]),
        ValidationError,
        "Tracker.track_link_click(): 'tstamp' must be seconds since the epoch",
    ),
    (
        "milliseconds by keyword",
        lambda t: t.track_struct_event("a", "b", tstamp=1399021242030),
        ValidationError,
        "; write true_timestamp=1399021242030",
    ),
    (
        "contexts and milliseconds",
        lambda t: t.track_page_view("u", "t", None, [CONTEXT], 1399021242030),
        TypeError,
        "Tracker.track_page_view() takes at most 4 positional arguments, the last one is tstamp (seconds), got 5; the "
        "rest goes by keyword: track_page_view(…, context=[…], true_timestamp=…, event_subject=…)",
    ),
    (
        "all three",
        lambda t: t.track_struct_event("a", "b", None, None, None, [CONTEXT], 1399021242030, Subject()),
        TypeError,
        "track_struct_event(…, context=[…], true_timestamp=…, event_subject=…)",
    ),
    (
        "self-describing",
        lambda t: t.track_self_describing_event(CONTEXT, [CONTEXT]),
        ValidationError,
        "context=[…]",
    ),
    ("unstructured", lambda t: t.track_unstruct_event(CONTEXT, [CONTEXT]), ValidationError, "context=[…]"),
    (
        "an order",
        lambda t: t.track_ecommerce_transaction("o", 100, city="London"),
        ValidationError,
        "'tr_affiliation' must be a string or None, got 100 (int); in the official order, write "
        "track_ecommerce_transaction(order_id, total_value=…)",
    ),
    (
        "an item",
        lambda t: t.track_ecommerce_transaction_item("o", "s", 9.99, 2),
        ValidationError,
        "write track_ecommerce_transaction_item(order_id, sku, price=…, quantity=…)",
    ),
    (
        "two names for one thing",
        lambda t: t.track_ecommerce_transaction("o", None, 100, total_value=100),
        ValidationError,
        "'tr_total_value' must be given under one of its two names only",
    ),
    (
        "no total",
        lambda t: t.track_ecommerce_transaction("o"),
        ValidationError,
        "'tr_total_value' must be a finite number (int, float or Decimal), got None",
    ),
    (
        "a misspelt official name",
        lambda t: t.track_ecommerce_transaction("o", total_valu=1),
        TypeError,
        "has no option 'total_valu'; did you mean 'total_value'?",
    ),
    ("no screen", lambda t: t.track_screen_view(), ValidationError, "'name' must be a non-empty string, got None"),
]


@pytest.mark.parametrize(("call", "kind", "words"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_can_only_be_meant_the_official_way_says_what_to_write(
    tracker: Tracker, call: Callable[[Tracker], Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        call(tracker)
    assert words in str(caught.value)
    assert tracker.stats().tracked == 0


def test_what_to_write_is_told_to_the_caller_and_not_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with Tracker.hostname("127.0.0.1:1", on_invalid="drop") as t:
        _, message = t.track_struct_event("a", "b", tstamp=1399021242030)
    assert message is not None
    assert message.endswith("write true_timestamp=1399021242030")
    assert len(caplog.records) == 1
    assert "1399021242030" not in caplog.text


# --- orders -------------------------------------------------------------------------------------------------------


def test_an_order_by_the_official_names_is_the_order_of_2013(collector: LocalCollector, tracker: Tracker) -> None:
    tracker.track_ecommerce_transaction("o1", "shop", 100, 10.5, 5, "London", "Denver", "UK", 1369330909)
    tracker.track_ecommerce_transaction(
        order_id="o1", total_value=100, affiliation="shop", tax_value=10.5, shipping=5, city="London", state="Denver",
        country="UK", tstamp=1369330909,
    )  # fmt: skip
    tracker.track_ecommerce_transaction_item("o1", "s1", "Pencil", "Office", 9.99, 2, 1369330909)
    tracker.track_ecommerce_transaction_item(
        order_id="o1", sku="s1", price=9.99, quantity=2, name="Pencil", category="Office", tstamp=1369330909
    )
    assert tracker.flush()
    assert collector.bad == []
    events = [{k: v for k, v in event.items() if k not in ("eid", "stm")} for event in collector.wait_for(4)]
    assert events[0] == events[1]
    assert events[2] == events[3]
    assert (events[0]["tr_tt"], events[0]["tr_af"], events[2]["ti_pr"]) == ("100", "shop", "9.99")
