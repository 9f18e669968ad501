"""The manual pages say what the help and docs/configuration.md say, and can be read on a terminal of 80 columns."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from parleyd.checks.document import document, sections
from parleyd.cli.commands import COMMANDS
from parleyd.cli.main import parser_for
from parleyd.cli.manual import PAGES, write
from parleyd.config.keys import all_keys

needs_man = pytest.mark.skipif(
    shutil.which("man") is None or shutil.which("groff") is None, reason="man or groff is missing"
)


def shown(folder: Path, name: str, columns: int = 80) -> str:
    """The page as a reader sees it; what man finds fault with ends the test."""
    environment = os.environ | {"MANWIDTH": str(columns), "LC_ALL": "C.UTF-8", "MANROFFOPT": ""}
    command = ["man", "--warnings=all", "--local-file", str(folder / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("man")
    write(made)
    return made


def plain(text: str) -> str:
    return " ".join(text.split())


@needs_man
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_into_80_columns_and_man_finds_no_fault(folder: Path, name: str) -> None:
    lines = shown(folder, name).splitlines()
    assert len(lines) > 500
    assert [line for line in lines if len(line) > 80] == []
    # Markdown and roff that nobody has turned into anything.
    assert [line for line in lines if re.search(r"`|\*\*|\]\(|\\f|\\-", line)] == []


@needs_man
def test_every_key_is_there_with_its_meaning(folder: Path) -> None:
    page = shown(folder, "man5/parleyd.yaml.5", columns=5000)
    text = plain(page)
    headings = set(re.findall(r"^(\S.*)$", page, re.MULTILINE))
    keys = [key for section in sections() for key in section.keys]
    assert {key.dotted for key in all_keys() if key.section is None} <= {key.dotted for key in keys}
    assert {".".join(section.path) for section in sections() if section.path} <= headings
    for key in keys:
        said = key.description.replace("`", "").replace("**", "")
        said = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", said)
        assert plain(f"{key.name} {said}") in text, key.dotted


@needs_man
def test_every_command_and_option_is_there(folder: Path) -> None:
    page = shown(folder, "man1/parleyd.1", columns=5000)
    parsers = next(
        action.choices for action in parser_for(COMMANDS)._actions if isinstance(action, argparse._SubParsersAction)
    )
    for command, parser in parsers.items():
        chapter = re.search(rf"^parleyd {command}$(.*?)^\S", page, re.MULTILINE | re.DOTALL)
        assert chapter is not None, command
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
                continue
            for option in action.option_strings:
                assert option in chapter[1], f"{command} {option}"


def test_every_action_of_a_command_says_what_it_does() -> None:
    """In its own help and in the manual page, which have nothing else than its options otherwise."""
    nested = [
        (command, name, inner)
        for command in COMMANDS
        for _, parser in _actions(parser_for([command]))
        for name, inner in _actions(parser)
    ]
    assert nested
    assert [f"{command} {name}" for command, name, inner in nested if not inner.description] == []


def _actions(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return list(nested[0].choices.items()) if nested else []


def test_the_sections_are_those_of_the_handbook() -> None:
    titles = re.findall(r"^## `(.*)`$", document(), re.MULTILINE)
    assert titles == [".".join(section.path) for section in sections() if section.path]
