from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from snowplow_tracker.testing import LocalCollector


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture
def client(collector: LocalCollector) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
    yield connection
    connection.close()
