"""What the collector answers to a request, and what it records of it.

Source: stream-collector ``Routes.scala``, ``Service.scala`` (protocol, "Collector").
"""

from __future__ import annotations

import base64
import itertools
import re
import uuid
from email.utils import formatdate
from typing import Final

from snowplow_tracker.collector.decoding import SNOWPLOW, Refused, decode
from snowplow_tracker.collector.faults import Script
from snowplow_tracker.collector.http1 import Headers, HttpError, Request, Response
from snowplow_tracker.collector.journal import Journal, ReceivedRequest
from snowplow_tracker.collector.judging import judge, refused
from snowplow_tracker.collector.micro import Micro, SchemaFiles, is_asked
from snowplow_tracker.collector.query import query_pairs
from snowplow_tracker.collector.request_store import RequestStore
from snowplow_tracker.collector.rows import Payload, Row
from snowplow_tracker.collector.self_describing import SchemaCheck, no_schema_check

PIXEL: Final = base64.b64decode("R0lGODlhAQABAPAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
NIL_UUID: Final = "00000000-0000-0000-0000-000000000000"
COOKIE_LIFETIME_S: Final = 365 * 24 * 3600

_TEXT: Final = ("Content-Type", "text/plain; charset=UTF-8")
_FIXED: Final = {
    "/health": "ok",
    "/sink-health": "ok",
    "/robots.txt": "User-agent: *\nDisallow: /\n",
}
_PIXEL_PATHS: Final = ("/i", "/ice.png")
_IDENTIFYING_HEADERS: Final = ("cookie", "x-forwarded-for", "x-real-ip")
_VENDOR_PATH: Final = re.compile(r"/([^/]+)/([^/]+)")
_SP_COOKIE: Final = re.compile(r"(?:^|[;,])\s*sp=([^;,]*)")


class Service:
    """Answers requests as the stream-collector does, and judges what is in them as the enrichment would.

    Args:
        journal: Where requests, events and bad rows are recorded.
        script: The faults to meet; they apply to what trackers send, not to health checks and not to ``/micro``.
        host: The address that the collector was told to listen on.
        check_data: What the schemas say of self-describing data.
        schemas: What ``/micro/iglu`` shows; None if there are none.
        store: Where requests outlive the process; None keeps them in memory only. Whoever made it closes it.
    """

    def __init__(
        self,
        journal: Journal,
        script: Script,
        host: str,
        check_data: SchemaCheck = no_schema_check,
        schemas: SchemaFiles | None = None,
        store: RequestStore | None = None,
    ) -> None:
        self._journal = journal
        self._script = script
        self._check_data = check_data
        self._store = store
        self._numbers = itertools.count(1)
        self._micro = Micro(journal, host, self._reset, schemas)

    def restore(self) -> None:
        """Judge again what the store has kept, before the first request."""
        for request, network_user_id in self._store.requests() if self._store else ():
            adapter = _adapter(request)
            if adapter:
                payload = _payload(request, *adapter, next(self._numbers), network_user_id)
                received = _received(request, 200, payload.number)
                events, rows = _decoded(payload, received)
                self._journal.receive(received)
                self._journal.record(rows + judge(events, payload, self._check_data), _wire_bytes(request))

    def answer(self, request: Request) -> Response | None:
        """The answer to *request*; None closes the connection without one."""
        if is_asked(request):
            return self._micro.answer(request)
        adapter = _adapter(request)
        if adapter:
            return self._track(request, *adapter)
        response = _untracked(request)
        self._journal.receive(_received(request, response.status))
        return response

    def refuse(self, error: HttpError) -> Response:
        """The answer to what could not be read as a request, or not to its end."""
        if error.request:
            self._journal.receive(_received(error.request, error.status))
        return Response(error.status, error.reason.encode(), [_TEXT])

    def end_streams(self) -> None:
        """Let the page's streams end."""
        self._micro.end_streams()

    def _reset(self) -> None:
        self._journal.reset()
        if self._store:
            self._store.clear()

    def _track(self, request: Request, vendor: str, version: str) -> Response | None:
        payload = _payload(request, vendor, version, next(self._numbers), _network_user_id(request))
        received = _received(request, number=payload.number)
        events, rows = _decoded(payload, received)
        self._journal.receive(received)
        fault = self._script.meet()
        if fault is None or fault.accept:
            if self._store:
                self._store.append(request, payload.network_user_id)
            self._journal.record(rows + judge(events, payload, self._check_data), _wire_bytes(request))
        response = _tracked(request, payload) if fault is None else fault.response
        received.status = response.status if response else None
        return response


def _adapter(request: Request) -> tuple[str, str] | None:
    """The vendor and version whose adapter reads this request, or None if it is not tracked."""
    reads = request.method in ("GET", "HEAD")
    if request.path in _PIXEL_PATHS:
        return (SNOWPLOW, "tp1") if reads else None
    matched = _VENDOR_PATH.fullmatch(request.path)
    if matched and matched[1] != "r" and (reads or request.method == "POST"):
        return matched[1], matched[2]
    return None


def _decoded(payload: Payload, received: ReceivedRequest) -> tuple[list[dict[str, str]], list[Row]]:
    """The events to judge, or the bad row of a payload that is lost as a whole; *received* learns how many."""
    try:
        events = decode(payload)
        received.event_count = len(events)
        return events, []
    except Refused as refusal:
        received.event_count = refusal.event_count
        return [], [refused(payload, refusal)]


def _wire_bytes(request: Request) -> int:
    return len(request.body) + len(request.query)


def _received(request: Request, status: int | None = None, number: int = 0) -> ReceivedRequest:
    return ReceivedRequest(
        method=request.method,
        path=request.path,
        query=request.query,
        headers=request.headers,
        body=request.body,
        arrived_at=request.arrived_at,
        connection_id=request.connection_id,
        status=status,
        number=number,
    )


def _payload(request: Request, vendor: str, version: str, number: int, network_user_id: str) -> Payload:
    anonymous = "SP-Anonymous" in request.headers
    forwarded = request.headers.get("X-Forwarded-For", "").partition(",")[0].strip()
    return Payload(
        vendor=vendor,
        version=version,
        query=request.query,
        body=request.body.decode("utf-8", "replace") if request.method == "POST" else None,
        headers=_kept_headers(request),
        network_user_id=NIL_UUID if anonymous else network_user_id,
        ip="" if anonymous else forwarded or request.peer,
        received_at=request.arrived_at,
        number=number,
    )


def _kept_headers(request: Request) -> Headers:
    if "SP-Anonymous" not in request.headers:
        return request.headers
    return Headers([field for field in request.headers.items() if field[0].lower() not in _IDENTIFYING_HEADERS])


def _network_user_id(request: Request) -> str:
    if "nuid=" in request.query and (nuid := query_pairs(request.query).get("nuid")) is not None:
        return nuid
    cookie = _SP_COOKIE.search(request.headers.get("Cookie", ""))
    return cookie[1].strip() if cookie else str(uuid.uuid4())


def _tracked(request: Request, payload: Payload) -> Response:
    headers = _cors(request)
    if "SP-Anonymous" not in request.headers:
        headers.append(("Set-Cookie", _sp_cookie(payload)))
    if request.method == "POST":
        return Response(200, b"ok", [_TEXT, *headers])
    no_cache = ("Cache-Control", "no-cache, no-store, must-revalidate")
    return Response(200, PIXEL, [("Content-Type", "image/gif"), no_cache, *headers])


def _sp_cookie(payload: Payload) -> str:
    # The value may have come from the request: nothing in it may end the header.
    value = re.sub(r"[^A-Za-z0-9.\-]", "", payload.network_user_id)
    expires = formatdate(payload.received_at + COOKIE_LIFETIME_S, usegmt=True)
    return f"sp={value}; Expires={expires}; Path=/; Secure; HttpOnly; SameSite=None"


def _cors(request: Request) -> list[tuple[str, str]]:
    return [
        ("Access-Control-Allow-Origin", request.headers.get("Origin", "*")),
        ("Access-Control-Allow-Credentials", "true"),
    ]


def _untracked(request: Request) -> Response:
    if request.method == "OPTIONS":
        allowed = ("Access-Control-Allow-Headers", "Content-Type, SP-Anonymous")
        return Response(200, b"", [*_cors(request), allowed, ("Access-Control-Max-Age", "3600")])
    if request.method in ("GET", "HEAD") and request.path in _FIXED:
        return Response(200, _FIXED[request.path].encode(), [_TEXT])
    reason = b"redirects disabled" if request.path.startswith("/r/") else b"404 not found"
    return Response(404, reason, [_TEXT])
