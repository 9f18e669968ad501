"""When a live session has been quiet for long enough to be ended."""

from __future__ import annotations

from parleyd.config.schema import Session
from parleyd.conversation.dialogue import Dialogue
from parleyd.conversation.states import Trigger

# How often a conversation that is to end is looked at: how long it takes is decided by what the agent still says.
FAREWELL_LOOK_S = 0.25


class Quiet:
    """For the supervisor's thread, while a session is live.

    held_open: quiet is no reason to end it. by_speech: that is what woke us.
    """

    def __init__(self, dialogue: Dialogue, section: Session) -> None:
        self._dialogue = dialogue
        self._section = section

    def reconfigure(self, section: Session) -> None:
        self._section = section

    def next_look_s(self, now_s: float, *, held_open: bool, by_speech: bool) -> float:
        """When due() may have another answer; may be infinite."""
        farewell_s = float("inf") if self._dialogue.farewell_s is None else now_s + FAREWELL_LOOK_S
        patience_s = float("inf") if held_open else self._patience_s(by_speech)
        return min(farewell_s, self._dialogue.activity_s + patience_s)

    def due(self, now_s: float, *, held_open: bool, by_speech: bool) -> tuple[Trigger, str] | None:
        """What is to be done after so much quiet, and why."""
        if self._dialogue.busy(now_s):
            return None
        quiet_s, farewell_s = now_s - self._dialogue.activity_s, self._dialogue.farewell_s
        if farewell_s is not None and quiet_s >= farewell_s:
            return Trigger.IDLE, "the agent ended the conversation"
        if held_open or quiet_s < self._patience_s(by_speech):
            return None
        if self.is_false_wake(by_speech):
            return Trigger.FALSE_WAKE, "the agent understood nothing"
        return Trigger.IDLE, f"quiet for {quiet_s:.0f} s"

    def _patience_s(self, by_speech: bool) -> float:
        longest_s = self._section.idle_timeout_s
        return min(longest_s, self._section.false_wake_s) if self.is_false_wake(by_speech) else longest_s

    def is_false_wake(self, by_speech: bool) -> bool:
        """The agent has made nothing of what woke us."""
        return by_speech and not self._dialogue.understood
