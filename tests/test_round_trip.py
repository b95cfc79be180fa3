"""Whatever a call accepts arrives at the collector as it was passed, by POST and by GET, as base64 and as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import EVENTS, NUMBERS, optional_texts, required_texts

from snowplow_tracker import Tracker, ValidationError
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
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@settings(deadline=None, max_examples=500)
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
