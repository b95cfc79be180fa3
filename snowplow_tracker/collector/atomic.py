"""A good event under the names of the enriched event, as Snowplow Micro shows it.

Source: enrich ``EnrichedEvent``, analytics SDK ``Event.toJson`` (fields that no tracker and no request decides, such
as geography and marketing, are left out).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, Final, TypeAlias

from snowplow_tracker.collector.kinds import cleaned, to_int
from snowplow_tracker.collector.rows import GoodEvent
from snowplow_tracker.collector.rules import EVENT_TYPES
from snowplow_tracker.collector.self_describing import CONTEXTS, UNSTRUCT_EVENT
from snowplow_tracker.collector.uris import uri_parts

_Value: TypeAlias = "Callable[[str], Any]"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SNOWPLOW: Final = "com.snowplowanalytics.snowplow"

_NAMES: Final = {
    "pv": (_SNOWPLOW, "page_view", "1-0-0"),
    "pp": (_SNOWPLOW, "page_ping", "1-0-0"),
    "tr": (_SNOWPLOW, "transaction", "1-0-0"),
    "ti": (_SNOWPLOW, "transaction_item", "1-0-0"),
    "se": ("com.google.analytics", "event", "1-0-0"),
    "ev": ("com.google.analytics", "event", "1-0-0"),
}
"""Vendor, name and version of the events that have no self-describing JSON."""


def event_type(good: GoodEvent) -> str:
    """What Micro calls the event's type, such as ``page_view``."""
    return EVENT_TYPES[good.wire["e"]]


def event_schema(good: GoodEvent) -> str | None:
    """The Iglu URI that names the event; None for a self-describing one that came without its JSON."""
    data = good.data
    if data:
        return str(data["schema"])
    name = _NAMES.get(good.wire["e"])
    return f"iglu:{name[0]}/{name[1]}/jsonschema/{name[2]}" if name else None


def enriched(good: GoodEvent) -> dict[str, Any]:
    """The fields of the enriched event; what is absent is None."""
    return {
        **_converted(good.wire),
        **_event_name(good),
        **_user(good),
        **_times(good),
        **_pages(good),
        **_entities(good),
        "event": event_type(good),
        "event_id": good.event_id,
    }


def _text(value: str) -> str | None:
    return cleaned(value) or None


def _integer(value: str) -> int | None:
    return to_int(value)  # None for "null"


def _decimal(value: str) -> float | None:
    number = math.inf if value.lower() == "null" else float(value)
    return number if math.isfinite(number) else None  # JSON has no infinity


def _flag(value: str) -> bool:
    return value == "1"


def _time(value: str) -> str:
    return iso_time(to_int(value) or 0)


