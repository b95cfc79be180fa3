"""Every setting of an emitter: declared, validated and explained here, once, and handed around as one object."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict

import attrs

from snowplow_tracker.event_store import DEFAULT_CAPACITY, DEFAULT_MAX_BYTES, EventStore
from snowplow_tracker.transport import Transport
from snowplow_tracker.validators import check_flag, check_integer, check_number, invalid, one_of

if TYPE_CHECKING:
    import requests

PayloadDict: TypeAlias = dict[str, str]
"""An event as callbacks see it: wire key to text."""
SuccessCallback: TypeAlias = Callable[[list[PayloadDict]], Any]
FailureCallback: TypeAlias = Callable[[int, list[PayloadDict]], Any]
Method: TypeAlias = Literal["get", "post"]
Protocol: TypeAlias = Literal["http", "https"]
Overflow: TypeAlias = Literal["drop_newest", "drop_oldest", "block"]

MAX_BODY_BYTES: Final = 500_000
DEFAULT_TIMEOUT_S: Final = 5.0


def _count(unit: str) -> Any:
    def validate(instance: Any, attribute: Any, value: Any) -> None:
        check_integer(attribute.name, value, 1, 2**53, f"a positive integer ({unit})")

    return validate


def _seconds(instance: Any, attribute: Any, value: Any) -> None:
    check_number(attribute.name, value, "a number of seconds")
    if value < 0:
        raise invalid(attribute.name, "a number of seconds, not negative", value)


def _code(*choices: str) -> Any:
    check = one_of(choices)
    return lambda instance, attribute, value: check(attribute.name, value)


def _function(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None and not callable(value):
        raise invalid(attribute.name, "a function or None", value)


def _flag(instance: Any, attribute: Any, value: Any) -> None:
    check_flag(attribute.name, value)


def _at_most(limit: int, why: str) -> Any:
    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if value > limit:
            raise invalid(attribute.name, f"at most {limit} ({why})", value)

    return validate


def _time_outs(value: Any, field: Any) -> tuple[float, float]:
    """A number for both, or a pair: to connect, and for each piece of the answer."""
    pair = value if isinstance(value, (tuple, list)) else (DEFAULT_TIMEOUT_S if value is None else value,) * 2
    for seconds in pair:
        check_number(field.name, seconds, "a number of seconds or a pair of them (connect, read)")
    if len(pair) != 2 or min(pair) <= 0:
        raise invalid(field.name, "a positive number of seconds or a pair of them (connect, read)", value)
    return float(pair[0]), float(pair[1])


def _retry_codes(instance: Any, attribute: Any, value: Any) -> None:
    expected = "a dict of HTTP status to whether it is retried, such as {404: False}"
    if not isinstance(value, Mapping):
        raise invalid(attribute.name, expected, value)
    for status, retried in value.items():
        if isinstance(status, bool) or not isinstance(status, int) or not isinstance(retried, bool):
            raise invalid(attribute.name, expected, value)


def _store(instance: Any, attribute: Any, value: Any) -> None:
    if value is None or callable(getattr(value, "claim", None)):
        return
    official = callable(getattr(value, "get_events_batch", None))
    hint = "stores of the official package's shape are not taken: subclass MemoryEventStore" if official else ""
    raise invalid(attribute.name, "an event store, such as MemoryEventStore(), or None", value, hint)


def _session(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None and not callable(getattr(value, "request", None)):
        raise invalid(attribute.name, "a requests.Session or None", value)


def _port(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        check_integer(attribute.name, value, 1, 65_535, "a port number")


def _setting(default: Any, *validators: Any, kw_only: bool = True) -> Any:
    """A setting for which None means the default, as it does in the official package."""
    convert = attrs.converters.default_if_none(default)
    return attrs.field(default=None, converter=convert, validator=list(validators), kw_only=kw_only)


@attrs.frozen(slots=False, eq=False)
class EmitterSettings:
    """How an emitter behaves. None stands for the default everywhere.

    The order of the positional ones is the official package's.

    Args:
        endpoint: The collector's host: ``name``, ``name:port`` or ``http(s)://name[:port]``. Not given when
            *transport* is.
        protocol: ``http`` or ``https``, where *endpoint* does not say. Default https, but http for a loopback address,
            where a certificate makes no sense.
        port: Where *endpoint* does not say.
        method: ``post`` sends batches; ``get`` one event a request, as the collectors of 2013 want it.
        batch_size: The tunable buffer: the most events in one request. Default 250, about 150 kB: far below what a
            collector refuses, and large enough that a request's cost hardly shows in an event's. With ``get`` it is 1.
        on_success: Called with a list of payload dicts after the collector took them.
        on_failure: Called once with the number of events sent (0) and a list of payload dicts, when accepted events
            are given up: refused, too large, expired, or out of time at close. Both callbacks run in the emitter
            thread (at close in the closing one), may track, and may raise: that is logged.
        byte_limit: The most bytes in one request body. Default and maximum 500,000: a collector answers 200 to more
            than 1,048,576 and loses it, and less is lost less.
        request_timeout: Seconds to connect and seconds to wait for the whole answer; one number or a pair.
            Default 5.
        max_retry_delay_seconds: The longest wait between attempts, a ``Retry-After`` included. Default 60.
        buffer_capacity: The most events held in memory. Default 10,000: an hour without a collector at three events a
            second.
        custom_retry_codes: HTTP status to whether it is retried, over the rule that all but 400, 401, 403, 410, 413
            and 422 are.
        event_store: Where events wait; default a `MemoryEventStore` of *buffer_capacity* and *buffer_bytes*. One store
            serves one emitter.
        session: A `requests.Session` of your own, for proxies, certificates, headers. It is used as it is and not
            closed.
        buffer_size: The old name of *batch_size*.
        buffer_bytes: The most bytes held in memory. Default 32 MiB, so that large events cannot fill a machine.
        overflow: What a full buffer does: ``drop_newest`` (default: the call's receipt is false), ``drop_oldest``, or
            ``block`` for at most *block_timeout* and then as ``drop_newest``.
        block_timeout: Seconds; default 1.
        flush_interval: How long an event waits for others to share its request, in seconds. Default 0.5: soon enough
            to watch.
        threads: How many requests run at once. Default 1, which keeps the order; more help ``get``.
        shutdown_timeout: Seconds that closing or exit may take in all. Default 2: longer looks like a hang.
        max_event_bytes: The largest event, encoded. Default 190,000, which is safe with every sink behind a collector.
        max_event_age_s: How old an undelivered event may become, in seconds. Default: any age.
        transport: Another way out than HTTP; takes the place of *endpoint*.
        anonymous: Ask the collector to keep neither address nor cookie (header ``SP-Anonymous: *``).
    """

    endpoint: str | None = None
    protocol: Protocol | None = attrs.field(default=None, validator=attrs.validators.optional(_code("http", "https")))
    port: int | None = attrs.field(default=None, validator=_port)
    method: Method = _setting("post", _code("get", "post"), kw_only=False)
    batch_size: int = _setting(250, _count("events a request"), kw_only=False)
    on_success: SuccessCallback | None = attrs.field(default=None, validator=_function)
    on_failure: FailureCallback | None = attrs.field(default=None, validator=_function)
    byte_limit: int = _setting(
        MAX_BODY_BYTES, _count("bytes"), _at_most(MAX_BODY_BYTES, "collectors lose larger requests"), kw_only=False
    )
    request_timeout: Any = attrs.field(
        default=None,
        converter=attrs.Converter(_time_outs, takes_field=True),  # type: ignore[misc]
    )
    max_retry_delay_seconds: float = _setting(60, _seconds, kw_only=False)
    buffer_capacity: int = _setting(DEFAULT_CAPACITY, _count("events"), kw_only=False)
    custom_retry_codes: Mapping[int, bool] = _setting({}, _retry_codes, kw_only=False)
    event_store: EventStore | None = attrs.field(default=None, validator=_store)
    session: requests.Session | None = attrs.field(default=None, validator=_session)
    buffer_size: int | None = attrs.field(default=None, kw_only=True)
    buffer_bytes: int = _setting(DEFAULT_MAX_BYTES, _count("bytes"))
    overflow: Overflow = _setting("drop_newest", _code("drop_newest", "drop_oldest", "block"))
    block_timeout: float = _setting(1.0, _seconds)
    flush_interval: float = _setting(0.5, _seconds)
    threads: int = _setting(1, _count("threads"), _at_most(64, "more would only wait"))
    shutdown_timeout: float = _setting(2.0, _seconds)
    max_event_bytes: int = _setting(190_000, _count("bytes"), _at_most(1_000_000, "collectors lose larger requests"))
    max_event_age_s: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_seconds), kw_only=True
    )
    transport: Transport | None = attrs.field(default=None, kw_only=True)
    anonymous: bool = _setting(False, _flag)

    def __attrs_post_init__(self) -> None:
        if self.endpoint is None and self.transport is None:
            raise invalid("endpoint", "the collector's host, such as 'collector.acme.com'", None)
        if self.endpoint is not None and self.transport is not None:
            raise invalid("endpoint", "left off where transport= is given: that knows where it sends", self.endpoint)
        if self.buffer_size is not None:
            _count("events a request")(self, attrs.fields(EmitterSettings).buffer_size, self.buffer_size)
            object.__setattr__(self, "batch_size", self.buffer_size)
        # As in the official package: a batch can't be larger than what is held.
        object.__setattr__(self, "batch_size", min(self.batch_size, self.buffer_capacity))
        # An event that the buffer can never hold is an error at the call, like one that no collector takes.
        object.__setattr__(self, "max_event_bytes", min(self.max_event_bytes, self.buffer_bytes))


class EmitterOptions(TypedDict, total=False):
    """The settings' names and types, for calls that take them as ``**options``; a test holds it to
    `EmitterSettings`."""

    protocol: Protocol | None
    port: int | None
    method: Method
    batch_size: int | None
    on_success: SuccessCallback | None
    on_failure: FailureCallback | None
    byte_limit: int | None
    request_timeout: float | tuple[float, float] | None
    max_retry_delay_seconds: float
    buffer_capacity: int | None
    custom_retry_codes: Mapping[int, bool] | None
    event_store: EventStore | None
    session: requests.Session | None
    buffer_size: int | None
    buffer_bytes: int
    overflow: Overflow
    block_timeout: float
    flush_interval: float
    threads: int
    shutdown_timeout: float
    max_event_bytes: int
    max_event_age_s: float | None
    transport: Transport | None
    anonymous: bool


def refuse_unknown(where: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise for an option that does not exist.

    Args:
        where: The call, for the error.
        given: The names of the options that were passed.
        known: Those that exist.

    Raises:
        TypeError: It names the option and the nearest known one.
    """
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean '{nearest[0]}'?" if nearest else f"; known are {', '.join(known)}"
            raise TypeError(f"{where}() has no option '{name}'{hint}")
