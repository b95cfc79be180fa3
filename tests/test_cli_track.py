"""``snowplow-tracker track``: an event from a shell arrives as the library would send it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from command import Ended, Shell
from faults import refused_port

from snowplow_tracker.testing import LocalCollector

SAVE_GAME = "iglu:com.acme/save_game/jsonschema/1-0-0"
USER = {"schema": "iglu:com.acme/user/jsonschema/1-0-0", "data": {"type": "tester"}}


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def track(shell: Shell, collector: LocalCollector, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs ``track``, at the test's collector."""
    monkeypatch.setenv("SNOWPLOW_COLLECTOR", collector.url)
    return lambda *arguments: shell("track", *arguments)


def type_in(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="utf-8"))


EVENTS: list[tuple[list[str], dict[str, Any]]] = [
    (
        ["page", "https://acme.com/a b", "--title", "Home", "--referrer", "https://acme.com/"],
        {"e": "pv", "page": "Home"},
    ),
    (["page", "--json", '{"page_url": "https://acme.com/"}'], {"e": "pv", "url": "https://acme.com/", "page": None}),
    (
        ["struct", "shop", "add", "--label", "sword", "--property", "pcs", "--value", "2"],
        {"e": "se", "se_ca": "shop", "se_ac": "add", "se_la": "sword", "se_pr": "pcs", "se_va": "2"},
    ),
    (["struct", "shop", "--json", '{"action": "add", "value": 2.5}'], {"se_ac": "add", "se_va": "2.5"}),
    (["screen", "HUD > Save Game", "--id", "screen23"], {"data": {"name": "HUD > Save Game", "id": "screen23"}}),
    (
        ["unstruct", "save-game", "--event-vendor", "com.acme", "--json", '{"level$int": 23, "hard": true}'],
        {"data": {"schema": "iglu:com.acme/save-game/jsonschema/1-0-0", "data": {"level": 23, "hard": True}}},
    ),
    (["unstruct", "started", "--event-vendor", "com.acme"], {"data": {"data": {}}}),
    (["self-describing", SAVE_GAME, "--json", '{"slot": 1}'], {"data": {"schema": SAVE_GAME, "data": {"slot": 1}}}),
    (["self-describing", "--json", json.dumps({"schema": SAVE_GAME, "data": {"slot": 2}})], {"data": {"slot": 2}}),
]


@pytest.mark.parametrize(("arguments", "expected"), EVENTS, ids=lambda value: " ".join(value)[:40])
def test_each_kind_of_event_arrives(
    track: Any, collector: LocalCollector, arguments: list[str], expected: dict[str, Any]
) -> None:
    ended: Ended = track(*arguments)
    assert ended.status == 0, ended.err
    (event,) = collector.assert_tracked(**expected)
    assert ended.out == f"delivered {event['eid']} to {collector.url}\n"
    assert collector.bad == []


def test_what_goes_with_every_event_is_set_by_options(track: Any, collector: LocalCollector) -> None:
    ended = track(
        "screen", "Shop", "--app-id", "salvage", "--user-id", "u1", "--platform", "cnsl", "--namespace", "ns",
        "--tstamp", "1763900000.5", "--true-timestamp", "1763900000000",
        "--context", json.dumps(USER), "--context", json.dumps({**USER, "data": {"type": "second"}}),
    )  # fmt: skip
    assert ended.status == 0, ended.err
    collector.assert_tracked(
        aid="salvage", uid="u1", p="cnsl", tna="ns", dtm="1763900000500", ttm="1763900000000",
        contexts=[USER, {"data": {"type": "second"}}],
    )  # fmt: skip


