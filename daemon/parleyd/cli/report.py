"""`parleyd report`: one archive for a bug report, shown before it is written."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from parleyd.cli.bug_report import Part, archive, collect
from parleyd.cli.config_option import add_config
from parleyd.cli.terminal import rows, terminal_width, wrapped
from parleyd.cli.transcript import directory_of, in_words
from parleyd.config.schema import Config
from parleyd.core.errors import UserError
from parleyd.core.text import one_line, printable
from parleyd.doctor.table import CHECKS
from parleyd.host.interruptible import interruptible
from parleyd.transcript.reading import entries

_PICTURE = Path("parleyd-tune.png")
_QUESTION = "Write it? [y]es, [n]o, or the name of a file to read it:"
# Where fewer columns are left beside a file's name and size, what it is stands below them.
_LEAST_ABOUT = 24


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "report",
        description="Collects what a bug report needs in one archive: versions, the configuration with its secrets "
        "masked, the doctor's findings, status, usage, the log, and the picture of `parleyd tune` if there is one. "
        "What people said is left out. Everything is listed, and can be read, before the archive is written; it is "
        "sent nowhere.",
    )
    add_config(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: parleyd-report-DATE.tar.gz here")
    parser.add_argument(
        "--words",
        action="store_true",
        help="also what people wrote and said: prompts, the transcript since yesterday, messages of servers in the log",
    )
    parser.add_argument("--no-doctor", action="store_true", help="leave out the doctor, who takes some seconds")
    parser.add_argument("--picture", type=Path, metavar="FILE", help=f"of parleyd tune; default: {_PICTURE}, if there")
    parser.add_argument("--show", action="store_true", help="print all of it, and write nothing")
    parser.add_argument("--yes", action="store_true", help="write it without a question")
    parser.add_argument("--json", action="store_true", help="print the list of its files as JSON; needs --yes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    asks = not (args.yes or args.show)
    if args.json and not args.yes:
        raise UserError("--json cannot ask", "add --yes", os.EX_USAGE)
    if asks and not (sys.stdin.isatty() and sys.stdout.isatty()):
        text = "here nobody can be asked whether to write it"
        raise UserError(text, "--show prints it first; --yes writes it", os.EX_USAGE)
    if args.picture is not None and not args.picture.is_file():
        raise UserError(f"there is no picture {one_line(str(args.picture))}", "parleyd tune makes one", os.EX_NOINPUT)
    now = datetime.now()
    output = args.output or Path(f"parleyd-report-{now:%Y%m%d-%H%M%S}.tar.gz")
    parts = collect(
        args.config,
        checks=() if args.no_doctor else CHECKS,
        picture=args.picture or (_PICTURE if _PICTURE.is_file() else None),
        words=args.words,
        transcript=_transcript,
        began=_began,
    )
    if args.show:
        for part in parts:
            _show(part)
        return os.EX_OK
    if not args.json:
        _list(parts, output, words=args.words)
    if asks and not _agrees(parts):
        print("Nothing was written.")
        return os.EX_OK
    _write(output, archive(parts, output.name.removesuffix(".tar.gz"), time.time()))
    if args.json:
        files = [{"name": part.name, "about": part.about, "bytes": len(part.content)} for part in parts]
        print(json.dumps({"archive": str(output), "files": files, "words": args.words}, indent=2))
    else:
        print(wrapped(f"Written: {output} (only you can read it). Read it once more before you send it.", sys.stdout))
    return os.EX_OK


def _began(what: str) -> None:
    """On standard error, so that standard output can be piped."""
    print(wrapped(f"{what} ...", sys.stderr), file=sys.stderr, flush=True)


def _transcript(config: Config) -> str:
    since = datetime.now().astimezone() - timedelta(days=1)
    try:
        return "".join(f"{in_words(entry)}\n" for _, entry in entries(directory_of(config.transcript), since))
    except OSError as error:
        return f"it cannot be read: {error.strerror}\n"


def _list(parts: Sequence[Part], output: Path, *, words: bool) -> None:
    width = terminal_width()
    left_out = "what people said is in it" if words else "what people said is left out"
    text = f"{output}, a report of this device: secrets are masked, and {left_out}."
    print("\n".join(rows(text, width)) + "\n")
    longest = max(len(part.name) for part in parts)
    for part in parts:
        lead = f"  {part.name:<{longest}}  {_size(len(part.content)):>7}  "
        if width is not None and width < len(lead) + _LEAST_ABOUT:
            print(lead.rstrip())
            print("\n".join(rows(part.about, width, lead="    ", indent="    ")))
        else:
            print("\n".join(rows(part.about, width, lead=lead, indent=" " * len(lead))))
    print()


def _size(number: int) -> str:
    return f"{number} B" if number < 1000 else f"{number / 1000:.1f} kB"


def _agrees(parts: Sequence[Part]) -> bool:
    by_name = {part.name: part for part in parts}
    while True:
        try:
            with interruptible():
                said = input(f"{wrapped(_QUESTION, sys.stdout)} ").strip()
        except EOFError:
            print()
            return False
        if said.lower() in ("y", "yes"):
            return True
        if said.lower() in ("", "n", "no"):
            return False
        if said in by_name:
            _show(by_name[said])
        else:
            print(wrapped(f"There is no {one_line(said)}; there are: {', '.join(by_name)}", sys.stdout))


def _show(part: Part) -> None:
    print(wrapped(f"==== {part.name}: {part.about} ({_size(len(part.content))})", sys.stdout, indent="     "))
    print(printable(part.content.decode()) if part.is_text else "(a picture)")


def _write(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except FileExistsError:
        raise UserError(f"{path} exists already", "name another with -o FILE", os.EX_CANTCREAT) from None
    except OSError as error:
        text = f"{path} cannot be written: {error.strerror}"
        raise UserError(text, "name another place with -o FILE", os.EX_CANTCREAT) from None
