"""What all commands have in common."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from parleyd.cli.commands import COMMANDS, GROUPS
from parleyd.cli.examples import EXAMPLES, block
from parleyd.cli.main import parser_for


def parleyd(*arguments: str, shell: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """shell: redirections."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-m", "parleyd", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_failure(closed: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("provider: local\naudio: off\n")
    told = parleyd("check", "-c", "good.yaml", shell=closed, folder=tmp_path)
    assert (told.returncode, told.stderr) == (os.EX_OK, "")
    assert (">&-" in f" {closed}".replace("2>&-", "")) == (told.stdout == "")


def test_a_command_that_is_nearly_one_is_recognised() -> None:
    told = parleyd("statsu")
    assert told.returncode == os.EX_USAGE
    assert "there is no command 'statsu'; did you mean status?" in told.stderr


@pytest.mark.parametrize("words", [(), ("--debug",)], ids=" ".join)
def test_who_types_no_command_is_shown_the_first_steps(words: tuple[str, ...]) -> None:
    told = parleyd(*words)
    assert (told.returncode, told.stderr) == (os.EX_OK, "")
    lines = told.stdout.splitlines()
    assert lines[2].startswith("first steps:")
    assert lines[3].split()[:2] == ["parleyd", "demo"]
    assert "`parleyd help` lists all commands" in told.stdout
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize("words", [("help",), ("--help",)], ids=" ".join)
def test_who_does_not_know_the_commands_is_shown_them(words: tuple[str, ...]) -> None:
    told = parleyd(*words)
    assert (told.returncode, told.stderr) == (os.EX_OK, "")
    lines = told.stdout.splitlines()
    for heading, group in GROUPS.items():
        below = lines[lines.index(f"{heading}:") + 1 :]
        shown = [line.split()[0] for line in below[: below.index("")] if line.startswith("  ") and line[2] != " "]
        assert shown == list(group)
    examples = lines[lines.index("examples:") + 1 :]
    assert [line.split()[:2] for line in examples[:2]] == [["parleyd", "demo"], ["parleyd", "run"]]
    assert max(map(len, lines)) < 80


def test_every_command_has_examples_and_each_of_them_can_be_typed() -> None:
    assert COMMANDS.keys() - EXAMPLES.keys() == set()
    for examples in (EXAMPLES[name] for name in EXAMPLES if not name or name.split()[0] in COMMANDS):
        for line, _ in examples:
            words = shlex.split(line)
            chosen = [word for word in words if word in COMMANDS][:1]
            assert chosen or words[0] == "help", line
            if chosen and words[0] != "help":
                # An unknown option or a missing word raises.
                parser_for(chosen).parse_args([word for word in words if word not in ("<", "key.txt")])


def test_the_examples_stand_at_the_end_of_the_help() -> None:
    told = parleyd("volume", "--help").stdout
    assert "\nexamples:\n  parleyd volume        show it\n" in told


def test_an_example_stands_above_its_comment_where_the_terminal_is_narrow() -> None:
    assert block("examples", [("volume 40", "quieter than it was before")], 30) == (
        "examples:\n  parleyd volume 40\n      quieter than it was\n      before\n"
    )
    assert block("examples", [("volume 40", "quieter")], 60) == "examples:\n  parleyd volume 40  quieter\n"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("status", "--json", "--socket", "none.sock"), os.EX_UNAVAILABLE, "parleyd is not running: "),
        (("tune", "--json", "--seconds", "x"), os.EX_USAGE, "argument --seconds: "),
        (("tools", "--json", "-c", "none.yaml"), os.EX_CONFIG, "none.yaml"),
        (("statsu", "--json"), os.EX_USAGE, "there is no command 'statsu'"),
    ],
    ids=["no daemon", "usage", "configuration", "no command"],
)
def test_who_asks_for_json_gets_errors_in_json(words: tuple[str, ...], code: int, text: str, tmp_path: Path) -> None:
    told = parleyd(*words, folder=tmp_path)
    error = json.loads(told.stdout)["error"]
    assert (told.returncode, told.stderr) == (code, "")
    assert text in error["text"]
    assert error["exit_code"] == code
    assert "hint" in error


def test_wrong_usage_is_told_with_the_usage() -> None:
    told = parleyd("volume", "loud")
    assert (told.returncode, told.stdout) == (os.EX_USAGE, "")
    assert told.stderr.startswith("usage: parleyd volume ")
    assert told.stderr.endswith("parleyd volume: argument LEVEL: 'loud' is not a volume; use 0 to 100, up or down\n")


def test_help_has_the_options_of_one_command() -> None:
    asked, option = parleyd("help", "tools", "run"), parleyd("tools", "run", "--help")
    assert (asked.returncode, asked.stdout) == (os.EX_OK, option.stdout)
    assert asked.stdout.startswith("usage: parleyd tools run ")


def test_help_for_a_command_that_there_is_not() -> None:
    told = parleyd("help", "statsu")
    assert told.returncode == os.EX_USAGE
    assert "did you mean status?" in told.stderr
