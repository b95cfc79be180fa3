"""Self-describing JSON on the wire: base64, JSON, the two envelopes, and what is inside them.

Source: enrich ``IgluUtils.scala``, ``JsonUtils.scala``; iglu-core ``SelfDescribingData``; the schemas
``unstruct_event`` and ``contexts`` of Iglu Central (protocol, "Self-describing JSON").
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from snowplow_tracker.collector.kinds import quoted

SchemaCheck: TypeAlias = "Callable[[str, Any], Iterable[str]]"
"""The seam for validation against JSON Schemas: from a schema's URI and its data to what is wrong, a sentence each."""

UNSTRUCT_EVENT: Final = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/"
CONTEXTS: Final = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/"
UNSTRUCT_KEYS: Final = ("ue_pr", "ue_px")
CONTEXT_KEYS: Final = ("co", "cx")
"""The keys that hold them: the first as JSON, the second as base64 of JSON."""
MAX_DEPTH: Final = 50
"""JSON nested this deep is refused: the deepest that passes has 49 objects and arrays within each other."""

_TOO_DEEP: Final = f"must not be nested {MAX_DEPTH} levels deep or deeper"
_UNSTRUCT_VERSIONS: Final = ("1-0-0",)
_CONTEXTS_VERSIONS: Final = ("1-0-0", "1-0-1")
_IGLU_URI: Final = re.compile(
    r"iglu:[A-Za-z0-9\-_.]+/[A-Za-z0-9\-_]+/jsonschema/[1-9][0-9]*-(?:0|[1-9][0-9]*)-(?:0|[1-9][0-9]*)"
)
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]")
_JSON_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_TO_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")


class Malformed(Exception):
    """What a text is not; the message completes a sentence that begins with the key's name."""


def no_schema_check(schema: str, data: Any) -> Iterable[str]:
    """Take any data: what a collector without a folder of schemas can say."""
    return ()


def unstruct_event(key: str, value: str) -> dict[str, Any]:
    """The inner ``{schema, data}`` of ``ue_pr`` or ``ue_px``.

    Raises:
        Malformed: It is not what the enrichment reads.
    """
    found = _parse_value(key, value)
    if isinstance(found, dict) and "schema" not in found:
        raise Malformed(
            "must be self-describing JSON, {schema, data}; this is a flat object as trackers of 2013 sent "
            f"(keys {quoted(sorted(found))}), which today's enrichment refuses"
        )
    _, data = _envelope(found, UNSTRUCT_EVENT, _UNSTRUCT_VERSIONS)
    return _inner(data, "its data")


def contexts(key: str, value: str) -> list[dict[str, Any]]:
    """The list of ``{schema, data}`` in ``co`` or ``cx``.

    Raises:
        Malformed: It is not what the enrichment reads.
    """
    version, data = _envelope(_parse_value(key, value), CONTEXTS, _CONTEXTS_VERSIONS)
    if not isinstance(data, list):
        raise Malformed(f"must hold a list of contexts in its data, got {quoted(data)}")
    if not data and version == "1-0-0":
        raise Malformed("must hold at least one context: contexts/jsonschema/1-0-0 refuses an empty list")
    return [_inner(entity, f"context {index}") for index, entity in enumerate(data)]


def parse_json(text: str) -> Any:
    """Parse JSON as the pipeline does: without NaN and Infinity, however deep.

    Raises:
        Malformed: The text is not such JSON.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None
    except ValueError as error:
        raise Malformed(f"must be JSON, got {quoted(text)} ({error})") from None


def decoded(key: str, value: str) -> Any:
    """What is under a key of self-describing JSON, as far as it can be read: JSON, or else the text itself."""
    text = _from_base64(value) if key.endswith("x") else value
    try:
        check_depth(text)
        return parse_json(text)
    except Malformed:
        return text


def check_depth(text: str) -> None:
    """Refuse JSON that is nested `MAX_DEPTH` levels deep or deeper.

    Raises:
        Malformed: It is.
    """
    if text.count("{") + text.count("[") >= MAX_DEPTH and _depth(text) >= MAX_DEPTH:
        raise Malformed(_TOO_DEEP)


def is_iglu_uri(schema: object) -> bool:
    """Whether it is ``iglu:vendor/name/jsonschema/MODEL-REVISION-ADDITION``."""
    return isinstance(schema, str) and _IGLU_URI.fullmatch(schema) is not None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in _JSON_STRING.sub("", text):
        if character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}]":
            depth -= 1
    return deepest


def _parse_value(key: str, value: str) -> Any:
    text = _from_base64(value) if key.endswith("x") else value
    check_depth(text)
    return parse_json(text)


def _from_base64(text: str) -> str:
    """Decode as commons-codec does: either alphabet, padding optional, other characters skipped, never an error."""
    digits = _NOT_BASE64.sub("", text.partition("=")[0].translate(_TO_STANDARD_ALPHABET))
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return base64.b64decode(digits + "=" * (-len(digits) % 4)).decode("utf-8", "replace")


def _envelope(found: Any, schema_prefix: str, versions: tuple[str, ...]) -> tuple[str, Any]:
    """The version and the data of an outer self-describing object."""
    if not isinstance(found, dict) or "schema" not in found or "data" not in found:
        raise Malformed(f"must be self-describing JSON, {{schema, data}}, got {quoted(found)}")
    schema = found["schema"]
    for version in versions:
        if schema == schema_prefix + version:
            return version, found["data"]
    raise Malformed(f"must have the schema {schema_prefix}{' or '.join(versions)}, got {quoted(schema)}")


def _inner(found: Any, name: str) -> dict[str, Any]:
    if not isinstance(found, dict) or found.keys() != {"schema", "data"}:
        raise Malformed(f"must hold {{schema, data}} and no other keys as {name}, got {quoted(found)}")
    if not is_iglu_uri(found["schema"]):
        raise Malformed(
            f"must name the schema of {name} as iglu:vendor/name/jsonschema/1-0-0, got {quoted(found['schema'])}"
        )
    return found
