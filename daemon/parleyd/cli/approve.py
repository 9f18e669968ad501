"""`parleyd approve`, `deny`: allows or denies a call of a tool."""

from __future__ import annotations

import argparse
import os
from functools import partial

from parleyd.cli.daemon import add_options, connected, tell
from parleyd.core.text import name_text


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for order, word in (("approve", "Allows"), ("deny", "Denies")):
        parser = subparsers.add_parser(
            order,
            description=f"{word} a call of the agent's that waits for a person: of a tool of this device "
            "(confirm: true in the configuration), or of an MCP tool (tools.mcp). `parleyd status` shows the calls "
            "that wait, with all their parameters.",
        )
        # Without an id the daemon lists the ids that wait.
        parser.add_argument(
            "approval", nargs="?", metavar="ID", help="the id of the call; without it the ids that wait are listed"
        )
        add_options(parser)
        parser.set_defaults(run=partial(_run, order))


def _run(order: str, args: argparse.Namespace) -> int:
    with connected(args) as client:
        result = client.ask(order, **({"approval": args.approval} if args.approval else {}))
        tell(args, result, f"{'allowed' if order == 'approve' else 'denied'}: {name_text(result['name'])}")
    return os.EX_OK
