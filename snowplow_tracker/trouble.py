"""What went wrong with a request that got no answer, in words by which a first user can mend it.

Only types, error codes and what OpenSSL says of a certificate are used: an exception's own text may hold a GET URL,
that is, an event.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions


def words(error: BaseException, scheme: str) -> str:
    """The type of an error, and what it means where that is known.

    Args:
        error: What a request raised.
        scheme: ``http`` or ``https``, as it was spoken.
    """
    meaning = next((found for cause in _causes(error) if (found := _meaning(cause, scheme))), "")
    return f"{type(error).__name__}{f' ({meaning})' if meaning else ''}"


def _meaning(cause: BaseException, scheme: str) -> str:
    if isinstance(cause, requests.exceptions.InvalidProxyURL | urllib3.exceptions.ProxyError):
        return "the proxy failed: see https_proxy, http_proxy and no_proxy in the environment"
    if isinstance(cause, requests.ConnectTimeout):
        return "no connection within request_timeout"
    if isinstance(cause, requests.ReadTimeout):
        return "no answer within request_timeout"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS there, {cause.reason}: check the port, or write http:// if it is not encrypted"
    if isinstance(cause, socket.gaierror):
        return (
            "its name cannot be resolved at the moment"
            if cause.errno == socket.EAI_AGAIN
            else "there is no host of that name: check its spelling"
        )
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there: check host and port, and that the collector runs"
    if isinstance(cause, ConnectionError | http.client.BadStatusLine):
        hint = ": check the port, or write https:// if it is encrypted" if scheme == "http" else ""
        return f"no HTTP answer from there{hint}"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it wraps, as requests and urllib3 do: in ``args``, in ``reason``, by ``raise … from``."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
