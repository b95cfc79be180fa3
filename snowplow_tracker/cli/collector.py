"""``snowplow-tracker collector``."""

from __future__ import annotations

import click

from snowplow_tracker.collector.__main__ import main as collect


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9090, show_default=True, help="0 takes a free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.pass_context
def collector(ctx: click.Context, port: int, host: str) -> None:
    """Run a collector on this machine and print each event.

    It prints its address first, and then a line an event: good, or bad and why, as the real pipeline would judge it.
    Ctrl-C ends it.
    """
    ctx.exit(collect(["--port", str(port), "--host", host]))
