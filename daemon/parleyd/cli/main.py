"""The `parleyd` command: one sub-command per file in this folder."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

import parleyd
from parleyd.cli import agent, check, demo, devices, run, tune
from parleyd.cli.errors import CommandError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="parleyd", description="A voice daemon: microphone and speaker, voice agent.")
    parser.add_argument("--version", action="version", version=f"parleyd {parleyd.__version__}")
    parser.add_argument("--debug", action="store_true", help="log everything, and show where an error came from")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (run, demo, agent, check, devices, tune):
        module.add_parser(commands)
    # argparse ends with 2; sysexits has a code for wrong usage.
    parser.exit_on_error = True
    try:
        args = parser.parse_args(arguments)
    except SystemExit as exit_:
        return os.EX_USAGE if exit_.code else os.EX_OK
    try:
        return int(args.run(args))
    except CommandError as failure:
        if args.debug:
            traceback.print_exc()
        print(f"parleyd: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone; nothing more can be said, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return os.EX_OK
