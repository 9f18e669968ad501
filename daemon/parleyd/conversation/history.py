"""What was said, as really heard, and how it is carried over into a new session. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MOST_LINES = 12
MOST_CHARACTERS = 2000
PREFACE = (
    "The connection was lost and this is a new one. The conversation so far, to be continued without a new greeting:"
)


@dataclass(slots=True)
class Line:
    speaker: str  # "user" or "agent"
    text: str
    answer: int | None = None
    cut: bool = False


class History:
    """The last lines of the conversation. Bounded in lines, and in characters where it is carried over."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=MOST_LINES)

    def user_said(self, text: str) -> None:
        if text.strip():
            self._lines.append(Line("user", text.strip()))

    def agent_says(self, text: str, answer: int) -> None:
        """answer: the number of the answer this text will be heard as."""
        if text.strip():
            self._lines.append(Line("agent", text.strip(), answer))

    def corrected(self, text: str) -> None:
        """The server's word on what of its last answer was said."""
        for line in reversed(self._lines):
            if line.speaker == "agent":
                line.text, line.cut = text.strip(), True
                return

    def cut(self, answer: int, heard_ms: int, total_ms: int) -> None:
        """An answer was cut: keep the words that fit what was heard. The server's own correction comes later, if ever.

        Words are taken to be spread evenly over the sound; total_ms is what had been received of it.
        """
        for line in self._lines:
            if line.answer == answer and not line.cut and total_ms > 0:
                words = line.text.split()
                line.text = " ".join(words[: len(words) * min(heard_ms, total_ms) // total_ms])
                line.cut = True

    def clear(self) -> None:
        self._lines.clear()

    def carried_over(self) -> str | None:
        """A contextual update for the next session; None when there is nothing to tell."""
        lines: list[str] = []
        room = MOST_CHARACTERS
        for line in reversed(self._lines):
            if not line.text:
                continue
            said = f"{line.speaker}: {line.text}" + (" … (interrupted)" if line.cut else "")
            room -= len(said)
            if room < 0:
                break
            lines.append(said)
        return "\n".join([PREFACE, *reversed(lines)]) if lines else None
