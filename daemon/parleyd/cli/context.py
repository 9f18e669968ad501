"""`parleyd context`: tells the agent something that it should not answer."""

from __future__ import annotations

import argparse
import os

from parleyd.cli.daemon import add_options, connected, tell, text_of


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "context",
        description="Tells the agent of the running session something that it should know and not answer.",
    )
    parser.add_argument("text", nargs="+", metavar="TEXT")
    parser.add_argument("--id", dest="context_id", metavar="ID", help="replaces an earlier text with the same id")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    text = text_of(args.text)
    with connected(args) as client:
        tell(args, client.ask("context", text=text, context_id=args.context_id or None), "the agent knows it now")
    return os.EX_OK
