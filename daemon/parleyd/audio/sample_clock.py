"""The clock of a sound device: what its count of samples means in monotonic time. Pure."""

from __future__ import annotations

# Callbacks are late, and never early: of so much time, the stamp that is the least late is what shows the clock.
BLOCK_S = 0.2
# A sound server hands periods over later by up to its own block, by how much later slides, stands and jumps, and each
# may last for half a minute (seen: 5 ms, at up to 250 ppm): this, as if it were anew in each block. A card that is opened
# directly is a hundred times as exact, but nothing tells the two apart in the beginning.
HAND_OVER_S = 0.030
# What else is believed beforehand: how exact the first block's place is, how much crystals differ, and how fast that
# changes (1 ppm in 100 s, with the temperature). The clock then remembers a few minutes.
PLACE_S = 0.0003
CRYSTAL = 15e-6
_WANDER_PER_S = 1e-6**2 / 100.0
MOST_DRIFT = 300e-6
# When all stamps of a block are off from where they usually are by more than this, in the same direction, sound was
# lost: more than a sound server's block, less than a period of a speaker that ran dry.
JUMP_S = 0.007
_USUAL_STEP = 0.3
# Of a clock that is further from the stamps than this its drift is not what it is believed to be at most.
MOST_OFF_S = 0.050


class SampleClock:
    """When each sample of a device passed, from the jittery times at which its periods were seen.

    A Kalman filter with two states, the time of a sample and the clock's drift, which is believed to be small until
    the stamps show it. resyncs: how often the stamps jumped, and it with them.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.resyncs = 0
        self.lost_s = 0.0
        self._sample: int | None = None  # the last that was stamped
        self._at_s = 0.0  # when it passed
        self._slow = 0.0  # how much longer than nominal a sample takes
        # The covariance of the two states.
        self._p_time, self._p_both, self._p_slow = PLACE_S**2, 0.0, CRYSTAL**2
        self._placed = False  # by the first block
        # Since when the block lasts, and the error of its least late stamp.
        self._since_s, self._least_s = 0.0, float("inf")
        self._usual_s = 0.0  # that of the last blocks
        # Since when all stamps are off from that, and by how much the least late.
        self._off_since_s: float | None = None
        self._off_s = 0.0

    @property
    def drift(self) -> float:
        """How much faster than nominal it runs: 50e-6 is 50 ppm."""
        return -self._slow

    def stamp(self, sample: int, at_s: float) -> None:
        """The sample of that number, counted from the device's first, was seen to pass at at_s."""
        if self._sample is None:
            self._sample, self._at_s, self._since_s = sample, at_s, at_s
            return
        elapsed_s = (sample - self._sample) / self.rate_hz
        self._sample = sample
        self._at_s += elapsed_s * (1.0 + self._slow)
        self._p_time += elapsed_s * (2.0 * self._p_both + elapsed_s * self._p_slow)
        self._p_both += elapsed_s * self._p_slow
        self._p_slow += elapsed_s * _WANDER_PER_S
        error_s = at_s - self._at_s
        if self._placed and self._is_off(error_s, at_s):
            return
        self._least_s = min(self._least_s, error_s)
        if at_s - self._since_s < BLOCK_S:
            return
        error_s, self._least_s, self._since_s = self._least_s, float("inf"), at_s
        if not self._placed:
            self._at_s += error_s
            self._placed = True
            return
        self._usual_s += _USUAL_STEP * (error_s - self._usual_s)
        surprise = self._p_time + HAND_OVER_S**2
        for_time, for_slow = self._p_time / surprise, self._p_both / surprise
        self._at_s += for_time * error_s
        self._slow = max(-MOST_DRIFT, min(MOST_DRIFT, self._slow + for_slow * error_s))
        self._p_slow -= for_slow * self._p_both
        self._p_time *= 1.0 - for_time
        self._p_both *= 1.0 - for_time

    def _is_off(self, error_s: float, at_s: float) -> bool:
        off_s = error_s - self._usual_s
        if abs(self._usual_s) > MOST_OFF_S:
            off_s, self._usual_s = error_s, 0.0
        if abs(off_s) <= JUMP_S:
            self._off_since_s = None
            return False
        if self._off_since_s is None or (off_s > 0.0) != (self._off_s > 0.0):
            self._off_since_s, self._off_s = at_s, off_s
        self._off_s = min(self._off_s, off_s)
        if at_s - self._off_since_s >= BLOCK_S:
            # What is lost moves the clock. Where it was between the earliest and the latest stamps, it stays.
            self._at_s += self._off_s
            self.lost_s += self._off_s
            self._off_since_s, self._since_s, self._least_s = None, at_s, float("inf")
            self.resyncs += 1
        return True

    def time_of(self, sample: float) -> float:
        return self._at_s + (sample - (self._sample or 0)) / self.rate_hz * (1.0 + self._slow)

    def sample_at(self, at_s: float) -> float:
        return (self._sample or 0) + (at_s - self._at_s) / (1.0 + self._slow) * self.rate_hz
