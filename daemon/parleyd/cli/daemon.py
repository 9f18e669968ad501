"""What commands to a running daemon have in common."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from parleyd.cli.errors import CommandError
from parleyd.control.client import Client, NotRunningError, RefusedError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--socket", type=Path, metavar="PATH", help="of the daemon; default: $PARLEYD_SOCKET, this user's, the system's"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


@contextlib.contextmanager
def connected(args: argparse.Namespace) -> Iterator[Client]:
    """Raises CommandError, also for what goes wrong inside."""
    try:
        with Client(args.socket) as client:
            yield client
    except NotRunningError as error:
        raise CommandError(str(error), error.mend, os.EX_UNAVAILABLE) from error
    except RefusedError as error:
        code = os.EX_CONFIG if error.kind == "bad_config" else os.EX_UNAVAILABLE
        raise CommandError(str(error), error.mend, code) from error


def tell(args: argparse.Namespace, result: dict[str, object], words: str) -> None:
    """The result, or where the user does not ask for JSON what it comes to."""
    if args.json:
        print(json.dumps(result, ensure_ascii=False))
    elif words:
        print(words)
