"""Says that the fallback answers instead of the agent: once, until the agent has answered again."""

from __future__ import annotations

import contextlib

from parleyd.announce.announcer import AnnouncementRefusedError, Announcer
from parleyd.config.schema import Config
from parleyd.core import events


class FallbackNotice:
    """A subscriber of the bus. config: may be replaced while it runs. announcer: None without sound."""

    def __init__(self, config: Config, announcer: Announcer | None) -> None:
        self.config = config
        self._announcer = announcer

    def __call__(self, event: events.Event) -> None:
        if not isinstance(event, events.FallbackBegan) or not event.is_first or self._announcer is None:
            return
        text = self.config.local.text
        if text is not None:
            # By the voice of this machine, which needs no network; one that is missing is told by `parleyd check`.
            with contextlib.suppress(AnnouncementRefusedError):
                self._announcer.announce(text, now=False, local=True)
