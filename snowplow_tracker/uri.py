"""Page addresses in the form that the enrichment takes them: what java.net.URI parses, within its limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote

from snowplow_tracker.validators import check_text, invalid

WHOLE_LIMIT: Final = 10_000

# RFC 3986, appendix B. Not urlsplit: it drops tabs and newlines and strips blanks before anyone can escape them.
_PARTS: Final = re.compile(
    r"(?:(?P<scheme>[^:/?#]+):)?(?://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_HOST: Final = re.compile(r"(?P<before>(?:.*@)?)(?P<host>\[.*\]|[^:]*)(?P<after>(?::.*)?)", re.DOTALL)
_LONE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_IDNA: Final = re.compile(r"[A-Za-z0-9\-_.]+")
_IPV6: Final = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%[A-Za-z0-9_.]+)?\]")
_MARKS: Final = "!$&'()*+,;=:@-._~%"
_PAGE_LIMITS: Final = {"scheme": 16, "host": 255, "path": 3000, "query": 6000, "fragment": 3000}
_REFERRER_LIMITS: Final = {**_PAGE_LIMITS, "path": 6000}


def page_url(value: str) -> str:
    """Converter of ``page_url=`` to a legal URI; see `_uri`."""
    return _uri("page_url", value, _PAGE_LIMITS)


def referrer(value: str | None) -> str | None:
    """Converter of ``referrer=`` to a legal URI; None and ``""`` pass; see `_uri`."""
    if value is None or (isinstance(value, str) and not value):
        return value
    return _uri("referrer", value, _REFERRER_LIMITS)


def _uri(argument: str, value: str, limits: Mapping[str, int]) -> str:
    """From what people call a URL to a legal URI.

    What is not legal (blanks, quotes, non-ASCII, a lone ``%``) is percent-encoded as UTF-8, existing escapes stay, a
    host in another script becomes IDNA, a relative address stays relative.

    Args:
        argument: The argument's name, for errors.
        value: The address.
        limits: The most characters each part of the result may have.

    Raises:
        ValidationError: *value* is not text, cannot become a URI, or one of its parts is over the pipeline's limit.

    Source: protocol keys ``url`` and ``refr`` (enrich `PageEnrichments.scala`, atomicFieldsLimits).
    """
    check_text(argument, value, WHOLE_LIMIT)
    match = _PARTS.fullmatch(value)
    assert match is not None  # every text has this form
    scheme, authority = match["scheme"], match["authority"]
    if value.startswith(":") or (scheme is not None and not _SCHEME.fullmatch(scheme)):
        raise invalid(argument, "a URL", value, "one with a ':' before the first '/' starts with a scheme: https://…")
    host, netloc = _encode_authority(argument, value, authority or "")
    parts = {
        "scheme": scheme or "",
        "host": host,
        "path": _escape(match["path"], "/"),
        "query": _escape(match["query"] or "", "/?"),
        "fragment": _escape(match["fragment"] or "", "/?"),
    }
    for name, limit in limits.items():
        if len(parts[name]) > limit:
            raise invalid(argument, f"a URL whose {name} is at most {limit} characters long", value)
    encoded = "".join(
        (
            f"{scheme}:" if scheme is not None else "",
            f"//{netloc}" if authority is not None else "",
            parts["path"],
            f"?{parts['query']}" if match["query"] is not None else "",
            f"#{parts['fragment']}" if match["fragment"] is not None else "",
        )
    )
    # java.net.URI wants something after "//", if only a fragment, and something between "scheme:" and a fragment.
    if (encoded if authority == "" else encoded.partition("#")[0]) in (f"{scheme}:", f"{scheme}://", "//"):
        raise invalid(argument, "a URL with something after its scheme", value)
    if len(encoded) > WHOLE_LIMIT:
        raise invalid(argument, f"at most {WHOLE_LIMIT} characters long once percent-encoded", value)
    return encoded


def _escape(part: str, also_safe: str) -> str:
    return quote(_LONE_PERCENT.sub("%25", part), safe=_MARKS + also_safe)


def _encode_authority(argument: str, value: str, authority: str) -> tuple[str, str]:
    """The host as it is measured, and the whole authority, both legal."""
    match = _HOST.fullmatch(authority)
    if match is None:
        raise invalid(argument, "a URL with a host name or address after '//'", value)
    host = match["host"]
    if host.startswith("["):
        if not _is_ipv6(host):
            raise invalid(argument, "a URL with an IPv6 address between its brackets", value)
    elif host.isascii():
        host = _escape(host, "")
    else:
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            host = ""
        # Normalisation can make any ASCII character of an exotic one: a slash of U+FF0F, an @ of U+FF20.
        if not _IDNA.fullmatch(host):
            raise invalid(argument, "a URL with a legal host name", value)
    return host, _escape(match["before"], "") + host + _escape(match["after"], "")


def _is_ipv6(host: str) -> bool:
    match = _IPV6.fullmatch(host)
    try:
        return match is not None and bool(IPv6Address(match[1]))
    except ValueError:
        return False
