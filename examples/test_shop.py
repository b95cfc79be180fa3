"""A unit test: what a shop tracks, asked of a real collector in the test's own process.

    pip install snowplow-event-tracker pytest
    pytest examples/test_shop.py

The shop is given its tracker, so a test can give it one of its own. The collector judges like the pipeline, so a test
also fails where an event is well meant and would be refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snowplow_tracker import Tracker
from snowplow_tracker.testing import LocalCollector


class Shop:
    """The code under test."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.sold: list[str] = []

    def sell(self, item: str, price: float) -> None:
        """Sell, and say so."""
        self.sold.append(item)
        self.tracker.track_struct_event("shop", "sale", item, value=price)


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture
def shop(collector: LocalCollector) -> Iterator[Shop]:
    with Tracker.hostname(collector.url, app_id="shop", flush_interval=0) as tracker:
        yield Shop(tracker)


def test_a_sale_is_tracked_with_its_price(shop: Shop, collector: LocalCollector) -> None:
    shop.sell("sword", 9.5)
    collector.assert_tracked(e="se", aid="shop", se_ac="sale", se_la="sword", se_va="9.5")
    assert collector.bad == []


def test_ten_sales_are_ten_events(shop: Shop, collector: LocalCollector) -> None:
    for number in range(10):
        shop.sell(f"potion {number}", 4.99)
    collector.assert_tracked(times=10, se_ac="sale")


def test_the_shop_sells_while_the_collector_is_down_and_the_events_arrive_later(
    shop: Shop, collector: LocalCollector
) -> None:
    collector.stop()
    shop.sell("shield", 20)
    assert shop.sold == ["shield"]
    collector.start()
    shop.tracker.flush()
    collector.assert_tracked(se_la="shield")


def test_a_sale_that_cannot_be_an_event_is_a_mistake_in_the_shop(shop: Shop) -> None:
    with pytest.raises(ValueError, match="'value' must be a finite number"):
        shop.sell("sword", float("nan"))
