"""Cuts a growing text into pieces that are spoken one by one: the first clause, then sentences. Pure.

The first sound does not wait for the first sentence: a clause of twelve signs is enough. Sentences are found by
sentence-stream, which knows abbreviations and numbers.
"""

from __future__ import annotations

import re

from sentence_stream import SentenceBoundaryDetector

from parleyd.embedded.mind.speakable import settled_until, speakable, with_times, without_directions, without_hidden

# A shorter beginning ("Well,") sounds cut off, and saves hardly any time. Chinese and Japanese say more in as many
# signs, and have no blank behind their punctuation.
FIRST_CLAUSE_CHARS, FIRST_CLAUSE_WIDE_CHARS = 12, 5
# A clause does not end between the digits of a number (22,1), nor inside a time (10:30).
_CLAUSE_END = re.compile(
    rf"^(?:.{{{FIRST_CLAUSE_CHARS},}}?[,;:—–](?=\s)|.{{{FIRST_CLAUSE_WIDE_CHARS},}}?[，；：])", re.DOTALL
)


class Pieces:
    """Use add() for each part of the text, and end() once."""

    def __init__(self) -> None:
        self._detector = SentenceBoundaryDetector()
        self._held = ""
        self._before = "\n"
        self._has_begun = False

    def add(self, text: str) -> list[str]:
        """The pieces that are complete now."""
        self._held += text
        at = settled_until(self._held)
        settled, self._held = self._plain(self._held[:at]), self._held[at:]
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
        rest, self._held = self._plain(self._held), ""
        found = [*self._detector.add_chunk(rest), self._detector.finish()]
        return [piece for one in found if (piece := speakable(one))]

    def _plain(self, text: str) -> str:
        """The text without what is not spoken at all; sentences are found in the rest."""
        shown = without_hidden(text)
        spoken = without_directions(shown, self._before)
        self._before = (self._before + shown)[-2:]
        return with_times(spoken)


def _ends_sentence(text: str) -> bool:
    return re.search(r"[.!?]\s|[。！？]", text) is not None
