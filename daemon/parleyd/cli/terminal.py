"""What the standard streams are: how wide, and whether they show colours."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TextIO

_NARROWEST = 40


def has_colour() -> bool:
    """Only on a terminal that does not refuse (https://no-color.org: NO_COLOR set and not empty)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width(stream: TextIO | None = None) -> int | None:
    """In characters, of standard output or of another stream; None in a pipe, where nothing is to be wrapped."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    if stream is sys.stdout:
        return max(_NARROWEST, shutil.get_terminal_size().columns)
    try:
        return max(_NARROWEST, os.get_terminal_size(stream.fileno()).columns)
    except OSError:
        return None


def wrapped(text: str, stream: TextIO, *, indent: str = "  ") -> str:
    """Each line of the text between words at the terminal's width, what is continued with an indent; in a pipe, where
    programs read lines, as it is."""
    width = terminal_width(stream)
    if width is None:
        return text
    wrap = textwrap.TextWrapper(
        width - 1, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    return "\n".join("\n".join(wrap.wrap(line) or [""]) for line in text.split("\n"))
