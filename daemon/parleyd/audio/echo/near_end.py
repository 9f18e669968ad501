"""Decides whether a person is in the residual of the cancellers. Pure."""

from __future__ import annotations

from math import log10
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parleyd.audio.echo.linear_filter import BANDS
from parleyd.audio.pcm import FRAME_SAMPLES

Floats = npt.NDArray[np.float32]
# One for each band.
Decibels = list[float]

# A person is present if the residual exceeds the sound that echo and room explain by this much, on average over the
# bands in which it stands out most.
NEAR_OVER_ECHO_DB = 15.0
# The number of bands in that average.
_BANDS_HEARD = 3
# The lower threshold that applies if WebRTC's output is also far above its usual residual: two detectors agree.
NEAR_AGREED_DB = 10.0
# The distance from its usual residual above which WebRTC's output agrees.
_AGREES_DB = 20.0
# WebRTC's usual residual before anything was heard.
_FIRST_USUAL_DBFS = -50.0
# The speed at which the usual residual follows a louder output, per frame.
_USUAL_RISE_DB = 0.1
# The threshold for a weak near end, which is too faint to be a person by itself. A word that follows makes it one.
WEAK_OVER_ECHO_DB = 8.0
# The forecast and the noise floor learn from frames that stay below the threshold by at least this much.
_LEARN_BELOW_DB = 2.0
# Above this coherence the residual is a copy of the echo, as after a change of the path, and no person.
_MOST_COHERENCE = 0.1
# The level of a loudspeaker's distortion in every band, relative to the whole echo.
_DISTORTION = 10.0 ** (-45.0 / 10.0)
# The share of the echo's power that rings on in the room from frame to frame; the distortion lasts as long.
_RING_PER_FRAME = 0.8
# The forecast is corrected by the median of its errors: by one step per frame, up to the bound.
_ERROR_STEP_DB, _MOST_ERROR_DB = 0.05, 12.0
# A band of the forecast learns while it is above the noise floor by this much.
_LEARN_OVER_FLOOR_DB = 6.0
# The noise floor at the beginning, and its lowest value.
_FIRST_FLOOR_DBFS, _LEAST_FLOOR_DBFS = -70.0, -80.0
# The speeds at which the noise floor follows the residual, per frame: down, up, and up while there is an echo.
_FLOOR_FALL_DB, _FLOOR_RISE_DB, _FLOOR_RISE_IN_ECHO_DB = 0.4, 0.04, 0.006
# The most that a single band adds to the average.
_MOST_OVER_DB = 40.0


class Near(NamedTuple):
    """The part of a residual that echo and room do not explain."""

    over_db: float
    """By how much it exceeds what they explain, on average over the bands in which it stands out most."""
    is_new: bool
    """False if the residual is a copy of the echo."""

    @property
    def is_explained(self) -> bool:
        """Nothing stands out, not even a sound that is too faint to be a person."""
        return self.over_db <= WEAK_OVER_ECHO_DB

    @property
    def weak(self) -> bool:
        """True for a person, and for a sound that is too faint to be certain."""
        return self.is_new and not self.is_explained

    def person(self, *, aec_agrees: bool) -> bool:
        """Returns whether somebody speaks. aec_agrees: WebRTC's output stands out as well."""
        return self.is_new and self.over_db > (NEAR_AGREED_DB if aec_agrees else NEAR_OVER_ECHO_DB)


