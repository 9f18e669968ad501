"""Two clocks: the far end stays in step with the microphone, and nothing piles up between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.audio.echo.alignment import LEAST_LAG_S, Alignment, Basis
from parleyd.audio.echo.delay_line import KEPT_S, DelayLine
from parleyd.audio.echo.far_end import GONE_S, FarEnd, FarFrame
from parleyd.audio.echo.interpolator import Interpolator
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


@pytest.mark.parametrize("lost_s", [0.010, 0.030, 0.260, 3.0, -0.050])
def test_when_sound_is_lost_the_clock_goes_along_at_once_and_keeps_its_speed(lost_s: float) -> None:
    rng, true_hz = np.random.default_rng(3), 16_000 * (1 + 80e-6)
    clock = SampleClock(16_000)
    for number in range(8000):
        lost = lost_s if number >= 7000 else 0.0
        clock.stamp(number * 160, number * 160 / true_hz + lost + abs(rng.normal(0.0, 0.001)))
        if number == 7025:
            assert clock.resyncs == 1
            assert clock.time_of(number * 160) == pytest.approx(number * 160 / true_hz + lost_s, abs=0.002)
    assert clock.resyncs == 1
    assert clock.drift * 1e6 == pytest.approx(80, abs=5)


@pytest.mark.parametrize("lost_s", [0.010, -0.050])
def test_of_sound_that_is_handed_over_later_for_a_while_none_is_lost(lost_s: float) -> None:
    clock = SampleClock(16_000)
    for number in range(6000):
        lost = lost_s if number >= 5000 else 0.0
        clock.stamp(number * 160, number * 0.010 + (0.005 if number >= 2000 else 0.0) + lost)
        if number == 4999:
            assert clock.resyncs == 0
    assert clock.resyncs == 1
    assert clock.lost_s == pytest.approx(lost_s, abs=0.0001)


def kept_s(far_end: FarEnd) -> float:
    """The duration of the sound that it keeps."""
    return len(far_end._line) / far_end._line.rate_hz


def test_what_only_comes_late_for_a_while_is_not_lost() -> None:
    clock, rng = SampleClock(48_000), np.random.default_rng(4)
    for number in range(12_000):
        spell_s = number * 0.010 % 6.0
        late_s = 0.009 if spell_s < 0.5 else 0.004 if spell_s < 1.5 else 0.0
        clock.stamp(number * 480, number * 0.010 + late_s + abs(rng.normal(0.0, 0.0003)))
    assert clock.resyncs > 5
    assert abs(clock.lost_s) < 0.002
    assert abs(clock.time_of(0)) < 0.003


def test_a_clock_that_is_slewed_faster_than_any_crystal_is_followed() -> None:
    clock = SampleClock(16_000)
    for number in range(20_000):
        clock.stamp(number * 160, number * 0.010 * (1 + 5000e-6))
        assert abs(clock.time_of(number * 160) - number * 0.010 * (1 + 5000e-6)) < 0.060
    assert clock.resyncs > 3


def test_one_late_callback_does_not_move_the_clock() -> None:
    clock = SampleClock(16_000)
    for number in range(1000):
        # The ones after it come at once, until the device has what it wants.
        clock.stamp(number * 160, max(number * 0.01, 7.15) if 700 <= number < 720 else number * 0.01)
    assert clock.resyncs == 0
    assert clock.time_of(160_000) == pytest.approx(10.0, abs=0.0005)


def test_a_device_that_takes_its_periods_in_bursts_has_no_jumps() -> None:
    clock = SampleClock(48_000)
    for number in range(3000):
        clock.stamp(number * 480, number // 8 * 0.08)
    assert clock.resyncs <= 1
    assert abs(clock.drift) < 20e-6


class Devices:
    """A speaker that plays a tone, and a microphone whose clock runs at another speed."""

    def __init__(self, speaker_hz: int, ppm: float, period_s: float = 0.010) -> None:
        self.far_end = FarEnd()
        self.far_end.start(speaker_hz, 0.020)
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
        return self.far_end.frame(start_s).samples


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
    speaker, microphone = SampleClock(48_000), SampleClock(16_000)
    true_hz = 48_000 * (1 + ppm * 1e-6)
    late_s = np.abs(rng.normal(0.0, 0.001, (2, DAY_S))).tolist()
    between_s = []
    for second in range(DAY_S):
        speaker.stamp(second * 48_000, second * 48_000 / true_hz + late_s[0][second])
        microphone.stamp(second * 16_000, second + late_s[1][second])
        if second >= 60:
            begins_s = microphone.time_of(second * 16_000)
            between_s.append(second - speaker.sample_at(begins_s - LEAST_LAG_S) / true_hz)
    # What lies between the two devices stays the lag, whatever was added up: 100 ppm are 8.6 s in a day.
    assert min(between_s) == pytest.approx(LEAST_LAG_S, abs=0.001)
    assert max(between_s) == pytest.approx(LEAST_LAG_S, abs=0.001)
    assert speaker.resyncs == microphone.resyncs == 0


class Speaker:
    """Takes its tone as a test says, at true times."""

    PERIOD_S = 0.010

    def __init__(self, latency_s: float) -> None:
        self.far_end = FarEnd()
        self.far_end.start(16_000, latency_s)
        self.aligned = True
        self.now_s = 0.0
        self.taken_s = 0.0

    def takes(self, periods: int = 1, *, silence: bool = False) -> None:
        at_s = self.taken_s + np.arange(round(16_000 * self.PERIOD_S)) / 16_000
        for _ in range(periods):
            sound = (8000 * np.sin(2 * np.pi * 500 * at_s)).astype("<i2")
            self.far_end.take(bytes(len(sound) * 2) if silence else sound.tobytes(), self.now_s)
            at_s += self.PERIOD_S
            self.taken_s += self.PERIOD_S

    def frame(self) -> np.ndarray | None:
        """That which the microphone has just heard to its end."""
        frame = self.far_end.frame(self.now_s - 0.020)
        self.aligned = frame.aligned
        return frame.samples


@pytest.mark.parametrize(("latency_s", "unaligned"), [(0.120, 2), (0.020, 4)])
def test_a_callback_that_is_late_now_and_then_needs_more_room_if_there_is_any(latency_s: float, unaligned: int) -> None:
    speaker, aligned = Speaker(latency_s), []
    for number in range(200):
        # Two are 40 ms late, and then come at once.
        speaker.takes(0 if number % 50 in (48, 49) else 6 if number and number % 50 == 0 else 2)
        speaker.frame()
        aligned.append(speaker.aligned)
        speaker.now_s += 0.020
    assert aligned.count(False) == unaligned


@pytest.mark.parametrize("hole_s", [0.04, 0.08, 0.3])
def test_a_speaker_that_has_run_dry_is_unaligned_until_its_clock_shows_it(hole_s: float) -> None:
    speaker, aligned, places = Speaker(latency_s=0.020), [], []
    for number in range(1500):
        speaker.now_s += 0.020 + (hole_s if number == 1000 else 0.0)
        speaker.takes(2)
        frame = speaker.frame()
        aligned.append(speaker.aligned)
        if frame is not None and number in (990, 1050, 1490):
            places.append(place_s(frame, speaker.taken_s))
    assert all(aligned[:1000])
    assert not any(aligned[1000:1009])
    assert all(aligned[1012:])
    assert places == pytest.approx([places[0]] * 3, abs=0.0002)


def test_a_speaker_that_goes_while_it_sounds_is_soon_silent_and_its_return_is_heard() -> None:
    speaker, aligned, silent = Speaker(latency_s=0.020), [], []
    for number in range(300):
        if not 100 <= number < 200:
            speaker.takes(2)
        silent.append(speaker.frame() is None)
        aligned.append(speaker.aligned)
        speaker.now_s += 0.020
    gone = 102 + round(GONE_S / 0.020)
    assert all(silent[gone:200])
    assert all(aligned[gone:200])
    assert not any(silent[200:])
    assert all(aligned[220:])


def test_a_speaker_that_runs_dry_in_silence_is_aligned() -> None:
    speaker = Speaker(latency_s=0.020)
    for number in range(200):
        if number == 50:
            speaker.now_s += 0.2
        speaker.takes(2, silence=number > 10)
        frame = speaker.frame()
        if number > 20:
            assert frame is None
            assert speaker.aligned
        speaker.now_s += 0.020


def test_silence_costs_nothing_and_is_told() -> None:
    far_end = FarEnd()
    far_end.start(48_000, 0.020)
    for number in range(300):
        far_end.take(bytes(1920), number * 0.02)
        assert far_end.frame(number * 0.02).samples is None
    assert kept_s(far_end) == 0.0


def apart_s(place: float | None, other: float | None) -> float:
    """Of two places of a tone of 50 Hz."""
    assert place is not None
    assert other is not None
    return (place - other + 0.010) % 0.020 - 0.010


class Pair:
    """A speaker that plays a tone, and a microphone that hears it; by their counts of samples neither is ever late."""

    def __init__(self, latency_s: float = 0.020) -> None:
        self.far_end = FarEnd()
        self.far_end.start(16_000, latency_s)
        self.given = FarFrame(None)
        self.frames = 0
        self.taken = 0

    def step(self, hand_over_s: float = 0.0, *, silence: bool = False, delay_error: float = 1e-9) -> float | None:
        """The microphone's next frame, handed over so much later than the first → where the far end is, in seconds."""
        start_s = self.frames * 0.020 + hand_over_s
        while self.taken * 0.010 <= start_s + 0.020:
            at_s = (self.taken * 160 + np.arange(160)) / 16_000
            sound = (8000 * np.sin(2 * np.pi * 50 * at_s)).astype("<i2")
            self.far_end.take(bytes(320) if silence else sound.tobytes(), self.taken * 0.010)
            self.taken += 1
        self.given = self.far_end.frame(start_s)
        frame = self.given.samples
        place = None if frame is None else place_s(frame, self.frames * 0.020, 50.0)
        self.frames += 1
        if frame is not None:
            self.far_end.correct(delay_error, 0)
        return place


