"""Cuts a growing text into pieces that are spoken one by one: the first clause, then sentences. Pure.

The first sound does not wait for the first sentence: a clause of twelve signs is enough. Sentences are found by
sentence-stream, which knows abbreviations and numbers.
"""

from __future__ import annotations

import re

from sentence_stream import SentenceBoundaryDetector

from parleyd.embedded.mind.speakable import (
    begun_product,
    is_settled,
    may_be_call,
    speakable,
    with_times,
    without_hidden,
)

# A shorter beginning ("Well,") sounds cut off, and saves hardly any time.
FIRST_CLAUSE_CHARS = 12
# Not between the digits of a number (22,1), nor at a time (10:30).
_CLAUSE_END = re.compile(rf"^.{{{FIRST_CLAUSE_CHARS},}}?[,;:—–](?=\s)", re.DOTALL)


class Pieces:
    """Use add() for each part of the text, and end() once."""

    def __init__(self) -> None:
        self._detector = SentenceBoundaryDetector()
        self._held = ""
        self._has_begun = False

    def add(self, text: str) -> list[str]:
        """The pieces that are complete now."""
        self._held += text
        if not self._has_begun and may_be_call(self._held):
            return []
        if not is_settled(self._held):
            return []
        settled = with_times(without_hidden(self._held))
        at = begun_product(settled)
        settled, self._held = settled[:at], settled[at:]
        pieces: list[str] = []
        if not self._has_begun and (cut := _CLAUSE_END.match(settled)) and "\n" not in cut[0].strip():
            clause = speakable(cut[0])
            if clause:
                self._has_begun = True
                pieces.append(clause)
                settled = settled[cut.end() :]
        elif not self._has_begun and "\n" not in settled and not _ends_sentence(settled):
            # The first clause may come yet.
            self._held = settled + self._held
            return []
        # The detector has a whole sentence, and tells it with the first letter of the next one, which must reach it.
        self._has_begun = self._has_begun or bool(settled.strip())
        found = [speakable(sentence) for sentence in self._detector.add_chunk(settled)]
        pieces += [one for one in found if one]
        return pieces

    def end(self) -> list[str]:
        """The rest."""
        found = [*self._detector.add_chunk(with_times(self._held)), self._detector.finish()]
        self._held = ""
        return [piece for one in found if (piece := speakable(one))]


def _ends_sentence(text: str) -> bool:
    return re.search(r"[.!?。！？]\s", text) is not None
