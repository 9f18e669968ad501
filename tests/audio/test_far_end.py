"""Two clocks: the far end stays in step with the microphone, and nothing piles up between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.audio.far_end import LEAST_LAG_S, MOST_LAG_S, Alignment, FarEnd
from parleyd.audio.pcm import FRAME_SAMPLES
from parleyd.audio.sample_clock import SampleClock

DAY_S = 86_400


@pytest.mark.parametrize("ppm", [-100, -50, 0, 50, 100])
def test_a_clock_is_known_to_a_ppm_after_a_minute_of_jitter(ppm: int) -> None:
    rng, rate_hz, true_hz = np.random.default_rng(3), 48_000, 48_000 * (1 + ppm * 1e-6)
    clock = SampleClock(rate_hz)
    for number in range(12_000):
        clock.stamp(number * 480, 7.0 + number * 480 / true_hz + abs(rng.normal(0.0, 0.001)))
    assert clock.drift * 1e6 == pytest.approx(ppm, abs=3)
    assert clock.time_of(48_000) == pytest.approx(7.0 + 48_000 / true_hz, abs=0.002)
    assert clock.sample_at(clock.time_of(12_345.6)) == pytest.approx(12_345.6, abs=1e-3)


def test_after_a_jump_the_clock_begins_anew() -> None:
    clock = SampleClock(16_000)
    for number in range(500):
        clock.stamp(number * 160, number * 0.01)
    for number in range(500, 600):
        clock.stamp(number * 160, number * 0.01 + 3.0)
    assert clock.resyncs == 1
    assert clock.time_of(600 * 160) == pytest.approx(9.0, abs=0.002)


def test_one_late_callback_does_not_move_the_clock() -> None:
    clock = SampleClock(16_000)
    for number in range(1000):
        clock.stamp(number * 160, number * 0.01 + (0.2 if number == 700 else 0.0))
    assert clock.resyncs == 0
    assert clock.time_of(160_000) == pytest.approx(10.0, abs=0.0005)


class Devices:
    """A speaker that plays a tone, and a microphone whose clock runs at another speed."""

    def __init__(self, speaker_hz: int, ppm: float, period_s: float = 0.010) -> None:
        self.far_end = FarEnd()
        self.far_end.start(speaker_hz)
        self.true_hz = speaker_hz * (1 + ppm * 1e-6)
        self.period = round(speaker_hz * period_s)
        self.periods = 0
        self.rng = np.random.default_rng(5)

    def frame_at(self, start_s: float, tone_hz: float = 500.0) -> np.ndarray | None:
        while self.periods * self.period / self.true_hz <= start_s + 0.020:
            at_s = (self.periods * self.period + np.arange(self.period)) / self.true_hz
            sound = (8000 * np.sin(2 * np.pi * tone_hz * at_s)).astype("<i2")
            self.far_end.take(sound.tobytes(), at_s[0] + abs(self.rng.normal(0.0, 0.0003)))
            self.periods += 1
        return self.far_end.frame(start_s + abs(self.rng.normal(0.0, 0.0003)))


def place_s(frame: np.ndarray, start_s: float, tone_hz: float = 500.0) -> float:
    """How far the tone is behind its time, within half of its cycle."""
    turn = np.exp(-2j * np.pi * tone_hz * (start_s + np.arange(FRAME_SAMPLES) / 16_000))
    return float(-np.angle((frame * turn).sum() * 1j) / (2 * np.pi * tone_hz))


@pytest.mark.parametrize(("speaker_hz", "ppm"), [(48_000, 50), (44_100, -100), (16_000, 100), (22_050, 0)])
def test_the_far_end_stays_where_it_is(speaker_hz: int, ppm: float) -> None:
    devices = Devices(speaker_hz, ppm)
    places = []
    for number in range(2000):
        frame = devices.frame_at(number * 0.02)
        if frame is not None and number > 1000:
            assert np.abs(frame).max() == pytest.approx(8000 / 32768, rel=0.02)
            places.append(place_s(frame, number * 0.02))
    # 100 ppm would be 2 ms in this time.
    assert max(places) - min(places) < 0.0004
    assert devices.far_end.starved <= 1


@pytest.mark.parametrize("ppm", [-100, 0, 100])
def test_over_a_day_nothing_grows_and_nothing_starves(ppm: int) -> None:
    rng = np.random.default_rng(11)
    alignment = Alignment(48_000, 16_000)
    true_hz = 48_000 * (1 + ppm * 1e-6)
    late_s = np.abs(rng.normal(0.0, 0.001, (2, DAY_S))).tolist()
    between_s = []
    for second in range(DAY_S):
        alignment.speaker.stamp(second * 48_000, second * 48_000 / true_hz + late_s[0][second])
        alignment.microphone.stamp(second * 16_000, second + late_s[1][second])
        if second >= 60:
            between_s.append(second - alignment.place(second * 16_000) / true_hz)
    # What lies between the two devices stays the lag, whatever was added up: 100 ppm are 8.6 s in a day.
    assert min(between_s) == pytest.approx(LEAST_LAG_S, abs=0.001)
    assert max(between_s) == pytest.approx(LEAST_LAG_S, abs=0.001)
    assert alignment.speaker.resyncs == alignment.microphone.resyncs == 0


def test_what_comes_too_late_is_given_later_up_to_a_limit() -> None:
    alignment = Alignment(48_000, 16_000)
    alignment.later(0.015)
    assert 0.025 <= alignment.lag_s <= 0.030
    for _ in range(20):
        alignment.later(0.030)
    assert alignment.lag_s == MOST_LAG_S


def test_silence_costs_nothing_and_is_told() -> None:
    far_end = FarEnd()
    far_end.start(48_000)
    for number in range(300):
        far_end.take(bytes(1920), number * 0.02)
        assert far_end.frame(number * 0.02) is None
    assert far_end.kept_s == 0.0


def test_a_speaker_that_is_opened_again_begins_anew() -> None:
    devices = Devices(48_000, 0)
    for number in range(100):
        devices.frame_at(number * 0.02)
    devices.far_end.start(16_000)
    tone = (8000 * np.sin(np.arange(160) * 2 * np.pi * 500 / 16_000)).astype("<i2").tobytes()
    frames = []
    for number in range(100, 150):
        devices.far_end.take(tone, number * 0.02)
        devices.far_end.take(tone, number * 0.02 + 0.01)
        frames.append(devices.far_end.frame(number * 0.02))
    last = frames[-1]
    assert last is not None
    assert np.argmax(np.abs(np.fft.rfft(last))) == pytest.approx(500 / 50, abs=1)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 0.05)), max_size=80))
def test_whatever_the_callbacks_do_a_frame_comes_out_and_little_is_kept(steps: list[tuple[int, float]]) -> None:
    far_end = FarEnd()
    far_end.start(16_000)
    now_s = 0.0
    for periods, late_s in steps:
        for _ in range(periods):
            far_end.take(b"\x00\x10" * 320, now_s + late_s)
        frame = far_end.frame(now_s)
        assert frame is None or (len(frame) == FRAME_SAMPLES and bool(np.isfinite(frame).all()))
        assert far_end.kept_s <= 1.6
        now_s += 0.02