def test_sound_that_is_handed_over_sooner_and_sooner_keeps_its_place() -> None:
    """As PulseAudio has been seen to do it: by 36 ms within three minutes."""
    pair, places, unaligned, moved_s = Pair(), [], 0, 0.0
    for number in range(12_000):
        place = pair.step(-min(0.036, number * 0.020 * 200e-6))
        moved_s += pair.given.lag_increase_samples / 16_000
        unaligned += not pair.given.aligned
        if place is not None and number > 10 and pair.given.aligned:
            # Given later by what it says, and by nothing else.
            places.append(place - moved_s)
    assert max(abs(apart_s(place, places[0])) for place in places) < 0.0002
    assert 0.020 < moved_s < 0.050, "else its end would be missing from some time on"
    assert unaligned < 60


def test_where_nothing_was_heard_for_a_minute_the_place_goes_by_the_times() -> None:
    pair = Pair()
    first = [pair.step() for _ in range(100)][-1]
    pair.step(-0.004)
    soon = [pair.step(-0.004 - 0.004 * min(1.0, number / 500)) for number in range(1000)]
    assert apart_s(soon[-1], first) == pytest.approx(0.004, abs=0.0001)
    for number in range(2000):
        pair.step(-0.008 - 0.002 * min(1.0, number / 500), silence=True)
    for _ in range(2):
        last = pair.step(-0.010)
    assert apart_s(last, first) == pytest.approx(0.004, abs=0.0001), "within a minute by the count"
    for number in range(3500):
        pair.step(-0.010 - 0.003 * min(1.0, number / 500), silence=True)
    late = [(pair.step(-0.013), pair.given.aligned) for _ in range(20)]
    assert apart_s(late[-1][0], last) == pytest.approx(0.003, abs=0.0001)
    assert all(aligned for _, aligned in late)


