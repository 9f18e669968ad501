"""`parleyd chat`: a conversation in writing."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from parleyd.app import logs
from parleyd.app.agents import Agents, provider_of
from parleyd.chat.link import DaemonLink, Link, OwnLink, Take
from parleyd.chat.pipe import BadLineError, NoAnswerError, Pipe
from parleyd.chat.screen import Screen, wants_colour
from parleyd.checks.configuration import ConfigError, load
from parleyd.cli.daemon import refused, seconds
from parleyd.config.schema import Audio, Config, Log
from parleyd.control.client import NobodyListensError, NotRunningError, RefusedError
from parleyd.core.errors import UserError
from parleyd.host.directories import config_path, state_directory

HISTORY = "chat_history"
# The idle time of a session in writing, because writing takes longer than speaking.
IDLE_TIMEOUT_S = 300.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "chat",
        help="talk to the agent in writing",
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
    where.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="the daemon's socket; default: $PARLEYD_SOCKET, this user's, the system's",
    )
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
            pipe.run(sys.stdin, link)
        except NoAnswerError as error:
            raise UserError(str(error), None, os.EX_TEMPFAIL) from error
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
    config, words = _own_config(args.config)
    if screen is None:
        config = msgspec.structs.replace(config, wake=msgspec.structs.replace(config.wake, greeting="skip"))
    # The conversation itself reports errors, so a log is only for --debug.
    running_logs = logs.start(Log(level="debug")) if args.debug else None
    if running_logs is None:
        logging.getLogger("parleyd").handlers[:] = [logging.NullHandler()]
    try:
        with Agents(config) as agents:
            own = OwnLink(config, agents.agent(config), take)
            try:
                if screen is not None:
                    screen.note(f"{words}. Ctrl-D ends, /help tells more.")
                    own.wake()
                yield own
            finally:
                own.close()
    finally:
        if running_logs is not None:
            running_logs.stop()


def _own_config(path: Path | None) -> tuple[Config, str]:
    """The configuration of a session without a daemon, and the name of the agent. Raises UserError."""
    if path is None and not config_path().exists():
        config, words = Config(provider="local"), "No daemon runs here; the embedded agent answers"
    else:
        try:
            config = load(path or config_path()).config
        except ConfigError as error:
            text = "\nparleyd: ".join(str(problem) for problem in error.problems)
            raise UserError(text, None, os.EX_CONFIG) from error
        whose = "the embedded agent" if config.provider == "local" else f"the {provider_of(config).shown(config)}"
        words = f"A session of its own with {whose}"
    replace = msgspec.structs.replace
    idle_timeout_s = max(config.session.idle_timeout_s, IDLE_TIMEOUT_S)
    return replace(
        config,
        audio=Audio(mode="off"),
        wake=replace(config.wake, mode="manual"),
        session=replace(config.session, idle_timeout_s=idle_timeout_s),
    ), words


def _history() -> Path | None:
    try:
        return state_directory() / HISTORY
    except OSError:
        return None
