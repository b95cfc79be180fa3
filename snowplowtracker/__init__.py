"""The import path of 2013: the same objects as in `snowplow_tracker`."""

from snowplow_tracker import *  # noqa: F403
from snowplow_tracker import __all__, __version__
from snowplowtracker import tracker

__all__ = [*__all__, "__version__", "tracker"]
