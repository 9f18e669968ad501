"""The linear canceller: it leaves the near end whole, and knows how much of the echo it could not remove. Pure.

WebRTC's canceller gives out only the end of its chain, where a suppressor has muted what it takes for echo, and with it
a person who talks over the agent. This one stands beside it: what it leaves is the person and a rest of the echo, and
it knows how large that rest is to be expected, so that more than that must be a person. It is two objects: a filter
that estimates the echo, and a monitor of the delay that the filter assumes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from parleyd.audio.echo.delay_monitor import DelayMonitor
from parleyd.audio.echo.linear_filter import LinearFilter

Floats = npt.NDArray[np.float32]

# Above this coherence of echo and residual the path has changed, and the filter is told to doubt it.
PATH_CHANGED = 0.5


@dataclass(frozen=True, slots=True)
class LinearFrame:
    """What the linear canceller made of one frame."""

    residual: Floats
    """float32 (FRAME_SAMPLES,), full scale 1.0: the microphone without the estimated echo."""
    residual_bands: Floats
    """float32 (BANDS,), mean squares: the power of the residual in each band."""
    expected_bands: Floats
    """Likewise: how much of it is expected to be echo that the filter could not remove."""
    echo_power: float
    """Mean square of the estimated echo; 1.0 is full scale."""
    echo_coherence: float
    """0 to 1: the share of the residual that is the estimated echo over again."""
    delay_error_samples: float
    """By how many samples the echo came later than expected."""
    delay_jump_samples: int
    """By how many samples all of the echo comes later at once than up to now; 0: it does not."""


class LinearCanceller:
    """step() or pass_by() for every frame, in order. All sound is float32 (FRAME_SAMPLES,) at the pipeline's rate, full
    scale 1.0."""

    def __init__(self) -> None:
        self._filter = LinearFilter()
        self._monitor = DelayMonitor()

    def step(self, heard: Floats, far: Floats) -> LinearFrame:
        """heard: a frame of the microphone. far: the far end that belongs to it."""
        monitor = self._monitor
        estimate = self._filter.estimate(heard, far)
        monitor.watch(estimate)
        if monitor.echo_coherence > PATH_CHANGED:
            self._filter.doubt(monitor.echo_coherence)
        forecast = self._filter.adapt(estimate.residual)
        monitor.look_for_jump(heard, estimate, forecast)
        return LinearFrame(
            estimate.residual,
            forecast.residual,
            forecast.expected,
            estimate.echo_power,
            monitor.echo_coherence,
            monitor.delay_error_samples,
            monitor.delay_jump_samples,
        )

    def pass_by(self, far: Floats, *, path_changed: bool = False) -> None:
        """In the place of step(), for a frame from which nothing is to be learnt. path_changed: the far end was lost,
        and may have come back at another delay."""
        self._filter.pass_by(far)
        if path_changed:
            self._filter.doubt(1.0)

    def shift(self, samples: int) -> None:
        """From the next frame on the far end is given later by so many samples."""
        self._filter.shift(samples)
