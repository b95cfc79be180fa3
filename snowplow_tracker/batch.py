"""`Batch`: claimed events on their way to one outcome."""

from __future__ import annotations

import attrs

from snowplow_tracker.event_store import Claim
from snowplow_tracker.outcomes import Reason


@attrs.define(eq=False)
class Batch:
    """Claimed events on their way. Whoever changes one holds the emitter's lock.

    Attributes:
        claim: What the store handed out.
        start: The position of the first event among all that were ever queued.
        settled: Whether the outcome is decided; whoever sets it, under the lock, counts it.
        acknowledging: Whether the store is about to forget it, since it is settled.
        sending: Whether it is in a request whose outcome is not decided yet.
        revoked: Why it is not to be sent again, if that was said while it was in a request.
        hurries: How many flushes had been asked for when its last attempt began.
        deadline: When the calling thread wants to be done with it (`time.monotonic`), if it is a calling thread.
    """

    claim: Claim
    start: int
    settled: bool = False
    acknowledging: bool = False
    sending: bool = False
    revoked: Reason | None = None
    hurries: int = 0
    deadline: float | None = None

    def __len__(self) -> int:
        return len(self.claim.events)

    def halves(self) -> list[Batch]:
        """Two new batches with the events of this one, which was too large."""
        middle = len(self) // 2
        return [
            Batch(self.claim.part(0, middle), self.start, revoked=self.revoked, deadline=self.deadline),
            Batch(self.claim.part(middle), self.start + middle, revoked=self.revoked, deadline=self.deadline),
        ]

    def stored_before(self, moment: float) -> int:
        """How many of the events were put before a moment (`time.monotonic`): these are the first ones."""
        return sum(stored_at < moment for stored_at in self.claim.stored_at)

    def take(self, events: int) -> Batch:
        """Take the first events out, as a batch of their own."""
        taken = Batch(self.claim.part(0, events), self.start)
        self.claim = self.claim.part(events)
        self.start += events
        return taken
