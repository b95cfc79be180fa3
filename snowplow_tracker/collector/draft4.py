"""JSON Schema of draft 4 as the enrichment applies it, and its errors as sentences.

Needs jsonschema. Source: json-schema-validator 1.0.76 (protocol, "Self-describing JSON"): ``5.0`` is not an integer,
lengths count code points, formats are enforced. A ``pattern`` that only Java can read is not applied.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from jsonschema import Draft4Validator, FormatChecker, ValidationError
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from snowplow_tracker.collector.formats import FORMATS
from snowplow_tracker.collector.kinds import quoted


class InvalidSchema(ValueError):
    """What is no schema; the message says where and why."""


class Unusable(ValueError):
    """A schema that cannot be applied; the message completes a sentence that begins with its name."""


_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][\w$\-]*")


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, str):
        return
    try:
        found = re.search(pattern, instance, re.ASCII)  # as in Java, \d and \w are ASCII
    except re.error:
        return
    if not found:
        yield ValidationError(f"does not match {pattern!r}")


_checker: Final = FormatChecker(())
for _name, (_has_format, _) in FORMATS.items():
    _checker.checks(_name)(lambda value, has_format=_has_format: not isinstance(value, str) or has_format(value))
_Validator: Final[Any] = extend(Draft4Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


def validator(schema: Any) -> Draft4Validator:
    """What applies a schema; it never looks anything up outside of it.

    Raises:
        InvalidSchema: *schema* is none.
    """
    if not isinstance(schema, dict):
        raise InvalidSchema(f"it must be an object, got {quoted(schema)}")
    try:
        Draft4Validator.check_schema(schema, format_checker=FormatChecker(()))
    except SchemaError as error:
        raise InvalidSchema(f"{error.json_path}: {error.message[:200]}") from None
    made: Draft4Validator = _Validator(schema, format_checker=_checker, registry=Registry())
    return made


def errors(validator: Draft4Validator, data: Any) -> list[ValidationError]:
    """What is wrong with *data*, in the order of its keys.

    Raises:
        Unusable: The schema refers to something that is not in it.
    """
    found = []
    try:
        for error in validator.iter_errors(data):
            found.append(error)
    except Unresolvable as error:
        raise Unusable(f"refers to {error.ref}, which is not within it") from None
    except re.error:
        pass  # a name in patternProperties that only Java can read
    return sorted(found, key=lambda error: [str(part) for part in error.absolute_path])


def sentence(error: ValidationError) -> str:
    """Which property, which rule, what value."""
    broken = _Broken(error)
    describe = _RULES.get(broken.rule)
    if describe:
        return f"{broken.where} {describe(broken)}"
    return f"{broken.where} breaks the rule {broken.rule!r}: {_shortened(error.message)}"


class _Broken:
    """A rule that a value breaks: *limit* is what stands under *rule* in the part of the schema for the value."""

    def __init__(self, error: ValidationError) -> None:
        self.where = _where(error.absolute_path)
        self.rule = str(error.validator)
        self.limit: Any = error.validator_value
        self.value: Any = error.instance
        self.schema: Any = error.schema
        self.message = error.message
        self.alternatives = list(error.context or [])


def _where(path: Iterable[str | int]) -> str:
    text = "data"
    for part in path:
        if isinstance(part, str) and _PLAIN_NAME.fullmatch(part):
            text += f".{part}"
        else:
            text += f"[{quoted(part)}]"
    return text


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:190]}… ({len(text)} characters)"


def _kind(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "integer" if isinstance(value, int) else "number")


def _type(broken: _Broken) -> str:
    kinds = [broken.limit] if isinstance(broken.limit, str) else list(broken.limit)
    hint = ""
    if "integer" in kinds and isinstance(broken.value, float):
        hint = "; with a decimal point it is no integer"
    elif broken.value is None:
        hint = "; leave out what is absent"
    article = "an" if kinds[0][:1] in "aeiou" else "a"
    return f"must be {article} {' or '.join(kinds)}, got {quoted(broken.value)} ({_kind(broken.value)}{hint})"


def _required(broken: _Broken) -> str:
    missing = [name for name in broken.limit if name not in broken.value and repr(name) in broken.message]
    return f"must have {quoted(missing[0]) if missing else 'all that is required'}, which is missing"


def _additional(broken: _Broken) -> str:
    known = list(broken.schema.get("properties", {}))
    patterns = list(broken.schema.get("patternProperties", {}))
    extra = [name for name in broken.value if name not in known and not _is_covered(name, patterns)]
    named = ", ".join(f"{quoted(name)}{_did_you_mean(name, known)}" for name in extra[:5])
    return f"must not have {named}; the schema knows {', '.join(known[:12]) or 'no property'}"


def _is_covered(name: str, patterns: list[str]) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _enumeration(broken: _Broken) -> str:
    allowed = ", ".join(quoted(value) for value in broken.limit[:12])
    more = len(broken.limit) - 12
    return f"must be one of {allowed}{f' and {more} more' if more > 0 else ''}, got {quoted(broken.value)}"


def _format(broken: _Broken) -> str:
    return f"must be {FORMATS[broken.limit][1]} (format {broken.limit}), got {quoted(broken.value)}"


def _alternatives(broken: _Broken) -> str:
    nearest = best_match(broken.alternatives)
    reason = f"; nearest: {sentence(nearest)}" if nearest else ""
    how_many = "exactly one" if broken.rule == "oneOf" else "one"
    return f"must match {how_many} of {len(broken.limit)} alternatives{reason}"


def _bound(words: str) -> Callable[[_Broken], str]:
    return lambda broken: f"{words} {broken.limit}, got {quoted(broken.value)}"


def _length(words: str, unit: str) -> Callable[[_Broken], str]:
    return lambda broken: f"{words} {broken.limit} {unit}, has {len(broken.value)}: {quoted(broken.value)}"


_RULES: Final[dict[str, Callable[[_Broken], str]]] = {
    "type": _type,
    "required": _required,
    "additionalProperties": _additional,
    "enum": _enumeration,
    "format": _format,
    "oneOf": _alternatives,
    "anyOf": _alternatives,
    "pattern": _bound("must match the pattern"),
    "minimum": _bound("must be at least"),
    "maximum": _bound("must be at most"),
    "multipleOf": _bound("must be a multiple of"),
    "minLength": _length("must be at least", "characters long"),
    "maxLength": _length("must be at most", "characters long"),
    "minItems": _length("must have at least", "items"),
    "maxItems": _length("must have at most", "items"),
    "minProperties": _length("must have at least", "properties"),
    "maxProperties": _length("must have at most", "properties"),
}
