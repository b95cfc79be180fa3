"""Programs as they are written for the official package 1.1.0, with nothing changed but where they send.

Each is of the shape of one in the official README, examples or integration tests. What they send is judged by the local
collector, as strictly as the pipeline would, and by the published schemas.
"""

from __future__ import annotations

import base64
import copy
import json
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from typing import Any

import attrs
import pytest
import requests
from processes import wait_until
from schemas import complaints
from servers import WAIT_S, HeldTransport

import snowplow_tracker
from snowplow_tracker import AsyncEmitter, Emitter, EmitterConfiguration, SelfDescribingJson, Tracker
from snowplow_tracker.event_store import InMemoryEventStore
from snowplow_tracker.payload import Payload
from snowplow_tracker.testing import LocalCollector

SAVE = SelfDescribingJson("iglu:com.acme/save_game/jsonschema/1-0-0", {"save_id": 4321, "level": 23})
ROOM = SelfDescribingJson("iglu:com.acme/room/jsonschema/1-0-0", {"room": "library"})
ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
Sent = list[dict[str, Any]]


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector(check_data=complaints) as running:
        yield running


# --- whole programs -----------------------------------------------------------------------------------------------


def snowplow_interface(url: str) -> None:
    from snowplow_tracker import EmitterConfiguration, PageView, Snowplow, Subject, TrackerConfiguration

    tracker_config = TrackerConfiguration(encode_base64=True)
    emitter_config = EmitterConfiguration(batch_size=5, custom_retry_codes={500: False, 401: True})
    emitter_config.set_retry_code(403, True)
    subject = Subject().set_platform("srv").set_user_id("user-1")
    Snowplow.create_tracker(
        namespace="ns",
        endpoint=url,
        app_id="app",
        subject=subject,
        tracker_config=tracker_config,
        emitter_config=emitter_config,
    )
    tracker = Snowplow.get_tracker("ns")
    assert tracker is not None
    tracker.track(PageView(page_url="https://www.acme.com", page_title="Home", referrer="https://www.example.com"))
    tracker.flush()
    Snowplow.remove_tracker(tracker)
    Snowplow.reset()


def tracker_interface(url: str) -> None:
    from snowplow_tracker import (
        Emitter,
        PagePing,
        PageView,
        ScreenView,
        SelfDescribing,
        SelfDescribingJson,
        StructuredEvent,
        Subject,
        Tracker,
    )

    e = Emitter(url)
    s = Subject().set_platform("pc")
    s.set_lang("en").set_user_id("test_user")
    t = Tracker(namespace="ns", emitters=e, app_id="aid", encode_base64=True, subject=s)
    print("sending to " + e.endpoint)
    event_subject = Subject()
    event_subject.set_color_depth(10)
    t.track(PageView(page_url="https://www.acme.com", page_title="Home", event_subject=t.subject))
    t.track(
        PagePing(page_url="https://www.acme.com", page_title="Home", min_x=0, max_x=100, event_subject=event_subject)
    )
    link = SelfDescribingJson(
        "iglu:com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1", {"targetUrl": "https://www.acme.com"}
    )
    t.track(SelfDescribing(link, event_subject=t.subject))
    t.track(ScreenView(id_=t.get_uuid(), name="Screen"))
    t.track(StructuredEvent("shop", "add-to-basket", property_="pcs", value=2, true_timestamp=t.get_timestamp()))
    t.flush()


def a_queue_of_ones_own(url: str) -> None:
    """The Redis example's shape: an emitter of the user's, whose events a worker feeds to a real one."""
    from snowplow_tracker import PageView, Tracker
    from snowplow_tracker.emitters import Emitter

    class QueueEmitter:
        def __init__(self) -> None:
            self.queue: list[str] = []

        def input(self, payload: dict[str, Any]) -> None:
            self.queue.append(json.dumps(payload))

        def flush(self) -> None:
            raise AssertionError("sync_flush is there, and was asked for")

        def sync_flush(self) -> None:
            emitter = Emitter(url)
            while self.queue:
                emitter.input(json.loads(self.queue.pop(0)))
            emitter.flush()

    emitter = QueueEmitter()
    t = Tracker("ns", emitter)
    t.track(PageView("https://www.acme.com", "Home"))
    t.track_struct_event("shop", "add-to-basket")
    t.flush()
    assert t.emitters == [emitter]


