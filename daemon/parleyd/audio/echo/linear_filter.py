"""The adaptive filter that estimates the echo, and the likely error of its estimate. Pure.

Partitioned frequency-domain Kalman filter:

* Enzner and Vary, "Frequency-domain adaptive Kalman filter for acoustic echo control in hands-free telephones", Signal
  Processing 86 (2006);
* Kuech, Mabande and Enzner, "State-space architecture of the partitioned-block-based acoustic echo controller", ICASSP
  2014.

The echo's path from the speaker to the microphone is the state, divided into PARTS filters of one frame each. In the
terms of the papers, for part p and each frequency, in frame k:

    echo estimate       d(k)   = last half of IFFT( sum over p of X(k-p) W_p(k) )
    residual            e(k)   = y(k) - d(k),                          E = FFT( zeros, e )
    Kalman gain         K_p    = P_p X*(k-p) / ( 1/2 sum over q of |X(k-q)|^2 P_q + Psi )
    path                W_p   <- constrained( W_p + K_p E )
    error covariance    P_p   <- ( 1 - 1/2 K_p X(k-p) ) P_p + change |W_p|^2

X are spectra of two frames of the far end, P the expected square error of the path, Psi the power of the near end: the
person and the room's noise. 1/2 is the share of each window that is new (frame over FFT length). Psi is smoothed from
the residual, so that the filter needs no detector of double talk: while a person speaks, Psi is large and the gain
small. The power of the reverberation that is later than the filter is long is added to the sum in the gain. In the
papers the path fades (A^2 P + (1 - A^2) |W|^2 with A just below 1); here it stays (A = 1), and only its error grows,
because it may have changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import FRAME_SAMPLES, PIPELINE_RATE_HZ
from parleyd.audio.spectra import inverse, transform

Floats = npt.NDArray[np.float32]

# The number of frames that the filter covers, 320 ms: the latencies of speaker and microphone, the way through the air,
# and the louder part of the room's reverberation.
PARTS = 16
_FFT = 2 * FRAME_SAMPLES
_BINS = FRAME_SAMPLES + 1
# The share of the path's power that may change in each frame. With this value it follows a moving hand.
_CHANGE = np.float32(0.002)
# At the beginning the path moves faster, because the difference of the devices' clocks is not known yet. The share
# begins with the first value, and is multiplied by the second in each frame.
_FIRST_CHANGE, _CHANGE_FALL = np.float32(0.02), np.float32(0.99)
# The square of the path's gain, at any delay and frequency, that is assumed before anything was heard.
_FIRST_GUESS = 0.1
# An estimate louder than full scale shows that the filter has diverged, as on a siren. It is reset then.
_MOST_ECHO_POWER = 1.0
# The bounds of the path's expected square error.
_LEAST_ERROR, _MOST_ERROR = np.float32(1e-9), np.float32(10.0)
# The factor by which the power of the reverberation beyond the filter falls in each frame, for a room of 0.8 s (RT60).
_REVERB_FALL = np.float32(10.0 ** (-60.0 / 10.0 * 0.020 / 0.8))
# The share of the near end's power that is kept from frame to frame.
_NEAR_SMOOTHING = np.float32(0.5)
# The bands in which a person is searched for, from the pitch's first harmonics to the hiss of an s.
BAND_EDGES_HZ = (200, 700, 1500, 2500, 3800, 5500, 7600)
BANDS = len(BAND_EDGES_HZ) - 1
_EDGES = [round(hz * _FFT / PIPELINE_RATE_HZ) for hz in BAND_EDGES_HZ]


def _band_powers(power: Floats) -> Floats:
    """Returns float32 (BANDS,), mean squares in the bands. power: the power spectrum of a frame over _FFT points."""
    sums: Floats = np.add.reduceat(power[: _EDGES[-1]], _EDGES[:-1])
    return sums * np.float32(2.0 / (_FFT * FRAME_SAMPLES))


class Estimate(NamedTuple):
    """The filter's division of a frame of the microphone into echo and rest."""

    echo: Floats
    """float32 (FRAME_SAMPLES,), full scale 1.0: the estimated echo."""
    residual: Floats
    """float32 (FRAME_SAMPLES,), full scale 1.0: the rest, which is the person and the echo that was not estimated."""
    echo_power: float
    """Mean square of the estimated echo."""


class Forecast(NamedTuple):
    """The power of a residual, and the part of it that the filter expects of the echo. Both are float32 (BANDS,), mean
    squares, full scale 1.0."""

    residual: Floats
    expected: Floats


