"""`parleyd profile`: shows or chooses the profile in force."""

from __future__ import annotations

import argparse
import os

from parleyd.cli.daemon import add_options, connected, tell


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "profile",
        description="Without NAME: shows the running daemon's profile in force.",
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="the profile; none: no profile; auto: by the schedule again. In force until the next choice or a restart",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    wanted = {} if args.name is None else {"name": args.name}
    with connected(args) as client:
        result = client.ask("profile", **wanted)
        by = "the schedule" if result["chosen"] == "auto" else "hand, until `parleyd profile auto` or a restart"
        if not result["profiles"]:
            tell(args, result, "no profiles are configured; docs/profiles.md tells how")
            return os.EX_OK
        words = f"{result['profile'] or 'none'}, by {by}"
        if args.name is None:
            words += f"\nthere are: {', '.join(result['profiles']) or 'none'}"
        tell(args, result, words)
    return os.EX_OK
