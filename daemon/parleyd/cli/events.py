"""`parleyd events`: what happens in the running daemon, as it happens."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from parleyd.cli.daemon import add_options, connected
from parleyd.shown import json_text, printable


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "events",
        help="show what happens in the daemon",
        description="Shows what is so in the running daemon, and with --follow what happens from then on, until Ctrl-C "
        "or until it ends.",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with connected(args) as client:
        client.ask("events")
        for event in client.events():
            print(json_text(event) if args.json else printable(_line(event)), flush=True)
            if not args.follow:
                break
    return os.EX_OK


def _line(event: dict[str, Any]) -> str:
    at = time.strftime("%H:%M:%S")
    if event["event"] == "snapshot":
        status = event["status"]
        return f"{at}  {status['state']} ({status['reason']}), {status['health']}"
    hidden = ("event", "at_s", "detected_s")
    fields = [f"{name} {_value(value)}" for name, value in event.items() if name not in hidden and value is not None]
    return f"{at}  {event['event'].replace('_', ' ')}{': ' if fields else ''}{', '.join(fields)}"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={_value(one)}" for name, one in value.items() if one is not None)
    return json_text(value) if isinstance(value, str) else str(value)
