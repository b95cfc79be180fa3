"""The command line: one module a command, loaded when it is called.

So a command that needs what is not installed costs the others nothing, and ``--help`` lists all without importing any.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from snowplow_tracker.cli.conventions import INTERRUPTED, Trouble
from snowplow_tracker.version import __version__

PROGRAM: Final = "snowplow-tracker"
_NO_ARGUMENTS: Final = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""What click raises from 8.2 on, where 8.1 prints the help by itself."""


class _Entry(NamedTuple):
    """A command that can be loaded: from the module and the attribute of its name.

    Attributes:
        summary: Its line in ``--help``; a test holds it to the command's own.
        extra: What to install for it besides ``cli``, if anything.
    """

    summary: str
    extra: str = ""


COMMANDS: Final = {
    "demo": _Entry("Watch a game, a collector and an outage for ten seconds."),
    "collector": _Entry("Run a collector on this machine and print each event."),
    "track": _Entry("Send one event."),
    "replay": _Entry("Send the events in a file of JSON lines."),
    "doctor": _Entry("Find out why events do not arrive at a collector."),
    "outbox": _Entry("Look into an outbox file, export or deliver it."),
    "forward": _Entry("Deliver events from a Redis stream to a collector.", extra="redis"),
    "completion": _Entry("Print the completion script of a shell."),
}


class _Commands(click.Group):
    """The main group. It knows its commands by name, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            command: click.Command = getattr(import_module(f"{__name__}.{cmd_name}"), cmd_name)
        except ModuleNotFoundError as error:
            raise _not_installed(cmd_name, entry, str(error.name)) from None
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            nearest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
            ctx.fail(f"There is no command '{name}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [
            CompletionItem(name, help=entry.summary) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)


def _not_installed(name: str, entry: _Entry, module: str) -> Trouble:
    extras = ",".join(filter(None, ("cli", entry.extra)))
    hint = f"Install it with: pip install 'snowplow-event-tracker[{extras}]'"
    return Trouble(f"'{PROGRAM} {name}' needs {module}, which this Python does not have.", hint, status=2)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="\b\n'snowplow-tracker COMMAND --help' says more about each.\n"
    "Exit statuses: 0 done, 1 not done, 2 wrong use, 3 refused for good.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Send events to a Snowplow collector, and see what becomes of them.

    \b
    To begin with, in two terminals:
      snowplow-tracker collector
      snowplow-tracker track struct shop add-to-basket
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; default: those of the process.

    Returns:
        The exit status.
    """
    try:
        status = main.main(
            args=None if arguments is None else list(arguments),
            prog_name=PROGRAM,
            standalone_mode=False,
            color=_colour(),
        )
    except _NO_ARGUMENTS as error:  # the message is the help
        click.echo(error.format_message(), err=True)
        return int(error.exit_code)
    except click.UsageError as error:
        _show_usage(error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _colour() -> bool | None:
    """False where no colour is wanted; None lets click see whether it writes to a terminal (https://no-color.org)."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def _show_usage(error: click.UsageError) -> None:
    """One sentence and where to look, in place of click's four lines."""
    click.echo(f"Error: {error.format_message()}", file=sys.stderr)
    if error.ctx is not None:
        click.echo(f"Try '{error.ctx.command_path} --help'.", file=sys.stderr)
