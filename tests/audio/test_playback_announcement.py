"""An announcement in what the speaker takes: levels, rates and edges, in periods that the test pulls."""

from __future__ import annotations

import math

import numpy as np
import pytest
from playback_room import samples, tone

from parleyd.audio.pcm import AudioFormat, encode
from parleyd.audio.playback.announcement_track import GONE_S
from parleyd.audio.playback.mix import Mix
from parleyd.audio.playback.pipeline import Job

RATE_HZ = 48_000
PERIOD = 480
FMT = AudioFormat("pcm", 24_000)
LOUD = np.full(PERIOD, 8000, "<i2").tobytes()


class Speaker:
    """Takes periods of 10 ms; the agent's voice is a constant, so that a gain is a level."""

    def __init__(self, duck_db: float) -> None:
        self.mix = Mix(volume=1.0, duck_db=duck_db)
        self.mix.set_format(AudioFormat("pcm", RATE_HZ))
        self.track = self.mix.announcement
        self.now_s = 100.0
        self.opened(RATE_HZ)

    def opened(self, rate_hz: int) -> None:
        self.mix.device_opened(rate_hz, rate_hz // 100, 0.02, None)
        self.period = rate_hz // 100

    def work(self) -> None:
        while (job := self.mix.work()) is not None:
            job.run()
            self.mix.finish(job)

    def next_job(self) -> Job:
        """Takes what lies ready until more has to be made; some of it is lost for the test."""
        while (job := self.mix.work()) is None:
            self.mix.period(self.period, self.now_s)
            self.now_s += 0.01
        return job

    def pull(self, periods: int, voice: bytes = b"", volume: float = 1.0) -> np.ndarray:
        self.mix.set_volume(volume)
        taken = []
        for _ in range(periods):
            self.mix.enqueue(1, voice, self.now_s)
            self.work()
            taken.append(self.mix.period(self.period, self.now_s).pcm())
            self.now_s += 0.01
        return samples(b"".join(taken))


@pytest.fixture
def speaker() -> Speaker:
    return Speaker(duck_db=20.0)


def test_without_one_the_voice_passes_untouched(speaker: Speaker) -> None:
    voice = tone(0.01, rate_hz=RATE_HZ)
    assert speaker.pull(1, voice).tolist() == samples(voice).tolist()


def test_the_voice_is_ducked_from_the_first_sound_to_the_end_also_in_a_hole(speaker: Speaker) -> None:
    track = speaker.track
    track.begin(FMT)
    assert (speaker.pull(3, LOUD) == 8000).all(), "nothing is ducked for what has not come"
    track.feed(bytes(FMT.rate_hz // 10 * 2))  # 100 ms of silence of its own
    voice = speaker.pull(20, LOUD)
    assert abs(np.diff(voice)).max() < 20, "no step"
    assert (voice[PERIOD * 4 :] == 800).all(), "until the end, through the hole after 100 ms"
    track.end()
    back = speaker.pull(10, LOUD)
    assert abs(np.diff(back)).max() < 20
    assert back[-1] == 8000
    assert not track.left(speaker.now_s)


def test_it_is_as_loud_as_the_volume_and_quieter_while_a_person_talks(speaker: Speaker) -> None:
    track = speaker.track
    track.begin(FMT)
    track.feed(tone(2.0, peak=10_000))
    assert np.abs(speaker.pull(20)).max() == pytest.approx(10_000, rel=0.01)
    assert np.abs(speaker.pull(10, volume=0.5)[PERIOD:]).max() == pytest.approx(5000, rel=0.01)
    track.under_talk(True)
    assert np.abs(speaker.pull(20)[PERIOD * 3 :]).max() == pytest.approx(1000, rel=0.02)
    track.under_talk(False)
    assert np.abs(speaker.pull(20)[PERIOD * 3 :]).max() == pytest.approx(10_000, rel=0.01)
    assert np.abs(speaker.pull(2, LOUD)).max() < 32_767


@pytest.mark.parametrize("name", ["pcm", "ulaw"])
def test_chunks_of_any_size_are_one_stream(speaker: Speaker, name: str) -> None:
    fmt = AudioFormat(name, 24_000 if name == "pcm" else 8000)  # type: ignore[arg-type]
    data = encode(fmt, tone(0.3, rate_hz=fmt.rate_hz))
    track = speaker.track
    track.begin(fmt)
    for at in range(0, len(data), 333):
        track.feed(data[at : at + 333])
    track.end()
    played = speaker.pull(40)
    expected = np.sin(np.arange(len(played)) * 2 * np.pi * 500 / RATE_HZ) * 10_000
    expected[round(0.3 * RATE_HZ) :] = 0
    assert np.sqrt(np.mean((played - expected) ** 2)) < 250


def test_what_is_to_be_heard_is_known(speaker: Speaker) -> None:
    track = speaker.track
    track.begin(FMT)
    speaker.pull(1)
    assert track.began_s is None
    assert track.audible_until_s(speaker.now_s) < speaker.now_s
    track.feed(tone(0.1))
    track.end()
    begins_s = speaker.now_s + 0.02
    assert track.audible_until_s(speaker.now_s) == math.inf
    assert track.audible_until_s(speaker.now_s + GONE_S) < speaker.now_s, (
        "the device takes nothing: nothing is to be heard"
    )
    assert track.left(speaker.now_s + GONE_S)
    speaker.pull(12)
    assert track.began_s == pytest.approx(begins_s)
    assert track.silent_from_s == pytest.approx(begins_s + 0.1, abs=0.011)
    assert track.audible_until_s(speaker.now_s) == track.silent_from_s


def test_a_clear_fades_and_the_next_one_begins_afresh(speaker: Speaker) -> None:
    track = speaker.track
    track.begin(FMT)
    track.feed(np.full(FMT.rate_hz, 8000, "<i2").tobytes())
    speaker.pull(10)
    track.clear()
    end = speaker.pull(5)
    assert end[0] > 7500
    assert abs(np.diff(end)).max() < 200
    assert not end[round(0.005 * RATE_HZ) :].any()
    track.begin(FMT)
    assert not speaker.pull(3).any()
    assert track.began_s is None


def test_a_device_at_another_rate_goes_on_where_it_was(speaker: Speaker) -> None:
    track = speaker.track
    track.begin(FMT)
    track.feed(tone(1.0))
    speaker.pull(50)
    speaker.opened(16_000)
    rest = speaker.pull(40)
    spectrum = np.abs(np.fft.rfft(rest))
    assert np.argmax(spectrum) * 16_000 / len(rest) == pytest.approx(500, abs=5)
    track.feed(tone(0.2))
    assert track.left(0.0)


def low(seconds: float, level: int) -> bytes:
    return np.full(round(seconds * FMT.rate_hz), level, "<i2").tobytes()


def levels(played: np.ndarray) -> list[int]:
    """Those of constant stretches, in their order, each once."""
    flat = np.round(played[abs(np.diff(played, prepend=0)) < 2], -2)
    return [int(level) for n, level in enumerate(flat) if level and (n == 0 or flat[n - 1] != level)]


@pytest.mark.parametrize("in_the_making", [False, True])
def test_what_comes_after_a_change_of_rate_stays_behind_what_was_there(speaker: Speaker, in_the_making: bool) -> None:
    """However far what was there had got on its way: unmade, in the making, or ready for the device."""
    track = speaker.track
    track.begin(FMT)
    track.feed(low(0.15, 1000) + low(0.3, 2000))
    before = speaker.pull(1)
    job = speaker.next_job() if in_the_making else None
    assert (job is not None) == in_the_making
    speaker.opened(16_000)
    track.feed(low(0.2, 3000))
    track.end()
    assert track.left(speaker.now_s), "what is being made is not over"
    if job is not None:
        job.run()
        speaker.mix.finish(job)
    played = speaker.pull(70)
    assert set(levels(before)) <= {1000}
    order = [level for level in levels(played) if level in (1000, 2000, 3000)]
    assert order == [1000, 2000, 3000]
    assert np.count_nonzero(abs(played) > 1500) == pytest.approx(0.5 * 16_000, abs=100), "nothing is lost or repeated"
    assert not track.left(speaker.now_s + 1)


def test_what_is_cleared_while_it_is_made_is_over(speaker: Speaker) -> None:
    track = speaker.track
    track.begin(FMT)
    track.feed(low(0.5, 1000))
    speaker.pull(1)
    job = speaker.next_job()
    track.clear()
    speaker.opened(16_000)
    job.run()
    speaker.mix.finish(job)
    assert not track.left(speaker.now_s + 1)
    track.begin(FMT)
    track.feed(low(0.2, 3000))
    second = speaker.mix.work()
    assert second is not None
    track.clear()
    track.begin(FMT)
    track.feed(low(0.1, 2000))
    track.end()
    speaker.opened(48_000)
    second.run()
    speaker.mix.finish(second)
    played = speaker.pull(20)
    assert 2000 in played
    assert 3000 not in played
