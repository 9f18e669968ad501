"""`parleyd transcript`: what was said."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from parleyd.cli.errors import CommandError
from parleyd.config.keeping import Transcript
from parleyd.config.loader import ConfigError, load
from parleyd.host.directories import SYSTEM_CONFIG, SYSTEM_STATE, config_path, state_directory
from parleyd.shown import json_escaped, one_line, printable
from parleyd.transcript.files import DIRECTORY_NAME
from parleyd.transcript.reading import Entry, entries, follow, moment


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "transcript",
        help="show what was said",
        description="Shows the transcript, the oldest first. It is written only with `transcript: {enabled: true}`.",
    )
    parser.add_argument(
        "-c", "--config", type=Path, default=config_path(), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on, with what is said from now on")
    parser.add_argument(
        "--since", metavar="WHEN", help="such as 90m, 2h, 3d, today, 2026-11-21 or 2026-11-21T18:00"
    )
    parser.add_argument("--json", action="store_true", help="print the lines as they were written, a JSON object each")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        since = moment(args.since, datetime.now().astimezone()) if args.since else None
    except ValueError:
        mend = "use such as 90m, 2h, 3d, today, 2026-11-21 or 2026-11-21T18:00"
        raise CommandError(f"--since {one_line(args.since)} is no time", mend, os.EX_USAGE) from None
    settings = _settings(args.config)
    directory = _directory(settings)
    try:
        found = follow(directory, since) if args.follow else entries(directory, since)
        shown = _print(found, as_json=args.json)
    except FileNotFoundError:
        shown = 0
    except PermissionError:
        text = f"{directory} may not be read by this user"
        raise CommandError(text, "use the daemon's user: sudo -u parleyd parleyd transcript", os.EX_NOPERM) from None
    except OSError as error:
        raise CommandError(f"{directory} cannot be read: {error.strerror}", None, os.EX_IOERR) from error
    if not shown and not args.json:
        when = f" since {args.since}" if args.since else ""
        how = "" if settings.enabled else "; it is switched off: set transcript.enabled to true"
        print(f"There is nothing in the transcript{when} ({directory}){how}.", file=sys.stderr)
    return os.EX_OK


def _settings(path: Path) -> Transcript:
    try:
        return load(path).config.transcript
    except ConfigError as error:
        if path == SYSTEM_CONFIG and not path.exists():
            return Transcript()
        raise CommandError(str(error), None, os.EX_CONFIG) from None


def _directory(settings: Transcript) -> Path:
    """Where the daemon writes, whether systemd started it or this user."""
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
        print(json_escaped(line) if as_json else _words(entry), flush=True)
        count += 1
    return count


def _words(entry: Entry) -> str:
    """2026-11-21 18:00:12  you    And tomorrow?"""
    who = "you" if entry.speaker == "user" else one_line(entry.speaker)
    text = " ".join(printable(entry.text).split())
    if entry.interrupted:
        heard = f" after {entry.heard_ms / 1000:.1f} s" if entry.heard_ms else ""
        text = f"{text} … (interrupted{heard})" if text else f"(interrupted{heard})"
    return f"{entry.time.astimezone():%Y-%m-%d %H:%M:%S}  {who:<6} {text}"
