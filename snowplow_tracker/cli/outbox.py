"""``snowplow-tracker outbox``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import orjson

from snowplow_tracker.cli.bar import Bar
from snowplow_tracker.cli.conventions import (
    INTERRUPTED,
    NOT_DONE,
    REFUSED,
    Trouble,
    collector_option,
    method_option,
    tracker_log,
    usage_errors,
)
from snowplow_tracker.cli.outbox_contents import Contents, Share, read_contents, read_events
from snowplow_tracker.cli.outbox_draining import Drained, Draining
from snowplow_tracker.outbox_file import Corrupt, Unusable
from snowplow_tracker.settings import Method

_FILE: Final = click.Path(path_type=Path)


@click.group()
def outbox() -> None:
    """Look into an outbox file, export or deliver it.

    PATH is the file that a SQLiteEventStore keeps its events in. All commands work while other processes use it.
    """


@outbox.command()
@click.argument("path", type=_FILE)
def status(path: Path) -> None:
    """Say what waits in an outbox, and for whom."""
    with _readable(path):
        contents = read_contents(path)
    click.echo(_headline(contents, path))
    for share in contents.shares:
        click.echo(f"  {_share(share)}")


@outbox.command()
@click.argument("path", type=_FILE)
def export(path: Path) -> None:
    """Print the events in an outbox as JSON lines, and leave them there.

    Each line is an object of the wire's keys, as 'replay' reads it.
    """
    unreadable = 0
    out = sys.stdout.buffer
    with _readable(path):
        for event in read_events(path):
            if event is None:
                unreadable += 1
            else:
                out.write(orjson.dumps(event) + b"\n")
    out.flush()
    if unreadable:
        raise Trouble(f"{_events(unreadable, 'row')} of {path} could not be read as events.", status=NOT_DONE)


@outbox.command()
@click.argument("path", type=_FILE)
@collector_option
@method_option
@click.option(
    "--patience",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to go on while the collector takes nothing.",
)
def drain(path: Path, collector: str, method: Method, patience: float) -> None:
    """Deliver the events in an outbox, and delete those that arrived.

    Events keep their ids and times. What waits in other processes is taken from them; what they have in a request at
    this moment they settle themselves.

    \b
    Exit statuses:
      0    nothing is left to be delivered
      1    not every event, since the collector took none for too long
      3    the collector refused events for good; they are deleted, too
      130  interrupted
    """
    with _readable(path):
        total = read_contents(path).events
    bar = Bar("{task.completed:,.0f} of {task.total:,.0f} events", total)

    def show(drained: Drained) -> None:
        done = drained.delivered + drained.refused
        bar.show(drained.delivered, completed=done, total=max(total, done))  # processes may add events meanwhile

    draining, drained, interrupted = None, Drained(0, 0, remaining=total), False
    with bar, _readable(path):
        try:
            with usage_errors():
                draining = Draining(path, collector, method, patience, show)
            with tracker_log(bar.say):
                draining.run()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if draining is not None:
                draining.close()
                drained = draining.result()
    _conclude(drained, collector, bar.seconds, interrupted)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What is wrong with the file becomes a sentence."""
    try:
        yield
    except Unusable as error:
        raise Trouble(f"{path} can't be read as an outbox: {error}.", _hint(path)) from None
    except Corrupt as error:
        hint = "The next tracker that opens it puts it aside; 'sqlite3 FILE .recover' may save what is in it."
        raise Trouble(f"{path} is a broken outbox: {error}.", hint) from None


def _hint(path: Path) -> str:
    if not path.exists():
        return "There is no such file: is the path the one that was given to SQLiteEventStore?"
    return "An outbox is a file that a SQLiteEventStore has made."


def _headline(contents: Contents, path: Path) -> str:
    if not contents.events:
        return f"0 events wait in {path}"
    waits = "waits" if contents.events == 1 else "wait"
    return (
        f"{_events(contents.events)} {waits} in {path}: {_size(contents.size)}, "
        f"the oldest for {_duration(contents.oldest_s)}"
    )


def _share(share: Share) -> str:
    if share.holder.is_gone():
        return f"{share.events} of a process that is gone: the next one that opens the file delivers them"
    in_request = f", {share.in_request} of them in a request" if share.in_request else ""
    return f"{share.events} of process {share.holder.pid}, which is running{in_request}"


def _events(count: int, noun: str = "event") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1000:.1f} kB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _conclude(drained: Drained, collector: str, seconds: float, interrupted: bool) -> None:
    """Say what became of all of it, and end with the status for that."""
    refused = f"; refused: {drained.refused}" if drained.refused else ""
    click.echo(f"delivered {_events(drained.delivered)} to {collector} in {seconds:.1f} s{refused}")
    left = f"{_events(drained.remaining)} {'is' if drained.remaining == 1 else 'are'} still in the file"
    if interrupted:
        raise Trouble(f"Interrupted: {left}.", "Run the same command again to go on.", INTERRUPTED)
    if drained.remaining > drained.elsewhere:
        raise Trouble(f"The collector took nothing for too long: {left}.", "Run the same command again to go on.")
    if drained.remaining:
        click.echo(f"{left}, in a request of the process that tracked it")
    if drained.refused:
        click.get_current_context().exit(REFUSED)
