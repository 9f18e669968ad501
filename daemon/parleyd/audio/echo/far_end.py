"""The sound that the speaker plays, aligned with the frames of the microphone.

The speaker's callback leaves every period that it takes, with its time; the ears ask for the far end of each frame of
the microphone. Three objects share the work: a DelayLine keeps the samples, an Alignment computes the position at which
the frame begins, and an Interpolator reads it from there at the pipeline's rate. Between the devices at most the last
second and a half of the far end is kept, whatever their clocks do.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parleyd.audio.echo.alignment import LEAST_LAG_S, Alignment
from parleyd.audio.echo.delay_line import DelayLine
from parleyd.audio.echo.interpolator import Interpolator
from parleyd.audio.pcm import BYTES_PER_SAMPLE, PIPELINE_RATE_HZ, SILENCE_DBFS
from parleyd.audio.sample_clock import SampleClock

Floats = npt.NDArray[np.float32]

# A speaker that has taken nothing for this long is gone, and its last sound has been heard: its sound is discarded.
GONE_S = 0.5


class FarFrame(NamedTuple):
    """The far end that belongs to one frame of the microphone."""

    samples: Floats | None
    """float32 (FRAME_SAMPLES,) at the pipeline's rate, full scale 1.0. None: digital silence."""
    aligned: bool = True
    """True if the frame is complete and continues the frame before. False after an underrun, a lost period or a jump,
    and while the speaker's callback is late."""
    lag_increase_samples: int = 0
    """The number of samples by which it is given later than the frames before it, so that its end is there in time."""

    @property
    def dbfs(self) -> float:
        """The level; SILENCE_DBFS for digital silence."""
        if self.samples is None:
            return SILENCE_DBFS
        power = float(np.dot(self.samples, self.samples)) / len(self.samples)
        return 10.0 * math.log10(power) if power > 0.0 else SILENCE_DBFS


_NO_SOUND = FarFrame(None)
# The number of no opening: some of the speaker's sound is lost, and what follows has no place in the line.
_TORN = -1


class FarEnd:
    """start() and take() on the speaker's threads, where neither waits; everything else on the ears thread."""

    def __init__(self) -> None:
        # A deque's append and popleft are atomic, and with maxlen it drops the oldest entry by itself.
        self._handed: deque[tuple[int, int, bytes, float]] = deque(maxlen=1000)
        self._rate_hz = PIPELINE_RATE_HZ
        self._most_lag_s = LEAST_LAG_S
        self._openings = 0
        self._using = 0  # the number of the opening to which the last period belongs
        self._handed_s = -math.inf  # when the speaker took the last period
        self.starved = 0
        """How often the end of a frame had not been handed over yet, and counted as silence."""
        self._line, self._interpolator = DelayLine(PIPELINE_RATE_HZ), Interpolator(PIPELINE_RATE_HZ)
        self._alignment = Alignment(PIPELINE_RATE_HZ)

    @property
    def clock(self) -> SampleClock:
        """The speaker's clock since it was opened."""
        return self._alignment.clock

    def start(self, rate_hz: int, latency_s: float) -> None:
        """The speaker was opened, perhaps again. rate_hz, latency_s: of the periods that follow."""
        self._rate_hz = rate_hz
        self._most_lag_s = max(LEAST_LAG_S, latency_s)
        self._openings += 1

    def take(self, pcm: bytes, at_s: float) -> None:
        """The speaker's device took pcm at at_s. pcm: mono, at the speaker's rate."""
        self._handed.append((self._openings, self._rate_hz, pcm, at_s))

    # ---------------------------------------------------------------- the ears thread

    def forget(self) -> None:
        """Replaces frame() while nobody needs the far end."""
        self._handed.clear()

    def is_gone(self, start_s: float) -> bool:
        """Whether frame() has nothing to do for a frame that begins at start_s, and for all later ones until the
        speaker takes sound again: it returns digital silence."""
        return not self._handed and not len(self._line) and start_s - self._handed_s > GONE_S

    def frame(self, start_s: float) -> FarFrame:
        """Returns the far end of the microphone's frame that begins at start_s, monotonic time. To be called for every
        frame, in order. After a MemoryError it begins anew with the next period, as if the speaker were opened."""
        try:
            self._gather()
        except MemoryError:
            self._using = _TORN
            raise
        line, alignment = self._line, self._alignment
        if start_s - self._handed_s > GONE_S:
            if len(line):
                line.clear()
                alignment.nothing_kept()
            # The position catches up with the time that passes now when the speaker takes sound again.
            return _NO_SOUND
        moved = alignment.advance(start_s)
        if not len(line):
            alignment.nothing_kept()
            return FarFrame(None)
        last_needed = self._interpolator.last_needed(alignment.position)
        missing = alignment.wait(last_needed, line.end, most_lag_s=self._most_lag_s)
        self.starved += missing
        later = alignment.lag_increase_samples
        if alignment.position - self._interpolator.reach_samples >= line.silent_from < line.end:
            return FarFrame(None, lag_increase_samples=later)
        aligned = not (missing or moved or later or alignment.is_lost)
        alignment.found()
        return FarFrame(self._interpolator.frame(line, alignment.position), aligned, later)

    def correct(self, delay_error_samples: float, delay_jump_samples: int) -> None:
        """Takes the canceller's findings about the delay of the last frame's echo; see Alignment."""
        self._alignment.correct_delay(delay_error_samples)
        if delay_jump_samples:
            self._alignment.jump(delay_jump_samples)

    def _use(self, rate_hz: int) -> None:
        alignment = Alignment(rate_hz, reopened=self._openings > 1 or self._using == _TORN)
        if self._line.rate_hz == rate_hz:
            # A speaker that rests is opened again with each conversation, and it needs no further memory for that.
            self._line.begin_anew()
        else:
            self._line, self._interpolator = DelayLine(rate_hz), Interpolator(rate_hz)
        self._alignment = alignment
        self._handed_s = -math.inf

    def _gather(self) -> None:
        """Takes over the periods that the speaker has left."""
        periods: list[bytes] = []
        fresh_samples = 0
        while self._handed:
            opening, rate_hz, pcm, at_s = self._handed.popleft()
            if opening != self._using:
                periods, fresh_samples = [], 0
                self._use(rate_hz)
                self._using = opening
            self._alignment.clock.stamp(self._line.end + fresh_samples, at_s)
            self._handed_s = at_s
            periods.append(pcm)
            fresh_samples += len(pcm) // BYTES_PER_SAMPLE
        if periods:
            self._line.append(periods)
