"""Where a collector is: from what a user writes to the URL that requests go to."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from snowplow_tracker.validators import invalid

POST_PATH: Final = "/com.snowplowanalytics.snowplow/tp2"
GET_PATH: Final = "/i"

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]\\]+)(?::(?P<port>[0-9]{1,5}))?")
_SUBDOMAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?")


def cloudfront_host(cf_subdomain: object) -> str:
    """The host of a CloudFront distribution, from the part before ``.cloudfront.net``."""
    if not isinstance(cf_subdomain, str) or not _SUBDOMAIN.fullmatch(cf_subdomain):
        expected = "the subdomain alone, such as 'd3rkrsqld9gmqf' for d3rkrsqld9gmqf.cloudfront.net"
        hint = "for a host name use Tracker.hostname()" if isinstance(cf_subdomain, str) and "." in cf_subdomain else ""
        raise invalid("cf_subdomain", expected, cf_subdomain, hint)
    return f"{cf_subdomain}.cloudfront.net"


def collector_url(argument: str, endpoint: object, protocol: str | None, port: int | None, method: str) -> str:
    """The whole address that requests go to.

    Args:
        argument: The argument that *endpoint* came by, for errors.
        endpoint: ``name``, ``name:port`` or ``http(s)://name[:port]``.
        protocol: ``http`` or ``https`` where *endpoint* does not say; https if neither does, but http for a loopback
            address.
        port: Where *endpoint* does not say.
        method: ``post`` or ``get``.
    """
    expected = "the collector's host: 'name', 'name:port' or 'https://name:port'"
    if not isinstance(endpoint, str) or not endpoint:
        raise invalid(argument, expected, endpoint)
    scheme, separator, rest = endpoint.rpartition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise invalid(argument, f"{expected}; a scheme is http or https", endpoint)
    match = _HOST.fullmatch(rest.rstrip("/"))
    if match is None:
        raise invalid(argument, expected, _without_credentials(endpoint), _what_is_wrong(rest))
    name, own_port = match["name"], match["port"]
    if own_port and port is not None and int(own_port) != port:
        raise invalid("port", f"the same as in {argument}, {own_port}", port)
    number = int(own_port) if own_port else port
    if number is not None and not 0 < number < 65536:
        raise invalid(argument if own_port else "port", "a port between 1 and 65535", number)
    secure = (scheme.lower() or protocol or ("http" if is_loopback(name) else "https")) == "https"
    origin = f"{'https' if secure else 'http'}://{name}{f':{number}' if number else ''}"
    url = origin + (POST_PATH if method == "post" else GET_PATH)
    # Whoever gets here is about to send over HTTP: for `import snowplow_tracker`, requests would be half of the time.
    import requests

    try:
        prepared = requests.Request("POST", url).prepare()
    except (requests.RequestException, UnicodeError, ValueError):
        raise invalid(argument, expected, endpoint) from None
    return prepared.url or url


def is_loopback(name: str) -> bool:
    """Whether a host name is this machine: ``localhost``, ``127.*``, ``[::1]``, and no name that only begins so."""
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _without_credentials(endpoint: str) -> str:
    return re.sub(r"[^/@]*@", "…@", endpoint)


def _what_is_wrong(rest: str) -> str:
    if "@" in rest:
        return "credentials in the address would end up in logs: configure them on a session="
    if "/" in rest.rstrip("/") or "?" in rest or "#" in rest:
        return "leave the path off: the tracker adds its own"
    return "it has blanks in it" if re.search(r"\s", rest) else ""
