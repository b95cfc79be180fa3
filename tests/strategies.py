"""Hypothesis strategies: what users pass, from ordinary text to the characters that break query strings."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

from hypothesis import strategies as st

from snowplow_tracker.catalogue import (
    INPUT_TYPES,
    NODE_NAMES,
    AddToCart,
    FormChange,
    FormSubmit,
    LinkClick,
    RemoveFromCart,
    SiteSearch,
    SocialInteraction,
    Timing,
)
from snowplow_tracker.events import (
    DesktopScreenView,
    EcommerceTransaction,
    EcommerceTransactionItem,
    Event,
    PagePing,
    PageView,
    ScreenView,
    SelfDescribing,
    StructuredEvent,
)
from snowplow_tracker.self_describing_json import SelfDescribingJson
from snowplow_tracker.unstruct import UnstructEvent
from snowplow_tracker.validators import utf16_length

INT64: Final = st.integers(-(2**63), 2**63 - 1)
INT32: Final = st.integers(-(2**31), 2**31 - 1)
FLOATS: Final = st.floats(allow_nan=False, allow_infinity=False)

# Emoji, right-to-left, tab, newline, quotes, and all that means something in a URL, a query string or JSON.
AWKWARD: Final = "\t\n \"'%+&;,:=?#/\\<>{}[]|^`~@!$()*é\u00a0\u0085\u05d0\u202e\u2028\ufeff\ufffd𝄞😀👩\u200d🚀"
# Whole texts as well: left to itself, Hypothesis draws short and simple ones, and one blank in a hundred characters.
_AWKWARD_TEXTS: Final = st.sampled_from(
    [
        "a b",
        "a+b",
        "a;b&c=d",
        "100% %41 %zz",
        "\t\n x",
        "\"'<>\\",
        "{|}^`",
        "שלום\u202e",
        "😀👩\u200d🚀𝄞",
        "?#/",
        "null",
        "  ",
    ]
)
_CONTROL: Final = [chr(code) for code in (*range(0x20), 0x7F)]
_ARGUMENT_CHARACTERS: Final = st.one_of(
    st.sampled_from(AWKWARD), st.characters(codec="utf-8", exclude_characters=_CONTROL)
)


def texts(limit: int = 255, *, min_size: int = 0) -> st.SearchStrategy[str]:
    """Text that any argument takes: no control character but tab and newline, at most *limit* UTF-16 units long."""
    several = st.text(_ARGUMENT_CHARACTERS, min_size=min_size, max_size=min(limit, 30))
    return (several | _AWKWARD_TEXTS).filter(lambda text: utf16_length(text) <= limit)


def limit_texts(limit: int) -> st.SearchStrategy[str]:
    """Text that is exactly as long as an argument may be, of a few awkward characters again and again."""

    def filled(piece: str) -> str:
        text = piece * (limit // utf16_length(piece)) if utf16_length(piece) > 0 else ""
        return text + "x" * (limit - utf16_length(text))

    pieces = st.text(_ARGUMENT_CHARACTERS, min_size=1, max_size=8) | _AWKWARD_TEXTS
    return pieces.map(filled).filter(lambda text: bool(text.strip("\n")))


def required_texts(limit: int = 255) -> st.SearchStrategy[str]:
    """`texts` that say something."""
    return texts(limit, min_size=1).filter(lambda text: bool(text.strip("\n")))


def optional_texts(limit: int = 255) -> st.SearchStrategy[str | None]:
    """None, ``""`` or text."""
    return st.none() | texts(limit)


def data_texts(max_size: int = 20) -> st.SearchStrategy[str]:
    """Text inside JSON data: everything that UTF-8 has, control characters included."""
    any_character = st.characters(codec="utf-8") | st.sampled_from(AWKWARD + "\x00\x1f\r\x7f")
    return st.text(any_character, max_size=max_size) | _AWKWARD_TEXTS


SCALARS: Final = st.one_of(st.none(), st.booleans(), INT64, FLOATS, data_texts())
JSON_VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(data_texts(8), inner, max_size=4),
    max_leaves=12,
)
JSON_OBJECTS: Final = st.dictionaries(data_texts(8), JSON_VALUES, max_size=5)
JSON_DATA: Final = JSON_OBJECTS | st.lists(JSON_VALUES, max_size=4)

NUMBERS: Final = st.one_of(
    INT64, FLOATS, st.decimals(allow_nan=False, allow_infinity=False).filter(lambda d: abs(d) < Decimal("1e300"))
)
CURRENCIES: Final = st.none() | st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3)
UUIDS: Final = st.uuids().map(str)

_IGLU_TEXTS: Final = st.text("abcXYZ019-_", min_size=1, max_size=12)
IGLU_URIS: Final = st.builds(
    "iglu:{}/{}/jsonschema/{}-{}-{}".format,
    _IGLU_TEXTS,
    _IGLU_TEXTS,
    st.integers(1, 99),
    st.integers(0, 99),
    st.integers(0, 99),
)
ENTITIES: Final = st.builds(SelfDescribingJson, IGLU_URIS, JSON_DATA)

TSTAMPS: Final = st.one_of(
    st.integers(1, 99_999_999_999),
    st.floats(1e-3, 9.9e10),
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(timezone.utc)),
    st.datetimes(
        datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=-9, minutes=-30)))
    ),
)
CIRCUMSTANCES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "context": st.none() | st.lists(ENTITIES, max_size=2),
    "true_timestamp": st.none() | st.integers(10**11, 253_402_300_799_999),
    "tstamp": st.none() | TSTAMPS,
}

# --- addresses -------------------------------------------------------------------------------------------------

_HOSTS: Final = st.sampled_from(
    [
        "example.com",
        "localhost:8080",
        "127.0.0.1",
        "[::1]:99",
        "user:pass@host",
        "müller.example",
        "a_b",
        "ex ample",
        "",
    ]
)
URLS: Final = st.one_of(
    st.builds("{}://{}/{}".format, st.sampled_from(["http", "https", "ftp", "app"]), _HOSTS, texts(60)),
    st.builds("www.example.com/{}".format, texts(60)),
    st.builds("/{}".format, texts(60).filter(lambda text: not text.startswith("/"))),
)

# --- unstructured ----------------------------------------------------------------------------------------------

PLAIN_NAMES: Final = data_texts(10).filter(lambda text: bool(text) and "$" not in text)
# Milliseconds of the years 1 to 9999, in which every unit has room.
_MS: Final = st.integers(-62_135_596_800_000, 253_402_300_799_999)
_SECONDS: Final = _MS.map(lambda ms: ms // 1000)
_DAYS: Final = _MS.map(lambda ms: ms // 86_400_000)
_NUMBERS_WITHIN: Final = lambda limit: st.integers(-limit, limit) | st.floats(-limit, limit)  # noqa: E731
PAIRS: Final = st.tuples(_NUMBERS_WITHIN(90), _NUMBERS_WITHIN(180))


def _one_or_several(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values | st.lists(st.none() | values, max_size=3)


SUFFIXED: Final = st.one_of(
    *(
        st.tuples(PLAIN_NAMES.map(lambda name, suffix=suffix: name + suffix), _one_or_several(values))
        for suffix, values in {
            "$int": INT64,
            "$flt": FLOATS,
            "$geo": PAIRS,
            "$dt": _DAYS,
            "$tm": _SECONDS,
            "$ts": _SECONDS,
            "$tms": _MS,
        }.items()
    )
)
_PROPERTY: Final = st.tuples(PLAIN_NAMES, SCALARS | st.lists(SCALARS, max_size=3)) | SUFFIXED
FLAT_PROPERTIES: Final = st.lists(_PROPERTY, max_size=5, unique_by=lambda pair: pair[0].partition("$")[0]).map(dict)

# --- events ----------------------------------------------------------------------------------------------------

_CLASSES: Final = st.none() | st.lists(data_texts(), max_size=3) | st.just(("a", "b"))
_CART: Final[dict[str, st.SearchStrategy[Any]]] = {
    "sku": required_texts(),
    "quantity": NUMBERS,
    "name": optional_texts(),
    "category": optional_texts(),
    "unit_price": st.none() | NUMBERS,
    "currency": CURRENCIES,
}
_FORM_ELEMENTS: Final = st.fixed_dictionaries(
    {"name": data_texts(), "value": st.none() | data_texts(), "nodeName": st.sampled_from(NODE_NAMES)},
    optional={"type": st.sampled_from(INPUT_TYPES)},
)
_RESULTS: Final = st.none() | st.integers(0, 2**31 - 1)
_OFFSETS: Final = st.none() | INT32

CATALOGUE_EVENTS: Final[st.SearchStrategy[Event]] = st.one_of(
    st.builds(LinkClick, required_texts(), optional_texts(), _CLASSES, optional_texts(), optional_texts()),
    st.builds(AddToCart, **_CART),
    st.builds(RemoveFromCart, **_CART),
    st.builds(
        SiteSearch,
        st.lists(data_texts(), min_size=1, max_size=3),
        st.none() | st.dictionaries(data_texts(), data_texts() | st.booleans(), max_size=3),
        _RESULTS,
        _RESULTS,
    ),
    st.builds(SocialInteraction, required_texts(), required_texts(), optional_texts()),
    st.builds(
        FormChange,
        required_texts(),
        texts(),
        st.sampled_from(NODE_NAMES),
        st.none() | data_texts(),
        st.none() | st.sampled_from(INPUT_TYPES),
        _CLASSES,
    ),
    st.builds(FormSubmit, required_texts(), _CLASSES, st.none() | st.lists(_FORM_ELEMENTS, max_size=3)),
    st.builds(Timing, required_texts(), required_texts(), NUMBERS, optional_texts()),
    st.builds(DesktopScreenView, required_texts(), optional_texts()),
    st.builds(ScreenView, UUIDS, required_texts(), optional_texts(), previous_id=st.none() | UUIDS),
)
STRUCTURED_EVENTS: Final = st.builds(
    StructuredEvent,
    required_texts(),
    required_texts(),
    optional_texts(),
    optional_texts(),
    st.none() | NUMBERS,
    **CIRCUMSTANCES,
)
ATOMIC_EVENTS: Final[st.SearchStrategy[Event]] = st.one_of(
    STRUCTURED_EVENTS,
    st.builds(PageView, URLS, optional_texts(2000), st.none() | URLS, **CIRCUMSTANCES),
    st.builds(PagePing, URLS, optional_texts(), st.none(), _OFFSETS, _OFFSETS, _OFFSETS, _OFFSETS),
    st.builds(
        EcommerceTransaction,
        required_texts(),
        optional_texts(),
        NUMBERS,
        st.none() | NUMBERS,
        st.none() | NUMBERS,
        optional_texts(),
        optional_texts(),
        optional_texts(),
        currency=CURRENCIES,
    ),
    st.builds(
        EcommerceTransactionItem,
        required_texts(),
        required_texts(),
        optional_texts(),
        optional_texts(),
        NUMBERS,
        INT32,
        currency=CURRENCIES,
    ),
)
UNSTRUCT_EVENTS: Final = st.one_of(
    st.builds(UnstructEvent, required_texts(), FLAT_PROPERTIES),
    st.builds(UnstructEvent, _IGLU_TEXTS, FLAT_PROPERTIES, st.just("com.acme")),
)
EVENTS: Final[st.SearchStrategy[Event]] = st.one_of(
    ATOMIC_EVENTS, CATALOGUE_EVENTS, UNSTRUCT_EVENTS, st.builds(SelfDescribing, ENTITIES)
)
"""Any event that a tracker accepts."""
