"""The thread that keeps an outbox in order, so that no tracking thread has to: see `SQLiteEventStore.tend`."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import weakref
from typing import Any, Final, Protocol

logger = logging.getLogger("snowplow_tracker")

LOOK_AROUND_S: Final = 1.0
"""How often to look for what a process that is gone has left, and to try a file again that could not be used."""


class Kept(Protocol):
    """What is kept in order."""

    def tend(self) -> None:
        """Do what is to be done by now; must not raise."""


class Keeper:
    """A daemon thread that lives as long as its store, and does not keep that alive.

    Attributes:
        wanted: Set by a tracking thread that has seen work; it then calls `wake`, once it holds no lock.
    """

    def __init__(self, store: Kept) -> None:
        self._store = weakref.ref(store, lambda _: self.stop())
        # Not an Event, whose lock a signal handler that tracks might find held by the very code it interrupted.
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.wanted = False

    def start(self) -> None:
        """Start the thread if it is not there. Where none can start any more, tracking threads do without."""
        if self._thread is not None or self._stopped or not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=_keep, args=(self,), name="snowplow-outbox", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:
            pass
        finally:
            self._starting.release()

    def wake(self) -> None:
        """Have the work done now."""
        self.wanted = False
        self._woken.put(None)

    def stop(self) -> None:
        """End the thread, soon."""
        self._stopped = True
        self._woken.put(None)

    def step(self) -> bool:
        """Wait for work, and do it; False when there will be none any more."""
        with contextlib.suppress(queue.Empty):
            self._woken.get(timeout=LOOK_AROUND_S)
            while True:  # once is enough for all
                self._woken.get_nowait()
        store: Any = self._store()
        if store is None or self._stopped:
            return False
        try:
            store.tend()
        except Exception as error:  # a bug must not end it; its text may hold an event
            logger.error("%s in the outbox's thread; it goes on", type(error).__name__)
        return True


def _keep(keeper: Keeper) -> None:
    while keeper.step():
        pass
