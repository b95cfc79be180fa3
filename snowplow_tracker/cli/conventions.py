"""What the commands have in common: exit statuses, the collector's address, and how they tell of trouble."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click

from snowplow_tracker.errors import ValidationError

NOT_DONE: Final = 1
"""Events were not delivered, or something is wrong; the same command may succeed later."""
REFUSED: Final = 3
"""The collector, or the pipeline's rules, refuse some events for good."""
INTERRUPTED: Final = 130

LOCAL_COLLECTOR: Final = "http://127.0.0.1:9090"

Command = TypeVar("Command", bound=Callable[..., Any])


class Trouble(click.ClickException):
    """What went wrong, in one sentence, and what to do about it.

    Args:
        message: The sentence.
        hint: What to do, as a line of its own.
        status: The exit status.
    """

    def __init__(self, message: str, hint: str = "", status: int = NOT_DONE) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = status  # type: ignore[misc,unused-ignore]  # an attribute of the class, to click

    def show(self, file: Any = None) -> None:
        click.echo(f"Error: {self.message}", file=file, err=file is None)
        if self.hint:
            click.echo(self.hint, file=file, err=file is None)


def collector_option(command: Command) -> Command:
    """Give a command the option ``--collector``, as the argument *collector*."""
    return click.option(
        "-c",
        "--collector",
        metavar="URL",
        default=LOCAL_COLLECTOR,
        show_default=True,
        envvar="SNOWPLOW_COLLECTOR",
        show_envvar=True,
        help="Where events go: a name (https), or http(s)://name[:port].",
    )(command)


def method_option(command: Command) -> Command:
    """Give a command the option ``--method``, as the argument *method*."""
    return click.option(
        "--method",
        type=click.Choice(["post", "get"]),
        default="post",
        show_default=True,
        help="get sends one event a request, as CloudFront and collectors of 2013 want it.",
    )(command)


@contextmanager
def usage_errors() -> Iterator[None]:
    """What the tracker refuses as an argument becomes a usage error of the command."""
    try:
        yield
    except ValidationError as error:
        raise click.UsageError(f"{error.problem.replace(_HOST, _COLLECTOR)}.", click.get_current_context()) from None


# The tracker's argument by the name that it has here.
_HOST: Final = "'host' must be the collector's host"
_COLLECTOR: Final = "--collector must be the collector's host"


class _Notes(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())


def _to_stderr(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def tracker_log(say: Callable[[str], None] = _to_stderr) -> Iterator[None]:
    """Show what the tracker logs, such as that the collector is lost or back."""
    logger = logging.getLogger("snowplow_tracker")
    notes, level = _Notes(say), logger.level
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(notes)
        logger.setLevel(level)
