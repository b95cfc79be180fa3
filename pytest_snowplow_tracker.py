"""The fixtures that pytest finds once ``snowplow-event-tracker`` is installed.

pytest imports this module into every test run of an environment that has the package, whether or not it tracks
anything. So the package itself is imported by the fixtures only, and projects that use none of them pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from snowplow_tracker import Tracker
    from snowplow_tracker.testing import LocalCollector


@pytest.fixture(scope="session")
def _snowplow_collector_process() -> Iterator[LocalCollector]:
    """One collector a test process: under pytest-xdist each worker has its own, on a port of its own."""
    from snowplow_tracker.testing import LocalCollector

    with LocalCollector() as collector:
        yield collector


@pytest.fixture
def snowplow_collector(_snowplow_collector_process: LocalCollector) -> LocalCollector:
    """A Snowplow collector on this machine that starts the test empty and in good health.

    It judges events as the real pipeline would: see ``assert_tracked``, ``.events``, ``.bad`` and ``.fail``.
    """
    _in_good_health(_snowplow_collector_process).reset()
    return _snowplow_collector_process


@pytest.fixture
def snowplow_tracker(snowplow_collector: LocalCollector) -> Iterator[Tracker]:
    """A tracker that sends to `snowplow_collector` without delay; it is closed after the test.

    Its app id is ``pytest``, and unstructured events go out as ``iglu:com.example/<name>/jsonschema/1-0-0``.
    """
    from snowplow_tracker import Tracker

    tracker = Tracker.hostname(
        snowplow_collector.url,
        app_id="pytest",
        event_vendor="com.example",
        flush_interval=0,
        # A test that scripts an outage should not wait a minute for its end.
        max_retry_delay_seconds=0.5,
    )
    yield tracker
    _in_good_health(snowplow_collector)  # or closing would wait for a collector that the test has left in trouble
    tracker.close()


def _in_good_health(collector: LocalCollector) -> LocalCollector:
    collector.recover()
    return collector.start()
