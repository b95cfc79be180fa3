"""The verdict on a payload and on each event in it: would the enrichment load it, and if not, why not."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from snowplow_tracker.collector.decoding import Refused
from snowplow_tracker.collector.kinds import cleaned, quoted
from snowplow_tracker.collector.rows import ENRICHMENT_FAILURES, SCHEMA_VIOLATIONS, BadRow, GoodEvent, Payload, Row
from snowplow_tracker.collector.rules import CHECKS
from snowplow_tracker.collector.self_describing import (
    CONTEXT_KEYS,
    UNSTRUCT_KEYS,
    Malformed,
    SchemaCheck,
    contexts,
    unstruct_event,
)

_HEADER_KEYS: Final = (("ua", "User-Agent"), ("url", "Referer"))
"""Keys whose absence makes the enrichment read a header of the request."""

_Parsed = TypeVar("_Parsed")


def refused(payload: Payload, refusal: Refused) -> BadRow:
    """The bad row of a payload that is lost as a whole."""
    return BadRow(refusal.error_type, refusal.errors, payload, event_count=refusal.event_count)


def judge(events: list[dict[str, str]], payload: Payload, check_data: SchemaCheck) -> list[Row]:
    """Judge the events of one payload.

    Args:
        events: The pairs of each as on the wire; the rows keep them.
        payload: What they came in.
        check_data: What the schemas say of self-describing data.
    """
    # A good event needs the headers and no more: the body would be kept in memory as long as any event of it.
    source = replace(payload, body=None)
    return [_verdict(event, source, check_data) for event in events]


def _verdict(event: dict[str, str], payload: Payload, check_data: SchemaCheck) -> Row:
    errors = _key_faults(event) + _header_faults(event, payload)
    data = _parse(event, UNSTRUCT_KEYS, unstruct_event, errors)
    entities = _parse(event, CONTEXT_KEYS, contexts, errors) or []
    if not errors:
        errors = _schema_faults(event, data, entities, check_data)
    if errors:
        return BadRow(SCHEMA_VIOLATIONS, errors, payload, event)
    if event.get("e", "ad") == "ad":
        return BadRow(ENRICHMENT_FAILURES, [_no_type(event)], payload, event)
    return GoodEvent(event, event["eid"].lower() if "eid" in event else str(uuid.uuid4()), payload)


def _key_faults(event: dict[str, str]) -> list[str]:
    errors = []
    for key, value in event.items():
        check = CHECKS.get(key)
        if check is not None and (expected := check(value)) is not None:
            errors.append(f"{key} must be {expected}, got {quoted(value)}")
    return errors


def _header_faults(event: dict[str, str], payload: Payload) -> list[str]:
    errors = []
    for key, header in _HEADER_KEYS:
        value = payload.headers.get(header)
        if value and not cleaned(event.get(key, "")) and (expected := CHECKS[key](value)) is not None:
            errors.append(f"the {header} header, read for want of {key}, must be {expected}, got {quoted(value)}")
    return errors


def _parse(
    event: dict[str, str], keys: tuple[str, str], parse: Callable[[str, str], _Parsed], errors: list[str]
) -> _Parsed | None:
    """Parse whichever of two keys the event has, adding to *errors* what is wrong with it."""
    present = [key for key in keys if key in event]
    if len(present) == 2:
        errors.append(f"{keys[0]} and {keys[1]} must not both be there: one of them would be lost")
    for key in present:
        try:
            return parse(key, event[key])
        except Malformed as fault:
            errors.append(f"{key} {fault}")
    return None


def _schema_faults(
    event: dict[str, str], data: dict[str, Any] | None, entities: list[dict[str, Any]], check_data: SchemaCheck
) -> list[str]:
    named = [(_present(event, UNSTRUCT_KEYS), data)] if data else []
    named += [(f"{_present(event, CONTEXT_KEYS)}[{index}]", entity) for index, entity in enumerate(entities)]
    return [f"{name}: {fault}" for name, entity in named for fault in check_data(entity["schema"], entity["data"])]


def _present(event: dict[str, str], keys: tuple[str, str]) -> str:
    return keys[0] if keys[0] in event else keys[1]


def _no_type(event: dict[str, str]) -> str:
    if "e" in event:
        return "e must name an event that has a schema, got 'ad' (ad impressions are self-describing now)"
    return "e is required: without it the event has no type"
