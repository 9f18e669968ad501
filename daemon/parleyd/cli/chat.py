"""`parleyd chat`: a conversation in writing."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from parleyd.chat.link import DaemonLink, Link, Take
from parleyd.chat.pipe import BadLineError, NoAnswerError, Pipe
from parleyd.chat.screen import Screen, wants_colour
from parleyd.cli.daemon import add_socket, refused, seconds
from parleyd.control.client import NobodyListensError, NotRunningError, RefusedError
from parleyd.core.errors import UserError
from parleyd.host.directories import state_directory
from parleyd.host.interruptible import interruptible

HISTORY = "chat_history"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "chat",
        description="A conversation in writing, through the running daemon, or without one in a session of its own. "
        "Without a terminal: a message per line of standard input, an answer per line of standard output.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="open a separate session without sound, with this configuration",
    )
    add_socket(where)
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS",
        help="without a terminal, the longest time for each answer; default: %(default)g",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        # The default handler raises, so that the session is closed properly.
        signal.signal(number, signal.default_int_handler)
    if sys.stdin.isatty() and sys.stdout.isatty():
        return _at_terminal(args)
    return _through_pipe(args)


def _at_terminal(args: argparse.Namespace) -> int:
    from parleyd.chat.prompt import Prompt
    from parleyd.chat.talk import Talk

    colour = wants_colour(sys.stdout)
    screen = Screen(sys.stdout, colour=colour)
    with Prompt(_history(), lambda: screen.unfinished, colour=colour) as prompt:
        talk = Talk(screen, prompt)
        with _linked(args, talk.take, screen) as link:
            return os.EX_OK if talk.run(link) else os.EX_UNAVAILABLE


def _through_pipe(args: argparse.Namespace) -> int:
    pipe = Pipe(sys.stdout, args.timeout)
    with _linked(args, pipe.take, None) as link:
        try:
            with interruptible():
                pipe.run(sys.stdin, link)
        except NoAnswerError as error:
            raise UserError(str(error), None, error.exit_code) from error
        except BadLineError as error:
            raise UserError(str(error), None, os.EX_DATAERR) from error
    return os.EX_OK


@contextlib.contextmanager
def _linked(args: argparse.Namespace, take: Take, screen: Screen | None) -> Iterator[Link]:
    """screen: shows who answers; None: nothing is shown, and the agent does not greet."""
    if args.config is None:
        try:
            through = DaemonLink(args.socket, take)
        except (NotRunningError, RefusedError) as error:
            if not isinstance(error, NobodyListensError) or args.socket is not None:
                raise refused(error) from error
        else:
            if screen is not None:
                screen.note(f"Through the running daemon ({through.status['state']}). Ctrl-D ends, /help tells more.")
            try:
                yield through
            finally:
                through.close()
            return
    # Imported here, because whoever talks through a daemon needs none of what a daemon consists of.
    from parleyd.cli.chat_alone import linked

    with linked(args.config, take, screen, debug=args.debug) as link:
        yield link


def _history() -> Path | None:
    try:
        return state_directory() / HISTORY
    except OSError:
        return None