def test_too_far_from_the_times_the_place_is_wrong_whatever_is_heard() -> None:
    pair, aligned = Pair(), []
    first = [pair.step() for _ in range(100)][-1]
    for number in range(3000):
        # Later and later, so that the count lags behind the times.
        last = pair.step(min(0.060, number * 0.020 * 0.002))
        aligned.append(pair.given.aligned)
    assert aligned.count(False) == 1
    assert 0.001 < apart_s(first, last) % 0.020 < 0.012, "taken anew, and then kept by the count"


@pytest.mark.parametrize("lost_s", [0.043, 0.0013])
def test_what_the_microphone_loses_moves_the_far_end_along(lost_s: float) -> None:
    pair = Pair()
    before = [pair.step() for _ in range(100)][-1]
    for number in range(100):
        # It hears what was played so much later.
        assert abs(apart_s(pair.step(lost_s), before) + (lost_s + 0.010) % 0.020 - 0.010) < 0.0001
        assert pair.given.aligned is (number > 0 or lost_s < 0.020)


def test_what_the_echo_lags_behind_makes_the_far_end_slower() -> None:
    pair = Pair()
    for _ in range(100):
        pair.step(delay_error=1e-9)
    start = pair.step(delay_error=0.2)
    for _ in range(500):
        pair.step(delay_error=0.1)
    for _ in range(200):
        pair.step()
    begin, end = pair.step(), None
    for _ in range(500):
        end = pair.step()
    assert apart_s(begin, start) > 0.0002
    # 500 frames of 0.1 samples are some 80 ppm: in 10 s 0.8 ms.
    assert 0.0005 < apart_s(end, begin) < 0.0012


