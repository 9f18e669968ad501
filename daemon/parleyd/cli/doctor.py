"""`parleyd doctor`: finds problems of this machine, its network or its agent, with hints."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import parleyd
from parleyd.cli.terminal import has_colour, terminal_width, wrapped
from parleyd.core.findings import exit_code
from parleyd.doctor import report
from parleyd.doctor.examination import Examination, our_name
from parleyd.doctor.run import Outcome, examine
from parleyd.doctor.table import CHECKS
from parleyd.host.directories import config_path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "doctor",
        description="Looks at the installation, the sound devices, the network and the agent, and says for each what "
        "was found and how to fix it. It listens to the microphone for two seconds, takes a picture if there is a "
        "camera, and holds a conversation of a second with the agent; no sound and no picture leave the machine. Exit "
        "code 0: nothing worse than warnings; 78: something in the configuration or the agent's settings; 69: "
        "something else; 70: a check could not be made.",
    )
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help=f"default: {config_path()}")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    outcomes: list[Outcome] = []
    examination = Examination(args.config)
    page = None if args.json else _page()
    if page is not None:
        shown = args.config or config_path()
        heading = f"parleyd {parleyd.__version__} doctor, as {our_name()}, {shown}"
        print(wrapped(heading, sys.stdout), end="\n\n", flush=True)
    for outcome in examine(CHECKS, examination):
        outcomes.append(outcome)
        if page is not None:
            page.add(outcome)
    if page is not None:
        page.end(outcomes)
    else:
        print(json.dumps({"version": parleyd.__version__, "user": our_name(), **report.facts(outcomes)}, indent=2))
    return exit_code(finding for outcome in outcomes for finding in outcome.findings)


def _page() -> report.Page:
    return report.Page(lambda line: print(line, flush=True), width=terminal_width(), colour=has_colour())
