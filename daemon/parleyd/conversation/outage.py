"""A line that is gone: told once when it goes, and once when it is back."""

from __future__ import annotations

import logging
import time

from parleyd import events

log = logging.getLogger(__name__)


# A session that lived this long was a good one: after it the delays start from the beginning.
STABLE_S = 10.0


class Outage:
    """One owner thread. live_since_s: when the newest session was opened."""

    def __init__(self, bus: events.Bus) -> None:
        self._bus = bus
        self._last_told = ""
        self._since_s: float | None = None
        self._short_sessions = 0
        self.live_since_s = 0.0

    @property
    def is_told(self) -> bool:
        return bool(self._last_told)

    def tell(self, text: str, mend: str | None, level: int) -> None:
        """Once per outage and text: a warning at loss, a line at return, no repeats."""
        if self._since_s is None:
            self._since_s = time.monotonic()
        told = f"{text} -> {mend}" if mend else text
        if told == self._last_told or (self._last_told and level < logging.ERROR):
            log.debug("%s", told)
            return
        self._last_told = told
        log.log(level, "%s", told)
        self._bus.publish(events.Trouble(at_s=time.monotonic(), text=text, mend=mend))

    def opened(self, now_s: float) -> None:
        self.live_since_s = now_s
        # A line that is lost again at once is not back; then it is told when it has held.
        if self._short_sessions <= 1:
            self._over()

    def was_good(self, now_s: float) -> bool:
        """To be asked once, when a live session has ended."""
        good = now_s - self.live_since_s >= STABLE_S
        self._short_sessions = 0 if good else self._short_sessions + 1
        return good

    @property
    def next_look_s(self) -> float:
        """When to call look() while a session is live."""
        return self.live_since_s + STABLE_S if self._since_s is not None else float("inf")

    def look(self, now_s: float) -> None:
        if now_s - self.live_since_s >= STABLE_S:
            self._over()

    def _over(self) -> None:
        if self._since_s is not None:
            log.warning("the line is back after %.1f s", self.live_since_s - self._since_s)
            self._since_s = None
            self._last_told = ""
