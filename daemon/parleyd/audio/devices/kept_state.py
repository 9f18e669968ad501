"""Keeps the interpreter's state of a thread that PortAudio made, from one callback to the next.

PyAudio asks the interpreter for a state of the present thread before each callback (PyGILState_Ensure), and gives it
back after it (PyGILState_Release). The interpreter has not made this thread, and so it makes a new state each time.
That maps 16 KiB for the calls in it, and unmaps them again: a quarter of what the thread costs
(docs/measurements/light.md). The requests are counted, and the state goes with the last of them. So one more request,
in the first callback, keeps the state, and one more release, in the last callback, gives it back. Both happen on the
thread itself and within a callback; no other thread touches the state.

A thread that gets no callback any more, because its device is lost or hangs, cannot give its state back: then some 17
KiB stay until the process ends.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

# How long let_go() waits for one more callback. A period is 10 or 20 ms, and 120 if a microphone rests; but a sound
# server that has just begun may ask for nothing for some 50 ms after the first ones.
LET_GO_S = 0.2

Callback = Callable[[bytes | None, int, Any, int], tuple[bytes | None, int]]

_ensure, _release = ctypes.pythonapi.PyGILState_Ensure, ctypes.pythonapi.PyGILState_Release
# The state of a thread that holds the interpreter's lock already: enum PyGILState_STATE in pystate.h. In a callback the
# thread does.
_LOCKED = 0


class KeptState:
    """For one stream. callback(): what PortAudio is given. let_go(): before the stream is closed.

    ends: let_go() was called."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_due = True  # the next callback has to ask for the state, or to release it
        self._thread: int | None = None  # whose state is kept
        self.ends = False
        self._gone = threading.Event()

    def callback(self, user: Callback) -> Callback:
        def called(data: bytes | None, frames: int, at: Any, status: int) -> tuple[bytes | None, int]:
            if self._is_due:
                self._step()
            return user(data, frames, at, status)

        return called

    def let_go(self) -> bool:
        """Waits until the thread has given its state back, at most LET_GO_S. Returns whether it has, or had kept
        none."""
        with self._lock:
            self.ends = self._is_due = True
            if self._thread is None:
                return True
        return self._gone.wait(LET_GO_S)

    def _step(self) -> None:
        """In a callback."""
        with self._lock:
            self._is_due = False
            here = threading.get_ident()
            if not self.ends:
                self._thread = here
                _ensure()
            elif self._thread == here:
                self._thread = None
                _release(_LOCKED)
                self._gone.set()
