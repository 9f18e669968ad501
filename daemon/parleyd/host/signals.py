"""Lets the main thread wait for signals.

A Python signal handler runs in the main thread, when it executes its next instruction; while it is blocked on a lock,
the handler does not run. So the main thread waits here, on a socket to which the interpreter itself writes when a
signal arrives.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from types import TracebackType

from parleyd.core.health import Pulse

STOP = (signal.SIGTERM, signal.SIGINT)
RELOAD = signal.SIGHUP
WAKE = signal.SIGUSR1
SLEEP = signal.SIGUSR2
# The value of wait() after nudge(); no signal has this number.
NUDGE = 0


class Signals:
    """A context manager for the main thread. stop_wanted: a signal to stop has arrived, or stop() was called.

    reloads: SIGHUP asks for a reload. Otherwise, and in a terminal, SIGHUP means that the terminal is closed, and stops
    like the other signals.
    """

    def __init__(self, *, reloads: bool = False) -> None:
        self._stop_at = STOP if reloads and not os.isatty(0) else (*STOP, RELOAD)
        self.stop_wanted = False
        self.pulse = Pulse("signals")
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def __enter__(self) -> Signals:
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._stop) for number in self._stop_at}
        for number in {RELOAD, WAKE, SLEEP}.difference(self._stop_at):
            self._old[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        self._reader.close()
        self._writer.close()

    def _stop(self, *_: object) -> None:
        self.stop_wanted = True

    def stop(self) -> None:
        """Acts like a signal to stop; may be called from any thread."""
        self.stop_wanted = True
        self.nudge()

    def wait(self) -> int:
        """Blocks until a signal arrives, or nudge() is called. Returns the signal's number, or NUDGE."""
        self.pulse.rest()
        number = self._reader.recv(1)[0]
        self.pulse.beat()
        return number

    def nudge(self) -> None:
        """Makes wait() return; may be called from any thread."""
        # If the socket is full, wait() will return anyway; if it is closed, nobody waits any more.
        with contextlib.suppress(OSError):
            self._writer.send(bytes([NUDGE]))