def test_a_speaker_that_is_opened_again_is_unaligned_at_first() -> None:
    pair = Pair()
    for _ in range(100):
        pair.step()
    pair.far_end.start(16_000, 0.020)
    told = [pair.given.aligned for _ in range(20) if pair.step() is not None]
    assert told[0] is False
    assert all(told[3:])


def test_a_speaker_that_is_opened_again_begins_anew() -> None:
    devices = Devices(48_000, 0)
    for number in range(100):
        devices.frame_at(number * 0.02)
    devices.far_end.start(16_000, 0.020)
    tone = (8000 * np.sin(np.arange(160) * 2 * np.pi * 500 / 16_000)).astype("<i2").tobytes()
    frames = []
    for number in range(100, 150):
        devices.far_end.take(tone, number * 0.02)
        devices.far_end.take(tone, number * 0.02 + 0.01)
        frames.append(devices.far_end.frame(number * 0.02).samples)
    last = frames[-1]
    assert last is not None
    assert np.argmax(np.abs(np.fft.rfft(last))) == pytest.approx(500 / 50, abs=1)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 0.05)), max_size=80))
def test_whatever_the_callbacks_do_a_frame_comes_out_and_little_is_kept(steps: list[tuple[int, float]]) -> None:
    far_end = FarEnd()
    far_end.start(16_000, 0.020)
    now_s = 0.0
    for periods, late_s in steps:
        for _ in range(periods):
            far_end.take(b"\x00\x10" * 320, now_s + late_s)
        frame = far_end.frame(now_s).samples
        assert frame is None or (len(frame) == FRAME_SAMPLES and bool(np.isfinite(frame).all()))
        assert kept_s(far_end) <= 1.6
        now_s += 0.02


# ---------------------------------------------------------------- the alignment, by itself


def aligned_at(seconds: float, *, reopened: bool = False) -> tuple[Alignment, float]:
    """An alignment beside a speaker that keeps perfect time, after so long; and when its next frame begins."""
    alignment, start_s = Alignment(16_000, reopened=reopened), 0.0
    for number in range(round(seconds / 0.020)):
        start_s = number * 0.020
        alignment.clock.stamp(number * 320, start_s)
        alignment.advance(start_s)
        alignment.found()
    return alignment, start_s + 0.020


