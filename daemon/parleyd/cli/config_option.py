"""The option that names the configuration, for all commands that read it."""

from __future__ import annotations

import argparse
from pathlib import Path

from parleyd.host.directories import config_path


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, default=config_path(), metavar="FILE", help="default: %(default)s")
