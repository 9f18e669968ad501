"""Where in the speaker's sound a frame of the microphone belongs: two devices, two clocks. Pure.

All positions are in samples of the speaker, counted from its first, and need not be whole.
"""

from __future__ import annotations

import math
from enum import Enum

from parleyd.audio.pcm import FRAME_MS, FRAME_SAMPLES, PIPELINE_RATE_HZ
from parleyd.audio.sample_clock import MOST_DRIFT, SampleClock

# The lag with which it begins: the far end is given by so much later than it was handed over, so that a late callback
# does not leave a gap. Its echo is later still: by the speaker's latency, the way through the air, and the microphone's
# latency.
LEAST_LAG_S = 0.010
# When the lag has to grow because periods come late, it grows by so much more than what was missing.
_SPARE_S = 0.002
# When a frame's end has been missing for so many frames, it does not wait for the speaker to catch up any longer: the
# lag grows. A speaker that had run dry would have shown that in its clock by then.
_PATIENCE_FRAMES = 15
# How much of a delay error is made up for at once.
_CORRECTION = 0.05
# How much of a delay error, relative to a frame, is added to the difference of the two clocks' speeds.
_DRIFT_CORRECTION = 0.0005
# After the last echo the position follows the sample count for so long. After that the fitted device clocks are more
# accurate, and it follows them.
_COUNTED_S = 60.0
# A frame that begins so much later or earlier than the one before ended shows a gap in the microphone's sound: the
# position moves along with it.
_GAP_S = 0.001
# Where the position is further than this from where the clocks put it, it is taken from the clocks again.
_MOST_OFFSET_S = 0.05
_FRAME_S = FRAME_MS / 1000


class Basis(Enum):
    """What the position of the next frame follows from."""

    BY_CLOCK = "the devices' clocks, and the offset at which the echo was last heard"
    BY_COUNT = "the position of the frame before, and the microphone's count of samples"
    LOST = "not where the echo was last heard: the next frame is not aligned"


class _LateEnds:
    """By how much the ends of frames were not there yet when they were asked for."""

    def __init__(self) -> None:
        self._missing_s = 0.0
        self._frames = 0

    def clear(self) -> None:
        self._missing_s, self._frames = 0.0, 0

    def step(self, missing_s: float) -> float:
        """missing_s: how much is missing at this frame's end; 0 or less: nothing. → How much has been missing at most,
        once that is certain: the end has come after all, or it never comes in time; otherwise 0."""
        if missing_s > 0.0:
            self._missing_s = max(self._missing_s, missing_s)
            self._frames += 1
        if not self._missing_s or (missing_s > 0.0 and self._frames <= _PATIENCE_FRAMES):
            return 0.0
        most_s = self._missing_s
        self.clear()
        return most_s


