"""Who may read what was collected: this machine, and pages that the collector itself served.

Events may come from anywhere. Reading and deleting them is for whoever asks for this collector by an address that can
only be its own, and not through a page of another site.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from snowplow_tracker.collector.http1 import Request

NO_STORE: Final = ("Cache-Control", "no-store")
NO_SNIFFING: Final = ("X-Content-Type-Options", "nosniff")
SAFE_HEADERS: Final = (NO_STORE, NO_SNIFFING)
"""What every answer that may hold an event carries. None has CORS headers."""


def host_fault(request: Request, host: str) -> str | None:
    """Why a request may not have been meant for the collector that listens on *host*, or None.

    Any name can be made to resolve to 127.0.0.1 (DNS rebinding), so the name that was asked for must be ours.
    """
    asked = hostname(request.headers.get("Host", ""))
    if asked in (host, request.local_host) or is_loopback(asked):
        return None
    return f"the Host header must name this collector, got {asked!r}"


def origin_fault(request: Request) -> str | None:
    """Why a request may come from another site's page, which must neither read events nor drop them, or None."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower():
        return "pages of other origins may not come here"
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return "pages of other sites may not come here"
    return None


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def hostname(host: str) -> str:
    """A Host header's name or address, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
