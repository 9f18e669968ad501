"""Wraps words into lines, as they come. Pure."""

from __future__ import annotations

import unicodedata

from parleyd.core.text import printable


def columns(text: str) -> int:
    """The width of a text on a terminal: East Asian characters and most emoji take two columns, combining marks
    none."""
    return sum(_columns_of(sign) for sign in text)


def _columns_of(sign: str) -> int:
    if sign.isascii():
        return 1
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1


class Wrap:
    """Takes text in pieces of any size, and returns the printable part: a word is kept until it is complete.

    indent: before every line. width: of the terminal; lines stay shorter, so that the terminal does not wrap them."""

    def __init__(self, indent: str, width: int) -> None:
        self._indent = indent
        self._most = max(width - 1 - len(indent), 10)
        self._column = 0
        self.is_empty = True  # nothing has come yet
        self._is_fresh = True
        self._blanks = ""
        self._word = ""

    def feed(self, text: str) -> str:
        self.is_empty &= not text
        return "".join(map(self._take, printable(text)))

    def end(self) -> str:
        """Returns the rest, and the end of the last line."""
        rest = self._flush()
        return rest if self._is_fresh and not rest else rest + "\n"

    def _take(self, sign: str) -> str:
        if sign == "\n":
            done = self._flush() + "\n"
            self._column, self._is_fresh, self._blanks = 0, True, ""
            return done
        if sign == " ":
            done = self._flush()
            self._blanks += sign
            return done
        self._word += sign
        # The word is longer than a line, or the text has no spaces.
        return self._flush() if columns(self._word) >= self._most else ""

    def _flush(self) -> str:
        if not self._word:
            return ""
        word, blanks, self._word, self._blanks = self._word, self._blanks, "", ""
        wide = columns(word)
        shown = blanks + word
        if self._is_fresh:
            shown = self._indent + blanks[: self._most // 2] + word
            self._column = len(blanks[: self._most // 2]) + wide
        elif self._column + len(blanks) + wide > self._most:
            shown = f"\n{self._indent}{word}"
            self._column = wide
        else:
            self._column += len(blanks) + wide
        self._is_fresh = False
        return shown
