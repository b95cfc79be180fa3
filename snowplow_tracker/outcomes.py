"""What became of events: receipts, results, statistics, and the only place that counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import attrs

Reason: TypeAlias = Literal[
    "overflow",  # the buffer was full
    "too_large",  # the collector answered 413 to the event alone
    "refused",  # the collector gave a final answer, such as 400
    "expired",  # older than max_event_age_s
    "shutdown",  # close() or exit ran out of time
    "closed",  # tracked after close()
    "invalid",  # not a valid event, and on_invalid="drop"
    "disabled",  # tracked while disabled, or discarded by disable()
    "store",  # the event store failed
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class Receipt:
    """What `Tracker.track_*` returns: true if the event was accepted.

    It unpacks to two values, ``status, message = t.track_page_view(...)``: ``(True, None)``, or ``(False, why)`` when
    the event was valid but not taken. ``str(receipt)`` is the event's id.

    Attributes:
        event_id: The event's UUID, for life (protocol: ``eid``).
        message: Why the event was not taken, or None.
    """

    __slots__ = ("event_id", "message")

    def __init__(self, event_id: str, message: str | None = None) -> None:
        self.event_id = event_id
        self.message = message

    def __bool__(self) -> bool:
        return self.message is None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.message is None, self.message))

    def __str__(self) -> str:
        return self.event_id

    if not TYPE_CHECKING:  # for type checkers a receipt has no other attribute

        def __getattr__(self, name):
            chains = name.startswith(("track", "flush", "set_"))
            hint = f"; calls do not chain, write a line for each: tracker.{name}(…)" if chains else ""
            raise AttributeError(f"'Receipt' object has no attribute {name!r}{hint}")

    def __repr__(self) -> str:
        outcome = "accepted" if self else f"not taken: {self.message}"
        return f"<Receipt {self.event_id} {outcome}>"


@attrs.frozen
class FlushResult:
    """How far a flush or a close came; true if everything it waited for is settled.

    Attributes:
        delivered: Events the collector took meanwhile.
        dropped: Events given up meanwhile, for whatever reason.
        remaining: Events accepted before the call that are still queued or on their way.
    """

    delivered: int
    dropped: int
    remaining: int

    def __bool__(self) -> bool:
        return self.remaining == 0


@attrs.frozen
class Stats:
    """A consistent picture of one moment. At every moment

        tracked + recovered == delivered + queued + in_flight + sum(dropped.values())

    Attributes:
        tracked: Events that valid ``track_*`` calls brought.
        recovered: Events of an earlier run or another process that this one took over from a store, less those of its
            own that it left to another process (so it can be negative, and adds up over the processes of one store).
        delivered: Events that the collector answered 2xx for.
        queued: Events waiting in the store; after closing, what a durable store keeps for the next run.
        in_flight: Events claimed by the emitter thread and not settled yet.
        dropped: Events that will never arrive, by reason; every reason is a key.
        requests: Requests attempted.
        retries: Requests among them that repeated an earlier one.
        store_degraded: What is wrong with the event store, or "" while all is well.
    """

    tracked: int = 0
    recovered: int = 0
    delivered: int = 0
    queued: int = 0
    in_flight: int = 0
    dropped: dict[Reason, int] = attrs.field(factory=lambda: dict.fromkeys(REASONS, 0))
    requests: int = 0
    retries: int = 0
    store_degraded: str = ""

    def __add__(self, other: Stats) -> Stats:
        return Stats(
            **{name: getattr(self, name) + getattr(other, name) for name in _SUMMED},
            dropped={reason: self.dropped[reason] + other.dropped[reason] for reason in REASONS},
            store_degraded=self.store_degraded or other.store_degraded,
        )


_SUMMED: Final = ("tracked", "recovered", "delivered", "queued", "in_flight", "requests", "retries")


class Counters:
    """The numbers behind `Stats`. Whoever changes or reads them holds the emitter's lock.

    A signal handler or a ``__del__`` may still run, in the same thread, between any two calls. So each change is one
    method whose additions follow one another with no call in between: CPython runs such code only at calls, and the
    identity of `Stats` holds for it, too.
    """

    def __init__(self) -> None:
        self.tracked = 0
        self.recovered = 0
        self.delivered = 0
        self.queued = 0
        self.gone = 0
        """How many events have left the queue at its old end: the position of the oldest one that is still in it."""
        self.in_flight = 0
        self.dropped: dict[Reason, int] = dict.fromkeys(REASONS, 0)
        self.requests = 0
        self.retries = 0

    @property
    def accepted(self) -> int:
        """How many events were ever queued: the position after the newest one."""
        return self.gone + self.queued

    def refuse(self, reason: Reason) -> None:
        """Count an event that was tracked and not taken."""
        self.tracked += 1
        self.dropped[reason] += 1

    def unqueue(self, reason: Reason) -> None:
        """Give up the newest event, which found no room after all."""
        self.queued -= 1
        self.dropped[reason] += 1

    def drop_queued(self, reason: Reason, events: int = 1) -> None:
        """Give up the oldest events that were queued."""
        self.queued -= events
        self.gone += events
        self.dropped[reason] += events

    def claim(self, events: int) -> None:
        """Events leave the queue for the emitter thread."""
        self.queued -= events
        self.gone += events
        self.in_flight += events

    def recover(self, events: int) -> None:
        """Events that another process or an earlier run had queued come to the emitter thread."""
        self.recovered += events
        self.in_flight += events

    def arrive(self, events: int) -> None:
        """Events of others wait in the store now. They are older than ours: no position of ours changes."""
        self.recovered += events
        self.queued += events
        self.gone -= events

    def leave(self, events: int) -> None:
        """Others took events that were queued here, the oldest ones."""
        self.recovered -= events
        self.queued -= events
        self.gone += events

    def lose(self, events: int) -> None:
        """Others took events that were in flight."""
        self.recovered -= events
        self.in_flight -= events

    def unclaim(self, events: int) -> None:
        """Events in flight are the oldest in the queue again."""
        self.in_flight -= events
        self.queued += events
        self.gone -= events

    def deliver(self, events: int) -> None:
        """The collector took events that were in flight."""
        self.in_flight -= events
        self.delivered += events

    def drop(self, reason: Reason, events: int) -> None:
        """Give up events that were in flight."""
        self.in_flight -= events
        self.dropped[reason] += events

    @property
    def dropped_total(self) -> int:
        return sum(self.dropped.values())

    def snapshot(self, store_degraded: str = "") -> Stats:
        return Stats(
            # The copy comes first: making it may collect garbage, and a __del__ may track. The rest only reads.
            dropped={**self.dropped},
            tracked=self.tracked,
            recovered=self.recovered,
            delivered=self.delivered,
            queued=self.queued,
            in_flight=self.in_flight,
            requests=self.requests,
            retries=self.retries,
            store_degraded=store_degraded,
        )