def basis_of(alignment: Alignment) -> Basis:
    return alignment.basis


def test_the_position_goes_by_the_clock_until_an_echo_is_heard_then_by_the_count_for_a_minute() -> None:
    alignment, start_s = aligned_at(1.0)
    assert basis_of(alignment) is Basis.BY_CLOCK
    alignment.correct_delay(0.0)
    assert basis_of(alignment) is Basis.BY_CLOCK, "no echo was heard"
    alignment.correct_delay(1e-9)
    assert basis_of(alignment) is Basis.BY_COUNT
    bases = []
    for _ in range(3010):
        alignment.clock.stamp(round(start_s * 16_000), start_s)
        alignment.advance(start_s)
        bases.append(alignment.basis)
        start_s += 0.020
    changed = bases.index(Basis.BY_CLOCK)
    assert changed * 0.020 == pytest.approx(60.0, abs=0.050)
    assert set(bases[changed:]) == {Basis.BY_CLOCK}


@pytest.mark.parametrize("heard", [False, True])
def test_a_lost_position_is_found_with_the_next_frame(heard: bool) -> None:
    alignment, start_s = aligned_at(1.0)
    if heard:
        alignment.correct_delay(1e-9)
    alignment.jump(71)
    assert basis_of(alignment) is Basis.LOST
    alignment.advance(start_s)
    assert basis_of(alignment) is Basis.LOST
    alignment.found()
    assert basis_of(alignment) is (Basis.BY_COUNT if heard else Basis.BY_CLOCK)


def test_a_speaker_that_was_opened_again_begins_lost() -> None:
    assert Alignment(48_000, reopened=True).basis is Basis.LOST
    assert Alignment(48_000).basis is Basis.BY_CLOCK


def test_a_jump_moves_the_far_end_and_stays() -> None:
    alignment, start_s = aligned_at(1.0)
    before = alignment.position
    alignment.jump(71)
    for _ in range(50):
        alignment.advance(start_s)
        start_s += 0.020
    assert alignment.position == pytest.approx(before + 50 * 320 - 71, abs=1e-6)


def test_what_is_missing_now_and_then_makes_the_lag_grow_by_that_and_two_milliseconds() -> None:
    alignment, start_s = aligned_at(1.0)
    alignment.advance(start_s)
    last = alignment.position + 335
    assert alignment.wait(last, round(last) - 47, most_lag_s=0.1), "3 ms are missing"
    assert alignment.lag_increase_samples == 0, "it may come yet"
    alignment.advance(start_s + 0.020)
    before = alignment.position
    assert not alignment.wait(before + 335, round(before) + 400, most_lag_s=0.1)
    assert alignment.lag_increase_samples == pytest.approx(48 + 32, abs=2)
    assert before - alignment.position == alignment.lag_increase_samples
    alignment.advance(start_s + 0.040)
    assert alignment.lag_increase_samples == 0
    # By the clocks, too: no echo was heard.
    assert alignment.position - before == pytest.approx(320 - 80, abs=2)


def test_the_lag_never_grows_beyond_the_speakers_latency() -> None:
    alignment, start_s = aligned_at(1.0)
    alignment.advance(start_s)
    last = alignment.position + 335
    for _ in range(16):
        alignment.wait(last, round(last) - 47, most_lag_s=LEAST_LAG_S)
    assert alignment.lag_increase_samples == 0


@pytest.mark.parametrize(("missing_frames", "grows"), [(15, False), (16, True)])
def test_an_end_that_never_comes_in_time_is_waited_for_in_15_frames(missing_frames: int, grows: bool) -> None:
    alignment, start_s = aligned_at(1.0)
    alignment.advance(start_s)
    last = alignment.position + 335
    for _ in range(missing_frames):
        alignment.wait(last, round(last) - 47, most_lag_s=0.1)
    assert bool(alignment.lag_increase_samples) is grows


