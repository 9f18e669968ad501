"""What all commands have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from parleyd.cli.commands import GROUPS


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


@pytest.mark.parametrize("words", [(), ("help",), ("--debug",), ("--help",)], ids=" ".join)
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


def test_help_has_the_options_of_one_command() -> None:
    asked, option = parleyd("help", "tools", "run"), parleyd("tools", "run", "--help")
    assert (asked.returncode, asked.stdout) == (os.EX_OK, option.stdout)
    assert asked.stdout.startswith("usage: parleyd tools run ")


def test_help_for_a_command_that_there_is_not() -> None:
    told = parleyd("help", "statsu")
    assert told.returncode == os.EX_USAGE
    assert "did you mean status?" in told.stderr
