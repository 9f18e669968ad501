"""The properties of the standard streams: width and colours."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TextIO

from parleyd.chat.wrap import columns

_NARROWEST = 40


def has_colour() -> bool:
    """Whether to use colours: only on a terminal, and if the user has not refused them (https://no-color.org: NO_COLOR
    set and not empty)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width(stream: TextIO | None = None) -> int | None:
    """The width in characters of standard output or of another stream; None for a pipe, where text is not wrapped."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    if stream is sys.stdout:
        return max(_NARROWEST, shutil.get_terminal_size().columns)
    try:
        return max(_NARROWEST, os.get_terminal_size(stream.fileno()).columns)
    except OSError:
        return None


def rows(text: str, width: int | None, *, lead: str = "", indent: str = "") -> list[str]:
    """A line with foreign words, in rows behind lead and then indent; width: None for a pipe: one row.

    Every row is narrower than the terminal, also with words without spaces and with wide characters. A row that the
    terminal breaks would continue at its left edge, and could be taken for a line of this program.
    """
    if width is None:
        return [f"{lead}{text}"]
    most = max(_NARROWEST // 2, width - 1 - max(columns(lead), columns(indent)))
    found: list[str] = []
    row, blanks = "", ""
    for piece in (part for word in re.findall(r" +|[^ ]+", text) for part in _parts(word, most)):
        if piece.startswith(" "):
            blanks = piece if row else ""
        elif columns(row + blanks + piece) > most:
            found.append(row)
            row, blanks = piece, ""
        else:
            row, blanks = row + blanks + piece, ""
    found.append(row)
    return [f"{indent if number else lead}{row}" for number, row in enumerate(found)]


def _parts(word: str, most: int) -> Iterator[str]:
    part, used = "", 0
    for sign in word:
        wide = columns(sign)
        if used + wide > most:
            yield part
            part, used = "", 0
        part, used = part + sign, used + wide
    yield part


def wrapped(text: str, stream: TextIO, *, indent: str = "  ") -> str:
    """The text with each line wrapped between words at the terminal's width, and continuations indented; unchanged for
    a pipe, where programs read lines."""
    width = terminal_width(stream)
    if width is None:
        return text
    wrap = textwrap.TextWrapper(
        width - 1, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    return "\n".join("\n".join(wrap.wrap(line) or [""]) for line in text.split("\n"))


@contextlib.contextmanager
def working(what: str, stream: TextIO) -> Iterator[None]:
    """Shows on a terminal what takes a while, and removes it again."""
    moves = stream.isatty()
    if moves:
        print(what, end="", file=stream, flush=True)
    try:
        yield
    finally:
        if moves:
            print("\r\x1b[K", end="", file=stream, flush=True)


def show(text: str, stream: TextIO | None = None, *, indent: str = "  ") -> None:
    """Prints the text, wrapped as by wrapped(). stream: standard output, if none is named."""
    stream = stream or sys.stdout
    print(wrapped(text, stream, indent=indent), file=stream, flush=True)
