"""A local collector: answers as Snowplow's stream-collector does, judges as the enrichment behind it would.

It is an independent judge: standard library only, and nothing from the tracker. The way of a request, as modules:
``server`` (sockets, threads) → ``http1`` (bytes to requests) → ``service`` (routes) → ``decoding`` (requests to events)
→ ``judging`` by ``rules`` → ``journal`` (what came in) ← ``micro`` (Snowplow Micro's REST over it).

In tests use `snowplow_tracker.testing.LocalCollector`; from a shell ``python -m snowplow_tracker.collector``.
"""

from __future__ import annotations

from snowplow_tracker.collector.http1 import Headers
from snowplow_tracker.collector.journal import Journal, ReceivedRequest
from snowplow_tracker.collector.rows import BadRow, GoodEvent

__all__ = ["BadRow", "GoodEvent", "Headers", "Journal", "ReceivedRequest"]
