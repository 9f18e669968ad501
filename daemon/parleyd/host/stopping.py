"""How a running call is told to stop: at its deadline, by speech, with its session, with the daemon."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Stop:
    """A cancellation token with one callback. set() calls the callback registered by at(), once; at() after set() calls
    it immediately. Thread-safe.

    The callback must return at once and must not raise.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._action: Callable[[], None] | None = None

    @property
    def is_set(self) -> bool:
        return self._is_set

    def at(self, action: Callable[[], None] | None) -> None:
        """In the place of what was left before; None: there is nothing to stop any more.

        After at(None) returns, no action is running.
        """
        with self._lock:
            self._action = action
            if self._is_set and action is not None:
                action()

    def set(self) -> None:
        with self._lock:
            if self._is_set:
                return
            self._is_set = True
            if self._action is not None:
                self._action()
