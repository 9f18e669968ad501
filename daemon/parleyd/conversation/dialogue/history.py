"""The conversation so far, as really heard, and the part of it that a new session is told. Pure.

Words of the person may come late: after the answer to them, or after later words. Their place is kept by expect().
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from parleyd.agents.history import line
from parleyd.agents.provider import Said

# The number of answers that are remembered as cut, for texts that come after the cut; and of places that are kept.
_REMEMBERED = 64


class HistoryEntry(Struct):
    """A text that one side said. place: in the order of the entries. at_s: monotonic. whole: the text as it came.
    answer: the number of the answer, if it is the agent's. cut: the text is only the part that was heard. corrected:
    that part is the server's own account."""

    place: int
    who: Literal["person", "agent"]
    text: str
    at_s: float
    whole: str
    answer: int | None = None
    cut: bool = False
    corrected: bool = False


class History:
    """The last lines of the conversation. Bounded in lines; in characters and age where it is carried over.

    max_age_s: the age of the last line beyond which nothing is carried over.
    """

    def __init__(self, max_lines: int, max_chars: int, max_age_s: float) -> None:
        self._entries: list[HistoryEntry] = []
        self._last_place = 0
        # The places of words that are expected, and when they were said.
        self._expected: OrderedDict[int, tuple[int, float]] = OrderedDict()
        # For each answer that was cut: the sound that was heard, and all that had come, in milliseconds.
        self._cuts: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self.bound(max_lines, max_chars, max_age_s)

    def bound(self, max_lines: int, max_chars: int, max_age_s: float) -> None:
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._max_age_s = max_age_s
        del self._entries[:-max_lines]

    def expect(self, said: int, now_s: float) -> None:
        """Keeps the place of words that come later. said: their number."""
        self._last_place += 1
        self._expected[said] = self._last_place, now_s
        if len(self._expected) > _REMEMBERED:
            self._expected.popitem(last=False)

    def user_said(self, text: str, now_s: float, said: int = 0) -> None:
        """said: the number of words that were expected; 0: their place is here."""
        place, at_s = self._expected.pop(said, (0, now_s))
        if text.strip():
            self._add(place, "person", text.strip(), at_s)

    def _add(self, place: int, who: Literal["person", "agent"], text: str, at_s: float) -> HistoryEntry:
        """place: 0 is behind all others."""
        if not place:
            self._last_place = place = self._last_place + 1
        added = HistoryEntry(place, who, text, at_s, text)
        bisect.insort(self._entries, added, key=lambda one: one.place)
        del self._entries[: -self._max_lines]
        return added

    def agent_says(self, text: str, answer: int, now_s: float) -> str | None:
        """answer: the number of the answer as which this text will be heard. Returns the words of it that were heard,
        if the answer was cut before its text came; otherwise None."""
        if not text.strip():
            return None
        said = self._add(0, "agent", text.strip(), now_s)
        said.answer = answer
        if answer not in self._cuts:
            return None
        self._shorten(answer)
        return said.text

    def corrected(self, answer: int, text: str) -> None:
        """The server's account of the words of this answer that were said."""
        for said in reversed(self._entries):
            if said.answer == answer:
                said.text, said.cut, said.corrected = text.strip(), True, True
                return

    def cut(self, answer: int, heard_ms: int, total_ms: int) -> str | None:
        """An answer was cut: keeps the words that fit the sound that was heard, and returns them; None: there is no
        such line. The server's correction comes later, if ever."""
        if total_ms > 0:
            self._cut(answer, heard_ms, total_ms)
        return self.words_of(answer)

    def words_of(self, answer: int) -> str | None:
        """All words of this answer, as they were heard; None: there is no line of it."""
        texts = [one.text for one in self._entries if one.answer == answer]
        return " ".join(filter(None, texts)) if texts else None

    def never_heard(self, answers: Iterable[int]) -> None:
        """These answers were cut before their sound began: nobody heard them."""
        for answer in answers:
            self._cut(answer, 0, 0)

    def _cut(self, answer: int, heard_ms: int, total_ms: int) -> None:
        self._cuts[answer] = heard_ms, total_ms
        while len(self._cuts) > _REMEMBERED:
            self._cuts.popitem(last=False)
        self._shorten(answer)

    def _shorten(self, answer: int) -> None:
        """An answer may have come in several texts: their sounds follow one another, and the cut falls into one."""
        texts = [said for said in self._entries if said.answer == answer and not said.corrected]
        left = len(words_heard(" ".join(said.whole for said in texts), *self._cuts[answer]).split())
        for said in texts:
            words = said.whole.split()
            said.text = " ".join(words[:left]) if left < len(words) else said.whole
            said.cut = left <= len(words) or said is texts[-1]
            left = max(0, left - len(words))

    def clear(self) -> None:
        self._entries.clear()
        self._expected.clear()

    def carried_over(self, now_s: float) -> Sequence[Said]:
        """The lines that the next session is told, oldest first; empty when there is nothing to tell."""
        lines: list[Said] = []
        left_chars = self._max_chars
        if not self._entries or now_s - self._entries[-1].at_s > self._max_age_s:
            return ()
        for one in reversed(self._entries):
            if not one.text:
                continue
            said = Said(one.who, one.text, now_s - one.at_s, one.cut)
            left_chars -= len(line(said))
            if left_chars < 0:
                break
            lines.append(said)
        return tuple(reversed(lines))


def words_heard(text: str, heard_ms: int, total_ms: int) -> str:
    """The words are taken to be spread evenly over the sound. total_ms: of all sound that had been received."""
    words = text.split()
    return " ".join(words[: len(words) * min(heard_ms, total_ms) // total_ms]) if total_ms > 0 else ""