def payloads_by_hand(url: str) -> None:
    from snowplow_tracker import emitters, payload, subject, tracker

    p = payload.Payload({"e": "pv", "p": "web"})
    p.add("url", "https://www.acme.com")
    p.add("page", "")
    p.add_dict({"tv": "mine-1.0", "refr": None, "eid": tracker.Tracker.get_uuid()})
    p.add("dtm", tracker.Tracker.get_timestamp())
    p.add_json(
        {"schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1", "data": [ROOM.to_json()]},
        True,
        "cx",
        "co",
    )
    p.add_json({}, True, "ue_px", "ue_pr")
    emitter = emitters.Emitter(url)
    emitter.input(p.get())
    emitter.input({**p.nv_pairs, "eid": tracker.Tracker.get_uuid(), **subject.Subject().standard_nv_pairs})
    emitter.sync_flush()


def several_emitters(url: str) -> None:
    from snowplow_tracker import AsyncEmitter, Emitter, Subject, Tracker

    t = Tracker("ns", [Emitter(url, batch_size=2), AsyncEmitter(url, thread_count=2, method="get")])
    t.add_emitter(Emitter(url, buffer_size=3))
    t.set_subject(Subject().set_user_id("user-1"))
    t.track_page_view("https://www.acme.com")
    t.flush(is_async=True)
    t.flush(True)
    t.flush()


PROGRAMS: list[tuple[Callable[[str], None], list[dict[str, Any]]]] = [
    (snowplow_interface, [{"e": "pv", "tna": "ns", "aid": "app", "p": "srv", "uid": "user-1", "page": "Home"}]),
    (
        tracker_interface,
        [
            {"e": "pv", "uid": "test_user", "lang": "en", "url": "https://www.acme.com"},
            {"e": "pp", "uid": "test_user", "cd": "10", "pp_mix": "0", "pp_max": "100"},
            {"e": "ue"},
            {"e": "ue"},
            {"e": "se", "se_pr": "pcs", "se_va": "2"},
        ],
    ),
    (a_queue_of_ones_own, [{"e": "pv", "page": "Home"}, {"e": "se", "se_ca": "shop"}]),
    (payloads_by_hand, [{"tv": "mine-1.0", "p": "web"}, {"tv": "mine-1.0", "p": "pc", "contexts": [ROOM.to_json()]}]),
    (several_emitters, [{"e": "pv", "uid": "user-1"}] * 3),
]


@pytest.mark.parametrize(("program", "sent"), PROGRAMS, ids=[program.__name__ for program, _ in PROGRAMS])
def test_a_program_runs_with_only_the_endpoint_changed(
    collector: LocalCollector, program: Callable[[str], None], sent: Sent
) -> None:
    program(collector.url)
    events = collector.wait_for(len(sent))
    assert collector.bad == []
    assert [{key: event.get(key) for key in wanted} for event, wanted in zip(events, sent, strict=True)] == sent


# --- call by call: the shapes of the integration tests ------------------------------------------------------------


def described(event: dict[str, Any]) -> Any:
    return event["data"]["data"]


