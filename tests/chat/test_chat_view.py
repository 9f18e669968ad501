"""What is shown of a conversation, and how it is broken into lines."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.chat.view import View
from parleyd.chat.wrap import Wrap, columns
from parleyd.core.text import printable


def part(kind: str, text: str = "", part_of: object = 1) -> dict[str, Any]:
    return {"event": "answer_part", "kind": kind, "text": text, "part_of": part_of}


def whole(text: str) -> dict[str, Any]:
    return {"event": "answer_text", "text": text, "corrected": False}


def shown(*events: dict[str, Any], view: View | None = None) -> str:
    """Each answer in brackets."""
    view = view or View()
    marks = {"begin": "[", "end": "]"}
    return "".join(marks.get(piece.kind, piece.text) for event in events for piece in view.take(event))


STREAM = (part("start"), part("delta", "One "), part("delta", "two."), part("stop"))


@pytest.mark.parametrize("place", range(5))
def test_the_whole_text_may_come_anywhere_and_shows_once(place: int) -> None:
    """The real service sends it before or after the last part."""
    events = [*STREAM]
    events.insert(place, whole("One two."))
    assert shown(*events, *(part(it["kind"], it["text"], "next") for it in STREAM)) == "[One two.][One two.]"


def test_whole_texts_alone_and_another_answer_after_them() -> None:
    assert shown(whole("Hello."), whole("Hello.")) == "[Hello.][Hello.]"
    assert shown(whole("Hello."), *STREAM) == "[Hello.][One two.]"


def test_an_answer_that_is_cut_off_and_one_that_comes_over_another() -> None:
    lost = {"event": "trouble", "text": "the line was lost", "hint": None}
    back = {"event": "state_changed", "after": "live", "reason": "ready"}
    assert shown(*STREAM[:2], lost, back, back) == "[One ]the line was lostthe line is back"
    assert shown(*STREAM[:2], part("delta", "Three.", 2), part("stop", "", 2)) == "[One ][Three.]"


def test_what_was_typed_here_is_not_told_again() -> None:
    view = View()
    view.said("mine")
    assert shown({"event": "typed", "text": "mine"}, view=view) == ""
    assert shown({"event": "typed", "text": "mine"}, view=view) == "(written elsewhere) mine"


@given(
    st.text(st.sampled_from("ab \n漢é\u0301\u200d\x1b\x07\t"), max_size=200),
    st.integers(20, 40),
    st.lists(st.integers(0, 200), max_size=5),
)
def test_no_line_is_too_wide_and_no_word_is_lost(text: str, width: int, cuts: list[int]) -> None:
    wrap = Wrap("  ", width)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    out = "".join(map(wrap.feed, pieces)) + wrap.end()
    assert all(columns(line) < width for line in out.split("\n"))
    assert "".join(out.split()) == "".join(printable(text).split())


def test_words_stay_whole() -> None:
    wrap = Wrap("  ", 20)
    assert wrap.feed("the quick brown fox jum") + wrap.feed("ps over") + wrap.end() == (
        "  the quick brown\n  fox jumps over\n"
    )
