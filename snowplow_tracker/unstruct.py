"""`UnstructEvent`: 2013's unstructured event, a name and flat properties with type suffixes.

A property's name may end in a suffix that says what its value is: ``$int`` an integer, ``$flt`` a float, ``$geo`` a
(latitude, longitude) pair, ``$dt`` days, ``$tm`` or ``$ts`` seconds and ``$tms`` milliseconds since the Unix epoch. An
array takes the suffix of its elements.

Source: protocol, "The 2013 wire".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cached_property, partial
from math import isfinite
from typing import Any, Final, TypeAlias

import attrs

from snowplow_tracker.events import Event
from snowplow_tracker.payload import JsonForm
from snowplow_tracker.validators import INT64_MAX, check_encodable, check_integer, check_number, invalid, required_text

Scalar: TypeAlias = str | int | float | bool | None

_NAME_LIMIT: Final = 1000  # atomicFieldsLimits: event_name, event_vendor
_IGLU_VENDOR: Final = re.compile(rf"[A-Za-z0-9\-_.]{{1,{_NAME_LIMIT}}}")
_IGLU_NAME: Final = re.compile(r"[A-Za-z0-9\-_]+")

_DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime(1970, 1, 1)  # naive, as all arithmetic here is UTC and the Z is written by hand
_SCALAR: Final = "None, a boolean, a string, an integer or a finite float"
_FIRST_MS: Final = (datetime.min - _EPOCH) // timedelta(milliseconds=1)
_LAST_MS: Final = (datetime.max - _EPOCH) // timedelta(milliseconds=1)


# --- properties ------------------------------------------------------------------------------------------------


def flat_properties(properties: dict[str, Any]) -> dict[str, Any]:
    """Converter of ``properties=``: a checked copy of plain types, which nobody can change afterwards.

    A tracker's ``json_encoder`` is not asked: what it returns for a value has no place among seven suffixes.

    Raises:
        ValidationError: Names the property that has no flat form, or whose value its suffix does not match.
    """
    if not isinstance(properties, dict):
        raise invalid("properties", "a dict of names and values", properties)
    flat = dict(properties)
    for name, value in flat.items():
        kind = value.__class__
        # An identifier holds no "$", and printable text no surrogate: nearly every property ends here.
        if (
            name.__class__ is str
            and name.isidentifier()
            and (
                (kind is str and value.isprintable())
                or (kind is int and -INT64_MAX - 1 <= value <= INT64_MAX)
                or (kind is float and isfinite(value))
                or kind is bool
                or value is None
            )
        ):
            continue
        return {_plain_name(name): _typed(name, value) for name, value in flat.items()}
    return flat


def _plain_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise invalid("properties", "a dict whose names are non-empty strings", name)
    check_encodable(_place(name), name)
    return str.__str__(name)


def _typed(name: str, value: Any) -> Any:
    """A property's value as plain types, after the checks of its suffix."""
    place = _place(name)
    bare, dollar, suffix = name.partition("$")
    if not dollar:
        return _values(place, value)
    check = _SUFFIXES.get(suffix)
    if check is None:
        known = " ".join(f"${known}" for known in _SUFFIXES)
        raise invalid(place, f"named with a suffix out of {known}, or without a '$'", value)
    if not bare:
        raise invalid(place, f"named with something before its suffix ${suffix}", value)
    return None if value is None else check(place, value)


def _place(name: str) -> str:
    """Where a property is, as an error shows it."""
    return f"properties[{name!r}]" if len(name) <= 80 else f"properties[{name[:60] + '…'!r}]"


def _values(place: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_scalar(f"{place}[{at}]", item, _SCALAR) for at, item in enumerate(value)]
    return _scalar(place, value, f"{_SCALAR}, or an array of these")


def _scalar(place: str, value: Any, expected: str) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        check_encodable(place, value)
        return str.__str__(value)
    if isinstance(value, int):
        return _integer(place, value, "an integer")
    if isinstance(value, float) and isfinite(value):
        return float(value)
    nested = isinstance(value, (dict, list, tuple))
    raise invalid(place, expected, value, "nested data needs a SelfDescribingJson" if nested else "")


# --- suffixes --------------------------------------------------------------------------------------------------


def _array_or_one(one: Callable[[str, Any], Any], place: str, value: Any) -> Any:
    """Apply a suffix to a value, or to each element of an array; a None in it stays one."""
    if not isinstance(value, (list, tuple)):
        return one(place, value)
    return [None if item is None else one(f"{place}[{at}]", item) for at, item in enumerate(value)]


def _integer(place: str, value: Any, expected: str) -> int:
    check_integer(place, value, -INT64_MAX - 1, INT64_MAX, expected)
    return int(value)


def _float(place: str, value: Any) -> float:
    if not isinstance(value, float) or not isfinite(value):
        raise invalid(place, "a finite float ($flt)", value)
    return float(value)


def _geo(place: str, value: Any) -> Any:
    """One pair, or an array of pairs: what holds only arrays (or None) is the latter."""
    if isinstance(value, (list, tuple)) and all(item is None or isinstance(item, (list, tuple)) for item in value):
        return [None if item is None else _pair(f"{place}[{at}]", item) for at, item in enumerate(value)]
    return _pair(place, value)


