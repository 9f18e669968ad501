"""Functions that the commands to a running daemon share."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from parleyd.cli.terminal import show
from parleyd.control.client import Client, NobodyListensError, NotAllowedError, NotRunningError, RefusedError, TurnError
from parleyd.control.protocol import MAX_TEXT
from parleyd.core.errors import UserError
from parleyd.core.text import json_text, one_line, printable
from parleyd.host.files import open_regular

# The exit codes for the kinds of refusals.
_CODES = {
    "not_allowed": os.EX_NOPERM,
    "role_missing": os.EX_NOPERM,
    "bad_request": os.EX_USAGE,
    "no_id": os.EX_USAGE,
    "unknown_profile": os.EX_USAGE,
    "bad_config": os.EX_CONFIG,
    "bad_settings": os.EX_DATAERR,
    "stale_revision": os.EX_TEMPFAIL,
    "unknown_revision": os.EX_USAGE,
    "no_voice": os.EX_CONFIG,
    "nothing_to_say": os.EX_DATAERR,
    "too_much_to_say": os.EX_DATAERR,
    "bad_file": os.EX_DATAERR,
}


def add_socket(options: argparse.ArgumentParser | argparse._MutuallyExclusiveGroup) -> None:
    options.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="the daemon's socket; default: $PARLEYD_SOCKET, this user's, the system's",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    add_socket(parser)
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def add_wait(parser: argparse.ArgumentParser, what: str, *, timeout_s: float) -> None:
    """Adds --wait and --timeout. what: the event that is waited for."""
    parser.add_argument("--wait", action="store_true", help=f"wait {what}")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=timeout_s,
        metavar="SECONDS",
        help="the longest time to wait; default: %(default)g",
    )


def seconds(text: str) -> float:
    """A number of seconds above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def text_of(words: Sequence[str]) -> str:
    """The text of the command line, in a form that the daemon accepts. Raises UserError."""
    text = " ".join(words)
    if not text.strip():
        raise UserError("the text is empty", "write some words", os.EX_USAGE)
    if len(text) > MAX_TEXT:
        raise UserError(f"the text has {len(text)} characters", f"use at most {MAX_TEXT}", os.EX_USAGE)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError("the text is not UTF-8", "see `locale`", os.EX_USAGE) from error
    return text


def open_file(path: Path) -> int:
    """Opens the file with this user's permissions; the daemon gets the open file. Raises UserError."""
    try:
        return open_regular(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a usable path"
        raise UserError(f"cannot read {path}: {reason}", "name another file", os.EX_NOINPUT) from error


@contextlib.contextmanager
def connected(args: argparse.Namespace) -> Iterator[Client]:
    """A connection to the daemon. Raises UserError, also for errors inside the context."""
    try:
        with Client(args.socket) as client:
            yield client
    except TurnError as error:
        raise UserError(str(error), None, os.EX_TEMPFAIL) from error
    except NobodyListensError as error:
        told = _why_not_running() if args.socket is None else None
        if told is None:
            raise refused(error) from error
        raise UserError(f"parleyd is not running: {told[0]}", told[1], os.EX_UNAVAILABLE) from error
    except (NotRunningError, RefusedError) as error:
        raise refused(error) from error


def _why_not_running() -> tuple[str, str] | None:
    """Why the service does not run, according to systemd, and the hint."""
    # Imported here because most commands never ask systemd.
    from parleyd.doctor.service import known_units, why_not_running

    return why_not_running(known_units())


def refused(error: NotRunningError | RefusedError) -> UserError:
    """The error for a refusal, with its exit code."""
    if isinstance(error, RefusedError):
        # The text may contain an agent's words. Problems of the configuration have a line each.
        text = str(error) if error.kind in ("bad_config", "bad_settings") else one_line(str(error))
        return UserError(text, error.hint and one_line(error.hint), _CODES.get(error.kind, os.EX_UNAVAILABLE))
    code = os.EX_NOPERM if isinstance(error, NotAllowedError) else os.EX_UNAVAILABLE
    return UserError(str(error), error.hint, code)


def tell(args: argparse.Namespace, result: dict[str, object], words: str) -> None:
    """Prints the result as JSON, or its meaning in words."""
    if args.json:
        print(json_text(result))
    elif words:
        show(printable(words))
