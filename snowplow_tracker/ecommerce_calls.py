"""`Tracker.track_ecommerce_transaction` and its items.

The order of 2013's arguments is kept, and the official package's names are taken by keyword beside 2013's.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from time import time
from typing import TYPE_CHECKING, Any, Final

from snowplow_tracker.calls import Calls, EventOptions, public_call
from snowplow_tracker.errors import ValidationError
from snowplow_tracker.events import EcommerceTransaction, EcommerceTransactionItem, Number, Tstamp
from snowplow_tracker.outcomes import Receipt
from snowplow_tracker.validators import invalid

if TYPE_CHECKING:
    from typing_extensions import Unpack


class EcommerceCalls(Calls):
    """Tracking orders: a part of `Tracker`."""

    @public_call
    def track_ecommerce_transaction(
        self,
        order_id: str,
        tr_affiliation: str | None = None,
        tr_total_value: Number | None = None,
        tr_tax_value: Number | None = None,
        tr_shipping: Number | None = None,
        tr_city: str | None = None,
        tr_state: str | None = None,
        tr_country: str | None = None,
        tstamp: Tstamp | None = None,
        *,
        currency: str | None = None,
        items: Sequence[dict[str, Any]] | None = None,
        affiliation: str | None = None,
        total_value: Number | None = None,
        tax_value: Number | None = None,
        shipping: Number | None = None,
        city: str | None = None,
        state: str | None = None,
        country: str | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track an order, see `EcommerceTransaction`, and its lines.

        Args:
            tr_total_value: Required, under this name or as *total_value*.
            items: One dict a line: ``sku``, ``price`` and ``quantity``, and where known ``name`` and ``category``. All
                are valid, or nothing is tracked; they share the order's times.
            affiliation, total_value, tax_value, shipping, city, state, country: The official package's names of the
                arguments that begin with ``tr_``.

        Returns:
            The transaction's receipt; false also if an item was not taken.
        """
        _refuse_official_order(tr_affiliation, "tr_affiliation", "track_ecommerce_transaction(order_id, total_value=…)")
        transaction = EcommerceTransaction(
            order_id,
            _either("tr_affiliation", tr_affiliation, affiliation),
            _either("tr_total_value", tr_total_value, total_value),
            _either("tr_tax_value", tr_tax_value, tax_value),
            _either("tr_shipping", tr_shipping, shipping),
            _either("tr_city", tr_city, city),
            _either("tr_state", tr_state, state),
            _either("tr_country", tr_country, country),
            currency=currency,
            tstamp=tstamp if tstamp is not None else time(),
            **more,
        )
        lines = [_item(transaction, number, item) for number, item in enumerate(_item_list(items))]
        return self._track_all([transaction, *lines])

    @public_call
    def track_ecommerce_transaction_item(
        self,
        ti_id: str | None = None,
        ti_sku: str | None = None,
        ti_name: str | None = None,
        ti_category: str | None = None,
        ti_price: Number | None = None,
        ti_quantity: int | None = None,
        tstamp: Tstamp | None = None,
        *,
        currency: str | None = None,
        order_id: str | None = None,
        sku: str | None = None,
        name: str | None = None,
        category: str | None = None,
        price: Number | None = None,
        quantity: int | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track one line of an order, see `EcommerceTransactionItem`.

        Args:
            ti_id, ti_sku, ti_price, ti_quantity: Required, under these names or the official ones.
            order_id, sku, name, category, price, quantity: The official package's names of the arguments that begin
                with ``ti_``.
        """
        line = "track_ecommerce_transaction_item(order_id, sku, price=…, quantity=…)"
        _refuse_official_order(ti_name, "ti_name", line)
        item = EcommerceTransactionItem(
            _either("ti_id", ti_id, order_id),
            _either("ti_sku", ti_sku, sku),
            _either("ti_name", ti_name, name),
            _either("ti_category", ti_category, category),
            _either("ti_price", ti_price, price),
            _either("ti_quantity", ti_quantity, quantity),
            currency=currency,
            tstamp=tstamp,
            **more,
        )
        return self._track(item)


def _either(argument: str, value: Any, official: Any) -> Any:
    """The value of an argument that has two names."""
    if value is not None and official is not None:
        raise invalid(argument, "given under one of its two names only", official)
    return value if official is None else official


def _refuse_official_order(value: Any, argument: str, line: str) -> None:
    """A number where 2013 had a name means the official order of arguments."""
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        raise invalid(argument, "a string or None", value, f"in the official order, write {line}")


_ITEM_KEYS: Final = ("sku", "price", "quantity", "name", "category")


def _item_list(items: Any) -> Sequence[Any]:
    if items is None:
        return ()
    if not isinstance(items, (list, tuple)):
        raise invalid("items", "a list of dicts", items)
    return items


def _item(transaction: EcommerceTransaction, number: int, item: Any) -> EcommerceTransactionItem:
    """One of ``items=``, as an event that shares the order's id, currency, times, contexts and subject."""
    argument = f"items[{number}]"
    if not isinstance(item, dict):
        raise invalid(argument, f"a dict of {', '.join(_ITEM_KEYS)}", item)
    for key in item:
        if key not in _ITEM_KEYS:
            raise invalid(argument, f"a dict of {', '.join(_ITEM_KEYS)} and nothing else", key)
    for key in _ITEM_KEYS[:3]:
        if key not in item:
            raise invalid(argument, f"a dict with {', '.join(_ITEM_KEYS[:3])}; {key!r} is missing", item)
    try:
        return EcommerceTransactionItem(
            transaction.order_id, item["sku"], item.get("name"), item.get("category"), item["price"], item["quantity"],
            currency=transaction.currency, tstamp=transaction.tstamp, true_timestamp=transaction.true_timestamp,
            context=transaction.context, event_subject=transaction.event_subject,
        )  # fmt: skip
    except ValidationError as error:
        raise ValidationError(f"{argument}: {error.problem}", f"{argument}: {error.rule}") from None
