"""What all ``track_*`` methods share: the arguments of every event, and the calls after which nothing is tracked."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Any, Concatenate, Final, ParamSpec, TypedDict, TypeVar

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.event_ids import new_event_id
from snowplow_tracker.events import Event
from snowplow_tracker.outcomes import Counters, Receipt
from snowplow_tracker.self_describing_json import SelfDescribingJson
from snowplow_tracker.settings import refuse_unknown
from snowplow_tracker.subject import Subject

P = ParamSpec("P")
CallsT = TypeVar("CallsT", bound="Calls")

logger = logging.getLogger("snowplow_tracker")

_DISABLED: Final = Receipt("", "tracking is disabled")


class EventOptions(TypedDict, total=False):
    """What every ``track_*`` method takes by keyword, see `snowplow_tracker.events.Event`."""

    context: Sequence[SelfDescribingJson] | None
    true_timestamp: float | None
    event_subject: Subject | None


def public_call(method: Callable[Concatenate[CallsT, P], Receipt]) -> Callable[Concatenate[CallsT, P], Receipt]:
    """A ``track_*`` method: nothing while disabled, and errors that name the method the caller used."""
    where = f"Tracker.{method.__name__.lstrip('_')}"

    @wraps(method)
    def call(self: CallsT, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        if self._disabled:
            return self._refuse_disabled()
        try:
            return method(self, *args, **kwargs)
        except ValidationError as error:
            return self._invalid(error.within(where))
        except TypeError:
            _refuse_misfit(where, method, args, kwargs)
            raise

    return call  # type: ignore[return-value]  # `wraps` loses that self is positional


def _refuse_misfit(where: str, method: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]) -> None:
    """Raise a TypeError that helps, where a call does not fit the method's arguments."""
    parameters = list(signature(method).parameters.values())[1:]
    takes_options = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
    known = [parameter.name for parameter in parameters if parameter.kind is not Parameter.VAR_KEYWORD]
    refuse_unknown(where, options, [*known, *(EventOptions.__annotations__ if takes_options else ())])
    most = sum(parameter.kind is Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
    if takes_options and len(args) > most:
        raise TypeError(
            f"{where}() takes at most {most} positional arguments, the last one is tstamp (seconds), got {len(args)}; "
            f"the rest goes by keyword: {where.partition('.')[2]}(…, context=[…], true_timestamp=…, event_subject=…)"
        )


class Calls:
    """The base of `Tracker`: refuses calls while tracking is off, and bad arguments, and counts both.

    Args:
        drop_invalid: Whether a bad argument makes a false receipt instead of an error.
    """

    def __init__(self, drop_invalid: bool) -> None:
        self._drop_invalid = drop_invalid
        self._told: set[str] = set()
        self._off_from_outside = os.environ.get("SNOWPLOW_DISABLED", "").strip().lower() not in ("", "0", "false", "no")
        self._disabled = self._off_from_outside
        self._count_anew()

    def _count_anew(self) -> None:
        """Count from zero in a child process, under a lock that no thread of the parent can hold."""
        self._counters, self._lock = Counters(), threading.RLock()

    def _track(self, event: Event) -> Receipt:
        """Encode an event and hand it over."""
        raise NotImplementedError

    def _track_all(self, events: Sequence[Event]) -> Receipt:
        """Encode every event, then hand all of them over; the first one's receipt, false if any was not taken."""
        raise NotImplementedError

    def _refuse_disabled(self) -> Receipt:
        with self._lock:
            self._counters.refuse("disabled")
        return _DISABLED

    def _invalid(self, error: ValidationError) -> Receipt:
        if not self._drop_invalid:
            raise error from None
        with self._lock:
            self._counters.refuse("invalid")
        self._log_once(error)
        return Receipt(new_event_id(), str(error))

    def _invalid_setting(self, error: ValidationError) -> None:
        if not self._drop_invalid:
            raise error from None
        self._log_once(error)

    def _log_once(self, error: ValidationError) -> None:
        if error.where not in self._told:
            self._told.add(error.where)
            with contextlib.suppress(Exception):  # a handler that raises must not reach who asked for silence
                logger.warning("%s(): %s; dropped, and further ones like it are not logged", error.where, error.rule)
