"""``snowplow-tracker completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(
    epilog="\b\nTo have it in every new shell:\n"
    "  bash  echo 'eval \"$(snowplow-tracker completion bash)\"' >> ~/.bashrc\n"
    "  zsh   echo 'eval \"$(snowplow-tracker completion zsh)\"' >> ~/.zshrc\n"
    "  fish  snowplow-tracker completion fish \\\n"
    "          > ~/.config/fish/completions/snowplow-tracker.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    With it, the Tab key completes commands, options and file names.
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click completes every shell that is offered"
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "snowplow-tracker", "_SNOWPLOW_TRACKER_COMPLETE").source())
