"""Functions that the commands share which read the configuration, and those that stay beside the daemon."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from parleyd.checks.configuration import ConfigError, Loaded, load
from parleyd.config.schema import Config
from parleyd.core.errors import UserError


def config_of(path: Path, read: Callable[[Path], Loaded] = load) -> Config:
    """The configuration in a file. Raises UserError with all that is wrong in it."""
    try:
        return read(path).config
    except ConfigError as error:
        lines = [str(problem) for problem in (*error.warnings, *error.problems)]
        raise UserError("\nparleyd: ".join(lines), None, os.EX_CONFIG) from error


def socket_of(args: argparse.Namespace, config: Config) -> Path | None:
    """The daemon's socket that the command line names, or the configuration; None to search for it."""
    if args.socket is None and config.control.socket not in ("auto", "off"):
        return Path(config.control.socket)
    named: Path | None = args.socket
    return named


def log_to_stderr(args: argparse.Namespace) -> None:
    """The log of a program that stays beside the daemon: whole lines, to which journald gives their time."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if args.debug:
        logging.getLogger("parleyd").setLevel(logging.DEBUG)
