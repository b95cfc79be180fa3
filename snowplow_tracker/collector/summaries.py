"""A row in one line, as the page's list shows it, and what the list can be narrowed to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from snowplow_tracker.collector.kinds import to_int
from snowplow_tracker.collector.rows import BadRow, Row
from snowplow_tracker.collector.rules import EVENT_TYPES
from snowplow_tracker.collector.self_describing import CONTEXT_KEYS, UNSTRUCT_KEYS, Malformed, contexts, unstruct_event

MAX_NAME: Final = 120
MAX_DETAIL: Final = 240
MAX_TEXT: Final = 1_000
REFUSED_REQUEST: Final = "request"
UNKNOWN: Final = "unknown"

_SHOWN_ELSEWHERE: Final = (*UNSTRUCT_KEYS, *CONTEXT_KEYS)


@dataclass(frozen=True, slots=True)
class Summary:
    """One line about a row.

    Attributes:
        good: Whether the pipeline would load it.
        kind: The event's type in Micro's words, `REFUSED_REQUEST` where there is no event, or `UNKNOWN`.
        event_id: Empty for a bad row whose event has none.
        name: What tells it from others of its kind.
        detail: The rest of it in a line; for a bad row what is wrong.
        app: The application, or empty.
        arrived_ms: Milliseconds since the epoch.
        latency_ms: From ``dtm`` to the arrival; None without a ``dtm``.
        text: What a search looks through, in lower case: its first `MAX_TEXT` characters.
    """

    good: bool
    kind: str
    event_id: str
    name: str
    detail: str
    app: str
    arrived_ms: int
    latency_ms: int | None
    text: str


def summary(row: Row) -> Summary:
    """The line about a row."""
    wire = (row.event or {}) if isinstance(row, BadRow) else row.wire
    inner = _data(wire)
    name, detail = _name(row, wire, inner), _detail(wire, inner)
    arrived_ms = int(row.payload.received_at * 1000)
    created_ms = to_int(wire.get("dtm", ""))
    return Summary(
        good=not isinstance(row, BadRow),
        kind=_kind(row, wire),
        event_id=(wire.get("eid", "").lower() if isinstance(row, BadRow) else row.event_id)[:MAX_NAME],
        name=name[:MAX_NAME],
        detail=("; ".join(row.errors) if isinstance(row, BadRow) else detail)[:MAX_DETAIL],
        app=wire.get("aid", "")[:MAX_NAME],
        arrived_ms=arrived_ms,
        latency_ms=None if created_ms is None else arrived_ms - created_ms,
        text=_text(row, wire, inner, name),
    )


def is_wanted(line: Summary, verdict: str | None, kinds: frozenset[str], words: str) -> bool:
    """Whether a line is among those that the list was narrowed to.

    Args:
        line: The line.
        verdict: ``good``, ``bad`` or None.
        kinds: The types to show; none shows all.
        words: In lower case; all of them, parted by blanks, must be in the line's text.
    """
    return (
        (verdict is None or line.good == (verdict == "good"))
        and (not kinds or line.kind in kinds)
        and all(word in line.text for word in words.split())
    )


def _kind(row: Row, wire: dict[str, str]) -> str:
    if isinstance(row, BadRow) and row.event is None:
        return REFUSED_REQUEST
    return EVENT_TYPES.get(wire.get("e", ""), UNKNOWN)


def _data(wire: dict[str, str]) -> dict[str, Any] | None:
    try:
        return next((unstruct_event(key, wire[key]) for key in UNSTRUCT_KEYS if key in wire), None)
    except Malformed:
        return None


def _entities(wire: dict[str, str]) -> list[dict[str, Any]]:
    try:
        return next((contexts(key, wire[key]) for key in CONTEXT_KEYS if key in wire), [])
    except Malformed:
        return []


def _name(row: Row, wire: dict[str, str], inner: dict[str, Any] | None) -> str:
    if inner:
        return str(inner["schema"]).split("/")[1]
    if isinstance(row, BadRow) and row.event is None:
        lost = f", {row.event_count} events lost" if row.event_count > 1 else ""
        return f"{row.error_type.replace('_', ' ')}{lost}"
    return _first(wire, _NAMES.get(wire.get("e", ""), ("ue_na",))) or "(no name)"


def _detail(wire: dict[str, str], inner: dict[str, Any] | None) -> str:
    if inner:
        return _compact(inner["data"], MAX_DETAIL)
    return _joined(wire, _DETAILS.get(wire.get("e", ""), ()))


_NAMES: Final = {
    "pv": ("page", "url"),
    "pp": ("page", "url"),
    "se": ("se_ac",),
    "ev": ("ev_ac", "se_ac"),
    "tr": ("tr_id",),
    "ti": ("ti_nm", "ti_sk"),
    "ue": ("ue_na",),
}
"""Of each event the keys that hold its name: the first that is there."""
_DETAILS: Final = {
    "pv": ("url", "refr"),
    "pp": ("url", "pp_mix", "pp_max", "pp_miy", "pp_may"),
    "se": ("se_ca", "se_la", "se_pr", "se_va"),
    "ev": ("ev_ca", "ev_la", "ev_pr", "ev_va"),
    "tr": ("tr_tt", "tr_cu", "tr_af", "tr_co"),
    "ti": ("ti_sk", "ti_qu", "ti_pr", "ti_cu", "ti_id"),
}


def _first(wire: dict[str, str], keys: tuple[str, ...]) -> str:
    return next((wire[key] for key in keys if wire.get(key)), "")


def _joined(wire: dict[str, str], keys: tuple[str, ...]) -> str:
    return " · ".join(wire[key][:MAX_DETAIL] for key in keys if wire.get(key))


def _compact(value: Any, limit: int) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))[:limit]


def _text(row: Row, wire: dict[str, str], inner: dict[str, Any] | None, name: str) -> str:
    parts = [name, _kind(row, wire), *(row.errors if isinstance(row, BadRow) else ())]
    parts += [str(inner["schema"]), _compact(inner["data"], MAX_TEXT)] if inner else []
    parts += [value[:MAX_TEXT] for key, value in wire.items() if key not in _SHOWN_ELSEWHERE]
    parts += [f"{entity['schema']} {_compact(entity['data'], MAX_TEXT)}" for entity in _entities(wire)]
    if isinstance(row, BadRow) and row.event is None:
        parts += [row.error_type, row.payload.query[:MAX_TEXT], (row.payload.body or "")[:MAX_TEXT]]
    return " ".join(parts)[:MAX_TEXT].lower()
