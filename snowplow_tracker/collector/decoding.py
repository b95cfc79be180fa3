"""From a request to the events in it: what the enrichment's adapters do before any event is looked at.

Source: enrich ``Tp1Adapter.scala``, ``Tp2Adapter.scala``, ``ThriftLoader.scala``; the schema ``payload_data`` of Iglu
Central (protocol, "POST body" and "Query string").
"""

from __future__ import annotations

import re
from typing import Any, Final

from snowplow_tracker.collector.kinds import is_uuid, quoted
from snowplow_tracker.collector.query import query_fault, query_pairs
from snowplow_tracker.collector.rows import (
    ADAPTER_FAILURES,
    PAYLOAD_FORMAT_VIOLATION,
    SIZE_VIOLATION,
    TRACKER_PROTOCOL_VIOLATIONS,
    Payload,
)
from snowplow_tracker.collector.rules import BODY_KEYS, REQUIRED_IN_BODY
from snowplow_tracker.collector.self_describing import Malformed, check_depth, parse_json

MAX_PAYLOAD_BYTES: Final = 1_048_576
SNOWPLOW: Final = "com.snowplowanalytics.snowplow"
PAYLOAD_DATA: Final = f"iglu:{SNOWPLOW}/payload_data/jsonschema/"

_CONTENT_TYPES: Final = ("application/json", "application/json;charset=utf-8")
_MAX_ERRORS: Final = 20
_REQUIRED: Final = frozenset(REQUIRED_IN_BODY)


class Refused(Exception):
    """A payload that is lost as a whole.

    Args:
        error_type: The name of the bad row's schema.
        errors: One sentence for each thing that is wrong.
        event_count: How many events are lost with it.
    """

    def __init__(self, error_type: str, errors: list[str], event_count: int = 1) -> None:
        super().__init__(f"{error_type}: {'; '.join(errors)}")
        self.error_type = error_type
        self.errors = errors
        self.event_count = event_count


def decode(payload: Payload) -> list[dict[str, str]]:
    """The events of a payload, each as its pairs.

    Raises:
        Refused: All of it is lost.
    """
    _check_size(payload)
    _check_format(payload)
    if payload.vendor != SNOWPLOW or payload.version not in ("tp1", "tp2"):
        raise Refused(ADAPTER_FAILURES, [f"there is no adapter for {payload.vendor}/{payload.version}"])
    pairs = query_pairs(payload.query)
    if payload.version == "tp2" and payload.body is not None:
        return [{**event, **pairs} for event in _body_events(payload)] if pairs else _body_events(payload)
    if not pairs:
        raise Refused(ADAPTER_FAILURES, ["the query string is empty: there is no event in it"])
    return [pairs]


def _check_size(payload: Payload) -> None:
    size = len(payload.query) + len((payload.body or "").encode("utf-8", "surrogatepass"))
    if size > MAX_PAYLOAD_BYTES:
        reason = f"the payload must be at most {MAX_PAYLOAD_BYTES} bytes, got {size}"
        raise Refused(SIZE_VIOLATION, [reason], _count_events(payload.body))


def _count_events(body: str | None) -> int:
    try:
        found = parse_json(body or "")
    except Malformed:
        return 1
    events = found.get("data") if isinstance(found, dict) else None
    return max(1, len(events)) if isinstance(events, list) else 1


def _check_format(payload: Payload) -> None:
    fault = query_fault(payload.query)
    if fault is None and not is_uuid(payload.network_user_id):
        fault = f"nuid and the sp cookie must be a UUID, got {quoted(payload.network_user_id)}"
    if fault:
        raise Refused(PAYLOAD_FORMAT_VIOLATION, [fault], _count_events(payload.body))


def _body_events(payload: Payload) -> list[dict[str, str]]:
    _check_content_type(payload)
    version, events = _payload_data(payload.body or "")
    allowed = BODY_KEYS[version]
    # Nearly every body is right: one look an event, and sentences only where something is wrong.
    if not all(_is_right(event, allowed) for event in events):
        errors = [fault for index, event in enumerate(events) for fault in _event_faults(index, event, version)]
        raise Refused(TRACKER_PROTOCOL_VIOLATIONS, _shortened(errors), len(events))
    return events


def _check_content_type(payload: Payload) -> None:
    content_type = payload.content_type
    if content_type is None or re.sub(r"\s", "", content_type).lower() not in _CONTENT_TYPES:
        reason = f"Content-Type must be application/json, with charset=utf-8 or without, got {quoted(content_type)}"
        raise Refused(TRACKER_PROTOCOL_VIOLATIONS, [reason], _count_events(payload.body))


def _payload_data(body: str) -> tuple[str, list[Any]]:
    """The version of ``payload_data`` and its events, not yet looked at."""
    try:
        found = parse_json(body)
        # What stands in `data` is refused anyway unless it is flat, so only other keys can be too deep.
        if not isinstance(found, dict) or found.keys() != {"schema", "data"}:
            check_depth(body)
    except Malformed as fault:
        raise Refused(TRACKER_PROTOCOL_VIOLATIONS, [f"the body {fault}"]) from None
    if not isinstance(found, dict) or "schema" not in found or "data" not in found:
        raise Refused(TRACKER_PROTOCOL_VIOLATIONS, [f"the body must be {{schema, data}}, got {quoted(found)}"])
    schema, events = found["schema"], found["data"]
    version = schema[len(PAYLOAD_DATA) :] if isinstance(schema, str) and schema.startswith(PAYLOAD_DATA) else ""
    if version not in BODY_KEYS:
        reason = f"the body's schema must be {PAYLOAD_DATA}1-0-0 to 1-0-4, got {quoted(schema)}"
        raise Refused(TRACKER_PROTOCOL_VIOLATIONS, [reason], len(events) if isinstance(events, list) else 1)
    if not isinstance(events, list) or not events:
        reason = f"the body's data must be a list of at least one event, got {quoted(events)}"
        raise Refused(TRACKER_PROTOCOL_VIOLATIONS, [reason])
    return version, events


def _is_right(event: Any, allowed: frozenset[str]) -> bool:
    return (
        isinstance(event, dict)
        and _REQUIRED <= event.keys() <= allowed
        and all(value.__class__ is str for value in event.values())
    )


def _event_faults(index: int, event: Any, version: str) -> list[str]:
    if not isinstance(event, dict):
        return [f"event {index} must be an object, got {quoted(event)}"]
    faults = [f"event {index}: {key} is required" for key in REQUIRED_IN_BODY if key not in event]
    for key, value in event.items():
        if key not in BODY_KEYS[version]:
            faults.append(f"event {index}: {quoted(key)} is not a key of payload_data {version}")
        if not isinstance(value, str):
            faults.append(f"event {index}: {key} must be a string, got {quoted(value)} ({type(value).__name__})")
    return faults


def _shortened(errors: list[str]) -> list[str]:
    left_out = len(errors) - _MAX_ERRORS
    return [*errors[:_MAX_ERRORS], f"and {left_out} more"] if left_out > 0 else errors
