"""The events, one frozen attrs class each; an event renders itself to wire pairs.

`Tracker.track` takes any of them. The typed catalogue of further published schemas is in `snowplow_tracker.catalogue`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import attrs

from snowplow_tracker import uri
from snowplow_tracker.payload import SCHEMA_VENDOR, JsonForm
from snowplow_tracker.self_describing_json import SelfDescribingJson, context_list, refuse_change
from snowplow_tracker.subject import Subject
from snowplow_tracker.validators import (
    check_true_timestamp,
    check_uuid,
    currency,
    decimal_text,
    integer32,
    invalid,
    number,
    optional_integer32,
    optional_number,
    optional_text,
    required_text,
    tstamp_ms,
)

if TYPE_CHECKING:
    from typing_extensions import Self

Number: TypeAlias = int | float | Decimal
Tstamp: TypeAlias = int | float | datetime


def _event_subject(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None and not isinstance(value, Subject):
        raise invalid(attribute.name, "a Subject or None", value)


def _true_timestamp(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        check_true_timestamp(attribute.name, value)


def _tstamp(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        tstamp_ms(attribute.name, value)


# Not slotted: a frozen attrs class with a __dict__ is filled by plain dict stores, without a call for each field.
@attrs.frozen(slots=False, kw_only=True)
class Event:
    """What every event can carry.

    Args:
        context: Entities that describe the circumstances (protocol: ``cx``, ``co``).
        true_timestamp: When it truly happened, milliseconds since the epoch (protocol: ``ttm``).
        event_subject: Overrides the tracker's subject, key by key, for this event.
        tstamp: When it was created, seconds since the epoch or an aware datetime; now, if None (protocol: ``dtm``).
    """

    context: Sequence[SelfDescribingJson] | None = attrs.field(default=None, validator=context_list)
    true_timestamp: float | None = attrs.field(default=None, validator=_true_timestamp)
    event_subject: Subject | None = attrs.field(default=None, validator=_event_subject)
    tstamp: Tstamp | None = attrs.field(default=None, validator=_tstamp)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        cls.__setattr__ = refuse_change  # type: ignore[method-assign]

    def carrying(self, tstamp: Tstamp | None, options: Mapping[str, Any]) -> Self:
        """The same event with what a ``track_*`` call was given besides it; itself if that was nothing.

        Most calls give nothing, and passing four times None to the constructor would cost each 0.2 µs.
        """
        return attrs.evolve(self, tstamp=tstamp, **options) if options or tstamp is not None else self

    def pairs(self, form: JsonForm) -> dict[str, str]:
        """The event's own wire pairs, without those that every event has; a new dict at each call."""
        raise NotImplementedError


@attrs.frozen(slots=False)
class PageView(Event):
    """A page was seen (protocol: ``e=pv``).

    Args:
        page_url: Its address, at most 10,000 characters; what is not legal in a URI is percent-encoded (``url``).
        page_title: At most 2,000 characters (``page``).
        referrer: The address it was reached from (``refr``).
    """

    code: ClassVar[str] = "pv"
    page_url: str = attrs.field(converter=uri.page_url, validator=required_text(10_000))
    page_title: str | None = attrs.field(default=None, validator=optional_text(2000))
    referrer: str | None = attrs.field(default=None, converter=uri.referrer, validator=optional_text(10_000))

    def pairs(self, form: JsonForm) -> dict[str, str]:
        pairs = {"e": self.code, "url": self.page_url}
        if self.page_title:
            pairs["page"] = self.page_title
        if self.referrer:
            pairs["refr"] = self.referrer
        return pairs


@attrs.frozen(slots=False)
class PagePing(PageView):
    """A page is still being read (protocol: ``e=pp``).

    Args:
        min_x, max_x, min_y, max_y: How far it was scrolled since the last ping, pixels of 32 bits, may be negative
            (``pp_mix``, ``pp_max``, ``pp_miy``, ``pp_may``).
    """

    code: ClassVar[str] = "pp"
    min_x: int | None = attrs.field(default=None, validator=optional_integer32)
    max_x: int | None = attrs.field(default=None, validator=optional_integer32)
    min_y: int | None = attrs.field(default=None, validator=optional_integer32)
    max_y: int | None = attrs.field(default=None, validator=optional_integer32)

    def pairs(self, form: JsonForm) -> dict[str, str]:
        pairs = super().pairs(form)
        offsets = {"pp_mix": self.min_x, "pp_max": self.max_x, "pp_miy": self.min_y, "pp_may": self.max_y}
        pairs.update((key, str(int(value))) for key, value in offsets.items() if value is not None)
        return pairs


