"""The message format: how events lie in a Redis Stream, version 1.

An entry is one event, with two fields::

    v  1
    e  the fragment: one flat JSON object of strings, UTF-8, without its closing brace

The fragment is what `payload.fragment` encoded when the event was tracked, byte by byte; whoever reads it appends
``}``, or ``,"stm":"<ms>"}`` as the forwarder does. An entry that is anything else is *poison*.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from snowplow_tracker.validators import invalid

VERSION: Final = b"1"
VERSION_FIELD: Final = b"v"
EVENT_FIELD: Final = b"e"
MAX_EVENT_BYTES: Final = 1_000_000
"""No tracker sends more in one event, and a collector loses what is larger."""

DEFAULT_STREAM: Final = "snowplow"
DEFAULT_MAXLEN: Final = 1_000_000

ADD: Final = """\
for i = 2, #ARGV do
    redis.call('XADD', KEYS[1], '*', 'v', '1', 'e', ARGV[i])
end
if redis.call('XLEN', KEYS[1]) <= tonumber(ARGV[1]) then
    return 0
end
local trimmed = redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])
if trimmed > 0 then
    redis.pcall('INCRBY', KEYS[2], trimmed)
end
return trimmed
"""
"""Adds a batch: all of it or nothing, in one round trip, and counts what it pushed out at the old end.

Keys: the stream, and `trimmed_key`. Arguments: MAXLEN, then the fragments. A script instead of a pipeline because it is
atomic, and because the emitter thread then packs one command instead of one an event (2 µs an event against 12).
What fails, fails with the first event; counting may fail, and must not make a batch come twice.

XTRIM and not a MAXLEN of each XADD: Redis writes that to its append-only file as the exact length of the moment. Where
a crash cut the file in the middle of a batch, those lengths pushed out the oldest events at the second start after it
(seen with 7.0.15, `appendfsync always`: 1 to 19 acknowledged events lost, in one of forty such runs).
"""


def check_stream(stream: object) -> str:
    """The name of a stream, checked."""
    if not isinstance(stream, str) or not stream:
        raise invalid("stream", "the name of a stream, a non-empty string", stream)
    return stream


def trimmed_key(stream: str) -> str:
    """Where the number of entries is counted that MAXLEN pushed out of a stream. In a cluster it shares its slot."""
    return _beside(stream, "trimmed")


def poison_stream(stream: str) -> str:
    """Where entries are set aside that are not events of ours."""
    return _beside(stream, "poison")


def _beside(stream: str, what: str) -> str:
    # A name that has a hash tag of its own keeps it.
    return f"{stream}:{what}" if "{" in stream else f"{{{stream}}}:{what}"


def fragment_of(fields: Mapping[bytes, bytes]) -> bytes | None:
    """The event in an entry, or None for poison.

    It is parsed to be sure: joined into a body as it is, one bad entry would spoil the whole request.
    """
    fragment = fields.get(EVENT_FIELD)
    if fields.get(VERSION_FIELD) != VERSION or fragment is None or len(fragment) > MAX_EVENT_BYTES:
        return None
    try:
        pairs = orjson.loads(fragment + b"}")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(pairs, dict) or not pairs or "stm" in pairs:
        return None
    return fragment if all(value.__class__ is str for value in pairs.values()) else None
