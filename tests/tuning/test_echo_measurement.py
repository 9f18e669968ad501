"""The estimate on paths that are known, and the advice."""

from __future__ import annotations

import numpy as np
import pytest

from parleyd.audio.pcm import PIPELINE_RATE_HZ
from parleyd.tuning.echo import EchoFacts, EchoPath, advise, estimate, sweep

FAR = sweep(PIPELINE_RATE_HZ)
SEED = 7


def room(delay_ms: float, gain_db: float, decay_s: float = 0.25) -> np.ndarray:
    """An impulse response: the direct sound, and a tail of noise that decays by 60 dB."""
    rng = np.random.default_rng(SEED)
    tail = rng.normal(0, 0.15, round(decay_s * PIPELINE_RATE_HZ))
    tail *= np.exp(-6.9 * np.arange(len(tail)) / len(tail))
    tail[0] = 1.0
    response = np.concatenate([np.zeros(round(delay_ms / 1000 * PIPELINE_RATE_HZ)), tail])
    scaled: np.ndarray = response / np.sqrt(np.sum(response**2)) * 10 ** (gain_db / 20)
    return scaled


def near(response: np.ndarray, *, before_s: float = 0.3, noise_dbfs: float = -60.0, drive: float = 0.0) -> EchoPath:
    far = FAR / 32768
    if drive:
        far = np.tanh(far * drive) / drive
    size = 1 << 18
    heard = np.fft.irfft(np.fft.rfft(far, size) * np.fft.rfft(response, size), size)[: len(far) + PIPELINE_RATE_HZ]
    heard = np.concatenate([np.zeros(round(before_s * PIPELINE_RATE_HZ)), heard])
    heard += np.random.default_rng(SEED).normal(0, 10 ** (noise_dbfs / 20), len(heard))
    return EchoPath(FAR, np.clip(np.rint(heard * 32768), -32768, 32767).astype(np.int16), -before_s)


@pytest.mark.parametrize("delay_ms", [5, 40, 120, 240, 600])
@pytest.mark.parametrize("gain_db", [-30, -12, 0])
def test_delay_and_gain_are_found(delay_ms: float, gain_db: float) -> None:
    facts = estimate(near(room(delay_ms, gain_db)))
    assert facts.delay_ms == pytest.approx(delay_ms, abs=1.5)
    assert facts.gain_db == pytest.approx(gain_db, abs=1.5)
    assert facts.noise_dbfs == pytest.approx(-60, abs=1)
    assert facts.linear_db > 15
    assert facts.clipped_share == 0


def test_the_microphone_may_begin_later_than_the_speaker() -> None:
    whole = near(room(80, -10), before_s=0.0)
    cut = round(0.4 * PIPELINE_RATE_HZ)
    facts = estimate(EchoPath(FAR, whole.near[cut:], 0.4))
    assert facts.delay_ms == pytest.approx(80, abs=1.5)


def test_noise_alone_is_no_echo() -> None:
    assert estimate(near(np.zeros(10), noise_dbfs=-40)).delay_ms is None
    assert estimate(near(np.zeros(10), noise_dbfs=-200)).delay_ms is None


def test_an_overdriven_speaker_is_not_linear() -> None:
    assert estimate(near(room(60, -6), drive=12.0)).linear_db < 12


def test_clipping_is_seen() -> None:
    assert estimate(near(room(60, 20))).clipped_share > 0.01


HEARD = EchoFacts(60, -14, 30, -26, -60, 0)


@pytest.mark.parametrize(
    ("facts", "mode", "words"),
    [
        (HEARD, "aec", "60 ms later, 14 dB weaker"),
        (EchoFacts(None, -120, 0, -120, -60, 0), "off", "nothing of the test sound came back"),
        (EchoFacts(60, 8, 12, -4, -60, 0.02), "half_duplex", "overdrives the microphone"),
        (EchoFacts(60, -14, 5, -26, -60, 0), "half_duplex", "distorted"),
        (EchoFacts(420, -14, 30, -26, -60, 0), "half_duplex", "later than a canceller"),
        (EchoFacts(60, 6, 30, -6, -60, 0), "aec", "6 dB louder"),
    ],
)
def test_one_mode_is_proposed(facts: EchoFacts, mode: str, words: str) -> None:
    advice = advise(facts)
    assert [each.value for each in advice if each.key == "audio.echo.mode"] == [mode]
    assert any(words in each.text for each in advice)
