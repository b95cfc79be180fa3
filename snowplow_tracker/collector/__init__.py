"""A local collector: answers as Snowplow's stream-collector does, judges as the enrichment behind it would.

It is an independent judge: nothing from the tracker, and standard library only but for JSON Schemas. The way of a
request, as modules: ``server`` (sockets, threads) → ``http1`` (bytes to requests) → ``service`` (routes) → ``decoding``
(requests to events) → ``judging`` by ``rules``, and by ``schemas`` (folders in Iglu's layout, applied by ``draft4``) →
``journal`` (what came in, in memory) and ``request_store`` (the same in a file).

The way of a reader: ``trust`` (who may read) → ``micro`` (Snowplow Micro's REST) and ``page`` (``page.html`` and what
its script asks for: ``streams`` of ``summaries``, the ``details`` of one event), over the journal.

In tests use `snowplow_tracker.testing.LocalCollector`; from a shell ``python -m snowplow_tracker.collector``.
"""

from __future__ import annotations

from snowplow_tracker.collector.http1 import Headers
from snowplow_tracker.collector.journal import Journal, ReceivedRequest
from snowplow_tracker.collector.rows import BadRow, GoodEvent

__all__ = ["BadRow", "GoodEvent", "Headers", "Journal", "ReceivedRequest"]
