"""From a bad event back to the line of code that made it."""

from __future__ import annotations

import re
from inspect import signature
from typing import Any

import pytest
from sending import SAVE_GAME, SNOWPLOW, base64url, unstruct

from snowplow_tracker import SelfDescribingJson, Subject, Tracker
from snowplow_tracker.collector import calls
from snowplow_tracker.collector.rows import BadRow
from snowplow_tracker.testing import LocalCollector

SCREEN = {"schema": f"{SNOWPLOW}/screen_view/jsonschema/1-0-0", "data": {"name": "x"}}
LINK = {"schema": f"{SNOWPLOW}/link_click/jsonschema/1-0-1", "data": {}}


@pytest.mark.parametrize(
    ("wire", "call"),
    [
        ({"e": "pv", "url": "https://acme.com/", "page": "Home"}, "track_page_view('https://acme.com/', 'Home')"),
        ({"e": "pp", "url": "https://acme.com/"}, "track_page_ping('https://acme.com/')"),
        ({"e": "se", "se_ca": "shop", "se_ac": "buy"}, "track_struct_event('shop', 'buy')"),
        ({"e": "se"}, "track_struct_event()"),
        ({"e": "tr", "tr_id": "o-1"}, "track_ecommerce_transaction('o-1')"),
        ({"e": "ti", "ti_id": "o-1", "ti_sk": "s"}, "track_ecommerce_transaction_item('o-1', 's')"),
        ({"e": "ue", "ue_na": "save", "ue_px": "x"}, "track_unstruct_event('save')"),
        ({"e": "ue", "ue_px": base64url(unstruct(SCREEN))}, "track_screen_view()"),
        (
            {"e": "ue", "ue_pr": unstruct(LINK)},
            "track_self_describing_event() of com.snowplowanalytics.snowplow/link_click",
        ),
        (
            {"e": "ue", "ue_pr": unstruct(SAVE_GAME)},
            "track_self_describing_event() of com.acme/save_game or track_unstruct_event('save_game')",
        ),
        ({"e": "ue", "ue_pr": "walrus"}, "track_self_describing_event()"),
        ({"e": "ue"}, "track_self_describing_event()"),
        ({"e": "ad"}, None),
        ({"e": "walrus"}, None),
        ({}, None),
    ],
)
def test_the_call_is_named_with_what_tells_it_from_others(wire: dict[str, str], call: str | None) -> None:
    assert calls.call(wire) == call


def bad_row(wire: dict[str, str]) -> BadRow:
    with LocalCollector() as collector, Tracker.hostname(collector.url) as tracker:
        tracker.emitters[0].input({"tv": "x", "p": "pc", **wire})
        tracker.flush()
        (row,) = collector.bad
        return row


def test_a_bad_row_names_the_arguments_and_setters_that_are_at_fault() -> None:
    row = bad_row({"e": "se", "se_ca": "shop", "se_ac": "buy", "se_va": "4,99", "res": "big", "vid": "x"})
    assert row.origin == (
        "track_struct_event('shop', 'buy'), se_va is its 'value', res comes from set_screen_resolution(), "
        "vid comes from set_domain_session_index()"
    )
    assert str(row).endswith(f" (from {row.origin})")


def methods() -> dict[str, Any]:
    return {name: getattr(Tracker, name) for name in dir(Tracker) if name.startswith("track_")}


def test_every_method_argument_and_setter_that_is_named_exists() -> None:
    parameters = {name for method in methods().values() for name in signature(method).parameters}
    assert set(calls._METHODS.values()) <= methods().keys()
    assert set(calls._ARGUMENTS.values()) <= parameters | {"context", "true_timestamp"}  # every method takes these
    assert [name for name in calls._SETTERS.values() if not hasattr(Subject, name) and not hasattr(Tracker, name)] == []


def test_what_a_tracker_sends_is_traced_back_to_the_call_that_was_made() -> None:
    with LocalCollector() as collector, Tracker.hostname(collector.url, event_vendor="com.acme") as tracker:
        tracker.track_page_view("https://acme.com/")
        tracker.track_page_ping("https://acme.com/")
        tracker.track_struct_event("shop", "buy")
        tracker.track_screen_view("Home")
        tracker.track_unstruct_event("save_game", {"level": 1})
        tracker.track_self_describing_event(SelfDescribingJson("iglu:com.acme/x/jsonschema/1-0-0", {}))
        tracker.track_ecommerce_transaction("o-1", None, 1, items=[{"sku": "s", "price": 1, "quantity": 1}])
        events = collector.wait_for(8)
    made = [re.split(r"\(", calls.call(event) or "")[0] for event in events]
    assert made == [
        "track_page_view",
        "track_page_ping",
        "track_struct_event",
        "track_screen_view",
        "track_self_describing_event",
        "track_self_describing_event",
        "track_ecommerce_transaction",
        "track_ecommerce_transaction_item",
    ]
