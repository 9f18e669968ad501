"""Whether the echo still comes when the linear filter expects it. Pure.

A filter follows an echo whose delay moves, but it lags behind, and what it leaves meanwhile looks like a person. So it
is watched for three signs, each taken from the estimated echo and the residual, or from what the microphone heard:

* coherence: the residual is the estimate over again, larger or smaller. Then the path has changed, and nobody speaks;
* the delay error: the residual has the shape of the estimate's slope. Then the echo comes a little sooner or later;
* a jump: the estimate, moved by some milliseconds, is like what was heard. Then all of the echo has moved at once, as
  when a sound server fills its buffers anew.

All sound is float32 (FRAME_SAMPLES,) at the pipeline's rate, full scale 1.0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parleyd.audio.echo.linear_filter import Estimate, Forecast
from parleyd.audio.pcm import FRAME_SAMPLES

Floats = npt.NDArray[np.float32]

# How much of the products behind the coherence is kept from frame to frame.
_COHERENCE_SMOOTHING = 0.75
# How much of the products behind the delay error is kept from frame to frame.
_SLOPE_SMOOTHING = 0.9
# A residual whose own slope is steep hides the delay error. It counts so many times, so that less is made of the error.
_HIDING = 2.0
# A jump of the echo is looked for within these bounds: so much sooner, and so much later.
_SOONER_SAMPLES, _LATER_SAMPLES = 160, 320
# A jump is looked for when the residual has so many times the expected power (8 dB) ...
_SURPRISE = 10.0**0.8
# ... and in so many frames after that ...
_SUSPECT_FRAMES = 10
# ... if the estimated echo is no softer than this (-40 dBFS).
_LEAST_ECHO_POWER = 1e-4
# A smaller jump is none: the delay error tells it better.
_LEAST_JUMP_SAMPLES = 3
# A jump is believed where the moved estimate and what was heard have at least this coherence, and where the move closes
# at least half of what the coherence lacked to 1 before.
_JUMP_COHERENCE = 0.8
# How much of what was heard, and of the estimate, is kept to look for a jump.
_KEPT_SAMPLES = 4 * FRAME_SAMPLES


def _coherence(both: float, one: float, other: float) -> float:
    return float(both * both / (one * other)) if one * other > 0.0 else 0.0


class DelayMonitor:
    """For each frame watch(), and then look_for_jump()."""

    def __init__(self) -> None:
        self.echo_coherence = 0.0
        """0 to 1: the share of the residual that is the estimated echo over again. No person is like that."""
        self.delay_error_samples = 0.0
        """By how many samples the echo comes later than the estimate."""
        self.delay_jump_samples = 0
        """By how many samples all of the echo comes later at once than up to now; 0: it does not."""
        # Smoothed products: residual with echo, residual with itself, echo with itself.
        self._products = np.zeros(3)
        # Smoothed products: residual with the echo's slope, the slopes of echo and residual each with itself.
        self._slopes = np.zeros(3)
        self._heard = np.zeros(_KEPT_SAMPLES, np.float32)
        self._echo = np.zeros(_KEPT_SAMPLES, np.float32)
        self._suspect_frames = 0
        self._candidate_samples = 0  # the jump that the last frame suggested

    def watch(self, estimate: Estimate) -> None:
        """Sets echo_coherence and delay_error_samples."""
        residual, echo = estimate.residual, estimate.echo
        products = (np.dot(residual, echo), np.dot(residual, residual), np.dot(echo, echo))
        self._products = _COHERENCE_SMOOTHING * self._products + np.asarray(products)
        self.echo_coherence = _coherence(*self._products)
        self.delay_error_samples = self._delay_error(residual, echo)

    def look_for_jump(self, heard: Floats, estimate: Estimate, forecast: Forecast) -> None:
        """Sets delay_jump_samples once two frames agree. From the first of them on the residual counts as explained by
        the echo (echo_coherence), so that nobody is heard in it.

        heard: the frame of the microphone. forecast: of its residual.
        """
        for kept, frame in ((self._heard, heard), (self._echo, estimate.echo)):
            kept[:-FRAME_SAMPLES] = kept[FRAME_SAMPLES:]
            kept[-FRAME_SAMPLES:] = frame
        before, self._candidate_samples, self.delay_jump_samples = self._candidate_samples, 0, 0
        is_surprise = forecast.residual.sum() > _SURPRISE * forecast.expected.sum()
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
        """An echo that comes d later leaves, to the first order, -d times its slope."""
        # Slow disturbances, such as a hum or an offset of the microphone, tell next to nothing about the slope: the
        # differences of successive samples leave them out.
        residual, echo = np.diff(residual), np.diff(echo)
        slope, other = (echo[2:] - echo[:-2]) / 2, (residual[2:] - residual[:-2]) / 2
        products = (np.dot(residual[1:-1], slope), np.dot(slope, slope), np.dot(other, other))
        self._slopes = _SLOPE_SMOOTHING * self._slopes + np.asarray(products)
        both, echo_slope, residual_slope = self._slopes
        return float(-both / (echo_slope + _HIDING * residual_slope)) if echo_slope > 0.0 else 0.0

    def _best_jump(self) -> tuple[int, float, float]:
        """→ by how many samples later the estimate is most like what was heard, how much it is then, and how much it is
        where it stands: signed coherences, -1 to 1."""
        part = self._heard[_LATER_SAMPLES:-_SOONER_SAMPLES]
        both = np.correlate(self._echo, part, "valid")
        power = np.convolve(self._echo**2, np.ones(len(part), np.float32), "valid")
        alike = both * np.abs(both) / (power * np.dot(part, part) + np.float32(1e-12))
        best = int(np.argmax(alike))
        return _LATER_SAMPLES - best, float(alike[best]), float(alike[_LATER_SAMPLES])
