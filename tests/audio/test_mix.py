"""What Mix does where one thing meets another: a change of answer, a clear, a change of rate, a device that is gone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from playback_room import samples, tone

from parleyd.audio.earcons.sounds import Sound
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.earcon_track import STALE_S
from parleyd.audio.playback.gain import AS_IS, Fader, Layer, Move, mixed
from parleyd.audio.playback.mix import FADE_S, Mix
from parleyd.audio.playback.pipeline import Job
from parleyd.audio.playback.playhead import GIVE_UP_S, HeardPart, Started

RATE_HZ = 48_000
PERIOD = 480
LATENCY_S = 0.02
FMT = AudioFormat("pcm", RATE_HZ)
FADE_SAMPLES = round(FADE_S * RATE_HZ)
BEEP = Sound(np.full(4_800, 500, "<i2").tobytes(), RATE_HZ)


def level(value: int, seconds: float, *, rate_hz: int = RATE_HZ) -> bytes:
    return np.full(round(seconds * rate_hz), value, "<i2").tobytes()


class Rig:
    """A mix, the thread's work and the device, in steps."""

    def __init__(self, *, volume: float = 1.0, rate_hz: int = RATE_HZ) -> None:
        self.mix = Mix(volume=volume, duck_db=20.0, earcons={"muted": BEEP})
        self.mix.set_format(FMT)
        self.now_s = 100.0
        self.told: list[Started | HeardPart] = []
        self.open(rate_hz)

    def open(self, rate_hz: int) -> None:
        self.mix.device_opened(rate_hz, rate_hz // 100, LATENCY_S, self.mix.earcons.resampled(rate_hz))
        self.samples = rate_hz // 100

    def enqueue(self, answer: int, data: bytes) -> None:
        self.mix.enqueue(answer, data, self.now_s)

    def work(self) -> None:
        while (job := self.mix.work()) is not None:
            job.run()
            self.mix.finish(job)

    def take(self, periods: int = 1, *, works: bool = True) -> np.ndarray:
        taken = []
        for _ in range(periods):
            if works:
                self.work()
            taken.append(self.mix.period(self.samples, self.now_s).pcm())
            self.now_s += 0.01
            self.told += self.mix.told(self.now_s)
        return samples(b"".join(taken))

    def next_job(self) -> Job:
        """Takes what lies ready until more has to be made."""
        while (job := self.mix.work()) is None:
            self.take(1, works=False)
        return job

    def heard(self) -> list[HeardPart]:
        self.told += self.mix.told(self.now_s)
        return [it for it in self.told if isinstance(it, HeardPart)]


@pytest.fixture
def rig() -> Rig:
    return Rig()


# ---------------------------------------------------------------- another answer


def test_half_a_sample_of_one_answer_is_not_put_before_the_next(rig: Rig) -> None:
    rig.enqueue(1, level(1000, 0.01) + b"\x7f")
    rig.enqueue(2, level(2000, 0.01))
    assert rig.take(2).tolist() == [1000] * 480 + [2000] * 480


def test_halves_of_one_answer_are_put_together_also_around_another(rig: Rig) -> None:
    rig.enqueue(1, b"\x01")
    rig.enqueue(1, b"\x02\x03")
    rig.enqueue(1, b"\x04")
    rig.mix.end_answer(1)
    assert rig.take()[:3].tolist() == [0x0201, 0x0403, 0]


@pytest.mark.parametrize("rates", [(16_000, 24_000), (24_000, 24_000), (22_050, 16_000)])
def test_what_the_resampler_holds_of_one_answer_comes_before_the_next(rig: Rig, rates: tuple[int, int]) -> None:
    for answer, rate_hz in enumerate(rates, 1):
        rig.mix.set_format(AudioFormat("pcm", rate_hz))
        rig.enqueue(answer, level(1000 * answer, 0.1, rate_hz=rate_hz))
    rig.mix.end_answer(2)
    played = rig.take(25)
    middle = np.round(played, -3)
    assert [int(middle[at]) for at in (2_400, 7_200)] == [1000, 2000]
    assert abs(played[4_800:4_810]).max() < 3_000
    assert np.nonzero(played)[0][-1] == pytest.approx(9_600, abs=2)
    rig.take(3)
    assert rig.heard() == [HeardPart(1, 100, 100, True), HeardPart(2, 100, 100, True)]


def test_one_answer_has_the_floor_until_its_end_is_told(rig: Rig) -> None:
    rig.enqueue(1, level(1000, 0.015))
    rig.enqueue(2, level(2000, 0.015))
    rig.mix.end_answer(2)
    rig.take(10)
    kinds = [(type(it), it.answer) for it in rig.told]
    assert kinds == [(Started, 1), (HeardPart, 1), (Started, 2), (HeardPart, 2)]
    starts_s = [it.at_s for it in rig.told if isinstance(it, Started)]
    assert starts_s == [pytest.approx(100.02), pytest.approx(100.035)], "the second begins within a period"


# ---------------------------------------------------------------- a clear


@pytest.mark.parametrize(("ends", "finished"), [(True, True), (False, False)])
def test_only_an_answer_that_was_at_its_end_is_finished_by_a_clear(rig: Rig, ends: bool, finished: bool) -> None:
    """More of the other might have come."""
    rig.enqueue(1, level(1000, 0.02))
    if ends:
        rig.mix.end_answer(1)
    rig.take(3)
    assert rig.mix.clear(rig.now_s, fade=True) == (HeardPart(1, 20, 20, finished),)


def test_a_clear_without_a_fade_tells_only_what_was_through(rig: Rig) -> None:
    rig.enqueue(1, level(1000, 1.0))
    rig.take(5)
    assert rig.mix.clear(rig.now_s, fade=False) == (HeardPart(1, 30, 1000, False),)
    assert not rig.take(3).any()
    assert rig.mix.audible(rig.now_s).voice_until_s <= rig.now_s


def test_an_answer_that_was_over_before_a_clear_is_not_cut_by_it(rig: Rig) -> None:
    """Even where nobody has asked since."""
    rig.enqueue(1, level(1000, 0.02))
    rig.take(2)
    rig.now_s += LATENCY_S + GIVE_UP_S + 0.1
    assert rig.mix.clear(rig.now_s, fade=True) == ()
    assert rig.heard() == [HeardPart(1, 20, 20, True)]


@pytest.mark.parametrize("step", ["before it runs", "before it is finished"])
def test_what_is_in_the_making_at_a_clear_is_never_heard(rig: Rig, step: str) -> None:
    rig.mix.set_format(AudioFormat("pcm", 16_000))
    rig.enqueue(1, level(9000, 1.0, rate_hz=16_000))
    rig.take(3)
    job = rig.next_job()
    if step == "before it is finished":
        job.run()
    rig.mix.clear(rig.now_s, fade=False)
    rig.enqueue(2, level(1000, 0.1, rate_hz=16_000))
    if step == "before it runs":
        job.run()
    rig.mix.finish(job)
    rig.mix.end_answer(2)
    played = rig.take(12)
    # A resampler that begins with a step rings a little; one that still held the other answer would be far above.
    assert abs(played).max() < 1200
    assert np.nonzero(played)[0][-1] == pytest.approx(4_800, abs=2)


def test_a_clear_lets_an_announcement_and_an_earcon_go_on(rig: Rig) -> None:
    rig.enqueue(1, level(10_000, 1.0))
    rig.mix.announcement.begin(FMT)
    rig.mix.announcement.feed(level(300, 0.2))
    rig.mix.announcement.end()
    rig.mix.play_earcon("muted", rig.now_s, after_voice=False)
    before = rig.take(5)
    assert before[-1] == 1000 + 300 + 500, "the agent is ducked by 20 dB"
    rig.mix.clear(rig.now_s, fade=True)
    after = rig.take(20)
    assert set(after[FADE_SAMPLES : 5 * PERIOD].tolist()) == {800}
    assert set(after[5 * PERIOD : 15 * PERIOD].tolist()) == {300}
    assert not after[15 * PERIOD :].any()


def test_a_clear_in_an_announcement_only_ends_its_ducking_with_it(rig: Rig) -> None:
    rig.mix.announcement.begin(FMT)
    rig.mix.announcement.feed(level(300, 0.2))
    rig.take(3)
    rig.mix.announcement.clear()
    rig.enqueue(1, level(10_000, 0.3))
    assert rig.take(10)[-1] == 10_000


def test_a_second_clear_fades_the_fade(rig: Rig) -> None:
    rig.enqueue(1, level(10_000, 1.0))
    rig.samples = 96
    before = rig.take(10)
    rig.mix.clear(rig.now_s, fade=True)
    fading = rig.take(1)
    assert rig.mix.clear(rig.now_s, fade=True) == ()
    rest = rig.take(10)
    assert abs(np.diff(np.concatenate([before, fading, rest]))).max() < 100, "no step"
    assert not rest[FADE_SAMPLES:].any()


def test_a_period_that_was_taken_is_not_changed_by_what_follows(rig: Rig) -> None:
    """Its arithmetic is done without the lock."""
    rig.enqueue(1, level(1000, 1.0))
    rig.work()
    period = rig.mix.period(PERIOD, rig.now_s)
    rig.mix.duck(True)
    rig.mix.set_volume(0.0)
    rig.mix.clear(rig.now_s, fade=False)
    assert set(samples(period.pcm()).tolist()) == {1000}


# ---------------------------------------------------------------- a device of another rate, or none


@pytest.mark.parametrize("in_the_making", [False, True])
@pytest.mark.parametrize("rates", [(48_000, 16_000), (16_000, 48_000), (48_000, 44_100)])
def test_at_another_rate_an_answer_goes_on_where_it_was(rates: tuple[int, int], in_the_making: bool) -> None:
    rig = Rig(rate_hz=rates[0])
    steps = b"".join(level(1000 * n, 0.01) for n in range(1, 21))
    rig.enqueue(1, steps)
    rig.enqueue(1, level(21_000, 0.1))
    rig.mix.end_answer(1)
    before = rig.take(2)
    # Of the 100 ms that lie ready then, a period is left, and more is made.
    rig.take(8, works=False)
    job = rig.mix.work() if in_the_making else None
    assert (job is not None) == in_the_making
    rig.open(rates[1])
    if job is not None:
        job.run()
        rig.mix.finish(job)
    after = rig.take(22)
    middles = np.round(after.reshape(-1, rig.samples)[:, rig.samples // 2], -2)
    assert np.round(before.reshape(2, -1)[:, -1], -3).tolist() == [1000, 2000]
    assert np.all(np.diff(middles[:7]) > 0), "in order, and nothing twice"
    assert np.nonzero(after)[0][-1] / rates[1] == pytest.approx(0.2, abs=0.004), "nothing is left out"
    rig.take(3)
    (heard,) = rig.heard()
    assert heard.finished
    assert heard.heard_ms == pytest.approx(300, abs=4)


def test_a_clear_while_there_is_no_device_leaves_nothing_for_the_next(rig: Rig) -> None:
    rig.enqueue(1, level(10_000, 0.01))
    rig.take(1)
    rig.mix.device_closed()
    rig.mix.clear(rig.now_s, fade=True)
    rig.open(RATE_HZ)
    assert not rig.take(2).any(), "a fade of what was played long ago"


def test_a_fade_for_a_device_of_another_rate_is_dropped(rig: Rig) -> None:
    rig.enqueue(1, level(10_000, 1.0))
    rig.take(2)
    rig.mix.clear(rig.now_s, fade=True)
    rig.open(16_000)
    assert not rig.take(2).any()


def test_while_nobody_can_hear_each_answer_is_told_once_as_not_heard(rig: Rig) -> None:
    rig.enqueue(1, level(1000, 0.5))
    rig.take(2)
    rig.mix.discard(True, rig.now_s)
    for _ in range(3):
        rig.enqueue(2, level(2000, 0.5))
    rig.mix.play_earcon("muted", rig.now_s, after_voice=False)
    assert rig.heard() == [HeardPart(1, 0, 500, False), HeardPart(2, 0, 500, False)]
    assert not rig.take(3).any()
    rig.mix.discard(False, rig.now_s)
    rig.enqueue(3, level(3000, 0.5))
    assert rig.take()[-1] == 3000
    assert rig.mix.underruns == 0


# ---------------------------------------------------------------- underruns


def test_an_answer_does_not_begin_with_less_than_a_period(rig: Rig) -> None:
    """More of it is being made: it would begin, and stop again at once."""
    rig.mix.set_format(AudioFormat("pcm", 16_000))
    rig.enqueue(1, level(1000, 1.0, rate_hz=16_000))
    job = rig.mix.work()
    assert job is not None
    job.run()
    rig.mix.finish(job)
    assert 0 < len(job.pcm) < 2 * PERIOD
    assert not rig.take(1, works=False).any()
    assert rig.take(3)[-1] == pytest.approx(1000, abs=5)
    assert rig.mix.underruns == 0


@pytest.mark.parametrize(
    ("before", "late", "underruns"), [(0, 1, 0), (0, 5, 0), (1, 1, 1), (3, 5, 1)], ids=lambda it: str(it)
)
def test_late_sound_is_one_underrun_if_its_answer_has_begun(rig: Rig, before: int, late: int, underruns: int) -> None:
    rig.enqueue(1, level(1000, 1.0))
    rig.take(before)
    while rig.mix.period(PERIOD, rig.now_s).layers:
        pass
    rig.take(late, works=False)
    assert rig.mix.underruns == underruns
    rig.take(1)
    while rig.mix.period(PERIOD, rig.now_s).layers:
        pass
    assert rig.mix.underruns == underruns + 1, "another hole counts again"


def test_sound_that_is_still_in_the_making_is_late(rig: Rig) -> None:
    rig.enqueue(1, level(1000, 0.12))
    rig.take(1)
    # Of the 100 ms that lie ready then, one period is left.
    rig.take(9, works=False)
    assert rig.mix.work() is not None
    assert rig.mix.queued_s == pytest.approx(0.01), "the last of it is being made"
    rig.take(1, works=False)
    assert rig.mix.underruns == 0
    rig.take(3, works=False)
    assert rig.mix.underruns == 1


def test_a_pause_of_the_network_is_an_underrun_and_a_new_answer_is_none(rig: Rig) -> None:
    rig.enqueue(1, level(1000, 0.02))
    rig.take(5)
    rig.enqueue(2, level(1000, 0.02))
    assert rig.mix.underruns == 0
    rig.take(5)
    rig.enqueue(2, level(1000, 0.02))
    assert rig.mix.underruns == 1
    rig.take(5)
    rig.mix.clear(rig.now_s, fade=True)
    rig.enqueue(2, level(1000, 0.02))
    assert rig.mix.underruns == 1, "what was cleared was not starved"


# ---------------------------------------------------------------- loudness


def test_volume_is_at_once_in_silence_and_without_a_step_in_an_earcon(rig: Rig) -> None:
    rig.mix.set_volume(0.5)
    rig.mix.play_earcon("muted", rig.now_s, after_voice=False)
    assert set(rig.take(2).tolist()) == {250}
    rig.mix.set_volume(0.0)
    fading = rig.take(3)
    assert abs(np.diff(fading)).max() <= 2
    assert fading[-1] == 0


def test_an_answer_after_a_ducked_one_begins_at_full_loudness(rig: Rig) -> None:
    rig.enqueue(1, level(10_000, 1.0))
    rig.take(2)
    rig.mix.duck(True)
    assert rig.take(2)[-1] == 1000
    rig.mix.clear(rig.now_s, fade=True)
    rig.mix.duck(False)
    rig.take(2)
    rig.enqueue(2, level(10_000, 0.1))
    assert rig.take()[0] == 10_000


@pytest.mark.parametrize("sizes", [(480,), (1, 7, 100), (4_800,)])
def test_a_fader_moves_at_one_speed_whatever_the_period(sizes: tuple[int, ...]) -> None:
    fader, factors = Fader(1.0), np.zeros(0, np.float32)
    while len(factors) < 960:
        for size in sizes:
            factors = np.append(factors, np.ones(size, np.float32) * fader.move(0.25, size, 480).factors(size))
    ideal = np.maximum(0.25, 1 - np.arange(1, len(factors) + 1) / 480)
    assert np.abs(factors - ideal).max() < 1 / 400, "within a sample's move"


def test_sounds_are_added_up_and_saturate() -> None:
    still, half = AS_IS, Move(0.5, 0.5)
    loud, short = level(20_000, 0.001), level(-20_000, 0.0005)
    assert mixed(48, (Layer(loud, (still,)),), still) == loud
    assert mixed(60, (Layer(loud),), still) == loud + bytes(24)
    assert samples(mixed(48, (Layer(loud), Layer(loud)), still)).tolist() == [32_767] * 48
    assert samples(mixed(48, (Layer(loud), Layer(short, (half,))), half)).tolist() == [5_000] * 24 + [10_000] * 24
    assert mixed(3, (), half) == bytes(6)


def test_nothing_is_told_of_what_has_not_come(rig: Rig) -> None:
    assert rig.mix.next_told_s is None
    rig.take(3)
    assert rig.told == []
    assert not rig.mix.waits
    assert rig.mix.audible(rig.now_s).announcement_until_s < rig.now_s


def test_an_answer_that_nobody_ended_is_told_after_a_pause(rig: Rig) -> None:
    rig.enqueue(1, tone(0.02, rate_hz=RATE_HZ))
    rig.take(2)
    over_s = 100.0 + 0.02 + LATENCY_S
    rig.now_s = over_s
    assert rig.heard() == []
    assert rig.mix.next_told_s == pytest.approx(over_s + GIVE_UP_S)
    assert rig.mix.audible(rig.now_s).voice_until_s == pytest.approx(over_s)
    rig.now_s = math.nextafter(over_s + GIVE_UP_S, math.inf) + 1e-6
    assert rig.heard() == [HeardPart(1, 20, 20, True)]


# ---------------------------------------------------------------- more than is kept, and what is told of it


def test_an_answer_beyond_the_queues_limit_is_cut_and_its_end_is_told_as_lost(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("parleyd.audio.playback.answer_queue.QUEUE_LIMIT_S", 0.1)
    rig.enqueue(1, level(1000, 0.3))
    rig.enqueue(1, level(1000, 0.1))
    assert rig.mix.dropped_s == pytest.approx(0.3)
    assert len([record for record in caplog.records if "no more is kept" in record.message]) == 1
    rig.mix.end_answer(1)
    rig.take(40)
    told = rig.heard()[-1]
    assert (told.heard_ms, told.total_ms, told.lost_ms, told.finished) == (100, 400, 300, False)
    assert rig.mix.silent_from_s < rig.now_s


def test_what_was_cleared_is_freed_piece_by_piece(rig: Rig) -> None:
    for answer in range(1, 40):
        rig.enqueue(answer, level(1000, 0.01))
    rig.mix.clear(rig.now_s, fade=False)
    frees = 0
    while rig.mix.has_waste:
        rig.mix.free_some()
        frees += 1
    assert frees > 1
    rig.mix.free_some()


def test_the_volume_is_where_it_goes(rig: Rig) -> None:
    rig.mix.set_volume(0.25)
    assert rig.mix.volume == 0.25


def test_a_sound_that_is_made_louder_saturates() -> None:
    loud = Layer(np.full(100, 30_000, "<i2").tobytes(), (Move(2.0, 2.0),))
    assert set(samples(mixed(100, [loud], AS_IS))) == {32767}


def test_an_earcon_that_is_off_is_none_and_one_that_nobody_takes_is_stale(rig: Rig) -> None:
    track = rig.mix.earcons
    assert track.take(480, rig.now_s, LATENCY_S, voice=False) == b""
    rig.mix.play_earcon("error", rig.now_s, after_voice=False)
    assert track.take(480, rig.now_s, LATENCY_S, voice=False) == b""
    rig.mix.play_earcon("muted", rig.now_s, after_voice=False)
    assert track.waits
    rig.now_s += STALE_S + 0.1
    assert track.take(480, rig.now_s, LATENCY_S, voice=False) == b""
    assert not track.waits


def test_an_earcon_waits_for_the_end_of_the_voice(rig: Rig) -> None:
    rig.enqueue(1, level(1000, 0.05))
    rig.mix.play_earcon("muted", rig.now_s, after_voice=True)
    assert set(rig.take(5)) == {1000}
    rig.mix.end_answer(1)
    assert 500 in rig.take(10)


def test_a_sample_that_the_resampler_holds_back_comes_out_at_the_end(rig: Rig) -> None:
    rig.mix.set_format(AudioFormat("pcm", 16_000))
    rig.enqueue(1, level(1000, 1 / 16_000, rate_hz=16_000))
    rig.work()
    rig.mix.end_answer(1)
    rig.take(60)
    assert rig.heard()[-1].finished


def test_an_earcon_that_replaces_another_begins_after_its_fade(rig: Rig) -> None:
    rig.mix.play_earcon("muted", rig.now_s, after_voice=False)
    rig.take(1)
    rig.mix.play_earcon("muted", rig.now_s, after_voice=False)
    heard = rig.take(20)
    assert len(set(heard[:480])) > 2
    assert np.count_nonzero(heard == 500) >= 4_800


def test_half_a_sample_of_an_announcement_waits_for_its_other_half(rig: Rig) -> None:
    track = rig.mix.announcement
    track.begin(FMT)
    whole = level(1000, 0.01)
    track.feed(whole[:1])
    assert not track.waits
    track.feed(whole[1:])
    assert track.left(rig.now_s)
    track.under_talk(True)
    track.end()
    rig.take(20)
    rig.now_s += 1.0
    assert not track.left(rig.now_s)