Calls = Callable[[Tracker], object]
CASES: list[tuple[str, Calls, Sent]] = [
    (
        "page view",
        lambda t: t.track_page_view("http://acme.com", "Some title", "http://example.com"),
        [{"e": "pv", "url": "http://acme.com", "page": "Some title", "refr": "http://example.com"}],
    ),
    (
        "page ping",
        lambda t: t.track_page_ping("http://acme.com", "Some title", "http://example.com", 0, 100, 0, 500),
        [{"e": "pp", "pp_mix": "0", "pp_max": "100", "pp_miy": "0", "pp_may": "500"}],
    ),
    (
        "order with items",
        lambda t: t.track_ecommerce_transaction(
            order_id="6a8078be",
            total_value=35,
            city="London",
            currency="GBP",
            items=[{"sku": "pbz0026", "price": 20, "quantity": 1}, {"sku": "pbz0038", "price": 15, "quantity": 1}],
        ),
        [
            {"e": "tr", "tr_id": "6a8078be", "tr_tt": "35", "tr_ci": "London", "tr_cu": "GBP"},
            {"e": "ti", "ti_id": "6a8078be", "ti_sk": "pbz0026", "ti_pr": "20", "ti_qu": "1", "ti_cu": "GBP"},
            {"e": "ti", "ti_id": "6a8078be", "ti_sk": "pbz0038", "ti_pr": "15", "ti_qu": "1", "ti_cu": "GBP"},
        ],
    ),
    (
        "screen view",
        lambda t: t.track_screen_view("Game HUD 2", id_="Hello!"),
        [
            {
                "e": "ue",
                "data": {
                    "schema": "iglu:com.snowplowanalytics.snowplow/screen_view/jsonschema/1-0-0",
                    "data": {"name": "Game HUD 2", "id": "Hello!"},
                },
            }
        ],
    ),
    (
        "mobile screen view",
        lambda t: t.track_mobile_screen_view("Game HUD 2", ID),
        [
            {
                "e": "ue",
                "data": {
                    "schema": "iglu:com.snowplowanalytics.mobile/screen_view/jsonschema/1-0-0",
                    "data": {"name": "Game HUD 2", "id": ID},
                },
            }
        ],
    ),
    (
        "struct event",
        lambda t: t.track_struct_event("Ecomm", "add-to-basket", "dog-skateboarding-video", "hd", 13.99),
        [
            {
                "e": "se",
                "se_ca": "Ecomm",
                "se_ac": "add-to-basket",
                "se_la": "dog-skateboarding-video",
                "se_pr": "hd",
                "se_va": "13.99",
            }
        ],
    ),
    (
        "self-describing event",
        lambda t: t.track_self_describing_event(event_json=SAVE, context=[ROOM]),
        [{"e": "ue", "data": SAVE.to_json(), "contexts": [ROOM.to_json()]}],
    ),
    (
        "unstructured event",
        lambda t: (
            t.track_unstruct_event(SAVE, context=[ROOM]),
            t.track_unstruct_event(event_json=SAVE, context=[ROOM]),
        ),
        2 * [{"e": "ue", "data": SAVE.to_json(), "contexts": [ROOM.to_json()]}],
    ),
    (
        "who and what device",
        lambda t: (
            t.subject.set_platform("mob")
            .set_user_id("user12345")
            .set_screen_resolution(100, 200)
            .set_viewport(50, 60)
            .set_color_depth(24)
            .set_timezone("Europe London")
            .set_lang("en")
            .set_domain_user_id("4616bfb38f872d16")
            .set_domain_session_id(ID)
            .set_domain_session_index(1)
            .set_ip_address("255.255.255.255")
            .set_useragent("Mozilla/5.0 (X11)")
            .set_network_user_id("fbc6c76c-bce5-43ce-8d5a-31c5"),
            t.track_page_view("localhost", "local host"),
        ),
        [
            {
                "p": "mob",
                "uid": "user12345",
                "res": "100x200",
                "vp": "50x60",
                "cd": "24",
                "tz": "Europe London",
                "lang": "en",
                "duid": "4616bfb38f872d16",
                "sid": ID,
                "vid": "1",
                "ip": "255.255.255.255",
                "ua": "Mozilla/5.0 (X11)",
                "tnuid": "fbc6c76c-bce5-43ce-8d5a-31c5",
            }
        ],
    ),
    (
        "an event's own subject",
        lambda t: t.track_page_view(
            "localhost", "local host", event_subject=snowplow_tracker.Subject().set_user_id("other")
        ),
        [{"uid": "other", "p": "pc"}],
    ),
    (
        "text of the whole world",
        lambda t: t.track_struct_event("Sp\u00e9cial", "\u200bκόσμε\u2026", "𝄞 😀 שלום"),
        [{"se_ca": "Sp\u00e9cial", "se_ac": "\u200bκόσμε\u2026", "se_la": "𝄞 😀 שלום"}],
    ),
]


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("encode_base64", [True, False])
@pytest.mark.parametrize("kind", [Emitter, AsyncEmitter])
def test_every_call_arrives(collector: LocalCollector, kind: Any, encode_base64: bool, method: str) -> None:
    emitter = kind(f"127.0.0.1:{collector.port}", method=method)
    for name, call, sent in CASES:
        collector.reset()
        call(Tracker("namespace", [emitter], snowplow_tracker.Subject(), "app", encode_base64))
        emitter.sync_flush()
        events = collector.wait_for(len(sent))
        assert collector.bad == [], name
        found = [{key: event.get(key) for key in wanted} for event, wanted in zip(events, sent, strict=True)]
        assert found == sent, name
        key = {True: ("ue_px", "cx"), False: ("ue_pr", "co")}[encode_base64]
        assert all(any(k in event for k in key) for event in events if event["e"] == "ue"), name
    emitter.close()


# --- an emitter's arguments ---------------------------------------------------------------------------------------

