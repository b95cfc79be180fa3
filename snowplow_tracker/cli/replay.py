"""``snowplow-tracker replay``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import click

from snowplow_tracker.cli.bar import Bar
from snowplow_tracker.cli.bookmark import Bookmark
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
from snowplow_tracker.cli.json_lines import Place, read_lines
from snowplow_tracker.cli.replaying import Outcome, Replay
from snowplow_tracker.settings import Method

_STDIN: Final = "-"
_LINES_TOLD: Final = 20


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@collector_option
@method_option
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="EVENTS",
    help="The most events a second.  [default: no limit]",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a collector that is away.",
)
@click.option("--restart", is_flag=True, help="Begin at the first line, whatever was replayed before.")
@click.option("--unchecked", is_flag=True, help="Send also what today's pipelines would refuse.")
def replay(
    file: str, collector: str, method: Method, rate: float | None, patience: float, restart: bool, unchecked: bool
) -> None:
    """Send the events in a file of JSON lines.

    FILE has one event a line, a JSON object of the wire's keys, as 'outbox export' and the collector's page write it;
    - is stdin. Events keep their ids and times. A line that the pipeline would refuse is reported and skipped.

    A replay that is interrupted goes on where it stopped when the same command is run again: FILE.replay, beside the
    file, keeps the place until all is sent.

    \b
    Exit statuses:
      0    every event was delivered
      1    not every event, since the collector was away too long
      3    some lines were skipped, or the collector refused events
      130  interrupted
    """
    if file == _STDIN:
        _replay(_Source(sys.stdin.buffer, None, Place()), collector, method, rate, patience, not unchecked)
        return
    path = Path(file)
    bookmark = Bookmark(path, collector)
    start = Place() if restart else bookmark.read()
    if start.line:
        click.echo(f"{start.line} lines were replayed before: going on at line {start.line + 1}", err=True)
    with path.open("rb") as stream:
        stream.seek(start.offset)
        _replay(_Source(stream, bookmark, start), collector, method, rate, patience, not unchecked)


class _Source:
    """Where the lines come from, and where their place is kept."""

    def __init__(self, stream: BinaryIO, bookmark: Bookmark | None, start: Place) -> None:
        self.stream = stream
        self.start = start
        self.size = bookmark.file.stat().st_size if bookmark else None
        self._bookmark = bookmark

    def keep(self, place: Place, tell: Callable[[str], None]) -> None:
        """Remember *place*; where that is not possible, say so once and go on without."""
        if self._bookmark is None:
            return
        try:
            self._bookmark.write(place)
        except OSError as error:
            tell(f"{self._bookmark.path} can't be written ({error.strerror}): an interrupted replay would begin anew")
            self._bookmark = None

    def finish(self) -> None:
        """All is sent."""
        if self._bookmark is not None:
            self._bookmark.remove()

    @property
    def hint(self) -> str:
        """How to go on after an interruption."""
        return "Run the same command again to go on." if self._bookmark is not None else ""


class _Progress(Bar):
    """The bar of a replay, and the first few sentences about single lines."""

    def __init__(self, source: _Source) -> None:
        super().__init__("{task.fields[events]:,} events", source.size, source.start.offset, events=0)
        self._told = 0

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        if self._told > _LINES_TOLD:
            click.echo(f"and {self._told - _LINES_TOLD} more lines like these", err=True)

    def tell_of_line(self, text: str) -> None:
        """As `say`, for the first few."""
        self._told += 1
        if self._told <= _LINES_TOLD:
            self.say(text)


def _replay(source: _Source, collector: str, method: Method, rate: float | None, patience: float, judged: bool) -> None:
    progress = _Progress(source)

    def settled(outcome: Outcome) -> None:
        source.keep(outcome.place, progress.say)
        progress.show(outcome.delivered, completed=outcome.place.offset, events=outcome.delivered)

    with usage_errors():
        run = Replay(collector, method, rate or 0.0, patience, progress.tell_of_line, settled)
    interrupted = False
    with progress:
        try:
            with tracker_log(progress.say):
                run.run(read_lines(source.stream, source.start, judged=judged))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            run.close()  # not logged: what it gives up is still in the file
        if interrupted or run.outcome.stopped:
            source.keep(run.outcome.place, progress.say)
    _conclude(run.outcome, source, collector, progress.seconds, interrupted)


def _conclude(outcome: Outcome, source: _Source, collector: str, seconds: float, interrupted: bool) -> None:
    """Say what became of all of it, and end with the status for that."""
    left_out = [
        f"; {what}: {count}"
        for what, count in (("lines skipped", outcome.skipped), ("events refused", outcome.refused))
        if count
    ]
    click.echo(f"delivered {outcome.delivered} events to {collector} in {seconds:.1f} s{''.join(left_out)}")
    if interrupted:
        raise Trouble(f"Interrupted before line {outcome.place.line + 1}.", source.hint, INTERRUPTED)
    if outcome.stopped:
        status = REFUSED if outcome.refused else NOT_DONE
        raise Trouble(f"Stopped before line {outcome.place.line + 1}: {outcome.stopped}.", source.hint, status)
    source.finish()
    if outcome.skipped or outcome.refused:
        click.get_current_context().exit(REFUSED)
