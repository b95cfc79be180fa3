"""The way to a collector, below HTTP: its name, its port, its certificate."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests.utils

from snowplow_tracker.addresses import is_loopback
from snowplow_tracker.cli.findings import Finding

_CERTIFICATE_ENDS_SOON_DAYS: Final = 14
_DAY_S: Final = 86_400

# From OpenSSL's verify codes (x509_vfy.h) to what to do.
_CERTIFICATE_ADVICE: Final = {
    9: "its clock or this machine's is wrong.",
    10: "renew it on the collector.",
    18: "a certificate that only the collector itself vouches for needs REQUESTS_CA_BUNDLE to point to it.",
    19: "the authority is not known here: point REQUESTS_CA_BUNDLE to its certificate.",
    20: "the collector must send the intermediate certificates, or REQUESTS_CA_BUNDLE point to the authority's.",
    21: "the collector must send the intermediate certificates, or REQUESTS_CA_BUNDLE point to the authority's.",
    62: "use the name that the certificate is for.",
    64: "use the name that the certificate is for, not the IP address.",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a collector is said to be.

    Attributes:
        origin: ``scheme://name[:port]``.
        secure: Whether that is https.
    """

    origin: str
    name: str
    port: int
    secure: bool

    @classmethod
    def of(cls, url: str) -> Target:
        """The target of a whole address."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return cls(f"{parts.scheme}://{parts.netloc}", parts.hostname or "", port, secure)

    def by(self, scheme: str, *, same_port: bool = True) -> str:
        """The same host by http or https, at the same port or at the scheme's own."""
        host = f"[{self.name}]" if ":" in self.name else self.name
        return f"{scheme}://{host}:{self.port}" if same_port else f"{scheme}://{host}"


def examine_connection(target: Target, timeout_s: float) -> Iterator[Finding]:
    """Look at everything below HTTP; the last finding is the one that failed, if any."""
    proxy = requests.utils.select_proxy(target.origin, requests.utils.get_environ_proxies(target.origin))
    if proxy:
        where = urlsplit(proxy)
        text = f"requests go through {where.hostname}:{where.port or 80}, as the environment says"
        yield Finding("proxy", "note", text, "to go around it: name the collector's host in NO_PROXY.")
        return
    addresses = _Resolution(target).wait(timeout_s)
    if isinstance(addresses, Finding):
        yield addresses
        return
    if target.name not in addresses:  # an IP address needs no resolving
        yield Finding("name", "ok", f"{target.name} is {', '.join(addresses)}")
    stream = None
    for finding, connected in _connections(target, addresses, timeout_s):
        yield finding
        stream = stream or connected
    if stream is not None:
        with stream:
            if target.secure:
                yield from _tls(target, stream)


# --- name ------------------------------------------------------------------------------------------------------


class _Resolution(threading.Thread):
    """Looks up a name; in a thread, since the system's resolver knows no time-out of ours."""

    def __init__(self, target: Target) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._found: list[str] | Finding | None = None

    def run(self) -> None:
        target = self._target
        try:
            found = socket.getaddrinfo(target.name, target.port, type=socket.SOCK_STREAM)
            self._found = list(dict.fromkeys(str(address[0]) for *_, address in found))
        except (OSError, UnicodeError) as error:
            text = f"{target.name} can't be found: {getattr(error, 'strerror', None) or error}"
            self._found = Finding("name", "FAIL", text, "check the spelling, the network, and whether it needs a VPN.")

    def wait(self, timeout_s: float) -> list[str] | Finding:
        """The addresses, or what went wrong."""
        self.start()
        self.join(timeout_s)
        late = Finding(
            "name",
            "FAIL",
            f"{self._target.name} was looked up for {timeout_s:g} s without an answer",
            "the name server of this machine does not answer: check the network.",
        )
        return self._found or late


# --- port ------------------------------------------------------------------------------------------------------


def _connections(
    target: Target, addresses: list[str], timeout_s: float
) -> Iterator[tuple[Finding, socket.socket | None]]:
    """Try the addresses in turn until one accepts; the others cost time, but only all of them together fail."""
    failures = []
    for address in addresses:
        began = time.monotonic()
        try:
            stream = socket.create_connection((address, target.port), timeout_s)
        except OSError as error:
            failures.append((f"{address} port {target.port}: {_in_words(error, timeout_s)}", error))
            continue
        took_ms = (time.monotonic() - began) * 1000
        advice = "every new connection tries it first: have it repaired or removed."
        yield from ((Finding("port", "warn", text, advice), None) for text, _ in failures)
        yield Finding("port", "ok", f"{address} port {target.port} accepts connections ({took_ms:.0f} ms)"), stream
        return
    yield from ((Finding("port", "FAIL", text, _port_advice(target, error)), None) for text, error in failures)


def _in_words(error: OSError, timeout_s: float) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    return error.strerror or type(error).__name__


def _port_advice(target: Target, error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "a firewall drops it, or the machine is down."
    if is_loopback(target.name):
        return f"start a collector: snowplow-tracker collector --port {target.port}"
    other = target.by("http" if target.secure else "https", same_port=False)
    return f"is it the right port? Collectors listen on 443 for https, 80 for http; try {other}"


# --- certificate -----------------------------------------------------------------------------------------------


def _tls(target: Target, stream: socket.socket) -> Iterator[Finding]:
    """Shake hands as the tracker would: with the bundle that requests would use."""
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    bundle = named or requests.utils.DEFAULT_CA_BUNDLE_PATH
    try:
        folder = os.path.isdir(bundle)
        context = ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
    except OSError as error:
        text = f"the certificates in {bundle} can't be read: {error.strerror or error}"
        yield Finding("TLS", "FAIL", text, "check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE.")
        return
    try:
        with context.wrap_socket(stream, server_hostname=target.name) as secured:
            yield _certificate(secured)
    except ssl.SSLCertVerificationError as error:
        advice = _CERTIFICATE_ADVICE.get(error.verify_code, "")
        yield Finding("TLS", "FAIL", f"the certificate is not accepted: {error.verify_message.rstrip('.')}", advice)
    except (OSError, ValueError) as error:
        yield _no_handshake(target, error)


def _certificate(secured: ssl.SSLSocket) -> Finding:
    certificate: Any = secured.getpeercert() or {}
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) // _DAY_S)
    text = f"{secured.version()}, the certificate is good for {days} more days"
    if days < _CERTIFICATE_ENDS_SOON_DAYS:
        return Finding("TLS", "warn", text, "when it ends, no event will arrive any more: renew it.")
    return Finding("TLS", "ok", text)


def _no_handshake(target: Target, error: Exception) -> Finding:
    reason = getattr(error, "reason", None) or type(error).__name__
    plain = f"try {target.by('http')}"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return Finding("TLS", "FAIL", "what listens there speaks no TLS", f"it may be plain http: {plain}")
    if isinstance(error, TimeoutError):
        return Finding("TLS", "FAIL", "no answer to the TLS handshake", f"it may be plain http: {plain}")
    return Finding("TLS", "FAIL", f"the TLS handshake failed ({reason})", f"it may be plain http: {plain}")
