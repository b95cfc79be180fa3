"""What is installed beside this package: the official distribution, ``snowplow-tracker``, has the same import name.

In one directory the two overwrite each other's files, and what is left is a mixture that fails in odd places. So
importing this module, which the package does before anything else, raises there.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from typing import Final

_OFFICIAL: Final = re.compile(r"snowplow_tracker-([0-9][\w.+!]*?)(?:-py[0-9.]+)?\.(?:dist-info|egg-info|egg)")


def check(package: str) -> None:
    """Say so if the official distribution is installed too.

    It lists each directory on the path once, as the import system does: 0.2 ms in all, where importing
    `importlib.metadata` alone takes several.

    Args:
        package: This package's directory.

    Raises:
        ImportError: It is in the same directory as this package.

    Warns:
        RuntimeWarning: It is elsewhere on `sys.path`; nothing is broken yet.
    """
    here = os.path.dirname(package)
    for directory in dict.fromkeys((here, *sys.path)):
        version = _official_in(directory)
        if not version:
            continue
        found = f"the official package, snowplow-tracker {version}, is installed too, in {directory or os.curdir}"
        if os.path.realpath(directory) == os.path.realpath(here):
            raise ImportError(
                f"{found}: it has the import name of snowplow-event-tracker, and each of them has overwritten files of "
                "the other. Write: pip uninstall snowplow-tracker snowplow-event-tracker, and then install the one you "
                "want: pip install snowplow-event-tracker"
            )
        warnings.warn(
            f"{found}: it has the import name of snowplow-event-tracker, which is in {here}, and the order of sys.path "
            "decides which of them is imported. Write: pip uninstall snowplow-tracker",
            RuntimeWarning,
            stacklevel=4,  # the line outside that imports the package
        )


def _official_in(directory: str) -> str:
    """The version of the official distribution whose metadata lies in a directory, or ""."""
    try:
        names = os.listdir(directory or os.curdir)
    except OSError:  # it is not there, or a zip file, or closed to us
        return ""
    return next((match[1] for match in map(_OFFICIAL.fullmatch, names) if match), "")


check(os.path.dirname(__file__))
