"""A forwarder's membership in a consumer group: what it asks of the server, a round trip each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from snowplow_tracker.errors import SnowplowTrackerError
from snowplow_tracker.redis_entries import poison_stream, trimmed_key
from snowplow_tracker.redis_server import RedisServer, ResponseError

Entry: TypeAlias = tuple[bytes, dict[bytes, bytes]]
"""An entry's id and fields."""

_POISON_MAXLEN: Final = 10_000
_RELEASED: Final = "released"
"""The consumer that holds what members left behind on purpose: idle for ever, so that the next who looks takes it."""
_FOR_EVER_MS: Final = 10 * 365 * 86_400_000
_STALE_CONSUMER_MS: Final = 3_600_000

# Scripts run as a whole: nobody reads or takes anything between two of their commands.

_RENEW: Final = """\
local taken = {}
for i = 3, #ARGV do
    local owner = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
    if owner and owner[2] == ARGV[2] then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    elseif owner then
        taken[#taken + 1] = ARGV[i]
    end
end
return taken
"""
_LEAVE: Final = """\
local left = 0
while true do
    local mine = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000, ARGV[2])
    for _, entry in ipairs(mine) do
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, entry[1], 'IDLE', ARGV[4], 'JUSTID')
    end
    left = left + #mine
    if #mine < 1000 then break end
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return left
"""
_SWEEP: Final = """\
for _, told in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local consumer = {}
    for i = 1, #told, 2 do consumer[told[i]] = told[i + 1] end
    if consumer.pending == 0 and consumer.idle > tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    end
end
"""
_TIDY: Final = """\
for _, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000, ARGV[2])) do
    if #redis.call('XRANGE', KEYS[1], entry[1], entry[1]) == 0 then
        redis.call('XACK', KEYS[1], ARGV[1], entry[1])
    end
end
"""
_BACKLOG: Final = """\
local length = redis.call('XLEN', KEYS[1])
local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
local last, lag = '0-0', -1
for _, told in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = {}
    for i = 1, #told, 2 do group[told[i]] = told[i + 1] end
    if group.name == ARGV[1] then
        last, lag = group['last-delivered-id'], tonumber(group.lag or -1) or -1
    end
end
local unread = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
return {length, pending[1], pending[2] or '', unread and unread[1] or '', lag,
        redis.call('GET', KEYS[2]) or '0', redis.call('XLEN', KEYS[3]), redis.call('TIME')}
"""


@attrs.frozen
class Backlog:
    """What a group has before it, all its members together.

    Attributes:
        waiting: Events that no member has read yet; None where the server can't tell (see `ConsumerGroup`).
        all_read: Whether there are none.
        pending: Events that some member has read and not settled.
        oldest_s: How many seconds ago the oldest of all these was added; 0.0 if there is none.
        trimmed: How many entries trackers have pushed out of the full stream, ever.
        poison: How many entries are set aside.
    """

    waiting: int | None
    all_read: bool
    pending: int
    oldest_s: float
    trimmed: int
    poison: int


class GroupTaken(SnowplowTrackerError):
    """The stream has other consumer groups, which would miss what this one deletes."""


