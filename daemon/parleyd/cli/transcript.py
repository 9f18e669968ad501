"""`parleyd transcript`: prints the conversations."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from parleyd.cli.daemon import add_socket, refused
from parleyd.cli.terminal import rows, terminal_width, wrapped
from parleyd.control.client import Client, NobodyListensError, NotAllowedError, NotRunningError, RefusedError
from parleyd.core.errors import UserError
from parleyd.core.text import json_escaped, one_line, printable
from parleyd.host.directories import SYSTEM_STATE, config_path, state_directory
from parleyd.transcript.files import DIRECTORY_NAME
from parleyd.transcript.reading import POLL_S, Entry, entries, follow, moment, read

if TYPE_CHECKING:
    from parleyd.config.retention import Transcript

# On a narrower terminal the words stand below their time.
_BESIDE_COLUMNS = 60
_MOST_SPEAKER_CHARS = 12


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "transcript",
        description="Shows the transcript, the oldest first. It is written only with `transcript: {enabled: true}`.",
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "-c", "--config", type=Path, metavar="FILE",
        help=f"default: that of the running daemon, else {config_path()}",
    )  # fmt: skip
    add_socket(whose)
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
    try:
        if args.config is None:
            # Also for users who may hear everything, and may not read the daemon's files.
            with Client(args.socket) as client:
                return _told(_print(_asked(client, since, args), as_json=args.json), args, "")
    except RefusedError as error:
        # It writes none, or is too old to be asked; there may be files of earlier days.
        if args.socket is not None or error.kind not in ("no_transcript", "unknown_request"):
            # The files that this user finds may be those of another daemon.
            raise refused(error) from error
        return _from_files(args, since, "the running daemon writes none: transcript.enabled is false")
    except NotRunningError as error:
        if args.socket is not None or not isinstance(error, NobodyListensError | NotAllowedError):
            raise refused(error) from error
    return _from_files(args, since, "")


def _asked(client: Client, since: datetime | None, args: argparse.Namespace) -> Iterator[tuple[str, Entry]]:
    """The lines, page by page, from the daemon."""
    fields = {} if since is None else {"since": since.isoformat()}
    after: str | None = None
    while True:
        page = client.ask("transcript", **fields, **({"after": after} if after else {}))
        after = page["after"]
        yield from read(page["lines"], since)
        if not page["more"]:
            if not args.follow:
                return
            time.sleep(POLL_S)


def _from_files(args: argparse.Namespace, since: datetime | None, why_none: str) -> int:
    """why_none: why the daemon tells nothing; "" if it does not run."""
    path = args.config or config_path()
    settings = _settings(path)
    directory = directory_of(settings)
    if not why_none and not path.exists():
        why_none = f"no daemon runs here, and there is no {path}: name a configuration with -c FILE"
    elif not why_none and not settings.enabled:
        why_none = f"it is switched off: set transcript.enabled to true in {path}"
    try:
        found = follow(directory, since) if args.follow else entries(directory, since)
        count = _print(found, as_json=args.json)
    except FileNotFoundError:
        count = 0
    except PermissionError:
        if why_none:
            raise UserError(f"there is no transcript; {why_none}", None, os.EX_UNAVAILABLE) from None
        text = f"{directory} may not be read by this user"
        hint = "ask the running daemon as a member of the group parleyd, or read as sudo -u parleyd parleyd transcript"
        raise UserError(text, hint, os.EX_NOPERM) from None
    except OSError as error:
        raise UserError(f"{directory} cannot be read: {error.strerror}", None, os.EX_IOERR) from error
    return _told(count, args, f" ({directory})" + (f"; {why_none}" if why_none else ""))


def _told(count: int, args: argparse.Namespace, about: str) -> int:
    if not count and not args.json:
        when = f" since {args.since}" if args.since else ""
        print(wrapped(f"There is nothing in the transcript{when}{about}.", sys.stderr), file=sys.stderr)
    return os.EX_OK


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
        print(json_escaped(line) if as_json else in_words(entry, terminal_width()), flush=True)
        count += 1
    return count


def in_words(entry: Entry, width: int | None = None) -> str:
    """A line such as `2026-11-21 18:00:12 you And tomorrow?`. width: of the terminal, at which it is wrapped."""
    who = "you" if entry.speaker == "user" else one_line(entry.speaker)[:_MOST_SPEAKER_CHARS]
    text = " ".join(printable(entry.text).split())
    if entry.interrupted:
        heard = f" after {entry.heard_ms / 1000:.1f} s" if entry.heard_ms else ""
        text = f"{text} … (interrupted{heard})" if text else f"(interrupted{heard})"
    lead = f"{entry.time.astimezone():%Y-%m-%d %H:%M:%S}  {who:<6} "
    if width is not None and width < _BESIDE_COLUMNS:
        return "\n".join([lead.rstrip(), *rows(text, width, lead="    ", indent="    ")])
    return "\n".join(rows(text, width, lead=lead, indent=" " * len(lead)))
