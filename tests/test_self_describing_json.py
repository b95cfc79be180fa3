"""Data travels with the address of its schema, and both are checked where they are written down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.events import SelfDescribing, StructuredEvent
from snowplow_tracker.self_describing_json import SelfDescribingJson

URI = "iglu:com.acme/save_game/jsonschema/1-0-0"


@pytest.mark.parametrize("data", [{}, {"level": 23}, [], [1, "two"], ({"a": None},)])
def test_an_object_or_an_array_is_data(data: Any) -> None:
    entity = SelfDescribingJson(URI, data)
    assert entity.to_json() == {"schema": URI, "data": data}
    assert json.loads(entity.to_string()) == json.loads(json.dumps({"schema": URI, "data": data}))


@pytest.mark.parametrize("data", [None, "{}", b"{}", 5, True, {1, 2}, iter([])])
def test_anything_else_is_not(data: Any) -> None:
    with pytest.raises(ValidationError, match=r"'data' must be a JSON object \(dict\) or array \(list\), got"):
        SelfDescribingJson(URI, data)


@pytest.mark.parametrize("schema", ["", "save_game", "iglu:com.acme/save_game/jsonschema/1.0.0", None, {"schema": URI}])
def test_a_schema_is_an_iglu_uri(schema: Any) -> None:
    with pytest.raises(ValidationError, match="'schema' must be an Iglu URI"):
        SelfDescribingJson(schema, {})


def test_it_is_frozen() -> None:
    entity = SelfDescribingJson(URI, {})
    with pytest.raises(AttributeError, match=r"attrs\.evolve"):
        entity.schema = "iglu:a/b/c/1-0-0"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (SelfDescribingJson(URI, {}), "'context' must be a list of SelfDescribingJson"),
        (SelfDescribingJson(URI, {}), "put it in a list: context=[…]"),
        ({"schema": URI, "data": {}}, "'context' must be a list of SelfDescribingJson"),
        ("context", "'context' must be a list of SelfDescribingJson"),
        ([{"schema": URI, "data": {}}], "'context[0]' must be a SelfDescribingJson"),
        ([{"schema": URI, "data": {}}], "wrap it: SelfDescribingJson("),
        ([SelfDescribingJson(URI, {}), None], "'context[1]' must be a SelfDescribingJson, got None"),
    ],
)
def test_a_context_is_a_list_of_them(context: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        StructuredEvent("a", "b", context=context)
    assert words in str(caught.value)


@pytest.mark.parametrize("event", [{"schema": URI, "data": {}}, None, "save-game"])
def test_a_self_describing_event_is_one(event: Any) -> None:
    with pytest.raises(ValidationError, match="'event_json' must be a SelfDescribingJson, got"):
        SelfDescribing(event)
