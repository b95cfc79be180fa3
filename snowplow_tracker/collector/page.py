"""The page at ``/`` and ``/micro/ui``, and what it asks for: the live stream, one event, and an export.

The page is one file without a build step. Its policy lets it run its own script and style, known by their hashes, talk
to this collector and nothing else, and turn no text into HTML.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Final
from urllib.parse import parse_qs

from snowplow_tracker.collector.details import details
from snowplow_tracker.collector.http1 import Request, Response
from snowplow_tracker.collector.journal import Journal
from snowplow_tracker.collector.rows import BadRow, Row
from snowplow_tracker.collector.streams import Streams
from snowplow_tracker.collector.summaries import is_wanted, summary
from snowplow_tracker.collector.trust import SAFE_HEADERS

PATHS: Final = ("/", "/micro/ui")

_ROW: Final = re.compile(r"/micro/ui/row/([0-9]{1,18})")
_INLINE: Final = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)
_LINES_A_CHUNK: Final = 500


class Page:
    """Answers what the page and its script ask for.

    Args:
        journal: What to show.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._streams = Streams(journal)

    def document(self) -> Response:
        """The page itself, which holds no event."""
        body, policy = _document()
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", policy),
            ("Referrer-Policy", "no-referrer"),
            ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            *SAFE_HEADERS,
        ]
        return Response(200, body, headers)

    def answer(self, request: Request) -> Response | None:
        """The answer to a request under ``/micro/ui/``, or None if there is nothing at its path."""
        if request.path == "/micro/ui/stream":
            return self._stream(request)
        if request.path == "/micro/ui/export":
            return self._export(request)
        matched = _ROW.fullmatch(request.path)
        return self._row(int(matched[1])) if matched else None

    def end_streams(self) -> None:
        """Let the open streams end."""
        self._streams.end_all()

    def _stream(self, request: Request) -> Response:
        asked = _parameters(request)
        after = asked.get("after", "0")
        if request.method == "HEAD":
            return Response(200, b"", [("Content-Type", "text/event-stream"), *SAFE_HEADERS])
        stream = self._streams.open(
            asked.get("generation", ""), int(after) if re.fullmatch("[0-9]{1,18}", after) else 0
        )
        if stream is None:
            return _json({"error": "too many pages are open at a time; close one"}, 503)
        return Response(200, b"", [("Content-Type", "text/event-stream"), *SAFE_HEADERS], chunks=stream)

    def _row(self, sequence: int) -> Response:
        found = details(self._journal, sequence)
        if found is None:
            return _json({"error": "this event has left the collector's memory, or was cleared"}, 404)
        return _json(found)

    def _export(self, request: Request) -> Response:
        asked = parse_qs(request.query)
        verdict = asked.get("verdict", [""])[0]
        wanted = _Filter(
            verdict if verdict in ("good", "bad") else None,
            frozenset(asked.get("kind", [])),
            asked.get("words", [""])[0].lower(),
        )
        named = f"{datetime.now(timezone.utc):events-%Y%m%d-%H%M%S}.jsonl"
        headers = [
            ("Content-Type", "application/x-ndjson"),
            ("Content-Disposition", f'attachment; filename="{named}"'),
            *SAFE_HEADERS,
        ]
        return Response(200, b"", headers, chunks=_Export(self._journal, wanted))


class _Filter:
    def __init__(self, verdict: str | None, kinds: frozenset[str], words: str) -> None:
        self._everything = verdict is None and not kinds and not words
        self._arguments = verdict, kinds, words

    def wants(self, row: Row) -> bool:
        return self._everything or is_wanted(summary(row), *self._arguments)


class _Export:
    """The wire pairs of the wanted rows, oldest first, a JSON object a line, as `http1.Chunks`.

    A request that was refused as a whole has no line: there is no event in it to send again.
    """

    def __init__(self, journal: Journal, wanted: _Filter) -> None:
        self._journal = journal
        self._wanted = wanted

    def __iter__(self) -> Iterator[bytes]:
        lines = self._lines()
        while some := list(islice(lines, _LINES_A_CHUNK)):
            yield "".join(some).encode("ascii")

    def close(self) -> None: ...

    def _lines(self) -> Iterator[str]:
        after, excerpt = 0, self._journal.excerpt(0, _LINES_A_CHUNK)
        end = excerpt.last
        while excerpt.rows and after < end:
            for row in excerpt.rows:
                wire = row.event if isinstance(row, BadRow) else row.wire
                if wire is not None and self._wanted.wants(row):
                    yield json.dumps(wire, separators=(",", ":")) + "\n"
            after = excerpt.first + len(excerpt.rows) - 1
            excerpt = self._journal.excerpt(after, _LINES_A_CHUNK)


@cache
def _document() -> tuple[bytes, str]:
    """The page and the Content-Security-Policy that fits it."""
    body = files("snowplow_tracker.collector").joinpath("page.html").read_bytes()
    hashes = {name: f"'sha256-{_sha256(content)}'" for name, content in _INLINE.findall(body)}
    policy = [
        "default-src 'none'",
        f"script-src {hashes[b'script']}",
        f"style-src {hashes[b'style']}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    return body, "; ".join(policy)


def _sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _parameters(request: Request) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(request.query).items()}


def _json(value: object, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode("ascii"), [("Content-Type", "application/json"), *SAFE_HEADERS])
