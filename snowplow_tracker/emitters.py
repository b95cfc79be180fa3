"""`Emitter`: what a tracker hands its events to."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import attrs

from snowplow_tracker.addresses import collector_url
from snowplow_tracker.delivery import Delivery
from snowplow_tracker.errors import ValidationError
from snowplow_tracker.outcomes import FlushResult, Reason, Stats
from snowplow_tracker.payload import encode_pairs, payload_dict
from snowplow_tracker.settings import EmitterSettings, refuse_unknown
from snowplow_tracker.telling import log_error
from snowplow_tracker.transport import Transport
from snowplow_tracker.validators import invalid

P = ParamSpec("P")
T = TypeVar("T")

SETTING_NAMES: Final = tuple(field.name for field in attrs.fields(EmitterSettings))
DEFAULT_FLUSH_TIMEOUT_S: Final = 10.0


def _takes(declared: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[Concatenate[Any, P], T]]:
    """Give a method the arguments of *declared*, for type checkers and `help`, without declaring them again."""

    def borrow(method: Callable[..., T]) -> Callable[Concatenate[Any, P], T]:
        own = list(inspect.signature(method).parameters.values())[:1]
        method.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*own, *inspect.signature(declared).parameters.values()]
        )
        return method

    return borrow


class Emitter:
    """Queues events and sends them from a daemon thread. The arguments are those of `EmitterSettings`.

    Raises:
        ValidationError: A setting is wrong.
        TypeError: There is no such setting; the message names the nearest.
    """

    @_takes(EmitterSettings)
    def __init__(self, *args: Any, **options: Any) -> None:
        refuse_unknown(type(self).__name__, options, SETTING_NAMES)
        try:
            self.settings = EmitterSettings(*args, **options)
            transport = self.settings.transport or _http_transport(self.settings)
        except ValidationError as error:
            raise error.within(type(self).__name__) from None
        self._transport = transport
        delivery = self._delivery = Delivery(self.settings, transport)
        # The thread does not keep the emitter alive: once nobody can track any more, it delivers the rest and ends.
        delivery.owner = weakref.ref(self, lambda _: delivery.retire())
        self.emit: Callable[[bytes], str | None] = delivery.emit
        if type(self).input is not Emitter.input:
            self.emit = self._emit_by_input
        most = transport.surely_takes()
        self.certain_bytes = self.settings.max_event_bytes if most is None else min(most, self.settings.max_event_bytes)
        """Events up to this size need no `check_size`."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.address} {self.stats()}>"

    @property
    def endpoint(self) -> str:
        """Where requests go: the collector's address with its path, or the transport's."""
        return getattr(self._transport, "url", self._transport.address)

    def check_size(self, fragment: bytes) -> None:
        """Raise `ValidationError` if an encoded event is too large to be sent.

        Source: protocol, "Sizes".
        """
        size, limit = len(fragment), self.settings.max_event_bytes
        if size > limit:
            rule = f"the event must have at most {limit} bytes once encoded (max_event_bytes)"
            raise ValidationError(f"{rule}, this has {size}", rule)
        reason = self._transport.why_too_large(fragment)
        if reason:
            raise ValidationError(f"the event is too large: {reason}")

    def __setattr__(self, name: str, value: object) -> None:
        if name in SETTING_NAMES:  # it would have no effect, and nobody would notice
            kind = type(self).__name__
            raise AttributeError(f"{kind}.{name} is a setting: give it when the emitter is made, {kind}(…, {name}=…)")
        super().__setattr__(name, value)

    def input(self, payload: Mapping[str, Any]) -> str | None:
        """Queue an event that is a payload dict already: wire key to value. What is None or empty is left off.

        A subclass that has an `input` of its own sees every event there.

        Returns:
            None if it was taken, else why not.
        """
        pairs = {str(key): str(value) for key, value in payload.items() if value is not None and value != ""}
        fragment = b"{" + encode_pairs(pairs)
        self.check_size(fragment)
        return self._delivery.emit(fragment)

    def _emit_by_input(self, fragment: bytes) -> str | None:
        return _hand_over(self, fragment)

    def flush(self, timeout: float = DEFAULT_FLUSH_TIMEOUT_S) -> FlushResult:
        """Send everything now and wait for the outcome.

        Args:
            timeout: Seconds to wait at the most. What comes while waiting is not waited for.

        Returns:
            What became of the events; true if everything that was accepted before the call is settled. From a callback
            it returns at once, false unless there is nothing to do.
        """
        return self._delivery.flush(_seconds("flush", timeout))

    def sync_flush(self) -> FlushResult:
        """`flush`, by its official name."""
        return self.flush()

    def async_flush(self) -> None:
        """`hurry`, by its official name."""
        self.hurry()

    def hurry(self) -> None:
        """Have everything sent now, without waiting for it."""
        self._delivery.hurry()

    def close(self, timeout: float | None = None) -> FlushResult:
        """Deliver what is queued, give up what is left, and take no more events. May be called again.

        Args:
            timeout: Seconds; default `EmitterSettings.shutdown_timeout`.

        Returns:
            What became of the events; what could not be sent is dropped as ``shutdown``.
        """
        return self._delivery.close(None if timeout is None else _seconds("close", timeout))

    def stats(self) -> Stats:
        """What became of every event so far."""
        return self._delivery.stats()

    def discard(self, reason: Reason) -> int:
        """Give up every event that waits, counted under *reason*; returns how many."""
        return self._delivery.discard(reason)

    def set_flush_timer(self, timeout: float) -> None:
        """Set how long an event waits for others to share its request, in seconds, as
        `EmitterSettings.flush_interval`."""
        self._delivery.set_flush_interval(_seconds("set_flush_timer", timeout))

    def cancel_flush_timer(self) -> None:
        """Go back to the ``flush_interval`` that was set at first."""
        self._delivery.set_flush_interval(self.settings.flush_interval)

    def __enter__(self) -> Emitter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncEmitter(Emitter):
    """The same emitter with the positional order of the official class, where the eighth is ``thread_count``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        refuse_unknown(type(self).__name__, options, (*SETTING_NAMES, "thread_count"))
        if len(args) > len(_ASYNC_ORDER):
            raise TypeError(f"AsyncEmitter() takes at most {len(_ASYNC_ORDER)} positional arguments, got {len(args)}")
        named = dict(zip(_ASYNC_ORDER, args, strict=False))
        if "thread_count" in options:
            named["threads"] = options.pop("thread_count")
        super().__init__(**named, **options)


_ASYNC_ORDER: Final = (
    *SETTING_NAMES[: SETTING_NAMES.index("byte_limit")],
    "threads",
    *SETTING_NAMES[SETTING_NAMES.index("byte_limit") : SETTING_NAMES.index("buffer_size")],
)


def _async_signature() -> inspect.Signature:
    """What `help` shows of `AsyncEmitter`: the official arguments by position, the other settings by keyword."""
    known = inspect.signature(EmitterSettings).parameters
    thread_count = known["threads"].replace(name="thread_count", kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature(
        [
            *(thread_count if name == "threads" else known[name] for name in _ASYNC_ORDER),
            *(known[name] for name in SETTING_NAMES if name not in _ASYNC_ORDER),
        ]
    )


AsyncEmitter.__signature__ = _async_signature()  # type: ignore[attr-defined]


class ForeignEmitter:
    """Any object with ``input(payload)`` and ``flush()``, as an emitter.

    What it does with an event is not known here, so `stats` says nothing about it.
    """

    certain_bytes: Final = sys.maxsize

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.settings = EmitterSettings("foreign")

    def emit(self, fragment: bytes) -> str | None:
        """Hand over one event as a payload dict."""
        return _hand_over(self.wrapped, fragment)

    def check_size(self, fragment: bytes) -> None:
        """Nothing is known to be too large."""

    def flush(self, timeout: float) -> FlushResult:
        """Call its flush, or its ``sync_flush`` if it has one and there is time, however long that takes."""
        sync_flush = getattr(self.wrapped, "sync_flush", None)
        try:
            if timeout and callable(sync_flush):
                sync_flush()
            else:
                self.wrapped.flush()
        except Exception as error:  # the tracker's other emitters are still to be flushed
            log_error("%s in a flush at %s:%s", error)
        return FlushResult(0, 0, 0)

    close = flush

    def hurry(self) -> None:
        """There is no way to ask for that."""

    def stats(self) -> Stats:
        """Nothing is known."""
        return Stats()

    def discard(self, reason: Reason) -> int:
        """There is no way to ask for that."""
        return 0


def _hand_over(emitter: Any, fragment: bytes) -> str | None:
    """Give an event to a user's ``input`` as a payload dict; what it raises becomes the reason why it was not taken."""
    try:
        reason = emitter.input(payload_dict(fragment))
    except Exception as error:
        return f"{type(emitter).__name__}.input() raised {type(error).__name__}"
    return reason if isinstance(reason, str) else None


def _http_transport(settings: EmitterSettings) -> Transport:
    from snowplow_tracker.http_transport import GetTransport, PostTransport  # not before one is needed: see there

    url = collector_url("endpoint", settings.endpoint, settings.protocol, settings.port, settings.method)
    kind = GetTransport if settings.method == "get" else PostTransport
    return kind(
        url,
        timeout=settings.request_timeout,
        session=settings.session,
        threads=settings.threads,
        anonymous=settings.anonymous,
    )


def _seconds(method: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise invalid("timeout", "a number of seconds, not negative", value).within(f"Emitter.{method}")
    return float(value)
