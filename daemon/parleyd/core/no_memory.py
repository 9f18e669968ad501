"""A lack of memory in the loop of a thread: how long it may last, and what is told of it.

A piece of work that needs much memory at once, such as the arrays of a frame, may not get it. Then it has failed, and
its thread gives it up, or does it again. A lack that passes is one line in the log when it begins, and one
when it is over. If no piece of work succeeds for LASTS_S, the daemon ends with the error: systemd starts it again, with
less in memory.
"""

from __future__ import annotations

import contextlib
import logging
import time

from parleyd.core.log_fields import NOTICE, fields

log = logging.getLogger(__name__)

# For how long every piece of work of a thread may fail.
LASTS_S = 10.0
# A lack is over when nothing has failed for so long.
CALM_S = 10.0
# How long a thread waits at most before it does a piece of work again.
AGAIN_S = 0.02
HINT = "see what else runs on this device; a limit of the process (MemoryMax=, LimitAS=, ulimit -v) may be too low"


def in_words(error: MemoryError) -> str:
    """The reason, with the piece that was wanted, if the error tells it."""
    wanted = f" ({error})" if str(error) else ""
    return f"there is not enough memory{wanted}"


class Lack:
    """Decides, for one thread. Time comes in as an argument.

    failed: how many pieces of work have failed since the lack began; 0: there is none."""

    def __init__(self) -> None:
        self.failed = 0
        self._since_s: float | None = None  # nothing has succeeded since
        self._last_s = float("-inf")  # when something last failed

    def fails(self, now_s: float) -> bool:
        """A piece of work has failed. Returns whether the thread may go on."""
        if now_s - self._last_s >= CALM_S:
            # Another lack: nothing was to be done in between.
            self.failed, self._since_s = 0, None
        if self._since_s is None:
            self._since_s = now_s
        self._last_s = now_s
        self.failed += 1
        return now_s - self._since_s < LASTS_S

    def succeeds(self, now_s: float) -> int:
        """A piece of work has succeeded. Returns how many had failed, if the lack is over with that; else 0."""
        self._since_s = None
        if not self.failed or now_s - self._last_s < CALM_S:
            return 0
        failed, self.failed = self.failed, 0
        return failed


class NoMemory:
    """Counts and tells the lacks of one thread. part: its name in the log. cost: the fate of work that failed, in
    words."""

    def __init__(self, part: str, cost: str) -> None:
        self._part = part
        self._cost = cost
        self._lack = Lack()
        self._is_told = False

    def fails(self, error: MemoryError) -> None:
        """A piece of work has failed with this error. Raises it when that has lasted for too long."""
        if not self._lack.fails(time.monotonic()):
            raise error
        if self._lack.failed == 1:
            self._is_told = False
        if not self._is_told:
            # Where there is no memory even for this line, it is told with the next failure, or at the end.
            with contextlib.suppress(MemoryError):
                reason = in_words(error)
                log.warning(
                    "%s: %s: %s; %s",
                    self._part,
                    reason,
                    self._cost,
                    HINT,
                    extra=fields(reason=reason, hint=HINT),
                )
                self._is_told = True

    def succeeds(self) -> None:
        """A piece of work has succeeded."""
        if not self._lack.failed:
            return
        failed = self._lack.succeeds(time.monotonic())
        if failed:
            log.log(NOTICE, "%s: there is enough memory again; %d pieces of work had failed", self._part, failed)
