"""What was said, spoken or typed, and no agent has answered: how old it is, and when it is given up."""

from __future__ import annotations

import logging
import time

from parleyd import events
from parleyd.conversation.outbox import Outbox
from parleyd.conversation.to_agent import ToAgent
from parleyd.log_fields import fields

log = logging.getLogger(__name__)


class Unanswered:
    """For the supervisor's thread."""

    def __init__(self, outbox: Outbox, to_agent: ToAgent, bus: events.Bus) -> None:
        self._outbox = outbox
        self._to_agent = to_agent
        self._bus = bus
        self._refused = False

    @property
    def newest_s(self) -> float | None:
        """When the newest of it was said."""
        said_s = (self._outbox.kept_until_s, self._to_agent.typed_s)
        return max((at_s for at_s in said_s if at_s is not None), default=None)

    def refused(self) -> None:
        """There may be no session for it now."""
        self._outbox.forget()
        self._to_agent.forget_typed(float("inf"), "no session may be begun now")
        self._refused = True

    def admitted(self, talk_begins_s: float) -> None:
        """There may be one. talk_begins_s: from then on speech belongs to what is being said right now."""
        if self._refused:
            # The rest of what was said then is for nobody; what is being said right now is for the agent.
            self._refused = False
            self._outbox.forget(min(time.monotonic(), talk_begins_s))

    def give_up(self, before_s: float, cause: str) -> None:
        """Speech from before before_s; tells of what was never sent."""
        lost_ms = self._outbox.forget(before_s)
        if lost_ms and not self._refused:
            # Not a warning: if it is due to an outage, that has been told.
            log.info("%.2f s of speech reached no agent: %s", lost_ms / 1000, cause, extra=fields(reason=cause))
            self._bus.publish(events.SpeechLost(at_s=time.monotonic(), lost_ms=lost_ms, cause=cause))

    def give_up_all(self, now_s: float, cause: str) -> None:
        """Speech and what was typed."""
        self.give_up(float("inf"), cause)
        self._to_agent.forget_typed(now_s, cause)
