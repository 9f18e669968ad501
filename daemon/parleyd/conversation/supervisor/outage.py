"""A line that is gone: told once when it goes, and once when it is back."""

from __future__ import annotations

import logging
import time

from parleyd.core import events
from parleyd.core.endings import Ending
from parleyd.core.log_fields import NOTICE, Fields, fields

log = logging.getLogger(__name__)


# A session that lived this long was a good one: after it the delays start from the beginning.
STABLE_S = 10.0
# Whoever waits for a line that long is told that it is being tried: a look-up, a connection and a first message may
# take the time of session.connect_timeout_s each before there is a reason to tell.
SLOW_S = 5.0
_HINT_SLOW = "`parleyd doctor` finds out what does not answer"


class Outage:
    """One owner thread. live_since_s: when the newest session was opened."""

    def __init__(self, bus: events.Bus) -> None:
        self._bus = bus
        self._told: set[tuple[int | None, str | None] | None] = set()  # about the outage that lasts
        self._since_s: float | None = None
        self._short_sessions = 0
        self.live_since_s = 0.0

    @property
    def is_told(self) -> bool:
        return bool(self._told)

    def tell(self, text: str, ending: Ending, level: int) -> None:
        """A warning or an error at loss, a notice at return, no repeats but for errors of another kind."""
        if self._since_s is None:
            self._since_s = time.monotonic()
        # By its hint: what a server says may be worded anew every time.
        kind = (ending.code, ending.hint) if level >= logging.ERROR else None
        repeated = kind in self._told if kind else bool(self._told)
        self._told.add(kind)
        log.log(
            logging.DEBUG if repeated else level,
            "%s; %s",
            text,
            ending.hint or "parleyd goes on trying",
            extra=fields(**about(ending)),
        )
        if not repeated:
            self._bus.publish(events.Trouble(at_s=time.monotonic(), text=text, hint=ending.hint))

    def slow(self) -> None:
        """Connecting takes its time. The reason, when there is one, is told by itself."""
        if self._told:
            return
        text = f"there is still no line to the agent after {SLOW_S:g} s"
        log.warning("%s; it is still being tried; %s", text, _HINT_SLOW, extra=fields(hint=_HINT_SLOW))
        self._bus.publish(events.Trouble(at_s=time.monotonic(), text=text, hint=_HINT_SLOW, part="agent"))

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
            away_s = round(self.live_since_s - self._since_s, 1)
            log.log(NOTICE, "the line is back after %.1f s", away_s, extra=fields(away_s=away_s))
            self._since_s = None
            self._told.clear()


def about(ending: Ending) -> Fields:
    """For a log record."""
    return {"reason": ending.reason, "hint": ending.hint, "ending": ending.kind.value, "code": ending.code}
