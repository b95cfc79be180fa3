"""A real browser for the tests of the page, and the rule for when there must be one.

Chromium comes from the system (`CHROMIUM`, or /usr/bin/chromium), the Python package playwright drives it. On a
developer's machine the tests are skipped where one of them is missing. In CI they run on one Python version, where
both must be there; what the page does, does not depend on the version.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

CI_VERSION: Final = (3, 11)
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def why_not() -> str | None:
    """Why the tests of the page can't run here, or None."""
    in_ci = os.environ.get("CI") == "true"
    if in_ci and sys.version_info[:2] != CI_VERSION:
        return f"in CI the page is tested on Python {'.'.join(map(str, CI_VERSION))} only"
    missing = []
    if not _executable():
        missing.append("Chromium (apt-get install chromium)")
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        missing.append("playwright (pip install playwright)")
    if missing and not in_ci:
        return f"not installed: {', '.join(missing)}"
    return None


def _executable() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium, as a playwright ``Browser``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_executable(), args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def skip_without_browser() -> pytest.MarkDecorator:
    """For ``pytestmark``."""
    reason = why_not()
    return pytest.mark.skipif(reason is not None, reason=reason or "")
