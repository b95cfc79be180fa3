"""The typed catalogue as ``track_*`` methods, by the official package's names, one line each.

What an argument means and may be stands with the event's class in `snowplow_tracker.catalogue`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from snowplow_tracker.calls import Calls, EventOptions, public_call
from snowplow_tracker.catalogue import (
    AddToCart,
    FormChange,
    FormSubmit,
    LinkClick,
    NodeName,
    RemoveFromCart,
    SiteSearch,
    SocialInteraction,
    Timing,
)
from snowplow_tracker.event_ids import new_event_id
from snowplow_tracker.events import DesktopScreenView, Number, ScreenView, Tstamp
from snowplow_tracker.outcomes import Receipt

if TYPE_CHECKING:
    from typing_extensions import Unpack


class CatalogueCalls(Calls):
    """Tracking events of published schemas: a part of `Tracker`."""

    @public_call
    def track_link_click(
        self,
        target_url: str,
        element_id: str | None = None,
        element_classes: Sequence[str] | None = None,
        element_target: str | None = None,
        element_content: str | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that a link was followed, see `LinkClick`."""
        event = LinkClick(target_url, element_id, element_classes, element_target, element_content)
        return self._track(event.carrying(tstamp, more))

    @public_call
    def track_add_to_cart(
        self,
        sku: str,
        quantity: Number,
        name: str | None = None,
        category: str | None = None,
        unit_price: Number | None = None,
        currency: str | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that a product was put into the cart, see `AddToCart`."""
        return self._track(AddToCart(sku, quantity, name, category, unit_price, currency).carrying(tstamp, more))

    @public_call
    def track_remove_from_cart(
        self,
        sku: str,
        quantity: Number,
        name: str | None = None,
        category: str | None = None,
        unit_price: Number | None = None,
        currency: str | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that a product was taken out of the cart, see `RemoveFromCart`."""
        return self._track(RemoveFromCart(sku, quantity, name, category, unit_price, currency).carrying(tstamp, more))

    @public_call
    def track_site_search(
        self,
        terms: Sequence[str],
        filters: Mapping[str, str | bool] | None = None,
        total_results: int | None = None,
        page_results: int | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track a search within the site or program, see `SiteSearch`."""
        return self._track(SiteSearch(terms, filters, total_results, page_results).carrying(tstamp, more))

    @public_call
    def track_social_interaction(
        self,
        action: str,
        network: str,
        target: str | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that something was liked, shared, followed, see `SocialInteraction`."""
        return self._track(SocialInteraction(action, network, target).carrying(tstamp, more))

    @public_call
    def track_form_change(
        self,
        form_id: str,
        element_id: str,
        node_name: NodeName,
        value: str | None,
        type_: str | None = None,
        element_classes: Sequence[str] | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that a form's field got another value, see `FormChange`."""
        event = FormChange(form_id, element_id, node_name, value, type_, element_classes)
        return self._track(event.carrying(tstamp, more))

    @public_call
    def track_form_submit(
        self,
        form_id: str,
        form_classes: Sequence[str] | None = None,
        elements: Sequence[Mapping[str, str | None]] | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that a form was sent, see `FormSubmit`."""
        return self._track(FormSubmit(form_id, form_classes, elements).carrying(tstamp, more))

    @public_call
    def track_timing(
        self,
        category: str,
        variable: str,
        timing: Number,
        label: str | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track how long something took, in milliseconds, see `Timing`."""
        return self._track(Timing(category, variable, timing, label).carrying(tstamp, more))

    @public_call
    def track_screen_view(
        self,
        name: str | None = None,
        id: str | None = None,
        tstamp: Tstamp | None = None,
        *,
        id_: str | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that a screen was seen, see `DesktopScreenView`; *id_* is the official name of *id*."""
        return self._track(DesktopScreenView(name, id if id_ is None else id_).carrying(tstamp, more))

    @public_call
    def track_mobile_screen_view(
        self,
        name: str,
        id_: str | None = None,
        type: str | None = None,
        previous_name: str | None = None,
        previous_id: str | None = None,
        previous_type: str | None = None,
        transition_type: str | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that a screen of a mobile app was seen, see `ScreenView`; without *id_*, a new UUID is its id."""
        shown_id = new_event_id() if id_ is None else id_
        event = ScreenView(shown_id, name, type, previous_name, previous_id, previous_type, transition_type)
        return self._track(event.carrying(tstamp, more))
