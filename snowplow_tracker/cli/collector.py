"""``snowplow-tracker collector``."""

from __future__ import annotations

import click

from snowplow_tracker.collector.command import DEFAULT_HOST, DEFAULT_PORT, collect


@click.command(epilog="It can also be started without the extra 'cli': python -m snowplow_tracker.collector")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 takes a free port."
)
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="The address to listen on.")
@click.option(
    "--schemas",
    metavar="DIR",
    multiple=True,
    help="A folder of JSON Schemas, vendor/name/jsonschema/version, to judge events by; may be given several times.",
)
@click.option("--store", metavar="FILE", help="Keep what was collected, and judge it again at the next start.")
@click.pass_context
def collector(ctx: click.Context, port: int, host: str, schemas: tuple[str, ...], store: str | None) -> None:
    """Run a collector on this machine and print each event.

    It prints its address first, and then a line an event: good, or bad and why, as the real pipeline would judge it.
    Open the address in a browser to see the events as they come. Ctrl-C ends it.
    """
    ctx.exit(collect(host, port, schemas, store))
