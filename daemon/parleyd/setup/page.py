"""Texts for a terminal: wrapped between words at its width, plain in a pipe, without cursor movements except for the
level meter."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Sequence
from typing import TextIO

from parleyd.chat.wrap import columns
from parleyd.core.text import printable

_NARROWEST = 40
# A pipe has no width; tables need one.
_PIPE_WIDTH = 80
_BOLD, _RED, _GREEN, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_ERASE_LINE = "\r\x1b[K"
# Below this width a table becomes a list.
_TABLE_WIDTH = 60
_NARROWEST_COLUMN = 8


class Page:
    """out: usually standard output. Everything that is printed goes through here."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.is_terminal = out.isatty()
        self._has_colour = (
            self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "dumb")
        )
        self._is_moving = False

    @property
    def width(self) -> int:
        """The number of columns of the terminal, read anew: a window may be resized."""
        if not self.is_terminal:
            return _PIPE_WIDTH
        return max(_NARROWEST, shutil.get_terminal_size().columns)

    # ---------------------------------------------------------------- lines

    def say(self, text: str = "", *, lead: str = "", indent: str | None = None) -> None:
        """lead: before the first row; indent: before the others, by default as wide as lead."""
        indent = " " * len(lead) if indent is None else indent
        for row in self._rows(text, lead, indent):
            self._print(row)

    def head(self, text: str) -> None:
        self._print()
        self._print(self._in(_BOLD, text))

    def good(self, text: str) -> None:
        self._marked("✓ ", _GREEN, text)

    def note(self, text: str, hint: str | None = None) -> None:
        self._marked("→ ", _YELLOW, text)
        if hint:
            self.say(hint, lead="  → ")

    def problem(self, text: str, hint: str | None = None) -> None:
        self._marked("! ", _RED, text)
        if hint:
            self.say(hint, lead="  → ")

    def command(self, text: str) -> None:
        """A line to be copied, which is therefore never wrapped."""
        self._print(f"    {printable(text)}")

    def table(self, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """On a narrow terminal each row becomes a list below its first cell."""
        if self.width < _TABLE_WIDTH:
            for row in rows:
                self.say(row[0])
                for name, cell in zip(heading[1:], row[1:], strict=True):
                    self.say(f"{name}: {cell}", lead="    ")
            return
        widths = _widths(heading, rows, self.width - 1)
        self._print(self._in(_BOLD, _joined(heading, widths)))
        for row in rows:
            cells = [self._wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
            for number in range(max(map(len, cells))):
                self._print(_joined([part[number] if number < len(part) else "" for part in cells], widths))

    def moving(self, text: str) -> None:
        """One line that is written over; nothing in a pipe."""
        if self.is_terminal:
            self._is_moving = True
            self._out.write(f"{_ERASE_LINE}{text[: self.width - 1]}")
            self._out.flush()

    def still(self) -> None:
        """Clears the line of moving()."""
        if self._is_moving:
            self._is_moving = False
            self._out.write(_ERASE_LINE)
            self._out.flush()

    # ---------------------------------------------------------------- parts

    def prompt(self, text: str) -> str:
        """The rows of a question except for the last one are printed; the last one is returned, for input()."""
        *before, last = self._rows(text, "", "")
        for row in before:
            self._print(row)
        return f"{last} "

    def _marked(self, mark: str, colour: str, text: str) -> None:
        first, *others = self._rows(text, mark, "  ")
        self._print(self._in(colour, mark.strip()) + first[len(mark) - 1 :])
        for row in others:
            self._print(row)

    def _rows(self, text: str, lead: str, indent: str) -> list[str]:
        text = printable(text)
        if not self.is_terminal:
            return [f"{lead}{text}"]
        most = self.width - 1
        rows = self._wrapped(text, most - max(columns(lead), columns(indent)))
        return [f"{indent if number else lead}{row}" for number, row in enumerate(rows)]

    def _wrapped(self, text: str, most: int) -> list[str]:
        wide = sum(columns(sign) - 1 for sign in text)
        # Wide characters are rare here; a row with them is made shorter by as many columns as they may need.
        return textwrap.wrap(printable(text), max(8, most - wide), break_on_hyphens=False) or [""]

    def _print(self, text: str = "") -> None:
        self.still()
        self._out.write(f"{text}\n")
        self._out.flush()

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._has_colour else text


def _widths(heading: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[int]:
    """The widths of the columns: as wide as their texts where there is room; otherwise the widest one gives way first,
    as long as its longest word fits."""
    cells = [[row[at] for row in (heading, *rows)] for at in range(len(heading))]
    widths = [max(map(columns, texts)) for texts in cells]
    words = [max(columns(word) for text in texts for word in text.split() or [""]) for texts in cells]
    room = most - 2 * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _NARROWEST_COLUMN:
        breaks = [width <= word for width, word in zip(widths, words, strict=True)]
        at = max(range(len(widths)), key=lambda number: (not breaks[number], widths[number]))
        widths[at] -= 1
    return widths


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell + " " * (width - columns(cell)) for cell, width in zip(cells, widths, strict=True)).rstrip()
