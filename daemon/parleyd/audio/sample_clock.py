"""When the samples of a device sounded, in monotonic time. Pure.

A device counts samples with a clock of its own, up to some 100 ppm off, and its periods arrive late by what the machine
needs. So time is what the count says, and follows the arrivals slowly; only a hole in the sound makes it jump.
"""

from __future__ import annotations

# In this time what is wrong is down to a third. With 100 ppm the count is then never off by more than 0.5 ms.
FOLLOW_S = 5.0
# Later than that: sound is missing in between. Earlier: it is more than can have sounded.
HOLE_S = 0.2


class SampleClock:
    """end_s: when the last sample taken so far was over; None before the first."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self.end_s: float | None = None

    def take(self, samples: int, start_s: float) -> bool:
        """A period that began at start_s, as far as its arrival tells.

        False, and it does not count: more has come than time has passed, as after a sound server stood still. It can
        only be sound of a time that is over.
        """
        duration_s = samples / self._rate_hz
        if self.end_s is None or start_s - self.end_s > HOLE_S:
            self.end_s = start_s + duration_s
            return True
        late_s = start_s - self.end_s
        if late_s < -HOLE_S:
            return False
        self.end_s += duration_s + late_s * min(1.0, duration_s / FOLLOW_S)
        return True
