"""Names of the official package that have no other place here: `Snowplow`, its configurations, its contracts.

There is no second way to make anything: `Snowplow.create_tracker` makes a `Tracker` with an `Emitter`, and a
configuration holds what will be passed to one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from snowplow_tracker.emitters import SETTING_NAMES, Emitter
from snowplow_tracker.errors import ValidationError
from snowplow_tracker.settings import EmitterOptions, EmitterSettings, Method, refuse_unknown
from snowplow_tracker.subject import Subject
from snowplow_tracker.tracker import OPTION_NAMES, Tracker, check_option
from snowplow_tracker.validators import check_text, invalid

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _Configuration:
    """Options by name, as attributes; one that was not given is None, and then the default holds."""

    _by_position: ClassVar[tuple[str, ...]]
    _known: ClassVar[tuple[str, ...]]

    def __init__(self, *official: Any, **options: Any) -> None:
        where = type(self).__name__
        refuse_unknown(where, options, self._known)
        if len(official) > len(self._by_position):
            raise TypeError(
                f"{where}() takes at most {len(self._by_position)} positional arguments, got {len(official)}"
            )
        named = dict(zip(self._by_position, official, strict=False))
        for name in self._known:
            if name in named and name in options:
                raise TypeError(f"{where}() got multiple values for argument '{name}'")
            setattr(self, name, options.get(name, named.get(name)))

    def __setattr__(self, name: str, value: Any) -> None:
        where = type(self).__name__
        refuse_unknown(where, [name], self._known)
        if value is not None:
            try:
                self._check(name, value)
            except ValidationError as error:
                raise error.within(where) from None
        super().__setattr__(name, value)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def _check(self, name: str, value: Any) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options().items())})"

    def options(self) -> dict[str, Any]:
        """What was given, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


_OFFICIAL: Final = SETTING_NAMES[SETTING_NAMES.index("batch_size") : SETTING_NAMES.index("buffer_size")]


class EmitterConfiguration(_Configuration):
    """How the emitter of `Snowplow.create_tracker` behaves: the settings of `EmitterSettings`, but for where it sends.

    The official nine may come by position, in the official order. Each is an attribute that can be read and set until
    the tracker is made.

    Raises:
        ValidationError: A setting is wrong.
        TypeError: There is no such setting; the message names the nearest.
    """

    _by_position = tuple(name for name in _OFFICIAL if name != "max_retry_delay_seconds")
    _known = tuple(name for name in SETTING_NAMES if name not in ("endpoint", "method", "transport"))
    custom_retry_codes: Mapping[int, bool] | None

    if TYPE_CHECKING:

        def __init__(self, *official: Any, **options: Unpack[EmitterOptions]) -> None: ...

    def _check(self, name: str, value: Any) -> None:
        EmitterSettings("for a check", **{name: value})

    def set_retry_code(self, status_code: int, retry: bool = True) -> bool:
        """Say whether an HTTP status is retried.

        Returns:
            Whether that has an effect: a 2xx is a success, whatever is said here.
        """
        self.custom_retry_codes = {**(self.custom_retry_codes or {}), status_code: retry}
        return not 200 <= status_code < 300


class TrackerConfiguration(_Configuration):
    """How the tracker of `Snowplow.create_tracker` behaves: the options of `Tracker` from ``encode_base64`` on.

    The official two, ``encode_base64`` and ``json_encoder``, may come by position. Each is an attribute that can be
    read and set until the tracker is made.

    Raises:
        ValidationError: An option is wrong.
        TypeError: There is no such option; the message names the nearest.
    """

    _by_position = ("encode_base64", "json_encoder")
    _known = tuple(name for name in OPTION_NAMES if name not in ("namespace", "subject", "app_id"))

    def _check(self, name: str, value: Any) -> None:
        check_option(name, value)


class Snowplow:
    """Trackers by namespace, for a program that would rather not hand its tracker around."""

    _trackers: ClassVar[dict[str, Tracker]] = {}

    @classmethod
    def create_tracker(
        cls,
        namespace: str,
        endpoint: str,
        method: Method = "post",
        app_id: str | None = None,
        subject: Subject | None = None,
        tracker_config: TrackerConfiguration | None = None,
        emitter_config: EmitterConfiguration | None = None,
    ) -> Tracker:
        """Make a tracker and keep it under its namespace.

        Args:
            namespace: The name to get it by, at most 128 characters (protocol: ``tna``).
            endpoint: The collector's host, as for `Emitter`.
            method: ``post`` or ``get``.
            app_id, subject: As for `Tracker`.
            tracker_config, emitter_config: Everything else.

        Raises:
            TypeError: There is a tracker of that namespace already.
            ValidationError: An argument is wrong.
        """
        try:
            check_text("namespace", namespace, 128)
            cls._refuse_known(namespace)
            of_tracker = _options("tracker_config", tracker_config, TrackerConfiguration)
            of_emitter = _options("emitter_config", emitter_config, EmitterConfiguration)
            # As on Tracker.hostname, one word makes both halves anonymous.
            of_emitter.setdefault("anonymous", of_tracker.get("anonymous"))
            emitter = Emitter(endpoint, method=method, **of_emitter)
            return cls.add_tracker(Tracker(namespace, emitter, subject, app_id, **of_tracker))
        except ValidationError as error:
            raise error.within("Snowplow.create_tracker") from None

    @classmethod
    def add_tracker(cls, tracker: Tracker) -> Tracker:
        """Keep a tracker under its namespace; returns it.

        Raises:
            TypeError: There is a tracker of that namespace already.
            ValidationError: It is no tracker, or has no namespace.
        """
        if not isinstance(tracker, Tracker) or tracker.get_namespace() is None:
            raise invalid("tracker", "a Tracker with a namespace", tracker).within("Snowplow.add_tracker")
        namespace = str(tracker.get_namespace())
        cls._refuse_known(namespace)
        cls._trackers[namespace] = tracker
        return tracker

    @classmethod
    def _refuse_known(cls, namespace: str) -> None:
        if namespace in cls._trackers:
            # A TypeError, since programs that were written for the official package catch that.
            raise TypeError(
                f"there is a tracker with the namespace {namespace!r} already; Snowplow.get_tracker({namespace!r}) "
                f"returns it, Snowplow.remove_tracker_by_namespace({namespace!r}) makes room"
            )

    @classmethod
    def get_tracker(cls, namespace: str) -> Tracker | None:
        """The tracker of that namespace, or None."""
        return cls._trackers.get(namespace)

    @classmethod
    def remove_tracker(cls, tracker: Tracker) -> None:
        """Forget a tracker, without closing it; one that is not there is no error."""
        cls.remove_tracker_by_namespace(str(tracker.get_namespace()))

    @classmethod
    def remove_tracker_by_namespace(cls, namespace: str) -> None:
        """Forget the tracker of that namespace, without closing it; one that is not there is no error."""
        cls._trackers.pop(namespace, None)

    @classmethod
    def reset(cls) -> None:
        """Forget every tracker, without closing any: what they hold is still delivered."""
        cls._trackers.clear()


def _options(argument: str, configuration: Any, kind: type[_Configuration]) -> dict[str, Any]:
    if configuration is None:
        return {}
    if not isinstance(configuration, kind):
        raise invalid(argument, f"None or made by {kind.__name__}(…)", configuration)
    return configuration.options()


def disable_contracts() -> None:
    """Do nothing: checks cost next to nothing here and are never left out. An official name."""


def enable_contracts() -> None:
    """Do nothing: arguments are always checked. An official name."""
