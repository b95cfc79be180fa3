"""The working half of an emitter: counts events in, and the daemon thread that claims, sends and settles them.

It knows nothing of the `Emitter` that the user holds, so that one that is dropped can be collected while its thread
still delivers.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final, TypeVar

from snowplow_tracker import lifecycle
from snowplow_tracker.batch import Batch
from snowplow_tracker.event_store import TURNS_AT_CALLS, EventStore, MemoryEventStore
from snowplow_tracker.outcomes import Counters, FlushResult, Reason, Stats
from snowplow_tracker.payload import ENVELOPE_BYTES, STAMP_BYTES, payload_dict
from snowplow_tracker.retry import LEAST_DELAY_S, Verdict, judge, retrying
from snowplow_tracker.settings import EmitterSettings
from snowplow_tracker.telling import Teller, call_back, log_error
from snowplow_tracker.transport import Result, Transport

T = TypeVar("T")

_NEVER: Final = sys.maxsize
_NO_ROOM: Final = MemoryEventStore(0)
_PASSING_S: Final = 0.3
"""How long after its deadline an end waits for events that are between the store and a thread's hands."""
_LONGEST_S: Final = 3600.0
"""Longer waits are done in parts: the system knows no endless ones."""
_LONGEST_ASKING_S: Final = 5.0
"""How long a store may be unable to say what of a batch is still ours, before all of it is sent again. What keeps it
from that takes milliseconds, or seconds where processor time is short; if it took for ever, nothing else would leave.
"""
_CLOSED: Final = "the tracker is closed"
_FULL: Final = "the buffer is full"
_ENDING: Final = "the process is ending and there is no time left to deliver"
_STORE_FAILED: Final = "the event store failed"


