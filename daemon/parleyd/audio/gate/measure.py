"""Measures that distinguish a voice from other sounds, besides the detector: the level in the band of speech, and the
pitch. Pure.

Taps, doors, typing and hiss have no pitch, all vowels do; that is the cheapest measure that distinguishes them
(benchmarks/gate_in_noise.py). A whisper has no pitch either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import FRAME_SAMPLES, PIPELINE_RATE_HZ, SILENCE_DBFS, Frame, samples_of
from parleyd.audio.spectra import transform

# The band with most of the power of speech; mains hum, rumble and wind are below, hiss is above.
VOICE_BAND_HZ = (250, 3500)
# The band of a voice's pitch, with its first overtones; the pitch itself is from 70 to 400 Hz.
_PITCH_BAND_HZ = (80, 1500)
_PITCH_HZ = (70, 400)

_WINDOW_SAMPLES = 2 * FRAME_SAMPLES
# At least the window and the longest lag: the correlation must not wrap round.
_FFT_SAMPLES = 1024
# The frequencies of a spectrum's bins.
SPECTRUM_HZ = np.fft.rfftfreq(_FFT_SAMPLES, 1 / PIPELINE_RATE_HZ)
# A softer band counts as silent.
_LEAST_POWER = 1e-12
_LAGS = slice(PIPELINE_RATE_HZ // _PITCH_HZ[1], PIPELINE_RATE_HZ // _PITCH_HZ[0])


class Measured(NamedTuple):
    """The measures of one frame."""

    level_dbfs: float
    """The level in the voice band; a tone has the same level as by pcm.level_dbfs."""
    pitch: float
    """0 to 1: the exactness with which the wave repeats itself at a voice's pitch; 0 if it was not requested."""


_SILENCE = Measured(SILENCE_DBFS, 0.0)
# The spectrum of a frame that is not heard.
NO_POWER: npt.NDArray[np.floating] = np.zeros(len(SPECTRUM_HZ), np.float32)


def _correlation(bins: slice, fall: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """float32 (bins, 1 + lags): the inverse transform of a power spectrum that has these bins only, at lag 0 and at
    _LAGS, each divided by `fall`. The few bins of a pitch make this product cheaper than a transform of all."""
    lags = np.concatenate([[0], np.arange(_LAGS.start, _LAGS.stop)])
    angle = 2 * np.pi / _FFT_SAMPLES * np.outer(np.arange(bins.start, bins.stop), lags)
    matrix: npt.NDArray[np.float32] = (2 / _FFT_SAMPLES * np.cos(angle) / fall).astype(np.float32)
    return matrix


class _Many:
    """Room for this number of frames, which each call would else ask the system for."""

    def __init__(self, count: int) -> None:
        self.sound = np.zeros((1 + count) * FRAME_SAMPLES, np.float32)
        strides = (FRAME_SAMPLES * self.sound.itemsize, self.sound.itemsize)
        # Each row is a frame and the one before it.
        self.last_two: npt.NDArray[np.float32] = np.ndarray(
            (count, _WINDOW_SAMPLES), np.float32, self.sound, strides=strides
        )
        self.windowed = np.zeros((count, _FFT_SAMPLES), np.float32)  # with zeros behind the samples
        self.spectra = np.empty((count, len(SPECTRUM_HZ)), np.complex64)
        self.powers = np.empty((count, len(SPECTRUM_HZ)), np.float32)


class VoiceMeasure:
    """Analyses the last two frames, 40 ms: two periods of the deepest voice.

    power: their spectrum, over SPECTRUM_HZ, of samples of 16 bits; for reading only."""

    def __init__(self) -> None:
        self.power = NO_POWER
        self._samples = np.zeros(_WINDOW_SAMPLES, np.float32)
        self._windowed = np.zeros(_FFT_SAMPLES, np.float32)  # with zeros behind the samples
        self._many = _Many(0)
        self._deaf = False  # the last frame was silent
        self._window = np.hanning(_WINDOW_SAMPLES).astype(np.float32)
        hz = SPECTRUM_HZ
        low, high = VOICE_BAND_HZ
        # Parseval: the two halves of the spectrum, the window's power, full scale.
        scale = 2 / _FFT_SAMPLES / float(np.dot(self._window, self._window)) / 32768.0**2
        self._voice_band = np.where((hz >= low) & (hz < high), scale, 0).astype(np.float32)
        low, high = _PITCH_BAND_HZ
        self._pitch_bins = slice(int(np.searchsorted(hz, low, "right")), int(np.searchsorted(hz, high, "left")))
        # The factor by which the window reduces the correlation, for each lag.
        fall = np.fft.irfft(np.abs(np.fft.rfft(self._window, _FFT_SAMPLES)) ** 2)
        self._correlation = _correlation(self._pitch_bins, np.concatenate([fall[:1], fall[_LAGS]]) / fall[0])

    def step(self, frame: Frame, *, voiced: bool = True) -> Measured:
        """voiced=False: nobody will ask for the pitch of this frame."""
        was_deaf, self._deaf = self._deaf, frame.is_silent
        if was_deaf and self._deaf:
            # This may last for hours if the microphone is muted or away.
            self.power = NO_POWER
            return _SILENCE
        self._samples[:FRAME_SAMPLES] = self._samples[FRAME_SAMPLES:]
        self._samples[FRAME_SAMPLES:] = samples_of(frame.pcm)
        np.multiply(self._samples, self._window, out=self._windowed[:_WINDOW_SAMPLES])
        spectrum = transform(self._windowed)
        self.power = power = spectrum.real**2 + spectrum.imag**2
        in_band = float(np.dot(power, self._voice_band))
        level_dbfs = 10.0 * math.log10(in_band) if in_band > _LEAST_POWER else SILENCE_DBFS
        return Measured(level_dbfs, self.pitch(power) if voiced else 0.0)

    def steps(self, frames: Sequence[Frame]) -> tuple[list[float], npt.NDArray[np.float32]]:
        """Takes several frames at once, none of which is_silent. Returns their levels, as step() does, and their
        spectra: float32 (frames, bins), valid until the next call. One transform of many frames takes a third of the
        time of many transforms, and a thread that was woken finds its code in no cache: there the first frame takes as
        long as four others."""
        count = len(frames)
        if count > len(self._many.windowed):
            self._many = _Many(count)
        many = self._many
        sound = many.sound[: (1 + count) * FRAME_SAMPLES]
        sound[:FRAME_SAMPLES] = self._samples[FRAME_SAMPLES:]
        sound[FRAME_SAMPLES:] = samples_of(b"".join([frame.pcm for frame in frames]))
        np.multiply(many.last_two[:count], self._window, out=many.windowed[:count, :_WINDOW_SAMPLES])
        parts = transform(many.windowed[:count], many.spectra[:count]).view(np.float32)
        np.multiply(parts, parts, out=parts)
        powers = np.add(parts[:, ::2], parts[:, 1::2], out=many.powers[:count])
        self._samples, self._deaf, self.power = many.last_two[count - 1].copy(), False, powers[-1]
        log10 = math.log10
        in_bands = (powers @ self._voice_band).tolist()
        return [10.0 * log10(it) if it > _LEAST_POWER else SILENCE_DBFS for it in in_bands], powers

    def pitch(self, power: npt.NDArray[np.floating]) -> float:
        """Measured.pitch of a frame with this spectrum."""
        correlation = np.dot(power[self._pitch_bins], self._correlation)
        whole = float(correlation[0])
        pitch = float(correlation[1:].max()) / whole if whole > 1.0 else 0.0
        return min(1.0, max(0.0, pitch))
