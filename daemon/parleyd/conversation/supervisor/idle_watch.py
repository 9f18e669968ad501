"""When a live session is to be ended because nobody needs it; the decision itself is idle.py's."""

from __future__ import annotations

from parleyd.config.schema import Session
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.conversation.dialogue.idle import Patience
from parleyd.core.states import Trigger

# How often a conversation that is to end is looked at: how long it takes is decided by what the agent still says.
FAREWELL_LOOK_S = 0.25
# A session that the device has opened, and in which nobody has woken the agent, ends after this in any case: a timer
# that goes off in it would hold it for longer.
DEAF_S = 120.0


class Quiet:
    """For the supervisor's thread, while a session is live.

    held_open: no quiet is a reason to end it. by_speech: that is what woke us.
    deaf: the device has opened it, and nobody has woken the agent in it.
    """

    def __init__(self, dialogue: Dialogue, section: Session) -> None:
        self._dialogue = dialogue
        self._section = section

    def reconfigure(self, section: Session) -> None:
        self._section = section

    def next_look_s(self, now_s: float, *, held_open: bool, by_speech: bool, deaf: bool = False) -> float:
        """When due() may have another answer; may be infinite."""
        farewell_s = float("inf") if self._dialogue.farewell_s is None else now_s + FAREWELL_LOOK_S
        if held_open:
            return farewell_s
        return min(farewell_s, self._dialogue.next_idle_look_s(now_s, self._patience(by_speech, deaf)))

    def due(self, now_s: float, *, held_open: bool, by_speech: bool, deaf: bool = False) -> tuple[Trigger, str] | None:
        """What is to be done, and why."""
        farewell_s = self._dialogue.farewell_s
        quiet_s = 0.0 if self._dialogue.busy(now_s) else now_s - self._dialogue.activity_s
        if farewell_s is not None and quiet_s >= farewell_s:
            return Trigger.IDLE, "the agent ended the conversation"
        if held_open:
            return None
        verdict = self._dialogue.no_longer_needed(now_s, self._patience(by_speech, deaf))
        if verdict is None:
            return None
        return Trigger.FALSE_WAKE if verdict.is_false_wake else Trigger.IDLE, verdict.reason

    def is_false_wake(self, by_speech: bool) -> bool:
        """The agent has made nothing of what woke us."""
        return by_speech and not self._dialogue.understood

    def _patience(self, by_speech: bool, deaf: bool) -> Patience:
        section = self._section
        # Who sets a long time for idle means it.
        no_person_s = max(section.no_person_s, section.idle_timeout_s)
        if deaf:
            no_person_s = min(no_person_s, DEAF_S)
        return Patience(section.idle_timeout_s, section.false_wake_s, no_person_s, by_speech)
