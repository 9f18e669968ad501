"""`parleyd activity`: tells the agent that somebody is busy with the device, so that it does not speak into the
pause."""

from __future__ import annotations

import argparse
import os

from parleyd.cli.daemon import add_options, connected, tell


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "activity",
        description="Tells the agent of the running session that somebody is busy with the device, so that it does not "
        "speak into the pause; the session stays open as if the person had spoken.",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with connected(args) as client:
        tell(args, client.ask("activity"), "the agent has been told that the person is busy")
    return os.EX_OK