class NearEnd:
    """One step per frame. The threshold is relative to the sound that is explained: in each band the expected residual
    echo, corrected by its recent errors, a loudspeaker's distortion, and the room's noise."""

    def __init__(self) -> None:
        # By band. Six numbers are handled in a third of the time that numpy takes for arrays of six.
        self._error_db = [0.0] * BANDS
        self._floor_dbfs = [_FIRST_FLOOR_DBFS] * BANDS
        self._ringing = 0.0

    def step(self, residual: Floats, expected: Floats, echo_power: float, echo_coherence: float) -> Near:
        """residual, expected: float32 (BANDS,), mean squares by band, full scale 1.0: the power of the residual, and
        the part of it that should be echo. echo_power: mean square of the whole estimate. echo_coherence: the share of
        the residual that is a copy of the estimate.
        """
        self._ringing = max(echo_power, self._ringing * _RING_PER_FRAME)
        distortion = self._ringing * _DISTORTION
        residual_db = [10.0 * log10(power + 1e-12) for power in residual.tolist()]
        expected_db = [10.0 * log10(power + 1e-12) for power in expected.tolist()]
        forecast_db = [expected + error for expected, error in zip(expected_db, self._error_db, strict=True)]
        over_db = [
            left - 10.0 * log10(10.0 ** (forecast / 10.0) + 10.0 ** (floor / 10.0) + distortion)
            for left, forecast, floor in zip(residual_db, forecast_db, self._floor_dbfs, strict=True)
        ]

        ranked = sorted(over_db)
        median_db = (ranked[(BANDS - 1) // 2] + ranked[BANDS // 2]) / 2
        if median_db < NEAR_OVER_ECHO_DB - _LEARN_BELOW_DB:
            self._learn_error(residual_db, expected_db, forecast_db)
        self._follow_floor(residual_db, expected_db)

        loudest_db = sum(min(_MOST_OVER_DB, max(0.0, over)) for over in ranked[-_BANDS_HEARD:]) / _BANDS_HEARD
        return Near(loudest_db, is_new=echo_coherence < _MOST_COHERENCE)

    @property
    def floor_power(self) -> float:
        """The power of the room's noise, mean square in all bands together."""
        return float(sum(10.0 ** (floor / 10.0) for floor in self._floor_dbfs))

    def _learn_error(self, residual_db: Decibels, expected_db: Decibels, forecast_db: Decibels) -> None:
        for band, (left, expected, forecast) in enumerate(zip(residual_db, expected_db, forecast_db, strict=True)):
            if expected > self._floor_dbfs[band] + _LEARN_OVER_FLOOR_DB:
                error_db = self._error_db[band] + (_ERROR_STEP_DB if left > forecast else -_ERROR_STEP_DB)
                self._error_db[band] = min(max(error_db, -_MOST_ERROR_DB), _MOST_ERROR_DB)

    def _follow_floor(self, residual_db: Decibels, expected_db: Decibels) -> None:
        for band, (left, expected) in enumerate(zip(residual_db, expected_db, strict=True)):
            floor_dbfs = self._floor_dbfs[band]
            if left < floor_dbfs:
                self._floor_dbfs[band] = max(left, floor_dbfs - _FLOOR_FALL_DB, _LEAST_FLOOR_DBFS)
            else:
                rise_db = _FLOOR_RISE_IN_ECHO_DB if expected > floor_dbfs else _FLOOR_RISE_DB
                self._floor_dbfs[band] = min(left, floor_dbfs + rise_db)


class AecWitness:
    """Decides whether the output of WebRTC's canceller is louder than its usual residual of echo and room."""

    def __init__(self) -> None:
        self._usual_dbfs = _FIRST_USUAL_DBFS

    def step(self, cancelled: Floats) -> bool:
        """cancelled: float32 (FRAME_SAMPLES,), full scale 1.0: a frame of WebRTC's output."""
        left_dbfs = 10.0 * log10(float(np.dot(cancelled, cancelled)) / FRAME_SAMPLES + 1e-12)
        agrees = left_dbfs > self._usual_dbfs + _AGREES_DB
        if left_dbfs < self._usual_dbfs:
            self._usual_dbfs = max(left_dbfs, self._usual_dbfs - _FLOOR_FALL_DB, _LEAST_FLOOR_DBFS)
        else:
            self._usual_dbfs = min(left_dbfs, self._usual_dbfs + _USUAL_RISE_DB)
        return agrees
