"""`SelfDescribingJson`: data with the address of the schema that describes it."""

from __future__ import annotations

import json
from typing import Any

import attrs

from snowplow_tracker.validators import check_iglu_uri, invalid


def _schema(instance: Any, attribute: Any, value: Any) -> None:
    check_iglu_uri(attribute.name, value)


def _data(instance: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, (dict, list, tuple)):
        raise invalid(attribute.name, "a JSON object (dict) or array (list)", value)


def refuse_change(instance: Any, name: str, value: Any) -> None:
    """A frozen class's ``__setattr__``, which says what to write instead."""
    kind = type(instance).__name__
    raise AttributeError(f"{kind}.{name} cannot be set: make another one, attrs.evolve({kind}(…), {name}=…)")


@attrs.frozen(slots=False)
class SelfDescribingJson:
    """A schema's address and the data it describes, for an event or a context.

    Args:
        schema: An Iglu URI, ``iglu:vendor/name/format/M-R-A``.
        data: A JSON object or array. It is encoded by the call that tracks it: what changes in it later does not change
            events already tracked. The object itself is the caller's and is not copied here.

    Raises:
        ValidationError: *schema* is not an Iglu URI, or *data* neither an object nor an array.

    Source: protocol, "Self-describing JSON".
    """

    schema: str = attrs.field(validator=_schema)
    data: dict[str, Any] | list[Any] = attrs.field(validator=_data)

    def to_json(self) -> dict[str, Any]:
        """The pair as one JSON object, ``{"schema": …, "data": …}``."""
        return {"schema": self.schema, "data": self.data}

    def to_string(self) -> str:
        """`to_json` as text."""
        return json.dumps(self.to_json())


SelfDescribingJson.__setattr__ = refuse_change  # type: ignore[method-assign]


def context_list(instance: Any, attribute: Any, value: Any) -> None:
    """Validator of ``context=``: None, or a list of `SelfDescribingJson`."""
    if value is None:
        return
    name = attribute.name
    if isinstance(value, SelfDescribingJson):
        raise invalid(name, "a list of SelfDescribingJson", value, "put it in a list: context=[…]")
    if not isinstance(value, (list, tuple)):
        raise invalid(name, "a list of SelfDescribingJson", value)
    for position, entity in enumerate(value):
        if not isinstance(entity, SelfDescribingJson):
            hint = (
                "wrap it: SelfDescribingJson('iglu:vendor/name/jsonschema/1-0-0', {…})"
                if isinstance(entity, dict)
                else ""
            )
            raise invalid(f"{name}[{position}]", "a SelfDescribingJson", entity, hint)
