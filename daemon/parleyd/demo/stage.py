"""Keeps the past events, and lets the director wait for the next one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from parleyd.core.events import Event

E = TypeVar("E", bound=Event)


class CueMissedError(Exception):
    """The expected event did not happen."""


class Stage:
    """A subscriber of the bus. Each wait begins after the event that ended the previous wait."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self._seen = 0
        self._over = False

    def __call__(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def end(self) -> None:
        """No more events will come: waiting threads give up."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def wait_for(
        self, kind: type[E], what: str, test: Callable[[E], bool] = lambda _event: True, timeout_s: float = 60.0
    ) -> E:
        """Waits for the next event of that kind that passes the test. Raises CueMissedError, which names `what`."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                while self._seen < len(self.events):
                    event = self.events[self._seen]
                    self._seen += 1
                    if isinstance(event, kind) and test(event):
                        return event
                if self._over:
                    raise CueMissedError(f"{what}: the daemon has ended before")
                if not self._changed.wait(max(0.0, until_s - time.monotonic())):
                    raise CueMissedError(f"{what}: not within {timeout_s:g} s")
