"""The page in a real browser, as somebody uses it who wants to see the events of a program."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from browser import chromium, skip_without_browser
from sending import BASICS, JSON, SAVE_GAME, TP2, USER, contexts, payload_data, unstruct

from snowplow_tracker import Tracker
from snowplow_tracker.testing import LocalCollector

pytestmark = skip_without_browser()

UUID = "c6ef3124-b53a-4b13-a233-0088f79dcbcb"
RICH = {
    "e": "ue",
    "eid": UUID,
    "ue_pr": unstruct(
        {
            "schema": SAVE_GAME["schema"],
            "data": {"level": 23, "ratio": 5.0, "id": 2**63 - 1, "team": [{"name": "Ada"}], "note": None},
        }
    ),
    "co": contexts(USER),
    "dtm": "1369330909000",
    "stm": "1369330909500",
}
BAD = {"e": "se", "se_ca": "shop", "se_ac": "buy", "se_va": "walrus"}
UNNAMED = """() => [...document.querySelectorAll("button, input")].filter(
  (node) => !node.innerText && !node.ariaLabel && !node.labels?.length && !node.hidden).length"""
CONTRASTS = """() => {
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    const hex = style.getPropertyValue(`--${name}`).trim().slice(1);
    const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
    const linear = parts.map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const pairs = [
    ["text", "surface"], ["text", "bg"], ["muted", "surface"], ["muted", "bg"], ["muted", "accent-soft"],
    ["muted", "bad-soft"], ["bad", "bad-soft"], ["good", "good-soft"], ["good", "surface"], ["bad", "surface"],
    ["accent", "surface"], ["on-accent", "accent"], ["warn", "warn-soft"], ["warn", "surface"],
  ];
  return Object.fromEntries(pairs.map(([one, other]) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return [`${one} on ${other}`, (bright + 0.05) / (dark + 0.05)];
  }));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@contextlib.contextmanager
