"""`parleyd volume`: shows or sets the volume of the running daemon."""

from __future__ import annotations

import argparse
import os
import re

from parleyd.cli.daemon import add_options, connected, tell
from parleyd.core.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "volume",
        description="Without LEVEL: shows the volume of the running daemon. A volume that is set survives a restart.",
    )
    parser.add_argument(
        "level", nargs="?", type=_level, metavar="LEVEL", help="0 to 100 (percent), or a step: up 10, down 10"
    )
    parser.add_argument("step", nargs="?", type=_percent, metavar="STEP", help=argparse.SUPPRESS)
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.step is not None and isinstance(args.level, float):
        hint = "give one level (40), or by how much (up 10, down 10)"
        raise UserError("two levels are one too many", hint, os.EX_USAGE)
    wanted: dict[str, float] = {}
    if isinstance(args.level, float):
        wanted = {"to": args.level}
    elif args.level is not None:
        step = args.step if args.step is not None else 0.1
        wanted = {"by": step if args.level == "up" else -step}
    with connected(args) as client:
        result = client.ask("volume", **wanted)
        nothing = "" if result["volume"] else ": nothing can be heard"
        tell(args, result, f"volume {result['volume']:.0%}{nothing}")
    return os.EX_OK


def _level(text: str) -> float | str:
    return text if text in ("up", "down") else _percent(text)


def _percent(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?%?", text) or float(text.rstrip("%")) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a volume; use 0 to 100, up or down")
    if not text.endswith("%") and 0 < float(text) < 1:
        # In the configuration the volume is from 0 to 1; here such a number would be less than one percent.
        meant = f"{float(text) * 100:g}"
        raise argparse.ArgumentTypeError(f"the volume is given in percent: did you mean {meant}? (or write {text}%)")
    return round(float(text.rstrip("%")) / 100, 4)
