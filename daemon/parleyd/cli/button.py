"""`parleyd button`: a push button gives orders to the running daemon."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from parleyd.button.contact import Contact
from parleyd.button.gpio_line import open_line
from parleyd.button.input_key import open_key
from parleyd.button.watch import Orders, watch
from parleyd.checks.configuration import ConfigError, load
from parleyd.cli.terminal import show
from parleyd.config.button import Button
from parleyd.core.errors import UserError
from parleyd.host.directories import config_path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "button",
        description="Listens to the push button of the configuration's section `button`, and gives the running daemon "
        "its orders, until SIGTERM or Ctrl-C. It waits for a button or a daemon that is not there.",
    )
    parser.add_argument("-c", "--config", type=Path, default=config_path(), metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="the daemon's socket; default: $PARLEYD_SOCKET, this user's, the system's",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        config = load(args.config).config
    except ConfigError as error:
        for problem in (*error.warnings, *error.problems):
            show(f"parleyd: {problem}", sys.stderr)
        return os.EX_CONFIG
    button = config.button
    if button.device is None and button.gpio_line is None:
        text = f"{args.config} names no button"
        raise UserError(text, "set button.device or button.gpio_line; see docs/button.md", os.EX_CONFIG)
    socket = args.socket
    if socket is None and config.control.socket not in ("auto", "off"):
        socket = Path(config.control.socket)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        watch(button, _open, Orders(socket, confirms=button.confirms).give)
    except UserError as error:
        raise UserError(str(error), error.hint, os.EX_CONFIG) from error
    return os.EX_OK


def _open(button: Button) -> Contact:
    return open_key(button) if button.device is not None else open_line(button)
