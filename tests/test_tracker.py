"""What a user of the 2013 API, and of today's, sees: from the call to the wire."""

from __future__ import annotations

import json
import warnings
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import pytest
import responses

from snowplow_tracker import (
    Emitter,
    PageView,
    Receipt,
    SelfDescribingJson,
    Subject,
    Tracker,
    ValidationError,
)
from snowplow_tracker.testing import LocalCollector

ALL_TYPES = {
    "n": None,
    "s": "x",
    "b": True,
    "in_stock$int": 23,
    "price$flt": 4.99,
    "sales_tax": 49.99,
    "check_in$geo": (40.11041, -88.21337),
    "birthday$dt": 3996,
    "registered$tm": 1371129610,
    "registered2$ts": 1371129610,
    "last$tms": 1368454114215,
    "levels$int": [1, 2, 3],
    "path$geo": [(1.0, 2.0), (3.0, 4.0)],
}


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture
def tracker(collector: LocalCollector) -> Iterator[Tracker]:
    with Tracker.hostname(collector.url, event_vendor="com.acme") as made:
        yield made


def sent(collector: LocalCollector, tracker: Tracker, events: int = 1) -> list[dict[str, Any]]:
    assert tracker.flush(), collector.bad
    assert not collector.bad
    found = collector.wait_for(events)
    assert len(found) == events
    return found


# --- the lines of the issue, as they stand ------------------------------------------------------------------------


@responses.activate
def test_a_cloudfront_tracker_sends_gets_to_its_distribution() -> None:
    responses.get("https://d3rkrsqld9gmqf.cloudfront.net/i")
    t1 = Tracker.cloudfront("d3rkrsqld9gmqf")
    t1.set_platform("cnsl")
    with pytest.warns(UserWarning, match="event_vendor"):
        t1.track_unstruct_event("save-game", {"save_id": 23}, 1369330092)
    t1.track_screen_view("Test", "23")
    assert t1.close()

    queries = [urlsplit(call.request.url or "").query for call in responses.calls]
    first, second = ({k: unquote(v) for k, v in (p.split("=") for p in query.split("&"))} for query in queries)
    assert (first["e"], first["p"], first["ue_na"], first["dtm"]) == ("ue", "cnsl", "save-game", "1369330092000")
    assert json.loads(urlsafe_b64decode(first["ue_px"])) == {"save_id": 23}
    assert second["e"] == "ue"
    assert "tna" not in second
    assert all("+" not in query and int(parse_qs(query)["stm"][0]) for query in queries)


@responses.activate
def test_a_hostname_tracker_posts_to_tp2_over_https() -> None:
    responses.post("https://my-company.c.snplow.com/com.snowplowanalytics.snowplow/tp2")
    t2 = Tracker.hostname("my-company.c.snplow.com")
    t2.set_platform("cnsl")
    t2.track_screen_view("Game HUD", "23")
    assert t2.close()
    request = responses.calls[0].request
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    body = json.loads(request.body or b"")
    assert body["schema"] == "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    (event,) = body["data"]
    assert event["p"] == "cnsl"
    assert json.loads(urlsafe_b64decode(event["ue_px"]))["data"] == {
        "schema": "iglu:com.snowplowanalytics.snowplow/screen_view/jsonschema/1-0-0",
        "data": {"name": "Game HUD", "id": "23"},
    }


def test_trackers_are_sandboxed(collector: LocalCollector) -> None:
    one, other = Tracker.hostname(collector.url), Tracker.hostname(collector.url)
    one.set_platform("cnsl").set_user_id("one").set_app_id("app")
    one.track_page_view("http://a.com")
    other.track_page_view("http://b.com")
    assert one.close()
    assert other.close()
    by_url = {event["url"]: event for event in collector.wait_for(2)}
    assert by_url["http://a.com"]["uid"] == "one"
    assert by_url["http://b.com"]["p"] == "pc"
    assert not {"uid", "aid"} & by_url["http://b.com"].keys()


