"""From an event back to the code: which method of a tracker makes it, and which argument ends up under which key.

The judge knows nothing of the tracker's code; these are the names that its users see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from snowplow_tracker.collector.kinds import quoted
from snowplow_tracker.collector.self_describing import UNSTRUCT_KEYS, Malformed, unstruct_event

_METHODS: Final = {
    "pv": "track_page_view",
    "pp": "track_page_ping",
    "se": "track_struct_event",
    "ev": "track_struct_event",
    "ue": "track_unstruct_event",
    "tr": "track_ecommerce_transaction",
    "ti": "track_ecommerce_transaction_item",
}
_TELLING_KEYS: Final = {
    "pv": ("url", "page"),
    "pp": ("url",),
    "se": ("se_ca", "se_ac"),
    "ev": ("ev_ca", "ev_ac"),
    "tr": ("tr_id",),
    "ti": ("ti_id", "ti_sk"),
}
"""Of each event the keys that tell one call of its method from the next."""

_ARGUMENTS: Final = {
    "dtm": "tstamp",
    "ttm": "true_timestamp",
    "co": "context",
    "cx": "context",
    "ue_na": "name",
    "url": "page_url",
    "page": "page_title",
    "refr": "referrer",
    "pp_mix": "min_x",
    "pp_max": "max_x",
    "pp_miy": "min_y",
    "pp_may": "max_y",
    "se_ca": "category",
    "se_ac": "action",
    "se_la": "label",
    "se_pr": "property",
    "se_va": "value",
    "tr_id": "order_id",
    "tr_af": "tr_affiliation",
    "tr_tt": "tr_total_value",
    "tr_tx": "tr_tax_value",
    "tr_sh": "tr_shipping",
    "tr_ci": "tr_city",
    "tr_st": "tr_state",
    "tr_co": "tr_country",
    "tr_cu": "currency",
    "ti_id": "ti_id",
    "ti_sk": "ti_sku",
    "ti_nm": "ti_name",
    "ti_ca": "ti_category",
    "ti_pr": "ti_price",
    "ti_qu": "ti_quantity",
    "ti_cu": "currency",
}
_SETTERS: Final = {
    "p": "set_platform",
    "aid": "set_app_id",
    "uid": "set_user_id",
    "res": "set_screen_resolution",
    "vp": "set_viewport",
    "cd": "set_color_depth",
    "tz": "set_timezone",
    "lang": "set_lang",
    "duid": "set_domain_user_id",
    "sid": "set_domain_session_id",
    "vid": "set_domain_session_index",
    "ip": "set_ip_address",
    "ua": "set_useragent",
    "tnuid": "set_network_user_id",
}
_SCREEN_VIEW: Final = "/screen_view/jsonschema/"
_PUBLISHED: Final = "com.snowplowanalytics."
"""Events of these vendors are no unstructured ones, whose vendor is the setting ``event_vendor``."""


def call(event: Mapping[str, str]) -> str | None:
    """The call that makes such an event, as far as it tells it from others: ``track_page_view('https://…')``."""
    code = event.get("e", "")
    if code == "ue":
        return _self_describing_call(event)
    method = _METHODS.get(code)
    if method is None:
        return None
    told = [quoted(event[key]) for key in _TELLING_KEYS[code] if key in event]
    return f"{method}({', '.join(told)})"


def origins(event: Mapping[str, str], errors: Sequence[str]) -> list[str]:
    """Where the faulty keys of an event come from, a phrase each, such as ``se_va is its 'value'``."""
    found = []
    for key in dict.fromkeys(error.split(" ", 1)[0].rstrip(":").partition("[")[0] for error in errors):
        if key in UNSTRUCT_KEYS and key in event:
            found.append(f"{key} holds its data")
        elif key in _ARGUMENTS and key in event:
            found.append(f"{key} is its {_ARGUMENTS[key]!r}")
        elif key in _SETTERS and key in event:
            found.append(f"{key} comes from {_SETTERS[key]}()")
    return found


def _self_describing_call(event: Mapping[str, str]) -> str:
    if "ue_na" in event:
        return f"track_unstruct_event({quoted(event['ue_na'])})"
    try:
        schema = next((str(unstruct_event(key, event[key])["schema"]) for key in UNSTRUCT_KEYS if key in event), "")
    except Malformed:
        schema = ""
    if _SCREEN_VIEW in schema:
        return "track_screen_view()"
    if not schema:
        return "track_self_describing_event()"
    vendor, name = schema.removeprefix("iglu:").split("/")[:2]
    described = f"track_self_describing_event() of {vendor}/{name}"
    return described if vendor.startswith(_PUBLISHED) else f"{described} or track_unstruct_event({quoted(name)})"