ARGUMENTS = [
    "endpoint",
    "protocol",
    "port",
    "method",
    "batch_size",
    "on_success",
    "on_failure",
    "byte_limit",
    "request_timeout",
    "max_retry_delay_seconds",
    "buffer_capacity",
    "custom_retry_codes",
    "event_store",
    "session",
]
ASYNC_ARGUMENTS = [*ARGUMENTS[:7], "thread_count", *ARGUMENTS[7:]]
TRACKER_ARGUMENTS = ["namespace", "emitters", "subject", "app_id", "encode_base64", "json_encoder"]
CONFIGURATION = [name for name in ARGUMENTS[4:] if name != "max_retry_delay_seconds"]
ORDER = {Emitter: ARGUMENTS, AsyncEmitter: ASYNC_ARGUMENTS}


def made(kind: Any, collector: LocalCollector, **given: Any) -> Any:
    """An emitter whose official arguments all come by position."""
    values = {"endpoint": "127.0.0.1", "protocol": "http", "port": collector.port, "method": "post", **given}
    if kind is AsyncEmitter:
        values.setdefault("thread_count", 1)
    values.setdefault("max_retry_delay_seconds", 60)
    return kind(*(values.get(name) for name in ORDER[kind]))


def positional(callable_: Any, number: int) -> list[str]:
    parameters = list(signature(callable_).parameters.values())[:number]
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
    return [parameter.name for parameter in parameters]


def test_the_arguments_stand_in_the_official_order() -> None:
    assert positional(Emitter, len(ARGUMENTS)) == ARGUMENTS
    assert positional(AsyncEmitter, len(ASYNC_ARGUMENTS)) == ASYNC_ARGUMENTS
    assert positional(Tracker, len(TRACKER_ARGUMENTS)) == TRACKER_ARGUMENTS
    values = [5, print, repr, 1000, 2.5, 50, {500: False}, InMemoryEventStore(), requests.Session()]
    config = EmitterConfiguration(*values)
    assert [getattr(config, name) for name in CONFIGURATION] == values


KINDS = pytest.mark.parametrize("kind", [Emitter, AsyncEmitter])


def tracked(emitter: Any, count: int = 1) -> list[bool]:
    tracker = Tracker("ns", emitter)
    return [bool(tracker.track_struct_event("test", "track", None, str(number))) for number in range(count)]


@KINDS
def test_protocol_port_and_method_say_where_to_and_how(collector: LocalCollector, kind: Any) -> None:
    emitter = made(kind, collector, method="get")
    assert emitter.endpoint == f"{collector.url}/i"
    tracked(emitter)
    assert emitter.flush()
    assert collector.requests[0].method == "GET"
    assert kind("c.acme.com", "http", 8080).endpoint == "http://c.acme.com:8080/com.snowplowanalytics.snowplow/tp2"


@KINDS
@pytest.mark.parametrize(("setting", "value"), [("batch_size", 2), ("byte_limit", 600)])
def test_batch_size_and_byte_limit_bound_a_request(
    collector: LocalCollector, kind: Any, setting: str, value: int
) -> None:
    emitter = made(kind, collector, **{setting: value})
    tracked(emitter, 6)
    assert emitter.flush()
    assert len(collector.wait_for(6)) == 6
    sizes = [len(json.loads(request.body)["data"]) for request in collector.requests]
    assert max(sizes) == 2


@KINDS
def test_callbacks_hear_of_payload_dicts_once(collector: LocalCollector, kind: Any) -> None:
    sent: list[Any] = []
    failed: list[tuple[int, Any]] = []
    emitter = made(
        kind,
        collector,
        batch_size=2,
        on_success=sent.append,
        on_failure=lambda count, events: failed.append((count, events)),
        max_retry_delay_seconds=0,
    )
    collector.fail(503, times=3)
    tracked(emitter, 2)
    assert emitter.flush()
    assert (len(sent), failed) == (1, [])
    assert [payload["se_pr"] for payload in sent[0]] == ["0", "1"]
    collector.fail(401)
    tracked(emitter, 2)
    assert emitter.flush()
    assert len(sent) == 1
    assert [(count, [event["se_pr"] for event in events]) for count, events in failed] == [(0, ["0", "1"])]
    assert all(isinstance(value, str) for value in failed[0][1][0].values())


