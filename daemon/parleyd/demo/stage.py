"""Keeps what has happened, and lets the director wait for what is to happen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from parleyd.core.events import Event

E = TypeVar("E", bound=Event)


class CueMissedError(Exception):
    """What was to happen next did not."""


class Stage:
    """A subscriber of the bus. Waiting goes forward only: each wait begins after the event that ended the last one."""

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
        """Nothing more will happen: whoever waits gives up."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def wait_for(
        self, kind: type[E], what: str, test: Callable[[E], bool] = lambda _event: True, timeout_s: float = 60.0
    ) -> E:
        """The next event of that kind that passes the test. Raises CueMissedError, saying `what` was missed."""
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
