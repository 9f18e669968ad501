"""Whether the agent greets: what is wished, and what it allows."""

from __future__ import annotations

import logging
import time

from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.core.endings import Ending
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)


class Greeting:
    """may_suppress: the agent has not refused to be asked for silence, as far as is known."""

    def __init__(self, config: Config, bus: events.Bus) -> None:
        self._bus = bus
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        self._config = config
        self.may_suppress = True

    def is_unwanted(self, *, asked: bool, in_mid_conversation: bool) -> bool:
        """asked: something has been said already, which is to be answered."""
        wish = self._config.wake.greeting
        return wish == "skip" or (wish == "auto" and asked) or in_mid_conversation

    def is_refused(self, ending: Ending) -> bool:
        """Whether a session in which we had asked for silence ended for that; says so."""
        # One that the user has set is the user's to fix.
        first_message_is_set = self._config.elevenlabs.overrides.first_message is not None
        if ending.refused_override != "first_message" or first_message_is_set:
            return False
        self.may_suppress = False
        text = "the agent does not allow this device to switch off its greeting; what it says first is not played"
        hint = "enable the override 'first_message' under Security in its settings, or set wake.greeting: play"
        log.warning("%s; %s", text, hint, extra=fields(reason=ending.reason, hint=hint))
        self._bus.publish(events.Trouble(at_s=time.monotonic(), text=text, hint=hint))
        return True