def test_a_struct_event_without_its_optional_arguments(collector: LocalCollector, tracker: Tracker) -> None:
    tracker.track_struct_event("some cat", "save action", None, None, None, 1368725287)
    (event,) = sent(collector, tracker)
    assert (event["se_ca"], event["se_ac"], event["dtm"]) == ("some cat", "save action", "1368725287000")
    assert not {"se_la", "se_pr", "se_va"} & event.keys()


def test_a_struct_event_with_a_property_and_a_value(collector: LocalCollector, tracker: Tracker) -> None:
    tracker.track_struct_event("shop", "add-to-basket", None, "pcs", 2, 1369330909)
    (event,) = sent(collector, tracker)
    assert (event["se_ca"], event["se_ac"], event["se_pr"], event["se_va"]) == ("shop", "add-to-basket", "pcs", "2")


def test_a_screen_view_is_todays_self_describing_event(collector: LocalCollector, tracker: Tracker) -> None:
    tracker.track_screen_view("HUD > Save Game", "screen23", 1368725287)
    (event,) = sent(collector, tracker)
    assert event["data"] == {
        "schema": "iglu:com.snowplowanalytics.snowplow/screen_view/jsonschema/1-0-0",
        "data": {"name": "HUD > Save Game", "id": "screen23"},
    }


@pytest.mark.parametrize("base64", [True, False])
@pytest.mark.parametrize("method", ["post", "get"])
def test_an_unstructured_event_with_a_vendor(collector: LocalCollector, base64: bool, method: Any) -> None:
    with Tracker.hostname(collector.url, event_vendor="com.acme", encode_base64=base64, method=method) as t:
        t.track_unstruct_event(
            "save-game", {"save_id": "4321", "level": 23, "difficultyLevel": "HARD", "dl_content": True}, 1369330929
        )
    (event,) = collector.wait_for(1)
    assert event["data"] == {
        "schema": "iglu:com.acme/save-game/jsonschema/1-0-0",
        "data": {"save_id": "4321", "level": 23, "difficultyLevel": "HARD", "dl_content": True},
    }


def test_every_type_suffix_is_resolved_with_a_vendor(collector: LocalCollector, tracker: Tracker) -> None:
    tracker.track_unstruct_event("all-types", ALL_TYPES)
    (event,) = sent(collector, tracker)
    assert event["data"]["data"] == {
        "n": None,
        "s": "x",
        "b": True,
        "in_stock": 23,
        "price": 4.99,
        "sales_tax": 49.99,
        "check_in": {"latitude": 40.11041, "longitude": -88.21337},
        "birthday": "1980-12-10T00:00:00.000Z",
        "registered": "2013-06-13T13:20:10.000Z",
        "registered2": "2013-06-13T13:20:10.000Z",
        "last": "2013-05-13T14:08:34.215Z",
        "levels": [1, 2, 3],
        "path": [{"latitude": 1.0, "longitude": 2.0}, {"latitude": 3.0, "longitude": 4.0}],
    }


@responses.activate
def test_every_type_suffix_goes_out_as_it_is_without_a_vendor() -> None:
    responses.post("https://c.acme.com/com.snowplowanalytics.snowplow/tp2")
    t = Tracker.hostname("c.acme.com", encode_base64=False)
    same_name_twice = {**ALL_TYPES, "registered$ts": ALL_TYPES["registered2$ts"]}
    with pytest.warns(UserWarning, match="event_vendor"):
        t.track_unstruct_event("all-types", same_name_twice)
    t.close()
    (event,) = json.loads(responses.calls[0].request.body or b"")["data"]
    assert event["ue_na"] == "all-types"
    assert json.loads(event["ue_pr"]) == json.loads(json.dumps(same_name_twice))


