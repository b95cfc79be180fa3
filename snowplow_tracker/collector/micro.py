"""Snowplow Micro's REST interface: what was collected, as JSON; and the page's own paths below ``/micro/ui``.

Source: Snowplow Micro's documentation, "REST API". Newest first, as there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import islice
from typing import Any, Final, Protocol

from snowplow_tracker.collector.atomic import enriched, event_schema, event_type, iso_time
from snowplow_tracker.collector.http1 import Request, Response
from snowplow_tracker.collector.journal import Journal
from snowplow_tracker.collector.page import PATHS, Page
from snowplow_tracker.collector.rows import BadRow, GoodEvent, Payload
from snowplow_tracker.collector.trust import SAFE_HEADERS, host_fault, hostname, origin_fault

_JSON: Final = ("Content-Type", "application/json")
_IGLU: Final = "/micro/iglu/"


class FilterError(ValueError):
    """A filter that cannot be applied; the message says why."""


class SchemaFiles(Protocol):
    """Where schemas can be looked up."""

    def text(self, key: str) -> bytes | None:
        """The schema at ``vendor/name/format/version``, or None."""


class Micro:
    """Answers requests under ``/micro``, and for the page at ``/``.

    Nothing here carries CORS headers: the page of another origin may send events, but must not read them.

    Args:
        journal: What to show.
        host: The address that the collector was told to listen on.
        reset: Forgets what was collected.
        schemas: What ``/micro/iglu`` shows; None if the collector has no schemas.
    """

    def __init__(
        self, journal: Journal, host: str, reset: Callable[[], None], schemas: SchemaFiles | None = None
    ) -> None:
        self._journal = journal
        self._host = host
        self._forget = reset
        self._schemas = schemas
        self._page = Page(journal)
        self._views: dict[str, Callable[[dict[str, Any]], Any]] = {
            "/micro/all": self._all,
            "/micro/good": self._good,
            "/micro/bad": self._bad,
            "/micro/reset": self._reset,
        }

    def answer(self, request: Request) -> Response:
        """The answer to a request for which `is_asked` is true."""
        if fault := host_fault(request, self._host):
            return _json({"error": fault}, 403)
        if request.path in PATHS and request.method in ("GET", "HEAD"):
            return self._page.document()  # it holds no event, so a link on another site may lead to it
        if fault := origin_fault(request):
            return _json({"error": fault}, 403)
        if request.method == "OPTIONS":
            return Response(200)
        if request.method not in ("GET", "HEAD", "POST"):
            return _json({"error": "only GET and POST"}, HTTPStatus.METHOD_NOT_ALLOWED)
        if request.path.startswith(_IGLU):
            return self._iglu(request.path[len(_IGLU) :])
        return self._page.answer(request) or self._view(request)

    def end_streams(self) -> None:
        """Let the page's streams end."""
        self._page.end_streams()

    def _view(self, request: Request) -> Response:
        view = self._views.get(request.path)
        if view is None:
            known = ", ".join([*self._views, "/micro/iglu/vendor/name/jsonschema/1-0-0", "/micro/ui"])
            return _json({"error": f"there is no {request.path}; there are {known}"}, 404)
        try:
            return _json(view(_filters(request)))
        except FilterError as fault:
            return _json({"error": str(fault)}, 400)

    def _all(self, _: dict[str, Any]) -> Any:
        counts = self._journal.counts
        return {"total": counts.total, "good": counts.good, "bad": counts.bad}

    def _reset(self, filters: dict[str, Any]) -> Any:
        self._forget()
        return self._all(filters)

    def _iglu(self, key: str) -> Response:
        if self._schemas is None:
            return _json({"error": "this collector has no schemas; start it with --schemas DIR"}, 404)
        found = self._schemas.text(key)
        if found is None:
            return _json({"error": f"there is no schema {key} in the folders of --schemas"}, 404)
        return Response(200, found, [_JSON, *SAFE_HEADERS])

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


def is_asked(request: Request) -> bool:
    """Whether a request is for `Micro` and not for the collector."""
    path = request.path
    return path == "/micro" or path.startswith("/micro/") or (path == "/" and request.method in ("GET", "HEAD"))


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
        "hostname": hostname(payload.headers.get("Host", "")) or None,
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


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode(), [_JSON, *SAFE_HEADERS])
