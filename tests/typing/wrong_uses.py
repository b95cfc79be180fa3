"""Mistakes that a type checker must find before the program runs: one a line, each marked with ``# wrong``.

It is checked, never run, see `tests/test_typing.py`.
"""

from __future__ import annotations

from snowplow_tracker import Emitter, PageView, Receipt, SelfDescribingJson, Subject, Tracker, install_signal_handlers

Tracker.hostname()  # wrong
Tracker.hostname("collector.acme.com", bufer_size=10)  # wrong
Tracker.hostname("collector.acme.com", method="put")  # wrong
Tracker.hostname("collector.acme.com", batch_size="100")  # wrong
Tracker.hostname("collector.acme.com", overflow="drop")  # wrong
Tracker.hostname("collector.acme.com", on_invalid="ignore")  # wrong
Tracker.hostname("collector.acme.com", custom_retry_codes=[404])  # wrong
Tracker.hostname("collector.acme.com", on_success=lambda: None)  # wrong
Tracker.hostname("collector.acme.com", subject="player-7")  # wrong
Emitter("collector.acme.com", threads="4")  # wrong
Emitter("collector.acme.com", thread_count=4)  # wrong
Emitter(transport="redis")  # wrong
Emitter(event_store=[])  # wrong

tracker = Tracker.hostname("collector.acme.com")
tracker.track_page_view()  # wrong
tracker.track_page_view(None)  # wrong
tracker.track_page_view("https://acme.com/", title="Home")  # wrong
tracker.track_page_view("https://acme.com/", tstamp="now")  # wrong
tracker.track_screen_view("Title", contexts=[])  # wrong
tracker.track_screen_view("Title", context={"level": 3})  # wrong
tracker.track_struct_event("shop")  # wrong
tracker.track_struct_event("shop", "buy", None, None, "2")  # wrong
tracker.track_unstruct_event("save-game", [("level", 3)])  # wrong
tracker.track_self_describing_event({"schema": "iglu:com.acme/a/jsonschema/1-0-0", "data": {}})  # wrong
tracker.track("shop")  # wrong
tracker.track_order("order-1")  # wrong
tracker.set_color_depth("24")  # wrong
tracker.set_viewport(960)  # wrong
Subject().set_screen_resolution("1920x1080")  # wrong
SelfDescribingJson("iglu:com.acme/a/jsonschema/1-0-0", "level 3")  # wrong
PageView(page_title="Home")  # wrong
PageView("https://acme.com/").page_url = "https://acme.com/shop"  # wrong

receipt: Receipt = tracker.track_screen_view("Title")
receipt.delivered()  # wrong
tracker.track_screen_view("Title").track_screen_view("Menu")  # wrong
print(tracker.stats().dropped["lost"])  # wrong
tracker.flush("now")  # wrong
install_signal_handlers("SIGTERM")  # wrong