def test_a_transaction_leaves_empty_arguments_off(collector: LocalCollector, tracker: Tracker) -> None:
    tracker.track_ecommerce_transaction("order-456", "", 142, 20, 12.99, "London", "", "United Kingdom")
    (event,) = sent(collector, tracker)
    assert {key: value for key, value in event.items() if key.startswith("tr_")} == {
        "tr_id": "order-456",
        "tr_tt": "142",
        "tr_tx": "20",
        "tr_sh": "12.99",
        "tr_ci": "London",
        "tr_co": "United Kingdom",
    }


def test_a_wrong_setting_is_named_with_method_argument_type_and_value(tracker: Tracker) -> None:
    with pytest.raises(ValidationError) as caught:
        tracker.set_color_depth("walrus")  # type: ignore[arg-type]
    message = str(caught.value)
    assert all(word in message for word in ("set_color_depth", "'depth'", "int", "'walrus'", "str"))
    assert isinstance(caught.value, (ValueError, RuntimeError))


def test_a_receipt_unpacks_to_status_and_message(tracker: Tracker) -> None:
    status, message = tracker.track_screen_view("Game Level", str(42))
    assert (status, message) == (True, None)
    receipt = tracker.track_screen_view("Game Level", str(42))
    assert receipt
    assert str(receipt) == receipt.event_id == str(UUID(receipt.event_id))


# --- what every event carries -------------------------------------------------------------------------------------


def test_every_event_carries_what_was_set(collector: LocalCollector) -> None:
    t = Tracker.hostname(collector.url, namespace="ns", app_id="shop")
    t.set_user_id("u1").set_screen_resolution(1920, 1080).set_viewport(800, 600).set_color_depth(24)
    t.set_timezone("Europe/London").set_lang("en").set_platform("mob")
    receipt = t.track_page_view("http://acme.com/", "Home", "http://other.com/")
    (event,) = sent(collector, t)
    t.close()
    assert (
        event.items()
        >= {
            "e": "pv",
            "eid": receipt.event_id,
            "p": "mob",
            "tna": "ns",
            "aid": "shop",
            "uid": "u1",
            "res": "1920x1080",
            "vp": "800x600",
            "cd": "24",
            "tz": "Europe/London",
            "lang": "en",
            "url": "http://acme.com/",
            "page": "Home",
            "refr": "http://other.com/",
        }.items()
    )
    assert event["tv"].startswith("py-")
    assert int(event["dtm"]) <= int(event["stm"])


def test_a_setting_holds_from_the_next_event_on_and_none_clears_it(collector: LocalCollector, tracker: Tracker) -> None:
    for user in ("one", None, "two"):
        tracker.set_user_id(user)
        tracker.track_page_view("http://acme.com/")
    assert [event.get("uid") for event in sent(collector, tracker, 3)] == ["one", None, "two"]


def test_a_subject_that_was_handed_in_stays_live(collector: LocalCollector) -> None:
    subject = Subject().set_user_id("before")
    with Tracker.hostname(collector.url, subject=subject) as t:
        t.track_page_view("http://acme.com/")
        subject.set_user_id("after")
        t.track_page_view("http://acme.com/")
        t.set_lang("de")
    assert [event["uid"] for event in collector.wait_for(2)] == ["before", "after"]
    assert subject.standard_nv_pairs["lang"] == "de"


def test_an_events_own_subject_overrides_key_by_key(collector: LocalCollector, tracker: Tracker) -> None:
    tracker.set_platform("cnsl").set_user_id("tracker").set_lang("en")
    tracker.track_page_view("http://acme.com/", event_subject=Subject().set_user_id("event"))
    (event,) = sent(collector, tracker)
    assert (event["uid"], event["lang"], event["p"]) == ("event", "en", "cnsl")


