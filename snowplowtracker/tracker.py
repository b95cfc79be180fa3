"""`snowplowtracker.tracker`, as scripts of 2013 import it."""

from snowplow_tracker.tracker import Tracker

__all__ = ["Tracker"]
