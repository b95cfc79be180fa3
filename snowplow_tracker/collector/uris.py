"""Whether the enrichment takes a text as a page's URL, and how long its parts are.

Source: java.net.URI (RFC 2396 with "other" characters), which the enrichment parses `url` and `refr` with.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

PAGE_LIMITS: Final = {"scheme": 16, "host": 255, "path": 3000, "query": 6000, "fragment": 3000}
REFERRER_LIMITS: Final = {"host": 255, "path": 6000, "query": 6000, "fragment": 3000}
"""UTF-16 units of each part (protocol: rows `url` and `refr`)."""

_ILLEGAL: Final = re.compile(
    r'[\x00-\x20"<>\\^`{|}\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]|%(?![0-9A-Fa-f]{2})'
)
_PARTS: Final = re.compile(r"(?:([^:/?#]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")


def utf16_units(text: str) -> int:
    """How long Java finds a text."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def uri_fault(text: str, limits: Mapping[str, int]) -> str | None:
    """What a text must be to pass as a URI, or None if it passes.

    Args:
        text: Not empty; may be relative, like ``www.example.com``.
        limits: The most UTF-16 units of each part: `PAGE_LIMITS` or `REFERRER_LIMITS`.
    """
    illegal = _ILLEGAL.search(text)
    if illegal:
        return f"a URI (it holds {illegal.group()!r}, which must be percent-encoded)"
    parts = uri_parts(text)
    if parts is None:
        return "a URI"
    for name, limit in limits.items():
        if utf16_units(parts[name]) > limit:
            return f"a URI with a {name} of at most {limit} characters (this one has {utf16_units(parts[name])})"
    return None


def uri_parts(text: str) -> dict[str, str] | None:
    """Scheme, host, path, query and fragment of a URI, each as it stands there; None for what is no URI."""
    scheme, authority, path, query, fragment = _PARTS.fullmatch(text).groups()  # type: ignore[union-attr]
    if scheme is not None and not (_SCHEME.fullmatch(scheme) and (authority or path or query)):
        return None
    if authority == "" and not path:
        return None
    host = _host(authority or "")
    if host is None or re.search(r"[\[\]]", path) or "#" in (fragment or ""):
        return None
    return {
        "scheme": scheme or "",
        "host": host,
        "path": path,
        "query": query or "",
        "fragment": fragment or "",
    }


def _host(authority: str) -> str | None:
    """The host within an authority, or None where its brackets hold no IPv6 address."""
    host_and_port = authority.rpartition("@")[2]
    if not host_and_port.startswith("["):
        return None if re.search(r"[\[\]]", host_and_port) else host_and_port.partition(":")[0]
    address, bracket, _ = host_and_port[1:].partition("]")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return None
    return f"[{address}]" if bracket else None
