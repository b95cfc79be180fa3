"""Events of published schemas: the typed catalogue, one frozen attrs class each.

What a schema refuses is refused when the event is made, in the call that tracks it. The rules of every argument hold as
well: a required text says something (unless noted), an optional one that is ``""`` is left out. Lengths count code
points. Lists and dicts are copied: what the caller changes afterwards does not change the event.

A number is an int of 64 bits, a finite float, or a Decimal, which JSON does not know: it goes out as an int where it is
whole, else as the nearest float (``Decimal("12.99")`` as ``12.99``).

`ScreenView` and `DesktopScreenView`, which stand behind older calls, are in `snowplow_tracker.events`.

Source: Iglu Central, vendor com.snowplowanalytics.snowplow (protocol, "Built-in events").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, ClassVar, Final, Literal, TypeAlias

import attrs

from snowplow_tracker.events import Number, SchemaEvent, json_name
from snowplow_tracker.payload import SCHEMA_VENDOR
from snowplow_tracker.validators import (
    INT32_MAX,
    INT64_MAX,
    Validator,
    check_characters,
    check_encodable,
    check_integer,
    currency,
    invalid,
    number,
    one_of,
    optional_number,
)

NodeName: TypeAlias = Literal["INPUT", "TEXTAREA", "SELECT"]
NODE_NAMES: Final = ("INPUT", "TEXTAREA", "SELECT")
INPUT_TYPES: Final = (
    "button",
    "checkbox",
    "color",
    "date",
    "datetime",
    "datetime-local",
    "email",
    "file",
    "hidden",
    "image",
    "month",
    "number",
    "password",
    "radio",
    "range",
    "reset",
    "search",
    "submit",
    "tel",
    "text",
    "time",
    "url",
    "week",
)
ID_LIMIT: Final = 4096
VALUE_LIMIT: Final = 65_535


# --- shapes ----------------------------------------------------------------------------------------------------


def _required(instance: Any, attribute: Any, value: Any) -> None:
    _check_text(attribute.name, value, "a non-empty string")
    if not value:
        raise invalid(attribute.name, "a non-empty string", value)


def _optional(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        _check_text(attribute.name, value, "a string or None")


def _check_text(argument: str, value: Any, expected: str) -> None:
    if value.__class__ is str and value.isprintable():  # no surrogate, no control character
        return
    _check_string(argument, value, expected)
    check_characters(argument, value)


def _check_string(argument: str, value: Any, expected: str) -> None:
    if not isinstance(value, str):
        raise invalid(argument, expected, value, "decode it first" if isinstance(value, (bytes, bytearray)) else "")


def _check_content(argument: str, value: Any, expected: str, limit: int | None = None) -> None:
    """Text out of a page, a form or a user's hands: any character that UTF-8 has, as in all JSON data."""
    _check_string(argument, value, expected)
    check_encodable(argument, value)
    if limit is not None and len(value) > limit:
        raise invalid(argument, f"at most {limit} characters long (this has {len(value)})", value)


def _form_id(instance: Any, attribute: Any, value: Any) -> None:
    _required(instance, attribute, value)
    _check_content(attribute.name, value, "a non-empty string", ID_LIMIT)


def _element_id(instance: Any, attribute: Any, value: Any) -> None:
    _check_text(attribute.name, value, "a string")
    _check_content(attribute.name, value, "a string", ID_LIMIT)