def _pair(place: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise invalid(place, "a pair (latitude, longitude) of numbers ($geo)", value)
    latitude, longitude = value
    return _degrees(place, "latitude", latitude, 90), _degrees(place, "longitude", longitude, 180)


def _degrees(place: str, what: str, value: Any, limit: int) -> float:
    expected = f"a pair (latitude, longitude) whose {what} is a number between -{limit} and {limit} ($geo)"
    if not isinstance(value, (int, float)):  # check_number takes a Decimal, which JSON does not know
        raise invalid(place, expected, value)
    check_number(place, value, expected)
    if not -limit <= value <= limit:
        raise invalid(place, expected, value)
    return int(value) if isinstance(value, int) else float(value)


_SUFFIXES: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "int": partial(_array_or_one, partial(_integer, expected="an integer ($int)")),
    "flt": partial(_array_or_one, _float),
    "geo": _geo,
    "dt": partial(_array_or_one, partial(_integer, expected="an integer, days since the epoch ($dt)")),
    "tm": partial(_array_or_one, partial(_integer, expected="an integer, seconds since the epoch ($tm)")),
    "ts": partial(_array_or_one, partial(_integer, expected="an integer, seconds since the epoch ($ts)")),
    "tms": partial(_array_or_one, partial(_integer, expected="an integer, milliseconds since the epoch ($tms)")),
}


# --- self-describing form --------------------------------------------------------------------------------------


def _resolved(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Flat properties, checked already, as self-describing data: suffixes gone, values in the form they stood for."""
    data: dict[str, Any] = {}
    for name, value in properties.items():
        bare, _, suffix = name.partition("$")
        if bare in data:
            expected = f"the only property called {bare!r} once suffixes are gone, as event_vendor is set"
            raise invalid(_place(name), expected, value)
        data[bare] = _meant(_place(name), suffix, value)
    return data


def _meant(place: str, suffix: str, value: Any) -> Any:
    unit_ms = _UNITS_MS.get(suffix)
    if unit_ms is not None and value is not None:
        return _array_or_one(partial(_date_time, unit_ms=unit_ms), place, value)
    if suffix == "geo" and value is not None:
        return _position(value) if isinstance(value, tuple) else [item and _position(item) for item in value]
    return value


_UNITS_MS: Final[Mapping[str, int]] = {"dt": _DAY_MS, "tm": 1000, "ts": 1000, "tms": 1}


def _date_time(place: str, value: int, unit_ms: int) -> str:
    """A time since the epoch as RFC 3339 writes it, in UTC with milliseconds (protocol: "date-time")."""
    milliseconds = value * unit_ms
    if not _FIRST_MS <= milliseconds <= _LAST_MS:
        raise invalid(place, "a time between the years 1 and 9999, as event_vendor is set", value)
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds") + "Z"


def _position(pair: tuple[float, float]) -> dict[str, float]:
    return {"latitude": pair[0], "longitude": pair[1]}


def check_event_vendor(argument: str, value: object) -> None:
    """The part of an Iglu URI that names whose schema it is, such as ``com.acme``."""
    if not isinstance(value, str) or not _IGLU_VENDOR.fullmatch(value):
        raise invalid(argument, "a vendor such as 'com.acme' (ASCII letters, digits, '.', '-' and '_')", value)


def _self_describing_form(instance: UnstructEvent, attribute: Any, value: Any) -> None:
    """Validator of ``event_vendor=``: None, or one with which the event has a self-describing form."""
    if value is None:
        return
    check_event_vendor(attribute.name, value)
    if not _IGLU_NAME.fullmatch(instance.name):
        expected = "fit for an Iglu URI, as event_vendor is set (ASCII letters, digits, '-' and '_')"
        raise invalid("name", expected, instance.name)
    # Resolved here, inside the call that passed the properties, and not when the event is rendered.
    _ = instance.self_describing_data


@attrs.frozen(slots=False)
class UnstructEvent(Event):
    """Something that 2013's flat properties describe (protocol: ``e=ue``).

    Args:
        name: What happened, at most 1,000 characters (``ue_na``).
        properties: Name to value (None, bool, str, int of 64 bits, finite float) or array of values; names may end in a
            type suffix. Copied and checked: what the caller changes afterwards does not change the event.
        event_vendor: Whose schema describes the event, such as ``com.acme``: it then goes out as the self-describing
            event ``iglu:<event_vendor>/<name>/jsonschema/1-0-0``. None sends the flat properties as 2013 did, which
            today's pipeline refuses.

    Raises:
        ValidationError: A property breaks a rule; or, with *event_vendor*, the name does not fit into an Iglu URI, two
            properties are the same once suffixes are gone, or a time is outside the years 1 to 9999.
    """

    name: str = attrs.field(validator=required_text(_NAME_LIMIT))
    properties: dict[str, Any] = attrs.field(converter=flat_properties)
    event_vendor: str | None = attrs.field(default=None, validator=_self_describing_form)

    @cached_property
    def self_describing_data(self) -> dict[str, Any]:
        """The properties by their names without suffix, each value in the form that its suffix stands for."""
        return _resolved(self.properties)

    def pairs(self, form: JsonForm) -> dict[str, str]:
        if self.event_vendor is None:
            return {"e": "ue", "ue_na": self.name, **form.flat_pair("properties", self.properties)}
        # Not an f-string: a str enum's member would write its own name there.
        schema = "iglu:" + self.event_vendor + "/" + self.name + "/jsonschema/1-0-0"
        return form.event_pairs("properties", schema, self.self_describing_data)
