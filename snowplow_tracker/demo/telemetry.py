"""The part of the game that tracks: all that your own game would need of this package."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any, Final

from snowplow_tracker import Tracker
from snowplow_tracker.demo.game import HEIGHT, WIDTH

SITE: Final = "https://salvage.example"


class Telemetry:
    """The listener that tracks; it notes what each call cost its caller, in nanoseconds."""

    def __init__(self, tracker: Tracker) -> None:
        self.call_ns: list[int] = []
        self._tracker = tracker

    def screen(self, name: str, screen_id: str) -> None:
        start = perf_counter_ns()
        self._tracker.track_screen_view(name, screen_id)
        self.call_ns.append(perf_counter_ns() - start)

    def page(self, path: str, title: str) -> None:
        start = perf_counter_ns()
        self._tracker.track_page_view(f"{SITE}{path}", title, SITE)
        self.call_ns.append(perf_counter_ns() - start)

    def moment(self, category: str, action: str, label: str, detail: str, value: float) -> None:
        start = perf_counter_ns()
        self._tracker.track_struct_event(category, action, label, detail, value)
        self.call_ns.append(perf_counter_ns() - start)

    def milestone(self, name: str, properties: dict[str, Any]) -> None:
        start = perf_counter_ns()
        self._tracker.track_unstruct_event(name, properties)
        self.call_ns.append(perf_counter_ns() - start)

    def purchase(self, order_id: str, lines: list[dict[str, Any]]) -> None:
        total = sum(line["price"] * line["quantity"] for line in lines)
        start = perf_counter_ns()
        self._tracker.track_ecommerce_transaction(order_id, "station", total, currency="EUR", items=lines)
        self.call_ns.append(perf_counter_ns() - start)


def make_tracker(collector: str) -> Tracker:
    """The game's tracker. ``event_vendor`` makes milestones self-describing events, ``com.acme/<name>``."""
    tracker = Tracker.hostname(collector, namespace="client", app_id="salvage", event_vendor="com.acme")
    tracker.set_platform("pc").set_lang("en").set_timezone("Europe/London")
    tracker.set_screen_resolution(1920, 1080).set_viewport(int(WIDTH), int(HEIGHT)).set_color_depth(24)
    return tracker.set_user_id("player-7")