@KINDS
@pytest.mark.parametrize("timeout", [0.1, (5, 0.1)])
def test_request_timeout_is_a_number_or_a_pair(collector: LocalCollector, kind: Any, timeout: Any) -> None:
    emitter = made(kind, collector, request_timeout=timeout, max_retry_delay_seconds=0)
    collector.black_hole()
    tracked(emitter)
    emitter.async_flush()
    wait_until(lambda: emitter.stats().retries >= 1, WAIT_S)
    collector.recover()
    assert emitter.flush(WAIT_S)
    assert emitter.stats().delivered == 1
    emitter.close()


@KINDS
def test_buffer_capacity_bounds_what_is_held_and_batch_size_with_it(collector: LocalCollector, kind: Any) -> None:
    emitter = made(kind, collector, buffer_capacity=3, batch_size=10)
    collector.fail(503)
    assert tracked(emitter, 5) == [True, True, True, False, False]
    assert emitter.settings.batch_size == 3
    assert emitter.stats().dropped["overflow"] == 2
    emitter.close(0)


@KINDS
def test_custom_retry_codes_rule_over_the_standard_ones(collector: LocalCollector, kind: Any) -> None:
    emitter = made(kind, collector, custom_retry_codes={503: False, 401: True}, max_retry_delay_seconds=0)
    collector.fail(503, times=1)
    tracked(emitter)
    assert emitter.flush()
    assert emitter.stats().dropped["refused"] == 1
    collector.fail(401, times=1)
    tracked(emitter)
    assert emitter.flush()
    assert emitter.stats().delivered == 1
    emitter.close()


@KINDS
def test_a_store_and_a_session_of_ones_own_are_used(collector: LocalCollector, kind: Any) -> None:
    class Counting(requests.Session):
        asked = 0

        def request(self, *arguments: Any, **options: Any) -> requests.Response:
            self.asked += 1
            return super().request(*arguments, **options)

    store, session = InMemoryEventStore(buffer_capacity=2, logger=snowplow_tracker.logger), Counting()
    emitter = made(kind, collector, event_store=store, session=session)
    emitter.set_flush_timer(60)
    assert tracked(emitter, 3) == [True, True, False]
    assert store.size() == 2
    emitter.cancel_flush_timer()
    assert emitter.flush()
    assert (store.size(), session.asked) == (0, 1)
    emitter.close()
    session.close()


def test_thread_count_is_how_many_requests_run_at_once(collector: LocalCollector) -> None:
    emitter = made(AsyncEmitter, collector, method="get", thread_count=3)
    tracked(emitter, 6)
    assert emitter.flush()
    assert len([t for t in threading.enumerate() if t.name == "snowplow-emitter"]) >= 3
    emitter.close()


@KINDS
def test_set_flush_timer_says_how_long_an_event_may_wait(collector: LocalCollector, kind: Any) -> None:
    emitter = kind(collector.url, batch_size=100, flush_interval=600)
    emitter.set_flush_timer(timeout=0.01)
    tracked(emitter)
    collector.wait_for(1)
    emitter.cancel_flush_timer()
    tracked(emitter)
    emitter.set_flush_timer(0.01)  # also for what waits already
    collector.wait_for(2)
    emitter.close()


def test_a_setting_of_an_emitter_cannot_be_changed_in_silence() -> None:
    emitter = Emitter("127.0.0.1:1")
    with pytest.raises(AttributeError, match=r"Emitter.on_success is a setting: .* Emitter\(…, on_success=…\)"):
        emitter.on_success = print
    with pytest.raises(AttributeError):
        emitter.endpoint = "elsewhere"  # type: ignore[misc]


def test_a_store_of_the_official_shape_is_refused_by_name() -> None:
    class Theirs:
        def add_event(self, payload: dict[str, Any]) -> bool:
            return True

        def get_events_batch(self) -> Sequence[dict[str, Any]]:
            return []

    with pytest.raises(ValueError, match=r"'event_store' must be an event store.*official.*subclass MemoryEventStore"):
        Emitter("127.0.0.1:1", event_store=Theirs())


# --- emitters that see what passes --------------------------------------------------------------------------------


class Watching(Emitter):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen: Sent = []

    def input(self, payload: Any) -> str | None:
        self.seen.append(payload)
        return super().input({**payload, "se_la": "seen"})


def test_an_emitter_with_an_input_of_its_own_sees_and_may_change_every_event() -> None:
    transport = HeldTransport()
    emitter = Watching(transport=transport, buffer_capacity=1)
    with Tracker("ns", emitter) as t:
        receipt = t.track_struct_event("a", "b")
        assert tuple(t.track_struct_event("a", "c")) == (False, "the buffer is full")
        (sent,) = transport.wait_for_request()
        assert (sent["se_la"], sent["eid"]) == ("seen", receipt.event_id)
        transport.answer_all()
        assert t.flush()
        assert t.stats().tracked == 2
    assert [payload["se_ac"] for payload in emitter.seen] == ["b", "c"]


