"""Reads a frame at the pipeline's rate from any position of the far end, also between two samples. Pure."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from parleyd.audio.echo.delay_line import DelayLine
from parleyd.audio.pcm import FRAME_SAMPLES, PIPELINE_RATE_HZ

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# The number of fractions of a device's sample that have a filter of their own. A position is rounded to one of them.
_PHASES = 256
# Half the length of a filter for a device at the pipeline's rate; for a faster device filters are longer in proportion.
_HALF_TAPS = 16
# The filters are 6 dB down at this share of half the lower rate.
_CUTOFF = 0.94
# The shape of the filters' Kaiser window.
_KAISER_BETA = 8.0


# The number of terms of the window's series after the first: what the rest adds is too small for a float64.
_KAISER_TERMS = 30


def _kaiser(squares: Doubles) -> Doubles:
    """Kaiser's window, not normalised, where its middle is 0 and its ends are 1; squares: of the places, any shape.

    The series of the Bessel function. np.i0 makes a new array in each of its steps, each so large that its memory comes
    from the system anew: that took 9 ms more, in the first frame that the daemon hears.
    """
    quarter = (1.0 - squares) * (_KAISER_BETA**2 / 4)
    window = np.full_like(quarter, 1.0 / math.factorial(_KAISER_TERMS) ** 2)
    for term in reversed(range(_KAISER_TERMS)):
        window *= quarter
        window += 1.0 / math.factorial(term) ** 2
    return window


@cache
def _bank(rate_hz: int) -> Floats:
    """float32 (_PHASES + 1, taps): a low-pass filter for each fraction of a device's sample, from 0 to 1. Kept, because
    a speaker that rests is opened again with each conversation."""
    scale = max(1.0, rate_hz / PIPELINE_RATE_HZ)
    half = math.ceil(_HALF_TAPS * scale)
    cutoff = _CUTOFF / scale
    at = np.arange(-half + 1, half + 1)[None, :] - np.linspace(0.0, 1.0, _PHASES + 1)[:, None]
    taps = np.sinc(cutoff * at) * _kaiser((at / half) ** 2)
    bank: Floats = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return bank


class Interpolator:
    """Reads frames from a DelayLine, at any position, also a fraction."""

    def __init__(self, rate_hz: int) -> None:
        """rate_hz: of the delay line."""
        self.step: float = rate_hz / PIPELINE_RATE_HZ
        """The number of samples of the line per sample of the pipeline."""
        self._bank = _bank(rate_hz)
        self._taps: int = self._bank.shape[1]
        self.reach_samples: int = self._taps // 2
        """The number of samples of the line on either side of a position that a filter needs."""
        # The parts of the line that a frame needs, one for each of its samples. numpy would make this copy anyway, in
        # memory that it asks for in each frame.
        shape = (FRAME_SAMPLES, self._taps)
        self._windows = np.empty(shape, np.float32) if self.step.is_integer() else None

    def last_needed(self, position: float) -> float:
        """Returns the last sample of the line that a frame beginning at this position needs."""
        return position + (FRAME_SAMPLES - 1) * self.step + self.reach_samples

    def frame(self, line: DelayLine, position: float) -> Floats:
        """Returns float32 (FRAME_SAMPLES,) at the pipeline's rate, full scale 1.0. position: of its first sample, in
        samples of the line. Samples that are not kept count as silence."""
        between = position - math.floor(position)
        begin = math.floor(position) - self.reach_samples + 1
        source = line.read(begin, int(between + (FRAME_SAMPLES - 1) * self.step) + self._taps)
        out: Floats
        if self._windows is not None:
            # Every sample of the frame has the same fraction, so one filter serves them all.
            # as_strided() would take as long as the product itself.
            strides = (int(self.step) * source.itemsize, source.itemsize)
            windows: Floats = np.ndarray((FRAME_SAMPLES, self._taps), np.float32, source, strides=strides)
            np.copyto(self._windows, windows)
            out = np.dot(self._windows, self._bank[round(between * _PHASES)])
            return out
        places = between + np.arange(FRAME_SAMPLES) * self.step
        whole = places.astype(np.intp)
        phase = np.rint((places - whole) * _PHASES).astype(np.intp)
        windows = np.lib.stride_tricks.sliding_window_view(source, self._taps)
        out = np.einsum("ij,ij->i", windows[whole], self._bank[phase])
        return out
