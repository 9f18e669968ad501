"""The linear canceller: it leaves the near end whole, and knows how much echo it could not remove. Pure.

WebRTC's canceller gives only the end of its chain, where a suppressor has muted all that it takes for echo, and with it
a person who talks over the agent. This one stands beside it: its residual is the person and a rest of the echo, and it
forecasts how large that rest is, so that a larger residual must contain a person. It consists of two objects: a filter
that estimates the echo, and a monitor of the delay that the filter assumes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from parleyd.audio.echo.delay_monitor import DelayMonitor
from parleyd.audio.echo.linear_filter import LinearFilter

Floats = npt.NDArray[np.float32]

# Above this coherence of echo and residual the path has changed, and the filter's error is raised (LinearFilter.doubt).
PATH_CHANGED = 0.5


class LinearFrame(Struct, frozen=True):
    """The result of the linear canceller for one frame."""

    residual: Floats
    """float32 (FRAME_SAMPLES,), full scale 1.0: the microphone without the estimated echo."""
    residual_bands: Floats
    """float32 (BANDS,), mean squares: the power of the residual in each band."""
    expected_bands: Floats
    """As `residual`: the power that is expected of the echo that the filter could not remove."""
    echo_power: float
    """Mean square of the estimated echo; 1.0 is full scale."""
    echo_coherence: float
    """0 to 1: the share of the residual that is a copy of the estimated echo."""
    delay_error_samples: float
    """The number of samples by which the echo came later than expected."""
    delay_jump_samples: int
    """The number of samples by which the whole echo comes later from now on; 0: no jump."""


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
        """Replaces step() for a frame that must teach nothing. path_changed: the far end was lost, and may have come
        back at another delay."""
        self._filter.pass_by(far)
        if path_changed:
            self._filter.doubt(1.0)

    def shift(self, samples: int) -> None:
        """From the next frame on the far end is given later by this many samples."""
        self._filter.shift(samples)
