"""Bounds the start of a thread, which would wait for ever where memory is short.

Thread.start() waits until the new thread runs. A thread that finds no memory for its first call ends before that, and
whoever starts it waits for ever. So did the supervisor, until the health check ended the daemon. With bound_starts() it
gets, after BEGINS_S, the error of a system that has no thread left: every place that starts a thread can do without,
or tries again.
"""

from __future__ import annotations

import threading

# The longest time until a new thread runs; usually it takes less than a millisecond, on a board that swaps seconds.
BEGINS_S = 5.0

_start = threading.Thread.start


class _Begun(threading.Event):
    """The event for which Thread.start() waits: set by the new thread in its first steps."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self._thread = thread
        self._deciding = threading.Lock()

    def set(self) -> None:
        with self._deciding:
            super().set()

    def wait(self, timeout: float | None = None) -> bool:
        """Raises RuntimeError if the thread has not begun in time; then it never does anything."""
        if timeout is not None or super().wait(BEGINS_S):
            return super().wait(timeout)
        with self._deciding:
            if self.is_set():
                return True
            # It may run after all, and nobody expects it any more.
            self._thread.run = _nothing  # type: ignore[method-assign]
        raise RuntimeError("can't start new thread: it did not begin in time")


def _nothing() -> None:
    pass


def _bounded(thread: threading.Thread) -> None:
    if not thread._started.is_set():  # type: ignore[attr-defined]
        thread._started = _Begun(thread)  # type: ignore[attr-defined]
    try:
        _start(thread)
    except MemoryError as error:
        raise RuntimeError("can't start new thread: there is not enough memory") from error


def bound_starts() -> None:
    """For all threads of this process from now on."""
    threading.Thread.start = _bounded  # type: ignore[assignment, method-assign]
