"""A label and a text beside it, as lines for a terminal of any width. Pure but for the look at the terminal."""

from __future__ import annotations

import os
import shutil
import textwrap
from typing import TextIO

from parleyd.core.text import printable

# Below this a text beside its label would be a column of single words; it goes below the label instead.
_LEAST_BESIDE = 30
_INDENT_BELOW = "    "


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal, which may change while the demo runs; None for a pipe or a file: nothing is wrapped."""
    # One less: some terminals begin a new line when the last column is written.
    return max(20, shutil.get_terminal_size().columns - 1) if stream.isatty() else None


def may_colour(stream: TextIO) -> bool:
    # https://no-color.org: set and not empty.
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def beside(label: str, text: str, width: int | None, *, most_lines: int | None = None) -> list[str]:
    """label: with the blanks that separate it from the text. most_lines: what is longer ends with an ellipsis there."""
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
    # A word that is longer than a line, such as a path, stays whole: it can be copied.
    ellipsis = "…”" if text.endswith("”") else "…"
    return textwrap.wrap(
        text, width, max_lines=most_lines, placeholder=ellipsis, break_long_words=False, break_on_hyphens=False
    )
