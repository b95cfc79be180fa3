"""`RedisStreamStore`: the forwarder's side of a Redis Stream, as an event store."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, TypeVar

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.event_store import Claim, Listener
from snowplow_tracker.redis_entries import DEFAULT_STREAM, check_stream, fragment_of
from snowplow_tracker.redis_group import Backlog, ConsumerGroup, Entry
from snowplow_tracker.redis_hand import Hand, Ready
from snowplow_tracker.redis_outage import Outage, log
from snowplow_tracker.redis_server import DEFAULT_TIMEOUT_S, RedisServer, ResponseError, reason
from snowplow_tracker.validators import check_number, invalid

T = TypeVar("T")

DEFAULT_GROUP: Final = "forwarders"
DEFAULT_LEASE_S: Final = 30.0

_FIRST: Final = b"0-0"
_POLL_S: Final = 0.1
_TAKE_OVER_EVERY_S: Final = 1.0
_LEAVE_WITHIN_S: Final = 2.0


class RedisStreamStore:
    """Hands out the events of a Redis Stream as a member of a consumer group, for ``Emitter(event_store=...)``.

    Nothing is put here: trackers add to the stream with `RedisStreamTransport`. What is acknowledged is deleted from
    the stream, so the stream holds what is still to be delivered. Any number of members share the work. What a member
    holds is its own while it vouches for it, which a thread does; what a dead one left is taken over when its lease
    has run out, and what one left on purpose (`close`) at once.

    A server that is away costs one warning, and is asked again after a pause; acknowledgements wait until it is back.

    Args:
        url: As for `RedisStreamTransport`.
        stream: The stream's name.
        group: The consumer group's name.
        lease_s: How long, in seconds, a member may be silent before others take what it holds.
        keep: Leave delivered entries in the stream, for other groups, until MAXLEN pushes them out.
        username: The ACL user, where the URL does not say.
        password: Where the URL does not say.
        ca_certs: A file of certificates to trust, for ``rediss://``; default the system's.
        timeout: How many seconds one round trip may take in all.

    Attributes:
        consumer: This member's name in the group.
        degraded: Why the server cannot be used at the moment, or "".
        poison: How many entries it has set aside, because they are not events of ours.

    Raises:
        ValidationError: An argument is wrong.
    """

    durable = True
    oldest_go_first = False
    max_age_s: float | None = None
    poll_s: float | None = _POLL_S

    def __init__(
        self,
        url: str,
        stream: str = DEFAULT_STREAM,
        group: str = DEFAULT_GROUP,
        *,
        lease_s: float = DEFAULT_LEASE_S,
        keep: bool = False,
        username: str | None = None,
        password: str | None = None,
        ca_certs: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        try:
            check_number("lease_s", lease_s, "a number of seconds")
            if lease_s <= 0:
                raise invalid("lease_s", "a positive number of seconds", lease_s)
            if not isinstance(group, str) or not group:
                raise invalid("group", "the name of a consumer group, a non-empty string", group)
            self._stream, self._group_name = check_stream(stream), group
            self._server = RedisServer(url, username=username, password=password, ca_certs=ca_certs, timeout=timeout)
        except ValidationError as error:
            raise error.within(type(self).__name__) from None
        self.address = f"{self._server.address}#{stream}"
        self.lease_s = float(lease_s)
        self._keep = keep
        self._start_anew()

    def _start_anew(self) -> None:
        self.consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._group = ConsumerGroup(self._server, self._stream, self._group_name, self.consumer, keep=self._keep)
        self._hand = Hand()
        self._outage = Outage(self.address)
        self.degraded = ""
        self.poison = 0
        # Never held during a round trip.
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._asking = 0
        self._joined = False
        self._expect = 0
        """How many more events are likely to wait in the stream: as many as were asked for last, if all came."""
        self._cursor = _FIRST
        self._take_over_at = 0.0
        self._stopped = False
        self._ended = threading.Event()
        self._leaving = False
        self._left = threading.Event()
        self._keeper: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} {self.consumer}>"

    # --- what an emitter asks ------------------------------------------------------------------------------------

    def attach(self, listener: Listener) -> None:
        self._listener = listener

    def put(self, fragment: bytes) -> bool:
        """Always False: trackers add to the stream by `RedisStreamTransport`."""
        return False

    def claim(self, max_events: int, max_bytes: int, per_event_bytes: int) -> Claim | None:
        if self._stopped:
            return None
        if not self._hand:
            self._fetch(max_events)
        return self._hand.pick(max_events, max_bytes, per_event_bytes)

    def ack(self, claim: Claim) -> None:
        self._hand.drop(claim)
        if not self._outage.pauses():
            self._try(self._settle)

    def nack(self, claim: Claim) -> None:
        self._hand.give_back(claim)

    def rest(self, claim: Claim) -> None:
        """It stays ours: a thread vouches for it."""

    def resume(self, claim: Claim) -> Claim:
        return self._hand.what_is_left(claim)

    def secure(self) -> None:
        """It lies in Redis anyway."""

    def evict(self, fragment: bytes) -> int:
        return 0

    def clear(self) -> int:
        """Forget what a claimer has given back. The stream itself is not this process's to empty."""
        return self._hand.drop_given_back()

    def close(self) -> int:
        """Acknowledge what is delivered, hand the rest to the other members, and leave; takes 2 seconds at the most.

        Returns:
            0: nothing is lost by it.
        """
        self.stop()
        self._ended.set()
        with self._lock:
            first, self._leaving = not self._leaving, True
        if first:
            self._leave(monotonic() + _LEAVE_WITHIN_S)
            self._left.set()
        else:  # the emitter's thread and whoever closes the emitter both come here: neither goes before it is done
            self._left.wait(_LEAVE_WITHIN_S)
        self._server.close()
        return 0

    def _leave(self, deadline: float) -> None:
        keeper = self._keeper
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(_LEAVE_WITHIN_S / 4)
        with self._lock:  # what is being read at this moment would go to a member that is gone
            self._idle.wait_for(lambda: not self._asking, _LEAVE_WITHIN_S / 4)
        if self._joined:
            with contextlib.suppress(Exception), self._server.within(deadline - monotonic()):
                self._settle()
                self._group.leave()

    def after_fork(self) -> None:
        """In the child: another member, which holds nothing."""
        self._server.after_fork()
        self._start_anew()

    def __len__(self) -> int:
        return 0 if self._stopped else max(len(self._hand), self._expect)

    @property
    def queued_bytes(self) -> int:
        return self._hand.ready_bytes

    # --- what a forwarder asks -----------------------------------------------------------------------------------

    def join(self) -> None:
        """Make the stream and the group where they are missing; otherwise that happens at the first claim.

        Raises:
            GroupTaken: The stream has other groups, and *keep* was not asked for.
            redis.RedisError: The server can't be reached, or refuses.
        """
        self._group.join()
        self._joined = True

    def stop(self) -> None:
        """Hand out no more; what is not in a request goes to the other members by `close`."""
        self._stopped = True

    def backlog(self) -> Backlog:
        """What the whole group has before it.

        Raises:
            redis.RedisError: The server can't be reached, or refuses.
        """
        return self._group.backlog()

    # --- reading -------------------------------------------------------------------------------------------------

    def _fetch(self, count: int) -> None:
        with self._lock:
            self._expect = 0
            if self._stopped or self._outage.pauses():
                return
            self._asking += 1
        try:
            self._sort(self._try(lambda: self._ask(count)) or [])
        finally:
            with self._lock:
                self._asking -= 1
                self._idle.notify_all()

    def _sort(self, entries: Sequence[Entry]) -> None:
        events, poison = [], []
        for entry_id, fields in entries:
            fragment = fragment_of(fields)
            if fragment is None:
                poison.append((entry_id, fields))
            else:
                events.append(Ready(entry_id, fragment))
        self._receive(events)
        if poison:
            self._set_aside(poison)

    def _ask(self, count: int) -> list[Entry]:
        if not self._joined:
            self.join()
        self._settle()
        due = monotonic() >= self._take_over_at and not self._outage.what
        entries = self._take_over(count) if due else []
        if entries:
            self._expect = count
            return entries
        try:
            entries = self._group.read(count)
        except ResponseError as error:
            if str(error).startswith("NOGROUP"):  # the server was emptied: make the group anew at the next turn
                self._joined = False
            raise
        self._expect = count if len(entries) == count else 0
        return entries

    def _take_over(self, count: int) -> list[Entry]:
        """What members left that are dead, or gone; looked for now and then, and on and on while there is some."""
        self._cursor, entries = self._group.take_over(count, max(1, int(self.lease_s * 1000)), self._cursor)
        if self._cursor == _FIRST:
            self._take_over_at = monotonic() + min(_TAKE_OVER_EVERY_S, self.lease_s / 3)
        # Our own come back when we were too slow to vouch for them; they are in hand all the same.
        return [entry for entry in entries if not self._hand.holds(entry[0])]

    def _receive(self, events: Sequence[Ready]) -> None:
        with self._lock:
            if self._stopped or not events:
                return
            self._hand.receive(events)
            if self._keeper is not None:
                return
            self._keeper = threading.Thread(target=self._keep_leases, name="snowplow-lease", daemon=True)
        self._keeper.start()

    def _set_aside(self, poison: Sequence[Entry]) -> None:
        first, self.poison = not self.poison, self.poison + len(poison)
        self._try(lambda: self._group.set_aside(poison))
        if first:
            log(
                logging.WARNING,
                "%s holds entries that are no events, the first of them %s; they are set aside, and counted",
                self.address,
                poison[0][0].decode("ascii", "replace"),
            )

    def _settle(self) -> None:
        """Acknowledge what is delivered; what fails is tried again, before anything new is read."""
        ids = self._hand.take_unsettled()
        if not ids:
            return
        try:
            self._group.settle(ids)
        except BaseException:
            self._hand.keep_unsettled(ids)
            raise

    # --- leases --------------------------------------------------------------------------------------------------

    def _keep_leases(self) -> None:
        while not self._ended.wait(self.lease_s / 3):
            with contextlib.suppress(Exception):  # reading notices, too, and tells
                self._renew()

    def _renew(self) -> None:
        held = self._hand.held()
        if held:
            self._hand.lose(self._group.renew(held))

    # --- outages -------------------------------------------------------------------------------------------------

    def _try(self, ask: Callable[[], T]) -> T | None:
        """Do something that the server may refuse, which is an outage; None if it did."""
        try:
            answer = ask()
        except Exception as error:
            self._outage.begin(reason(error))
            answer = None
        else:
            if self._outage.end():
                # Nobody could vouch for anything meanwhile: first everybody does.
                self._take_over_at = monotonic() + self.lease_s / 2
        self.degraded = self._outage.what
        return answer
