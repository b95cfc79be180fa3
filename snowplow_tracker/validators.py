"""The shapes an argument can have, and the wording of every argument error.

A *check* takes the argument's name and its value and raises `ValidationError`; a *validator* is the same check in the
form that attrs calls. Limits are those of the enrichment behind the collector (protocol: "Limit is counted in UTF-16
units after cleaning").
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final, TypeAlias

from snowplow_tracker.errors import ValidationError

Check: TypeAlias = Callable[[str, Any], None]
Validator: TypeAlias = Callable[[Any, Any, Any], None]

INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1
SECONDS_LIMIT: Final = 1e11
"""A number of seconds from here on would be the year 5138: it is milliseconds, passed by mistake."""
LAST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, where the enrichment's clock ends."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_CURRENCY: Final = re.compile(r"[A-Za-z]{3}")
_IGLU_URI: Final = re.compile(
    r"iglu:[A-Za-z0-9\-_.]+/[A-Za-z0-9\-_]+/[A-Za-z0-9\-_]+/[1-9][0-9]*-(?:0|[1-9][0-9]*)-(?:0|[1-9][0-9]*)"
)


def describe(value: object) -> str:
    """A value as an error shows it: shortened, with its type."""
    try:
        shown = repr(value)
    except Exception:
        shown = "a value"
    if len(shown) > 80:
        shown = f"{shown[:60]}… ({len(shown)} characters)"
    return shown if value is None else f"{shown} ({type(value).__name__})"


def invalid(argument: str, expected: str, value: object, hint: str = "", *, write: str = "") -> ValidationError:
    """The one wording of an argument error.

    Args:
        argument: The argument's public name; the trailing underscore of ``property_`` or ``id_`` is left off.
        expected: Completes "must be …".
        value: What came.
        hint: The way out, if there is one.
        write: What to write instead, with the value; shown to the caller and not logged.
    """
    rule = f"'{argument.rstrip('_')}' must be {expected}"
    tail = f"; {hint}" if hint else ""
    line = f"; write {write}" if write else ""
    return ValidationError(f"{rule}, got {describe(value)}{tail}{line}", rule + tail)


# --- text ------------------------------------------------------------------------------------------------------


def utf16_length(text: str) -> int:
    """How long the enrichment finds a text: UTF-16 units, a tab as four blanks, other control characters gone."""
    units = len(text) + sum(character > "\uffff" for character in text)
    return units + 3 * text.count("\t") - text.count("\n")


def check_encodable(argument: str, value: str) -> None:
    """Refuse text that UTF-8 does not have: lone surrogates."""
    if _SURROGATE.search(value):
        raise invalid(argument, "text that can be encoded as UTF-8 (it holds a lone surrogate)", value)


def check_characters(argument: str, value: str) -> None:
    """Refuse what cannot travel: lone surrogates and control characters other than tab and newline."""
    check_encodable(argument, value)
    found = _CONTROL.search(value)
    if found:
        raise invalid(argument, f"text without control characters (it holds {found.group()!r})", value)


def _check_text(argument: str, value: object, limit: int, expected: str) -> None:
    if not isinstance(value, str):
        hint = "decode it first" if isinstance(value, (bytes, bytearray)) else ""
        raise invalid(argument, expected, value, hint)
    check_characters(argument, value)
    length = utf16_length(value)
    if length > limit:
        raise invalid(argument, f"at most {limit} characters long (UTF-16 units; this has {length})", value)


def required_text(limit: int) -> Validator:
    """Text that must say something, at most *limit* UTF-16 units long."""
    expected = "a non-empty string"
    surely_short = limit // 2

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        # Printable text has no control character, tab or surrogate, and half the limit in code points fits in any
        # case: nearly every call ends here.
        if value.__class__ is str and value.isprintable() and 0 < len(value) <= surely_short:
            return
        _check_text(attribute.name, value, limit, expected)
        if not value.strip("\n"):  # the enrichment drops newlines and then finds nothing
            raise invalid(attribute.name, expected, value)

    return validate


def optional_text(limit: int) -> Validator:
    """None, or text of at most *limit* UTF-16 units; ``""`` is taken and then left off the wire."""
    expected = "a string or None"
    surely_short = limit // 2

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if value is None or (value.__class__ is str and value.isprintable() and len(value) <= surely_short):
            return
        _check_text(attribute.name, value, limit, expected)

    return validate


def check_text(argument: str, value: object, limit: int) -> None:
    """The check of `required_text`, outside an attrs class."""
    _check_text(argument, value, limit, "a non-empty string")
    if not str(value).strip("\n"):
        raise invalid(argument, "a non-empty string", value)


def check_uuid(argument: str, value: object) -> None:
    """A UUID as text, 8-4-4-4-12 hexadecimal digits (protocol: ``eid``, ``sid``)."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise invalid(argument, "a UUID such as '3f2504e0-4f89-41d3-9a0c-0305e82c3301'", value)


def check_iglu_uri(argument: str, value: object) -> None:
    """A schema's address (protocol: "Iglu URI")."""
    if not isinstance(value, str) or not _IGLU_URI.fullmatch(value):
        raise invalid(
            argument,
            "an Iglu URI: iglu:vendor/name/format/M-R-A, such as iglu:com.acme/save_game/jsonschema/1-0-0",
            value,
        )


def one_of(choices: Iterable[str]) -> Check:
    """One of a few codes."""
    allowed = tuple(choices)

    def check(argument: str, value: object) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise invalid(argument, f"one of {', '.join(allowed)}", value)

    return check


