"""Writes the conversation to a terminal: indented, wrapped between words, coloured if that is wanted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import TextIO

from parleyd.chat.view import Piece
from parleyd.chat.wrap import Wrap
from parleyd.core.text import printable

INDENT = "  "
_STYLES = {"said": "\x1b[36m", "note": "\x1b[2m", "trouble": "\x1b[33m", "over": "\x1b[33m"}
_PLAIN = "\x1b[0m"


def wants_colour(stream: TextIO) -> bool:
    """Returns False if NO_COLOR (https://no-color.org) is set, or if the terminal has no colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    return os.environ.get("TERM", "dumb") in ("", "dumb")


class Screen:
    """Returns and writes whole lines only; `unfinished` has the words of the line that is not finished yet."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._stream = stream
        self._colour = colour
        self._wrap: Wrap | None = None
        self.unfinished = ""

    def lines(self, pieces: Iterable[Piece]) -> str:
        """Returns the lines that these pieces complete."""
        *whole, self.unfinished = (self.unfinished + "".join(map(self._shown, pieces))).split("\n")
        return "".join(f"{line}\n" for line in whole)

    def show(self, pieces: Iterable[Piece]) -> None:
        self.write(self.lines(pieces))

    def note(self, text: str) -> None:
        self.show([Piece("note", text)])

    def write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _shown(self, piece: Piece) -> str:
        match piece.kind:
            case "begin":
                self._wrap = Wrap(INDENT, _width())
                return ""
            case "text":
                return self._wrap.feed(piece.text) if self._wrap is not None else ""
            case "end":
                wrap, self._wrap = self._wrap, None
                return f"{wrap.end()}\n" if wrap is not None and not wrap.is_empty else ""
            case _:
                return self._line(piece)

    def _line(self, piece: Piece) -> str:
        wrap = Wrap(INDENT, _width())
        mark = "> " if piece.kind == "said" else "- "
        text = wrap.feed(mark + " ".join(printable(piece.text).split())) + wrap.end()
        return f"{_STYLES[piece.kind]}{text.rstrip()}{_PLAIN}\n" if self._colour else text


def _width() -> int:
    # Without a terminal, or with one that does not know its width, this is 80.
    return max(20, shutil.get_terminal_size().columns)