@pytest.mark.parametrize(
    ("tstamp", "dtm"),
    [
        (1369330092, "1369330092000"),
        (1369330092.123, "1369330092123"),
        (0.001, "1"),
        (datetime(2013, 5, 23, 17, 28, 12, 57000, tzinfo=timezone.utc), "1369330092057"),
        (datetime(2013, 5, 23, 19, 28, 12, 999000, tzinfo=timezone(timedelta(hours=2))), "1369330092999"),
    ],
)
def test_tstamp_overrides_dtm(collector: LocalCollector, tracker: Tracker, tstamp: Any, dtm: str) -> None:
    tracker.track_page_view("http://acme.com/", None, None, tstamp, true_timestamp=1369330092001)
    (event,) = sent(collector, tracker)
    assert (event["dtm"], event["ttm"]) == (dtm, "1369330092001")


def test_contexts_of_the_tracker_and_of_the_call_arrive_together(collector: LocalCollector, tracker: Tracker) -> None:
    level = SelfDescribingJson("iglu:com.acme/level/jsonschema/1-0-0", {"level": 3})
    boss = SelfDescribingJson("iglu:com.acme/boss/jsonschema/1-0-0", {"name": "Üx"})
    tracker.add_context(level)
    tracker.add_context(lambda event: boss if isinstance(event, PageView) else None)
    tracker.track_page_view("http://acme.com/", context=[boss])
    tracker.track_screen_view("HUD")
    tracker.remove_context(level)
    tracker.track_screen_view("HUD")
    first, second, third = sent(collector, tracker, 3)
    assert [entity["data"] for entity in first["contexts"]] == [{"level": 3}, {"name": "Üx"}, {"name": "Üx"}]
    assert [entity["schema"] for entity in second["contexts"]] == [level.schema]
    assert third["contexts"] == []


def test_what_the_caller_changes_later_does_not_change_an_accepted_event(
    collector: LocalCollector, tracker: Tracker
) -> None:
    properties = {"levels": [1]}
    tracker.track_unstruct_event("x", properties)
    properties["levels"].append(2)
    (event,) = sent(collector, tracker)
    assert event["data"]["data"] == {"levels": [1]}


def test_items_share_the_orders_times_currency_and_id(collector: LocalCollector, tracker: Tracker) -> None:
    items = [
        {"sku": "a", "price": Decimal("1.10"), "quantity": 2, "name": "A", "category": "toys"},
        {"sku": "b", "price": 3, "quantity": 1},
    ]
    receipt = tracker.track_ecommerce_transaction("o1", None, 4.1, currency="eur", items=items)
    order, first, second = sent(collector, tracker, 3)
    assert receipt.event_id == order["eid"]
    assert order["tr_cu"] == "EUR"
    assert [item["ti_id"] for item in (first, second)] == ["o1", "o1"]
    assert first["ti_cu"] == second["ti_cu"] == "EUR"
    assert first["ti_pr"] == "1.10"
    assert "ti_nm" not in second
    assert order["dtm"] == first["dtm"] == second["dtm"]


