"""A line that is gone: told once when it goes, and once when it is back."""

from __future__ import annotations

import logging
import time

from parleyd import events

log = logging.getLogger(__name__)


class Outage:
    """One owner thread. since_s: None while the line is there."""

    def __init__(self, bus: events.Bus) -> None:
        self._bus = bus
        self._last_told = ""
        self.since_s: float | None = None

    @property
    def is_told(self) -> bool:
        return bool(self._last_told)

    def tell(self, text: str, mend: str | None, level: int) -> None:
        """Once per outage and text: a warning at loss, a line at return, no repeats."""
        if self.since_s is None:
            self.since_s = time.monotonic()
        told = f"{text} -> {mend}" if mend else text
        if told == self._last_told or (self._last_told and level < logging.ERROR):
            log.debug("%s", told)
            return
        self._last_told = told
        log.log(level, "%s", told)
        self._bus.publish(events.Trouble(at_s=time.monotonic(), text=text, mend=mend))

    def over(self, back_s: float) -> None:
        if self.since_s is not None:
            log.warning("the line is back after %.1f s", back_s - self.since_s)
            self.since_s = None
            self._last_told = ""
