"""`parleyd feedback`: rates the agent's last answer."""

from __future__ import annotations

import argparse
import os

from parleyd.cli.daemon import add_options, connected, tell


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("feedback", description="Rates the agent's last answer in this session.")
    parser.add_argument("score", choices=("like", "dislike", "none"), help="none takes the rating back")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with connected(args) as client:
        tell(args, client.ask("feedback", score=args.score), "the agent's provider has been told")
    return os.EX_OK
