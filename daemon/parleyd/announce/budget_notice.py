"""Reports a used budget, and an account without credit: aloud to the people in the room, and a budget that is nearly
used also to the agent of an open session.

When nothing is left, the local voice says so, where there is one: the provider's would cost or fail.
"""

from __future__ import annotations

import contextlib

from parleyd.announce.announcer import AnnouncementRefusedError, Announcer
from parleyd.config.schema import Config
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.core import events


class BudgetNotice:
    """A subscriber of the bus. config: may be replaced while it runs. announcer: None without sound."""

    def __init__(self, config: Config, announcer: Announcer | None, dialogue: Dialogue) -> None:
        self.config = config
        self._announcer = announcer
        self._dialogue = dialogue
        self._is_credit_told = False
        self._is_fallback = False

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.BudgetNear():
                told = _left(event)
                said = self._say_aloud(self.config.budget.near_text)
                mention = "the person was told" if said else "mention it briefly"
                self._dialogue.context(f"{told}; {mention}.", None, by_person=False)
            case events.BudgetSpent():
                self._say_aloud(self.config.budget.spent_text, local=True)
            case events.AnswerFailed(without_credit=True):
                self._tell_credit()
            case events.SessionEnded(ending=ending) if ending.without_credit:
                self._tell_credit()
            case events.SessionOpened(is_fallback=is_fallback):
                self._is_fallback = is_fallback
            case events.AnswerStarted() if not self._is_fallback:
                self._is_credit_told = False
            case _:
                pass

    def _tell_credit(self) -> None:
        """Once, until the agent has answered again; the answers of the fallback say nothing about its account."""
        text = self.config.budget.no_credit_text
        if self._is_credit_told or self._announcer is None or text is None:
            return
        self._is_credit_told = True
        with contextlib.suppress(AnnouncementRefusedError):
            self._announcer.announce(text, now=False, local=True)

    def _say_aloud(self, text: str | None, *, local: bool = False) -> bool:
        """Says the text in the next pause. Returns whether the person is told."""
        if self._announcer is None:
            return False
        if self.config.earcons.budget == "spoken":
            # The spoken earcon says it already.
            return True
        if text is None:
            return False
        try:
            self._announcer.announce(text, now=False, local=local)
        except AnnouncementRefusedError:
            return False
        return True


def _left(event: events.BudgetNear) -> str:
    """For the agent."""
    if event.left_s is not None:
        left = f"{event.left_s / 60:.0f} min" if event.left_s >= 60 else f"{event.left_s:.0f} s"
        return f"This device may talk for another {left} this {event.period}"
    return f"Only {event.left_money or 0:.2f} {event.currency} are left for talking this {event.period}"
