"""`parleyd reload`: makes the daemon read the configuration again."""

from __future__ import annotations

import argparse
import os
from typing import Any

from parleyd.cli.daemon import add_options, connected, tell
from parleyd.config import changed_keys


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "reload",
        description="The running daemon reads its configuration again, and lists the keys that are in force "
        "now, and those that wait. A bad file changes nothing; then the exit code is 78.",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with connected(args) as client:
        result: dict[str, Any] = client.ask("reload")
        tell(args, result, changed_keys.in_words(**result))
    return os.EX_OK
