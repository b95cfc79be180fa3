"""`Subject`: who and what device an event is about."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.payload import encode_pairs
from snowplow_tracker.validators import INT32_MAX, Check, check_integer, check_size, check_text, check_uuid, one_of

PLATFORMS: Final = ("web", "mob", "pc", "srv", "app", "tv", "cnsl", "iot", "headset")
DEFAULT_PLATFORM: Final = "pc"
IDENTIFIERS: Final = frozenset({"uid", "duid", "tnuid", "sid", "vid", "ip"})
"""Keys that tell one user from another: an anonymous tracker leaves them off."""


class Subject:
    """Who uses the program, and on what. Every setter returns the subject, takes None to clear, and refuses ``""``.

    A subject given to a tracker is live: what is set later holds for the events tracked from then on.
    """

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}
        """What is set, wire key to text. Replaced by every setter, never changed: its identity tells whether it did."""
        self._heads: dict[bool, bytes] = {}

    @property
    def standard_nv_pairs(self) -> dict[str, str]:
        """The pairs that are set, wire key to text, with the default platform where none was set."""
        return {"p": DEFAULT_PLATFORM, **self.pairs}

    def merged_over(self, other: Subject) -> Subject:
        """A new subject with this one's pairs, and *other*'s where this one has none."""
        merged = Subject()
        merged.pairs = {**other.pairs, **self.pairs}
        return merged

    def encoded(self, anonymous: bool) -> bytes:
        """The pairs for the head of a fragment, a comma after each; encoded when they were last set, not per event."""
        # Taken before the pairs, and set after them: no setter in another thread can leave an old head in a new dict.
        heads = self._heads
        head = heads.get(anonymous)
        if head is None:
            pairs = self.standard_nv_pairs
            kept = {key: pairs[key] for key in pairs if not (anonymous and key in IDENTIFIERS)}
            head = heads[anonymous] = encode_pairs(kept) + b","
        return head

    def set_platform(self, value: str | None) -> Subject:
        """Set the platform: web mob pc srv app tv cnsl iot headset (protocol: ``p``)."""
        return self._set("set_platform", "p", {"value": value}, one_of(PLATFORMS))

    def set_user_id(self, user_id: str | None) -> Subject:
        """Set the business's own id of the user, at most 255 characters; None at logout (protocol: ``uid``)."""
        return self._set_text("set_user_id", "uid", {"user_id": user_id}, 255)

    def set_screen_resolution(self, width: int | None, height: int | None) -> Subject:
        """Set the screen's size in pixels (protocol: ``res``)."""
        return self._set("set_screen_resolution", "res", {"width": width, "height": height}, _PIXELS)

    def set_viewport(self, width: int | None, height: int | None) -> Subject:
        """Set the window's inner size in pixels (protocol: ``vp``)."""
        return self._set("set_viewport", "vp", {"width": width, "height": height}, _PIXELS)

    def set_color_depth(self, depth: int | None) -> Subject:
        """Set the screen's color depth in bits per pixel (protocol: ``cd``)."""
        return self._set("set_color_depth", "cd", {"depth": depth}, partial(check_size, unit="bits per pixel"))

    def set_timezone(self, timezone: str | None) -> Subject:
        """Set the time zone, an IANA name such as ``Europe/London`` (protocol: ``tz``)."""
        return self._set_text("set_timezone", "tz", {"timezone": timezone}, 255)

    def set_lang(self, lang: str | None) -> Subject:
        """Set the language, such as ``en`` or ``de-AT`` (protocol: ``lang``)."""
        return self._set_text("set_lang", "lang", {"lang": lang}, 255)

    def set_domain_user_id(self, duid: str | None) -> Subject:
        """Set the first-party cookie id, at most 128 characters (protocol: ``duid``)."""
        return self._set_text("set_domain_user_id", "duid", {"duid": duid}, 128)

    def set_domain_session_id(self, sid: str | None) -> Subject:
        """Set the session's id, a UUID (protocol: ``sid``)."""
        return self._set("set_domain_session_id", "sid", {"sid": sid}, check_uuid)

    def set_domain_session_index(self, vid: int | None) -> Subject:
        """Set how many sessions this user has had (protocol: ``vid``)."""
        return self._set("set_domain_session_index", "vid", {"vid": vid}, _INDEX)

    def set_ip_address(self, ip: str | None) -> Subject:
        """Set the user's address, in place of the peer's that the collector sees (protocol: ``ip``)."""
        return self._set_text("set_ip_address", "ip", {"ip": ip}, 128)

    def set_useragent(self, ua: str | None) -> Subject:
        """Set the user agent, at most 1000 characters, in place of the request header (protocol: ``ua``)."""
        return self._set_text("set_useragent", "ua", {"ua": ua}, 1000)

    def set_network_user_id(self, nuid: str | None) -> Subject:
        """Set the third-party cookie id, at most 128 characters (protocol: ``tnuid``)."""
        return self._set_text("set_network_user_id", "tnuid", {"nuid": nuid}, 128)

    def _set_text(self, method: str, key: str, argument: Mapping[str, Any], limit: int) -> Subject:
        return self._set(method, key, argument, partial(check_text, limit=limit))

    def _set(self, method: str, key: str, arguments: Mapping[str, Any], check: Check) -> Subject:
        """Check every argument, then replace the pair; two arguments are a size, WIDTHxHEIGHT."""
        clear = all(value is None for value in arguments.values())
        if not clear:
            for name, value in arguments.items():
                try:
                    check(name, value)
                except ValidationError as error:
                    raise error.within(f"Subject.{method}") from None
        pairs = {name: text for name, text in self.pairs.items() if name != key}
        if not clear:
            pairs[key] = "x".join(map(_wire_text, arguments.values()))
        # Replaced, never changed in place: another thread may be encoding the old ones.
        self.pairs = pairs
        self._heads = {}
        return self


def _wire_text(value: str | int) -> str:
    # Not str(value): that of an enum's member may be its name.
    return str.__str__(value) if isinstance(value, str) else int.__repr__(value)


_PIXELS: Final[Check] = partial(check_size, unit="pixels")
_INDEX: Final[Check] = partial(check_integer, low=0, high=INT32_MAX)