@pytest.mark.parametrize(
    ("items", "named"),
    [
        ("sku", "'items' must be a list"),
        ([{"sku": "a", "price": 1, "quantity": 1}, {"sku": "b", "price": 1}], "items[1]"),
        ([{"sku": "a", "price": 1, "quantity": True}], "items[0]: 'ti_quantity'"),
        ([{"sku": "a", "price": 1, "quantity": 1, "colour": "red"}], "'colour'"),
    ],
)
def test_a_wrong_item_is_named_and_nothing_is_tracked(tracker: Tracker, items: Any, named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        tracker.track_ecommerce_transaction("o1", None, 4.1, items=items)
    assert named in str(caught.value)
    assert tracker.stats().tracked == 0


# --- bad input ----------------------------------------------------------------------------------------------------

BAD_CALLS: list[tuple[str, Callable[[Tracker], Any], tuple[str, ...]]] = [
    ("page_view", lambda t: t.track_page_view(""), ("track_page_view", "'page_url'", "non-empty string", "''")),
    ("page_ping", lambda t: t.track_page_ping("u", min_x=True), ("track_page_ping", "'min_x'", "True (bool)")),
    ("struct", lambda t: t.track_struct_event("a", "b", value=True), ("track_struct_event", "'value'", "True (bool)")),
    ("nan", lambda t: t.track_struct_event("a", "b", value=float("nan")), ("'value'", "finite", "nan")),
    ("inf", lambda t: t.track_struct_event("a", "b", value=Decimal("inf")), ("'value'", "finite")),
    ("bytes", lambda t: t.track_struct_event(b"a", "b"), ("'category'", "bytes", "decode")),
    ("nul", lambda t: t.track_struct_event("a", "b\0"), ("'action'", "control")),
    ("surrogate", lambda t: t.track_struct_event("a", "\ud800"), ("'action'", "surrogate")),
    ("65 bits", lambda t: t.track_struct_event("a", "b", value=2**64), ("'value'", "64 bits")),
    ("long", lambda t: t.track_struct_event("a" * 1001, "b"), ("'category'", "1000")),
    ("property", lambda t: t.track_struct_event("a", "b", property=3), ("'property'", "3 (int)")),
    ("screen", lambda t: t.track_screen_view(None), ("track_screen_view", "'name'", "None")),
    ("naive", lambda t: t.track_screen_view("x", tstamp=datetime(2020, 1, 1)), ("'tstamp'", "aware")),
    ("tstamp ms", lambda t: t.track_screen_view("x", None, 1369330909000), ("'tstamp'", "divide by 1000")),
    ("tstamp list", lambda t: t.track_screen_view("x", None, []), ("'tstamp'", "context=")),
    ("ttm", lambda t: t.track_screen_view("x", true_timestamp=1369330909), ("'true_timestamp'", "multiply by 1000")),
    ("context", lambda t: t.track_screen_view("x", context=[{}]), ("context[0]", "SelfDescribingJson")),
    ("subject", lambda t: t.track_screen_view("x", event_subject={}), ("'event_subject'", "Subject")),
    ("currency", lambda t: t.track_ecommerce_transaction("o", "", 1, currency="euro"), ("'currency'", "'euro'")),
    ("quantity", lambda t: t.track_ecommerce_transaction_item("o", "s", None, None, 1, 1.0), ("'ti_quantity'", "1.0")),
    ("nested", lambda t: t.track_unstruct_event("n", {"a": {"b": 1}}), ("track_unstruct_event", "a")),
    ("suffix", lambda t: t.track_unstruct_event("n", {"a$int": 1.5}), ("a$int", "1.5")),
    ("flt", lambda t: t.track_unstruct_event("n", {"a$flt": 1}), ("a$flt", "1 (int)")),
    ("geo", lambda t: t.track_unstruct_event("n", {"a$geo": (91.0, 0.0)}), ("a$geo", "91")),
    ("unknown", lambda t: t.track_unstruct_event("n", {"a$foo": 1}), ("a$foo",)),
    ("data nan", lambda t: t.track_self_describing_event(described({"a": [float("nan")]})), ("['a'][0]", "NaN")),
    ("data object", lambda t: t.track_self_describing_event(described({"a": object()})), ("['a']", "json_encoder")),
    ("not described", lambda t: t.track_self_describing_event({"a": 1}), ("'event", "SelfDescribingJson")),
    ("not an event", lambda t: t.track({"e": "pv"}), ("Tracker.track()", "'event'")),
    ("resolution", lambda t: t.set_screen_resolution(-1, 5), ("set_screen_resolution", "'width'", "-1")),
    ("viewport", lambda t: t.set_viewport(5, 0), ("set_viewport", "'height'", "0 (int)")),
    ("platform", lambda t: t.set_platform("ps5"), ("set_platform", "cnsl", "'ps5'")),
    ("empty user", lambda t: t.set_user_id(""), ("set_user_id", "'user_id'", "''")),
    ("base64", lambda t: t.set_base64_to("yes"), ("set_base64_to", "'value'", "'yes'")),
    ("app id", lambda t: t.set_app_id(5), ("set_app_id", "'app_id'", "5 (int)")),
    ("too large", lambda t: t.track_self_describing_event(described({"a": "x" * 200_000})), ("max_event_bytes",)),
]


def described(data: Any) -> SelfDescribingJson:
    return SelfDescribingJson("iglu:com.acme/x/jsonschema/1-0-0", data)


@pytest.mark.parametrize(("name", "call", "words"), BAD_CALLS, ids=[name for name, _, _ in BAD_CALLS])
def test_bad_input_is_named_and_leaves_everything_as_it_was(
    collector: LocalCollector, tracker: Tracker, name: str, call: Callable[[Tracker], Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        call(tracker)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert str(caught.value).startswith("Tracker.")
    assert tracker.stats().tracked == 0
    tracker.track_page_view("http://acme.com/")
    (event,) = sent(collector, tracker)
    assert event["e"] == "pv"


@pytest.mark.parametrize(("name", "call", "words"), BAD_CALLS, ids=[name for name, _, _ in BAD_CALLS])
def test_bad_input_never_raises_where_it_is_dropped(
    name: str, call: Callable[[Tracker], Any], words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    t = Tracker.hostname("127.0.0.1:1", on_invalid="drop", event_vendor="com.acme", shutdown_timeout=0)
    outcome = call(t)
    stats = t.stats()
    if isinstance(outcome, Receipt):
        assert not outcome
        assert outcome.message
        assert (stats.tracked, stats.dropped["invalid"]) == (1, 1)
    else:
        assert outcome is t
        assert stats.tracked == 0
    assert len(caplog.records) == 1
    assert "walrus" not in caplog.text
    t.close()


def test_a_get_url_over_8000_bytes_is_refused_at_the_call(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, method="get") as t:
        assert t.track_struct_event("a", "b", "é" * 1200)
        with pytest.raises(ValidationError, match=r"track_struct_event\(\).*8000"):
            t.track_struct_event("a", "b", "é" * 1400)
    assert t.stats().delivered == 1


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("", ("'host'", "''")),
        (None, ("'host'", "None")),
        ("c.acme.com/i", ("path",)),
        ("c acme.com", ("blanks",)),
        ("user:secret@c.acme.com", ("credentials",)),
        ("ftp://c.acme.com", ("http or https",)),
        ("c.acme.com:99999", ("65535",)),
    ],
)
def test_a_host_that_cannot_be_one_says_what_is_meant(host: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        Tracker.hostname(host)
    assert all(word in str(caught.value) for word in ("Tracker.hostname()", *words))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "d3.cloudfront.net", "a b", "-x", None, "a/b"])
def test_a_cloudfront_name_is_the_subdomain_alone(name: Any) -> None:
    with pytest.raises(ValidationError, match=r"Tracker.cloudfront\(\): 'cf_subdomain' must be the subdomain alone"):
        Tracker.cloudfront(name)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("c.acme.com", "https://c.acme.com"),
        ("c.acme.com:8443", "https://c.acme.com:8443"),
        ("http://c.acme.com/", "http://c.acme.com"),
        ("HTTPS://c.acme.com", "https://c.acme.com"),
        ("localhost", "http://localhost"),
        ("127.1.2.3:90", "http://127.1.2.3:90"),
        ("[::1]:90", "http://[::1]:90"),
        ("127.0.0.1.example.com", "https://127.0.0.1.example.com"),
        ("https://localhost", "https://localhost"),
    ],
)
def test_where_a_host_leads(host: str, url: str) -> None:
    (emitter,) = Tracker.hostname(host).emitters
    assert emitter.endpoint == f"{url}/com.snowplowanalytics.snowplow/tp2"
    (emitter,) = Tracker.hostname(host, method="get").emitters
    assert emitter.endpoint == f"{url}/i"


