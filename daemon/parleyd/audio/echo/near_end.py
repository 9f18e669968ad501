"""Decides whether a person is in the residual of the cancellers. Pure."""

from __future__ import annotations

from math import log10
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from parleyd.audio.echo.linear_filter import BANDS
from parleyd.audio.pcm import FRAME_SAMPLES

Floats = npt.NDArray[np.float32]
# By the types of its releases numpy keeps float32 here, or makes float64 of it; both are good.
Decibels = npt.NDArray[np.floating[Any]]

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


class Presence(NamedTuple):
    person: bool
    """Somebody speaks."""
    weak: bool
    """True for a person, and for a sound that is too faint to be certain."""


class NearEnd:
    """One step per frame. The threshold is relative to the sound that is explained: in each band the expected residual
    echo, corrected by its recent errors, a loudspeaker's distortion, and the room's noise."""

    def __init__(self) -> None:
        self._error_db: Decibels = np.zeros(BANDS, np.float32)
        self._floor_dbfs: Decibels = np.full(BANDS, _FIRST_FLOOR_DBFS, np.float32)
        self._ringing = 0.0

    def step(
        self, residual: Floats, expected: Floats, echo_power: float, echo_coherence: float, *, aec_agrees: bool = False
    ) -> Presence:
        """residual, expected: float32 (BANDS,), mean squares by band, full scale 1.0: the power of the residual, and
        the part of it that should be echo. echo_power: mean square of the whole estimate. echo_coherence: the share of
        the residual that is a copy of the estimate. aec_agrees: WebRTC's output stands out as well.
        """
        residual_db = 10.0 * np.log10(residual + 1e-12)
        expected_db = 10.0 * np.log10(expected + 1e-12)
        self._ringing = max(echo_power, self._ringing * _RING_PER_FRAME)
        forecast_db = expected_db + self._error_db
        account = 10.0 ** (forecast_db / 10.0) + 10.0 ** (self._floor_dbfs / 10.0) + self._ringing * _DISTORTION
        over_db = residual_db - 10.0 * np.log10(account)

        ranked = sorted(over_db.tolist())
        median_db = (ranked[(BANDS - 1) // 2] + ranked[BANDS // 2]) / 2
        if median_db < NEAR_OVER_ECHO_DB - _LEARN_BELOW_DB:
            self._learn_error(residual_db, expected_db, forecast_db)
        self._follow_floor(residual_db, expected_db)

        loudest_db = sum(min(_MOST_OVER_DB, max(0.0, over)) for over in ranked[-_BANDS_HEARD:]) / _BANDS_HEARD
        is_new = echo_coherence < _MOST_COHERENCE
        threshold_db = NEAR_AGREED_DB if aec_agrees else NEAR_OVER_ECHO_DB
        return Presence(person=is_new and loudest_db > threshold_db, weak=is_new and loudest_db > WEAK_OVER_ECHO_DB)

    def _learn_error(self, residual_db: Decibels, expected_db: Decibels, forecast_db: Decibels) -> None:
        step = np.where(residual_db > forecast_db, _ERROR_STEP_DB, -_ERROR_STEP_DB)
        learn = expected_db > self._floor_dbfs + _LEARN_OVER_FLOOR_DB
        error_db = self._error_db + step * learn
        self._error_db = np.minimum(np.maximum(error_db, -_MOST_ERROR_DB), _MOST_ERROR_DB)

    def _follow_floor(self, residual_db: Decibels, expected_db: Decibels) -> None:
        floor_dbfs = self._floor_dbfs
        in_echo = expected_db > floor_dbfs
        fall = np.maximum(np.maximum(residual_db, floor_dbfs - _FLOOR_FALL_DB), _LEAST_FLOOR_DBFS)
        rise = floor_dbfs + np.where(in_echo, _FLOOR_RISE_IN_ECHO_DB, _FLOOR_RISE_DB)
        self._floor_dbfs = np.where(residual_db < floor_dbfs, fall, np.minimum(residual_db, rise))


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
