"""Events as JSON lines, the format of ``replay``, of ``outbox export`` and of the collector page's Export.

One event a line, UTF-8: a JSON object from a key of the wire to its value as text, ``{"e":"pv","p":"pc",…}``. The
sending time (``stm``) is stamped anew when it is sent. ``data`` and ``contexts``, the decoded copies that the local
collector adds to an event, are left out. An event without an id (``eid``) gets one that is the same in every run.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import orjson

from snowplow_tracker.collector.decoding import PAYLOAD_DATA, SNOWPLOW, Refused, decode
from snowplow_tracker.collector.http1 import Headers
from snowplow_tracker.collector.judging import judge
from snowplow_tracker.collector.rows import BadRow, Payload
from snowplow_tracker.collector.self_describing import no_schema_check

MAX_LINE_BYTES: Final = 1_048_576
"""No event that a pipeline takes is larger."""

_NOT_SENT: Final = ("stm", "data", "contexts")
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
_HEADERS: Final = Headers([("Content-Type", "application/json")])


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two lines of a file.

    Attributes:
        line: How many lines are before it.
        offset: How many bytes are before it.
    """

    line: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event that can be sent.

    Attributes:
        pairs: From key to text, without ``stm``.
        end: The place behind its line.
    """

    pairs: dict[str, str]
    end: Place


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no event, or one that the pipeline would refuse together with all that share its request.

    Attributes:
        why: What is wrong with it.
        end: The place behind it.
    """

    why: str
    end: Place


def read_lines(stream: BinaryIO, start: Place, *, judged: bool = True) -> Iterator[EventLine | BadLine]:
    """Read events; lines without anything in them are passed over.

    Args:
        stream: It stands at *start*.
        start: Where reading begins.
        judged: Whether an event must satisfy the pipeline's rules, or the form of a request only.
    """
    line, offset = start.line, start.offset
    while text := stream.readline(MAX_LINE_BYTES + 1):
        line, offset = line + 1, offset + len(text)
        if len(text) > MAX_LINE_BYTES:
            offset += _skip_line(stream, text)
            yield BadLine(f"it is longer than {MAX_LINE_BYTES} bytes", Place(line, offset))
        elif text.strip():
            yield _read(text, Place(line, offset), judged)


def _skip_line(stream: BinaryIO, text: bytes) -> int:
    skipped = 0
    while text and not text.endswith(b"\n"):
        text = stream.readline(MAX_LINE_BYTES)
        skipped += len(text)
    return skipped


def _read(text: bytes, end: Place, judged: bool) -> EventLine | BadLine:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return BadLine(f"it is not JSON: {error.msg} (column {error.colno})", end)
    if not isinstance(found, dict):
        return BadLine("it is not a JSON object", end)
    pairs = {key: value for key, value in found.items() if key not in _NOT_SENT}
    faults = _faults(pairs, judged)
    if faults:
        return BadLine("; ".join(faults), end)
    if "eid" not in pairs:
        # Derived from the line, so that an event which is sent again, in another run, is still the same event.
        pairs["eid"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{end.line}:{text.hex()}"))
    return EventLine(pairs, end)


def _faults(pairs: dict[str, Any], judged: bool) -> list[str]:
    """What the local collector would say of a request with this event alone."""
    try:
        body = orjson.dumps({"schema": f"{PAYLOAD_DATA}1-0-4", "data": [pairs]}).decode()
    except orjson.JSONEncodeError:  # it reads JSON deeper than it writes
        return ["its values must be strings, not JSON of hundreds of levels"]
    payload = Payload(SNOWPLOW, "tp2", "", body, _HEADERS, _NOBODY, "", 0.0)
    try:
        events = decode(payload)
    except Refused as refusal:
        return [error.removeprefix("event 0: ") for error in refusal.errors]
    (row,) = judge(events, payload, no_schema_check)
    return row.errors if judged and isinstance(row, BadRow) else []
