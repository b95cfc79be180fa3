"""A first event, from the call to a collector: ``python -m examples.quickstart``.

The collector is a local one, in this process. For a real one, give `Tracker.hostname` its name.
"""

from __future__ import annotations

import sys

from snowplow_tracker import Tracker
from snowplow_tracker.testing import LocalCollector


def main() -> int:
    """Track four events and show what arrived.

    Returns:
        The exit status: 0 if all of them arrived and the pipeline would load them, else 1.
    """
    with LocalCollector() as collector:
        with Tracker.hostname(collector.url, app_id="quickstart", event_vendor="com.acme") as tracker:
            tracker.set_platform("pc").set_user_id("player-7")
            tracker.track_page_view("https://acme.com/news", "News")
            tracker.track_screen_view("Main menu", "menu")
            tracker.track_struct_event("shop", "add-to-basket", "potion", "pcs", 2)
            tracker.track_unstruct_event("save-game", {"save_id": "4321", "level$int": 23, "hard": True})
        # The end of the `with` has closed the tracker, which delivers what is queued.
        for event in collector.events:
            schema = event["data"]["schema"] if event["data"] else ""
            print(f"arrived: e={event['e']} {schema}".rstrip())
        for row in collector.bad:
            print(f"refused: {row}")
        stats = tracker.stats()
        print(f"tracked {stats.tracked}, delivered {stats.delivered}, dropped {sum(stats.dropped.values())}")
        return 0 if len(collector.events) == stats.tracked else 1


if __name__ == "__main__":
    sys.exit(main())
