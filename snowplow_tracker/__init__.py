"""Snowplow event tracker: sends events to a collector without its caller ever noticing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from snowplow_tracker import installation  # first of all: it refuses a mixture of two packages  # noqa: F401
from snowplow_tracker.emitters import AsyncEmitter, Emitter
from snowplow_tracker.errors import SnowplowTrackerError, ValidationError
from snowplow_tracker.event_store import EventStore, MemoryEventStore
from snowplow_tracker.events import Event, PagePing, PageView, ScreenView, SelfDescribing, StructuredEvent
from snowplow_tracker.lifecycle import install_signal_handlers
from snowplow_tracker.outcomes import FlushResult, Receipt, Stats
from snowplow_tracker.self_describing_json import SelfDescribingJson
from snowplow_tracker.snowplow import (
    EmitterConfiguration,
    Snowplow,
    TrackerConfiguration,
    disable_contracts,
    enable_contracts,
)
from snowplow_tracker.subject import Subject
from snowplow_tracker.tracker import Tracker
from snowplow_tracker.version import __version__

if TYPE_CHECKING:
    from snowplow_tracker.outbox import SQLiteEventStore

logger = logging.getLogger("snowplow_tracker")
logger.addHandler(logging.NullHandler())

__all__ = [
    "AsyncEmitter",
    "Emitter",
    "EmitterConfiguration",
    "Event",
    "EventStore",
    "FlushResult",
    "MemoryEventStore",
    "PagePing",
    "PageView",
    "Receipt",
    "SQLiteEventStore",
    "ScreenView",
    "SelfDescribing",
    "SelfDescribingJson",
    "Snowplow",
    "SnowplowTrackerError",
    "Stats",
    "StructuredEvent",
    "Subject",
    "Tracker",
    "TrackerConfiguration",
    "ValidationError",
    "__version__",
    "disable_contracts",
    "enable_contracts",
    "install_signal_handlers",
]


def __getattr__(name: str) -> Any:
    """What not every program needs is imported when it is first asked for: SQLite takes a few milliseconds."""
    if name == "SQLiteEventStore":
        from snowplow_tracker.outbox import SQLiteEventStore

        return SQLiteEventStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
