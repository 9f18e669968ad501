"""What standard output is: how wide, and whether it shows colours."""

from __future__ import annotations

import os
import shutil
import sys


def has_colour() -> bool:
    """Only on a terminal that does not refuse (https://no-color.org: NO_COLOR set and not empty)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> int | None:
    """In characters; None in a pipe, where nothing is to be wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
