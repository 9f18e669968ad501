"""Wraps a label and a text beside it for a terminal of any width. Pure except for reading the terminal's width."""

from __future__ import annotations

import os
import shutil
import textwrap
from typing import TextIO

from parleyd.core.text import printable

# The least width of a text beside its label; a narrower text goes below the label.
_LEAST_BESIDE = 30
_INDENT_BELOW = "    "


def width_of(stream: TextIO) -> int | None:
    """The columns of the terminal, which may change while the demo runs; None for a pipe or a file, which are not
    wrapped."""
    # One column less, because some terminals begin a new line after the last column.
    return max(20, shutil.get_terminal_size().columns - 1) if stream.isatty() else None


def may_colour(stream: TextIO) -> bool:
    # https://no-color.org: set and not empty.
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def beside(label: str, text: str, width: int | None, *, most_lines: int | None = None) -> list[str]:
    """label: with the spaces that separate it from the text. most_lines: a longer text ends with an ellipsis."""
    text = " ".join(printable(text).split())
    if width is None or not text:
        return [(label + text).rstrip()]
    if width - len(label) >= _LEAST_BESIDE:
        rest = " " * len(label)
        lines = _wrapped(text, width - len(label), most_lines)
        return [label + lines[0], *(rest + line for line in lines[1:])]
    return [label.rstrip(), *(_INDENT_BELOW + line for line in _wrapped(text, width - len(_INDENT_BELOW), most_lines))]


def wrapped(text: str, width: int | None) -> str:
    """A paragraph."""
    return text if width is None else "\n".join(_wrapped(text, width, None))


def _wrapped(text: str, width: int, most_lines: int | None) -> list[str]:
    # A word that is longer than a line, such as a path, is not split, so that it can be copied.
    ellipsis = "…”" if text.endswith("”") else "…"
    return textwrap.wrap(
        text, width, max_lines=most_lines, placeholder=ellipsis, break_long_words=False, break_on_hyphens=False
    )
