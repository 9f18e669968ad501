"""An announcement in what the speaker takes: levels, rates and edges, in periods that the test pulls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playback_room import samples, tone

from parleyd.audio.pcm import AudioFormat, encode
from parleyd.audio.playback import announcement_track
from parleyd.audio.playback.announcement_track import GONE_S, AnnouncementTrack
from parleyd.audio.resample import Resampler

RATE_HZ = 48_000
PERIOD = 480
FMT = AudioFormat("pcm", 24_000)
SILENCE = bytes(PERIOD * 2)
LOUD = np.full(PERIOD, 8000, "<i2").tobytes()


class Speaker:
    """Takes periods of 10 ms; the agent's voice is a constant, so that a gain is a level."""

    def __init__(self, track: AnnouncementTrack) -> None:
        self.track = track
        self.now_s = 100.0
        track.set_rate(RATE_HZ)

    def pull(self, periods: int, voice: bytes = SILENCE, volume: float = 1.0) -> np.ndarray:
        taken = []
        for _ in range(periods):
            taken.append(self.track.mix(voice, self.now_s, 0.02, volume=volume))
            self.now_s += 0.01
        return samples(b"".join(taken))


@pytest.fixture
def speaker() -> Speaker:
    return Speaker(AnnouncementTrack(duck_db=20.0))


def test_without_one_the_voice_passes_untouched(speaker: Speaker) -> None:
    assert speaker.track.mix(LOUD, 1.0, 0.0, volume=0.3) is LOUD


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
    assert not track.audible(speaker.now_s)
    track.feed(tone(0.1))
    track.end()
    begins_s = speaker.now_s + 0.02
    assert track.audible(speaker.now_s)
    assert not track.audible(speaker.now_s + GONE_S), "the device takes nothing: nothing is to be heard"
    assert track.left(speaker.now_s + GONE_S)
    speaker.pull(12)
    assert track.began_s == pytest.approx(begins_s)
    assert track.silent_from_s == pytest.approx(begins_s + 0.1, abs=0.011)
    assert not track.audible(track.silent_from_s)


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
    track.set_rate(16_000)
    rest = samples(b"".join(track.mix(bytes(320), speaker.now_s, 0.0, volume=1.0) for _ in range(40)))
    spectrum = np.abs(np.fft.rfft(rest))
    assert np.argmax(spectrum) * 16_000 / len(rest) == pytest.approx(500, abs=5)
    track.feed(tone(0.2))
    assert track.left(0.0)


def low(seconds: float, level: int) -> bytes:
    return np.full(round(seconds * FMT.rate_hz), level, "<i2").tobytes()


class SlowResampler(Resampler):
    """While it works, something else happens, once."""

    meanwhile: Callable[[], None] | None = None

    def process(self, pcm: bytes) -> bytes:
        meanwhile, SlowResampler.meanwhile = SlowResampler.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().process(pcm)


def test_what_comes_while_the_rate_changes_stays_behind_what_was_there(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcement_track, "Resampler", SlowResampler)
    track = speaker.track
    track.begin(FMT)
    track.feed(low(0.3, 1000))

    def meanwhile() -> None:
        track.feed(low(0.2, 3000))
        track.end()
        assert track.left(speaker.now_s), "what is being made is not over"
        assert track.audible(speaker.now_s)

    speaker.pull(1)
    SlowResampler.meanwhile = meanwhile
    track.set_rate(16_000)
    played = samples(b"".join(track.mix(bytes(320), speaker.now_s, 0.0, volume=1.0) for _ in range(60)))
    steps = played[abs(np.diff(played, prepend=0)) < 1]
    order = [level for n, level in enumerate(steps) if n == 0 or steps[n - 1] != level]
    assert [level for level in order if level in (1000, 3000)] == [1000, 3000]
    assert not track.left(speaker.now_s + 1)


def test_what_is_cleared_while_the_rate_changes_is_over(speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcement_track, "Resampler", SlowResampler)
    track = speaker.track
    track.begin(FMT)
    track.feed(low(0.5, 1000))
    speaker.pull(1)
    SlowResampler.meanwhile = track.clear
    track.set_rate(16_000)
    assert not track.left(speaker.now_s + 1)
    track.begin(FMT)
    track.feed(low(0.2, 3000))
    SlowResampler.meanwhile = lambda: (track.clear(), track.begin(FMT), track.feed(low(0.1, 2000)))  # type: ignore[func-returns-value]
    track.set_rate(48_000)
    played = speaker.pull(20)
    assert 2000 in played
    assert 3000 not in played
