"""`parleyd approve`, `deny`: may the agent use that MCP tool?"""

from __future__ import annotations

import argparse
import os
from functools import partial

from parleyd.cli.daemon import add_options, connected, tell


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for order, word in (("approve", "allow"), ("deny", "deny")):
        parser = subparsers.add_parser(
            order,
            help=f"{word} a call of an MCP tool about which the agent asks",
            description=f"{word.capitalize()} a call of an MCP tool about which the agent asks (tools.mcp in the "
            "configuration). `parleyd events` shows the questions.",
        )
        parser.add_argument("call_id", nargs="?", metavar="CALL_ID", help="which; default: the only one that waits")
        add_options(parser)
        parser.set_defaults(run=partial(_run, order))


def _run(order: str, args: argparse.Namespace) -> int:
    with connected(args) as client:
        result = client.ask(order, **({"call_id": args.call_id} if args.call_id else {}))
        tell(args, result, f"{'allowed' if order == 'approve' else 'denied'}: {result['name']}")
    return os.EX_OK
