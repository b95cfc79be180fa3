"""From pairs to bytes, and from bytes to requests: pure functions, no state.

An event is encoded once, into a *fragment*: one flat JSON object of string values, UTF-8, without its closing brace. It
stays those bytes in every queue and file. A POST body is then one `bytes.join`, whose joint stamps the sending time.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode

import attrs
import orjson

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.self_describing_json import SelfDescribingJson
from snowplow_tracker.validators import INT64_MAX, check_encodable, describe, invalid

JsonEncoder: TypeAlias = Callable[[Any], Any]
"""Called with a value that has no JSON form; returns one that has."""

SCHEMA_VENDOR: Final = "iglu:com.snowplowanalytics.snowplow"
_BODY_HEAD: Final = b'{"schema":"%s/payload_data/jsonschema/1-0-4","data":[' % SCHEMA_VENDOR.encode()
_BODY_TAIL: Final = b"]}"
STAMP_BYTES: Final = len(b',"stm":"1369330909000"},')
"""What sending adds to a fragment in a POST body."""
ENVELOPE_BYTES: Final = len(_BODY_HEAD + _BODY_TAIL)
"""What a POST body holds besides its events."""

# The pipeline refuses JSON of 50 levels or more; the envelopes of an event and of a list of contexts take some of them.
_DEEPEST: Final = 50
_EVENT_LEVELS: Final = _DEEPEST - 1 - 2
_CONTEXT_LEVELS: Final = _DEEPEST - 1 - 3


class Payload:
    """Wire pairs that are put together step by step, for `Emitter.input`: a class of the official package.

    Attributes:
        nv_pairs: Wire key to value.
    """

    def __init__(self, dict_: Mapping[str, Any] | None = None) -> None:
        self.nv_pairs: dict[str, Any] = dict(dict_ or {})

    def add(self, name: str, value: Any) -> None:
        """Set a pair; None and ``""`` are left out."""
        if value is not None and value != "":
            self.nv_pairs[name] = value

    def add_dict(self, dict_: Mapping[str, Any], base64: bool = False) -> None:
        """`add` every pair of a dict; *base64* has no effect."""
        for name, value in dict_.items():
            self.add(name, value)

    def add_json(
        self,
        dict_: Any,
        encode_base64: bool,
        type_when_encoded: str,
        type_when_not_encoded: str,
        json_encoder: JsonEncoder | None = None,
    ) -> None:
        """Set JSON under the key that says which form it has; nothing for None and ``{}``."""
        if dict_ is not None and dict_ != {}:
            encoded = encode_json("dict_", dict_, json_encoder, _DEEPEST - 1)
            self.add_dict(JsonForm(encode_base64).json_pair(type_when_encoded, type_when_not_encoded, encoded))

    def get(self) -> dict[str, Any]:
        """The pairs."""
        return self.nv_pairs


# --- pairs to fragment -----------------------------------------------------------------------------------------


def encode_pairs(pairs: dict[str, str]) -> bytes:
    """Encode pairs for the inside of a fragment: no braces, no comma at either end; empty for no pairs."""
    return orjson.dumps(pairs)[1:-1]


def fragment(head: bytes, pairs: dict[str, str]) -> bytes:
    """Encode one event.

    Args:
        head: The pairs that stay the same between calls, encoded when they were set: ``{"key":"value",`` and so on,
            with the opening brace and a comma at the end.
        pairs: The event's own, wire key to text; at least one.

    Returns:
        The fragment. It is a concatenation on purpose: the bytes that `orjson.dumps` returns sit in an over-sized
        buffer (8 kB of resident memory an event with orjson 3.13) and must not be kept.
    """
    return head + orjson.dumps(pairs)[1:-1]


def payload_dict(fragment: bytes) -> dict[str, str]:
    """An event as callbacks see it: wire key to text, without ``stm``."""
    pairs: dict[str, str] = orjson.loads(fragment + b"}")
    return pairs


# --- fragments to requests -------------------------------------------------------------------------------------


def post_body(fragments: Sequence[bytes], *, sent_at_ms: int) -> bytes:
    """Join encoded events into the body of one POST request.

    Args:
        fragments: At least one, in the order to send.
        sent_at_ms: When this attempt starts, milliseconds since the Unix epoch; every event's ``stm``.

    Raises:
        ValueError: *fragments* is empty.

    Source: protocol, "POST body" (``payload_data`` 1-0-4).
    """
    if not fragments:
        raise ValueError("post_body(): 'fragments' must hold at least one event, got none")
    stamp = b',"stm":"%d"}' % sent_at_ms
    return b"".join((_BODY_HEAD, (stamp + b",").join(fragments), stamp, _BODY_TAIL))


def get_query(fragment: bytes, *, sent_at_ms: int) -> str:
    """Encode one event as the query string of a GET request; a blank is ``%20``, never ``+``.

    Source: protocol, "Escaping in GET".
    """
    pairs = payload_dict(fragment)
    pairs["stm"] = str(sent_at_ms)
    return urlencode(pairs, quote_via=quote, safe="")


# --- JSON inside an event --------------------------------------------------------------------------------------


@attrs.frozen
class JsonForm:
    """How a tracker writes JSON into an event: its ``encode_base64`` and ``json_encoder``."""

    base64: bool = True
    encoder: JsonEncoder | None = None

    def event_pairs(self, argument: str, schema: str, data: Any) -> dict[str, str]:
        """The pairs of a self-describing event (protocol: ``ue_px``, ``ue_pr``).

        Args:
            argument: Where the data came from, for errors.
            schema: Its Iglu URI.
            data: JSON object or array.
        """
        inner = described(schema, encode_json(argument, data, self.encoder, _EVENT_LEVELS))
        envelope = described(f"{SCHEMA_VENDOR}/unstruct_event/jsonschema/1-0-0", inner)
        return {"e": "ue", **self.json_pair("ue_px", "ue_pr", envelope)}

    def context_pair(self, entities: Sequence[bytes]) -> dict[str, str]:
        """The pair of a list of contexts, each encoded by `context_json` (protocol: ``cx``, ``co``)."""
        envelope = described(f"{SCHEMA_VENDOR}/contexts/jsonschema/1-0-1", b"[%b]" % b",".join(entities))
        return self.json_pair("cx", "co", envelope)

    def context_json(self, argument: str, entity: SelfDescribingJson) -> bytes:
        """Encode one context, ready for `context_pair`."""
        return described(entity.schema, encode_json(argument, entity.data, self.encoder, _CONTEXT_LEVELS))

    def flat_pair(self, argument: str, properties: dict[str, Any]) -> dict[str, str]:
        """The pair of 2013's unstructured properties, not self-describing (protocol: "The 2013 wire")."""
        return self.json_pair("ue_px", "ue_pr", encode_json(argument, properties, self.encoder, _EVENT_LEVELS))

    def json_pair(self, base64_key: str, plain_key: str, encoded: bytes) -> dict[str, str]:
        """JSON under the key that says which form it has."""
        if self.base64:
            return {base64_key: base64.urlsafe_b64encode(encoded).decode("ascii")}
        return {plain_key: encoded.decode("utf-8")}


def described(schema: str, data: bytes) -> bytes:
    """``{"schema": …, "data": …}`` around JSON that is encoded already."""
    return b'{"schema":"%b","data":%b}' % (schema.encode("ascii"), data)


def encode_json(argument: str, value: Any, encoder: JsonEncoder | None, levels: int) -> bytes:
    """Encode a caller's data as JSON in UTF-8.

    Args:
        argument: The argument it came by, for errors.
        value: Anything; what has no JSON form goes through *encoder*.
        encoder: The tracker's ``json_encoder``, or None.
        levels: How many levels of arrays and objects may stand inside one another.

    Raises:
        ValidationError: A value has no JSON form, is NaN or infinite, is over 64 bits, holds a lone surrogate, or is
            nested too deep (as data that contains itself is).
    """
    try:
        if _is_plain(value, levels):
            return orjson.dumps(value)
    except (orjson.JSONEncodeError, RuntimeError):
        pass  # a lone surrogate, or another thread changed the data meanwhile: the careful way finds the words
    try:
        return orjson.dumps(_plain(argument, value, encoder, levels))
    except ValidationError:
        raise
    except RuntimeError as error:
        raise invalid(argument, f"left alone while it is tracked ({error})", value) from None


def _is_plain(value: Any, levels: int) -> bool:
    """Whether orjson would write the value exactly as it is meant: the common case, far cheaper than `_plain`."""
    kind = value.__class__
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-INT64_MAX - 1 <= value <= INT64_MAX)
    if kind is float:
        return isfinite(value)
    if kind is dict:
        if not levels:
            return False
        for key, item in value.items():
            if key.__class__ is not str or not _is_plain(item, levels - 1):
                return False
        return True
    if kind is list or kind is tuple:
        if not levels:
            return False
        for item in value:
            if not _is_plain(item, levels - 1):
                return False
        return True
    return False