class ConsumerGroup:
    """One member of a group of forwarders.

    Args:
        server: Where the stream is.
        stream: Its name.
        group: The group's name.
        consumer: This member's, which no other may have.
        keep: Leave delivered entries in the stream, for other groups, until MAXLEN pushes them out. How many wait is
            then the server's own estimate, which Redis older than 7 does not have.
    """

    def __init__(self, server: RedisServer, stream: str, group: str, consumer: str, *, keep: bool) -> None:
        self._server = server
        self._stream = stream
        self._group = group
        self.consumer = consumer
        self._keep = keep
        self._keys = [stream, trimmed_key(stream), poison_stream(stream)]

    def join(self) -> None:
        """Make the stream and the group where they are missing.

        Raises:
            GroupTaken: There are other groups, and *keep* was not asked for.
            redis.RedisError: The server can't be reached, or refuses.
        """
        with self._server.within() as client:
            try:
                client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            self._refuse_other_groups(client)
            self._run(_SWEEP, _STALE_CONSUMER_MS)

    def _refuse_other_groups(self, client: Any) -> None:
        others = [told["name"].decode("utf-8", "replace") for told in client.xinfo_groups(self._stream)]
        others.remove(self._group)
        if others and not self._keep:
            raise GroupTaken(
                f"the stream '{self._stream}' is also read by the group {', '.join(map(repr, sorted(others)))}, which "
                f"would miss what the group '{self._group}' deletes once it is delivered: keep entries (--keep), or "
                "give each group a stream of its own"
            )

    def read(self, count: int) -> list[Entry]:
        """Entries that nobody has read; this member's from now on."""
        with self._server.within() as client:
            told = client.xreadgroup(self._group, self.consumer, {self._stream: ">"}, count=count)
        return list(told[0][1]) if told else []

    def take_over(self, count: int, idle_ms: int, start: bytes) -> tuple[bytes, list[Entry]]:
        """Entries that their reader has not settled, or vouched for, in *idle_ms*; this member's from now on.

        Args:
            start: Where to begin, ``b"0-0"`` or what the last call returned.

        Returns:
            Where to go on, ``b"0-0"`` after the last one; and the entries.
        """
        with self._server.within() as client:
            told = client.xautoclaim(self._stream, self._group, self.consumer, idle_ms, start_id=start, count=count)
            entries = [entry for entry in told[1] if entry[0] is not None]
            # Redis 6.2 hands out entries that were trimmed as nothing, again and again, until somebody settles them.
            if len(entries) < len(told[1]):
                self._run(_TIDY, self.consumer)
        return told[0], entries

    def settle(self, ids: Sequence[bytes]) -> None:
        """Forget entries that are delivered or given up."""
        # No transaction: a server without memory takes none, and this frees memory. Deleting comes first: what is cut
        # off behind it is pending and not there, which `take_over` clears; the other way round it would stay for ever.
        with self._server.within() as client, client.pipeline(transaction=False) as pipeline:
            if not self._keep:
                pipeline.xdel(self._stream, *ids)
            pipeline.xack(self._stream, self._group, *ids)
            pipeline.execute()

    def set_aside(self, entries: Sequence[Entry]) -> None:
        """Move entries that are no events of ours to the poison stream, with their old ids in a field ``id``."""
        ids = [entry_id for entry_id, _ in entries]
        try:
            with self._server.within() as client, client.pipeline(transaction=False) as pipeline:
                for entry_id, fields in entries:
                    copy = {b"id": entry_id, **fields}
                    pipeline.xadd(self._keys[2], copy, maxlen=_POISON_MAXLEN, approximate=True)
                pipeline.execute()
        except ResponseError:  # no right to add, or no memory for it: they stay where they are, and out of the way
            with self._server.within() as client:
                client.xack(self._stream, self._group, *ids)
        else:
            self.settle(ids)

    def renew(self, ids: Iterable[bytes]) -> set[bytes]:
        """Vouch for entries in hand; returns those that another member has taken over."""
        return set(self._run(_RENEW, self.consumer, *ids))

    def leave(self) -> int:
        """Hand what this member has not settled to the others, who may take it at once; returns how many."""
        return int(self._run(_LEAVE, self.consumer, _RELEASED, _FOR_EVER_MS))

    def backlog(self) -> Backlog:
        """What is still to be done, at one moment."""
        length, pending, first_pending, first_unread, lag, trimmed, poison, now = self._run(_BACKLOG)
        added_ms = [int(first.partition(b"-")[0]) for first in (first_pending, first_unread) if first]
        now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
        waiting = (lag if lag >= 0 else None) if self._keep else max(0, length - pending)
        return Backlog(
            waiting if first_unread else 0,
            all_read=not first_unread,
            pending=pending,
            oldest_s=max(0, now_ms - min(added_ms)) / 1000 if added_ms else 0.0,
            trimmed=int(trimmed),
            poison=poison,
        )

    def _run(self, script: str, *arguments: object) -> Any:
        with self._server.within() as client:
            return self._server.script(script)(keys=self._keys, args=[self._group, *arguments], client=client)
