"""What a test expects of an event, and how far an event is from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from snowplow_tracker.collector.kinds import quoted

_NEAREST_SHOWN: Final = 3


@dataclass(frozen=True)
class Expectation:
    """A description that events match or miss.

    Attributes:
        wire: From a key to its value as text; None for a key that must not be there.
        data: A part of the event's ``{schema, data}``, or of the properties in it.
        contexts: What must be among the contexts: a schema's URI, or a part of a ``{schema, data}``.
    """

    wire: Mapping[str, Any]
    data: Mapping[str, Any] | None
    contexts: Sequence[str | Mapping[str, Any]]

    def differences(self, event: Mapping[str, Any]) -> list[str]:
        """What keeps *event* from matching, a sentence each; nothing if it matches."""
        return [*self._wire_differences(event), *self._data_differences(event), *self._context_differences(event)]

    def explain(self, events: Sequence[Mapping[str, Any]], times: int, found: int) -> str:
        """Why the wrong number of *events* matches, with the nearest misses."""
        title = f"expected {times} {'event' if times == 1 else 'events'} with {self}, found {found} among {len(events)}"
        misses = sorted(
            ((self.differences(event), index) for index, event in enumerate(events)),
            key=lambda miss: (len(miss[0]), -miss[1]),
        )
        nearest = [miss for miss in misses if miss[0]][:_NEAREST_SHOWN] if found < times else []
        lines = [f"\n  event {index} (e={events[index].get('e')}): {'; '.join(faults)}" for faults, index in nearest]
        return title + ("\nnearest:" + "".join(lines) if lines else "")

    def __str__(self) -> str:
        parts = [f"{key}={quoted(value)}" for key, value in self.wire.items()]
        parts += [f"data={quoted(self.data)}"] if self.data is not None else []
        parts += [f"contexts={quoted(list(self.contexts))}"] if self.contexts else []
        return ", ".join(parts) or "anything"

    def _wire_differences(self, event: Mapping[str, Any]) -> list[str]:
        return [
            f"{key} is {quoted(event.get(key))}, not {quoted(value)}"
            for key, value in self.wire.items()
            if event.get(key) != (None if value is None else str(value))
        ]

    def _data_differences(self, event: Mapping[str, Any]) -> list[str]:
        if self.data is None:
            return []
        found = event["data"]
        if found is None:
            return ["it has no data"]
        whole, inner = _missing(self.data, found, "data"), _missing(self.data, found["data"], "data")
        if not whole or not inner:
            return []
        return whole if self.data.keys() <= {"schema", "data"} else inner

    def _context_differences(self, event: Mapping[str, Any]) -> list[str]:
        entities = event["contexts"]
        return [
            f"none of its contexts is {quoted(wanted)} (it has {', '.join(e['schema'] for e in entities) or 'none'})"
            for wanted in self.contexts
            if not any(_is_entity(wanted, entity) for entity in entities)
        ]


def _is_entity(wanted: str | Mapping[str, Any], entity: Mapping[str, Any]) -> bool:
    return entity["schema"] == wanted if isinstance(wanted, str) else not _missing(wanted, entity, "")


def _missing(wanted: Any, found: Any, where: str) -> list[str]:
    """Where *found* lacks or contradicts *wanted*; objects may hold more, lists and values must be equal."""
    if not isinstance(wanted, Mapping):
        same = wanted == found and isinstance(wanted, bool) == isinstance(found, bool)
        return [] if same else [f"{where} is {quoted(found)}, not {quoted(wanted)}"]
    if not isinstance(found, Mapping):
        return [f"{where} is {quoted(found)}, not an object"]
    differences = []
    for key, value in wanted.items():
        here = f"{where}.{key}"
        differences += _missing(value, found[key], here) if key in found else [f"{here} is missing"]
    return differences