def _plain(argument: str, value: Any, encoder: JsonEncoder | None, levels: int) -> Any:
    """Rebuild data from plain types, or say what stands in the way and where."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _plain_text(argument, value)
    if isinstance(value, int):
        if not -INT64_MAX - 1 <= value <= INT64_MAX:
            raise invalid(argument, "an integer of at most 64 bits", value)
        return int(value)
    if isinstance(value, float):
        if not isfinite(value):
            raise invalid(argument, "a finite number: JSON has no NaN and no infinity", value)
        return float(value)
    if isinstance(value, (dict, list, tuple)):
        return _plain_container(argument, value, encoder, levels)
    return _plain(argument, _encoded(argument, value, encoder), encoder, _next_level(argument, value, levels))


def _plain_text(argument: str, value: str) -> str:
    check_encodable(argument, value)
    return str.__str__(value)


def _plain_container(argument: str, value: Any, encoder: JsonEncoder | None, levels: int) -> Any:
    inside = _next_level(argument, value, levels)
    if not isinstance(value, dict):
        return [_plain(f"{argument}[{at}]", item, encoder, inside) for at, item in enumerate(value)]
    plain: dict[str, Any] = {}
    for key, item in value.items():
        name = _plain_key(argument, key)
        if name in plain:
            raise invalid(argument, f"an object whose keys differ as text (two are {name!r})", value)
        plain[name] = _plain(f"{argument}[{name!r}]", item, encoder, inside)
    return plain


def _plain_key(argument: str, key: Any) -> str:
    """A key as text, as `json.dumps` writes it."""
    if isinstance(key, str):
        return _plain_text(argument, key)
    if isinstance(key, float):
        return float.__repr__(_plain(argument, key, None, 1))  # as json.dumps does, whatever form orjson gives a float
    if key is None or isinstance(key, int):
        return orjson.dumps(_plain(argument, key, None, 1)).decode("ascii")
    raise invalid(argument, "an object whose keys are text, numbers, booleans or None", key)


def _next_level(argument: str, value: Any, levels: int) -> int:
    if not levels:
        rule = f"'{argument.partition('[')[0]}' must not contain itself, nor be nested {_DEEPEST} levels deep or more"
        raise ValidationError(f"{rule} (its envelope counts), got a {type(value).__name__} at that depth", rule)
    return levels - 1


def _encoded(argument: str, value: Any, encoder: JsonEncoder | None) -> Any:
    if encoder is None:
        raise invalid(argument, "a value with a JSON form", value, "give the tracker a json_encoder= for it")
    try:
        return encoder(value)
    except Exception as error:
        raise invalid(argument, f"a value that json_encoder takes (it raised {describe(error)})", value) from error
