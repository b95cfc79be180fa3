"""Everything about one row, as the page shows it when an event is opened."""

from __future__ import annotations

from typing import Any, Final

from snowplow_tracker.collector.atomic import enriched, event_schema
from snowplow_tracker.collector.calls import call
from snowplow_tracker.collector.journal import Journal, ReceivedRequest
from snowplow_tracker.collector.kinds import to_int
from snowplow_tracker.collector.rows import BadRow, Payload, Row
from snowplow_tracker.collector.self_describing import (
    CONTEXT_KEYS,
    UNSTRUCT_KEYS,
    Malformed,
    contexts,
    decoded,
    parse_json,
    unstruct_event,
)
from snowplow_tracker.collector.summaries import summary

MAX_SIBLINGS: Final = 500
MAX_LOST_SHOWN: Final = 20


def details(journal: Journal, sequence: int) -> dict[str, Any] | None:
    """What is known of the row with a sequence number, or None once it has left the journal."""
    row = journal.row(sequence)
    if row is None:
        return None
    request, siblings = journal.of_request(row.payload.number)
    wire = (row.event or {}) if isinstance(row, BadRow) else row.wire
    line = summary(row)
    return {
        "sequence": sequence,
        "good": line.good,
        "kind": line.kind,
        "eventId": line.event_id,
        "name": line.name,
        **_verdict(row),
        "call": call(wire),
        "wire": wire,
        "data": _data(wire),
        "contexts": _contexts(wire),
        "times": _times(wire, row.payload),
        "request": _request(request, row.payload),
        "batch": [_sibling(number, other) for number, other in siblings[:MAX_SIBLINGS]],
        "batchSize": request.event_count if request else len(siblings),
    }


def _verdict(row: Row) -> dict[str, Any]:
    if isinstance(row, BadRow):
        lost = _lost(row.payload.body) if row.event is None else []
        return {"errorType": row.error_type, "errors": row.errors, "origin": row.origin, "lost": lost}
    fields = {name: value for name, value in enriched(row).items() if value is not None}
    return {"errors": [], "schema": event_schema(row), "enriched": fields}


def _lost(body: str | None) -> list[str]:
    """The calls that made the first events of a body which was refused as a whole, as far as it can be read."""
    try:
        found = parse_json(body or "")
    except Malformed:
        return []
    events = found.get("data") if isinstance(found, dict) else None
    some = events[:MAX_LOST_SHOWN] if isinstance(events, list) else []
    texts = [{key: str(value) for key, value in event.items()} if isinstance(event, dict) else {} for event in some]
    return [f"event {index}: {call(event) or 'no event'}" for index, event in enumerate(texts)]


def _data(wire: dict[str, str]) -> Any:
    """The event's own ``{schema, data}``; of a bad one as much as can be decoded."""
    for key in UNSTRUCT_KEYS:
        if key in wire:
            try:
                return unstruct_event(key, wire[key])
            except Malformed:
                return decoded(key, wire[key])
    return None


def _contexts(wire: dict[str, str]) -> Any:
    for key in CONTEXT_KEYS:
        if key in wire:
            try:
                return contexts(key, wire[key])
            except Malformed:
                return decoded(key, wire[key])
    return []


def _times(wire: dict[str, str], payload: Payload) -> dict[str, Any]:
    """Milliseconds since the epoch: created (``dtm``), sent (``stm``), true (``ttm``) and arrived."""
    created, sent, true = (to_int(wire.get(key, "")) for key in ("dtm", "stm", "ttm"))
    return {"created": created, "sent": sent, "true": true, "arrived": int(payload.received_at * 1000)}


def _request(request: ReceivedRequest | None, payload: Payload) -> dict[str, Any]:
    if request is None:  # it has left the ring of requests before its events left theirs
        return {"headers": list(payload.headers.items()), "query": payload.query, "body": payload.body, "kept": False}
    return {
        "kept": True,
        "number": request.number,
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": list(request.headers.items()),
        "body": request.body.decode("utf-8", "replace"),
        "bytes": len(request.body) + len(request.query),
        "status": request.status,
        "connection": request.connection_id,
    }


def _sibling(sequence: int, row: Row) -> dict[str, Any]:
    line = summary(row)
    return {"sequence": sequence, "good": line.good, "kind": line.kind, "name": line.name}
