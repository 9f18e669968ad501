"""What the log and the bus are told of the supervisor's moves and of its sessions."""

from __future__ import annotations

import logging
import time
from typing import Literal

from parleyd.agents.agent import Ready
from parleyd.conversation.session.session import NORMAL_CLOSURE
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.core.log_fields import Fields, fields
from parleyd.core.states import State, Trigger

log = logging.getLogger(__name__)


class News:
    """For the supervisor's thread. Every session that is told to have begun is told to have ended."""

    def __init__(self, bus: events.Bus) -> None:
        self._bus = bus
        self._conversation_id = ""

    def woken(self, by: Literal["speech", "word", "command", "device"]) -> None:
        self._bus.publish(events.Woken(at_s=time.monotonic(), by=by))

    def moved(self, before: State, after: State, trigger: Trigger, reason: str, more: Fields, *, again: bool) -> None:
        """again: one of many tries, of which the log has heard enough."""
        level = logging.DEBUG if again else logging.INFO
        told: Fields = {**more, "state": after.value, "reason": reason}
        log.log(level, "%s -> %s (%s)", before.value, after.value, reason, extra=fields(**told))
        self._bus.publish(
            events.StateChanged(
                at_s=time.monotonic(),
                before=before.value,
                after=after.value,
                trigger=trigger.value,
                reason=reason,
            )
        )

    def opened(self, ready: Ready, now_s: float, *, handshake_ms: int, resent_ms: int, tries: int) -> None:
        self._conversation_id = ready.conversation_id
        self._bus.publish(
            events.SessionOpened(
                at_s=now_s,
                conversation_id=ready.conversation_id,
                handshake_ms=handshake_ms,
                resent_ms=resent_ms,
                tries=tries,
            )
        )

    def ended(self, ending: Ending) -> None:
        """Also of a session that never began."""
        conversation_id, self._conversation_id = self._conversation_id, ""
        self._bus.publish(events.SessionEnded(at_s=time.monotonic(), ending=ending, conversation_id=conversation_id))

    def hung_up(self, reason: str) -> None:
        """By us; only of a session that had begun."""
        if self._conversation_id:
            self.ended(Ending(EndingKind.USER, reason, code=NORMAL_CLOSURE))
