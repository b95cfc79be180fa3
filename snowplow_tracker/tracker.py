"""`Tracker`: builds the event, encodes it, hands it over.

Its ``track_*`` methods for orders are in `snowplow_tracker.ecommerce_calls`, those for the typed catalogue in
`snowplow_tracker.catalogue_calls`. The way of an event: `Tracker.track_*` → a class of `snowplow_tracker.events` →
`payload.fragment` → `Emitter.emit`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias

from snowplow_tracker import lifecycle
from snowplow_tracker.addresses import cloudfront_host
from snowplow_tracker.calls import EventOptions, public_call
from snowplow_tracker.catalogue_calls import CatalogueCalls
from snowplow_tracker.ecommerce_calls import EcommerceCalls
from snowplow_tracker.emitters import DEFAULT_FLUSH_TIMEOUT_S, SETTING_NAMES, Emitter, ForeignEmitter
from snowplow_tracker.errors import ValidationError
from snowplow_tracker.event_ids import new_event_id
from snowplow_tracker.events import (
    Event,
    Number,
    PagePing,
    PageView,
    SelfDescribing,
    StructuredEvent,
    Tstamp,
    plain_struct_pairs,
)
from snowplow_tracker.outcomes import FlushResult, Receipt, Stats
from snowplow_tracker.payload import JsonEncoder, JsonForm, encode_pairs, fragment
from snowplow_tracker.self_describing_json import SelfDescribingJson
from snowplow_tracker.settings import EmitterOptions, refuse_unknown
from snowplow_tracker.subject import Subject
from snowplow_tracker.unstruct import UnstructEvent, check_event_vendor
from snowplow_tracker.validators import Check, check_flag, check_text, invalid, one_of, tstamp_ms
from snowplow_tracker.version import __version__

if TYPE_CHECKING:
    from typing_extensions import Unpack

OnInvalid: TypeAlias = Literal["raise", "drop"]
ContextSource: TypeAlias = SelfDescribingJson | Callable[[Event], SelfDescribingJson | None]

TRACKER_VERSION: Final = f"py-{__version__}"
_FLAT_FORM_WARNING: Final = (
    "unstructured events go out in the flat form of 2013, which today's enrichment refuses; set "
    "event_vendor='com.acme' on the tracker to send them as self-describing events"
)


class TrackerOptions(EmitterOptions, total=False):
    """The options of `Tracker.hostname` and `Tracker.cloudfront`: the tracker's own and the emitter's."""

    namespace: str | None
    app_id: str | None
    subject: Subject | None
    encode_base64: bool
    json_encoder: JsonEncoder | None
    event_vendor: str | None
    on_invalid: OnInvalid


class Tracker(CatalogueCalls, EcommerceCalls):
    """Sends events about one application to one or more collectors, without its caller noticing.

    Make one with `Tracker.hostname` or `Tracker.cloudfront`, or by hand from emitters. Each tracker is sandboxed: two
    share nothing but what the caller gave to both. Every ``track_*`` method validates, encodes and queues, in
    microseconds, and returns a `Receipt`; a bad argument raises `ValidationError` and changes nothing. All of them
    take ``context``, ``true_timestamp`` and ``event_subject`` by keyword.

    Args:
        namespace: Tells this tracker's events from another's, at most 128 characters, or None (protocol: ``tna``).
        emitters: One `Emitter`, or a list of them: each event goes to all. Any object with ``input(payload)`` and
            ``flush()`` will do.
        subject: Who the events are about; it stays live. Default: a new one.
        app_id: At most 255 characters (protocol: ``aid``).
        encode_base64: Send JSON inside events as base64 rather than as text (protocol: ``ue_px``/``cx`` or
            ``ue_pr``/``co``).
        json_encoder: Called with a value in JSON data that has no JSON form; returns one that has.
        event_vendor: Your reversed domain, such as ``com.acme``: turns unstructured events into self-describing ones.
        on_invalid: ``raise`` for a bad argument, or ``drop`` the event, count it, and return a false receipt.
        anonymous: Leave what identifies a user off every event.
    """

    def __init__(
        self,
        namespace: str | None,
        emitters: Any,
        subject: Subject | None = None,
        app_id: str | None = None,
        encode_base64: bool = True,
        json_encoder: JsonEncoder | None = None,
        *,
        event_vendor: str | None = None,
        on_invalid: OnInvalid = "raise",
        anonymous: bool = False,
    ) -> None:
        try:
            check_option("namespace", namespace)
            check_option("subject", subject)
            check_option("app_id", app_id)
            check_option("encode_base64", encode_base64)
            check_option("json_encoder", json_encoder)
            check_option("event_vendor", event_vendor)
            check_option("on_invalid", on_invalid)
            check_option("anonymous", anonymous)
            self._emitters = [_as_emitter(emitter) for emitter in _as_list(emitters)]
        except ValidationError as error:
            raise error.within("Tracker") from None
        super().__init__(drop_invalid=on_invalid == "drop")
        self._namespace, self._app_id = namespace, app_id
        self._subject = subject or Subject()
        self._form = JsonForm(encode_base64, json_encoder)
        self._event_vendor = event_vendor
        self._anonymous = anonymous
        self._contexts: list[tuple[ContextSource, bytes | None]] = []
        self._last_head: tuple[bytes, object, bytes] = (b"", None, b"")
        lifecycle.start_anew_after_fork(self, Tracker._count_anew)
        self._look_plain()
        self._encode_head()
        self._use_emitters()

    @classmethod
    def hostname(cls, host: str, **options: Unpack[TrackerOptions]) -> Tracker:
        """A tracker that sends to a collector's host: POST ``/com.snowplowanalytics.snowplow/tp2``, or GET ``/i``.

        Args:
            host: ``name``, ``name:port`` or ``http(s)://name[:port]``; https unless it says otherwise or is this
                machine.
            options: Those of `Tracker` and of `snowplow_tracker.settings.EmitterSettings`, such as ``method="get"``.

        Raises:
            ValidationError: The host or an option is wrong.
            TypeError: There is no such option; the message names the nearest.
        """
        return cls._made_for("hostname", "host", host, options)

    @classmethod
    def cloudfront(cls, cf_subdomain: str, **options: Unpack[TrackerOptions]) -> Tracker:
        """A tracker that sends GETs to ``https://<cf_subdomain>.cloudfront.net/i``.

        Args:
            cf_subdomain: The distribution's name alone, such as ``d3rkrsqld9gmqf``.
            options: As for `hostname`.
        """
        try:
            host = cloudfront_host(cf_subdomain)
        except ValidationError as error:
            raise error.within("Tracker.cloudfront") from None
        return cls._made_for("cloudfront", "cf_subdomain", host, {"method": "get", "protocol": "https", **options})

    @classmethod
    def _made_for(cls, method: str, argument: str, host: str, options: Any) -> Tracker:
        where = f"Tracker.{method}"
        refuse_unknown(where, options, (*OPTION_NAMES, *SETTING_NAMES[1:]))
        own = {name: value for name, value in options.items() if name in OPTION_NAMES}
        settings = {name: value for name, value in options.items() if name in SETTING_NAMES}
        try:
            # A bad option of the tracker must not leave an emitter behind.
            emitter = Emitter(host, **settings)
            return cls(own.pop("namespace", None), emitter, **own)
        except ValidationError as error:
            error.problem = error.problem.replace("'endpoint'", f"'{argument}'")
            raise error.within(where) from None

    # --- describing the client -----------------------------------------------------------------------------------

    def _set(self, method: str, *values: Any) -> Tracker:
        try:
            getattr(self._subject, method)(*values)
        except ValidationError as error:
            self._invalid_setting(error.within(f"Tracker.{method}"))
        return self

    def set_platform(self, value: str | None) -> Tracker:
        """Set the platform: web mob pc srv app tv cnsl iot headset; default pc (protocol: ``p``)."""
        return self._set("set_platform", value)

    def set_user_id(self, user_id: str | None) -> Tracker:
        """Set the business's own id of the user, at most 255 characters; None at logout (protocol: ``uid``)."""
        return self._set("set_user_id", user_id)

    def set_screen_resolution(self, width: int | None, height: int | None) -> Tracker:
        """Set the screen's size in pixels (protocol: ``res``)."""
        return self._set("set_screen_resolution", width, height)

    def set_viewport(self, width: int | None, height: int | None) -> Tracker:
        """Set the window's inner size in pixels (protocol: ``vp``)."""
        return self._set("set_viewport", width, height)

    def set_color_depth(self, depth: int | None) -> Tracker:
        """Set the screen's color depth in bits per pixel (protocol: ``cd``)."""
        return self._set("set_color_depth", depth)

    def set_timezone(self, timezone: str | None) -> Tracker:
        """Set the time zone, an IANA name such as ``Europe/London`` (protocol: ``tz``)."""
        return self._set("set_timezone", timezone)

    def set_lang(self, lang: str | None) -> Tracker:
        """Set the language, such as ``en`` or ``de-AT`` (protocol: ``lang``)."""
        return self._set("set_lang", lang)

    def set_app_id(self, app_id: str | None) -> Tracker:
        """Set the application's id, at most 255 characters (protocol: ``aid``)."""
        try:
            check_option("app_id", app_id)
        except ValidationError as error:
            self._invalid_setting(error.within("Tracker.set_app_id"))
        else:
            self._app_id = app_id
            self._encode_head()
        return self

    def set_base64_to(self, value: bool) -> Tracker:
        """Set whether JSON inside events is sent as base64 or as plain text."""
        try:
            check_flag("value", value)
        except ValidationError as error:
            self._invalid_setting(error.within("Tracker.set_base64_to"))
        else:
            self._form = JsonForm(value, self._form.encoder)
        return self

    def set_subject(self, subject: Subject | None) -> Tracker:
        """Set who the events are about from now on; None for nobody in particular."""
        try:
            check_option("subject", subject)
        except ValidationError as error:
            raise error.within("Tracker.set_subject") from None
        self._subject = subject or Subject()
        return self

    def _encode_head(self) -> None:
        pairs = {"tv": TRACKER_VERSION, "tna": self._namespace, "aid": self._app_id}
        self._own_head = b"{" + encode_pairs({key: value for key, value in pairs.items() if value}) + b","

    # --- tracking ------------------------------------------------------------------------------------------------

    @public_call
    def track_page_view(
        self,
        page_url: str,
        page_title: str | None = None,
        referrer: str | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that a page was seen, see `PageView`."""
        return self._track(PageView(page_url, page_title, referrer).carrying(tstamp, more))

    @public_call
    def track_page_ping(
        self,
        page_url: str,
        page_title: str | None = None,
        referrer: str | None = None,
        min_x: int | None = None,
        max_x: int | None = None,
        min_y: int | None = None,
        max_y: int | None = None,
        tstamp: Tstamp | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track that a page is still being read, see `PagePing`."""
        return self._track(PagePing(page_url, page_title, referrer, min_x, max_x, min_y, max_y).carrying(tstamp, more))

    def track_struct_event(
        self,
        category: str,
        action: str,
        label: str | None = None,
        property: str | None = None,
        value: Number | None = None,
        tstamp: Tstamp | None = None,
        *surplus: NoReturn,
        property_: str | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track something that fits into five fields, see `StructuredEvent`; *property_* is the official *property*."""
        detail = property if property_ is None else property_
        # The call that games make every frame; the long way below is the rule, and takes 4.2 µs for this one's 2.6.
        if tstamp is None and not more and self._plain and not surplus:
            pairs = plain_struct_pairs(category, action, label, detail, value)
            if pairs is not None:
                lifecycle.check_process()
                event_id = pairs["eid"] = new_event_id()
                pairs["dtm"] = str(time_ns() // 1_000_000)
                encoded = fragment(self._head(self._subject), pairs)
                if len(encoded) <= self._certain_bytes:
                    return Receipt(event_id, self._emit(encoded))
        return self._track_struct_event(category, action, label, detail, value, tstamp, *surplus, **more)

    @public_call
    def _track_struct_event(
        self,
        category: str,
        action: str,
        label: str | None,
        property: str | None,
        value: Number | None,
        tstamp: Tstamp | None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        return self._track(StructuredEvent(category, action, label, property, value).carrying(tstamp, more))

    @public_call
    def track_unstruct_event(
        self,
        name: str | SelfDescribingJson | None = None,
        properties: dict[str, Any] | None = None,
        tstamp: Tstamp | None = None,
        *,
        event_json: SelfDescribingJson | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track an event of your own with flat properties, see `UnstructEvent`, or as later releases had it,
        self-describing: a `SelfDescribingJson`, which is *event_json* by its official name.

        With ``event_vendor`` on the tracker it goes out as the self-describing event
        ``iglu:<vendor>/<name>/jsonschema/1-0-0``. Without, as 2013's trackers sent it, which today's enrichment
        refuses: the first one warns (`UserWarning`), after it was queued.
        """
        described = name if event_json is None else event_json
        if not isinstance(described, str) and properties is None:
            return self._track(SelfDescribing(described).carrying(tstamp, more))  # type: ignore[arg-type]
        if isinstance(described, SelfDescribingJson):
            hint = "contexts go by keyword: context=[…]"
            raise invalid("properties", "left off beside a SelfDescribingJson", properties, hint)
        receipt = self._track(
            UnstructEvent(name, properties, self._event_vendor, tstamp=tstamp, **more)  # type: ignore[arg-type]
        )
        if self._event_vendor is None and "flat" not in self._told:
            self._told.add("flat")
            warnings.warn(_FLAT_FORM_WARNING, UserWarning, stacklevel=3)
        return receipt

    @public_call
    def track_self_describing_event(
        self,
        event: SelfDescribingJson | None = None,
        tstamp: Tstamp | None = None,
        *,
        event_json: SelfDescribingJson | None = None,
        **more: Unpack[EventOptions],
    ) -> Receipt:
        """Track anything that has a schema, see `SelfDescribing`; *event_json* is the official name of *event*."""
        described = event if event_json is None else event_json
        return self._track(SelfDescribing(described).carrying(tstamp, more))  # type: ignore[arg-type]

    @public_call
    def track(self, event: Event) -> Receipt:
        """Track an event object."""
        if not isinstance(event, Event) or type(event) is Event:
            raise invalid("event", "an event, such as PageView(…)", event)
        return self._track(event)

    def _track(self, event: Event) -> Receipt:
        lifecycle.check_process()
        event_id, encoded = self._encode(event)
        return Receipt(event_id, self._emit(encoded))

    def _track_all(self, events: Sequence[Event]) -> Receipt:
        lifecycle.check_process()
        encoded = [self._encode(event) for event in events]
        messages = [self._emit(fragment) for _, fragment in encoded]
        return Receipt(encoded[0][0], next((message for message in messages if message), None))

    def _encode(self, event: Event) -> tuple[str, bytes]:
        """The event's id and its fragment; raises if no emitter could send it."""
        pairs = event.pairs(self._form)
        if self._contexts or event.context:
            pairs.update(self._context_pair(event))
        event_id = pairs["eid"] = new_event_id()
        pairs["dtm"] = str(time_ns() // 1_000_000 if event.tstamp is None else tstamp_ms("tstamp", event.tstamp))
        if event.true_timestamp is not None:
            pairs["ttm"] = str(int(event.true_timestamp))
        subject = self._subject if event.event_subject is None else event.event_subject.merged_over(self._subject)
        encoded = fragment(self._head(subject), pairs)
        if len(encoded) > self._certain_bytes:
            for emitter in self._emitters:
                emitter.check_size(encoded)
        return event_id, encoded

    def _head(self, subject: Subject) -> bytes:
        """All that stays the same between calls, encoded anew only when some of it was set."""
        own, pairs, head = self._last_head
        if pairs is not subject.pairs or own is not self._own_head:
            # Read before they are encoded: whatever another thread sets meanwhile makes the next call look again.
            own, pairs = self._own_head, subject.pairs
            head = own + subject.encoded(self._anonymous)
            self._last_head = own, pairs, head
        return head

    def _emit_to_all(self, encoded: bytes) -> str | None:
        """Hand an event to every emitter; why one of them did not take it, or None."""
        messages = [emitter.emit(encoded) for emitter in self._emitters]
        return next((message for message in messages if message), None)

    def _context_pair(self, event: Event) -> dict[str, str]:
        entities = self._entities(event)
        return self._form.context_pair(entities) if entities else {}

    def _entities(self, event: Event) -> list[bytes]:
        """The encoded contexts of one event: the global ones, then its own."""
        entities = []
        for source, encoded in self._contexts:
            if encoded is None:
                entity = source(event)  # type: ignore[operator]
                if entity is None:
                    continue
                encoded = self._form.context_json("add_context", entity)
            entities.append(encoded)
        for position, entity in enumerate(event.context or ()):
            entities.append(self._form.context_json(f"context[{position}]", entity))
        return entities

    # --- contexts for every event --------------------------------------------------------------------------------

    def add_context(self, context: ContextSource) -> Tracker:
        """Attach a context to every event from now on.

        Args:
            context: A `SelfDescribingJson`, which is encoded now, once; or a function that gets the event and returns
                one or None.
        """
        encoded = None
        try:
            if isinstance(context, SelfDescribingJson):
                encoded = self._form.context_json("context", context)
            elif not callable(context):
                raise invalid("context", "a SelfDescribingJson or a function that returns one", context)
        except ValidationError as error:
            raise error.within("Tracker.add_context") from None
        self._contexts = [*self._contexts, (context, encoded)]
        self._look_plain()
        return self

    def remove_context(self, context: ContextSource) -> Tracker:
        """Stop attaching a context that `add_context` was given; one that is not there is no error."""
        self._contexts = [pair for pair in self._contexts if pair[0] is not context and pair[0] != context]
        self._look_plain()
        return self

    def _look_plain(self) -> None:
        """Whether an event is nothing but its pairs: no context for every event, and tracking is on."""
        self._plain = not self._contexts and not self._disabled

    # --- consent -------------------------------------------------------------------------------------------------

    def disable(self, *, keep_queued: bool = False) -> None:
        """Stop tracking: from now on calls return a false receipt and cost nearly nothing.

        Args:
            keep_queued: Whether what is queued is still delivered; otherwise it is discarded and counted as
                ``disabled``.
        """
        self._disabled = True
        self._look_plain()
        if not keep_queued:
            for emitter in self._emitters:
                emitter.discard("disabled")

    def enable(self) -> None:
        """Track again; without effect while the environment says ``SNOWPLOW_DISABLED=1``."""
        self._disabled = self._off_from_outside
        self._look_plain()

    # --- emitters ------------------------------------------------------------------------------------------------

    def _use_emitters(self) -> None:
        self._emit = self._emitters[0].emit if len(self._emitters) == 1 else self._emit_to_all
        self._certain_bytes = min(emitter.certain_bytes for emitter in self._emitters)

    def add_emitter(self, emitter: Any) -> Tracker:
        """Send every event from now on to one more emitter."""
        try:
            self._emitters = [*self._emitters, _as_emitter(emitter)]
        except ValidationError as error:
            raise error.within("Tracker.add_emitter") from None
        self._use_emitters()
        return self

    def flush(self, timeout: float = DEFAULT_FLUSH_TIMEOUT_S, *, is_async: bool = False) -> FlushResult:
        """Send everything now and wait for the outcome.

        Args:
            timeout: Seconds to wait at the most, for all emitters together.
            is_async: Only begin, and return at once (the official package's argument).

        Returns:
            True if everything accepted before the call is settled. It says delivered, dropped and remaining.
        """
        if isinstance(timeout, bool):  # the official signature: flush(True)
            is_async, timeout = bool(timeout), DEFAULT_FLUSH_TIMEOUT_S
        return self._finish("flush", 0.0 if is_async else timeout)

    def close(self, timeout: float | None = None) -> FlushResult:
        """Deliver what is queued, give up what is left, and take no more events. May be called again.

        Args:
            timeout: Seconds in all; default: each emitter's ``shutdown_timeout``, side by side.
        """
        return self._finish("close", timeout)

    def _finish(self, method: str, timeout: float | None) -> FlushResult:
        """Flush or close every emitter within one *timeout*, and add up."""
        start, emitters = monotonic(), self._emitters
        before = sum((emitter.stats() for emitter in emitters), Stats())
        for emitter in emitters:
            emitter.hurry()
        remaining = 0
        for emitter in emitters:
            try:
                whole = emitter.settings.shutdown_timeout if timeout is None else timeout
                remaining += getattr(emitter, method)(_left(whole, start)).remaining
            except ValidationError as error:
                raise error.within(f"Tracker.{method}") from None
        after = sum((emitter.stats() for emitter in emitters), Stats())
        return FlushResult(
            delivered=after.delivered - before.delivered,
            dropped=sum(after.dropped.values()) - sum(before.dropped.values()),
            remaining=remaining,
        )

    async def aflush(self, timeout: float = DEFAULT_FLUSH_TIMEOUT_S) -> FlushResult:
        """`flush` for asyncio: the event loop goes on meanwhile."""
        return await _in_a_thread(partial(self.flush, timeout))

    async def aclose(self, timeout: float | None = None) -> FlushResult:
        """`close` for asyncio: the event loop goes on meanwhile."""
        return await _in_a_thread(partial(self.close, timeout))

    def stats(self) -> Stats:
        """What became of every event so far, over all emitters."""
        with self._lock:
            own = self._counters.snapshot()
        return sum((emitter.stats() for emitter in self._emitters), own)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Tracker {self._namespace or ''} {self._emitters}>"

    # --- official names ------------------------------------------------------------------------------------------

    @property
    def subject(self) -> Subject:
        """Who the events are about."""
        return self._subject

    @property
    def emitters(self) -> list[Any]:
        """Where the events go, as they were given."""
        return [emitter.wrapped if isinstance(emitter, ForeignEmitter) else emitter for emitter in self._emitters]

    @property
    def encode_base64(self) -> bool:
        """Whether JSON inside events is sent as base64."""
        return self._form.base64

    def get_namespace(self) -> str | None:
        """The tracker's namespace."""
        return self._namespace

    @staticmethod
    def get_uuid() -> str:
        """A new random UUID, as events get one."""
        return new_event_id()

    @staticmethod
    def get_timestamp(tstamp: float | None = None) -> int:
        """*tstamp* as a whole number, or the milliseconds since the epoch."""
        return time_ns() // 1_000_000 if tstamp is None else int(tstamp)


OPTION_NAMES: Final = tuple(name for name in signature(Tracker).parameters if name != "emitters")


def check_option(name: str, value: Any) -> None:
    """Raise `ValidationError` for a value that an option of `Tracker` can't have."""
    _OPTION_CHECKS[name](name, value)


def _optional(check: Check) -> Check:
    return lambda argument, value: None if value is None else check(argument, value)


def _check_subject(argument: str, value: Any) -> None:
    if not isinstance(value, Subject):
        raise invalid(argument, "a Subject or None", value)


def _check_namespace(argument: str, value: Any) -> None:
    if isinstance(value, Emitter):
        raise invalid(argument, "text", value, "the namespace comes first: Tracker('my-game', emitter)")
    check_text(argument, value, 128)


def _check_encoder(argument: str, value: Any) -> None:
    if not callable(value):
        raise invalid(argument, "a function or None", value)


_OPTION_CHECKS: Final[dict[str, Check]] = {
    "namespace": _optional(_check_namespace),
    "app_id": _optional(partial(check_text, limit=255)),
    "subject": _optional(_check_subject),
    "encode_base64": check_flag,
    "json_encoder": _optional(_check_encoder),
    "event_vendor": _optional(check_event_vendor),
    "on_invalid": one_of(("raise", "drop")),
    "anonymous": check_flag,
}


def _as_list(emitters: Any) -> list[Any]:
    found = list(emitters) if isinstance(emitters, (list, tuple)) else [emitters]
    if not found:
        raise invalid("emitters", "an emitter or a non-empty list of them", emitters)
    return found


def _as_emitter(emitter: Any) -> Any:
    if isinstance(emitter, Emitter):
        return emitter
    if callable(getattr(emitter, "input", None)) and callable(getattr(emitter, "flush", None)):
        return ForeignEmitter(emitter)
    hint = "make one: Emitter('collector.acme.com')" if isinstance(emitter, str) else ""
    raise invalid("emitters", "an Emitter, or an object with input(payload) and flush()", emitter, hint)


def _left(timeout: Any, start: float) -> Any:
    """What remains of a time-out that began at *start*; what is no number is left for the emitter to refuse."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        return timeout
    return timeout if timeout < 0 else max(0.0, timeout - (monotonic() - start))


async def _in_a_thread(function: Callable[[], FlushResult]) -> FlushResult:
    import asyncio  # only programs that use it should pay for its import
    from concurrent.futures import ThreadPoolExecutor

    thread = ThreadPoolExecutor(1)  # not the loop's own: there it would wait, beyond its time-out, for its turn
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, function)
    finally:
        thread.shutdown(wait=False)
