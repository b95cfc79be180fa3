"""Running a script in a fresh Python, as a user would, and reading what it said before it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

# A shell's background jobs ignore Ctrl-C, and hand that down to the programs whose Ctrl-C is under test.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# It must not import the package: some scripts register atexit handlers before they do.
PRELUDE: Final = """
from __future__ import annotations

import atexit, json, logging, os, signal, sys, threading, time

URL = sys.argv[1] if len(sys.argv) > 1 else ""

# As a terminal starts a program: nohup hands down that SIGHUP is ignored.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def say(**facts):
    os.write(1, (json.dumps({"pid": os.getpid(), **facts}) + "\\n").encode())


def say_stats(tracker, **facts):
    import attrs

    say(**attrs.asdict(tracker.stats()), **facts)


def track(tracker, count, label="event"):
    return [tracker.track_struct_event("test", "track", str(label), str(number)) for number in range(count)]


def starved_s():
    try:
        with open("/proc/thread-self/schedstat") as schedstat:
            return int(schedstat.read().split()[1]) / 1e9
    except OSError:
        return 0.0


def ctrl_c_when(happened):
    # Again, if it comes in the moment before a wait begins, where Python does not notice it until the wait is over.
    came = threading.Event()

    def handle(*_):
        came.set()
        raise KeyboardInterrupt

    def press():
        while not happened():
            time.sleep(0.001)
        while not came.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            came.wait(0.5)

    signal.signal(signal.SIGINT, handle)
    threading.Thread(target=press, daemon=True).start()


def last_words():
    say(last_statement_at=time.time(), starved_s=starved_s())

"""


@dataclass(frozen=True)
class Finished:
    """How a script ended.

    Attributes:
        status: Its exit status, negative for the signal that killed it.
        said: The JSON objects that it and its children printed with ``say``, in order.
        stderr: What it wrote there.
        ended_at: When it was gone, seconds since the epoch.
        seconds: How long it ran, interpreter start included.
        starved_s: How much of it its main thread was ready to run while the machine was busy with others (Linux).
    """

    status: int
    said: list[dict[str, Any]]
    stderr: str
    ended_at: float
    seconds: float
    starved_s: float

    def fact(self, name: str) -> Any:
        """The only value that was said under *name*."""
        (value,) = self.facts(name)
        return value

    def facts(self, name: str) -> list[Any]:
        """Every value that was said under *name*."""
        return [facts[name] for facts in self.said if name in facts]

    @property
    def exit_seconds(self) -> float:
        """From the script's `last_words()` to its end, without the time that other programs took from it."""
        starved_s = max(0.0, self.starved_s - float(self.fact("starved_s")))
        return self.ended_at - float(self.fact("last_statement_at")) - starved_s


class Running:
    """A script that runs; a context manager that leaves none of its processes behind.

    Args:
        script: The program, indented as you like. `PRELUDE` comes before it, and ``URL`` is the first of *arguments*.
        arguments: For ``sys.argv``.
        env: What differs in its environment; None for a variable that must not be there.
        python: The interpreter and its options.
    """

    def __init__(
        self,
        script: str,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        python: tuple[str, ...] = (sys.executable,),
    ) -> None:
        self._aborted = False
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        program = folder / "script.py"
        program.write_text(PRELUDE + textwrap.dedent(script), encoding="utf-8")
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        # Files, not pipes: a grandchild that outlives the script would keep a pipe open.
        with self._stdout.open("ab") as stdout, self._stderr.open("ab") as stderr:
            self._started = time.time()
            self.process = subprocess.Popen(
                [*python, "-X", "faulthandler", str(program), *arguments],
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment(env), start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exception: object) -> None:
        self._kill_all()
        self.process.wait()
        self._folder.cleanup()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(encoding="utf-8", errors="replace")

    @property
    def said(self) -> list[dict[str, Any]]:
        """What it has said so far."""
        lines = self._stdout.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def wait_until_said(self, name: str, times: int = 1, timeout: float = 20.0) -> list[Any]:
        """Wait until a fact was said so many times; returns its values."""

        def values() -> list[Any]:
            return [facts[name] for facts in self.said if name in facts]

        wait_until(lambda: len(values()) >= times or self.process.poll() is not None, timeout, f"{name} to be said")
        assert len(values()) >= times, f"the script ended without saying {name}:\n{self.stderr}"
        return values()

    def wait(self, timeout: float = 30.0) -> Finished:
        """Wait for its end; one that hangs shows its threads and fails the test."""
        watchdog = threading.Timer(timeout, self._abort)
        watchdog.start()
        starved_s = _wait_and_read_starvation(self.process.pid)
        status = self.process.wait()
        ended_at = time.time()
        watchdog.cancel()
        watchdog.join()
        assert not self._aborted, f"the script still ran after {timeout:g} s:\n{self.said}\n{self.stderr}"
        return Finished(status, self.said, self.stderr, ended_at, ended_at - self._started, starved_s)

    def _abort(self) -> None:
        self._aborted = True
        self.process.send_signal(signal.SIGABRT)  # faulthandler prints every thread's stack

    def _kill_all(self) -> None:
        if hasattr(os, "killpg"):
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # it is gone, and so are its children
                return
        elif self.process.poll() is None:
            self.process.kill()


def _wait_and_read_starvation(pid: int) -> float:
    """Wait for a child's end; how long its main thread had waited for a processor, in seconds (0 where unknown)."""
    if not hasattr(os, "waitid"):
        return 0.0
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it stays readable until it is reaped
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def run(
    script: str,
    *arguments: str,
    timeout: float = 30.0,
    env: Mapping[str, str | None] | None = None,
    status: int | None = 0,
    python: tuple[str, ...] = (sys.executable,),
) -> Finished:
    """Run a script to its end, see `Running`.

    Args:
        timeout: How long it may run, in seconds.
        status: What its exit status must be; None for any.
    """
    with Running(script, *arguments, env=env, python=python) as running:
        finished = running.wait(timeout)
    if status is not None:
        assert finished.status == status, f"exit status {finished.status}:\n{finished.said}\n{finished.stderr}"
    return finished


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """This process's environment for a child: with the project importable, without proxies, and with *changes*."""
    env = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    for name, value in (changes or {}).items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    return env


def starved_s() -> float:
    """How long this thread, ready to run, had to wait for a processor so far, in seconds (0 where unknown)."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def wait_until(condition: Any, timeout: float = 10.0, what: str = "the condition") -> None:
    """Wait until *condition* returns something true, or fail the test."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain for {what}"
        time.sleep(0.01)


def sleeps(pid: int) -> bool:
    """Whether a process waits in a system call (Linux), as of now."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def child_pids(pid: int) -> list[int]:
    """The children of a process (Linux), as of now."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:  # the thread ended meanwhile
            continue
    return found
