"""The clock of a sound device: converts its count of samples to monotonic time. Pure."""

from __future__ import annotations

# Callbacks can only be late, so the earliest stamp in each block of this length is the best estimate of the clock.
BLOCK_S = 0.2
# The a priori standard deviations: of that stamp, of the crystals' difference, and of its change (1 ppm in 100 s, with
# the temperature). With these the clock averages over about a minute.
JITTER_S = 0.0005
CRYSTAL = 40e-6
_WANDER_PER_S = 1e-6**2 / 100.0
MOST_DRIFT = 300e-6
# If all stamps of a block differ from recent ones by more than this, in the same direction, sound was lost. An underrun
# of a speaker loses a period of 10 ms; a sound server may start to deliver 5 ms later.
JUMP_S = 0.007
_LATELY = 0.3
# If stamps later come earlier by more than _EARLY_S, within _DOUBTED_S, this part of the presumed loss was only a
# delay, and is undone.
_EARLY_S = 0.002
_DOUBTED_S = 30.0
# Resynchronise with the stamps if the clock differs by more than this, whatever the drift is.
MOST_OFF_S = 0.050


class SampleClock:
    """When each sample of a device passed, from the jittery times at which its periods were seen.

    A Kalman filter with two states, the time of a sample and the clock's drift, which is believed to be small until
    the stamps show it. lost_s: how much later its samples are, in all, because the stamps jumped, and it with them;
    resyncs: how often they did.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.resyncs = 0
        self.lost_s = 0.0
        self._sample: int | None = None  # the last stamped sample
        self._at_s = 0.0  # when it passed
        self._slow = 0.0  # how much longer than nominal a sample is
        # The covariance of the two states.
        self._p_time, self._p_both, self._p_slow = JITTER_S**2, 0.0, CRYSTAL**2
        # The start of the block, and the error of its earliest stamp.
        self._since_s, self._least_s = float("-inf"), float("inf")
        self._lately_s = 0.0  # the error of the last blocks
        # The last presumed loss, and its time.
        self._claimed_s, self._claimed_at_s = 0.0, float("-inf")
        # Since when all stamps differ from that, and the difference of the earliest one.
        self._off_since_s: float | None = None
        self._off_s = 0.0

    @property
    def drift(self) -> float:
        """How much faster than nominal the clock runs: 50e-6 is 50 ppm."""
        return -self._slow

    def stamp(self, sample: int, at_s: float) -> None:
        """Takes the time stamp at_s of the sample with this number, counted from the device's first."""
        if self._sample is None:
            self._sample, self._at_s = sample, at_s
            return
        elapsed_s = (sample - self._sample) / self.rate_hz
        self._sample = sample
        self._at_s += elapsed_s * (1.0 + self._slow)
        self._p_time += elapsed_s * (2.0 * self._p_both + elapsed_s * self._p_slow)
        self._p_both += elapsed_s * self._p_slow
        self._p_slow += elapsed_s * _WANDER_PER_S
        error_s = at_s - self._at_s
        if self._is_off(error_s, at_s):
            return
        self._least_s = min(self._least_s, error_s)
        if at_s - self._since_s < BLOCK_S:
            return
        error_s, self._least_s, self._since_s = self._least_s, float("inf"), at_s
        error_s += self._give_back(self._lately_s - error_s, at_s)
        self._lately_s += _LATELY * (error_s - self._lately_s)
        surprise = self._p_time + JITTER_S**2
        for_time, for_slow = self._p_time / surprise, self._p_both / surprise
        self._at_s += for_time * error_s
        self._slow = max(-MOST_DRIFT, min(MOST_DRIFT, self._slow + for_slow * error_s))
        self._p_slow -= for_slow * self._p_both
        self._p_time *= 1.0 - for_time
        self._p_both *= 1.0 - for_time

    def _is_off(self, error_s: float, at_s: float) -> bool:
        if abs(self._lately_s) > MOST_OFF_S:
            self._lately_s = 0.0
        off_s = error_s - self._lately_s
        if abs(off_s) <= JUMP_S:
            self._off_since_s = None
            return False
        if self._off_since_s is None or (off_s > 0.0) != (self._off_s > 0.0):
            self._off_since_s, self._off_s = at_s, off_s
        self._off_s = min(self._off_s, off_s)
        if at_s - self._off_since_s >= BLOCK_S:
            # Moves by the lost time, and not to the stamps, because stamps after a gap are as late as before it.
            self._at_s += self._off_s
            self.lost_s += self._off_s
            claimed_s = self._claimed_s if at_s - self._claimed_at_s < _DOUBTED_S else 0.0
            self._claimed_s, self._claimed_at_s = max(0.0, claimed_s + self._off_s), at_s
            self._off_since_s, self._since_s, self._least_s = None, at_s, float("inf")
            self.resyncs += 1
        return True

    def _give_back(self, early_s: float, at_s: float) -> float:
        """Stamps are never early: returns the part of a presumed loss that was only a delay."""
        if early_s < _EARLY_S or at_s - self._claimed_at_s > _DOUBTED_S:
            return 0.0
        back_s = min(early_s, self._claimed_s)
        self._at_s -= back_s
        self.lost_s -= back_s
        self._claimed_s -= back_s
        return back_s

    def time_of(self, sample: float) -> float:
        return self._at_s + (sample - (self._sample or 0)) / self.rate_hz * (1.0 + self._slow)

    def sample_at(self, at_s: float) -> float:
        return (self._sample or 0) + (at_s - self._at_s) / (1.0 + self._slow) * self.rate_hz
