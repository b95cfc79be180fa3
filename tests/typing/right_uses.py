"""A user's program, as type checkers see it: nothing to complain about, and every type what the reference says.

It is checked, never run; `tests/test_typing.py` hands it to mypy --strict and to pyright in strict mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import requests
from typing_extensions import assert_type

from snowplow_tracker import (
    AsyncEmitter,
    Emitter,
    Event,
    EventStore,
    FlushResult,
    MemoryEventStore,
    PagePing,
    PageView,
    Receipt,
    ScreenView,
    SelfDescribing,
    SelfDescribingJson,
    SnowplowTrackerError,
    Stats,
    StructuredEvent,
    Subject,
    Tracker,
    ValidationError,
    install_signal_handlers,
)
from snowplow_tracker.catalogue import AddToCart, FormChange, LinkClick, SiteSearch, Timing
from snowplow_tracker.testing import LocalCollector
from snowplow_tracker.transport import Result, Transport
from snowplowtracker.tracker import Tracker as TrackerOf2013


def delivered(events: list[dict[str, str]]) -> None:
    print(len(events))


def given_up(sent: int, events: list[dict[str, str]]) -> None:
    print(sent, events[0]["eid"])


def make_trackers() -> Tracker:
    assert_type(Tracker.cloudfront("d3rkrsqld9gmqf"), Tracker)
    assert_type(TrackerOf2013.hostname("collector.acme.com"), Tracker)
    tracker = Tracker.hostname(
        "collector.acme.com",
        namespace="client",
        app_id="salvage",
        subject=Subject().set_platform("pc").set_user_id("player-7"),
        encode_base64=False,
        json_encoder=str,
        event_vendor="com.acme",
        on_invalid="drop",
        method="get",
        batch_size=100,
        on_success=delivered,
        on_failure=given_up,
        request_timeout=(1.0, 2),
        custom_retry_codes={404: False},
        session=requests.Session(),
        overflow="drop_oldest",
        threads=4,
        max_event_age_s=None,
        anonymous=True,
    )
    return tracker.set_platform("pc").set_color_depth(24).set_viewport(960, 540).set_user_id(None)


def make_emitters() -> Tracker:
    emitter = Emitter("collector.acme.com", "https", 443, "post", 100, delivered, given_up, buffer_capacity=50_000)
    other = AsyncEmitter("collector.acme.com", thread_count=2)
    assert_type(emitter.flush(1.0), FlushResult)
    assert_type(emitter.close(), FlushResult)
    return Tracker("client", [emitter, other], Subject(), "salvage", True, event_vendor="com.acme")


def track(tracker: Tracker) -> None:
    contexts = [SelfDescribingJson("iglu:com.acme/level/jsonschema/1-0-0", {"level": 3})]
    assert_type(tracker.track_page_view("https://acme.com/", "Home", None, 1763900000.5), Receipt)
    assert_type(tracker.track_page_ping("https://acme.com/", min_x=0, max_y=600), Receipt)
    assert_type(tracker.track_screen_view("Title", "screen1", context=contexts), Receipt)
    assert_type(
        tracker.track_struct_event("shop", "buy", None, "pcs", Decimal("2"), datetime.now(timezone.utc)), Receipt
    )
    assert_type(tracker.track_unstruct_event("save-game", {"level$int": 3}, true_timestamp=1763900000000), Receipt)
    assert_type(tracker.track_ecommerce_transaction("order-1", None, 9.98, items=[{"sku": "potion"}]), Receipt)
    assert_type(tracker.track_self_describing_event(contexts[0], event_subject=Subject()), Receipt)
    events: Sequence[Event] = [
        PageView("https://acme.com/"),
        PagePing("https://acme.com/"),
        ScreenView(id_="4f3c8a1e-5b0d-4d43-9a5c-2f6f0e7d9b11", name="Title"),
        StructuredEvent("shop", "buy", value=2),
        SelfDescribing(contexts[0]),
        LinkClick("https://acme.com/"),
        AddToCart("potion", 2),
        SiteSearch(["sword"], filters={"rare": True}),
        FormChange("login", "name", "INPUT", "ann"),
        Timing("loading", "level 3", 120),
    ]
    for event in events:
        assert_type(tracker.track(event), Receipt)


def outcomes(tracker: Tracker) -> int:
    receipt = tracker.track_screen_view("Title")
    assert_type(receipt.event_id, str)
    assert_type(receipt.message, str | None)
    status, message = receipt
    print(bool(receipt), status, message)
    stats = tracker.stats()
    assert_type(stats, Stats)
    assert_type(stats.dropped["overflow"], int)
    result = tracker.flush(timeout=5)
    return result.delivered + result.dropped + result.remaining if result else stats.queued


async def from_a_coroutine(tracker: Tracker) -> None:
    assert_type(await tracker.aflush(), FlushResult)
    assert_type(await tracker.aclose(), FlushResult)


def in_a_test() -> None:
    with LocalCollector() as collector, Tracker.hostname(collector.url) as tracker:
        tracker.track_screen_view("Title")
        assert_type(collector.wait_for(1), list[dict[str, Any]])
        collector.assert_tracked(e="ue", data={"name": "Title"}, contexts=["iglu:com.acme/level/jsonschema/1-0-0"])


class Printing:
    """A transport of the user's own."""

    address = "stdout"
    max_batch: int | None = 100

    def send(self, events: Sequence[bytes], remaining_s: float | None) -> Result:
        return Result(status=200)

    def surely_takes(self) -> int | None:
        return None

    def why_too_large(self, fragment: bytes) -> str | None:
        return None

    def close(self) -> None: ...

    def after_fork(self) -> None: ...


def own_parts() -> Tracker:
    transport: Transport = Printing()
    store: EventStore = MemoryEventStore(100, 1_000_000)
    return Tracker("client", Emitter(transport=transport, event_store=store))


def errors(tracker: Tracker) -> None:
    try:
        tracker.track_page_view("")
    except ValidationError as error:
        assert_type(error.where, str)
        as_before: RuntimeError = error
        ours: SnowplowTrackerError = error
        print(as_before, ours)
    undo = install_signal_handlers()
    assert_type(undo(), None)
