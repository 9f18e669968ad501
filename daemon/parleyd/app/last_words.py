"""The last sentences of the person and of the agent, for `parleyd status`. Pure.

They stay in memory, for an hour at most, and are part of no log, no file and no status that does not ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from parleyd.core import events
from parleyd.core.text import bounded

KEPT_S = 3600.0
_MOST_CHARS = 500


@dataclass(frozen=True, slots=True)
class Said:
    """typed: the person wrote it. interrupted: text is the part of the answer that was heard."""

    text: str
    ago_s: float
    typed: bool = False
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """None: nothing within KEPT_S."""

    heard: Said | None
    answered: Said | None


class LastWords:
    """Not thread-safe: its owner's lock protects it."""

    def __init__(self) -> None:
        self._heard: tuple[float, Said] | None = None
        self._answered: tuple[float, Said] | None = None

    def take(self, event: events.Event) -> None:
        match event:
            case events.Heard(text=text, final=True) if text.strip():
                self._heard = event.at_s, Said(bounded(text, _MOST_CHARS), 0.0)
            case events.Typed(text=text):
                self._heard = event.at_s, Said(bounded(text, _MOST_CHARS), 0.0, typed=True)
            case events.AnswerText(text=text, corrected=corrected) if text.strip():
                self._answered = event.at_s, Said(bounded(text, _MOST_CHARS), 0.0, interrupted=corrected)
            case _:
                pass

    def words(self, now_s: float) -> Words:
        """Forgets what is older than KEPT_S."""
        self._heard, self._answered = (
            None if kept is None or now_s - kept[0] > KEPT_S else kept for kept in (self._heard, self._answered)
        )
        return Words(_said(self._heard, now_s), _said(self._answered, now_s))


def _said(kept: tuple[float, Said] | None, now_s: float) -> Said | None:
    if kept is None:
        return None
    at_s, said = kept
    return Said(said.text, round(max(0.0, now_s - at_s), 1), said.typed, said.interrupted)