def opened(browser: Any, collector: LocalCollector, **options: Any) -> Iterator[Any]:
    """The page in a fresh window; what went wrong in it fails the test."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.wrong = []
    page.asked = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("dialog", lambda dialog: page.wrong.append(f"dialog: {dialog.message}"))
    page.on("console", lambda told: page.wrong.append(told.text) if "ERR_" not in told.text else None)
    page.on("request", lambda request: page.asked.append(request.url))
    try:
        page.goto(collector.url)
        page.wait_for_selector("#state[data-state=live]")
        yield page
    finally:
        context.close()
    assert page.wrong == []
    assert [url for url in page.asked if not url.startswith((collector.url, "data:", "blob:"))] == []


@pytest.fixture
def page(browser: Any, collector: LocalCollector) -> Iterator[Any]:
    with opened(browser, collector) as page:
        yield page


def send(collector: LocalCollector, *wires: dict[str, str]) -> None:
    client = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
    client.request("POST", TP2, payload_data(*({**BASICS, **wire} for wire in wires)), {"Content-Type": JSON})
    assert client.getresponse().read() == b"ok"
    client.close()


def events(page: Any) -> Any:
    return page.locator("[data-event-id]")


def expect_count(page: Any, selector: str, count: int) -> None:
    page.wait_for_function("([s, n]) => document.querySelectorAll(s).length === n", arg=[selector, count])


def test_a_newcomer_is_told_how_to_send_a_first_event_and_sees_it_arrive(page: Any, collector: LocalCollector) -> None:
    program = page.locator("#python").inner_text()
    assert program.count("\n") == 2
    assert collector.url in program
    exec(program, {})
    events(page).get_by_text("My first event").wait_for()
    assert not page.get_by_text("Waiting for the first event").is_visible()
    collector.assert_tracked(e="pv", page="My first event")


def test_an_event_of_a_tracker_is_there_under_its_id(page: Any, collector: LocalCollector) -> None:
    with Tracker.hostname(collector.url, app_id="salvage") as tracker:
        receipt = tracker.track_struct_event("shop", "add-to-basket", "sword", "pcs", 2)
        tracker.flush()
    row = page.locator(f"[data-event-id='{receipt}']")
    row.wait_for()
    assert "add-to-basket" in row.inner_text()
    assert "salvage" in row.inner_text()


def test_good_and_bad_are_told_apart_without_colours(page: Any, collector: LocalCollector) -> None:
    send(collector, {"page": "Home"}, BAD)
    expect_count(page, "[data-event-id]", 2)
    bad, good = events(page).all()
    assert bad.locator("[role=gridcell]").first.text_content() == "✕ bad"
    assert good.locator("[role=gridcell]").first.text_content() == "✓ good"
    assert "se_va must be a decimal number, got 'walrus'" in bad.inner_text()
    assert [page.locator(f"#{name}").inner_text() for name in ("total", "good", "bad")] == ["2", "1", "1"]
    assert page.title() == "(1 bad) Snowplow collector"


def test_the_list_is_narrowed_by_search_by_verdict_and_by_type(page: Any, collector: LocalCollector) -> None:
    send(collector, {"page": "Home"}, {"page": "Shop"}, {**RICH}, BAD)
    expect_count(page, "[data-event-id]", 4)
    search = page.get_by_role("searchbox")
    page.keyboard.press("/")
    page.keyboard.type("SAVE_game 23")
    expect_count(page, "[data-event-id]", 1)
    assert page.locator("#found").inner_text() == "1 of 4"
    search.fill("nothing like it")
    page.get_by_text("No event matches").wait_for()
    page.get_by_role("button", name="Show all events").click()
    expect_count(page, "[data-event-id]", 4)
    page.get_by_role("radio", name="Bad").check()
    expect_count(page, "[data-event-id]", 1)
    send(collector, BAD, {"page": "not shown"})
    expect_count(page, "[data-event-id]", 2)
    page.get_by_role("radio", name="All events").check()
    page.get_by_role("button", name="page view").click()
    expect_count(page, "[data-event-id]", 3)


def test_an_opened_event_shows_what_is_in_it(page: Any, collector: LocalCollector) -> None:
    send(collector, {"page": "Home"}, RICH)
    page.locator(f"[data-event-id='{UUID}']").click()
    aside = page.get_by_role("complementary")
    aside.get_by_text("level: 23").wait_for()
    text = aside.inner_text()
    for part in ("save_game", UUID, SAVE_GAME["schema"], USER["schema"], 'type: "tester"', "note: null"):
        assert part in text
    assert "ratio: 5.0" in text  # as it was written
    assert "id: 9223372036854775807" in text  # which is no number to JavaScript
    assert "500 ms later" in text
    assert re.search(r"Latency [\d,]+ d", text)
    assert "Request 1, with 2 events" in text
    aside.locator("summary", has_text="team").click()
    aside.get_by_text('name: "Ada"').wait_for()
    aside.get_by_text("Raw request").click()
    raw = aside.locator(".raw").inner_text()
    assert raw.startswith(f"POST {TP2} HTTP/1.1\n")
    assert json.loads(raw.split("\n\n", 1)[1])["data"][1] == {**BASICS, **RICH}
    aside.get_by_role("button", name="Home").click()  # its neighbour in the batch
    page.locator("#opened-name", has_text="Home").wait_for()


def test_a_bad_event_leads_to_the_call_that_made_it(page: Any, collector: LocalCollector) -> None:
    send(collector, BAD)
    events(page).first.click()
    aside = page.get_by_role("complementary")
    aside.get_by_text("Why the pipeline would refuse it").wait_for()
    text = aside.inner_text()
    assert "se_va must be a decimal number, got 'walrus'" in text
    assert "track_struct_event('shop', 'buy'), se_va is its 'value'" in text
    assert aside.locator("tr.at-fault th").inner_text() == "se_va"


def test_an_event_is_copied_as_json_and_the_list_exported_as_lines(browser: Any, collector: LocalCollector) -> None:
    with opened(browser, collector, permissions=["clipboard-read", "clipboard-write"]) as page:
        send(collector, {"page": "Home"}, RICH)
        page.locator(f"[data-event-id='{UUID}']").click()
        page.get_by_role("button", name="Copy as JSON").click()
        page.get_by_text("Copied", exact=True).first.wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert json.loads(copied) == collector.events[1]
        assert "9223372036854775807" in copied
        page.get_by_role("searchbox").fill("home")
        expect_count(page, "[data-event-id]", 1)
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()
        lines = download.value.path().read_text("utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [{**BASICS, "page": "Home"}]
        assert download.value.suggested_filename.endswith(".jsonl")


def test_a_paused_list_stands_still_and_catches_up(page: Any, collector: LocalCollector) -> None:
    send(collector, {"page": "before"})
    expect_count(page, "[data-event-id]", 1)
    button = page.get_by_role("button", name="Pause")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    send(collector, {"page": "meanwhile"}, {"page": "meanwhile"})
    page.get_by_text("paused, 2 new events").wait_for()
    assert events(page).count() == 1
    assert page.locator("#total").inner_text() == "3"
    button.click()
    expect_count(page, "[data-event-id]", 3)


def test_clear_forgets_everything_here_and_in_the_collector(page: Any, collector: LocalCollector) -> None:
    send(collector, {"page": "a"}, BAD)
    expect_count(page, "[data-event-id]", 2)
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("Waiting for the first event").wait_for()
    assert page.locator("#total").inner_text() == "0"
    assert (collector.events, collector.bad) == ([], [])
    send(collector, {"page": "b"})
    expect_count(page, "[data-event-id]", 1)


def test_text_of_events_is_never_html(page: Any, collector: LocalCollector) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    send(
        collector,
        {"page": hostile, "aid": hostile, "uid": hostile, "url": f"javascript:{'alert(3)'}"},
        {"e": "ue", "ue_pr": unstruct({"schema": SAVE_GAME["schema"], "data": {hostile: hostile, "__proto__": 1}})},
        {"e": hostile},
        {"e": "ue", "ue_pr": unstruct({"schema": SAVE_GAME["schema"], "data": {"big": "y" * 900_000}})},
        {"e": "ue", "ue_pr": unstruct({"schema": SAVE_GAME["schema"], "data": json.loads("[" * 40 + "]" * 40)})},
        {"page": "\ud800 lone", "uid": "\u202egnp.exe"},
    )
    expect_count(page, "[data-event-id]", 6)
    aside = page.get_by_role("complementary")
    for row in events(page).all():
        row.click()
        page.locator(f"#opened[data-sequence='{row.get_attribute('data-sequence')}']").wait_for(timeout=40_000)
        aside.get_by_text("Raw request").click()
    assert page.evaluate("document.querySelectorAll('img, iframe, script:not(body > script)').length") == 0
    assert page.evaluate("document.querySelectorAll('a').length") == 0
    assert hostile in aside.inner_text()  # the oldest: it is the last in the list


def test_thousands_of_rows_are_few_nodes_and_the_oldest_can_be_reached(page: Any, collector: LocalCollector) -> None:
    for part in range(10):
        send(collector, *({"page": f"page {part * 500 + number}"} for number in range(500)))
    page.wait_for_function("() => document.querySelector('#grid').getAttribute('aria-rowcount') === '5001'")
    assert events(page).count() < 60
    assert "page 4999" in events(page).first.inner_text()
    events(page).first.focus()
    page.keyboard.press("End")
    page.get_by_text("page 0", exact=True).wait_for()
    assert events(page).last.get_attribute("aria-rowindex") == "5001"
    assert events(page).count() < 60
    send(collector, {"page": "another"})  # whoever looks at the end is not moved
    page.get_by_role("button", name="1 new event").wait_for()
    assert page.get_by_text("page 0", exact=True).is_visible()
    page.get_by_role("button", name="1 new event").click()
    page.get_by_text("another", exact=True).wait_for()


def test_everything_is_done_from_the_keyboard(page: Any, collector: LocalCollector) -> None:
    send(collector, *({"page": f"page {number}"} for number in range(30)))
    expect_count(page, "[role=row][tabindex='0']", 1)
    events(page).first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#opened-name", has_text="page 27").wait_for()
    page.wait_for_function("() => document.activeElement.id === 'opened-name'")
    page.keyboard.press("Escape")
    assert page.get_by_role("complementary").count() == 0
    assert page.evaluate("document.activeElement.innerText").count("page 27") == 1
    send(collector, {"page": "newer"})  # the focus stays with its event
    page.get_by_role("button", name="1 new event").wait_for()
    assert page.evaluate("document.activeElement.innerText").count("page 27") == 1
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('role') || ''"))
    assert {"pause", "export", "clear", "search", "row"} <= reached


def test_a_screen_reader_has_names_roles_and_news(page: Any, collector: LocalCollector) -> None:
    for role, name in [
        ("heading", "Snowplow collector"),
        ("button", "Pause"),
        ("button", "Export"),
        ("button", "Clear"),
        ("searchbox", "Search events"),
        ("grid", "Events, the newest first"),
        ("region", "Collected events"),
    ]:
        assert page.get_by_role(role, name=name).count() == 1, (role, name)
    send(collector, {"page": "Home"}, BAD)
    page.wait_for_function("() => document.querySelector('[role=status]').textContent === '2 new events, 1 bad'")
    page.wait_for_function(
        "document.querySelector('canvas').getAttribute('aria-label').includes('2, at most 2 in a second')"
    )
    assert page.evaluate(UNNAMED) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser: Any, collector: LocalCollector, scheme: str) -> None:
    with opened(browser, collector, color_scheme=scheme) as page:
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in re.findall(r"\d+", background)[:3]) / 3
        assert (brightness > 200) if scheme == "light" else (brightness < 60)
        assert {pair: ratio for pair, ratio in page.evaluate(CONTRASTS).items() if ratio < 4.5} == {}


def test_a_narrow_screen_shows_the_list_and_an_event_over_it(browser: Any, collector: LocalCollector) -> None:
    send(collector, {"page": "x" * 300, "url": "https://example.com/" + "y" * 500}, RICH, BAD)
    with opened(browser, collector, viewport={"width": 400, "height": 800}) as page:
        expect_count(page, "[data-event-id]", 3)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        events(page).first.click()
        page.wait_for_function("() => document.activeElement.id === 'opened-name'")
        box = page.get_by_role("complementary").bounding_box()
        assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 400, 800)
        assert page.evaluate("document.querySelector('#content').scrollWidth") <= 400
        assert page.locator("#list").evaluate("(node) => node.inert")
        page.get_by_role("button", name="Close").click()
        assert not page.locator("#list").evaluate("(node) => node.inert")


def test_a_lost_collector_is_told_and_found_again_without_repeating_anything(
    page: Any, collector: LocalCollector
) -> None:
    send(collector, {"page": "before"})
    expect_count(page, "[data-event-id]", 1)
    collector.stop()
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    assert page.locator("#state").inner_text() == "Not connected"
    assert events(page).count() == 1
    collector.start()
    send(collector, {"page": "after"})
    expect_count(page, "[data-event-id]", 2)
    page.wait_for_selector("#state[data-state=live]")
    assert not page.get_by_role("alert").is_visible()


def test_a_collector_that_was_started_anew_is_shown_anew(page: Any, collector: LocalCollector) -> None:
    send(collector, {"page": "old"}, {"page": "old"})
    expect_count(page, "[data-event-id]", 2)
    collector.stop()
    with LocalCollector(port=collector.port) as other:
        send(other, {"page": "new"})
        page.get_by_text("new", exact=True).wait_for()
        expect_count(page, "[data-event-id]", 1)


def test_a_flood_of_events_does_not_stop_the_page(page: Any, collector: LocalCollector) -> None:
    page.evaluate(
        "() => { window.longest = 0; let last = performance.now(); const tick = () => { const now = performance.now();"
        " window.longest = Math.max(window.longest, now - last); last = now; setTimeout(tick, 0); }; tick(); }"
    )
    for part in range(20):
        send(collector, *({"page": f"page {part}", "uid": str(number)} for number in range(500)))
    deadline = time.monotonic() + 40
    page.wait_for_function(
        "() => document.querySelector('#grid').getAttribute('aria-rowcount') === '10001'", timeout=20_000
    )
    assert time.monotonic() < deadline
    assert page.evaluate("window.longest") < 1_000  # alone it is under 50 ms; the machine may be busy
