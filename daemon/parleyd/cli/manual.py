"""The manual pages, into a folder such as /usr/local/share/man: `python -m parleyd.cli.manual FOLDER`.

They are made of what the help and docs/configuration.md are made of: the commands with their options and examples, and
the table of keys. packaging/debian/rules and scripts/install make them, so that none has to be kept up by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import parleyd
from parleyd.checks.document import default, sections, values
from parleyd.cli.commands import COMMANDS, GROUPS, SUMMARIES
from parleyd.cli.examples import EXAMPLES, Example
from parleyd.cli.main import parser_for
from parleyd.config.base import Secret
from parleyd.config.keys import Key, keys_of, limits
from parleyd.host.directories import SYSTEM_CONFIG

_CONFIG = str(SYSTEM_CONFIG)
_ALSO = (
    "/usr/share/doc/parleyd/README.md.gz and the handbook in /usr/share/doc/parleyd/docs, whose larger pages are read "
    "with **zless**(1)"
)


def command_page() -> str:
    """parleyd(1), as roff."""
    return _page(1, "PARLEYD", "User Commands", _command_lines())


def configuration_page() -> str:
    """parleyd.yaml(5), as roff."""
    return _page(5, "PARLEYD.YAML", "File Formats", _configuration_lines())


# By their places below the folder.
PAGES: dict[str, Callable[[], str]] = {
    "man1/parleyd.1": command_page,
    "man5/parleyd.yaml.5": configuration_page,
}


def _page(section: int, title: str, kind: str, lines: Iterator[str]) -> str:
    head = (
        f'.\\" Made by python -m parleyd.cli.manual.\n.TH {title} {section} "" "parleyd {parleyd.__version__}" "{kind}"'
    )
    # Without hyphenation, which would divide the names of keys, and without stretched lines.
    return "\n".join([head, ".nh", ".ad l", *lines]) + "\n"


# ---------------------------------------------------------------- parleyd(1)


def _command_lines() -> Iterator[str]:
    yield from _chapter("NAME", "parleyd - voice daemon: microphone and speaker in, voice agent out")
    yield from _chapter("SYNOPSIS", "**parleyd** [**--debug**] //COMMAND// [//OPTION//]...")
    yield from _chapter(
        "DESCRIPTION",
        "Listens locally, opens a session with a cloud voice agent when somebody speaks, and plays the agent's answer. "
        "**parleyd help** //COMMAND// prints the options of one command.",
    )
    parser = parser_for(COMMANDS)
    yield ".SH OPTIONS"
    yield from _options(parser)
    yield ".SH COMMANDS"
    for group, commands in GROUPS.items():
        yield f".SS {_text(group[0].upper() + group[1:])}"
        for command in commands:
            yield from _term(f"**{command}**", SUMMARIES[command])
    parsers = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in COMMANDS:
        yield from _command(command, parsers[command])
    yield ".SH FILES"
    for path, meaning in (
        (_CONFIG, "the configuration of the system service: **parleyd.yaml**(5)"),
        ("~/.config/parleyd/parleyd.yaml", "the configuration of the user service"),
        ("/var/lib/parleyd, ~/.local/state/parleyd", "what it keeps: minutes, volume, settings, timers, transcripts"),
        ("/etc/credstore.encrypted", "keys, stored by **parleyd secret**"),
    ):
        yield from _term(f"//{path}//", meaning)
    yield from _chapter(
        "EXIT STATUS",
        "As in **sysexits.h**(3head): 0 good, 64 wrong usage, 65 and 66 a bad or a missing file, 69 something is "
        "unavailable, 70 failed, 73 and 74 output that cannot be written, 75 no answer in time, 77 not allowed, 78 "
        "configuration, 130 after Ctrl-C (0 from **run**, **agent** and **demo --mic**, which usually end in this "
        "way); 1 from **status** when something is wrong.",
    )
    yield from _chapter("SEE ALSO", f"**parleyd.yaml**(5), {_ALSO}")


def _command(command: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f".SH {_text('parleyd ' + command)}"
    yield _inline(parser.description or SUMMARIES[command])
    yield from _options(parser)
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, inner in nested[0].choices.items() if nested else ():
        yield f".SS {_text(f'parleyd {command} {name}')}"
        yield _inline(inner.description or "")
        yield from _options(inner)
    yield from _examples(EXAMPLES.get(command, ()))


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser.formatter_class(prog=parser.prog)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.dest == "help" or action.help == argparse.SUPPRESS:
            continue
        # The words of the help itself, in which the defaults are filled in.
        shown = formatter._format_action_invocation(action)
        yield from _term(f"**{shown}**", formatter._expand_help(action) if action.help else "")


def _examples(examples: tuple[Example, ...]) -> Iterator[str]:
    if not examples:
        return
    yield ".PP"
    yield "Examples:"
    for line, meaning in examples:
        yield from _term(f"**parleyd {line}**", meaning)


# ---------------------------------------------------------------- parleyd.yaml(5)


def _configuration_lines() -> Iterator[str]:
    yield from _chapter("NAME", "parleyd.yaml - configuration of parleyd")
    yield from _chapter("SYNOPSIS", f"//{_CONFIG}//, //~/.config/parleyd/parleyd.yaml//")
    yield from _chapter(
        "DESCRIPTION",
        "One YAML file. Commands of a user other than root read that of the user service, where it is there. Every key "
        "has a default: write only what you change. Unknown keys are refused. Units are the end of a key's name: "
        "`_ms` milliseconds, `_s` seconds, `_db` decibels. `parleyd check -c FILE` lists all problems at once, and "
        "with `--all` every key with the value in force.",
    )
    yield from _chapter(
        "SECRETS",
        "Secrets stay out of this file. A key such as `elevenlabs.api_key` says where the secret is found, by one of "
        "these:",
    )
    for key in keys_of(Secret).values():
        yield from _term(f"`{{{key.name}: ...}}`", key.description)
    for section in sections():
        if section.path:
            yield f".SH {_text('.'.join(section.path))}"
            yield _inline(section.meaning)
        else:
            yield ".SH TOP LEVEL"
        for key in section.keys:
            yield from _term(f"**{key.name}**", f"{key.description} ({_facts(key)})")
    yield from _chapter("SEE ALSO", f"**parleyd**(1), {_ALSO}")


def _facts(key: Key) -> str:
    parts = [values(key), limits(key), default(key) if key.required else f"default {default(key)}"]
    return "; ".join(part for part in parts if part)


# ---------------------------------------------------------------- roff


def _chapter(title: str, text: str) -> Iterator[str]:
    yield f".SH {title}"
    yield _inline(text)


def _term(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield _inline(term)
    yield _inline(text) or r"\&"


def _inline(text: str) -> str:
    """One line of roff. text: with `code` and **bold** as in Markdown, [links](to) and //emphasis//."""
    text = re.sub(r"\[([^\]]+)\]\((?:[^)]+)\)", r"\1", " ".join(text.split()))
    parts = re.split(r"(`[^`]+`|\*\*.+?\*\*|(?<!:)//.+?//)", text)
    line = "".join(
        rf"\fB{_text(part.strip('`'))}\fR"
        if part.startswith("`")
        else rf"\fB{_text(part[2:-2])}\fR"
        if part.startswith("**")
        else rf"\fI{_text(part[2:-2])}\fR"
        if part.startswith("//")
        else _text(part)
        for part in parts
        if part
    )
    # A line that begins so is an order to roff.
    return r"\&" + line if line[:1] in (".", "'") else line


def _text(text: str) -> str:
    return (
        text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti").replace("^", r"\(ha").replace("`", r"\(ga")
    )


def write(folder: Path) -> None:
    """Raises OSError."""
    for name, page in PAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