def _form_value(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        _check_content(attribute.name, value, "a string or None", VALUE_LIMIT)


def _check_texts(argument: str, value: Any, limit: int | None) -> None:
    if isinstance(value, str):
        raise invalid(argument, "a list of strings", value, "put it in a list: […]")
    if not isinstance(value, list):  # the converter made one of what may be one
        raise invalid(argument, "a list of strings", value)
    for at, item in enumerate(value):
        _check_content(f"{argument}[{at}]", item, "a string", limit)


def _classes(limit: int | None) -> Validator:
    """None, or a list of the classes that an element has."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            _check_texts(attribute.name, value, limit)

    return validate


def _terms(instance: Any, attribute: Any, value: Any) -> None:
    _check_texts(attribute.name, value, None)
    if not value:
        raise invalid(attribute.name, "a list of at least one string", value)


def _filters(instance: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise invalid(attribute.name, "a dict of strings and booleans, or None", value)
    for name, item in value.items():
        _check_content(attribute.name, name, "a dict whose keys are strings")
        if not isinstance(item, bool):
            _check_content(f"{attribute.name}[{name!r}]", item, "a string or a boolean")


def _results(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        check_integer(attribute.name, value, 0, INT32_MAX, "an integer")


_check_node_name: Final = one_of(NODE_NAMES)
_check_input_type: Final = one_of(INPUT_TYPES)


def _node_name(instance: Any, attribute: Any, value: Any) -> None:
    _check_node_name(attribute.name, value)


def _input_type(instance: Any, attribute: Any, value: Any) -> None:
    # The schema's enumeration leaves out the null that its type allows, and both hold: None is left out, never sent.
    if value is not None and value != "":
        _check_input_type(attribute.name, value)


def _elements(instance: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        raise invalid(attribute.name, "a list of dicts, or None", value)
    for at, element in enumerate(value):
        _check_element(f"{attribute.name}[{at}]", element)


_ELEMENT_KEYS: Final = ("name", "value", "nodeName", "type")


def _check_element(place: str, element: Any) -> None:
    if not isinstance(element, dict):
        raise invalid(place, "a dict with name, value, nodeName and perhaps type", element)
    missing = [key for key in _ELEMENT_KEYS[:3] if key not in element]
    unknown = [key for key in element if key not in _ELEMENT_KEYS]
    if missing or unknown:
        raise invalid(place, "a dict with name, value, nodeName and perhaps type, and no other key", element)
    _check_content(f"{place}['name']", element["name"], "a string", VALUE_LIMIT)
    if element["value"] is not None:
        _check_content(f"{place}['value']", element["value"], "a string or None", VALUE_LIMIT)
    _check_node_name(f"{place}['nodeName']", element["nodeName"])
    if "type" in element:
        _check_input_type(f"{place}['type']", element["type"])


# --- copies ----------------------------------------------------------------------------------------------------


def _own_list(value: Sequence[str] | None) -> Sequence[str] | None:
    return list(value) if isinstance(value, (list, tuple)) else value


def _own_terms(value: Sequence[str]) -> Sequence[str]:
    return list(value) if isinstance(value, (list, tuple)) else value


def _own_filters(value: Mapping[str, str | bool] | None) -> Mapping[str, str | bool] | None:
    return dict(value) if isinstance(value, dict) else value


def _own_elements(value: Sequence[Mapping[str, str | None]] | None) -> Sequence[Any] | None:
    if not isinstance(value, (list, tuple)):
        return value
    return [_own_element(element) if isinstance(element, dict) else element for element in value]


def _own_element(element: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in element.items() if key != "type" or item is not None}


def _json_number(value: Number) -> Number:
    """A Decimal as the int it is or the nearest float; what JSON can't hold is left for the validator to refuse."""
    if not isinstance(value, Decimal) or not value.is_finite():
        return value
    if -INT64_MAX <= value <= INT64_MAX and value == value.to_integral_value():
        return int(value)
    nearest = float(value)
    return nearest if isfinite(nearest) else value


def _optional_json_number(value: Number | None) -> Number | None:
    return None if value is None else _json_number(value)


# --- events ----------------------------------------------------------------------------------------------------


@attrs.frozen(slots=False)
class LinkClick(SchemaEvent):
    """A link was followed (schema: link_click 1-0-1).

    Args:
        target_url: Where it leads, at least one character; sent as it is.
        element_id, element_target, element_content: The link's id, its ``target``, and what it shows.
        element_classes: The link's classes.
    """

    schema: ClassVar[str] = f"{SCHEMA_VENDOR}/link_click/jsonschema/1-0-1"
    target_url: str = attrs.field(metadata=json_name("targetUrl"), validator=_required)
    element_id: str | None = attrs.field(metadata=json_name("elementId"), default=None, validator=_optional)
    element_classes: Sequence[str] | None = attrs.field(
        metadata=json_name("elementClasses"), default=None, converter=_own_list, validator=_classes(None)
    )
    element_target: str | None = attrs.field(metadata=json_name("elementTarget"), default=None, validator=_optional)
    element_content: str | None = attrs.field(metadata=json_name("elementContent"), default=None, validator=_optional)


@attrs.frozen(slots=False)
class CartEvent(SchemaEvent):
    """What `AddToCart` and `RemoveFromCart` share: the product and how much of it.

    Args:
        sku: The product's code.
        quantity: How many, or how much; any number.
        name, category: The product's name and category.
        unit_price: The price of one.
        currency: Three letters, ISO 4217; sent in capitals.
    """

    sku: str = attrs.field(metadata=json_name("sku"), validator=_required)
    quantity: Number = attrs.field(metadata=json_name("quantity"), converter=_json_number, validator=number)
    name: str | None = attrs.field(metadata=json_name("name"), default=None, validator=_optional)
    category: str | None = attrs.field(metadata=json_name("category"), default=None, validator=_optional)
    unit_price: Number | None = attrs.field(
        metadata=json_name("unitPrice"), default=None, converter=_optional_json_number, validator=optional_number
    )
    currency: str | None = attrs.field(metadata=json_name("currency"), default=None, converter=currency)


@attrs.frozen(slots=False)
class AddToCart(CartEvent):
    """A product was put into the cart (schema: add_to_cart 1-0-0); arguments as in `CartEvent`."""

    schema: ClassVar[str] = f"{SCHEMA_VENDOR}/add_to_cart/jsonschema/1-0-0"


@attrs.frozen(slots=False)
class RemoveFromCart(CartEvent):
    """A product was taken out of the cart (schema: remove_from_cart 1-0-0); arguments as in `CartEvent`."""

    schema: ClassVar[str] = f"{SCHEMA_VENDOR}/remove_from_cart/jsonschema/1-0-0"


@attrs.frozen(slots=False)
class SiteSearch(SchemaEvent):
    """Something was searched for within the site or program (schema: site_search 1-0-0).

    Args:
        terms: What was searched for, at least one text.
        filters: Name to text or boolean, as the search was narrowed.
        total_results: How many were found, 0 to 2147483647.
        page_results: How many of them the first page shows, 0 to 2147483647.
    """

    schema: ClassVar[str] = f"{SCHEMA_VENDOR}/site_search/jsonschema/1-0-0"
    terms: Sequence[str] = attrs.field(metadata=json_name("terms"), converter=_own_terms, validator=_terms)
    filters: Mapping[str, str | bool] | None = attrs.field(
        metadata=json_name("filters"), default=None, converter=_own_filters, validator=_filters
    )
    total_results: int | None = attrs.field(metadata=json_name("totalResults"), default=None, validator=_results)
    page_results: int | None = attrs.field(metadata=json_name("pageResults"), default=None, validator=_results)


@attrs.frozen(slots=False)
class SocialInteraction(SchemaEvent):
    """Something was liked, shared, followed (schema: social_interaction 1-0-0).

    Args:
        action: What was done, such as ``like``.
        network: Where, such as ``mastodon``.
        target: What it was done to, such as a page's address.
    """

    schema: ClassVar[str] = f"{SCHEMA_VENDOR}/social_interaction/jsonschema/1-0-0"
    action: str = attrs.field(metadata=json_name("action"), validator=_required)
    network: str = attrs.field(metadata=json_name("network"), validator=_required)
    target: str | None = attrs.field(metadata=json_name("target"), default=None, validator=_optional)


@attrs.frozen(slots=False)
class FormChange(SchemaEvent):
    """A form's field got another value (schema: change_form 1-0-0).

    Args:
        form_id: The form's id, at most 4,096 characters.
        element_id: The field's id, at most 4,096; ``""`` for a field without one.
        node_name: ``INPUT``, ``TEXTAREA`` or ``SELECT``.
        value: What it holds now, at most 65,535 characters of any kind, ``""`` included; None is sent as null.
        type_: An INPUT's type in lower case, such as ``text``: one of `INPUT_TYPES`.
        element_classes: The field's classes, at most 4,096 characters each.
    """

    schema: ClassVar[str] = f"{SCHEMA_VENDOR}/change_form/jsonschema/1-0-0"
    form_id: str = attrs.field(metadata=json_name("formId"), validator=_form_id)
    element_id: str = attrs.field(metadata=json_name("elementId"), validator=_element_id)
    node_name: NodeName = attrs.field(metadata=json_name("nodeName"), validator=_node_name)
    value: str | None = attrs.field(metadata=json_name("value"), validator=_form_value)
    type_: str | None = attrs.field(metadata=json_name("type"), alias="type_", default=None, validator=_input_type)
    element_classes: Sequence[str] | None = attrs.field(
        metadata=json_name("elementClasses"), default=None, converter=_own_list, validator=_classes(ID_LIMIT)
    )


@attrs.frozen(slots=False)
class FormSubmit(SchemaEvent):
    """A form was sent (schema: submit_form 1-0-0).

    Args:
        form_id: The form's id, at most 4,096 characters.
        form_classes: The form's classes, at most 4,096 characters each.
        elements: What it held: dicts with ``name`` and ``value`` (text of at most 65,535 characters of any kind; the
            value may be None), ``nodeName`` (``INPUT``, ``TEXTAREA`` or ``SELECT``) and, where there is one, ``type``
            (one of `INPUT_TYPES`).
    """

    schema: ClassVar[str] = f"{SCHEMA_VENDOR}/submit_form/jsonschema/1-0-0"
    form_id: str = attrs.field(metadata=json_name("formId"), validator=_form_id)
    form_classes: Sequence[str] | None = attrs.field(
        metadata=json_name("formClasses"), default=None, converter=_own_list, validator=_classes(ID_LIMIT)
    )
    elements: Sequence[Mapping[str, str | None]] | None = attrs.field(
        metadata=json_name("elements"), default=None, converter=_own_elements, validator=_elements
    )


@attrs.frozen(slots=False)
class Timing(SchemaEvent):
    """How long something took (schema: timing 1-0-0).

    Args:
        category: What it belongs to, such as ``loading``.
        variable: What was timed, such as ``level 3``.
        timing: How long, in milliseconds.
        label: A detail.
    """

    schema: ClassVar[str] = f"{SCHEMA_VENDOR}/timing/jsonschema/1-0-0"
    category: str = attrs.field(metadata=json_name("category"), validator=_required)
    variable: str = attrs.field(metadata=json_name("variable"), validator=_required)
    timing: Number = attrs.field(metadata=json_name("timing"), converter=_json_number, validator=number)
    label: str | None = attrs.field(metadata=json_name("label"), default=None, validator=_optional)
