"""What the tests of the collector send, and what became of it."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

from snowplow_tracker.collector.faults import Script
from snowplow_tracker.collector.http1 import Headers, Request
from snowplow_tracker.collector.journal import Journal
from snowplow_tracker.collector.service import Service

TP2 = "/com.snowplowanalytics.snowplow/tp2"
SNOWPLOW = "iglu:com.snowplowanalytics.snowplow"
JSON = "application/json; charset=utf-8"
BASICS = {"e": "pv", "p": "pc", "tv": "py-1.0.0"}
SAVE_GAME = {"schema": "iglu:com.acme/save_game/jsonschema/1-0-0", "data": {"level": 23}}
USER = {"schema": "iglu:com.acme/user/jsonschema/1-0-0", "data": {"type": "tester"}}


def payload_data(*events: Any, version: str = "1-0-4") -> bytes:
    return json.dumps({"schema": f"{SNOWPLOW}/payload_data/jsonschema/{version}", "data": events}).encode()


def unstruct(data: Any = SAVE_GAME, version: str = "1-0-0") -> str:
    return json.dumps({"schema": f"{SNOWPLOW}/unstruct_event/jsonschema/{version}", "data": data})


def contexts(*entities: Any, version: str = "1-0-0") -> str:
    return json.dumps({"schema": f"{SNOWPLOW}/contexts/jsonschema/{version}", "data": entities})


def base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def request(
    method: str = "GET", path: str = "/i", query: str = "", body: bytes = b"", headers: dict[str, str] | None = None
) -> Request:
    fields = {"Host": "127.0.0.1", **(headers or {})}
    return Request(method, path, query, Headers(list(fields.items())), body, True, arrived_at=1_700_000_000.5)


def post(body: bytes, query: str = "", content_type: str | None = JSON) -> Journal:
    """What becomes of one POST."""
    return collected(request("POST", TP2, query, body, {"Content-Type": content_type} if content_type else {}))


def get(query: str, headers: dict[str, str] | None = None) -> Journal:
    """What becomes of one GET /i."""
    return collected(request("GET", "/i", query, b"", headers))


def collected(*requests: Request) -> Journal:
    journal = Journal()
    service = Service(journal, Script(), "127.0.0.1")
    for one in requests:
        service.answer(one)
    return journal


def refusal(journal: Journal) -> tuple[str, list[str]]:
    """The type and errors of the only row, which must be bad."""
    assert journal.good() == []
    (row,) = journal.bad()
    return row.error_type, row.errors


def exchange(port: int, data: bytes, *, half_close: bool = False) -> bytes:
    """Send *data* and read until the collector closes; for requests that say ``Connection: close``, or are no good."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))
