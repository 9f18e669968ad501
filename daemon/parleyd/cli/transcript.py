"""`parleyd transcript`: prints the conversations."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from parleyd.control.client import Client, NotRunningError, RefusedError
from parleyd.core.errors import UserError
from parleyd.core.text import json_escaped, one_line, printable
from parleyd.host.directories import SYSTEM_STATE, config_path, state_directory
from parleyd.transcript.files import DIRECTORY_NAME
from parleyd.transcript.reading import Entry, entries, follow, moment

if TYPE_CHECKING:
    from parleyd.config.retention import Transcript


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "transcript",
        description="Shows the transcript, the oldest first. It is written only with `transcript: {enabled: true}`.",
    )
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE",
        help=f"default: that of the running daemon, else {config_path()}",
    )  # fmt: skip
    parser.add_argument("-f", "--follow", action="store_true", help="print new lines as they are written")
    parser.add_argument("--since", metavar="WHEN", help="such as 90m, 2h, 3d, today, 2026-11-21 or 2026-11-21T18:00")
    parser.add_argument("--json", action="store_true", help="print the lines unchanged, a JSON object each")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        since = moment(args.since, datetime.now().astimezone()) if args.since else None
    except ValueError:
        hint = "use such as 90m, 2h, 3d, today, 2026-11-21 or 2026-11-21T18:00"
        raise UserError(f"--since {one_line(args.since)} is not a time", hint, os.EX_USAGE) from None
    directory = _of_daemon() if args.config is None else None
    why_none = ""
    if directory is None:
        path = args.config or config_path()
        settings = _settings(path)
        directory = directory_of(settings)
        if not path.exists():
            why_none = f"; no daemon runs here that could name another, and there is no {path}: name it with -c FILE"
        elif not settings.enabled:
            why_none = f"; it is switched off: set transcript.enabled to true in {path}"
    try:
        found = follow(directory, since) if args.follow else entries(directory, since)
        shown = _print(found, as_json=args.json)
    except FileNotFoundError:
        shown = 0
    except PermissionError:
        text = f"{directory} may not be read by this user"
        raise UserError(text, "use the daemon's user: sudo -u parleyd parleyd transcript", os.EX_NOPERM) from None
    except OSError as error:
        raise UserError(f"{directory} cannot be read: {error.strerror}", None, os.EX_IOERR) from error
    if not shown and not args.json:
        when = f" since {args.since}" if args.since else ""
        print(f"There is nothing in the transcript{when} ({directory}){why_none}.", file=sys.stderr)
    return os.EX_OK


def _of_daemon() -> Path | None:
    """The folder in which the running daemon writes the transcript, whatever file it was started with; None: it writes
    none, or no daemon runs."""
    try:
        with Client() as client:
            told = client.ask("status").get("transcript")
    except (NotRunningError, RefusedError):
        return None
    return Path(told) if isinstance(told, str) else None


def _settings(path: Path) -> Transcript:
    # Imported here, because a running daemon tells the folder, and then no configuration is read.
    from parleyd.checks.configuration import ConfigError, load
    from parleyd.config.retention import Transcript

    try:
        return load(path).config.transcript
    except ConfigError as error:
        if not path.exists() and path == config_path():
            return Transcript()
        raise UserError(str(error), None, os.EX_CONFIG) from None


def directory_of(settings: Transcript) -> Path:
    """The folder in which the daemon writes, started by systemd or by this user."""
    if settings.directory:
        return Path(settings.directory)
    try:
        own = state_directory() / DIRECTORY_NAME
    except OSError:
        own = SYSTEM_STATE / DIRECTORY_NAME
    return own if own.exists() or not SYSTEM_STATE.exists() else SYSTEM_STATE / DIRECTORY_NAME


def _print(found: Iterator[tuple[str, Entry]], *, as_json: bool) -> int:
    count = 0
    for line, entry in found:
        print(json_escaped(line) if as_json else in_words(entry), flush=True)
        count += 1
    return count


def in_words(entry: Entry) -> str:
    """A line such as `2026-11-21 18:00:12 you And tomorrow?`."""
    who = "you" if entry.speaker == "user" else one_line(entry.speaker)
    text = " ".join(printable(entry.text).split())
    if entry.interrupted:
        heard = f" after {entry.heard_ms / 1000:.1f} s" if entry.heard_ms else ""
        text = f"{text} … (interrupted{heard})" if text else f"(interrupted{heard})"
    return f"{entry.time.astimezone():%Y-%m-%d %H:%M:%S}  {who:<6} {text}"
