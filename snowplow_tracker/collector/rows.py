"""What becomes of a request: the payload it was, and the good events and bad rows that come out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from snowplow_tracker.collector.calls import call, origins
from snowplow_tracker.collector.http1 import Headers
from snowplow_tracker.collector.self_describing import CONTEXT_KEYS, UNSTRUCT_KEYS, contexts, unstruct_event

SCHEMA_VIOLATIONS = "schema_violations"
ENRICHMENT_FAILURES = "enrichment_failures"
ADAPTER_FAILURES = "adapter_failures"
TRACKER_PROTOCOL_VIOLATIONS = "tracker_protocol_violations"
SIZE_VIOLATION = "size_violation"
PAYLOAD_FORMAT_VIOLATION = "collector_payload_format_violation"


@dataclass(frozen=True, slots=True)
class Payload:
    """A request as the collector hands it on to the enrichment.

    Attributes:
        vendor: With *version*, the adapter that reads it; ``/i`` is ``com.snowplowanalytics.snowplow`` and ``tp1``.
        query: The raw query string.
        body: UTF-8 text, or None for a request that has none or whose body nobody reads.
        network_user_id: From ``nuid`` or the ``sp`` cookie, else made up; the nil UUID for an anonymous request.
        ip: The client's address; empty for an anonymous request.
        received_at: Seconds since the epoch.
        number: Of the request that it is.
    """

    vendor: str
    version: str
    query: str
    body: str | None
    headers: Headers
    network_user_id: str
    ip: str
    received_at: float
    number: int = 0

    @property
    def content_type(self) -> str | None:
        return self.headers.get("Content-Type")


@dataclass(frozen=True, slots=True)
class GoodEvent:
    """An event that the pipeline would load.

    Its JSON is kept as the text that came and parsed on demand: parsed, it can take twenty times the memory.

    Attributes:
        wire: The keys and values on the wire.
        event_id: The event's own ``eid`` in lower case, or one made up as the enrichment does.
        payload: What it came in, without the body.
    """

    wire: dict[str, str]
    event_id: str
    payload: Payload

    @property
    def data(self) -> dict[str, Any] | None:
        """The inner ``{schema, data}`` of a self-describing event."""
        return next((unstruct_event(key, self.wire[key]) for key in UNSTRUCT_KEYS if key in self.wire), None)

    @property
    def contexts(self) -> list[dict[str, Any]]:
        """The contexts, each ``{schema, data}``."""
        return next((contexts(key, self.wire[key]) for key in CONTEXT_KEYS if key in self.wire), [])

    @property
    def event(self) -> dict[str, Any]:
        """A new dict of the wire's keys and values, and of `data` and `contexts` decoded."""
        return {**self.wire, "data": self.data, "contexts": self.contexts}


@dataclass(frozen=True, slots=True)
class BadRow:
    """An event, or a whole request, that the pipeline would refuse.

    Attributes:
        error_type: The name of the bad row's schema, such as ``schema_violations``.
        errors: One sentence for each thing that is wrong: which key, which rule, what value.
        payload: What it came in; with its body only where the whole request was refused.
        event: The pairs of the one event that was refused, or None where the whole request was.
        event_count: How many events are lost with it, as far as they can be counted.
    """

    error_type: str
    errors: list[str]
    payload: Payload
    event: dict[str, str] | None = None
    event_count: int = 1

    def __str__(self) -> str:
        origin = f" (from {self.origin})" if self.origin else ""
        return f"{self.error_type}: {'; '.join(self.errors)}{origin}"

    @property
    def origin(self) -> str | None:
        """The call that made the event, and which of its arguments are at fault, as far as the event tells."""
        if self.event is None or (made_by := call(self.event)) is None:
            return None
        return ", ".join([made_by, *origins(self.event, self.errors)])


Row: TypeAlias = "GoodEvent | BadRow"
