"""Who holds a part of an outbox file, and whether that process is still there."""

from __future__ import annotations

import os
import platform
import secrets
import sys
from pathlib import Path
from time import monotonic, time
from typing import Final

import attrs

LEASE_S: Final = 30.0
"""How long a holder that says nothing keeps what it holds."""

_live_tokens: set[str] = set()
"""The holders of this process: after an `exec` the pid is the same, and they are gone."""


@attrs.frozen
class Holder:
    """One store in one process, as it is written into the file.

    Attributes:
        token: A random name.
        host: Where its pid means something: the machine's boot and its pid namespace.
        pid: 0 for one that has let go.
        started: When the process started, in the kernel's ticks, against reuse of its pid; 0 where unknown.
        seen_ms: When it last said that it is there, milliseconds since the epoch.
        seen_mono_ms: The same on its host's monotonic clock, which no time server changes and no suspend moves.
    """

    token: str
    host: str
    pid: int
    started: int
    seen_ms: int
    seen_mono_ms: int

    def is_gone(self) -> bool:
        """Whether what it holds is anybody's: its process is no more, or has said nothing for `LEASE_S`."""
        if self.pid == 0:
            return True
        if self.host != this_host():
            return abs(time() * 1000 - self.seen_ms) > LEASE_S * 1000
        if self.pid == os.getpid() and self.token not in _live_tokens:
            return True
        return not _is_running(self.pid, self.started) or monotonic() * 1000 - self.seen_mono_ms > LEASE_S * 1000


def new_token() -> str:
    """Name a holder of this process."""
    token = secrets.token_hex(8)
    _live_tokens.add(token)
    return token


def forget_token(token: str) -> None:
    """A holder of this process is no more."""
    _live_tokens.discard(token)


def holder(token: str) -> Holder:
    """This process, now, under a token of its own."""
    pid = os.getpid()
    return Holder(token, this_host(), pid, _start_time(pid), int(time() * 1000), int(monotonic() * 1000))


def this_host() -> str:
    """A name of the place where pids can be compared."""
    boot = _read("/proc/sys/kernel/random/boot_id")
    if not boot:
        return platform.node()
    try:
        return f"{boot.strip()} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return boot.strip()


def _is_running(pid: int, started: int) -> bool:
    if sys.platform == "win32":  # os.kill would end it there; the lease has to do
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    stat = _stat(pid)
    if stat and stat[0] in "ZX":  # it has ended, and nobody has asked how
        return False
    return not started or _start_time(pid) in (0, started)


def _start_time(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[19]) if len(stat) > 19 else 0


def _stat(pid: int) -> list[str]:
    """Source: proc(5), ``/proc/pid/stat``: from field 3 on; the second may hold blanks and brackets, in brackets."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