def currency(value: str | None) -> str | None:
    """Converter of ``currency=``: three ASCII letters, sent in capitals (ISO 4217; protocol ``tr_cu``, ``ti_cu``)."""
    # A plain function that knows its argument's name: mypy can't see through attrs.Converter(takes_field=True).
    if value is None or (isinstance(value, str) and not value):
        return None
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise invalid("currency", "a currency code of three letters, such as 'EUR'", value)
    return value.upper()


# --- numbers ---------------------------------------------------------------------------------------------------


def check_flag(argument: str, value: object) -> None:
    """True or False, nothing that merely counts as one."""
    if not isinstance(value, bool):
        raise invalid(argument, "True or False", value)


def check_number(argument: str, value: Any, expected: str = "a finite number (int, float or Decimal)") -> None:
    """A finite int, float or Decimal within 64 bits; True is not a number."""
    if value.__class__ is float:
        fits = math.isfinite(value)
    elif isinstance(value, bool):
        fits = False
    elif isinstance(value, int):
        fits = -INT64_MAX - 1 <= value <= INT64_MAX
        if not fits:
            raise invalid(argument, "an integer of at most 64 bits", value)
    elif isinstance(value, Decimal):
        # A signalling NaN can't even become a float, and what overflows one is an infinity to the pipeline.
        fits = value.is_finite() and math.isfinite(value)
    elif isinstance(value, float):
        fits = math.isfinite(value)
    else:
        fits = False
    if not fits:
        raise invalid(argument, expected, value)


def number(instance: Any, attribute: Any, value: Any) -> None:
    """Validator: a finite number."""
    check_number(attribute.name, value)


def optional_number(instance: Any, attribute: Any, value: Any) -> None:
    """Validator: a finite number or None."""
    if value is not None:
        check_number(attribute.name, value, "a finite number (int, float or Decimal) or None")


def decimal_text(value: float | Decimal) -> str:
    """A number as the wire writes it (protocol: "Decimal")."""
    if value.__class__ is float:
        return repr(value)
    if isinstance(value, Decimal):
        return Decimal.__str__(value)
    # Not repr(value): a subclass such as numpy.float64 has a repr of its own.
    return int.__repr__(value) if isinstance(value, int) else float.__repr__(value)


def check_integer(argument: str, value: object, low: int, high: int, expected: str = "an integer") -> None:
    """A whole number of type int within *low* and *high*, both included."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(argument, expected, value)
    if not low <= value <= high:
        raise invalid(argument, f"{expected} between {low} and {high}", value)


def integer32(instance: Any, attribute: Any, value: Any) -> None:
    """Validator: an integer of 32 bits (protocol: "Integer")."""
    check_integer(attribute.name, value, -INT32_MAX - 1, INT32_MAX)


def optional_integer32(instance: Any, attribute: Any, value: Any) -> None:
    """Validator: an integer of 32 bits or None."""
    if value is not None:
        check_integer(attribute.name, value, -INT32_MAX - 1, INT32_MAX, "an integer or None")


def check_size(argument: str, value: object, unit: str) -> None:
    """A count of pixels or bits: a positive integer of 32 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid(argument, f"a positive integer ({unit})", value)
    if value > INT32_MAX:
        raise invalid(argument, f"a positive integer ({unit}) of at most {INT32_MAX}", value)


# --- times -----------------------------------------------------------------------------------------------------


def tstamp_ms(argument: str, value: Any) -> int:
    """The milliseconds of a ``tstamp`` (protocol: ``dtm``).

    Args:
        argument: The argument's name, for the error.
        value: Seconds since the Unix epoch, int or float, or an aware datetime.

    Returns:
        Milliseconds since the Unix epoch, rounded to the nearest: whole milliseconds come out exactly.
    """
    expected = "seconds since the epoch (as time.time() gives) or an aware datetime"
    if isinstance(value, datetime):
        return _datetime_ms(argument, value)
    if isinstance(value, (list, tuple)):
        raise invalid(argument, expected, value, "pass the list of contexts by keyword: context=[…]")
    if not _is_finite(value):
        raise invalid(argument, expected, value)
    if value >= SECONDS_LIMIT:
        rule = "in seconds since the epoch; this looks like milliseconds"
        hint = "divide by 1000, or pass it by keyword if it is the event's true time"
        raise invalid(argument, rule, value, hint, write=f"true_timestamp={value!r}")
    if value <= 0:
        raise invalid(argument, f"positive: {expected}", value)
    milliseconds: int = round(value * 1000)
    return milliseconds


def _is_finite(value: object) -> bool:
    """Whether a time is an int or a finite float; an int may be too large for `math.isfinite`."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _datetime_ms(argument: str, value: datetime) -> int:
    if value.tzinfo is None or value.utcoffset() is None:
        raise invalid(argument, "an aware datetime", value, "give it a time zone: datetime.now(timezone.utc)")
    since = value - _EPOCH
    if since <= timedelta(0):
        raise invalid(argument, "after 1970-01-01T00:00:00Z", value)
    # Integers all the way: a float of seconds would lose the millisecond it should be rounded to.
    milliseconds = (since + timedelta(microseconds=500)) // timedelta(milliseconds=1)
    if milliseconds > LAST_MS:  # a zone west of Greenwich, or the rounding, reaches the year 10000
        raise invalid(argument, "before the year 10000 in UTC", value)
    return milliseconds


def check_true_timestamp(argument: str, value: Any) -> None:
    """Milliseconds since the epoch (protocol: ``ttm``); below 1e11 it would be seconds by mistake."""
    expected = "milliseconds since the epoch"
    if not _is_finite(value):
        raise invalid(argument, expected, value)
    if value < SECONDS_LIMIT:
        raise invalid(argument, f"{expected}; this looks like seconds", value, "multiply by 1000")
    if value > LAST_MS:
        raise invalid(argument, f"{expected}, up to the year 9999", value)
