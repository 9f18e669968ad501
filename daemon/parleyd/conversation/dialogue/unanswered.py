"""The words that the agent has understood and not answered yet. Pure.

When the line is lost between the transcript and the answer, the sound of the question is not sent again, since the
agent has shown that it heard it (session/uplink.py); so the next session is asked in words, whoever it is with. A
session that is exchanged in a pause between turns asks nothing again, for what was not answered there was passed over;
but if the exchange is for another agent, that one is asked.

Words for which the agent has called a tool are not put to anybody again: it would act twice.
"""

from __future__ import annotations

from msgspec import Struct

from parleyd.agents.events import MAX_TEXT_CHARS

# Older words are not put to anybody any more. A line that dies without a word is noticed after 20 s.
ASKED_AGAIN_S = 60.0


class _Words(Struct):
    """said_s: when the agent had taken them in, by sound. is_taken: their sound is not sent again."""

    text: str
    said_s: float
    is_taken: bool


class Unanswered:
    """Times are monotonic, in order."""

    def __init__(self) -> None:
        self._words: list[_Words] = []
        self._answered_s = self._taken_s = float("-inf")

    def understood(self, text: str, said_s: float, now_s: float, *, announces_speech: bool) -> None:
        """A final transcript. said_s: when the words were expected, or now. announces_speech: the agent tells by
        taken() what need not be sent again; of others a transcript shows that."""
        if said_s < self._answered_s:
            # A transcript that comes after the answer has begun.
            return
        self._words.append(_Words(text, said_s, not announces_speech or said_s <= self._taken_s))
        self._forget_old(now_s)
        while len(self._words) > 1 and sum(len(one.text) for one in self._words) > MAX_TEXT_CHARS:
            del self._words[0]

    def taken(self, now_s: float) -> None:
        """The agent announces that it has the sound of what was said so far."""
        self._taken_s = now_s
        for one in self._words:
            one.is_taken = True

    def answered(self, now_s: float) -> None:
        """An answer begins, or a tool is called."""
        self._answered_s = now_s
        self._words.clear()

    def clear(self) -> None:
        self._words.clear()

    def to_ask(self, now_s: float) -> str | None:
        """Returns the words for a new session; None: there are none. They stay unanswered until there is an answer."""
        self._forget_old(now_s)
        self._words = [one for one in self._words if one.is_taken]
        return " ".join(one.text for one in self._words) or None

    def _forget_old(self, now_s: float) -> None:
        self._words = [one for one in self._words if now_s - one.said_s <= ASKED_AGAIN_S]
