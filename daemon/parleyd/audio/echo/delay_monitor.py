"""Notices when the echo does not come at the delay that the linear filter expects. Pure.

A filter follows an echo whose delay changes, but slowly, and meanwhile its residual looks like a person. Therefore
three signs are watched, which are computed from the estimated echo and the residual, or from the microphone's sound:

* coherence: the residual is a copy of the estimate, larger or smaller. Then the path has changed, and nobody speaks;
* the delay error: the residual has the shape of the estimate's slope. Then the echo comes a little sooner or later;
* a jump: the estimate, moved by some milliseconds, resembles the microphone's sound. Then the whole echo has moved at
  once, as when a sound server refills its buffers.

All sound is float32 (FRAME_SAMPLES,) at the pipeline's rate, full scale 1.0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parleyd.audio.echo.linear_filter import Estimate, Forecast
from parleyd.audio.pcm import FRAME_SAMPLES

Floats = npt.NDArray[np.float32]

# The share of the products behind the coherence that is kept from frame to frame.
_COHERENCE_SMOOTHING = 0.75
# The share of the products behind the delay error that is kept from frame to frame.
_SLOPE_SMOOTHING = 0.9
# The weight of the residual's own slope, which hides the delay error: a steep residual makes the error smaller.
_HIDING = 2.0
# The search for a jump covers this many samples sooner, and this many later.
_SOONER_SAMPLES, _LATER_SAMPLES = 160, 320
# A search for a jump begins when the residual has this many times the expected power (8 dB), if the estimated echo
# is at least as loud as _LEAST_ECHO_POWER (-40 dBFS). It goes on for _SUSPECT_FRAMES frames.
_SURPRISE = 10.0**0.8
_SUSPECT_FRAMES = 10
_LEAST_ECHO_POWER = 1e-4
# A smaller move is not a jump; the delay error describes it better.
_LEAST_JUMP_SAMPLES = 3
# A jump is accepted if the moved estimate and the microphone's sound have at least this coherence, and if the move
# closes at least half of the gap between the coherence before and 1.
_JUMP_COHERENCE = 0.8
# The duration of the microphone's sound and of the estimate that is kept for the search.
_KEPT_SAMPLES = 4 * FRAME_SAMPLES


def _coherence(both: float, one: float, other: float) -> float:
    return both * both / (one * other) if one * other > 0.0 else 0.0


class DelayMonitor:
    """For each frame: watch(), then look_for_jump()."""

    def __init__(self) -> None:
        self.echo_coherence = 0.0
        """0 to 1: the share of the residual that is a copy of the estimated echo. A person's sound is no such copy."""
        self.delay_error_samples = 0.0
        """The number of samples by which the echo comes later than the estimate."""
        self.delay_jump_samples = 0
        """The number of samples by which the whole echo comes later from now on; 0: no jump."""
        # Smoothed products: residual with echo, residual with itself, echo with itself.
        self._products = (0.0, 0.0, 0.0)
        # Smoothed products: residual with the echo's slope, and the slopes of echo and residual, each with itself.
        self._slopes = (0.0, 0.0, 0.0)
        self._heard = np.zeros(_KEPT_SAMPLES, np.float32)
        self._echo = np.zeros(_KEPT_SAMPLES, np.float32)
        self._suspect_frames = 0
        self._candidate_samples = 0  # the jump that the last frame suggested

    def watch(self, estimate: Estimate) -> None:
        """Sets echo_coherence and delay_error_samples."""
        residual, echo = estimate.residual, estimate.echo
        both, left, estimated = self._products
        self._products = (
            _COHERENCE_SMOOTHING * both + float(np.dot(residual, echo)),
            _COHERENCE_SMOOTHING * left + float(np.dot(residual, residual)),
            _COHERENCE_SMOOTHING * estimated + float(np.dot(echo, echo)),
        )
        self.echo_coherence = _coherence(*self._products)
        self.delay_error_samples = self._delay_error(residual, echo)

    def look_for_jump(self, heard: Floats, estimate: Estimate, forecast: Forecast) -> None:
        """Sets delay_jump_samples when two frames agree. From the first of them on the residual counts as explained by
        the echo (echo_coherence), so that no person is reported.

        heard: the frame of the microphone. forecast: for its residual.
        """
        for kept, frame in ((self._heard, heard), (self._echo, estimate.echo)):
            kept[:-FRAME_SAMPLES] = kept[FRAME_SAMPLES:]
            kept[-FRAME_SAMPLES:] = frame
        before, self._candidate_samples, self.delay_jump_samples = self._candidate_samples, 0, 0
        # Python's sum of six numbers takes a fifth of numpy's time.
        is_surprise = sum(forecast.residual.tolist()) > _SURPRISE * sum(forecast.expected.tolist())
        self._suspect_frames = _SUSPECT_FRAMES if is_surprise else max(0, self._suspect_frames - 1)
        if estimate.echo_power < _LEAST_ECHO_POWER or not self._suspect_frames:
            return
        jump, coherence, unmoved = self._best_jump()
        if abs(jump) < _LEAST_JUMP_SAMPLES or coherence < max(_JUMP_COHERENCE, (1.0 + unmoved) / 2):
            return
        self._candidate_samples, self.echo_coherence = jump, coherence
        if before and abs(jump - before) <= 1:
            self.delay_jump_samples = jump

    def _delay_error(self, residual: Floats, echo: Floats) -> float:
        """Returns the delay error in samples. An echo that comes later by d leaves about -d times its slope."""
        # Slow disturbances, such as a hum or an offset of the microphone, say next to nothing about the slope; the
        # differences of successive samples remove them.
        residual, echo = residual[1:] - residual[:-1], echo[1:] - echo[:-1]
        slope, other = (echo[2:] - echo[:-2]) / 2, (residual[2:] - residual[:-2]) / 2
        both, echo_slope, residual_slope = self._slopes
        both = _SLOPE_SMOOTHING * both + float(np.dot(residual[1:-1], slope))
        echo_slope = _SLOPE_SMOOTHING * echo_slope + float(np.dot(slope, slope))
        residual_slope = _SLOPE_SMOOTHING * residual_slope + float(np.dot(other, other))
        self._slopes = both, echo_slope, residual_slope
        return -both / (echo_slope + _HIDING * residual_slope) if echo_slope > 0.0 else 0.0

    def _best_jump(self) -> tuple[int, float, float]:
        """Returns the number of samples by which the estimate has to be moved to resemble the microphone's sound most,
        and the signed coherence, -1 to 1, there and without a move."""
        part = self._heard[_LATER_SAMPLES:-_SOONER_SAMPLES]
        both = np.correlate(self._echo, part, "valid")
        # The running sum of squares gives the power of each stretch at once.
        upto = np.concatenate([[0.0], np.cumsum(self._echo**2, dtype=np.float64)])
        power = (upto[len(part) :] - upto[: -len(part)]).astype(np.float32)
        alike = both * np.abs(both) / (power * np.dot(part, part) + np.float32(1e-12))
        best = int(np.argmax(alike))
        return _LATER_SAMPLES - best, float(alike[best]), float(alike[_LATER_SAMPLES])
