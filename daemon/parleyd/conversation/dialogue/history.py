"""What was said, as really heard, and how it is carried over into a new session. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

PREFACE = "This goes on with a conversation from {ago}. What was said so far, to be continued without a new greeting:"


@dataclass(slots=True)
class Line:
    speaker: str  # "user" or "agent"
    text: str
    at_s: float
    answer: int | None = None
    cut: bool = False


class History:
    """The last lines of the conversation. Bounded in lines; in characters and age where it is carried over.

    max_age_s: of what was said last.
    """

    def __init__(self, max_lines: int, max_chars: int, max_age_s: float) -> None:
        self._lines: deque[Line] = deque()
        self.bound(max_lines, max_chars, max_age_s)

    def bound(self, max_lines: int, max_chars: int, max_age_s: float) -> None:
        self._lines = deque(self._lines, maxlen=max_lines)
        self._max_chars = max_chars
        self._max_age_s = max_age_s

    @property
    def last_answer(self) -> int:
        """The number of the answer whose text came last; 0 where there is none."""
        return next((line.answer for line in reversed(self._lines) if line.answer is not None), 0)

    def user_said(self, text: str, now_s: float) -> None:
        if text.strip():
            self._lines.append(Line("user", text.strip(), now_s))

    def agent_says(self, text: str, answer: int, now_s: float) -> None:
        """answer: the number of the answer this text will be heard as."""
        if text.strip():
            self._lines.append(Line("agent", text.strip(), now_s, answer))

    def corrected(self, text: str) -> None:
        """The server's word on what of its last answer was said."""
        for line in reversed(self._lines):
            if line.speaker == "agent":
                line.text, line.cut = text.strip(), True
                return

    def cut(self, answer: int, heard_ms: int, total_ms: int) -> None:
        """An answer was cut: keep the words that fit what was heard. The server's correction comes later, if ever."""
        for line in self._lines:
            if line.answer == answer and not line.cut and total_ms > 0:
                line.text = words_heard(line.text, heard_ms, total_ms)
                line.cut = True

    def never_heard(self, after: int) -> None:
        """Answers with a higher number have a text, and their sound is dropped before it began: nobody heard them."""
        for line in self._lines:
            if line.answer is not None and line.answer > after:
                line.text, line.cut = "", True

    def clear(self) -> None:
        self._lines.clear()

    def carried_over(self, now_s: float) -> str | None:
        """A contextual update for the next session; None when there is nothing to tell."""
        lines: list[str] = []
        room = self._max_chars
        newest_s = self._lines[-1].at_s if self._lines else float("-inf")
        if now_s - newest_s > self._max_age_s:
            return None
        for line in reversed(self._lines):
            if not line.text:
                continue
            said = f"{line.speaker}: {line.text}" + (" … (interrupted)" if line.cut else "")
            room -= len(said)
            if room < 0:
                break
            lines.append(said)
        if not lines:
            return None
        return "\n".join([PREFACE.format(ago=_ago(now_s - newest_s)), *reversed(lines)])


def words_heard(text: str, heard_ms: int, total_ms: int) -> str:
    """Words are taken to be spread evenly over the sound; total_ms is what had been received of it."""
    words = text.split()
    return " ".join(words[: len(words) * min(heard_ms, total_ms) // total_ms]) if total_ms > 0 else ""


def _ago(age_s: float) -> str:
    if age_s < 15:
        return "a moment ago"
    return f"{age_s:.0f} seconds ago" if age_s < 100 else f"{age_s / 60:.0f} minutes ago"
