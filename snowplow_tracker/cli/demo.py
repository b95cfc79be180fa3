"""``snowplow-tracker demo``."""

from __future__ import annotations

import click

from snowplow_tracker.demo.show import demonstrate


@click.command()
@click.pass_context
def demo(ctx: click.Context) -> None:
    """Watch a game, a collector and an outage for ten seconds.

    A game at 60 frames a second tracks what happens in it, to a collector on this machine that is down for two seconds
    in the middle. At the end the numbers must add up: nothing is lost, and nothing has held up the game.
    """
    ctx.exit(demonstrate())
