"""The fields of every log record: state, conversation, utterance. They follow the events of the bus."""

from __future__ import annotations

import logging

from parleyd.core import events
from parleyd.core.log_fields import fields
from parleyd.core.states import State

log = logging.getLogger(__name__)


class Context:
    """Each value is changed by one thread at a time (what the supervisor tells, and ears), and is read by all."""

    def __init__(self) -> None:
        self._state: str | None = None
        self._conversation_id: str | None = None
        self._utterance: int | None = None
        self._talk_ended_s: float | None = None

    @property
    def now(self) -> dict[str, object]:
        """The present fields; None: there is none now."""
        return {
            "state": self._state,
            "conversation_id": self._conversation_id,
            "utterance": self._utterance,
        }

    def follow(self, event: events.Event) -> None:
        """A subscriber of the bus. Also logs the delay of answers, because only this object knows both ends."""
        match event:
            case events.StateChanged(before=before, after=after):
                self._state = after
                if after != State.LIVE.value:
                    # Not at SessionEnded, because the end is logged after it.
                    self._conversation_id = None
                if before == State.ASLEEP.value:
                    self._talk_ended_s = None
            case events.SessionOpened(conversation_id=conversation_id):
                self._conversation_id = conversation_id
            case events.UtteranceStarted(utterance=utterance):
                self._utterance = utterance
            case events.UtteranceEnded():
                self._utterance = None
            case events.TalkStopped(at_s=at_s):
                self._talk_ended_s = at_s
            case events.AnswerStarted(at_s=at_s) if self._talk_ended_s is not None:
                latency_ms = max(0, round((at_s - self._talk_ended_s) * 1000))
                self._talk_ended_s = None
                log.info("the agent answers after %.1f s", latency_ms / 1000, extra=fields(latency_ms=latency_ms))
            case _:
                pass
