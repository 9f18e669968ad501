"""`parleyd button`: a push button gives orders to the running daemon."""

from __future__ import annotations

import argparse
import os

from parleyd.button.contact import Contact
from parleyd.button.gpio_line import open_line
from parleyd.button.input_key import open_key
from parleyd.button.watch import Orders, watch
from parleyd.cli.config_option import add_config
from parleyd.cli.configured import config_of, log_to_stderr, socket_of
from parleyd.cli.daemon import add_socket
from parleyd.config.button import Button
from parleyd.core.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "button",
        description="Listens to the push button of the configuration's section `button`, and gives the running daemon "
        "its orders, until SIGTERM or Ctrl-C. It waits for a button or a daemon that is not there.",
    )
    add_config(parser)
    add_socket(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = config_of(args.config)
    button = config.button
    if button.device is None and button.gpio_line is None:
        text = f"{args.config} names no button"
        raise UserError(text, "set button.device or button.gpio_line; see docs/button.md", os.EX_CONFIG)
    log_to_stderr(args)
    try:
        watch(button, _open, Orders(socket_of(args, config), confirms=button.confirms).give)
    except UserError as error:
        raise UserError(str(error), error.hint, os.EX_CONFIG) from error
    return os.EX_OK


def _open(button: Button) -> Contact:
    return open_key(button) if button.device is not None else open_line(button)
