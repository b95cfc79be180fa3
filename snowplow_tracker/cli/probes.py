"""Events that ``doctor`` sends, by a tracker as anybody's, and what the answers say."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from snowplow_tracker.cli.connection import Target
from snowplow_tracker.cli.findings import Finding
from snowplow_tracker.emitters import Emitter
from snowplow_tracker.settings import Method
from snowplow_tracker.tracker import Tracker

APP_ID: Final = "snowplow-tracker-doctor"
_CLOCK_TOLERANCE_S: Final = 30
_EXPECTED_TYPE: Final = {"post": "text/plain", "get": "image/gif"}


class Witness(requests.Session):
    """A session that remembers the first answer, or why there was none.

    Attributes:
        answer: The response, if one came.
        error: What was raised, if none came.
        seconds: How long it took.
        at: When the answer came, in UTC.
        not_taken: Why the tracker did not take the event, or None.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answer: requests.Response | None = None
        self.error: Exception | None = None
        self.seconds = 0.0
        self.at = datetime.now(timezone.utc)
        self.heard = threading.Event()
        self.not_taken: str | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        began = time.monotonic()
        try:
            response = super().send(request, **options)
            if not self.heard.is_set():
                self.answer = response
            return response
        except requests.RequestException as error:
            if not self.heard.is_set():
                self.error = error
            raise
        finally:
            if not self.heard.is_set():
                self.seconds, self.at = time.monotonic() - began, datetime.now(timezone.utc)
                self.heard.set()


def send_event(target: Target, method: Method, timeout_s: float) -> Witness:
    """Track one event and wait for the first answer."""
    with Witness() as witness:
        emitter = Emitter(target.origin, method=method, session=witness, flush_interval=0, request_timeout=timeout_s)
        with Tracker(APP_ID, emitter, app_id=APP_ID) as tracker:
            taken, witness.not_taken = tracker.track_struct_event("snowplow-tracker", "doctor", method)
            if taken:
                witness.heard.wait(timeout_s + 1)
            tracker.disable()  # what did not arrive is not tried again
    return witness


def examine_answer(target: Target, method: Method, witness: Witness) -> Finding:
    """What the answer to an event says of whoever gave it."""
    topic = method.upper()
    response = witness.answer
    if response is None:
        return _silence(topic, target, witness)
    status, kind = response.status_code, _content_type(response)
    words = f"{status} {response.reason or ''}".rstrip()
    text = f"{words}, {kind or 'no content type'}, in {witness.seconds * 1000:.0f} ms"
    if not 200 <= status < 300:
        return Finding(topic, "FAIL", text, _status_advice(target, method, response))
    if kind in ("text/html", "application/xhtml+xml"):
        advice = "a web page is no collector's answer: a web server, or a log-in page on the way, swallows the events."
        return Finding(topic, "FAIL", text, advice)
    if kind != _EXPECTED_TYPE[method]:
        return Finding(topic, "warn", text, f"collectors answer {_EXPECTED_TYPE[method]}: is it one?")
    return Finding(topic, "ok", text)


def _silence(topic: str, target: Target, witness: Witness) -> Finding:
    if witness.not_taken:
        advice = "is SNOWPLOW_DISABLED set in the environment?"
        return Finding(topic, "FAIL", f"the tracker takes no event: {witness.not_taken}", advice)
    if witness.error is None or isinstance(witness.error, requests.Timeout):
        return Finding(topic, "FAIL", f"no answer within {witness.seconds:.1f} s", "the collector hangs: see its log.")
    if isinstance(witness.error, requests.exceptions.ProxyError):
        return Finding(topic, "FAIL", "the proxy does not let it through", "ask whoever runs the proxy.")
    if isinstance(witness.error, requests.exceptions.SSLError):  # behind a proxy: else it would have been found before
        advice = "if the proxy opens TLS, let REQUESTS_CA_BUNDLE point to its authority's certificate."
        return Finding(topic, "FAIL", "the certificate behind the proxy is not accepted", advice)
    other = "http" if target.secure else "https"
    text = f"the connection ended without an answer ({type(witness.error).__name__})"
    return Finding(topic, "FAIL", text, f"does it speak {other}? Try {target.by(other)}")


def _content_type(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


_ADVICE: Final = {
    401: "something before the collector wants credentials: let trackers through without.",
    403: "something before the collector forbids it: a firewall's rule, or a list of permitted networks.",
    404: "no collector answers at this path: is the host right, and is a path prefix stripped by a gateway?",
    408: "the collector is slow: the tracker tries again, and the collector's own log says why.",
    413: "a gateway takes smaller requests only: raise its limit, or lower batch_size.",
    429: "it asks for fewer requests: the tracker waits and tries again.",
}


def _status_advice(target: Target, method: Method, response: requests.Response) -> str:
    status = response.status_code
    if 300 <= status < 400:
        return _redirect_advice(response)
    if method == "post" and status in (403, 405, 501):
        return "it takes no POST. A CloudFront distribution takes GET only: use method='get', or Tracker.cloudfront()."
    if status == 400 and not target.secure:
        return f"perhaps it wants https: try {target.by('https')}"
    if status >= 500:
        return "the collector, or the load balancer before it, is in trouble: the tracker tries again; see its log."
    return _ADVICE.get(status, "a collector answers 200: is it one?")


def _redirect_advice(response: requests.Response) -> str:
    parts = urlsplit(response.headers.get("Location", ""))
    where = f"{parts.scheme}://{parts.netloc}" if parts.netloc else "the address it points to"
    return f"use {where}: the tracker follows no redirect, since that would turn a POST into a GET."


def examine_clock(witness: Witness) -> Iterator[Finding]:
    """Compare this machine's clock with the header ``Date``, where there is one."""
    date = witness.answer.headers.get("Date") if witness.answer is not None else None
    try:
        theirs = parsedate_to_datetime(date) if date else None
    except ValueError:
        theirs = None
    if theirs is None:
        yield Finding("clock", "note", "the answer has no date to compare with")
        return
    ahead_s = (witness.at - theirs.astimezone(timezone.utc)).total_seconds()
    if abs(ahead_s) <= _CLOCK_TOLERANCE_S:
        yield Finding("clock", "ok", "this machine's clock and the collector's agree")
        return
    way = "ahead of" if ahead_s > 0 else "behind"
    yield Finding(
        "clock",
        "warn",
        f"this machine's clock is {_in_words(abs(ahead_s))} {way} the collector's",
        "events carry wrong times (dtm); the pipeline mends derived_tstamp, not dtm. Set the clock, by NTP.",
    )


def _in_words(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def examine_keep_alive(witness: Witness) -> Iterator[Finding]:
    """Whether the connection can carry further requests."""
    if witness.answer is not None and "close" in witness.answer.headers.get("Connection", "").lower():
        text = "the connection is closed after each request"
        yield Finding("keep-alive", "warn", text, "every batch pays for a new one: allow keep-alive on the server.")
