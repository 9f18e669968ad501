"""Cuts a growing text into pieces that are spoken one by one: the first clause, then sentences. Pure.

The first sound does not wait for the first sentence: a clause of twelve signs is enough. Sentences are found by
sentence-stream, which knows abbreviations and numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sentence_stream import SentenceBoundaryDetector

from parleyd.embedded.mind.directions import without_directions
from parleyd.embedded.mind.hidden import Shown, without_lone_signs
from parleyd.embedded.mind.speakable import ListNumbers, lone_number, speakable, with_times

# A shorter beginning ("Well,") sounds cut off, and saves hardly any time. Chinese and Japanese say more in as many
# signs, and have no blank behind their punctuation.
FIRST_CLAUSE_CHARS, FIRST_CLAUSE_WIDE_CHARS = 12, 5
# A clause does not end between the digits of a number (22,1), nor inside a time (10:30).
_CLAUSE_END = re.compile(
    rf"^(?:.{{{FIRST_CLAUSE_CHARS},}}?[,;:—–](?=\s)|.{{{FIRST_CLAUSE_WIDE_CHARS},}}?[，；：])", re.DOTALL
)
# A first clause that is longer has no advantage over the sentence.
_FIRST_CLAUSE_MOST_CHARS = 200
# A sentence that is longer is spoken before its end is there; whoever listens would wait for half a minute of words.
MOST_SENTENCE_CHARS = 400
_BREATHS = re.compile(r"[,;:—–]\s+|[，；：、]"), re.compile(r"\s+")


class Pieces:
    """Use add() for each part of the text, and end() once."""

    def __init__(self) -> None:
        self._shown = Shown()
        self._detector = SentenceBoundaryDetector()
        # The text in which the first clause may yet end.
        self._first = ""
        self._before = "\n"
        self._has_begun = False
        self._numbers = ListNumbers()
        # A number alone, which is that of an item of a list if words follow, and spoken if another number does.
        self._number = ""
        self._was_number = self._has_spoken = False

    @property
    def held_chars(self) -> int:
        """How much of the text is looked at again with the next part."""
        return self._shown.held_chars + len(self._first) + len(self._waiting())

    @property
    def is_hidden(self) -> bool:
        """Whether the text ends, so far, within a thought, code or a call, which is not spoken."""
        return self._shown.is_open

    def add(self, text: str) -> list[str]:
        """The pieces that are complete now."""
        shown = self._shown.add(text)
        if self._has_begun:
            plain = self._plain(shown)
            self._pass(plain)
            return self._sentences(plain)
        self._first += shown
        plain = all_plain = self._plain(self._first)
        pieces: list[str] = []
        if (cut := _CLAUSE_END.match(plain)) and "\n" not in cut[0].strip():
            if clause := self._spoken([cut[0]]):
                self._has_begun = True
                pieces += clause
                plain = plain[cut.end() :]
        elif "\n" not in plain and not _ends_sentence(plain) and len(self._first) <= _FIRST_CLAUSE_MOST_CHARS:
            # The first clause may come yet.
            return []
        # The detector has a whole sentence, and tells it with the first letter of the next one, which must reach it.
        self._has_begun = self._has_begun or bool(plain.strip())
        self._pass(all_plain)
        self._first = ""
        return pieces + self._sentences(plain)

    def end(self) -> list[str]:
        """The rest."""
        rest = self._plain(self._first + self._shown.end())
        pieces = self._spoken([*self._detector.add_chunk(rest), self._detector.finish()])
        return [*pieces, self._number] if self._number else pieces

    def _plain(self, shown: str) -> str:
        """The text without what is not spoken at all; sentences are found in the rest."""
        return with_times(without_directions(without_lone_signs(shown), self._before))

    def _pass(self, plain: str) -> None:
        """Directions are judged by what stands before them."""
        self._before = (self._before + plain)[-2:]

    def _sentences(self, plain: str) -> list[str]:
        found = list(self._detector.add_chunk(plain))
        waiting = self._waiting()
        if len(waiting) > MOST_SENTENCE_CHARS:
            at = _breath(waiting)
            self._detector = SentenceBoundaryDetector()
            found += [waiting[:at], *self._detector.add_chunk(waiting[at:])]
        return self._spoken(found)

    def _spoken(self, sentences: Iterable[str]) -> list[str]:
        """The words of these that are spoken."""
        pieces: list[str] = []
        for sentence in sentences:
            number = lone_number(sentence)
            if number is not None:
                may_be_item = self._numbers.goes_on(number) and self._has_spoken and not self._was_number
                if may_be_item and not self._number:
                    self._number = sentence.strip()
                    continue
                pieces += [self._number] if self._number else []
                piece = sentence.strip()
            else:
                piece = speakable(sentence, self._numbers)
            if piece:
                pieces.append(piece)
                self._number, self._was_number, self._has_spoken = "", number is not None, True
        return pieces

    def _waiting(self) -> str:
        return self._detector.current_sentence + self._detector.remaining_text


def _ends_sentence(text: str) -> bool:
    return re.search(r"[.!?]\s|[。！？]", text) is not None


def _breath(text: str) -> int:
    """Where a long sentence is cut: behind its last clause, or its last word."""
    for sign in _BREATHS:
        if ends := [found.end() for found in sign.finditer(text)]:
            return ends[-1]
    return len(text)
