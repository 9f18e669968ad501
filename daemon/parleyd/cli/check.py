"""`parleyd check`: is the configuration good, and what does it come to?"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from parleyd.config.json_schema import json_schema
from parleyd.config.loader import ConfigError, Loaded, load
from parleyd.config.nodes import dump
from parleyd.config.secrets import masked
from parleyd.host.directories import config_path
from parleyd.shown import one_line


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "check",
        help="check the configuration and show what it comes to",
        description="Checks a configuration file and prints the effective configuration, every key with its value, "
        "secrets masked. Problems go to standard error, one per line; then the exit code is 78.",
    )
    parser.add_argument(
        "-c", "--config", type=Path, default=config_path(), metavar="FILE", help="default: %(default)s"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--schema", action="store_true", help="print a JSON Schema for editors, and check nothing")
    output.add_argument("--json", action="store_true", help="print problems, warnings and configuration as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.schema:
        _print_json(json_schema())
        return os.EX_OK
    try:
        outcome: Loaded | ConfigError = load(args.config)
    except ConfigError as error:
        outcome = error
    if args.json:
        _print_json(_facts(args.config, outcome))
    else:
        _print_lines(args.config, outcome)
    return os.EX_OK if isinstance(outcome, Loaded) else os.EX_CONFIG


def _facts(path: Path, outcome: Loaded | ConfigError) -> dict[str, Any]:
    is_good = isinstance(outcome, Loaded)
    return {
        "file": str(path),
        "ok": is_good,
        "problems": [] if isinstance(outcome, Loaded) else [asdict(problem) for problem in outcome.problems],
        "warnings": [asdict(warning) for warning in outcome.warnings],
        "config": masked(outcome.config) if isinstance(outcome, Loaded) else None,
    }


def _print_lines(path: Path, outcome: Loaded | ConfigError) -> None:
    for warning in outcome.warnings:
        print(warning.render("warning"), file=sys.stderr)
    if isinstance(outcome, ConfigError):
        for problem in outcome.problems:
            print(problem, file=sys.stderr)
    else:
        print(f"# {one_line(str(path))}: good. What it comes to, with every default:")
        print(dump(masked(outcome.config)), end="")


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2))