def test_an_unknown_option_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(TypeError, match=r"Tracker.hostname\(\) has no option 'batch_sise'; did you mean 'batch_size'"):
        Tracker.hostname("c.acme.com", batch_sise=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Emitter\(\) has no option 'on_sucess'; did you mean 'on_success'"):
        Emitter("c.acme.com", on_sucess=print)  # type: ignore[call-arg]
    t = Tracker.hostname("c.acme.com")
    with pytest.raises(TypeError, match=r"track_struct_event\(\) has no option 'labl'; did you mean 'label'"):
        t.track_struct_event("a", "b", labl="c")  # type: ignore[call-arg]


def test_the_flat_form_warns_once_at_the_callers_line_and_after_queueing(collector: LocalCollector) -> None:
    t = Tracker.hostname(collector.url)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        t.track_unstruct_event("a", {})
        t.track_unstruct_event("b", {})
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = Tracker.hostname(collector.url)
        with pytest.raises(UserWarning):
            other.track_unstruct_event("a", {})
    assert other.stats().tracked == 1
    t.close()
    other.close()


# --- several emitters ---------------------------------------------------------------------------------------------


def test_each_event_goes_to_every_emitter(collector: LocalCollector) -> None:
    with LocalCollector() as second:
        emitters = [Emitter(collector.url), Emitter(second.url, method="get")]
        with Tracker("ns", emitters) as t:
            receipt = t.track_page_view("http://acme.com/")
            assert t.flush()
        assert collector.wait_for(1)[0]["eid"] == second.wait_for(1)[0]["eid"] == receipt.event_id
        assert t.stats().delivered == 2


def test_an_object_with_input_and_flush_is_an_emitter() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.payloads: list[dict[str, str]] = []
            self.flushed = 0

        def input(self, payload: dict[str, str]) -> None:
            self.payloads.append(payload)

        def flush(self) -> None:
            self.flushed += 1

    recorder = Recorder()
    t = Tracker("ns", recorder)
    assert t.track_page_view("http://acme.com/")
    assert t.flush()
    assert t.emitters == [recorder]
    assert recorder.payloads[0]["url"] == "http://acme.com/"
    assert recorder.flushed == 1


@pytest.mark.parametrize("emitters", [[], "c.acme.com", None, [1]])
def test_what_is_no_emitter_is_refused(emitters: Any) -> None:
    with pytest.raises(ValidationError, match=r"Tracker\(\): 'emitters'"):
        Tracker("ns", emitters)


# --- consent ------------------------------------------------------------------------------------------------------


def test_a_disabled_tracker_takes_nothing_and_discards_what_waits() -> None:
    with Tracker.hostname("127.0.0.1:1", flush_interval=60, shutdown_timeout=0) as t:
        t.track_page_view("http://acme.com/")
        t.disable()
        status, message = t.track_page_view("http://acme.com/")
        assert (status, message) == (False, "tracking is disabled")
        assert t.stats().dropped["disabled"] == 2
        t.enable()
        assert t.track_page_view("http://acme.com/")


def test_a_disabled_tracker_can_keep_what_waits(collector: LocalCollector, tracker: Tracker) -> None:
    tracker.track_page_view("http://acme.com/")
    tracker.disable(keep_queued=True)
    assert not tracker.track_page_view("http://acme.com/")
    sent(collector, tracker, 1)


def test_the_environment_disables_every_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOWPLOW_DISABLED", "1")
    t = Tracker.hostname("127.0.0.1:1")
    t.enable()
    assert not t.track_page_view("http://acme.com/")
    assert t.stats().dropped["disabled"] == 1


def test_an_anonymous_tracker_sends_no_identifier(collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, anonymous=True) as t:
        t.set_user_id("u").set_lang("en")
        t.track_page_view("http://acme.com/", event_subject=Subject().set_ip_address("1.2.3.4"))
    (event,) = collector.wait_for(1)
    assert not {"uid", "ip"} & event.keys()
    assert event["lang"] == "en"
    assert dict(collector.requests[0].headers)["SP-Anonymous"] == "*"
