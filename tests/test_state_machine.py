"""Random histories, each step checked against a model so plain that it is right by inspection."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from processes import wait_until
from servers import WAIT_S, HeldTransport, adds_up
from test_store_contract import FACTORIES, wait_for_sizes

from snowplow_tracker import Emitter
from snowplow_tracker.event_store import Claim
from snowplow_tracker.transport import Result

CAPACITY = 12
MAX_BYTES = 1500
SIZES = st.one_of(st.integers(20, 60), st.integers(20, 700))


class StoreMachine(RuleBasedStateMachine):
    """A store against two lists: what waits and what is claimed."""

    factory: Any

    @initialize()
    def start(self) -> None:
        self.store = self.factory(CAPACITY, MAX_BYTES)
        self.waiting: list[bytes] = []
        self.claims: list[Claim] = []
        self.number = 0

    def held(self) -> list[bytes]:
        return [*self.waiting, *(event for claim in self.claims for event in claim.events)]

    def fits(self, event: bytes) -> bool:
        held = self.held()
        return len(held) < CAPACITY and sum(map(len, held)) + len(event) <= MAX_BYTES

    def new_event(self, size: int) -> bytes:
        self.number += 1
        return b"%0*d" % (size, self.number)

    @rule(size=SIZES)
    def put(self, size: int) -> None:
        event = self.new_event(size)
        fits = self.fits(event)
        assert self.store.put(event) == fits
        if fits:
            self.waiting.append(event)

    @rule(most=st.integers(1, 8), room=st.integers(1, 1000), extra=st.integers(0, 30))
    def claim(self, most: int, room: int, extra: int) -> None:
        expected: list[bytes] = []
        left = room
        for event in self.waiting[:most]:
            left -= len(event) + extra
            if left < 0 and expected:
                break
            expected.append(event)
        claim = self.store.claim(most, room, extra)
        assert (list(claim.events) if claim else []) == expected
        if claim:
            self.claims.append(claim)
            del self.waiting[: len(expected)]

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        self.store.ack(self.take_part_of_a_claim(data))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def nack(self, data: st.DataObject) -> None:
        part = self.take_part_of_a_claim(data)
        self.store.nack(part)
        self.waiting[:0] = part.events

    def take_part_of_a_claim(self, data: st.DataObject) -> Claim:
        claim = self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1), "which"))
        cut = data.draw(st.integers(0, len(claim.events)), "cut")
        part, rest = claim.part(0, cut), claim.part(cut)
        if rest.events:
            self.claims.append(rest)
        return part

    @rule(size=SIZES)
    def evict_and_put(self, size: int) -> None:
        event = self.new_event(size)
        claimed = [event for claim in self.claims for event in claim.events]
        possible = len(claimed) < CAPACITY and sum(map(len, claimed)) + size <= MAX_BYTES
        expected = 0
        while possible and not self.fits(event):
            del self.waiting[0]
            expected += 1
        assert self.store.evict(event) == expected
        assert self.store.put(event) == possible
        if possible:
            self.waiting.append(event)

    @rule()
    def clear(self) -> None:
        assert self.store.clear() == len(self.waiting)
        self.waiting.clear()

    @invariant()
    def sizes_agree(self) -> None:
        if hasattr(self, "store"):
            wait_for_sizes(self.store, len(self.waiting), sum(map(len, self.waiting)))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.store.close() == (0 if self.store.durable else len(self.waiting))


BATCH = 4
FINAL = {400: "refused", 403: "refused"}


class DeliveryMachine(RuleBasedStateMachine):
    """An emitter whose every attempt waits for its answer, against lists.

    The batch window never ends by itself, so the worker moves only where the model can say how: on a full batch, a
    flush, or an answer.
    """

    @initialize(overflow=st.sampled_from(["drop_newest", "drop_oldest"]))
    def start(self, overflow: str) -> None:
        self.overflow = overflow
        self.transport = HeldTransport()
        self.succeeded: list[str] = []
        self.failed: list[str] = []
        self.emitter = Emitter(
            transport=self.transport, batch_size=BATCH, buffer_capacity=CAPACITY,
            buffer_bytes=MAX_BYTES, overflow=overflow, flush_interval=3600, max_retry_delay_seconds=0,
            on_success=lambda events: self.succeeded.extend(event["n"] for event in events),
            on_failure=lambda sent, events: self.failed.extend(event["n"] for event in events),
        )  # fmt: skip
        self.queue: list[tuple[str, int]] = []
        self.gone = 0
        self.flush_to = 0
        # What the worker has in hand: the batch inside `send` first, then other halves of a batch that was split.
        self.sending: list[list[tuple[str, int]]] = []
        self.attempts = 0
        self.tracked = 0
        self.delivered: list[str] = []
        self.given_up: list[str] = []
        self.dropped: Counter[str] = Counter()
        self.revoked = False

    # The worker's side of the model.

    def worker_moves(self) -> None:
        """If it is idle and there is a reason to, it claims the next batch and sends it."""
        full = len(self.queue) >= BATCH or sum(size for _, size in self.queue) >= MAX_BYTES // 2
        if not self.sending and self.queue and (full or self.gone < self.flush_to):
            self.sending = [self.queue[:BATCH]]
            del self.queue[:BATCH]
            self.gone += len(self.sending[0])
            self.attempt_begins()

    def attempt_begins(self) -> None:
        self.attempts += 1
        events = self.transport.wait_for_request(self.attempts)
        assert [event["n"] for event in events] == [name for name, _ in self.sending[0]]

    # What happens.

    @rule(size=SIZES)
    def emit(self, size: int) -> None:
        name = str(self.tracked)
        event = b'{"n":"%b","x":"%b"' % (name.encode(), b"x" * max(0, size - 20))
        self.tracked += 1
        taken = self.make_room(len(event))
        assert (self.emitter.emit(event) is None) == taken
        if taken:
            self.queue.append((name, len(event)))
        else:
            self.dropped["overflow"] += 1
        self.worker_moves()

    def make_room(self, size: int) -> bool:
        claimed = [event for batch in self.sending for event in batch]
        held = [*claimed, *self.queue]
        full = len(held) >= CAPACITY or sum(size for _, size in held) + size > MAX_BYTES
        if not full or self.overflow == "drop_newest":
            return not full
        if len(claimed) >= CAPACITY or sum(size for _, size in claimed) + size > MAX_BYTES:
            return False
        while len(held) >= CAPACITY or sum(size for _, size in held) + size > MAX_BYTES:
            del self.queue[0]
            held = [*claimed, *self.queue]
            self.gone += 1
            self.dropped["overflow"] += 1
        return True

    @rule()
    def hurry(self) -> None:
        self.flush_to = self.gone + len(self.queue)
        self.emitter.hurry()
        self.worker_moves()

    @rule()
    def discard(self) -> None:
        given_up = len(self.queue) + sum(map(len, self.sending[1:]))
        assert self.emitter.discard("disabled") == given_up
        self.dropped["disabled"] += given_up
        self.gone += len(self.queue)
        self.queue.clear()
        del self.sending[1:]
        self.revoked = bool(self.sending)  # what is in a request is not repeated
        self.worker_moves()

    @precondition(lambda self: self.sending)
    @rule(answer=st.sampled_from([200, 200, 204, 400, 403, 413, 413, 413, 413, 503, None]))
    def answer(self, answer: int | None) -> None:
        batch = self.sending.pop(0)
        revoked, self.revoked = self.revoked, False
        if revoked and answer not in (200, 204):
            self.dropped["disabled"] += len(batch)
        elif answer == 413 and len(batch) > 1:
            middle = len(batch) // 2
            self.sending[:0] = [batch[:middle], batch[middle:]]
        elif answer in (200, 204):
            self.delivered += [name for name, _ in batch]
        elif answer == 413 or answer in FINAL:
            self.given_up += [name for name, _ in batch]
            self.dropped[FINAL.get(answer, "too_large")] += len(batch)
        else:
            self.sending.insert(0, batch)
        self.transport.answer(Result(answer, error="" if answer else "ConnectionError"))
        if self.sending:
            self.attempt_begins()
        else:
            settled = len(self.delivered) + sum(self.dropped.values())
            wait_until(lambda: self.settled() == settled, WAIT_S, "the batch to be settled")
        self.worker_moves()

    def settled(self) -> int:
        stats = self.emitter.stats()
        return stats.delivered + sum(stats.dropped.values())

    # What always holds.

    @invariant()
    def every_event_is_accounted_for(self) -> None:
        if not hasattr(self, "emitter"):
            return
        stats = self.emitter.stats()
        assert adds_up(stats)
        assert stats.tracked == self.tracked
        assert stats.queued == len(self.queue)
        assert stats.in_flight == sum(map(len, self.sending))
        assert stats.delivered == len(self.delivered)
        assert {reason: count for reason, count in stats.dropped.items() if count} == +self.dropped

    def teardown(self) -> None:
        if not hasattr(self, "emitter"):
            return
        self.transport.answer_all(Result(200))
        result = self.emitter.close(WAIT_S)
        assert result.remaining == 0
        left = [name for batch in self.sending for name, _ in batch] + [name for name, _ in self.queue]
        assert self.succeeded == self.delivered + left
        assert self.failed == self.given_up
        stats = self.emitter.stats()
        assert adds_up(stats)
        assert stats.queued == stats.in_flight == 0
        assert stats.requests == len(self.transport.offered)


MODERATE = settings(max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", FACTORIES)
def test_a_store_behaves_like_a_list(name: str) -> None:
    machine = type(f"{name}Machine", (StoreMachine,), {"factory": staticmethod(FACTORIES[name])})
    run_state_machine_as_test(machine, settings=settings(MODERATE, max_examples=150))


def test_every_event_of_an_emitter_has_one_outcome() -> None:
    run_state_machine_as_test(DeliveryMachine, settings=MODERATE)