def test_get_is_sent_by_get(track: Any, collector: LocalCollector) -> None:
    assert track("struct", "a b", "c&d", "--method", "get").status == 0
    collector.assert_tracked(se_ca="a b", se_ac="c&d")
    assert [request.method for request in collector.requests] == ["GET"]


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        (["page", "--json", "-"], {"page_url": "https://acme.com/é"}),
        (["unstruct", "x", "--event-vendor", "com.acme", "--json", "-"], {"a": "é"}),
        (["self-describing", SAVE_GAME, "--json", "-"], {"a": "é"}),
        (["self-describing", "--json", "-"], {"schema": SAVE_GAME, "data": {"a": "é"}}),
    ],
)
def test_json_is_read_from_stdin(
    track: Any,
    collector: LocalCollector,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    typed: dict[str, Any],
) -> None:
    type_in(monkeypatch, json.dumps(typed, ensure_ascii=False).encode())
    assert track(*arguments).status == 0
    assert len(collector.wait_for(1)) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["struct", "shop"], "'action' is missing"),
        (["struct", "shop", ""], "'action' must be a non-empty string"),
        (["struct", "a", "b", "--value", "two"], "'two' is not a number"),
        (["struct", "a", "b", "--value", "nan"], "'value' must be a finite number"),
        (["page", "--json", "{"], "--json must be JSON"),
        (["page", "--json", "[" * 100_000], "--json must be JSON"),
        (["page", "--json", "[]"], "--json must be a JSON object, got list"),
        (["page", "--json", '{"url": "x"}'], "--json has no argument 'url'; there are page_url, page_title, referrer"),
        (["screen", "x", "--tstamp", "1763900000000"], "'tstamp' must be in seconds since the epoch"),
        (["screen", "x", "--context", "{}"], '--context must be a JSON object of "schema" and "data"'),
        (["screen", "x", "--platform", "mobile"], "'mobile' is not one of"),
        (["unstruct", "x", "--event-vendor", "com.acme", "--json", '{"a": {}}'], "nested data needs"),
        (["self-describing", "iglu:acme", "--json", "{}"], "'schema' must be an Iglu URI"),
        (["self-describing", SAVE_GAME], "The data is missing: give it with --json"),
        (["page", "x", "--collector", "http://a/b"], "--collector must be the collector's host"),
    ],
)
def test_what_is_not_valid_is_told_and_nothing_is_sent(
    track: Any, collector: LocalCollector, arguments: list[str], error: str
) -> None:
    ended: Ended = track(*arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err.startswith("Error: ")
    assert error in ended.err
    assert "Traceback" not in ended.err
    assert collector.requests == []


def test_bytes_on_stdin_that_are_no_text_are_told(track: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b'{"page_url": "\xff\xfe"}')
    ended: Ended = track("page", "--json", "-")
    assert ended.status == 2
    assert "--json must be JSON" in ended.err


def test_an_event_that_the_collector_refuses_is_status_3(track: Any, collector: LocalCollector) -> None:
    collector.fail(400)
    ended: Ended = track("screen", "Shop")
    assert ended.status == 3
    assert f"Error: {collector.url} refuses the event." in ended.err
    assert f"snowplow-tracker doctor {collector.url}" in ended.err


def test_a_collector_that_is_back_in_time_gets_the_event(track: Any, collector: LocalCollector) -> None:
    collector.fail(503, times=2)
    ended: Ended = track("screen", "Shop")
    assert ended.status == 0
    assert "is lost: it answers 503" in ended.err


def test_a_collector_that_is_away_is_status_1(shell: Shell) -> None:
    with refused_port() as url:
        ended = shell("track", "screen", "Shop", "--collector", url, "--timeout", "0.3")
    assert ended.status == 1
    assert f"Error: The event could not be delivered to {url} within 0.3 s." in ended.err
    assert f"snowplow-tracker doctor {url}" in ended.err


def test_the_form_of_2013_is_sent_with_a_warning(track: Any, collector: LocalCollector) -> None:
    ended: Ended = track("unstruct", "save-game", "--json", '{"slot": 1}')
    assert ended.status == 0
    assert ended.err == "Warning: without --event-vendor, today's pipelines refuse this event.\n"
    (bad,) = collector.bad
    assert bad.event
    assert bad.event["ue_na"] == "save-game"


def test_tracking_that_is_turned_off_is_no_success(
    track: Any, collector: LocalCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNOWPLOW_DISABLED", "1")
    ended: Ended = track("screen", "Shop")
    assert ended.status == 1
    assert "tracking is disabled" in ended.err
    assert "SNOWPLOW_DISABLED is set" in ended.err
    assert collector.requests == []
