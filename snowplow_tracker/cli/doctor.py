"""``snowplow-tracker doctor``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import click

from snowplow_tracker.addresses import collector_url
from snowplow_tracker.cli.connection import Target, examine_connection
from snowplow_tracker.cli.conventions import NOT_DONE, method_option, usage_errors
from snowplow_tracker.cli.findings import Finding
from snowplow_tracker.cli.probes import APP_ID, examine_answer, examine_clock, examine_keep_alive, send_event
from snowplow_tracker.settings import Method

_COLOURS: Final = {"ok": "green", "note": "blue", "warn": "yellow", "FAIL": "red"}
_WIDTH: Final = 79
_INDENT: Final = 19


@click.command()
@click.argument("url")
@method_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each step.",
)
@click.option("--no-events", is_flag=True, help="Send nothing: look at name, port and certificate only.")
@click.pass_context
def doctor(ctx: click.Context, url: str, method: Method, timeout: float, no_events: bool) -> None:
    """Find out why events do not arrive at a collector.

    It looks up the name, connects, checks the certificate, and sends one event by POST and one by GET, as the tracker
    would. Their app id is snowplow-tracker-doctor, so that they are easily told from yours. Then it says what is wrong,
    and what to do.

    \b
    Exit statuses:
      0  events arrive by the method
      1  something keeps them from it
    """
    with usage_errors():
        target = Target.of(collector_url("URL", url, None, None, "post"))
    click.echo(f"Examining {target.origin}\n")
    findings = []
    for finding in _examine(target, method, timeout, not no_events):
        _show(finding)
        findings.append(finding)
    click.echo("")
    if any(finding.verdict == "FAIL" for finding in findings):
        click.echo(f"Events do not arrive there{'' if no_events else f' by {method.upper()}'}.")
        ctx.exit(NOT_DONE)
    click.echo("The way is open; no event was sent." if no_events else _ARRIVED)


_ARRIVED: Final = f"Events arrive; the app id of those that were sent is {APP_ID}."


def _examine(target: Target, method: Method, timeout_s: float, with_events: bool) -> Iterator[Finding]:
    found = []
    for finding in examine_connection(target, timeout_s):
        found.append(finding)
        yield finding
    if not with_events or (found and found[-1].verdict == "FAIL"):
        return
    other: Method = "get" if method == "post" else "post"
    wanted, besides = send_event(target, method, timeout_s), send_event(target, other, timeout_s)
    yield examine_answer(target, method, wanted)
    yield _not_needed(examine_answer(target, other, besides), method)
    heard = wanted if wanted.answer is not None else besides
    yield from examine_clock(heard)
    yield from examine_keep_alive(heard)


def _not_needed(finding: Finding, method: Method) -> Finding:
    """A failure of the method that is not used is worth knowing, no more."""
    if finding.verdict != "FAIL":
        return finding
    return replace(finding, verdict="note", advice=f"of no account while you send by {method.upper()}.")


def _show(finding: Finding) -> None:
    verdict = click.style(f"{finding.verdict:4}", fg=_COLOURS[finding.verdict], bold=finding.verdict == "FAIL")
    first, *rest = textwrap.wrap(finding.text, _WIDTH - _INDENT) or [""]
    click.echo(f"  {verdict}  {finding.topic:11}{first}")
    advice = textwrap.wrap(f"→ {finding.advice}", _WIDTH - _INDENT, subsequent_indent="  ") if finding.advice else []
    for line in [*rest, *advice]:
        click.echo(" " * _INDENT + line)
