"""`parleyd wyoming`: takes announcements from Home Assistant, and has the running daemon play them."""

from __future__ import annotations

import argparse
import os
import signal

from parleyd.cli.config_option import add_config
from parleyd.cli.configured import config_of, log_to_stderr, socket_of
from parleyd.cli.daemon import add_socket
from parleyd.core.errors import UserError
from parleyd.host import python_env
from parleyd.host.interruptible import interruptible


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "wyoming",
        description="Takes announcements from Home Assistant's Wyoming integration, and has the running daemon play "
        "them, until SIGTERM or Ctrl-C. The section `wyoming` of the configuration names who may connect. While the "
        "daemon is away, nobody can connect.",
    )
    add_config(parser)
    add_socket(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = config_of(args.config)
    if not config.wyoming.allow:
        text = f"{args.config} names nobody who may announce something"
        raise UserError(text, "set wyoming.allow to Home Assistant's address; see docs/announce.md", os.EX_CONFIG)
    try:
        from parleyd.wyoming.server import Server
    except ImportError as error:
        text = "parleyd wyoming needs the package wyoming"
        raise UserError(text, python_env.install("wyoming"), os.EX_CONFIG) from error
    log_to_stderr(args)
    server = Server(config.wyoming, socket_of(args, config))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: server.stop())
    with interruptible():
        server.run()
    return os.EX_OK
