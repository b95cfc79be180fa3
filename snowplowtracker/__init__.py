"""The import path of 2013: the same objects as in `snowplow_tracker`."""

# Where the files of the official package came last, nothing but this looks for them.
from snowplow_tracker import installation  # noqa: F401

# isort: split
from snowplow_tracker import *  # noqa: F403
from snowplow_tracker import __all__, __version__
from snowplowtracker import tracker

__all__ = [*__all__, "__version__", "tracker"]
