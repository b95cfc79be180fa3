"""The kinds of value a wire key can have: what the enrichment converts them to, and what it refuses.

A `Check` takes the text on the wire and returns None if the pipeline takes it, else what it must be, in words that
complete "KEY must be …". Source: enrich `ConversionUtils`, `MiscEnrichments`, `ClientEnrichments` (protocol,
"Conversions").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from snowplow_tracker.collector.uris import uri_fault, utf16_units

Check: TypeAlias = "Callable[[str], str | None]"
"""From a value on the wire to None, or to what it must be."""

_INTEGER: Final = re.compile(r"([+-]?)0*([0-9]{1,19})")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,10}))?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SIZE: Final = re.compile(r"0*([0-9]{1,10})x0*([0-9]{1,10})")
_IP_SEPARATOR: Final = re.compile(r"[,| ]")
_CLEANING: Final = {**dict.fromkeys([*range(32), 127]), 9: "    "}
_INT32_MAX: Final = 2**31 - 1
_YEAR_0_MS: Final = -62_167_219_200_000
_YEAR_9999_MS: Final = 253_402_300_799_999


def quoted(value: object) -> str:
    """A value as an error shows it: in one line and short."""
    try:
        shown = repr(value)
    except RecursionError:
        shown = f"a deeply nested {type(value).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:50]}… ({len(shown)} characters)"


def cleaned(value: str) -> str:
    """Text as the enrichment keeps it: a tab becomes four blanks, other ASCII control characters go."""
    return value if value.isprintable() else value.translate(_CLEANING)


def is_uuid(value: str) -> bool:
    """Whether a text is 8-4-4-4-12 hexadecimal digits, in any case."""
    return _UUID.fullmatch(value) is not None


def text(limit: int) -> Check:
    """Text of at most *limit* UTF-16 units, counted after cleaning."""
    surely_short = limit // 4  # a tab becomes four characters; nothing grows more

    def check(value: str) -> str | None:
        if len(value) <= surely_short:
            return None
        units = utf16_units(cleaned(value))
        return None if units <= limit else f"at most {limit} characters long (UTF-16 units; this has {units})"

    return check


def ip_address(limit: int) -> Check:
    """Text of which the first item before a comma, bar or blank is kept."""
    check_text = text(limit)
    return lambda value: check_text(_IP_SEPARATOR.split(value, maxsplit=1)[0])


def uri(limit: int, part_limits: Mapping[str, int]) -> Check:
    """Text that must be a URI once cleaned; what is then empty counts as absent."""
    check_text = text(limit)

    def check(value: str) -> str | None:
        kept = cleaned(value)
        return check_text(value) or (uri_fault(kept, part_limits) if kept else None)

    return check


def one_of(*codes: str) -> Check:
    """One of a few codes, in exactly this spelling."""
    allowed = frozenset(codes)
    expected = f"one of {', '.join(codes)}"
    return lambda value: None if value in allowed else expected


def integer(bits: int) -> Check:
    """An integer of 32 or 64 bits; ``null`` in any case reads as absent."""
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    expected = f"an integer of {bits} bits"

    def check(value: str) -> str | None:
        if value.lower() == "null":
            return None
        number = to_int(value)
        return None if number is not None and lowest <= number <= highest else expected

    return check


def decimal(value: str) -> str | None:
    """A number such as ``23``, ``23.``, ``.5`` or ``1e+22``; ``null`` in any case reads as absent."""
    if value.lower() == "null":
        return None
    matched = _DECIMAL.fullmatch(value)
    # BigDecimal keeps its exponent in 32 bits.
    return None if matched and abs(int(matched[1] or 0)) <= _INT32_MAX else "a decimal number"


def timestamp(value: str) -> str | None:
    """Milliseconds since the epoch in the years 0 to 9999; unlike `integer` it has no ``null``."""
    number = to_int(value)
    if number is not None and _YEAR_0_MS <= number <= _YEAR_9999_MS:
        return None
    return "an integer of milliseconds since the epoch, in the years 0 to 9999"


def uuid(value: str) -> str | None:
    """A UUID with its dashes, in any case."""
    return None if is_uuid(value) else "a UUID (8-4-4-4-12 hexadecimal digits)"


def flag(value: str) -> str | None:
    """``0`` or ``1``."""
    return None if value in ("0", "1") else "0 or 1"


def size(value: str) -> str | None:
    """WIDTHxHEIGHT in pixels, each at most 2147483647."""
    matched = _SIZE.fullmatch(value)
    if matched and max(int(matched[1]), int(matched[2])) <= _INT32_MAX:
        return None
    return "WIDTHxHEIGHT in pixels, each at most 2147483647"


def to_int(value: str) -> int | None:
    """An integer of up to 19 digits, which is what 64 bits can need, or None."""
    matched = _INTEGER.fullmatch(value)
    return int(matched[1] + matched[2]) if matched else None
