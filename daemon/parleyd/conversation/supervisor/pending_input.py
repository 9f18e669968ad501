"""What was said, spoken or typed, and no agent has answered: how old it is, and when it is given up."""

from __future__ import annotations

import logging
import time

from parleyd.conversation.dialogue.agent_input import ToAgent
from parleyd.conversation.session.outbox import Outbox
from parleyd.conversation.session.uplink import GivenUp, Loss
from parleyd.core import events
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)


class Unanswered:
    """For the supervisor's thread, but for tell_loss()."""

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

    @property
    def oldest_spoken_s(self) -> float | None:
        """When the oldest utterance of it was over."""
        return self._outbox.kept_from_s

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

    def give_up(self, before_s: float, cause: str, *, was_heard_out: bool = False) -> None:
        """Speech from before before_s. was_heard_out: the agent has had its time for all that was sent."""
        self._tell(self._outbox.forget(before_s, time.monotonic()), cause, was_heard_out=was_heard_out)

    def give_up_old(self, before_s: float, cause: str) -> None:
        """Utterances that were over before before_s."""
        self._tell(self._outbox.forget_ended(before_s, time.monotonic()), cause)

    def give_up_all(self, now_s: float, cause: str) -> None:
        """Speech and what was typed."""
        self.give_up(float("inf"), cause)
        self._to_agent.forget_typed(now_s, cause)

    def tell_loss(self, loss: Loss) -> None:
        """Any thread: speech that no agent will hear."""
        # Not a warning: if it is due to an outage, that has been told.
        about = fields(reason=loss.cause)
        log.info("%.2f s of speech reached no agent: %s", loss.lost_ms / 1000, loss.cause, extra=about)
        self._bus.publish(events.SpeechLost(at_s=time.monotonic(), lost_ms=loss.lost_ms, cause=loss.cause))

    def _tell(self, gone: GivenUp, cause: str, *, was_heard_out: bool = False) -> None:
        passed_over_ms = gone.sent_ms if was_heard_out else gone.passed_over_ms
        if passed_over_ms and not was_heard_out:
            # It was not lost: the agent had it, and had the time for it.
            log.info("the agent has made nothing of %.2f s of speech", passed_over_ms / 1000)
        lost_ms = gone.unsent_ms + gone.sent_ms - passed_over_ms
        if not lost_ms or self._refused:
            return
        if gone.sent_ms > passed_over_ms:
            cause += "; it was sent, but never shown to have been heard"
        self.tell_loss(Loss(lost_ms, cause))
