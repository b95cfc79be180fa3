"""The libraries under test, each set up the way its own documentation says, and the floors.

A library is imported only by the function that opens it: a measured process holds one of them and no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.sink import MARKER

CATEGORY: Final = "shop"
ACTION: Final = "add-to-basket"
LABEL: Final = MARKER.decode()
PROPERTY: Final = "pcs"
VALUE: Final = 2.5
USER: Final = "user-4711"
NAMESPACE: Final = "bench"
APP: Final = "game-1"
WIDTH, HEIGHT = 1920, 1080
MANY: Final = 10_000_000
"""A bound that no benchmark reaches."""


class Library:
    """A library, ready to track one kind of event.

    Attributes:
        track: Tracks the event: 14 pairs in Snowplow's wire, the same values as properties elsewhere.
        hurry: Has what waits sent now; may wait for that.
        version: Of the distribution, for the report.
    """

    def __init__(self, version: str, track: Callable[[], Any], hurry: Callable[[], Any]) -> None:
        self.version = version
        self.track = track
        self.hurry = hurry


def open_ours(url: str, *, batch_size: int | None, method: str = "post", threads: int = 1) -> Library:
    """This repository's tracker."""
    import snowplow_tracker
    from snowplow_tracker import Emitter, Tracker

    assert Path(snowplow_tracker.__file__).parents[1] == Path(__file__).resolve().parents[1], snowplow_tracker.__file__
    emitter = Emitter(
        url,
        method=method,  # type: ignore[arg-type]
        batch_size=batch_size,
        threads=threads,
        buffer_capacity=MANY,
        buffer_bytes=MANY * 1000,
        request_timeout=600,
    )
    tracker = our_tracker(emitter)
    assert isinstance(tracker, Tracker)
    track = tracker.track_struct_event
    return Library(
        snowplow_tracker.__version__,
        lambda: track(CATEGORY, ACTION, LABEL, PROPERTY, VALUE),
        emitter.hurry,
    )


def our_tracker(emitter: Any) -> Any:
    """Our tracker with everything set that makes a struct event 14 pairs long."""
    from snowplow_tracker import Tracker

    tracker = Tracker(NAMESPACE, emitter, app_id=APP)
    return tracker.set_platform("pc").set_user_id(USER).set_screen_resolution(WIDTH, HEIGHT)


def open_official(url: str, *, batch_size: int | None, method: str = "post", threads: int = 1) -> Library:
    """snowplow-tracker 1.1.0 as it comes: its AsyncEmitter, its `track_struct_event`."""
    tracker, emitter = _official(url, batch_size, method, threads, session=None)
    track = tracker.track_struct_event
    return Library(version("snowplow-tracker"), lambda: track(CATEGORY, ACTION, LABEL, PROPERTY, VALUE), emitter.flush)


def open_official_tuned(url: str, *, batch_size: int | None, method: str = "post", threads: int = 1) -> Library:
    """The same at its best.

    It is given a `requests.Session`, which it does not make for itself, and tracks by the successor of
    `track_struct_event`, which is deprecated there and warns at each call.
    """
    import requests

    session = requests.Session()
    tracker, emitter = _official(url, batch_size, method, threads, session=session)
    from snowplow_tracker import StructuredEvent

    track, event = tracker.track, StructuredEvent
    return Library(
        version("snowplow-tracker"),
        lambda: track(event(category=CATEGORY, action=ACTION, label=LABEL, property_=PROPERTY, value=VALUE)),
        emitter.flush,
    )


def _official(url: str, batch_size: int | None, method: str, threads: int, session: Any) -> tuple[Any, Any]:
    import snowplow_tracker
    from snowplow_tracker import AsyncEmitter, Subject, Tracker

    assert "site-packages" in snowplow_tracker.__file__, snowplow_tracker.__file__
    logging.disable(logging.CRITICAL)  # it logs at INFO for each request, to standard error
    make_emitter: Any = AsyncEmitter
    emitter = make_emitter(
        url, method=method, batch_size=batch_size, thread_count=threads, buffer_capacity=MANY, session=session
    )
    subject: Any = Subject().set_platform("pc").set_user_id(USER).set_screen_resolution(WIDTH, HEIGHT)
    return Tracker(NAMESPACE, emitter, subject=subject, app_id=APP), emitter


def open_segment(url: str, *, batch_size: int | None) -> Library:
    """segment-analytics-python."""
    from segment.analytics.client import Client

    client = Client("key", host=url, upload_size=batch_size or 100, max_queue_size=MANY)
    return Library(version("segment-analytics-python"), lambda: client.track(USER, ACTION, _properties()), lambda: None)


def open_posthog(url: str, *, batch_size: int | None) -> Library:
    """posthog."""
    from posthog import Posthog

    client = Posthog("key", host=url, flush_at=batch_size or 100, flush_interval=0.5, max_queue_size=MANY)
    return Library(
        version("posthog"),
        lambda: client.capture(ACTION, distinct_id=USER, properties=_properties()),
        lambda: None,
    )


def open_opentelemetry(url: str, *, batch_size: int | None) -> Library:
    """opentelemetry-sdk: log records through its batch processor and its OTLP/HTTP exporter."""
    from opentelemetry._logs import LogRecord
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(
            OTLPLogExporter(endpoint=f"{url}/v1/logs"),
            max_export_batch_size=batch_size or 512,
            max_queue_size=MANY,
            schedule_delay_millis=500,
        )
    )
    logger = provider.get_logger(NAMESPACE)
    return Library(
        version("opentelemetry-sdk"),
        lambda: logger.emit(LogRecord(timestamp=time.time_ns(), event_name=ACTION, attributes=_properties())),
        lambda: None,
    )


def _properties() -> dict[str, Any]:
    """What Snowplow's event holds beside the user, the action, an id and a time, which these libraries have too."""
    return {
        "category": CATEGORY,
        "label": LABEL,
        "property": PROPERTY,
        "value": VALUE,
        "namespace": NAMESPACE,
        "app": APP,
        "platform": "pc",
        "resolution": "1920x1080",
    }


OPENERS: Final[dict[str, Callable[..., Library]]] = {
    "ours": open_ours,
    "official": open_official,
    "official, tuned": open_official_tuned,
    "segment": open_segment,
    "posthog": open_posthog,
    "opentelemetry": open_opentelemetry,
}
TITLES: Final = {
    "ours": "this tracker",
    "official": "official 1.1.0",
    "official, tuned": "official 1.1.0 at its best",
    "segment": "Segment",
    "posthog": "PostHog",
    "opentelemetry": "OpenTelemetry logs",
    "honest floor": "honest floor",
    "honest, no environment floor": "honest floor without the environment's look-up",
    "physical floor": "physical floor",
}


def open_library(library: str, url: str, batch_size: int | None = None, **options: Any) -> Library:
    """Open one of `OPENERS` against the sink at *url*; *batch_size* None is the library's own default."""
    return OPENERS[library](url, batch_size=batch_size, **options)
