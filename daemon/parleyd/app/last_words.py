"""The last sentences of the person and of the agent, for `parleyd status`. Pure.

They stay in memory, and are part of no log, no file and no status that does not ask for them. Nothing older than an
hour is told; it is deleted by the next event, whatever that is, or by the next question.
"""

from __future__ import annotations

from msgspec import Struct

from parleyd.core import events
from parleyd.core.text import bounded

KEPT_S = 3600.0
_MOST_CHARS = 500


class Said(Struct, frozen=True):
    """typed: the person wrote it. interrupted: text is the part of the answer that was heard."""

    text: str
    ago_s: float
    typed: bool = False
    interrupted: bool = False


class Words(Struct, frozen=True):
    """None: nothing within KEPT_S."""

    heard: Said | None
    answered: Said | None


class LastWords:
    """Not thread-safe: its owner's lock protects it."""

    def __init__(self) -> None:
        self._heard: tuple[float, Said] | None = None
        self._answered: tuple[float, Said] | None = None
        self._answer = 0  # the number of the answer that is kept

    def take(self, event: events.Event) -> None:
        self._forget(event.at_s)
        match event:
            case events.Heard(text=text, final=True) if text.strip():
                self._heard = event.at_s, Said(bounded(text, _MOST_CHARS), 0.0)
            case events.Typed(text=text):
                self._heard = event.at_s, Said(bounded(text, _MOST_CHARS), 0.0, typed=True)
            case events.AnswerText(text=text, corrected=corrected, answer=answer) if text.strip():
                self._answered = event.at_s, Said(bounded(text, _MOST_CHARS), 0.0, interrupted=corrected)
                self._answer = answer
            case events.AnswerText(corrected=True, answer=answer) if answer == self._answer:
                # It was cut before anything of it was heard.
                self._answered = None
            case _:
                pass

    def words(self, now_s: float) -> Words:
        self._forget(now_s)
        return Words(_said(self._heard, now_s), _said(self._answered, now_s))

    def _forget(self, now_s: float) -> None:
        """Deletes what is older than KEPT_S."""
        self._heard, self._answered = (
            None if kept is None or now_s - kept[0] > KEPT_S else kept for kept in (self._heard, self._answered)
        )


def _said(kept: tuple[float, Said] | None, now_s: float) -> Said | None:
    if kept is None:
        return None
    at_s, said = kept
    return Said(said.text, round(max(0.0, now_s - at_s), 1), said.typed, said.interrupted)
