"""The clock of a sound device: what its count of samples means in monotonic time. Pure."""

from __future__ import annotations

# What is believed beforehand: how far a callback's time is off, how much crystals differ, and how fast that changes
# (1 ppm in 100 s, with the temperature). The clock then remembers about a minute.
JITTER_S = 0.002
CRYSTAL = 40e-6
_WANDER_PER_S = 1e-6**2 / 100.0
MOST_DRIFT = 300e-6
# Stamps that are off by more than this, one after the other for this long: sound was lost, or the device was reopened.
JUMP_S = 0.040
JUMP_LASTS_S = 0.5
_CLIP_S = 0.010


class SampleClock:
    """When each sample of a device passed, from the jittery times at which its periods were seen.

    A Kalman filter with two states, the time of a sample and the clock's drift, which is believed to be small until
    the stamps show it. resyncs: how often it had to begin anew because the stamps jumped.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.resyncs = 0
        self._sample: int | None = None  # the last that was stamped
        self._at_s = 0.0  # when it passed
        self._slow = 0.0  # how much longer than nominal a sample takes
        self._off_since_s: float | None = None
        self._forget()

    def _forget(self) -> None:
        # The covariance of the two states.
        self._p_time, self._p_both, self._p_slow = JITTER_S**2, 0.0, CRYSTAL**2

    @property
    def drift(self) -> float:
        """How much faster than nominal it runs: 50e-6 is 50 ppm."""
        return -self._slow

    def stamp(self, sample: int, at_s: float) -> None:
        """The sample of that number, counted from the device's first, was seen to pass at at_s."""
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
        if self._jumped(error_s, at_s):
            self._at_s = at_s
            self._forget()
            self.resyncs += 1
            return
        error_s = max(-_CLIP_S, min(_CLIP_S, error_s))
        surprise = self._p_time + JITTER_S**2
        for_time, for_slow = self._p_time / surprise, self._p_both / surprise
        self._at_s += for_time * error_s
        self._slow = max(-MOST_DRIFT, min(MOST_DRIFT, self._slow + for_slow * error_s))
        self._p_slow -= for_slow * self._p_both
        self._p_time *= 1.0 - for_time
        self._p_both *= 1.0 - for_time

    def _jumped(self, error_s: float, at_s: float) -> bool:
        if abs(error_s) <= JUMP_S:
            self._off_since_s = None
            return False
        if self._off_since_s is None:
            self._off_since_s = at_s
        if at_s - self._off_since_s < JUMP_LASTS_S:
            return False
        self._off_since_s = None
        return True

    def time_of(self, sample: float) -> float:
        return self._at_s + (sample - (self._sample or 0)) / self.rate_hz * (1.0 + self._slow)

    def sample_at(self, at_s: float) -> float:
        return (self._sample or 0) + (at_s - self._at_s) / (1.0 + self._slow) * self.rate_hz
