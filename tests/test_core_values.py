"""Texts, plain values and errors of the ground floor."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import pytest
from msgspec import Struct

from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.core.events import SpeechLost
from parleyd.core.plain import plain
from parleyd.core.text import (
    MAX_CAUSE_CHARS,
    bounded,
    cause,
    clean,
    json_text,
    name_text,
    one_line,
    printable,
    question,
    settled,
    without,
)
from parleyd.core.veiled import Veiled


class Colour(Enum):
    RED = "red"


class Point(Struct):
    x: int


class Shade(Struct, omit_defaults=True):
    level: int
    name: str = ""


@dataclass
class Line:
    start: Point
    colour: Colour
    notes: tuple[object, ...] = ()


def test_plain_values_are_what_json_has() -> None:
    line = Line(Point(1), Colour.RED, (None, 1.5, True, {2: "\ud800"}))
    assert plain(line) == {"start": {"x": 1}, "colour": "red", "notes": [None, 1.5, True, {"2": "?"}]}
    assert plain(Colour) == str(Colour)
    assert plain(Shade(3)) == {"level": 3}
    # An event, whose text may be anything that came from outside.
    lost = SpeechLost(at_s=1.5, lost_ms=20, cause="\ud800")
    assert plain(lost) == {"at_s": 1.5, "lost_ms": 20, "cause": "?"}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (printable("a\u200db\u202ec\x1bd\r\ne"), "a\u200dbc d\ne"),
        (one_line("well"), "well"),
        (one_line("a\nb\x1b"), "a\\nb\\x1b"),
        (name_text("light.on"), "light.on"),
        (name_text("a b"), '"a b"'),
        (json_text({"ü": "\u202e"}), '{"ü": "\\u202e"}'),
        (clean("a\x00b\tc\r\n\ud800"), "ab\tc\n?"),
        (bounded("four", 4), "four"),
        (bounded("x" * 60, 40), "x" * 14 + " [cut: 46 more characters]"),
        (bounded("x" * 60, 1), " [cut: 60 more characters]"),
        (cause("first\n  last  \n\n"), "last"),
        (cause("\n \n"), ""),
        (cause("the key is s3cret", ["s3cret"]), "the key is ********"),
        (without('say "a\\"b"', ['a"b']), 'say "********"'),
        (question({"name": "pay", "service": "bank", "parameters": {"amount": 5}}), 'pay of bank with {"amount": 5}'),
        (question({"name": "door", "parameters": {}}), "door with {}"),
        (settled("door", "person", allowed=True), "a person allowed door"),
        (settled("door", "person", allowed=False), "a person denied door"),
        (settled("door", "deadline", allowed=False), "door was not done: nobody allowed it in time"),
        (settled("door", "the session ended", allowed=False), "door was not done: the session ended"),
    ],
)
def test_texts(made: str, expected: str) -> None:
    assert made == expected


def test_a_long_cause_is_cut() -> None:
    assert len(cause("x" * 1000)) <= MAX_CAUSE_CHARS


def test_the_error_of_a_dial_says_its_reason() -> None:
    ending = Ending(EndingKind.RETRY, "nobody answers")
    error = DialError(ending)
    assert (str(error), error.ending) == ("nobody answers", ending)


class Piece(Veiled, frozen=True):
    hidden = ("sound", "key")

    name: str
    sound: bytes
    key: str = "secret"


def test_a_veiled_struct_leaves_fields_out_of_its_text() -> None:
    piece = Piece("greeting", b"12")
    assert f"{piece}" == f"{piece!r}" == "Piece(name='greeting')"
    assert piece != Piece("greeting", b"13"), "they count all the same"
    assert plain(piece) == {"name": "greeting", "sound": "b'12'", "key": "secret"}


def test_what_a_veiled_struct_hides_is_a_field() -> None:
    def all_of(kind: type[Veiled]) -> Iterator[type[Veiled]]:
        yield kind
        for one in kind.__subclasses__():
            yield from all_of(one)

    importlib.import_module("parleyd.app.service")
    known = [one for one in all_of(Veiled) if one is not Veiled]
    assert len(known) > 5
    for one in known:
        assert one.hidden
        assert set(one.hidden) <= set(one.__struct_fields__), one
