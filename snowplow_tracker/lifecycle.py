"""Process events: exit, fork, signals. The only module that touches them.

Importing it registers one exit hook and one fork hook, whatever number of emitters comes and goes.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from time import monotonic
from types import FrameType
from typing import Any, Protocol, TypeVar

from snowplow_tracker.errors import SnowplowTrackerError

logger = logging.getLogger("snowplow_tracker")


T = TypeVar("T")


class Ending(Protocol):
    """What a process that ends or forks asks of each emitter."""

    shutdown_timeout: float

    def begin_exit(self, deadline: float) -> None:
        """Hurry: *deadline* (`time.monotonic`) is when the process wants to be gone. Returns at once."""

    def end_exit(self) -> None:
        """Wait for that, then give up the rest."""

    def untold(self) -> int:
        """How many events were given up that no log line has told of yet."""

    def flush(self, timeout: float) -> Any:
        """Deliver what is there, for at most *timeout* seconds."""

    def after_fork(self) -> None:
        """Start anew in a child process."""


# A plain dict: copying its values is one step that no other thread can cut in two.
_live: dict[int, weakref.ref[Ending]] = {}
_kept: dict[int, Ending] = {}
_remade: dict[int, tuple[weakref.ref[Any], Callable[[Any], None]]] = {}
_fork_calls: list[Callable[[], None]] = []
_held: dict[int, tuple[weakref.ref[Any], Callable[[Any], None], Callable[[Any], None]]] = {}
_held_now: list[tuple[Any, Callable[[Any], None]]] = []
_pid = os.getpid()
_finalized_pid = 0
_exit_began: float | None = None


def register(emitter: Ending) -> None:
    """Remember an emitter for the end of the process, for as long as it lives."""
    key = id(emitter)
    _live[key] = weakref.ref(emitter, lambda _: _live.pop(key, None))
    if _exit_began is not None:  # it was made by an atexit handler that runs after ours
        emitter.begin_exit(_exit_began + emitter.shutdown_timeout)
        emitter.end_exit()


def unregister(emitter: Ending) -> None:
    """Forget an emitter that has been closed."""
    _live.pop(id(emitter), None)
    _kept.pop(id(emitter), None)


def keep(emitter: Ending) -> None:
    """Keep an emitter alive until the exit hook has run: it holds events, and no thread that would deliver them."""
    _kept[id(emitter)] = emitter


def _emitters() -> list[Ending]:
    return [emitter for reference in list(_live.values()) if (emitter := reference()) is not None]


# --- exit ------------------------------------------------------------------------------------------------------


def deliver_at_exit() -> None:
    """Flush every live emitter within one deadline, then count and log what is left."""
    global _exit_began
    check_process()
    start = _exit_began = monotonic()
    emitters = _emitters()
    for emitter in emitters:
        emitter.begin_exit(start + emitter.shutdown_timeout)
    trouble = _end_each(emitters)
    if trouble:  # it may have cut short the giving up
        _end_each(emitters)
    log_given_up(sum(emitter.untold() for emitter in emitters))
    _kept.clear()
    if trouble:
        raise trouble


def _end_each(emitters: list[Ending]) -> BaseException | None:
    trouble: BaseException | None = None
    for emitter in emitters:
        try:
            emitter.end_exit()
        except BaseException as error:  # Ctrl-C, mostly: whoever presses it does not want to wait for the others
            trouble = trouble or error
            for other in emitters:
                other.begin_exit(monotonic())
    return trouble


def log_given_up(events: int) -> None:
    """The one line about what `close` or exit could not deliver."""
    if events:
        with contextlib.suppress(Exception):  # a handler that raises must not end an exit half-way
            logger.warning("%d events could not be delivered in time and are dropped (shutdown)", events)


atexit.register(deliver_at_exit)


def deliver_at_end_of_child() -> None:
    """In a child of multiprocessing: it ends by `os._exit`, which skips `atexit` but runs multiprocessing's
    finalizers."""
    global _finalized_pid
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is None or util is None or process.parent_process() is None or _finalized_pid == _pid:
        return
    _finalized_pid = _pid
    util.Finalize(None, deliver_at_exit, exitpriority=0)


# --- fork ------------------------------------------------------------------------------------------------------


def call_after_fork(function: Callable[[], None]) -> None:
    """Have *function* called in every child process, before anything else is done there."""
    _fork_calls.append(function)


def start_anew_after_fork(owner: T, start_anew: Callable[[T], None]) -> None:
    """Have *start_anew* called with *owner* in every child process, for as long as *owner* lives."""
    key = id(owner)
    _remade[key] = weakref.ref(owner, lambda _: _remade.pop(key, None)), start_anew


def hold_during_fork(owner: T, before: Callable[[T], None], after: Callable[[T], None]) -> None:
    """Have *before* called with *owner* ahead of every fork, and *after* behind it in the parent: for what must not be
    in the middle of something, or open, when it is copied."""
    key = id(owner)
    _held[key] = weakref.ref(owner, lambda _: _held.pop(key, None)), before, after


def _before_fork() -> None:
    for reference, before, after in list(_held.values()):
        owner = reference()
        if owner is not None:
            before(owner)
            _held_now.append((owner, after))


def _after_fork_in_parent() -> None:
    while _held_now:
        owner, after = _held_now.pop()
        after(owner)


def after_fork_in_child() -> None:
    """Give the child its own locks, ids, queues and connections."""
    global _pid, _exit_began
    _pid = os.getpid()
    _exit_began = None
    _held_now.clear()
    for function in _fork_calls:
        function()
    for emitter in _emitters():
        emitter.after_fork()
    for reference, start_anew in list(_remade.values()):
        owner = reference()
        if owner is not None:
            start_anew(owner)


def check_process() -> None:
    """Notice a fork that no hook announced, as by a server that embeds Python. Costs one `getpid` (0.1 µs)."""
    if os.getpid() != _pid:
        after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=after_fork_in_child)


# --- signals ---------------------------------------------------------------------------------------------------


def install_signal_handlers(signals: Iterable[int] = (signal.SIGTERM, signal.SIGINT)) -> Callable[[], None]:
    """Deliver what is queued when the process is told to end, then do what would have been done without this.

    Each signal's handler flushes every emitter within its ``shutdown_timeout`` and then calls the handler that was
    there before; where that was the default action, the process is killed by the signal and its exit status says so.
    Process 1, that of a container, which the system spares the default action, exits with 128 + the signal's number.

    Args:
        signals: Signal numbers.

    Returns:
        A function that puts the former handlers back, unless somebody has replaced ours meanwhile.

    Raises:
        SnowplowTrackerError: Called outside the main thread, where Python lets nobody set a handler.
    """
    if threading.current_thread() is not threading.main_thread():
        raise SnowplowTrackerError(
            "install_signal_handlers(): must be called in the main thread, as signal.signal must"
        )
    former = {number: signal.getsignal(number) for number in signals}

    def handle(number: int, frame: FrameType | None) -> None:
        _handle(number, frame, former[number])

    for number in former:
        signal.signal(number, handle)

    def undo() -> None:
        for number, handler in former.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    return undo


def _handle(number: int, frame: FrameType | None, former: Any) -> None:
    if former == signal.SIG_DFL:
        try:
            deliver_at_exit()
        finally:  # also when Ctrl-C cuts that short
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            if os.getpid() == 1:  # a container's first process, which the system spares what is the default for others
                os._exit(128 + number)
        return
    _flush_all()
    if callable(former):
        former(number, frame)


def _flush_all() -> None:
    """Flush within the budget; the program may go on afterwards, so nothing is given up."""
    start = monotonic()
    for emitter in _emitters():
        emitter.flush(max(0.0, start + emitter.shutdown_timeout - monotonic()))