def test_an_input_that_raises_makes_a_false_receipt() -> None:
    class Broken(Emitter):
        def input(self, payload: Any) -> str | None:
            raise OSError("no")

    t = Tracker("ns", Broken("127.0.0.1:1"))
    assert tuple(t.track_struct_event("a", "b")) == (False, "Broken.input() raised OSError")


# --- what does not work, and says so ------------------------------------------------------------------------------


def test_calls_do_not_chain_and_the_error_says_so() -> None:
    with Tracker.hostname("127.0.0.1:1", shutdown_timeout=0) as t:
        receipt: Any = t.track_struct_event("a", "b")
    for name in ("track_page_view", "flush", "set_user_id"):
        with pytest.raises(AttributeError, match=rf"do not chain, write a line for each: tracker.{name}\(…\)"):
            getattr(receipt, name)
    with pytest.raises(AttributeError, match=r"'Receipt' object has no attribute 'status'$"):
        receipt.status  # noqa: B018
    assert copy.copy(receipt).event_id == pickle.loads(pickle.dumps(receipt)).event_id == receipt.event_id


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (snowplow_tracker.PageView("https://acme.com"), "page_title"),
        (snowplow_tracker.StructuredEvent("a", "b"), "property_"),
        (snowplow_tracker.ScreenView(ID, "HUD"), "previous_name"),
        (SAVE, "data"),
    ],
)
def test_events_are_frozen_and_the_error_says_how_to_get_another(thing: Any, name: str) -> None:
    value = {"a": 1} if thing is SAVE else "other"
    line = rf"{type(thing).__name__}\.{name} cannot be set: .* attrs.evolve\({type(thing).__name__}\(…\), {name}=…\)"
    with pytest.raises(AttributeError, match=line):
        setattr(thing, name, value)
    other = attrs.evolve(thing, **{name: value})
    assert getattr(other, name) == value != getattr(thing, name)


def test_an_event_of_no_kind_is_not_tracked() -> None:
    with pytest.raises(ValueError, match=r"Tracker.track\(\): 'event' must be an event, such as PageView"):
        Tracker.hostname("127.0.0.1:1").track(snowplow_tracker.Event())


# --- names --------------------------------------------------------------------------------------------------------

NAMES = {
    "": "Subject Emitter AsyncEmitter SelfDescribingJson Tracker EmitterConfiguration TrackerConfiguration Snowplow "
    "disable_contracts enable_contracts EventStore Event PageView PagePing SelfDescribing StructuredEvent ScreenView "
    "logger __version__",
    "tracker": "Tracker Subject SelfDescribingJson Event PageView PagePing SelfDescribing StructuredEvent",
    "emitters": "Emitter AsyncEmitter",
    "subject": "Subject DEFAULT_PLATFORM",
    "events": "Event PageView PagePing SelfDescribing StructuredEvent ScreenView",
    "payload": "Payload",
    "self_describing_json": "SelfDescribingJson",
    "event_store": "EventStore InMemoryEventStore",
    "snowplow": "Snowplow Tracker Emitter EmitterConfiguration TrackerConfiguration",
}


@pytest.mark.parametrize("module", NAMES)
def test_a_name_is_found_where_the_official_package_has_it(module: str) -> None:
    found = getattr(snowplow_tracker, module) if module else snowplow_tracker
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


def test_contracts_can_be_turned_off_and_nothing_changes() -> None:
    snowplow_tracker.disable_contracts()
    with pytest.raises(ValueError, match="'page_url'"):
        Tracker.hostname("127.0.0.1:1").track_page_view("")
    snowplow_tracker.enable_contracts()


def test_a_payload_is_its_pairs() -> None:
    payload = Payload()
    payload.add("a", "")
    payload.add("b", None)
    payload.add("c", 5)
    payload.add_json({"κ": 1}, False, "x", "y")
    payload.add_json({"d": object()}, True, "z", "y", json_encoder=lambda value: "an object")
    assert payload.get() == payload.nv_pairs
    assert (payload.get()["c"], json.loads(payload.get()["y"])) == (5, {"κ": 1})
    assert json.loads(base64.urlsafe_b64decode(payload.get()["z"])) == {"d": "an object"}