# ---------------------------------------------------------------- the delay line, by itself


def periods(*values: int, samples: int = 160) -> list[bytes]:
    return [np.full(samples, value, "<i2").tobytes() for value in values]


def test_a_delay_line_keeps_its_samples_under_their_numbers() -> None:
    line = DelayLine(16_000)
    for number in range(1000):
        line.append(periods(number + 1))
    kept = round(KEPT_S * 16_000)
    assert (line.start, line.end, len(line)) == (160_000 - kept, 160_000, kept)
    assert line.silent_from == 160_000
    assert (line.read(line.end - 320, 320) * 32768).tolist() == [999.0] * 160 + [1000.0] * 160
    # What is not there is silent, on either side.
    assert (line.read(line.end - 2, 4) * 32768).tolist() == [1000.0, 1000.0, 0.0, 0.0]
    first = (line.start // 160) + 1
    assert (line.read(line.start - 2, 4) * 32768).tolist() == [0.0, 0.0, first, first]
    assert not line.read(line.end + 5, 3).any()
    assert not line.read(line.start - 9, 3).any()
    assert line.read(0, 3).dtype == np.float32


def test_a_delay_line_keeps_no_silence_but_counts_it() -> None:
    line = DelayLine(16_000)
    line.append(periods(0, 0))
    assert (len(line), line.end) == (0, 320)
    line.append(periods(7, 0))
    assert (line.silent_from, line.start, line.end) == (480, 320, 640)
    for _ in range(200):
        line.append(periods(0))
    assert (len(line), line.end) == (0, 640 + 200 * 160)
    line.append(periods(8))
    line.clear()
    assert (len(line), line.end) == (0, 640 + 201 * 160)


@given(st.lists(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 9000)), max_size=3), max_size=60))
def test_what_is_read_from_a_delay_line_was_appended_there(batches: list[list[tuple[int, int]]]) -> None:
    line, everything = DelayLine(8_000), np.zeros(0, np.float32)
    for batch in batches:
        new = [np.full(count, value, "<i2") for value, count in batch]
        line.append([one.tobytes() for one in new])
        everything = np.concatenate([everything, *(one / np.float32(32768) for one in new)]).astype(np.float32)
        assert line.end == len(everything)
        assert not everything[line.silent_from :].any()
        assert np.array_equal(line.read(line.start, len(line)), everything[line.start :])
        assert len(line) <= round(KEPT_S * 8_000)
        dropped = everything[max(0, line.end - round(KEPT_S * 8_000)) : line.start]
        assert not dropped.any(), "nothing but silence is forgotten sooner"


# ---------------------------------------------------------------- the speaker goes, and comes back


def loud(samples: int, value: int = 5000) -> bytes:
    return np.full(samples, value, "<i2").tobytes()


def test_periods_of_an_opening_that_is_over_are_not_taken_for_those_of_the_next() -> None:
    far_end = FarEnd()
    far_end.start(16_000, 0.020)
    far_end.take(loud(160), 1.00)
    far_end.start(48_000, 0.020)
    far_end.take(loud(480), 1.01)
    far_end.frame(1.00)
    assert kept_s(far_end) == pytest.approx(0.010)


def test_the_sound_of_a_speaker_that_is_gone_is_not_kept() -> None:
    far_end = FarEnd()
    far_end.start(16_000, 0.020)
    far_end.take(loud(160), 1.0)
    far_end.frame(1.0)
    assert kept_s(far_end) == pytest.approx(0.010)
    far_end.frame(1.0 + GONE_S + 0.01)
    assert kept_s(far_end) == 0.0


def test_while_nobody_needs_the_far_end_nothing_of_it_is_kept() -> None:
    far_end = FarEnd()
    far_end.start(16_000, 0.020)
    for number in range(50):
        far_end.take(loud(160), 1.0 + number * 0.010)
        far_end.forget()
    far_end.frame(1.5)
    assert kept_s(far_end) == 0.0