@attrs.frozen(slots=False)
class StructuredEvent(Event):
    """Something happened that fits into five fields (protocol: ``e=se``).

    Args:
        category: What it belongs to, at most 1,000 characters (``se_ca``).
        action: What happened, at most 1,000 (``se_ac``).
        label: What it was done to, at most 4,096 (``se_la``).
        property_: A detail, at most 1,000 (``se_pr``).
        value: A finite number (``se_va``).
    """

    category: str = attrs.field(validator=required_text(1000))
    action: str = attrs.field(validator=required_text(1000))
    label: str | None = attrs.field(default=None, validator=optional_text(4096))
    property_: str | None = attrs.field(default=None, alias="property_", validator=optional_text(1000))
    value: Number | None = attrs.field(default=None, validator=optional_number)

    def pairs(self, form: JsonForm) -> dict[str, str]:
        pairs = {"e": "se", "se_ca": self.category, "se_ac": self.action}
        if self.label:
            pairs["se_la"] = self.label
        if self.property_:
            pairs["se_pr"] = self.property_
        if self.value is not None:
            pairs["se_va"] = decimal_text(self.value)
        return pairs


def plain_struct_pairs(category: Any, action: Any, label: Any, property_: Any, value: Any) -> dict[str, Any] | None:
    """The pairs of a `StructuredEvent` whose arguments are plainly in order; None if they want a closer look.

    What a game tracks most is short printable text and a float. For that this says the same as making the event and
    asking it for its pairs (a test holds it to that), in 0.5 µs where they take 1.6, of a call that takes 2.6.
    """
    # Half of a limit in code points fits in any case, however many of them are two UTF-16 units.
    if category.__class__ is not str or not category.isprintable() or not 0 < len(category) <= 500:
        return None
    if action.__class__ is not str or not action.isprintable() or not 0 < len(action) <= 500:
        return None
    pairs = {"e": "se", "se_ca": category, "se_ac": action}
    if label is not None:
        if label.__class__ is not str or not label.isprintable() or not 0 < len(label) <= 2048:
            return None
        pairs["se_la"] = label
    if property_ is not None:
        if property_.__class__ is not str or not property_.isprintable() or not 0 < len(property_) <= 500:
            return None
        pairs["se_pr"] = property_
    if value is not None:
        if value.__class__ is not float or not isfinite(value):
            return None
        pairs["se_va"] = repr(value)
    return pairs


@attrs.frozen(slots=False)
class EcommerceTransaction(Event):
    """An order was placed (protocol: ``e=tr``).

    Args:
        order_id: At most 255 characters (``tr_id``).
        tr_affiliation: The shop (``tr_af``).
        tr_total_value, tr_tax_value, tr_shipping: Money, finite numbers (``tr_tt``, ``tr_tx``, ``tr_sh``).
        tr_city, tr_state, tr_country: Where it goes, at most 255 characters each (``tr_ci``, ``tr_st``, ``tr_co``).
        currency: Three letters, ISO 4217 (``tr_cu``).
    """

    order_id: str = attrs.field(validator=required_text(255))
    tr_affiliation: str | None = attrs.field(validator=optional_text(255))
    tr_total_value: Number = attrs.field(validator=number)
    tr_tax_value: Number | None = attrs.field(default=None, validator=optional_number)
    tr_shipping: Number | None = attrs.field(default=None, validator=optional_number)
    tr_city: str | None = attrs.field(default=None, validator=optional_text(255))
    tr_state: str | None = attrs.field(default=None, validator=optional_text(255))
    tr_country: str | None = attrs.field(default=None, validator=optional_text(255))
    currency: str | None = attrs.field(default=None, kw_only=True, converter=currency)

    def pairs(self, form: JsonForm) -> dict[str, str]:
        texts = {
            "tr_af": self.tr_affiliation,
            "tr_ci": self.tr_city,
            "tr_st": self.tr_state,
            "tr_co": self.tr_country,
            "tr_cu": self.currency,
        }
        numbers = {"tr_tt": self.tr_total_value, "tr_tx": self.tr_tax_value, "tr_sh": self.tr_shipping}
        return {"e": "tr", "tr_id": self.order_id, **_present(texts, numbers)}


@attrs.frozen(slots=False)
class EcommerceTransactionItem(Event):
    """One line of an order (protocol: ``e=ti``).

    Args:
        ti_id: The order's id, at most 255 characters (``ti_id``).
        ti_sku, ti_name, ti_category: What was bought, at most 255 each (``ti_sk``, ``ti_nm``, ``ti_ca``).
        ti_price: The price of one, a finite number (``ti_pr``).
        ti_quantity: How many, an integer of 32 bits (``ti_qu``).
        currency: Three letters, ISO 4217 (``ti_cu``).
    """

    ti_id: str = attrs.field(validator=required_text(255))
    ti_sku: str = attrs.field(validator=required_text(255))
    ti_name: str | None = attrs.field(validator=optional_text(255))
    ti_category: str | None = attrs.field(validator=optional_text(255))
    ti_price: Number = attrs.field(validator=number)
    ti_quantity: int = attrs.field(validator=integer32)
    currency: str | None = attrs.field(default=None, kw_only=True, converter=currency)

    def pairs(self, form: JsonForm) -> dict[str, str]:
        texts = {"ti_nm": self.ti_name, "ti_ca": self.ti_category, "ti_cu": self.currency}
        numbers = {"ti_pr": self.ti_price, "ti_qu": self.ti_quantity}
        return {"e": "ti", "ti_id": self.ti_id, "ti_sk": self.ti_sku, **_present(texts, numbers)}


