"""Decides from events when an announcement may begin without talking over anybody. Pure: time is an argument."""

from __future__ import annotations

import math

from parleyd.core import events
from parleyd.core.states import State

# The silence that is required before an announcement.
PAUSE_S = 0.8
# How long an answer is expected after the person has spoken or typed.
OWED_S = 6.0

# In these states speech in the room is for the agent. While the daemon waits for its next try to connect, no answer is
# on its way, but what is said is kept for the next session.
_LISTENING = frozenset((State.CONNECTING.value, State.LIVE.value, State.BACKING_OFF.value))
_IN_CONVERSATION = _LISTENING - {State.BACKING_OFF.value}


class Gap:
    """step() takes every event in order."""

    def __init__(self) -> None:
        self._listens = self._in_conversation = False
        self._talking = False
        self._answering = False
        self._owed_since_s = -math.inf
        self._voice_s = -math.inf  # somebody's voice was last heard

    def step(self, event: events.Event) -> None:
        match event:
            case events.StateChanged(after=after):
                self._listens, self._in_conversation = after in _LISTENING, after in _IN_CONVERSATION
            case events.UtteranceStarted():
                self._talking = True
            case events.UtteranceEnded():
                # Not TalkStopped: until the gate closes the person may only be taking breath.
                self._talking = False
                self._owed_since_s = self._voice_s = event.at_s
            case events.Typed():
                self._owed_since_s = event.at_s
            case events.AnswerStarted():
                self._answering = True
                self._owed_since_s = -math.inf
            case events.AnswerEnded():
                self._answering = False
                self._voice_s = event.at_s

    @property
    def talking(self) -> bool:
        """Whether a person talks, to the agent or to others."""
        return self._talking

    def free(self, now_s: float) -> bool:
        """Whether an announcement may begin. While the daemon is asleep, speech in the room is ignored; but the agent's
        goodbye is waited for."""
        if self._answering or (self._listens and self._talking):
            return False
        if not self._listens:
            return True
        is_owed = self._in_conversation and now_s - self._owed_since_s < OWED_S
        return now_s - self._voice_s >= PAUSE_S and not is_owed