def test_a_hole_moves_a_position_that_goes_by_the_count_to_where_the_sound_is() -> None:
    """An echo was heard, so the clocks alone do not move it."""
    speaker, places = Speaker(latency_s=0.020), []
    for number in range(1500):
        speaker.now_s += 0.020 + (0.03 if number == 1000 else 0.0)
        speaker.takes(2)
        frame = speaker.frame()
        speaker.far_end.correct(1e-9, 0)
        if frame is not None and number in (990, 1490):
            places.append(place_s(frame, speaker.taken_s))
    assert places[1] == pytest.approx(places[0], abs=0.0005)


def test_what_was_missing_before_the_microphones_gap_says_nothing_after_it() -> None:
    alignment, start_s = aligned_at(1.0)
    alignment.advance(start_s)
    last = alignment.position + 335
    assert alignment.wait(last, round(last) - 47, most_lag_s=0.1), "3 ms are missing"
    assert alignment.advance(start_s + 0.020 + 0.045), "the microphone has lost 45 ms"
    assert not alignment.wait(alignment.position + 335, round(alignment.position) + 400, most_lag_s=0.1)
    assert alignment.lag_increase_samples == 0


def test_a_lag_that_grows_in_silence_is_told_as_well() -> None:
    """Or the canceller would expect the echo of the next sound where it was."""
    speaker, told = Speaker(latency_s=0.120), []
    for number in range(110):
        silent = number > 60
        # In the silence, two are 40 ms late, and then come at once.
        late = number in (70, 71)
        speaker.takes(0 if late else 6 if number == 72 else 2, silence=silent)
        told.append(speaker.far_end.frame(speaker.now_s - 0.020))
        speaker.now_s += 0.020
    grown = [frame for frame in told if frame.lag_increase_samples]
    assert [frame.samples is None for frame in grown] == [True]


# ---------------------------------------------------------------- the interpolator, by itself


@pytest.mark.parametrize(
    ("rate_hz", "position"), [(16_000, 1000.0), (16_000, 1000.25), (48_000, 3000.5), (44_100, 2900.3)]
)
def test_a_frame_begins_exactly_at_its_position(rate_hz: int, position: float) -> None:
    line, interpolator = DelayLine(rate_hz), Interpolator(rate_hz)
    sound = 8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / rate_hz)
    line.append([np.rint(sound).astype("<i2").tobytes()])
    at_s = (position + np.arange(FRAME_SAMPLES) * interpolator.step) / rate_hz
    wanted = 8000 / 32768 * np.sin(2 * np.pi * 440 * at_s)
    assert interpolator.frame(line, position) == pytest.approx(wanted, abs=2e-4)


def test_the_filters_window_is_kaisers_as_numpy_has_it() -> None:
    """One sample among zeros is heard as the taps of a filter: here of a whole position, and of one and a half."""
    line, interpolator = DelayLine(16_000), Interpolator(16_000)
    line.append([b"".join([bytes(2 * 500), (32_767).to_bytes(2, "little"), bytes(2 * 499)])])
    for fraction in (0.0, 0.5):
        heard = interpolator.frame(line, 340.0 + fraction) * (32_768 / 32_767)
        from_middle = np.arange(FRAME_SAMPLES) - (160 - fraction)
        window = np.i0(8.0 * np.sqrt(np.clip(1.0 - (from_middle / 16) ** 2, 0.0, 1.0)))
        taps = np.sinc(0.94 * from_middle) * window * (from_middle >= -16) * (from_middle < 16)
        assert heard == pytest.approx(taps / taps.sum(), abs=1e-6)


def test_a_speaker_that_is_opened_again_needs_no_new_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are computed between two frames of the ears, where the person may already speak."""
    Interpolator(48_000)
    monkeypatch.setattr(np, "sinc", None)
    Interpolator(48_000)
