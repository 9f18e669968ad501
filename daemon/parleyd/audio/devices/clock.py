"""A clock for devices without hardware."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from parleyd.audio.devices.device import DeviceError
from parleyd.core.no_memory import NoMemory

# tick(at_s): the monotonic time of the tick in the schedule; the call may be late, never early.
Tick = Callable[[float], None]

_JOIN_S = 2.0


class RealTimeClock:
    """Ticks on a separate thread, by an absolute schedule: a late tick does not delay the next ones, and after a delay
    the missed ticks follow at once, so that count times period always equals the elapsed time."""

    def __init__(self, name: str, period_s: float, tick: Tick, *, start_s: float) -> None:
        """The first tick comes at start_s. Raises DeviceError."""
        self._period_s = period_s
        self._tick = tick
        self._start_s = start_s
        self._memory = NoMemory(name, "some of its periods are missing")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise DeviceError(f"{name}: the system has no thread left", "see TasksMax= of the unit") from error

    def stop(self) -> None:
        """No tick comes after the return, unless it is called from a tick."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        count = 0
        while True:
            at_s = self._start_s + count * self._period_s
            ahead_s = at_s - time.monotonic()
            if ahead_s > 0 and self._stopped.wait(ahead_s):
                return
            if self._stopped.is_set():
                return
            try:
                self._tick(at_s)
            except MemoryError as error:
                self._memory.fails(error)
            else:
                self._memory.succeeds()
            count += 1