class Alignment:
    """The position of each frame's first sample; advance() for every frame, then wait() if anything is kept.

                       an echo is heard
        BY_CLOCK ──────────────────────────────▶ BY_COUNT
                 ◀──────────────────────────────
                   none is heard for _COUNTED_S
            │                                        │
            └──▶ LOST ◀──────────────────────────────┘
                   the echo jumps; the position is further from the clocks' than _MOST_OFFSET_S; the speaker is opened
                   again

    From LOST the next frame of sound leads back to BY_COUNT if an echo was heard lately, otherwise to BY_CLOCK.

    By the count the echo stays where it is: a sound server hands sound over sooner or later by tens of milliseconds,
    while the sound itself keeps its place. That the crystals of two devices differ, by up to some 100 ppm, is heard:
    the echo comes later than the canceller expects, and later, and the far end is made slower (correct_delay). Sound
    that is lost on either side shows in the clocks, and the position moves along.
    """

    def __init__(self, rate_hz: int, *, reopened: bool = False) -> None:
        """rate_hz: of the speaker. reopened: the echo was heard before at some other position."""
        self.clock = SampleClock(rate_hz)
        """The speaker's. It is stamped by the owner."""
        self.position = 0.0
        """With which the last frame began."""
        self.lag_increase_samples = 0
        """By how many samples of the pipeline the last frame was given later than the frames before it."""
        self._samples_per_s = rate_hz
        self._frame_start_s = math.nan
        self._position_by_clock = 0.0
        # How far the position is from where the clocks alone would put it. Less than 0: the far end is given later.
        self._offset_samples = 0.0
        self._lag_s = LEAST_LAG_S
        self._late_ends = _LateEnds()
        # How much slower the speaker's clock runs than the microphone's: 50e-6 is 50 ppm.
        self._drift = 0.0
        self._lost_s = 0.0  # by the speaker's clock, up to the last frame
        self._counted_until_s = -math.inf
        self._is_lost = reopened

    @property
    def is_lost(self) -> bool:
        """The frame at this position does not continue what the canceller has heard before."""
        return self.basis is Basis.LOST

    @property
    def basis(self) -> Basis:
        if self._is_lost:
            return Basis.LOST
        return Basis.BY_CLOCK if self._goes_by_clock else Basis.BY_COUNT

    @property
    def _goes_by_clock(self) -> bool:
        return not self._frame_start_s <= self._counted_until_s

    def found(self) -> None:
        """A frame was given: what comes after it continues it."""
        self._is_lost = False

    # ---------------------------------------------------------------- from frame to frame

    def advance(self, start_s: float) -> bool:
        """To the frame of the microphone that begins at start_s. → Whether sound was lost between it and the last."""
        rate_hz = self._samples_per_s
        self._position_by_clock = self.clock.sample_at(start_s - self._lag_s)
        gap_s, self._frame_start_s = start_s - self._frame_start_s - _FRAME_S, start_s
        lost_s, self._lost_s = self.clock.lost_s - self._lost_s, self.clock.lost_s
        self.position += _FRAME_S * rate_hz * (1.0 - self._drift)
        if abs(gap_s) > _GAP_S:
            self.position += gap_s * rate_hz
        self.position -= lost_s * rate_hz
        if self._goes_by_clock:
            self.position = self._position_by_clock + self._offset_samples
        if abs(self.position - self._position_by_clock) > _MOST_OFFSET_S * rate_hz:
            self.position, self._offset_samples, self._is_lost = self._position_by_clock, 0.0, True
        self.lag_increase_samples = 0
        # A small step of the microphone's times is mostly its clock, which finds its place after the device was opened:
        # the far end moves along, but no person goes unheard for that.
        moved = lost_s != 0.0 or abs(gap_s) > _FRAME_S
        if moved:
            self._late_ends.clear()
        return moved

    def wait(self, last_needed: float, end: int, *, most_lag_s: float) -> bool:
        """Whether the end of the frame is missing. What is missing often is given later from now on.

        last_needed: the last sample that the frame needs. end: the number of the first sample that is not there yet.
        most_lag_s: the far end is never given later than this, for then its echo is heard.
        """
        missing_s = (last_needed - end + 1.0) / self._samples_per_s
        late_s = self._late_ends.step(missing_s)
        if late_s:
            self._increase_lag(late_s, most_lag_s)
        return missing_s > 0.0

    def nothing_kept(self) -> None:
        """In the place of wait()."""
        self._late_ends.clear()

    def _increase_lag(self, late_s: float, most_lag_s: float) -> None:
        step = self._samples_per_s / PIPELINE_RATE_HZ
        increase = math.ceil((late_s + _SPARE_S) * PIPELINE_RATE_HZ)
        by_clock = self.clock.sample_at(self._frame_start_s)
        lag_s = (by_clock - self.position + increase * step) / self._samples_per_s
        if lag_s > most_lag_s:
            return
        self.lag_increase_samples = increase
        self.position -= increase * step
        self._offset_samples -= increase * step
        # Of that, the lag by the clocks takes what it can; the rest stays an offset.
        more_s = max(0.0, lag_s - self._lag_s)
        self._lag_s += more_s
        self._offset_samples += more_s * self._samples_per_s
        self._position_by_clock -= more_s * self._samples_per_s

    # ---------------------------------------------------------------- what the canceller hears

    def correct_delay(self, error_samples: float) -> None:
        """The echo of the last frame came so many samples of the pipeline later than expected; 0: that is not known."""
        drift = self._drift + _DRIFT_CORRECTION * error_samples / FRAME_SAMPLES
        self._drift = max(-MOST_DRIFT, min(MOST_DRIFT, drift))
        self.position -= _CORRECTION * error_samples * self._samples_per_s / PIPELINE_RATE_HZ
        if error_samples:
            self._counted_until_s = self._frame_start_s + _COUNTED_S
            self._offset_samples = self.position - self._position_by_clock

    def jump(self, samples: int) -> None:
        """All of the echo comes later than it did, by so many samples of the pipeline."""
        by = samples * self._samples_per_s / PIPELINE_RATE_HZ
        self.position -= by
        self._offset_samples -= by
        self._is_lost = True
