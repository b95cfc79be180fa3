"""``snowplow-tracker forward``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic, strftime
from types import FrameType
from typing import Any, Final

import click
from rich.console import Console
from rich.live import Live

from snowplow_tracker.cli.conventions import tracker_log
from snowplow_tracker.errors import ValidationError
from snowplow_tracker.forwarder import Forwarder, ForwardingFailed, Progress
from snowplow_tracker.redis_stream import RedisStreamStore

_LINES_EVERY_S: Final = 10.0


class _Rate:
    """Events a second: from one look to the next, and at the end over all."""

    def __init__(self) -> None:
        self._began = self._at = monotonic()
        self._delivered = 0

    def of(self, progress: Progress) -> float:
        then, before = (self._began, 0) if progress.ended else (self._at, self._delivered)
        self._at, self._delivered = monotonic(), progress.stats.delivered
        return (self._delivered - before) / max(self._at - then, 1e-3)


def _sentence(progress: Progress, per_second: float) -> str:
    """For a terminal of 80 columns; what is nothing is left out."""
    stats, backlog = progress.stats, progress.backlog
    parts = [f"{stats.delivered:,} delivered", f"{per_second:,.0f}/s"]
    if backlog is not None:
        waiting = "some" if backlog.waiting is None else f"{backlog.waiting:,}"
        parts.append(f"{waiting} waiting" if not backlog.all_read else "none waiting")
        parts += [f"{backlog.pending:,} in hand"] if backlog.pending else []
        parts += [f"oldest {_age(backlog.oldest_s)}"] if backlog.oldest_s >= 1 else []
        parts += [f"{backlog.trimmed:,} trimmed"] if backlog.trimmed else []
    dropped = sum(stats.dropped.values())
    parts += [f"{dropped:,} dropped"] if dropped else []
    parts += [f"{progress.poison:,} poison"] if progress.poison else []
    parts += ["Redis is away"] if progress.trouble else []
    return " · ".join(parts)


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _record(progress: Progress, per_second: float) -> str:
    """For a log: every number, by its name."""
    stats, backlog = progress.stats, progress.backlog
    numbers: dict[str, object] = {"delivered": stats.delivered, "per_second": round(per_second)}
    if backlog is not None:
        numbers |= {
            "waiting": "unknown" if backlog.waiting is None else backlog.waiting,
            "pending": backlog.pending,
            "oldest_s": round(backlog.oldest_s, 1),
            "trimmed": backlog.trimmed,
        }
    numbers |= {"retries": stats.retries, "dropped": sum(stats.dropped.values()), "poison": progress.poison}
    text = " ".join(f"{name}={number}" for name, number in numbers.items())
    return f"{strftime('%H:%M:%S')} {text}" + (f" ({progress.trouble})" if progress.trouble else "")


@contextmanager
def _display() -> Iterator[Callable[[Progress], None]]:
    """How progress is shown: a line that changes on a terminal, a line now and then elsewhere."""
    console, errors, rate = Console(highlight=False), Console(stderr=True, highlight=False), _Rate()
    if console.is_terminal:
        with Live("joining …", console=console, refresh_per_second=4) as live, _notes(console):
            yield lambda progress: live.update(_sentence(progress, rate.of(progress)))
        return
    with _notes(errors):
        yield _lines(rate)


def _lines(rate: _Rate) -> Callable[[Progress], None]:
    next_at = monotonic()

    def write(progress: Progress) -> None:
        nonlocal next_at
        if progress.ended or monotonic() >= next_at:
            next_at = monotonic() + _LINES_EVERY_S
            click.echo(_record(progress, rate.of(progress)))

    return write


def _notes(console: Console) -> AbstractContextManager[None]:
    """What the library logs, a line each, above the progress line."""
    return tracker_log(
        lambda text: console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    )


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the work in good order; the second one ends the process as it would have."""

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(number, former[number])
        stop()

    former: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in former:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _as_options(problem: str) -> str:
    """An argument error with the names that the arguments have here."""
    for argument, option in (
        ("url", "redis"),
        ("collector", "collector"),
        ("lease_s", "lease"),
        ("ca_certs", "ca-certs"),
    ):
        problem = problem.replace(f"'{argument}' must", f"--{option} must")
    return problem


@click.command()
@click.option(
    "--redis",
    "redis_url",
    metavar="URL",
    required=True,
    envvar="SNOWPLOW_REDIS",
    show_envvar=True,
    help="redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix://path. Other users of the machine see "
    "a password in an argument: set the variable.",
)
@click.option(
    "-c",
    "--collector",
    metavar="URL",
    required=True,
    envvar="SNOWPLOW_COLLECTOR",
    show_envvar=True,
    help="Where events go: a name (https), or http(s)://name[:port].",
)
@click.option("--stream", default="snowplow", show_default=True, help="The stream's name.")
@click.option("--group", default="forwarders", show_default=True, help="The consumer group's name.")
@click.option(
    "--lease",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="How long a silent forwarder keeps what it holds, before others take it.",
)
@click.option("--once", is_flag=True, help="End when the stream is empty.")
@click.option("--keep", is_flag=True, help="Leave delivered events in the stream, for other groups.")
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=500,
    show_default=True,
    help="The most events in one request.",
)
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many requests are under way at once.",
)
@click.option("--ca-certs", metavar="FILE", help="Certificates to trust, for rediss://; default the system's.")
def forward(
    redis_url: str,
    collector: str,
    stream: str,
    group: str,
    lease: float,
    once: bool,
    keep: bool,
    batch_size: int,
    threads: int,
    ca_certs: str | None,
) -> None:
    """Deliver events from a Redis stream to a collector.

    It reads what trackers have added (RedisStreamTransport), sends it, and deletes it once the collector has it. Run as
    many as you like: they share the work, and take over what a dead one held. SIGTERM and Ctrl-C end it, with nothing
    half-done; what it had not delivered is left to the others.

    Exit statuses: 0 done, 1 not done (try again), 2 wrong use.
    """
    try:
        store = RedisStreamStore(redis_url, stream, group, lease_s=lease, keep=keep, ca_certs=ca_certs)
        forwarder = Forwarder(store, collector, once=once, batch_size=batch_size, threads=threads)
    except ValidationError as error:
        raise click.UsageError(f"{_as_options(error.problem)}.") from None
    with _stopped_by_signals(forwarder.stop):
        try:
            with _display() as show:
                forwarder.run(show)
        except ForwardingFailed as error:
            raise click.ClickException(str(error)) from None