class LinearFilter:
    """For each frame of the microphone: estimate(), then adapt(); or pass_by() if the microphone heard nothing. All
    sound is float32 (FRAME_SAMPLES,) at the pipeline's rate, full scale 1.0."""

    def __init__(self) -> None:
        self._far_window = np.zeros(_FFT, np.float32)  # the last two frames of the far end
        self._residual_window = np.zeros(_FFT, np.float32)  # a frame of zeros, and the last residual
        # Spectra (X) and powers of the last PARTS frames. They are written backwards and twice, PARTS apart, so that
        # from _newest on they are always in order, the newest first.
        self._spectra = np.zeros((2 * PARTS, _BINS), np.complex64)
        self._powers = np.zeros((2 * PARTS, _BINS), np.float32)
        self._newest = 0
        self._path = np.zeros((PARTS, _BINS), np.complex64)  # W
        self._error = np.full((PARTS, _BINS), _FIRST_GUESS, np.float32)  # P
        self._change = _FIRST_CHANGE
        self._doubted = 0.0  # the largest share of doubt() since the path or its error last changed
        self._near = np.full(_BINS, 1e-4, np.float32)  # Psi
        self._reverb = np.zeros(_BINS, np.float32)  # power of the echo that is later than the filter is long

    def estimate(self, heard: Floats, far: Floats) -> Estimate:
        """heard: a frame of the microphone. far: the far end that belongs to it. Both are float32 (FRAME_SAMPLES,)."""
        self._take(far)
        spectra, _ = self._latest
        echo = inverse((spectra * self._path).sum(axis=0))[FRAME_SAMPLES:]
        echo_power = float(np.dot(echo, echo)) / FRAME_SAMPLES
        if not echo_power < _MOST_ECHO_POWER:
            self._path[:], self._error[:], self._doubted = 0.0, _FIRST_GUESS, 0.0
            echo[:] = echo_power = 0.0
        return Estimate(echo, heard - echo, echo_power)

    def adapt(self, residual: Floats) -> Forecast:
        """Learns from the residual of the last estimate. Returns the forecast for that residual."""
        spectra, powers = self._latest
        self._residual_window[FRAME_SAMPLES:] = residual
        spectrum = transform(self._residual_window)
        last = self._path[-1]
        self._reverb = _REVERB_FALL * (self._reverb + powers[-1] * (last.real**2 + last.imag**2))
        expected = np.einsum("pb,pb->b", powers, self._error) + self._reverb
        left = spectrum.real**2 + spectrum.imag**2
        forecast = Forecast(_band_powers(left), _band_powers(expected))

        self._near = _NEAR_SMOOTHING * self._near + (1 - _NEAR_SMOOTHING) * left
        # The Kalman gain is this array times X*.
        gain = self._error / (0.5 * expected + self._near + np.float32(1e-9))
        step = spectra.conj()
        step *= spectrum
        step *= gain
        step += self._path
        path = inverse(step)
        # The constraint: each part has FRAME_SAMPLES taps, and everything beyond them is an artefact.
        path[:, FRAME_SAMPLES:] = 0.0
        self._path = transform(path)
        gain *= powers
        gain *= np.float32(-0.5)
        gain += 1
        self._error *= gain
        self._change = max(_CHANGE, self._change * _CHANGE_FALL)
        self._error += self._change * (self._path * self._path.conj()).real
        np.clip(self._error, _LEAST_ERROR, _MOST_ERROR, out=self._error)
        self._doubted = 0.0
        return forecast

    def pass_by(self, far: Floats) -> None:
        """Replaces estimate() and adapt() for a frame that must teach nothing, but whose echo may come later."""
        self._take(far)

    def doubt(self, share: float) -> None:
        """Raises the path's expected error by this share of its power, because the path may have changed."""
        if share <= self._doubted:
            # The error is as large already; the far end may be lost for seconds.
            return
        self._doubted = share
        power = self._path.real**2 + self._path.imag**2
        self._error = np.maximum(self._error, np.float32(share) * power.mean(axis=0))

    def shift(self, samples: int) -> None:
        """From the next frame on the far end is given later by this many samples: the path becomes as much shorter."""
        path = inverse(self._path)[:, :FRAME_SAMPLES].ravel()
        shorter = np.zeros((PARTS, _FFT), np.float32)
        path = np.concatenate([path[samples:], np.zeros(min(samples, len(path)), np.float32)])
        shorter[:, :FRAME_SAMPLES] = path.reshape(PARTS, FRAME_SAMPLES)
        self._path = transform(shorter)
        self._doubted = 0.0

    def _take(self, far: Floats) -> None:
        self._far_window[:FRAME_SAMPLES] = self._far_window[FRAME_SAMPLES:]
        self._far_window[FRAME_SAMPLES:] = far
        spectrum = transform(self._far_window)
        self._newest = (self._newest - 1) % PARTS
        places = slice(self._newest, None, PARTS)
        self._spectra[places] = spectrum
        self._powers[places] = spectrum.real**2 + spectrum.imag**2

    @property
    def _latest(self) -> tuple[npt.NDArray[np.complex64], Floats]:
        """Returns the spectra and powers of the last PARTS frames of the far end, the newest first."""
        kept = slice(self._newest, self._newest + PARTS)
        return self._spectra[kept], self._powers[kept]
