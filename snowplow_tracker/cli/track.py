"""``snowplow-tracker track``: one event from a shell."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import click

from snowplow_tracker.cli.conventions import (
    LOCAL_COLLECTOR,
    REFUSED,
    Trouble,
    collector_option,
    method_option,
    tracker_log,
    usage_errors,
)
from snowplow_tracker.outcomes import Receipt, Stats
from snowplow_tracker.self_describing_json import SelfDescribingJson
from snowplow_tracker.subject import PLATFORMS
from snowplow_tracker.tracker import Tracker

Command = TypeVar("Command", bound=Callable[..., Any])

_STDIN: Final = "-"


# --- options ---------------------------------------------------------------------------------------------------


def _number(ctx: click.Context, option: click.Parameter, text: str | None) -> Decimal | None:
    """A number as it was written: a float would turn 2 into 2.0."""
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        raise click.BadParameter(f"{text!r} is not a number.") from None


def _json_option(text: str) -> Callable[[Command], Command]:
    return click.option("--json", "json_text", metavar="JSON", help=f"{text} - reads it from stdin.")


_ARGUMENTS_AS_JSON: Final = _json_option("The arguments as one JSON object, by their names.")

_COMMON: Final = (
    collector_option,
    method_option,
    click.option("--app-id", metavar="ID", help="Which application the event is from."),
    click.option("--user-id", metavar="ID", help="Which user it is about."),
    click.option("--platform", type=click.Choice(PLATFORMS), help="Where it happened.  [default: pc]"),
    click.option("--namespace", metavar="NAME", help="The tracker's name."),
    click.option(
        "--context",
        "contexts",
        metavar="JSON",
        multiple=True,
        help='An entity to attach, {"schema": …, "data": …}; may be given several times.',
    ),
    click.option(
        "--tstamp", type=float, metavar="SECONDS", help="When it happened, seconds since 1970.  [default: now]"
    ),
    click.option("--true-timestamp", type=int, metavar="MS", help="When it truly happened, milliseconds since 1970."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=5.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to try to deliver it.",
    ),
)


def _common_options(command: Command) -> Command:
    for option in reversed(_COMMON):
        command = option(command)
    return command


# --- JSON ------------------------------------------------------------------------------------------------------


def _parsed(option: str, text: str) -> Any:
    """The JSON of an option, or of stdin for ``-``."""
    try:
        return json.loads(sys.stdin.buffer.read() if text == _STDIN else text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{option} must be JSON: {error}.", click.get_current_context()) from None


def _parsed_object(option: str, text: str) -> dict[str, Any]:
    value = _parsed(option, text)
    if not isinstance(value, dict):
        raise click.UsageError(
            f"{option} must be a JSON object, got {type(value).__name__}.", click.get_current_context()
        )
    return value


def _described(option: str, text: str) -> SelfDescribingJson:
    value = _parsed_object(option, text)
    if value.keys() != {"schema", "data"}:
        problem = f'{option} must be a JSON object of "schema" and "data", got the keys {sorted(value)}.'
        raise click.UsageError(problem, click.get_current_context())
    return SelfDescribingJson(value["schema"], value["data"])


def _arguments(given: Mapping[str, Any], json_text: str | None, required: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a ``track_*`` call, from the command line or from ``--json``."""
    context = click.get_current_context()
    stated = {name: value for name, value in given.items() if value is not None}
    if json_text is not None:
        told = _parsed_object("--json", json_text)
        unknown = [name for name in told if name not in given]
        if unknown:
            raise click.UsageError(f"--json has no argument {unknown[0]!r}; there are {', '.join(given)}.", context)
        stated = {**told, **stated}
    for name in required:
        if name not in stated:
            raise click.UsageError(f"'{name}' is missing.", context)
    return stated


# --- commands --------------------------------------------------------------------------------------------------


@click.group(short_help="Send one event.")
def track() -> None:
    """Send one event, and wait until the collector has it.

    \b
    Exit statuses:
      0  the collector took it
      1  it could not be delivered in time; another attempt may succeed
      2  it is not a valid event, or the command is wrong; nothing was sent
      3  the collector refuses it for good
    """


@track.command()
@click.argument("page_url", metavar="URL", required=False)
@click.option("--title", "page_title", help="The page's title.")
@click.option("--referrer", metavar="URL", help="Where the user came from.")
@_ARGUMENTS_AS_JSON
@_common_options
def page(page_url: str | None, page_title: str | None, referrer: str | None, json_text: str | None, **how: Any) -> None:
    """Track that a page was seen.

    \b
    snowplow-tracker track page https://acme.com/ --title Home
    echo '{"page_url": "https://acme.com/"}' | \\
      snowplow-tracker track page --json -
    """
    given = {"page_url": page_url, "page_title": page_title, "referrer": referrer}
    arguments = _arguments(given, json_text, ("page_url",))
    _send(lambda tracker, more: tracker.track_page_view(**arguments, **more), how)


