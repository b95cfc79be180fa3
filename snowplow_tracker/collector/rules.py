"""Every key of the tracker protocol, with what the pipeline takes as its value.

Source: protocol, "Keys": enrich `Transform.scala`, `reference.conf` (atomicFieldsLimits) and the schema
``payload_data/jsonschema/1-0-4`` of Iglu Central.
"""

from __future__ import annotations

from typing import Final

from snowplow_tracker.collector.kinds import (
    Check,
    decimal,
    flag,
    integer,
    ip_address,
    one_of,
    size,
    text,
    timestamp,
    uri,
    uuid,
)
from snowplow_tracker.collector.self_describing import CONTEXT_KEYS, UNSTRUCT_KEYS
from snowplow_tracker.collector.uris import PAGE_LIMITS, REFERRER_LIMITS

EVENT_TYPES: Final = {
    "pv": "page_view",
    "pp": "page_ping",
    "se": "struct",
    "ev": "struct",
    "ue": "unstruct",
    "tr": "transaction",
    "ti": "transaction_item",
    "ad": "ad_impression",
}
"""The codes that `e` takes, and what the enrichment calls them. ``ev`` is the old ``se``."""

PLATFORMS: Final = ("web", "iot", "app", "mob", "pc", "cnsl", "tv", "srv", "headset")

REQUIRED_IN_BODY: Final = ("tv", "p", "e")

CHECKS: Final[dict[str, Check]] = {
    "e": one_of("pv", "pp", "se", "ue", "tr", "ti", "ev", "ad"),
    "p": one_of(*PLATFORMS),
    "tv": text(100),
    "tna": text(128),
    "aid": text(255),
    "eid": uuid,
    "dtm": timestamp,
    "stm": timestamp,
    "ttm": timestamp,
    "tz": text(255),
    "tid": integer(32),
    "uid": text(255),
    "duid": text(128),
    "nuid": text(128),
    "tnuid": text(128),
    "sid": uuid,
    "vid": integer(32),
    "fp": text(128),
    "ip": ip_address(128),
    "ua": text(1000),
    "lang": text(255),
    "cs": text(128),
    "cd": text(12),
    "cookie": flag,
    "f_pdf": flag,
    "f_fla": flag,
    "f_java": flag,
    "f_dir": flag,
    "f_qt": flag,
    "f_realp": flag,
    "f_wma": flag,
    "f_gears": flag,
    "f_ag": flag,
    "res": size,
    "vp": size,
    "ds": size,
    "url": uri(10_000, PAGE_LIMITS),
    "refr": uri(10_000, REFERRER_LIMITS),
    "page": text(2000),
    "se_ca": text(1000),
    "se_ac": text(1000),
    "se_la": text(4096),
    "se_pr": text(1000),
    "se_va": decimal,
    "tr_id": text(255),
    "tr_af": text(255),
    "tr_tt": decimal,
    "tr_tx": decimal,
    "tr_sh": decimal,
    "tr_ci": text(255),
    "tr_st": text(255),
    "tr_co": text(255),
    "tr_cu": text(3),
    "ti_id": text(255),
    "ti_sk": text(255),
    "ti_nm": text(255),
    "ti_na": text(255),
    "ti_ca": text(255),
    "ti_pr": decimal,
    "ti_qu": integer(32),
    "ti_cu": text(3),
    "pp_mix": integer(32),
    "pp_max": integer(32),
    "pp_miy": integer(32),
    "pp_may": integer(32),
    # Read from a query string only: a body that holds one is refused as a whole.
    "cv": text(100),
    "ev_ca": text(1000),
    "ev_ac": text(1000),
    "ev_la": text(4096),
    "ev_pr": text(1000),
    "ev_va": decimal,
}
"""What the enrichment converts, and how. A key that is not here is not looked at: its data is lost."""

_QUERY_ONLY: Final = frozenset(("cv", "ev_ca", "ev_ac", "ev_la", "ev_pr", "ev_va"))
_IGNORED_IN_BODY: Final = frozenset(
    ("mac", "ctype", "sa", "sn", "st", "sp", "ad_ba", "ad_ca", "ad_ad", "ad_uid", "ue_na")
)
_KEYS_1_0_4: Final = (frozenset(CHECKS) - _QUERY_ONLY) | _IGNORED_IN_BODY | frozenset((*UNSTRUCT_KEYS, *CONTEXT_KEYS))
_KEYS_1_0_3: Final = _KEYS_1_0_4 - {"ttm"}
_KEYS_1_0_2: Final = _KEYS_1_0_3 - {"stm", "sid"}
_KEYS_1_0_1: Final = _KEYS_1_0_2 - {"tnuid"}

BODY_KEYS: Final = {
    "1-0-0": _KEYS_1_0_1 - {"ua"},
    "1-0-1": _KEYS_1_0_1,
    "1-0-2": _KEYS_1_0_2,
    "1-0-3": _KEYS_1_0_3,
    "1-0-4": _KEYS_1_0_4,
}
"""The keys that each version of ``payload_data`` allows; any other fails the whole body."""
