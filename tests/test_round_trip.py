"""Whatever a call accepts arrives at the collector as it was passed, by POST and by GET, as base64 and as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import EVENTS, NUMBERS, limit_texts, optional_texts, required_texts

from snowplow_tracker import Subject, Tracker, ValidationError
from snowplow_tracker.events import Event, StructuredEvent, plain_struct_pairs
from snowplow_tracker.payload import JsonForm
from snowplow_tracker.testing import LocalCollector
from snowplow_tracker.unstruct import UnstructEvent

FORMS = [(method, base64) for method in ("post", "get") for base64 in (True, False)]


@pytest.fixture(scope="module")
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize(("method", "base64"), FORMS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=EVENTS)
def test_an_accepted_event_arrives_as_it_was_passed(
    collector: LocalCollector, method: Any, base64: bool, event: Event
) -> None:
    if isinstance(event, UnstructEvent) and event.event_vendor is None:
        return  # the flat form of 2013, which today's pipeline and so the local collector refuse: test_tracker.py
    collector.reset()
    with Tracker.hostname(collector.url, method=method, encode_base64=base64, flush_interval=0) as tracker:
        try:
            receipt = tracker.track(event)
        except ValidationError as too_large:
            only_for_get = method == "get" and "8000" in str(too_large)
            assert only_for_get, too_large  # noqa: PT017
            return
        assert receipt
        assert tracker.flush()
    assert collector.bad == []
    (arrived,) = collector.wait_for(1)
    assert arrived["eid"] == receipt.event_id
    passed = event.pairs(JsonForm(base64))
    assert {key: arrived[key] for key in passed} == passed
    assert int(arrived["stm"]) > 0
    if event.context:
        assert arrived["contexts"] == [as_json(entity.to_json()) for entity in event.context]


# Where text goes: the key it arrives under, its limit, and the call that takes it there.
PLACES: list[tuple[str, int, Callable[[Tracker, str], Any]]] = [
    ("se_ca", 1000, lambda t, text: t.track_struct_event(text, "a")),
    ("se_ac", 1000, lambda t, text: t.track_struct_event("a", text)),
    ("se_la", 4096, lambda t, text: t.track_struct_event("a", "b", text)),
    ("se_pr", 1000, lambda t, text: t.track_struct_event("a", "b", None, text)),
    ("page", 2000, lambda t, text: t.track_page_view("https://acme.com", text)),
    ("tr_id", 255, lambda t, text: t.track_ecommerce_transaction(text, None, 1)),
    ("tr_af", 255, lambda t, text: t.track_ecommerce_transaction("o", text, 1)),
    ("tr_co", 255, lambda t, text: t.track_ecommerce_transaction("o", None, 1, tr_country=text)),
    ("ti_sk", 255, lambda t, text: t.track_ecommerce_transaction_item("o", text, None, None, 1, 1)),
    ("ti_nm", 255, lambda t, text: t.track_ecommerce_transaction_item("o", "s", text, None, 1, 1)),
    ("aid", 255, lambda t, text: t.set_app_id(text).track_page_view("https://acme.com")),
    ("uid", 255, lambda t, text: seen_by(t, Subject().set_user_id(text))),
    ("duid", 128, lambda t, text: seen_by(t, Subject().set_domain_user_id(text))),
    ("tnuid", 128, lambda t, text: seen_by(t, Subject().set_network_user_id(text))),
    ("ua", 1000, lambda t, text: seen_by(t, Subject().set_useragent(text))),
    ("lang", 255, lambda t, text: seen_by(t, Subject().set_lang(text))),
    ("tz", 255, lambda t, text: seen_by(t, Subject().set_timezone(text))),
]


def seen_by(tracker: Tracker, subject: Subject) -> Any:
    return tracker.track_page_view("https://acme.com", event_subject=subject)


@pytest.mark.parametrize("method", ["post", "get"])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), place=st.sampled_from(PLACES))
def test_text_as_long_as_it_may_be_arrives_unchanged_and_longer_text_is_refused(
    collector: LocalCollector, method: Any, data: st.DataObject, place: tuple[str, int, Callable[[Tracker, str], Any]]
) -> None:
    key, limit, track = place
    text = data.draw(limit_texts(limit))
    collector.reset()
    with Tracker.hostname(collector.url, method=method, flush_interval=0) as tracker:
        with pytest.raises(ValidationError, match=f"at most {limit} characters"):
            track(tracker, text + "x")
        try:
            assert track(tracker, text)
        except ValidationError as too_large:
            only_for_get = method == "get" and "8000" in str(too_large)
            assert only_for_get, too_large  # noqa: PT017
            return
    (arrived,) = collector.wait_for(1)
    assert collector.bad == []
    assert arrived[key] == text


@settings(max_examples=500)
@given(
    category=required_texts(1000) | st.just("é" * 501) | st.just(""),
    action=required_texts(1000) | st.integers(),
    label=optional_texts(4096) | st.booleans(),
    property_=optional_texts(1000) | st.just("a\0"),
    value=st.none() | NUMBERS | st.floats() | st.booleans() | st.just("5"),
)
def test_the_short_way_of_a_struct_event_says_what_the_long_way_says(
    category: Any, action: Any, label: Any, property_: Any, value: Any
) -> None:
    short = plain_struct_pairs(category, action, label, property_, value)
    try:
        long = StructuredEvent(category, action, label, property_, value).pairs(JsonForm())
    except ValidationError:
        assert short is None
    else:
        assert short in (None, long)
