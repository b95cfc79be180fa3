"""The command line as a whole: what it lists, how it fails, what it loads, and how it looks."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from command import PROGRAM, Shell, on_a_terminal, run_program
from processes import ROOT, environment, run

from snowplow_tracker import __version__
from snowplow_tracker.cli import COMMANDS
from snowplow_tracker.testing import LocalCollector


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def commands_here() -> list[click.Command]:
    """The commands of this installation, and the ones within them."""
    names = [name for name in COMMANDS if find_spec(f"snowplow_tracker.cli.{name}")]
    return [getattr(import_module(f"snowplow_tracker.cli.{name}"), name) for name in names]


def paths(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))


PATHS = [(), *(path for command in commands_here() for path in paths(command, (str(command.name),)))]


# --- help ------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(shell: Shell) -> None:
    ended = shell("--help")
    assert ended.status == 0
    listed = re.findall(r"^  ([a-z]+)  +[A-Z]", ended.out.partition("Commands:")[2], re.MULTILINE)
    assert listed == ["demo", "collector", "track", "replay", "doctor", "outbox", "forward", "completion"]


@pytest.mark.parametrize("command", commands_here(), ids=lambda command: str(command.name))
def test_a_commands_line_in_the_help_is_the_first_of_its_own(command: click.Command) -> None:
    assert command.get_short_help_str(limit=80) == COMMANDS[str(command.name)].summary


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_help_says_what_the_command_is_for_in_80_columns(shell: Shell, path: tuple[str, ...]) -> None:
    ended = shell(*path, "--help")
    assert ended.status == 0
    assert re.search(r"^  [A-Z].*\.$", ended.out, re.MULTILINE | re.DOTALL)
    assert [line for line in ended.out.splitlines() if len(line) > 80] == []


def test_help_loads_no_command() -> None:
    finished = run(
        """
        from snowplow_tracker.cli import run
        try:
            run(["--help"])
        finally:
            say(loaded=[name for name in sys.modules if name.startswith(("snowplow_tracker.", "rich"))])
        """
    )
    loaded = finished.fact("loaded")
    assert [name for name in loaded if name.startswith("snowplow_tracker.cli.")] == ["snowplow_tracker.cli.conventions"]
    assert not {"rich", "snowplow_tracker.collector", "snowplow_tracker.demo"} & set(loaded)


def test_without_arguments_it_shows_what_there_is(shell: Shell) -> None:
    ended = shell()
    assert ended.status in (0, 2), "click 8.1 takes it for a wish, 8.2 for wrong use"
    assert "snowplow-tracker track struct shop add-to-basket" in ended.out + ended.err
    assert "Error" not in ended.err


# --- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["trak"], "There is no command 'trak'. Did you mean 'track'?"),
        (["xyz"], "There is no command 'xyz'."),
        (["--verison"], "--verison"),
        (["collector", "--port", "70000"], "70000 is not in the range 0<=x<=65535."),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'."),
        (["replay", "no-such-file.jsonl"], "File 'no-such-file.jsonl' does not exist."),
        (["doctor"], "Missing argument 'URL'."),
    ],
)
def test_wrong_use_is_one_sentence_and_a_hint(shell: Shell, arguments: list[str], error: str) -> None:
    ended = shell(*arguments)
    assert ended.status == 2
    first, second = ended.err.splitlines()
    assert first.startswith("Error: ")
    assert error.removesuffix(".") in first
    assert re.fullmatch(r"Try 'snowplow-tracker.* --help'\.", second)


def test_without_its_packages_it_says_what_to_install_and_does_not_fail_otherwise() -> None:
    finished = run(
        """
        sys.modules["click"] = None  # what an import of a package that is not there meets
        from snowplow_tracker.__main__ import main
        sys.exit(main())
        """,
        status=2,
    )
    assert finished.stderr == (
        "Error: the command line needs click, which this Python does not have.\n"
        "Install it with: pip install 'snowplow-event-tracker[cli]'\n"
    )


def test_a_command_whose_package_is_missing_says_so_and_the_others_work() -> None:
    finished = run(
        """
        sys.modules["rich.progress"] = None
        from snowplow_tracker.cli import run
        say(replay=run(["replay", "-"]), version=run(["--version"]))
        """
    )
    assert (finished.fact("replay"), finished.fact("version")) == (2, 0)
    assert "'snowplow-tracker replay' needs rich.progress" in finished.stderr
    assert "pip install 'snowplow-event-tracker[cli]'" in finished.stderr


# --- the program -----------------------------------------------------------------------------------------------


def test_the_program_and_the_module_are_the_same() -> None:
    assert run_program("--version").out == f"snowplow-tracker {__version__}\n"
    by_module = subprocess.run(
        [sys.executable, "-m", "snowplow_tracker", "--version"],
        capture_output=True, encoding="utf-8", env=environment(), check=True,
    )  # fmt: skip
    assert by_module.stdout == f"snowplow-tracker {__version__}\n"


def test_the_collector_prints_its_address_first_and_ends_well_on_ctrl_c() -> None:
    with subprocess.Popen(
        [*PROGRAM, "collector", "--port", "0"], stdout=subprocess.PIPE, env=environment(), encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        sent = run_program("track", "page", "https://acme.com/", "--collector", url)
        assert sent.status == 0, sent.err
        assert process.stdout.readline().startswith("GOOD  page_view")
        process.send_signal(2)
        assert process.wait(10) == 0


def test_colour_is_for_terminals_that_want_it() -> None:
    with LocalCollector() as collector:
        command = ("doctor", collector.url, "--no-events")
        assert "\x1b[32m" in on_a_terminal(*command)
        assert "\x1b" not in on_a_terminal(*command, NO_COLOR="1")
        assert "\x1b" not in on_a_terminal(*command, TERM="dumb")
        assert "\x1b" not in run_program(*command).out


# --- completion ------------------------------------------------------------------------------------------------


def test_the_collector_takes_schemas_and_a_store(tmp_path: Path) -> None:
    folder = tmp_path / "com.acme" / "save_game" / "jsonschema"
    folder.mkdir(parents=True)
    (folder / "1-0-0").write_text('{"type": "object", "properties": {"slot": {"type": "integer"}}}')
    command = [*PROGRAM, "collector", "--port", "0", "--schemas", str(tmp_path), "--store", str(tmp_path / "kept")]
    uri = "iglu:com.acme/save_game/jsonschema/1-0-0"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        sent = run_program("track", "self-describing", uri, "--json", '{"slot": "three"}', "--collector", url)
        assert sent.status == 0, sent.err
        line = process.stdout.readline()
        process.terminate()
        assert process.wait(10) == 0
    assert line.startswith("BAD")
    assert "slot" in line
    assert (tmp_path / "kept").exists()


COMPLETIONS = {
    "tr": ["track"],
    "track s": ["screen", "self-describing", "struct"],
    "track page --ti": ["--title", "--timeout"],
    "track page --platform c": ["cnsl"],
    "outb": ["outbox"],
}


def test_the_tab_key_completes() -> None:
    """By the script that is printed, in a real bash."""
    script = f"""
        PATH={PROGRAM[0].rpartition("/")[0]}:$PATH
        eval "$(snowplow-tracker completion bash)"
        complete_it=$(complete -p snowplow-tracker | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        while read -r typed; do
            COMP_WORDS=(snowplow-tracker $typed); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
            $complete_it snowplow-tracker < /dev/null
            echo "$typed: ${{COMPREPLY[*]}}"
        done
        """
    ended = subprocess.run(
        ["bash", "-c", script],
        input="".join(f"{typed}\n" for typed in COMPLETIONS),
        capture_output=True, encoding="utf-8", env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert ended.stdout.splitlines() == [f"{typed}: {' '.join(offered)}" for typed, offered in COMPLETIONS.items()]


@pytest.mark.parametrize(("name", "registers"), [("zsh", "compdef"), ("fish", "complete --no-files --command")])
def test_other_shells_have_a_script_too(shell: Shell, name: str, registers: str) -> None:
    ended = shell("completion", name)
    assert ended.status == 0
    assert registers in ended.out
    assert "_SNOWPLOW_TRACKER_COMPLETE" in ended.out


# --- documentation ---------------------------------------------------------------------------------------------


def test_the_page_lists_every_command() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE) == list(COMMANDS)


def test_every_event_that_the_page_tracks_arrives(
    shell: Shell, collector: LocalCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNOWPLOW_COLLECTOR", collector.url)
    page = (ROOT / "docs" / "cli.md").read_text("utf-8").replace("\\\n", " ")
    commands = re.findall(r"^    snowplow-tracker (track .*)", page, re.MULTILINE)
    for command in commands:
        ended = shell(*shlex.split(command))
        assert ended.status == 0, ended.err
    assert len(collector.events) == len(commands) >= 5
    assert collector.bad == []