class Delivery:
    """A queue and the threads that empty it. `emit` is called by trackers; everything else by one `Emitter`.

    One re-entrant lock guards the numbers below, but for an event that `emit` counts and stores in one go; `changed` is
    notified when any of them may interest a waiting thread. It is never held across I/O, a callback or logging.
    """

    def __init__(self, settings: EmitterSettings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self.shutdown_timeout = settings.shutdown_timeout
        self._batch_size = min(settings.batch_size, transport.max_batch or settings.batch_size)
        # A request's bytes are worth sending at once; so is what fills half of a small buffer.
        self._full_bytes = min(settings.byte_limit, settings.buffer_bytes // 2)
        self.flush_interval = settings.flush_interval
        self.owner: object = None
        """A weak reference to the `Emitter`, kept here so that its callback can run."""
        self._closed = False
        # Not `or`: a store that is empty is false.
        self._store: EventStore = (
            MemoryEventStore(
                settings.buffer_capacity, settings.buffer_bytes, keep_times=settings.max_event_age_s is not None
            )
            if settings.event_store is None
            else settings.event_store
        )
        self._policy = "drop_oldest" if self._store.oldest_go_first else settings.overflow
        ages = [age for age in (settings.max_event_age_s, self._store.max_age_s) if age is not None]
        self._max_age_s = min(ages, default=None)
        self._start_anew()
        self._store.attach(self)
        lifecycle.register(self)
        if len(self._store) or self._store.poll_s is not None:
            self._ensure_threads()

    def _start_anew(self) -> None:
        # Re-entrant: a __del__ or a signal handler may track while it is held.
        self._lock = threading.RLock()
        self._changed = _Changes(self._lock)
        self._in_memory = False
        self._memory = _NO_ROOM
        if isinstance(self._store, MemoryEventStore):
            self._store.share_lock(self._lock)
            self._in_memory = type(self._store).put is MemoryEventStore.put  # and not a subclass's own
            if self._in_memory and TURNS_AT_CALLS and not self._store.keep_times:
                self._memory = self._store
        self._counts_alone = TURNS_AT_CALLS and not self._in_memory
        self._counters = Counters()
        self._in_hand: list[Batch] = []
        # Held while events are between the store and our hands; re-entrant for a signal handler that flushes or closes.
        self._claiming = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._working = 0
        self._drainers: set[int] = set()
        # How many queued events make `emit` wake a thread: 1 while all are idle, a batch while one waits for company.
        self._wake_at = 1
        self._wake_at_bytes = _NEVER  # so many, claimed ones included, while one waits for company
        self._window_opened = 0.0
        self._flush_to = 0
        self._hurries = 0
        self._deadline: float | None = None
        self._exited = False
        self._tracked_within = 0
        """The position behind the newest event that a callback tracked after the exit hook had begun to wait."""
        self._ending = self._closed  # closed or exited: what `emit` must look at more closely
        self._teller = Teller(self._transport.address)
        # Who logs what was given up: the thread itself only where nobody waits for it. See untold.
        self._told = 0
        self._unattended = False

    # --- the caller's side ---------------------------------------------------------------------------------------

    def emit(self, fragment: bytes) -> str | None:
        """Queue one event; never raises, and waits only under ``overflow="block"``.

        Returns:
            None if it was taken, else why not.
        """
        size, memory, counters = len(fragment), self._memory, self._counters
        # No lock where none is needed, see TURNS_AT_CALLS: those who waited for it would keep one another waiting. Four
        # tracking threads got 0.4 of one thread's calls done.
        if memory.held_events < memory.capacity and memory.held_bytes + size <= memory.max_bytes and not self._ending:
            counters.tracked += 1
            counters.queued = queued = counters.queued + 1
            memory.held_events += 1
            memory.held_bytes += size
            memory.fragments.append(fragment)
            if queued >= self._wake_at or memory.held_bytes >= self._wake_at_bytes:
                self._wake()
            return None
        if self._counts_alone and not self._ending:
            counters.tracked += 1
            counters.queued = queued = counters.queued + 1
            return self._emitted(self._put(fragment), queued)
        return self._emit_locked(fragment)

    def _emit_locked(self, fragment: bytes) -> str | None:
        """`emit` where memory is full or keeps times, or the end is near; and always where there is no GIL."""
        if self._ending and sys.is_finalizing():
            self._counters.refuse("shutdown")  # without the lock: see _NOTHING
            return _ENDING
        with self._lock:
            if self._ending:
                refused = self._refused()
                if refused:
                    return refused
            # Stored before it is counted: a signal handler or a __del__ that flushes in between would wait, as long as
            # it may, for an event that can't come.
            counters = self._counters
            try:
                taken = self._in_memory and self._store.put(fragment)
            except BaseException:  # Ctrl-C, maybe when the event was stored already: then it counts
                if len(self._store) > counters.queued:
                    counters.tracked += 1
                    counters.queued += 1
                raise
            if not taken and self._in_memory and self._policy == "drop_newest":
                counters.refuse("overflow")
                return _FULL
            counters.tracked += 1
            counters.queued = queued = counters.queued + 1
        return self._emitted(None if taken else self._put(fragment), queued)

    def _emitted(self, message: str | None, queued: int) -> str | None:
        """What is left to do for an event that is counted, and stored unless *message* says why not."""
        if queued >= self._wake_at or (self._in_memory and self._store.queued_bytes >= self._wake_at_bytes):
            self._wake()
        return self._settle_now(message) if self._ending else message

    def _put(self, fragment: bytes) -> str | None:
        """Store an event that is counted already; not under the lock, since a store may be slow, full or broken."""
        try:
            return None if self._store.put(fragment) else self._make_room(fragment)
        except Exception as error:
            return self._store_failed(error)

    def _refused(self) -> str | None:
        """Why no event is taken any more, if so; called with the lock held."""
        if self._closed:
            self._counters.refuse("closed")
            return _CLOSED
        if self._deadline is not None and monotonic() >= self._deadline and not self._store.durable:
            self._counters.refuse("shutdown")
            return _ENDING
        return None

    def _make_room(self, fragment: bytes) -> str | None:
        """Try what `_policy` says about an event for which the store has no room."""
        taken = False
        if self._policy == "drop_oldest":
            taken = self._displace(fragment)
        elif self._policy == "block" and threading.get_ident() not in self._own_threads():
            taken = self._await_room(fragment)
        if taken:
            return None
        with self._lock:
            self._counters.unqueue("closed" if self._closed else "overflow")
        return _CLOSED if self._closed else _FULL

    def _displace(self, fragment: bytes) -> bool:
        while evicted := self._store.evict(fragment):
            with self._lock:
                self._counters.drop_queued("overflow", evicted)
            if self._store.put(fragment):
                return True
        return False

    def _await_room(self, fragment: bytes) -> bool:
        deadline = monotonic() + self._settings.block_timeout
        self._wake()
        while not self._store.put(fragment):
            with self._lock:
                left = deadline - monotonic()
                if left <= 0 or self._closed:
                    return False
                # Short steps: room may have come between the attempt and the wait.
                self._changed.wait(min(left, 0.05))
        return True

    def _store_failed(self, error: Exception) -> str:
        with self._lock:
            self._counters.unqueue("store")
        self._teller.store_raised(error)
        return _STORE_FAILED

    def _wake(self) -> None:
        if not self._threads:
            self._ensure_threads()
            return
        with self._lock:
            # In this order: a signal handler may raise anywhere, and whoever tracks next must then wake them again.
            self._changed.notify_all()
            self._wake_at = self._wake_at_bytes = _NEVER

    # What a store does by itself: see `event_store.Listener`.

    def arrived(self, events: int) -> None:
        with self._lock:
            self._counters.arrive(events)
        self._wake()

    def left(self, events: int) -> None:
        with self._lock:
            self._counters.leave(events)
            self._changed.notify_all()

    def dropped(self, reason: Reason, events: int) -> None:
        with self._lock:
            self._counters.drop_queued(reason, events)
            self._changed.notify_all()

    def _ensure_threads(self) -> bool:
        """Start the emitter threads if they are not there; returns whether any runs.

        None does although they are there when a signal handler has interrupted the starting of the first one.
        """
        threads: list[threading.Thread] = []
        try:
            with self._lock:
                if self._threads:
                    return any(thread.ident is not None for thread in self._threads)
                threads = self._threads = [
                    threading.Thread(target=_work, args=(self,), name="snowplow-emitter", daemon=True)
                    for _ in range(self._settings.threads)
                ]
            lifecycle.deliver_at_end_of_child()
            for thread in threads:
                thread.start()
        except BaseException as error:
            with self._lock:
                if threads:
                    self._threads = [started for started in threads if started.ident is not None]
                    self._wake_at = 1
                if not isinstance(error, RuntimeError):  # the KeyboardInterrupt of a signal handler
                    raise
                # None can start at interpreter shutdown: flush and close then work in the calling thread.
                if not self._threads and not self._exited:
                    lifecycle.keep(self)
                return bool(self._threads)
        return True

    def _own_threads(self) -> set[int]:
        """The threads that must not wait for this delivery, because it waits for them."""
        return {thread.ident for thread in self._threads if thread.ident is not None} | self._drainers

    def stats(self) -> Stats:
        if sys.is_finalizing():
            return self._counters.snapshot(self._store.degraded)
        lifecycle.check_process()
        with self._lock:
            return self._counters.snapshot(self._store.degraded)

    @property
    def queued_bytes(self) -> int:
        return self._store.queued_bytes

    def discard(self, reason: Reason) -> int:
        """Give up everything that is not in a request at this moment; what is, is not sent again.

        Returns:
            How many events were given up at once.
        """
        if sys.is_finalizing():
            return 0
        with self._claiming:  # no batch is between the store and our hands
            forgotten = self._ask_store(self._store.clear, 0)
            with self._lock:
                self._counters.drop_queued(reason, forgotten)
                in_hand = [batch for batch in self._in_hand if not batch.settled]
                for batch in in_hand:
                    batch.revoked = reason
                waiting = [batch for batch in in_hand if not batch.sending]
                self._changed.notify_all()
        for batch in waiting:
            self._resume(batch)
        return forgotten + sum(len(self._settle(batch, reason)) for batch in waiting)

    # --- flush, close, exit --------------------------------------------------------------------------------------

    def flush(self, timeout: float) -> FlushResult:
        """Wait until what was accepted so far is settled, at most *timeout* seconds; from a callback, not at all."""
        if sys.is_finalizing():
            return _NOTHING
        lifecycle.check_process()
        deadline = monotonic() + timeout
        with self._lock:
            before = self._counters.delivered, self._counters.dropped_total
            target = self._hurry()
        if threading.get_ident() not in self._own_threads():
            self._await_settled(target, deadline)
        return self._progress(before, target)

    def hurry(self) -> None:
        """Begin a flush without waiting for it."""
        if sys.is_finalizing():
            return
        lifecycle.check_process()
        with self._lock:
            self._hurry()
            waiting = self._counters.queued
        if waiting:
            self._ensure_threads()

    def set_flush_interval(self, seconds: float) -> None:
        """Change how long events wait for company, those that wait already included."""
        with self._lock:
            self.flush_interval = seconds
            self._changed.notify_all()

    def _hurry(self) -> int:
        """Have all that is queued sent now, cutting every wait short; returns the position behind it. Lock held."""
        target = self._counters.accepted
        self._flush_to = max(self._flush_to, target)
        self._hurries += 1
        self._changed.notify_all()
        return target

    def _await_settled(self, target: int, deadline: float) -> None:
        if self._remaining(target) and not self._ensure_threads():
            self._drain(target, self._no_later(deadline))
        with self._lock:
            while self._unfinished(target) and (left := self._no_later(deadline) - monotonic()) > 0:
                self._wait(left)

    def _wait(self, seconds: float) -> None:
        """Until something changes, or a while is over, at most *seconds*. Lock held."""
        self._changed.wait(min(seconds, _LONGEST_S))

    def _no_later(self, deadline: float) -> float:
        """*deadline*, or that of the end if it comes first: nothing is sent after it."""
        return deadline if self._deadline is None else min(deadline, self._deadline)

    def _unfinished(self, target: int) -> bool:
        """Whether anything before *target* is undecided, or its callback still runs."""
        waiting = self._counters.queued > 0 and self._counters.gone < target
        return waiting or any(batch.start < target for batch in self._in_hand)

    def _remaining(self, target: int) -> int:
        with self._lock:
            waiting = min(self._counters.queued, max(0, target - self._counters.gone))
            return waiting + sum(len(b) for b in self._in_hand if b.start < target and not b.settled)

    def _progress(self, before: tuple[int, int], target: int) -> FlushResult:
        with self._lock:
            delivered, dropped = before
            return FlushResult(
                self._counters.delivered - delivered, self._counters.dropped_total - dropped, self._remaining(target)
            )

    def _drain(self, target: int, deadline: float) -> None:
        """Send in the calling thread, where no other can be started."""
        self._drainers.add(threading.get_ident())
        try:
            while self._remaining(target) and monotonic() < deadline:
                batch = self._claim()
                if batch is None:
                    break
                batch.deadline = deadline
                self._deliver(batch)
        finally:
            self._drainers.discard(threading.get_ident())

    def close(self, timeout: float | None = None) -> FlushResult:
        """Take no more events, deliver what is there within *timeout* seconds, give up the rest. May be called
        again."""
        if sys.is_finalizing():
            return _NOTHING
        lifecycle.check_process()
        deadline = monotonic() + (self.shutdown_timeout if timeout is None else timeout)
        with self._lock:
            before = self._counters.delivered, self._counters.dropped_total
            self._closed = self._ending = True
            target = self._expect_end(deadline)
            own = threading.get_ident() in self._own_threads()
            self._unattended = self._unattended or own
        if not own:
            try:
                self._await_settled(target, deadline)
            except BaseException:  # Ctrl-C: the thread goes on to the deadline, and tells what it gives up
                self._unattended = True
                raise
            self._give_up("shutdown")
            self._join(deadline)
            lifecycle.log_given_up(self.untold())
        return self._progress(before, target)

    def _expect_end(self, deadline: float) -> int:
        """Lock held."""
        self._deadline = self._no_later(deadline)
        return self._hurry()

    def _join(self, deadline: float) -> None:
        """Wait for idle threads to be gone; one that is stuck in a request ends by itself, later."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, min(deadline - monotonic(), _LONGEST_S)))
        if not any(thread.is_alive() for thread in self._threads):
            self._let_go()

    def _let_go(self) -> None:
        lifecycle.unregister(self)
        try:
            self._transport.close()
        except Exception as error:  # a transport must not raise; one that does has failed
            log_error("%s in the closing of a transport at %s:%s", error)

    def begin_exit(self, deadline: float) -> None:
        with self._lock:
            self._expect_end(deadline)

    def end_exit(self) -> None:
        with self._lock:
            # What comes from now on, from other threads or from handlers that were registered with atexit before ours
            # and so run after it, is settled by the call that tracks it: see _settle_now.
            self._exited = self._ending = True
            target = self._counters.accepted
        self._settle_all(target)

    def _settle_all(self, target: int) -> bool:
        """Wait for what was queued before *target* and for what callbacks track meanwhile, then give up the rest.

        Returns:
            Whether nothing had to be given up.
        """
        assert self._deadline is not None  # begin_exit came before
        settled = False
        try:
            while not settled:
                self._await_settled(target, self._deadline)
                if monotonic() >= self._deadline:
                    break
                with self._lock:
                    settled, target = target >= self._tracked_within, max(target, self._tracked_within)
        finally:  # also when Ctrl-C cuts the wait short
            settled = not self._remaining(target)
            if not settled:
                self._give_up("shutdown")
            elif self._store.durable:  # where it could not be written at once, what is settled is still to be forgotten
                self._ask_store(self._store.secure, None)
        return settled

    def untold(self) -> int:
        """How many events were given up that no log line has told of: it is one line, whichever thread gave up what."""
        with self._lock:
            events = self._counters.dropped["shutdown"] - self._told
            self._told += events
        return events

    def _settle_now(self, message: str | None) -> str | None:
        """After the exit hook nobody waits for the queue any more, so an event is decided within the call."""
        if message is None and self._exited:
            with self._lock:
                target = self._hurry()
                if threading.get_ident() in self._own_threads():  # a callback, whose end is waited for
                    self._tracked_within = target
                    return None
            if not self._settle_all(target):
                return None if self._store.durable else _ENDING
        return message

    def retire(self) -> None:
        """The emitter was dropped without being closed: deliver what it held, then end the threads."""
        if sys.is_finalizing():
            return
        with self._lock:
            self._closed = self._ending = self._unattended = True
            # Long enough for an outage of some length, and still an end: a program may make and drop trackers all day.
            self._expect_end(monotonic() + max(self.shutdown_timeout, self._settings.max_retry_delay_seconds))

    def after_fork(self) -> None:
        """In the child: what is queued and on its way is the parent's; start with nothing, and with locks of our
        own."""
        self._store.after_fork()
        self._transport.after_fork()
        self._start_anew()

    def _give_up(self, reason: Reason) -> None:
        """Drop what is still there, or leave it to the next process if the store outlives this one."""
        until = min(self._deadline or 0, monotonic()) + _PASSING_S
        passed = self._claiming.acquire(timeout=max(0, until - monotonic()))
        try:
            batches: list[Batch] = self._ask_store(self._leave_or_take, [])
        finally:
            if passed:
                self._claiming.release()
        given_up: list[bytes] = []
        for batch in batches:
            events = self._settle(batch, batch.revoked or reason)
            if not batch.revoked:
                given_up += events
            self._put_down(batch)
        if self._closed:
            self._await_acknowledged(until)
            lost = self._ask_store(self._store.close, 0)  # what came after the last look
            with self._lock:
                self._counters.drop_queued(reason, lost)
        self._call_back_failure(given_up)

    def _await_acknowledged(self, until: float) -> None:
        """Wait for the store to forget what is settled, at most *until* then: it would send it again next time."""
        with self._lock:
            while any(batch.acknowledging for batch in self._in_hand) and (left := until - monotonic()) > 0:
                self._changed.wait(left)

    def _ask_store(self, question: Callable[[], T], otherwise: T) -> T:
        """A store must not raise; one that does must not keep an outcome or an end from coming."""
        try:
            return question()
        except Exception as error:
            self._teller.store_raised(error)
            return otherwise

    def _leave_or_take(self) -> list[Batch]:
        """Put what is unsettled where the next process finds it; if there is no such place, return it."""
        if self._store.durable:
            for batch in self._unsettled():
                self._resume(batch)
                self._give_back(batch)
            self._store.secure()
        if self._store.durable:
            return []
        # It never was, or found out just now.
        return self._unsettled() + list(iter(self._claim, None))

    def _unsettled(self) -> list[Batch]:
        with self._lock:
            return [batch for batch in self._in_hand if not batch.settled]

    # --- the emitter thread's side -------------------------------------------------------------------------------

    def run(self) -> None:
        """Claim, send and settle until closed and empty. Nothing that goes wrong ends it."""
        with self._lock:
            self._working += 1
        self._window_opened = monotonic()
        while True:
            try:
                if not self._await_work():
                    break
                batch = self._claim()
                if batch is not None:
                    self._deliver(batch)
            except BaseException as error:  # also the SystemExit of a callback that calls sys.exit
                log_error("%s in the emitter thread at %s:%s; it goes on", error)
                with self._lock:
                    self._changed.wait(1.0)
        self._end_thread()

    def _await_work(self) -> bool:
        """Wait until a batch is worth sending; False when there will be none any more."""
        with self._lock:
            while True:
                waiting = len(self._store)
                if self._deadline is not None and monotonic() >= self._deadline:
                    if self._closed:
                        return False
                    self._changed.wait()  # other exit handlers run on; what the store holds is the next process's
                elif waiting:
                    left = self._window_opened + self.flush_interval - monotonic()
                    if left <= 0 or waiting >= self._batch_size or self._in_a_hurry():
                        self._wake_at = self._wake_at_bytes = _NEVER
                        return True
                    self._wake_at = self._batch_size
                    in_hand = max(0, self._memory.held_bytes - self._store.queued_bytes)
                    self._wake_at_bytes = self._full_bytes + in_hand
                    self._wait(left)
                elif self._closed and not self._counters.queued:
                    return False
                else:
                    self._await_first()
                    if self._store.poll_s is not None:
                        return True

    def _in_a_hurry(self) -> bool:
        full = self._store.queued_bytes >= self._full_bytes
        return full or self._deadline is not None or self._counters.gone < self._flush_to

    def _await_first(self) -> None:
        """Sleep until an event comes. Lock held; `emit` reads `_wake_at` without it, hence the second look."""
        self._wake_at = 1
        if not len(self._store):
            self._changed.wait(self._patience_s())
        self._window_opened = monotonic()

    def _patience_s(self) -> float | None:
        """How long to sleep while the store is empty. Lock held."""
        if self._counters.queued:
            # An event that is counted but not in the store yet is about to be put there; in a durable one, where that
            # takes longer, others may as well have taken it, and the store has yet to tell. Where the store is in
            # trouble, it may be in a file that can't be read for now.
            return 0.001 if self._in_memory else 0.5 if self._store.degraded else 0.02
        if self._closed and self._deadline is not None:
            return self._deadline - monotonic()
        return self._store.poll_s

    def _claim(self) -> Batch | None:
        with self._claiming:  # so that positions are given in the order of the claims
            claim = self._store.claim(
                self._batch_size, self._settings.byte_limit - ENVELOPE_BYTES, per_event_bytes=STAMP_BYTES
            )
            if claim is None:
                return None
            with self._lock:
                # What others had put is older than all of ours: whoever waits for ours waits for it, too.
                batch = Batch(claim, start=self._counters.gone - claim.recovered)
                self._counters.claim(len(batch) - claim.recovered)
                self._counters.recover(claim.recovered)
                self._in_hand.append(batch)
                self._window_opened = monotonic()
        return batch

    def _deliver(self, batch: Batch) -> None:
        """Bring a batch to its end: delivered, dropped, or back in the store."""
        try:
            self._expire(batch)
            if not len(batch):
                return
            result = self._attempt_until_decided(batch)
            verdict = self._judge(result)
            if batch.revoked and verdict is not Verdict.DELIVERED:
                self._settle(batch, batch.revoked)
            elif verdict is Verdict.SPLIT and len(batch) > 1:
                self._deliver_each(self._split(batch))
            elif verdict is Verdict.DELIVERED:
                self._call_back_success(self._settle(batch, None))
            elif verdict is Verdict.RETRY and (self._deadline is None or self._store.durable):
                self._hand_back(batch)
            else:
                self._drop(batch, _REASONS[verdict])
                if verdict is Verdict.REFUSED:
                    self._teller.refused(result)
        except BaseException:
            self._hand_back(batch)  # if it is not settled: whatever went wrong, its events are still to be delivered
            raise
        finally:
            self._put_down(batch)

    def _deliver_each(self, batches: list[Batch]) -> None:
        """Deliver them all, also when something goes wrong with the first."""
        if batches:
            try:
                self._deliver(batches[0])
            finally:
                self._deliver_each(batches[1:])

    def _put_down(self, batch: Batch) -> None:
        with self._lock:
            if batch in self._in_hand:
                self._in_hand.remove(batch)
            self._changed.notify_all()

    def _judge(self, result: Result) -> Verdict:
        return judge(result, self._settings.custom_retry_codes)

    def _attempt_until_decided(self, batch: Batch) -> Result:
        """Send, and send again, until the answer is final or time is up; the last answer."""
        first = self._attempt(batch, again=False)
        if not self._worth_retrying(first):
            return first
        pending = [first]  # tenacity's first attempt is the one just made: only an outage pays for its machinery
        loop = retrying(
            max_delay_s=self._settings.max_retry_delay_seconds,
            worth_retrying=self._worth_retrying,
            stop=lambda: self._time_is_up(batch),
            closing=lambda: self._deadline is not None,
            sleep=lambda seconds: self._pause(batch, seconds),
        )
        return loop(lambda: pending.pop() if pending else self._attempt(batch, again=True))

    def _attempt(self, batch: Batch, *, again: bool) -> Result:
        if again:
            self._ask_what_is_left(batch)
            self._expire(batch)
        with self._lock:
            batch.hurries = self._hurries
            events = batch.claim.events
            remaining = self._time_left(batch)
            if not events or batch.settled:
                return _NOTHING_LEFT
            if batch.revoked:
                return _REVOKED
            batch.sending = True
        began = monotonic()
        try:
            result = self._transport.send(events, remaining)
        except Exception as error:  # a transport must not raise; one that does has failed
            result = Result(error=type(error).__name__)
        with self._lock:
            self._counters.requests += result.requests
            self._counters.retries += result.requests if again else result.requests - 1
            waiting = self._counters.queued + self._counters.in_flight
            given_up = batch.settled
        if not given_up:  # nobody waits for this answer any more, and close has said what was lost
            self._teller.attempted(result, began=began, lost=self._worth_retrying(result), waiting=waiting)
        return result

    def _worth_retrying(self, result: Result) -> bool:
        return self._judge(result) is Verdict.RETRY

    def _time_left(self, batch: Batch) -> float | None:
        deadlines = [deadline for deadline in (self._deadline, batch.deadline) if deadline is not None]
        return min(deadlines) - monotonic() if deadlines else None

    def _time_is_up(self, batch: Batch) -> bool:
        left = self._time_left(batch)
        return batch.settled or batch.revoked is not None or (left is not None and left <= 0)

    def _pause(self, batch: Batch, seconds: float) -> None:
        """Wait before the next attempt, at most until a flush or a close that came after the last one began."""
        self._store.rest(batch.claim)
        start = monotonic()
        with self._lock:
            batch.sending = False  # only now: until here, an answer may have been on its way to being counted
            while not (batch.settled or batch.revoked):
                # A game may flush in every frame: that must not make a request of every frame.
                left = start + (seconds if batch.hurries == self._hurries else LEAST_DELAY_S) - monotonic()
                budget = self._time_left(batch)
                if budget is not None:
                    left = min(left, budget)
                if left <= 0:
                    break
                self._wait(left)

    def _ask_what_is_left(self, batch: Batch) -> None:
        """Resume a batch, and unless time is short, ask again while its store can't tell."""
        patient_until = monotonic() + _LONGEST_ASKING_S
        while not self._resume(batch) and self._deadline is None and monotonic() < patient_until:
            with self._lock:
                self._wait(LEAST_DELAY_S)

    def _resume(self, batch: Batch) -> bool:
        """Go on with what of a batch is still ours: while it waited, others may have taken it from a shared store.

        Returns:
            Whether the store can tell what that is; if not, all of it is taken to be ours.
        """
        claim = batch.claim
        kept = self._store.resume(claim)
        if kept is None:
            return False
        with self._lock:
            lost = len(claim.events) - len(kept.events)
            if not batch.settled and lost and batch.claim is claim:  # else another thread was faster
                batch.claim = kept
                self._counters.lose(lost)
                self._changed.notify_all()
        return True

    # --- settling ------------------------------------------------------------------------------------------------

    def _settle(self, batch: Batch, reason: Reason | None) -> list[bytes]:
        """Decide a batch's outcome, once: delivered, or dropped for *reason*.

        Returns:
            The events concerned, for the callbacks; none if it was decided before.
        """
        with self._lock:
            if batch.settled:
                return []
            # Counted in the step that decides: a close that ends now has no event in flight that nobody gives up.
            batch.settled = batch.acknowledging = True
            events = list(batch.claim.events)
            if reason is None:
                self._counters.deliver(len(events))
            else:
                self._counters.drop(reason, len(events))
        self._ask_store(partial(self._store.ack, batch.claim), None)  # whatever it makes of it: the outcome is decided
        with self._lock:
            batch.acknowledging = False
            self._changed.notify_all()
        return events

    def _drop(self, batch: Batch, reason: Reason) -> None:
        self._call_back_failure(self._settle(batch, reason))

    def _give_back(self, batch: Batch) -> None:
        with self._lock:
            if batch.settled:
                return
            revoked = batch.revoked
            if not revoked:
                batch.settled = True
                self._counters.unclaim(len(batch))
        if revoked:
            self._settle(batch, revoked)
        else:
            self._store.nack(batch.claim)

    def _hand_back(self, batch: Batch) -> None:
        """`_give_back` by the thread that has it: in the middle, its events are counted as queued, and nowhere."""
        with self._claiming:
            self._give_back(batch)

    def _split(self, batch: Batch) -> list[Batch]:
        """Replace a batch that was too large by its halves."""
        halves = batch.halves()
        with self._lock:
            if batch.settled:
                return []
            batch.settled = True
            self._in_hand += halves
        return halves

    def _expire(self, batch: Batch) -> None:
        """Drop the events of a batch that have become too old."""
        if self._max_age_s is None:
            return
        with self._lock:
            expired = batch.stored_before(monotonic() - self._max_age_s)
            if batch.settled or not expired:
                return
            old = batch.take(expired)
            self._in_hand.append(old)  # a flush waits for it, a close gives it up
        try:
            self._drop(old, "expired")
        finally:
            self._put_down(old)

    def _call_back_success(self, events: list[bytes]) -> None:
        on_success = self._settings.on_success
        if on_success is not None and events:
            call_back(on_success, [payload_dict(event) for event in events])

    def _call_back_failure(self, events: list[bytes]) -> None:
        on_failure = self._settings.on_failure
        if on_failure is not None and events:
            call_back(on_failure, 0, [payload_dict(event) for event in events])

    # --- the end -------------------------------------------------------------------------------------------------

    def _end_thread(self) -> None:
        """The last thread out closes the connections."""
        with self._lock:
            self._working -= 1
            last = self._working <= 0
        if last and not self._drainers:  # what is in the hands of a calling thread is not ours to give up
            self._give_up("shutdown")
            if self._unattended:
                lifecycle.log_given_up(self.untold())
            self._let_go()


_NOTHING: Final = FlushResult(delivered=0, dropped=0, remaining=0)
"""What is left to do when the interpreter takes its modules apart: the exit hook has settled everything.

A daemon thread is stopped wherever it is then, be it with the emitter's lock in hand, and whoever waits for that waits
for ever. Nobody has to: no other thread runs any more.
"""
_NOTHING_LEFT: Final = Result(status=200, requests=0)
_REVOKED: Final = Result(error="taken back", requests=0)
_REASONS: Final[dict[Verdict, Reason]] = {
    Verdict.REFUSED: "refused",
    Verdict.SPLIT: "too_large",
    Verdict.RETRY: "shutdown",
}


class _Changes(threading.Condition):
    """A condition whose waking may be interrupted by another: by a signal handler or a ``__del__`` that tracks."""

    def notify_all(self) -> None:
        # The other came between this one's look at the waiters and its taking the first: it has woken them all.
        with contextlib.suppress(IndexError):
            super().notify_all()


def _work(delivery: Delivery) -> None:
    delivery.run()
