"""The level where speech is, and the pitch."""

from __future__ import annotations

import numpy as np
import pytest

from parleyd.audio.gate.measure import Measured, VoiceMeasure
from parleyd.audio.pcm import FRAME_BYTES, FRAME_SAMPLES, PIPELINE_RATE_HZ, Frame, level_dbfs, to_pcm

TIME_S = np.arange(20 * FRAME_SAMPLES) / PIPELINE_RATE_HZ


def measured(wave: np.ndarray) -> list[Measured]:
    pcm, measure = to_pcm(wave), VoiceMeasure()
    # The first frame has silence before it.
    return [measure.step(Frame(pcm[at : at + FRAME_BYTES], 0.0)) for at in range(0, len(pcm), FRAME_BYTES)][1:]


def test_a_tone_in_the_band_has_its_level() -> None:
    wave = 3000 * np.sin(2 * np.pi * 1000 * TIME_S)
    for each in measured(wave):
        assert each.level_dbfs == pytest.approx(level_dbfs(to_pcm(wave)), abs=0.1)


@pytest.mark.parametrize("hz", [0, 50, 100, 6000])
def test_hum_rumble_and_hiss_count_for_little(hz: int) -> None:
    wave = 3000 * np.cos(2 * np.pi * hz * TIME_S)
    assert all(each.level_dbfs < level_dbfs(to_pcm(wave)) - 30 for each in measured(wave))


@pytest.mark.parametrize("hz", [90, 120, 220, 380])
def test_a_vowel_has_pitch(hz: int) -> None:
    wave = sum(2000 / k * np.sin(2 * np.pi * hz * k * TIME_S + k) for k in range(1, 6))
    assert all(each.pitch > 0.8 for each in measured(np.asarray(wave)))


def test_noise_has_none() -> None:
    noise = np.random.default_rng(1).normal(0, 2000, len(TIME_S))
    assert np.mean([each.pitch for each in measured(noise)]) < 0.6


def test_silence_is_harmless() -> None:
    assert set(measured(np.zeros(len(TIME_S)))) == {Measured(-120.0, 0.0)}


def test_a_microphone_that_is_away_is_measured_as_any_silence() -> None:
    """A frame that is tagged as silent is looked at no closer."""
    voice = to_pcm(3000 * np.sin(2 * np.pi * 1000 * TIME_S[:FRAME_SAMPLES]))
    nothing = Frame(bytes(FRAME_BYTES), 0.0)
    pattern = "VVsVssVsssV"
    found = []
    for silence in (Frame.silence(0.0), nothing):
        measure = VoiceMeasure()
        found.append([measure.step(Frame(voice, 0.0) if each == "V" else silence) for each in pattern])
    assert found[0] == found[1]


def test_the_pitch_is_that_of_the_inverse_transform() -> None:
    """The product with a matrix is a shorter way to the same number."""
    rng = np.random.default_rng(2)
    vowel = sum(900 / k * np.sin(2 * np.pi * 143 * k * TIME_S + k) for k in range(1, 9))
    wave = rng.normal(0, 300, len(TIME_S)) + vowel
    pcm, measure, window = to_pcm(wave), VoiceMeasure(), np.hanning(2 * FRAME_SAMPLES)
    fall = np.fft.irfft(np.abs(np.fft.rfft(window, 1024)) ** 2)
    hz = np.fft.rfftfreq(1024, 1 / PIPELINE_RATE_HZ)
    for at in range(0, len(pcm), FRAME_BYTES):
        found = measure.step(Frame(pcm[at : at + FRAME_BYTES], 0.0))
        if not at:
            continue
        heard = np.frombuffer(pcm[at - FRAME_BYTES : at + FRAME_BYTES], "<i2") * window
        power = np.abs(np.fft.rfft(heard, 1024)) ** 2
        repeats = np.fft.irfft(power * ((hz > 80) & (hz < 1500)))
        lags = slice(PIPELINE_RATE_HZ // 400, PIPELINE_RATE_HZ // 70)
        expected = (repeats[lags] / fall[lags]).max() * fall[0] / repeats[0]
        assert found.pitch == pytest.approx(min(1.0, expected), abs=1e-4)