def _present(texts: dict[str, str | None], numbers: dict[str, Any]) -> dict[str, str]:
    """What is there: an absent or empty value is left off the wire."""
    pairs = {key: text for key, text in texts.items() if text}
    pairs.update((key, decimal_text(value)) for key, value in numbers.items() if value is not None)
    return pairs


def _self_describing(instance: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, SelfDescribingJson):
        hint = (
            "wrap it: SelfDescribingJson('iglu:vendor/name/jsonschema/1-0-0', {…})" if isinstance(value, dict) else ""
        )
        raise invalid(attribute.name, "a SelfDescribingJson", value, hint)


@attrs.frozen(slots=False)
class SelfDescribing(Event):
    """Anything that has a schema (protocol: ``e=ue``).

    Args:
        event_json: The schema's URI and the data.
    """

    event_json: SelfDescribingJson = attrs.field(validator=_self_describing)

    def pairs(self, form: JsonForm) -> dict[str, str]:
        return form.event_pairs("event_json", self.event_json.schema, self.event_json.data)


# --- events of published schemas -------------------------------------------------------------------------------


def json_name(name: str) -> dict[str, str]:
    """The metadata of a `SchemaEvent`'s field that is a property: the name its schema gives it."""
    return {"property": name}


@attrs.frozen(slots=False)
class SchemaEvent(Event):
    """Base of the events whose properties a published schema lists.

    An optional one that is None or ``""`` is left out; a required one that may be None is sent as null.
    """

    schema: ClassVar[str]
    _properties: ClassVar[tuple[tuple[str, str, bool], ...]] = ()

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        """Note each property once a class: the field's name, the schema's name, whether it is required."""
        super().__attrs_init_subclass__()
        cls._properties = tuple(
            (field.name, field.metadata["property"], field.default is attrs.NOTHING)
            for field in attrs.fields(cls)
            if "property" in field.metadata
        )

    def data(self) -> dict[str, Any]:
        """The properties that are there, by their names in the schema."""
        found = ((name, getattr(self, field), required) for field, name, required in self._properties)
        return {name: value for name, value, required in found if required or (value is not None and value != "")}

    def pairs(self, form: JsonForm) -> dict[str, str]:
        return form.event_pairs("properties", self.schema, self.data())


def _uuid(instance: Any, attribute: Any, value: Any) -> None:
    check_uuid(attribute.name, value)


_TEXT = optional_text(65_535)
_SOME_TEXT = required_text(65_535)


def _name_or_id(instance: DesktopScreenView, attribute: Any, value: Any) -> None:
    if value is not None or not instance.id_:
        _SOME_TEXT(instance, attribute, value)


@attrs.frozen(slots=False)
class ScreenView(SchemaEvent):
    """A screen of a mobile app was seen (schema: com.snowplowanalytics.mobile/screen_view 1-0-0).

    Args:
        id_: The view's own id, a UUID.
        name: The screen's name.
        type, previous_name, previous_type, transition_type: Text.
        previous_id: The id of the view before, a UUID.
    """

    schema: ClassVar[str] = "iglu:com.snowplowanalytics.mobile/screen_view/jsonschema/1-0-0"
    id_: str = attrs.field(metadata=json_name("id"), alias="id_", validator=_uuid)
    name: str = attrs.field(metadata=json_name("name"), validator=_SOME_TEXT)
    type: str | None = attrs.field(metadata=json_name("type"), default=None, validator=_TEXT)
    previous_name: str | None = attrs.field(metadata=json_name("previousName"), default=None, validator=_TEXT)
    previous_id: str | None = attrs.field(
        metadata=json_name("previousId"), default=None, validator=attrs.validators.optional(_uuid)
    )
    previous_type: str | None = attrs.field(metadata=json_name("previousType"), default=None, validator=_TEXT)
    transition_type: str | None = attrs.field(metadata=json_name("transitionType"), default=None, validator=_TEXT)


@attrs.frozen(slots=False)
class DesktopScreenView(SchemaEvent):
    """A screen was seen, told by name or id (schema: com.snowplowanalytics.snowplow/screen_view 1-0-0).

    Args:
        name: The screen's name; None only beside an *id_*.
        id_: Any text that tells the screen from others.
    """

    schema: ClassVar[str] = f"{SCHEMA_VENDOR}/screen_view/jsonschema/1-0-0"
    name: str | None = attrs.field(metadata=json_name("name"), default=None, validator=_name_or_id)
    id_: str | None = attrs.field(metadata=json_name("id"), default=None, alias="id_", validator=_TEXT)