def iso_time(ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC; a year that Python's calendar lacks stays a number."""
    try:
        moment = _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return str(ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_FIELDS: Final[dict[str, tuple[str, _Value]]] = {
    "app_id": ("aid", _text),
    "platform": ("p", _text),
    "txn_id": ("tid", _integer),
    "name_tracker": ("tna", _text),
    "v_tracker": ("tv", _text),
    "user_id": ("uid", _text),
    "user_fingerprint": ("fp", _text),
    "domain_userid": ("duid", _text),
    "domain_sessionidx": ("vid", _integer),
    "domain_sessionid": ("sid", str.lower),
    "page_title": ("page", _text),
    "se_category": ("se_ca", _text),
    "se_action": ("se_ac", _text),
    "se_label": ("se_la", _text),
    "se_property": ("se_pr", _text),
    "se_value": ("se_va", _decimal),
    "tr_orderid": ("tr_id", _text),
    "tr_affiliation": ("tr_af", _text),
    "tr_total": ("tr_tt", _decimal),
    "tr_tax": ("tr_tx", _decimal),
    "tr_shipping": ("tr_sh", _decimal),
    "tr_city": ("tr_ci", _text),
    "tr_state": ("tr_st", _text),
    "tr_country": ("tr_co", _text),
    "tr_currency": ("tr_cu", _text),
    "ti_orderid": ("ti_id", _text),
    "ti_sku": ("ti_sk", _text),
    "ti_name": ("ti_nm", _text),
    "ti_category": ("ti_ca", _text),
    "ti_price": ("ti_pr", _decimal),
    "ti_quantity": ("ti_qu", _integer),
    "ti_currency": ("ti_cu", _text),
    "pp_xoffset_min": ("pp_mix", _integer),
    "pp_xoffset_max": ("pp_max", _integer),
    "pp_yoffset_min": ("pp_miy", _integer),
    "pp_yoffset_max": ("pp_may", _integer),
    "br_lang": ("lang", _text),
    "br_cookies": ("cookie", _flag),
    "br_features_pdf": ("f_pdf", _flag),
    "br_features_flash": ("f_fla", _flag),
    "br_features_java": ("f_java", _flag),
    "br_features_director": ("f_dir", _flag),
    "br_features_quicktime": ("f_qt", _flag),
    "br_features_realplayer": ("f_realp", _flag),
    "br_features_windowsmedia": ("f_wma", _flag),
    "br_features_gears": ("f_gears", _flag),
    "br_features_silverlight": ("f_ag", _flag),
    "br_colordepth": ("cd", _text),
    "os_timezone": ("tz", _text),
    "doc_charset": ("cs", _text),
    "dvce_created_tstamp": ("dtm", _time),
    "dvce_sent_tstamp": ("stm", _time),
    "true_tstamp": ("ttm", _time),
}
"""From the field's name to the wire key it comes from and the form it has in JSON."""

_OLD_KEYS: Final = {
    "se_ca": "ev_ca",
    "se_ac": "ev_ac",
    "se_la": "ev_la",
    "se_pr": "ev_pr",
    "se_va": "ev_va",
    "ti_nm": "ti_na",
}
_SIZES: Final = {
    "res": ("dvce_screenwidth", "dvce_screenheight"),
    "vp": ("br_viewwidth", "br_viewheight"),
    "ds": ("doc_width", "doc_height"),
}


def _converted(wire: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, (key, convert) in _FIELDS.items():
        value = wire.get(key, wire.get(_OLD_KEYS.get(key, "")))
        fields[name] = None if value is None else convert(value)
    for key, names in _SIZES.items():
        sides = wire[key].split("x") if key in wire else (None, None)
        fields.update({name: None if side is None else to_int(side) for name, side in zip(names, sides, strict=True)})
    return fields


def _event_name(good: GoodEvent) -> dict[str, str | None]:
    schema = event_schema(good)
    vendor, name, form, version = schema.removeprefix("iglu:").split("/") if schema else (None, None, None, None)
    return {"event_vendor": vendor, "event_name": name, "event_format": form, "event_version": version}


def _user(good: GoodEvent) -> dict[str, str | None]:
    wire, payload = good.wire, good.payload
    address = cleaned(wire.get("ip", "")) or payload.ip
    return {
        "network_userid": cleaned(wire.get("tnuid", "")) or cleaned(wire.get("nuid", "")) or payload.network_user_id,
        "user_ipaddress": re.split("[,| ]", address, maxsplit=1)[0] or None,
        "useragent": cleaned(wire.get("ua", "")) or payload.headers.get("User-Agent"),
    }


def _times(good: GoodEvent) -> dict[str, str]:
    wire, collected_ms = good.wire, int(good.payload.received_at * 1000)
    return {
        "collector_tstamp": iso_time(collected_ms),
        "etl_tstamp": iso_time(collected_ms),
        "derived_tstamp": iso_time(derived_ms(wire, collected_ms)),
    }


def derived_ms(wire: dict[str, str], collected_ms: int) -> int:
    """When the event happened by the collector's clock, in ms since the epoch (protocol: derived_tstamp)."""
    if "ttm" in wire:
        return to_int(wire["ttm"]) or 0
    created_ms, sent_ms = to_int(wire.get("dtm", "")) or 0, to_int(wire.get("stm", "")) or 0
    return collected_ms - (sent_ms - created_ms) if "dtm" in wire and created_ms < sent_ms else collected_ms


def _pages(good: GoodEvent) -> dict[str, Any]:
    url = cleaned(good.wire.get("url", "")) or good.payload.headers.get("Referer")
    referrer = cleaned(good.wire.get("refr", ""))
    return {
        "page_url": url or None,
        "page_referrer": referrer or None,
        **_url_parts("page", url or ""),
        **_url_parts("refr", referrer),
    }


def _url_parts(prefix: str, url: str) -> dict[str, Any]:
    parts = uri_parts(url) or {}
    return {f"{prefix}_url{name}": parts.get(name) or None for name in ("scheme", "host", "path", "query", "fragment")}


def _entities(good: GoodEvent) -> dict[str, Any]:
    contexts, data = good.contexts, good.data
    return {
        "contexts": {"schema": CONTEXTS + "1-0-0", "data": contexts} if contexts else None,
        "unstruct_event": {"schema": UNSTRUCT_EVENT + "1-0-0", "data": data} if data else None,
        "derived_contexts": None,
    }
