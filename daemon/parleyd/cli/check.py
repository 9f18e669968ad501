"""`parleyd check`: checks the configuration, and whether this machine has the things that it names."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from parleyd.checks import systemd_features
from parleyd.checks.apart import look
from parleyd.checks.configuration import ConfigError, Loaded, load
from parleyd.checks.this_machine import missing
from parleyd.cli.config_option import add_config
from parleyd.cli.terminal import wrapped
from parleyd.config.base import Secret
from parleyd.config.json_schema import json_schema
from parleyd.config.nodes import dump
from parleyd.config.programs import runs_programs
from parleyd.config.schema import Config
from parleyd.config.secrets import masked
from parleyd.core.text import one_line
from parleyd.host.apart import ways_of
from parleyd.host.directories import is_of_user


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "check",
        description="Checks a configuration file. Problems are printed to standard error, one per line; then the "
        "exit code is 78. Warnings also name the packages, programs, files and sound devices that the configuration "
        "names and this machine does not have.",
    )
    add_config(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--all", action="store_true", help="print every key with the value in force, secrets masked")
    output.add_argument("--schema", action="store_true", help="print a JSON Schema for editors, and check nothing")
    output.add_argument("--json", action="store_true", help="print problems, warnings and configuration as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.schema:
        _print_json(json_schema())
        return os.EX_OK
    try:
        loaded = load(args.config)
        weaker = systemd_features.relied_on(
            loaded.config, systemd_features.running_version(), of_user=is_of_user(args.config)
        )
        found = map(loaded.placed, (*missing(loaded.config), *weaker, *look(loaded.config, ways_of(args.config))))
        outcome: Loaded | ConfigError = replace(loaded, warnings=(*loaded.warnings, *found))
    except ConfigError as error:
        outcome = error
    if args.json:
        _print_json(_facts(args.config, outcome))
    else:
        _print_lines(args.config, outcome, everything=args.all)
    return os.EX_OK if isinstance(outcome, Loaded) else os.EX_CONFIG


def _facts(path: Path, outcome: Loaded | ConfigError) -> dict[str, Any]:
    is_good = isinstance(outcome, Loaded)
    return {
        "file": str(path),
        "ok": is_good,
        "problems": [] if isinstance(outcome, Loaded) else [problem._asdict() for problem in outcome.problems],
        "warnings": [warning._asdict() for warning in outcome.warnings],
        "config": masked(outcome.config) if isinstance(outcome, Loaded) else None,
    }


def _print_lines(path: Path, outcome: Loaded | ConfigError, *, everything: bool) -> None:
    for warning in outcome.warnings:
        print(wrapped(warning.render("warning"), sys.stderr), file=sys.stderr)
    if isinstance(outcome, ConfigError):
        for problem in outcome.problems:
            print(wrapped(str(problem), sys.stderr), file=sys.stderr)
    elif everything:
        print(f"# {one_line(str(path))}:\n# every key, with the value in force")
        print(dump(masked(outcome.config)), end="")
    else:
        verdict = "can be used, with warnings" if outcome.warnings else "good"
        print(wrapped(f"{one_line(str(path))}: {verdict}: {one_line(summary(outcome.config))}", sys.stdout))
        if runs_programs(outcome.config):
            print(wrapped(f"tools and hooks run {ways_of(path).in_a_line()}", sys.stdout))


def summary(config: Config) -> str:
    """The configuration in one line: the agent, the key, the devices."""
    words: list[str] = [config.provider]
    if config.provider != "local":
        # The providers are more to load than all the rest of a check.
        from parleyd.app.agents import provider_of

        provider = provider_of(config)
        words.append(provider.shown(config))
        key = provider.api_key(config)
        if isinstance(key, Secret):
            kind, place = next((kind, place) for kind, place in masked(key).items() if place is not None)
            words.append(f"key from {kind} {place}")
        else:
            none = "no key (a public agent)" if config.provider == "elevenlabs" else "no key"
            words.append(none if key is None else "key from this file")
    if config.audio.mode == "off":
        words.append("no sound")
    else:
        words += [f"microphone {config.audio.input.device}", f"speaker {config.audio.output.device}"]
        words.append(f"wake: {config.wake.mode}")
    return ", ".join(words)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2))
