"""The formats of JSON Schema that the enrichment enforces.

Source: json-schema-validator 1.0.76, its formats and ``JsonMetaSchema`` (protocol, "Self-describing JSON"). What a
schema's author expects of a format is RFC 3339, 3986, 5321 and 1123, and ISO 8601 for durations.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import date
from typing import Final

_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,9})?"
_OFFSET: Final = r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_DATE_TIME: Final = re.compile(rf"({_DATE.pattern})[Tt ]{_CLOCK}{_OFFSET}")
_TIME: Final = re.compile(rf"{_CLOCK}{_OFFSET}?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:(?:[^\s\"<>\\^`{|}%]|%[0-9A-Fa-f]{2})+")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_HOSTNAME: Final = re.compile(rf"(?=.{{1,255}}$){_LABEL}(?:\.{_LABEL})*")
_EMAIL: Final = re.compile(rf"(?=.{{1,254}}$)[^\s@<>()\[\],;:\\\"]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_DURATION: Final = re.compile(
    r"[+-]?P(?=[0-9T])(?:[0-9]+W|(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+D)?"
    r"(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+(?:\.[0-9]+)?S)?)?)"
)


def _is_date(text: str) -> bool:
    matched = _DATE.fullmatch(text)
    if not matched:
        return False
    try:
        date(*(int(part) for part in matched.groups()))
    except ValueError:
        return matched[1] == "0000" and "01" <= matched[2] <= "12" and "01" <= matched[3] <= "31"
    return True


def _is_date_time(text: str) -> bool:
    matched = _DATE_TIME.fullmatch(text)
    return matched is not None and _is_date(matched[1])


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


FORMATS: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "date-time": (_is_date_time, "a date and time with seconds and an offset, such as 2013-05-23T17:41:49Z"),
    "date": (_is_date, "a date such as 2013-05-23"),
    "time": (_matches(_TIME), "a time such as 17:41:49"),
    "duration": (_matches(_DURATION), "an ISO 8601 duration such as PT1H30M"),
    "uuid": (_matches(_UUID), "a UUID (8-4-4-4-12 hexadecimal digits)"),
    "uri": (_matches(_URI), "an absolute URI such as https://example.com/"),
    "ipv4": (_is_ipv4, "an IPv4 address"),
    "ipv6": (_is_ipv6, "an IPv6 address"),
    "email": (_matches(_EMAIL), "an e-mail address"),
    "hostname": (_matches(_HOSTNAME), "a host name"),
}
"""Of each format, whether a text has it, and what such a text is."""
