"""Tells the people in the room, in the device's own voice, which tool the agent asks their permission for."""

from __future__ import annotations

import logging

from parleyd.announce.announcer import AnnouncementRefusedError, Announcer
from parleyd.core import events

log = logging.getLogger(__name__)


class ConfirmationNotice:
    """On the bus. text: with {tool} for the tool's name, which the configuration gives it; None: nothing is said.

    Parameters are not spoken: an agent could say anything to the room in them.
    """

    def __init__(self, text: str | None, announcer: Announcer) -> None:
        self._text = text
        self._announcer = announcer

    def __call__(self, event: events.Event) -> None:
        if self._text is None or not isinstance(event, events.ConfirmationWanted):
            return
        try:
            self._announcer.announce(self._text.replace("{tool}", event.name.replace("_", " ")), now=True)
        except AnnouncementRefusedError as error:
            # The earcon asks all the same.
            log.debug("the question about %s is not spoken: %s", event.name, error)
