from __future__ import annotations

import math

import numpy as np
import pytest
from playback_room import samples, tone

from parleyd.audio.resample import Resampler

RATES = [(16_000, 48_000), (24_000, 48_000), (8_000, 48_000), (22_050, 48_000), (44_100, 48_000), (24_000, 44_100),
         (48_000, 16_000), (44_100, 16_000), (96_000, 16_000)]  # fmt: skip


def through(resampler: Resampler, pcm: bytes, blocks: list[int]) -> bytes:
    """blocks: sizes in samples, taken in turn."""
    out, at, turn = [], 0, 0
    while at < len(pcm):
        size = 2 * blocks[turn % len(blocks)]
        out.append(resampler.process(pcm[at : at + size]))
        at, turn = at + size, turn + 1
    return b"".join(out) + resampler.flush()


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_a_sine_stays_a_sine_across_blocks(from_hz: int, to_hz: int) -> None:
    out = samples(through(Resampler(from_hz, to_hz), tone(0.5, rate_hz=from_hz, hz=440), [from_hz // 100, 1, 7]))
    ideal = np.sin(2 * math.pi * 440 * np.arange(len(out)) / to_hz) * 10_000
    middle = slice(to_hz // 100, -to_hz // 100)
    error = out[middle] - ideal[middle]
    assert 10 * math.log10(np.mean(ideal[middle] ** 2) / np.mean(error**2)) > 70


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_blocks_make_no_difference_and_nothing_is_lost(from_hz: int, to_hz: int) -> None:
    pcm = np.random.default_rng(1).integers(-8000, 8000, from_hz // 10 + 3).astype("<i2").tobytes()
    whole = through(Resampler(from_hz, to_hz), pcm, [10**9])
    pieces = through(Resampler(from_hz, to_hz), pcm, [1, 2, 441, 0, 37])
    assert len(whole) // 2 == math.ceil(len(pcm) // 2 * to_hz / from_hz)
    assert len(pieces) == len(whole)
    assert np.max(np.abs(samples(pieces) - samples(whole))) <= 1


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_it_holds_back_what_it_says(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    given = 0
    for block in range(1, 30):
        given += len(resampler.process(tone(0.01, rate_hz=from_hz))) // 2
        taken_s = block * (from_hz // 100) / from_hz
        assert taken_s - given / to_hz <= resampler.delay_s + 1 / to_hz
    assert resampler.delay_s <= 0.00601


@pytest.mark.parametrize("hz", [9_500, 12_000, 20_000])
def test_what_the_lower_rate_cannot_hold_is_gone(hz: int) -> None:
    out = samples(through(Resampler(48_000, 16_000), tone(0.3, rate_hz=48_000, hz=hz), [480]))
    assert np.max(np.abs(out[200:-200])) < 10_000 * 10 ** (-60 / 20)


def test_speech_band_passes() -> None:
    out = samples(through(Resampler(16_000, 48_000), tone(0.3, rate_hz=16_000, hz=6_500), [160]))
    assert np.max(np.abs(out[2000:-2000])) == pytest.approx(10_000, rel=0.03)


def test_equal_rates_pass_without_a_copy() -> None:
    resampler = Resampler(16_000, 16_000)
    block = tone(0.02)
    assert resampler.process(block) is block
    assert (resampler.flush(), resampler.delay_s) == (b"", 0.0)


def test_after_a_flush_it_begins_anew() -> None:
    resampler = Resampler(24_000, 48_000)
    first = through(resampler, tone(0.05), [240])
    assert through(resampler, tone(0.05), [240]) == first
