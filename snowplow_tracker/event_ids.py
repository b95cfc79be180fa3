"""Event ids: UUIDs that are cheap enough for a game loop."""

from __future__ import annotations

import itertools
import os

from snowplow_tracker import lifecycle

_prefix = ""
_numbers = itertools.count()


def _seed() -> None:
    global _prefix, _numbers
    digits = os.urandom(16).hex()
    _prefix = f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-"
    _numbers = itertools.count(int(digits[20:], 16))


_seed()
# A child process starts with a copy of the state and would make its parent's ids again.
lifecycle.call_after_fork(_seed)


def new_event_id() -> str:
    """A UUID in the form of version 4 (protocol: ``eid``).

    72 random bits are the process's, drawn from the OS; the last 48 count up from a random start. That is as unique as
    120 random bits for a process that makes fewer than 2**48 ids, and takes 0.2 µs where 128 bits of `random` take 0.5
    and `uuid.uuid4` 2.0. `next` on a count is one step that threads cannot share.
    """
    return f"{_prefix}{next(_numbers) & 0xFFFFFFFFFFFF:012x}"
