"""Snowplow Micro's REST interface: what was collected, as JSON.

Source: Snowplow Micro's documentation, "REST API". Newest first, as there.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

from snowplow_tracker.collector.atomic import enriched, event_schema, event_type, iso_time
from snowplow_tracker.collector.http1 import Request, Response
from snowplow_tracker.collector.journal import Journal
from snowplow_tracker.collector.rows import BadRow, GoodEvent, Payload

_JSON: Final = ("Content-Type", "application/json")
_NO_STORE: Final = ("Cache-Control", "no-store")
_SAFE: Final = ("X-Content-Type-Options", "nosniff")


class FilterError(ValueError):
    """A filter that cannot be applied; the message says why."""


class Micro:
    """Answers requests under ``/micro``.

    Nothing here carries CORS headers: the page of another origin may send events, but must not read them.

    Args:
        journal: What to show.
        host: The address that the collector was told to listen on.
    """

    def __init__(self, journal: Journal, host: str) -> None:
        self._journal = journal
        self._host = host
        self._views: dict[str, Callable[[dict[str, Any]], Any]] = {
            "/micro/all": self._all,
            "/micro/good": self._good,
            "/micro/bad": self._bad,
            "/micro/reset": self._reset,
        }

    def answer(self, request: Request) -> Response:
        """The answer to a request whose path begins with ``/micro``."""
        if fault := self._trust_fault(request):
            return _json({"error": fault}, 403)
        view = self._views.get(request.path)
        if view is None:
            return _json({"error": f"there is no {request.path}; there are {', '.join(self._views)}"}, 404)
        if request.method == "OPTIONS":
            return Response(200)
        if request.method not in ("GET", "HEAD", "POST"):
            return _json({"error": "only GET and POST"}, HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            return _json(view(_filters(request)))
        except FilterError as fault:
            return _json({"error": str(fault)}, 400)

    def _trust_fault(self, request: Request) -> str | None:
        """Why a request may come from another site's page, which must neither read events nor drop them."""
        host = _hostname(request.headers.get("Host", ""))
        # Any name can be made to resolve to 127.0.0.1 (DNS rebinding), so the name that was asked for must be ours.
        if not (host in (self._host, request.local_host) or is_loopback(host)):
            return f"the Host header must name this collector, got {host!r}"
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower():
            return "pages of other origins may not come here"
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "pages of other sites may not come here"
        return None

    def _all(self, _: dict[str, Any]) -> Any:
        counts = self._journal.counts
        return {"total": counts.total, "good": counts.good, "bad": counts.bad}

    def _reset(self, filters: dict[str, Any]) -> Any:
        self._journal.reset()
        return self._all(filters)

    def _good(self, filters: dict[str, Any]) -> Any:
        wanted = _limited((row for row in reversed(self._journal.good()) if _is_wanted(row, filters)), filters)
        return [good_json(row) for row in wanted]

    def _bad(self, filters: dict[str, Any]) -> Any:
        rows = (
            row
            for row in reversed(self._journal.bad())
            if filters.get("vendor") in (None, row.payload.vendor)
            and filters.get("version") in (None, row.payload.version)
        )
        return [bad_json(row) for row in _limited(rows, filters)]


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def good_json(row: GoodEvent) -> dict[str, Any]:
    """A good event in Micro's shape."""
    return {
        "rawEvent": _raw_event(row.wire, row.payload),
        "eventType": event_type(row),
        "schema": event_schema(row),
        "contexts": [entity["schema"] for entity in row.contexts],
        "event": enriched(row),
    }


def bad_json(row: BadRow) -> dict[str, Any]:
    """A bad row in Micro's shape, with the name of its schema as ``errorType``."""
    return {
        "collectorPayload": _collector_payload(row.payload),
        "rawEvent": None if row.event is None else _raw_event(row.event, row.payload),
        "errorType": row.error_type,
        "errors": row.errors,
    }


def _raw_event(wire: dict[str, str], payload: Payload) -> dict[str, Any]:
    return {
        "api": {"vendor": payload.vendor, "version": payload.version},
        "parameters": wire,
        "contentType": payload.content_type,
        "source": _source(payload),
        "context": _context(payload),
    }


def _collector_payload(payload: Payload) -> dict[str, Any]:
    return {
        "api": {"vendor": payload.vendor, "version": payload.version},
        "querystring": payload.query or None,
        "contentType": payload.content_type,
        "body": payload.body,
        "source": _source(payload),
        "context": _context(payload),
    }


def _source(payload: Payload) -> dict[str, Any]:
    return {
        "name": "snowplow-tracker-collector",
        "encoding": "UTF-8",
        "hostname": _hostname(payload.headers.get("Host", "")) or None,
    }


def _context(payload: Payload) -> dict[str, Any]:
    return {
        "timestamp": iso_time(int(payload.received_at * 1000)),
        "ipAddress": payload.ip or None,
        "useragent": payload.headers.get("User-Agent"),
        "refererUri": payload.headers.get("Referer"),
        "headers": [f"{name}: {value}" for name, value in payload.headers.items()],
        "userId": payload.network_user_id,
    }


def _filters(request: Request) -> dict[str, Any]:
    """The filters in the body of a POST; GET has none."""
    if request.method != "POST" or not request.body.strip():
        return {}
    try:
        filters = json.loads(request.body)
    except (ValueError, RecursionError):
        raise FilterError("the body must be JSON") from None
    if not isinstance(filters, dict):
        raise FilterError("the body must be an object of filters")
    for name in ("event_type", "schema", "vendor", "version"):
        _check_filter(filters, name, str, "a string")
    _check_filter(filters, "contexts", list, "a list of schemas")
    _check_filter(filters, "limit", int, "a number of events")
    return filters


def _check_filter(filters: dict[str, Any], name: str, kind: type, expected: str) -> None:
    value = filters.get(name)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise FilterError(f"{name} must be {expected}")


def _is_wanted(row: GoodEvent, filters: dict[str, Any]) -> bool:
    schemas = [entity["schema"] for entity in row.contexts]
    return (
        filters.get("event_type") in (None, event_type(row))
        and filters.get("schema") in (None, event_schema(row))
        and all(schema in schemas for schema in filters.get("contexts") or [])
    )


def _limited(rows: Iterable[Any], filters: dict[str, Any]) -> Iterable[Any]:
    limit = filters.get("limit")
    return rows if limit is None else islice(rows, max(0, limit))


def _hostname(host: str) -> str:
    """A Host header's name or address, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode(), [_JSON, _NO_STORE, _SAFE])
