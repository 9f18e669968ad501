"""Stores the book of usage in a file."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from parleyd.host.files import read_file, replace_file
from parleyd.host.told_once import ToldOnce
from parleyd.usage.ledger import Amount, Book

log = logging.getLogger(__name__)

FILE_NAME = "usage.json"
MOST_BYTES = 1_000_000
_NUMBERS = [name for name in Amount.__struct_fields__ if name != "tokens"]


def read_book(path: Path) -> Book:
    """The stored book. Raises OSError, MsgspecError, UnicodeDecodeError."""
    return msgspec.json.decode(read_file(path, MOST_BYTES), type=Book)


class Store:
    """directory: None: nothing is stored."""

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / FILE_NAME if directory is not None else None
        self._told = ToldOnce(log)

    def load(self) -> Book:
        """The stored book; an empty one if there is none. A file that cannot be read is renamed."""
        if self._path is None:
            return Book()
        try:
            return read_book(self._path)
        except FileNotFoundError:
            return Book()
        except OSError as error:
            # The next save would overwrite it.
            self._set_aside(self._path, f"cannot be read ({error.strerror})")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._set_aside(self._path, "is damaged")
        return Book()

    def _set_aside(self, path: Path, why: str) -> None:
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
        except OSError as error:
            text = "%s %s, and cannot be set aside (%s); usage is counted from zero"
            log.warning(text, path, why, error.strerror)
        else:
            log.warning("%s %s; usage is counted from zero, and what there was is in %s", path, why, aside)

    def save(self, book: Book) -> None:
        """Never raises: a full or read-only disk is reported once, and the next save contains everything."""
        if self._path is None:
            return
        rounded = Book(_all_rounded(book.days), _all_rounded(book.months), _rounded(book.undated))
        try:
            replace_file(self._path, msgspec.json.format(msgspec.json.encode(rounded), indent=1) + b"\n")
        except OSError as error:
            text = f"the usage cannot be kept: {self._path}: {error.strerror}"
            self._told.trouble(text, "make room, or make the directory writable; it is tried again")
        else:
            self._told.over("the usage can be kept again")


def _all_rounded(amounts: dict[str, Amount]) -> dict[str, Amount]:
    return {name: _rounded(amount) for name, amount in amounts.items()}


def _rounded(amount: Amount) -> Amount:
    # A cached token costs less than a millionth.
    digits = {"money": 9}
    numbers = {name: round(getattr(amount, name), digits.get(name, 3)) for name in _NUMBERS}
    return Amount(**numbers, tokens={kind: round(count, 3) for kind, count in amount.tokens.items()})