@track.command()
@click.argument("category", required=False)
@click.argument("action", required=False)
@click.option("--label", help="What it was done to.")
@click.option("--property", help="A detail.")
@click.option("--value", metavar="NUMBER", callback=_number, help="A number.")
@_ARGUMENTS_AS_JSON
@_common_options
def struct(
    category: str | None,
    action: str | None,
    label: str | None,
    property: str | None,
    value: Decimal | None,
    json_text: str | None,
    **how: Any,
) -> None:
    """Track something that fits into five fields.

    \b
    snowplow-tracker track struct shop add-to-basket --label sword --value 2
    """
    given = {"category": category, "action": action, "label": label, "property": property, "value": value}
    arguments = _arguments(given, json_text, ("category", "action"))
    _send(lambda tracker, more: tracker.track_struct_event(**arguments, **more), how)


@track.command()
@click.argument("name", required=False)
@click.option("--id", help="Any text that tells the screen from others.")
@_ARGUMENTS_AS_JSON
@_common_options
def screen(name: str | None, id: str | None, json_text: str | None, **how: Any) -> None:
    """Track that a screen was seen.

    \b
    snowplow-tracker track screen "HUD > Save Game" --id screen23
    """
    arguments = _arguments({"name": name, "id": id}, json_text, ("name",))
    _send(lambda tracker, more: tracker.track_screen_view(**arguments, **more), how)


@track.command()
@click.argument("name")
@_json_option("The properties, a flat JSON object.")
@click.option(
    "--event-vendor",
    metavar="VENDOR",
    help="Your reversed domain, such as com.acme: sends the event as iglu:VENDOR/NAME/jsonschema/1-0-0. Without it, "
    "the event has the form of 2013, which today's pipelines refuse.",
)
@_common_options
def unstruct(name: str, json_text: str | None, event_vendor: str | None, **how: Any) -> None:
    """Track an event of your own, by name and properties.

    \b
    snowplow-tracker track unstruct save-game --event-vendor com.acme \\
      --json '{"slot": 1, "level$int": 23, "hard": true}'
    """
    properties = _parsed_object("--json", "{}" if json_text is None else json_text)
    if event_vendor is None:
        click.echo("Warning: without --event-vendor, today's pipelines refuse this event.", err=True)
    _send(lambda tracker, more: tracker.track_unstruct_event(name, properties, **more), how, event_vendor)


@track.command("self-describing")
@click.argument("schema", required=False)
@_json_option("The event's data; without SCHEMA an object of both, schema and data.")
@_common_options
def self_describing(schema: str | None, json_text: str | None, **how: Any) -> None:
    """Track anything that has a schema.

    \b
    snowplow-tracker track self-describing \\
      iglu:com.acme/save_game/jsonschema/1-0-0 --json '{"slot": 1}'
    echo '{"schema": "iglu:com.acme/…", "data": {…}}' | \\
      snowplow-tracker track self-describing --json -
    """
    if json_text is None:
        raise click.UsageError("The data is missing: give it with --json.", click.get_current_context())
    with usage_errors():
        if schema is None:
            event = _described("--json", json_text)
        else:
            event = SelfDescribingJson(schema, _parsed("--json", json_text))
    _send(lambda tracker, more: tracker.track_self_describing_event(event, **more), how)


# --- sending ---------------------------------------------------------------------------------------------------

Call = Callable[[Tracker, dict[str, Any]], Receipt]


def _send(call: Call, how: Mapping[str, Any], event_vendor: str | None = None) -> None:
    """Track with *call*, deliver, and say what became of it."""
    with tracker_log():
        with usage_errors(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that of the flat form: the command has said so
            more = {
                "context": [_described("--context", text) for text in how["contexts"]],
                "tstamp": how["tstamp"],
                "true_timestamp": how["true_timestamp"],
            }
            tracker = _tracker(how, event_vendor)
            receipt = call(tracker, more)
        if not receipt:
            raise Trouble(f"The event was not taken: {receipt.message}.", _why_not(receipt))
        tracker.close(how["timeout"])
    _report(receipt, tracker.stats(), how)


def _tracker(how: Mapping[str, Any], event_vendor: str | None) -> Tracker:
    tracker = Tracker.hostname(
        how["collector"],
        method=how["method"],
        namespace=how["namespace"],
        app_id=how["app_id"],
        event_vendor=event_vendor,
        request_timeout=how["timeout"],
    )
    return tracker.set_platform(how["platform"]).set_user_id(how["user_id"])


def _why_not(receipt: Receipt) -> str:
    return "SNOWPLOW_DISABLED is set in the environment." if "disabled" in str(receipt.message) else ""


def _report(receipt: Receipt, stats: Stats, how: Mapping[str, Any]) -> None:
    collector = how["collector"]
    if stats.delivered:
        click.echo(f"delivered {receipt.event_id} to {collector}")
        return
    if stats.dropped["refused"] or stats.dropped["too_large"]:
        raise Trouble(f"{collector} refuses the event.", _doctor(collector), REFUSED)
    raise Trouble(f"The event could not be delivered to {collector} within {how['timeout']:g} s.", _doctor(collector))


def _doctor(collector: str) -> str:
    if collector == LOCAL_COLLECTOR:
        return "Is one running here? To start it: snowplow-tracker collector"
    return f"To find out why: snowplow-tracker doctor {collector}"
