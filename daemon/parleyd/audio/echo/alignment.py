"""Computes at which position of the speaker's sound a frame of the microphone begins: two devices, two clocks. Pure.

All positions are in samples of the speaker, counted from its first one; they may be fractions.
"""

from __future__ import annotations

import math
from enum import Enum

from parleyd.audio.pcm import FRAME_MS, FRAME_SAMPLES, PIPELINE_RATE_HZ
from parleyd.audio.sample_clock import MOST_DRIFT, SampleClock

# The lag at the beginning. The far end is given later than it was handed over by the lag, so that a late callback
# leaves no gap. The echo is later still, by the speaker's latency, the way through the air, and the microphone's
# latency.
LEAST_LAG_S = 0.010
# The lag grows when periods come late: by the missing time, and by this more.
_SPARE_S = 0.002
# When the ends of frames have been missing for this many frames, the lag grows instead of waiting longer. If the
# speaker had run dry, its clock would have shown that by then.
_MOST_MISSING_FRAMES = 15
# The share of a delay error that is corrected at once.
_CORRECTION = 0.05
# The share of a delay error, per frame, that is added to the difference of the two clocks' speeds.
_DRIFT_CORRECTION = 0.0005
# For this long after the last echo the position follows the sample count. After that the fitted device clocks are more
# accurate, and it follows them.
_COUNTED_S = 60.0
# A frame that begins later or earlier than the end of the one before by more than this shows a gap in the microphone's
# sound. The position moves by the gap.
_GAP_S = 0.001
# A position that is further than this from the one that the clocks give is replaced by it.
_MOST_OFFSET_S = 0.05
_FRAME_S = FRAME_MS / 1000


class Basis(Enum):
    """The source of the next frame's position."""

    BY_CLOCK = "the devices' clocks, and the offset at which the echo was last heard"
    BY_COUNT = "the position of the frame before, and the microphone's count of samples"
    LOST = "not where the echo was last heard: the next frame is not aligned"


class _LateEnds:
    """Measures the time by which the ends of frames are missing when they are asked for."""

    def __init__(self) -> None:
        self._missing_s = 0.0
        self._frames = 0

    def clear(self) -> None:
        self._missing_s, self._frames = 0.0, 0

    def step(self, missing_s: float) -> float:
        """missing_s: the time that is missing at this frame's end; 0 or less: none. Returns the most that was missing,
        once that is certain: the end has come after all, or it never comes in time. Otherwise returns 0."""
        if missing_s > 0.0:
            self._missing_s = max(self._missing_s, missing_s)
            self._frames += 1
        if not self._missing_s or (missing_s > 0.0 and self._frames <= _MOST_MISSING_FRAMES):
            return 0.0
        most_s = self._missing_s
        self.clear()
        return most_s


class Alignment:
    """The position of each frame's first sample: advance() for every frame, then wait() if anything is kept.

                       an echo is heard
        BY_CLOCK ──────────────────────────────▶ BY_COUNT
                 ◀──────────────────────────────
                   none is heard for _COUNTED_S
            │                                        │
            └──▶ LOST ◀──────────────────────────────┘
                   the echo jumps; the position is further from the clocks' than _MOST_OFFSET_S; the speaker is opened
                   again

    From LOST the next frame of sound leads back to BY_COUNT if an echo was heard lately, otherwise to BY_CLOCK.

    While it follows the count, the echo stays in place: a sound server hands sound over sooner or later by tens of
    milliseconds, but the sound itself keeps its position. The clocks of two devices differ by up to some 100 ppm; then
    the echo comes later and later than the canceller expects, and correct_delay() slows the far end down. Lost sound on
    either side shows in the clocks, and the position moves by it.
    """

    def __init__(self, rate_hz: int, *, reopened: bool = False) -> None:
        """rate_hz: of the speaker. reopened: an echo was heard before, at some other position."""
        self.clock = SampleClock(rate_hz)
        """The speaker's clock; the owner adds its time stamps."""
        self.position = 0.0
        """The first sample of the last frame."""
        self.lag_increase_samples = 0
        """The number of samples of the pipeline by which the last frame was given later than the frames before it."""
        self._samples_per_s = rate_hz
        self._frame_start_s = math.nan
        self._position_by_clock = 0.0
        # The distance from the position that the clocks alone would give. Less than 0: the far end is given later.
        self._offset_samples = 0.0
        self._lag_s = LEAST_LAG_S
        self._late_ends = _LateEnds()
        # The difference in speed: 50e-6 means that the speaker's clock is 50 ppm slower than the microphone's.
        self._drift = 0.0
        self._lost_s = 0.0  # by the speaker's clock, up to the last frame
        self._counted_until_s = -math.inf
        self._is_lost = reopened

    @property
    def is_lost(self) -> bool:
        """Returns True if the frame at this position does not continue the sound that the canceller heard before."""
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
        """Records that a frame was given; the next frame continues it."""
        self._is_lost = False

    # ---------------------------------------------------------------- from frame to frame

    def advance(self, start_s: float) -> bool:
        """Goes to the frame of the microphone that begins at start_s. Returns whether sound was lost before it."""
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
        # Small steps in the microphone's times are mostly its clock, which settles after the opening of the device. The
        # far end moves with them, but the frame counts as aligned, so that no person goes unheard.
        moved = lost_s != 0.0 or abs(gap_s) > _FRAME_S
        if moved:
            self._late_ends.clear()
        return moved

    def wait(self, last_needed: float, end: int, *, most_lag_s: float) -> bool:
        """Returns whether the end of the frame is missing. If ends are often missing, the lag grows.

        last_needed: the last sample that the frame needs. end: the number of the first sample that is not there yet.
        most_lag_s: the lag stays below this; with a larger one the echo would come before its far end.
        """
        missing_s = (last_needed - end + 1.0) / self._samples_per_s
        late_s = self._late_ends.step(missing_s)
        if late_s:
            self._increase_lag(late_s, most_lag_s)
        return missing_s > 0.0

    def nothing_kept(self) -> None:
        """Replaces wait() for a frame while nothing is kept."""
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
        # The lag takes as much of this as it may; the rest stays in the offset.
        more_s = max(0.0, lag_s - self._lag_s)
        self._lag_s += more_s
        self._offset_samples += more_s * self._samples_per_s
        self._position_by_clock -= more_s * self._samples_per_s

    # ---------------------------------------------------------------- findings of the canceller

    def correct_delay(self, error_samples: float) -> None:
        """The last frame's echo came later than expected by this many samples of the pipeline; 0: unknown."""
        drift = self._drift + _DRIFT_CORRECTION * error_samples / FRAME_SAMPLES
        self._drift = max(-MOST_DRIFT, min(MOST_DRIFT, drift))
        self.position -= _CORRECTION * error_samples * self._samples_per_s / PIPELINE_RATE_HZ
        if error_samples:
            self._counted_until_s = self._frame_start_s + _COUNTED_S
            self._offset_samples = self.position - self._position_by_clock

    def jump(self, samples: int) -> None:
        """The whole echo comes later than before by this many samples of the pipeline, from now on."""
        by = samples * self._samples_per_s / PIPELINE_RATE_HZ
        self.position -= by
        self._offset_samples -= by
        self._is_lost = True
