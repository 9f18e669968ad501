"""Earcons: how they sound, and their way to a speaker whose time stands still, beside the agent's voice."""

from __future__ import annotations

import itertools
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playback_room import Room, SteppingOutput, samples, tone

from parleyd.audio.earcons import sounds
from parleyd.audio.earcons.sounds import Sound, all_chosen, from_file, made
from parleyd.audio.echo.far_end import FarEnd
from parleyd.audio.pcm import AudioFormat, level_dbfs
from parleyd.audio.playback.earcon_track import STALE_S, EarconTrack
from parleyd.audio.playback.playhead import HeardPart
from parleyd.core.errors import UserError

MakeRoom = Callable[..., Room]
BEEP = Sound(tone(0.05, rate_hz=48_000, hz=1000, peak=2000), 48_000)


@pytest.fixture
def speaker() -> SteppingOutput:
    return SteppingOutput()


def wav(path: Path, pcm: bytes, *, rate_hz: int = 22_050, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(pcm)
    return path


def spoken(text: str) -> Sound:
    """Each letter takes 50 ms."""
    return Sound(tone(0.05 * len(text), rate_hz=16_000), 16_000)


# ---------------------------------------------------------------- the sounds


@pytest.mark.parametrize("name", sounds.NAMES)
def test_short_soft_and_quieter_than_a_voice(name: sounds.Earcon) -> None:
    it = made(name)
    heard = samples(it.pcm)
    assert it.duration_s <= (3.0 if name == "timer" else 0.300)
    assert abs(heard[0]) <= 1
    assert abs(heard[-1]) <= 2
    assert -24 < 20 * np.log10(np.abs(heard).max() / 32768) < -20
    assert level_dbfs(it.pcm) < -26
    # Soft: the first 2 ms are far below the peak.
    assert np.abs(heard[:96]).max() < np.abs(heard).max() / 5


def test_no_two_are_alike() -> None:
    for one, other in itertools.combinations(sounds.NAMES, 2):
        a, b = (samples(made(name).pcm).astype(float) for name in (one, other))
        length = a.size + b.size
        correlation = np.fft.irfft(np.fft.rfft(a, length) * np.fft.rfft(b, length).conj())
        likeness = np.abs(correlation).max() / np.sqrt(np.dot(a, a) * np.dot(b, b))
        assert likeness < 0.9, (one, other)


def test_a_file_of_ones_own_is_taken_at_its_rate_and_as_one_channel(tmp_path: Path) -> None:
    both = np.stack([samples(tone(0.5, rate_hz=22_050))] * 2, axis=1).astype("<i2").tobytes()
    read = from_file(wav(tmp_path / "own.wav", both, channels=2))
    assert read.rate_hz == 22_050
    assert read.pcm == tone(0.5, rate_hz=22_050)
    quieter = all_chosen({"error": str(tmp_path / "own.wav"), "muted": "off"}, -6.0206, spoken)
    assert list(quieter) == ["error"]
    assert np.abs(samples(quieter["error"].pcm)).max() == pytest.approx(5000, abs=2)


def test_files_that_cannot_serve_are_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a sound")
    refused = {
        tmp_path / "nothing.wav": "No such file",
        tmp_path / "text.wav": "not a WAV file",
        tmp_path: "not a regular file",
        wav(tmp_path / "empty.wav", b""): "no sound in it",
        wav(tmp_path / "long.wav", bytes(2 * 22_050 * 11)): "it lasts 11.0 s",
    }
    for path, why in refused.items():
        with pytest.raises(UserError, match=why) as caught:
            from_file(path)
        assert str(path) in str(caught.value)
        assert caught.value.hint


@pytest.mark.parametrize("name", sounds.NAMES)
def test_each_can_be_words_instead(name: sounds.Earcon) -> None:
    chosen = all_chosen({name: "spoken"}, 0.0, spoken)
    assert chosen == {name: spoken(sounds.WORDS[name])}


# ---------------------------------------------------------------- on their way


def test_without_a_session_it_sounds_at_once_and_counts_as_nothing(room: MakeRoom, speaker: SteppingOutput) -> None:
    far_end = FarEnd()
    its = room(speaker, earcons={"muted": BEEP}, far_end=far_end)
    assert not its.pull(2).any()
    its.playback.play_earcon("muted", after_voice=True)
    assert its.playback.audible_until(time.monotonic()).earcon_until_s == float("inf")
    played = its.pull(7)
    assert np.array_equal(played[:2_400], samples(BEEP.pcm))
    assert not played[2_400:].any()
    assert not its.playback.audible(time.monotonic())
    assert its.playback.queued_ms == its.playback.underruns == 0
    assert its.told == []
    reference = b"".join(pcm for _, _, pcm, _ in far_end._handed)
    assert samples(reference)[-len(played) :].tolist() == played.tolist()


def test_beside_the_voice_nothing_of_either_is_lost(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker, earcons={"muted": BEEP})
    its.playback.set_format(AudioFormat("pcm", 48_000))
    its.playback.enqueue(1, tone(0.2, rate_hz=48_000))
    its.playback.end_answer(1)
    first = its.pull(5)
    its.playback.play_earcon("muted", after_voice=False)
    played = np.concatenate([first, its.pull(15)])
    expected = samples(tone(0.2, rate_hz=48_000))
    expected[2_400:4_800] += samples(BEEP.pcm)
    assert np.array_equal(played, expected)
    assert its.wait_told(lambda told: told == [("started", 1), ("finished", HeardPart(1, 200, 200, True))])


def test_one_that_can_wait_sounds_when_the_agent_has_finished(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker, earcons={"sleeping": BEEP})
    its.playback.set_format(AudioFormat("pcm", 48_000))
    its.playback.enqueue(1, tone(0.1, rate_hz=48_000))
    its.pull(2)
    its.playback.play_earcon("sleeping", after_voice=True)
    rest = its.pull(12)
    assert np.array_equal(rest[:3_840], samples(tone(0.1, rate_hz=48_000))[960:])
    assert not rest[3_840:].any()
    its.playback.end_answer(1)
    assert its.wait_told(lambda told: ("finished", HeardPart(1, 100, 100, True)) in told)
    assert np.array_equal(its.pull(5), samples(BEEP.pcm))


def test_a_clear_takes_the_voice_and_leaves_the_earcon(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker, earcons={"unmuted": BEEP})
    its.playback.enqueue(1, tone(1.0))
    its.pull(2)
    its.playback.play_earcon("unmuted", after_voice=False)
    its.pull(1)
    its.playback.clear()
    after = its.pull(4)
    assert np.array_equal(after[480:], samples(BEEP.pcm)[960:])


def test_it_follows_the_volume_and_the_newest_wins(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker, volume=0.5, earcons={"muted": BEEP, "unmuted": BEEP})
    its.playback.play_earcon("muted", after_voice=False)
    first = its.pull(1)
    assert np.max(np.abs(first - samples(BEEP.pcm)[:480] / 2)) <= 1
    its.playback.play_earcon("unmuted", after_voice=False)
    cut = its.pull(6)
    assert np.max(np.abs(cut[240:2_640] - samples(BEEP.pcm) / 2)) <= 1
    assert not cut[2_640:].any()
    assert np.abs(np.diff(np.concatenate([first, cut]))).max() < 250


def test_a_device_at_another_rate_gets_it_resampled() -> None:
    track = EarconTrack({"error": BEEP})
    track.set_rate(16_000, track.resampled(16_000) or {})
    assert track.resampled(16_000) is None
    track.play("error", 1.0, after_voice=False)
    out = samples(b"".join(track.take(160, 1.0, 0.0, voice=False) for _ in range(5)))
    ideal = samples(tone(0.05, rate_hz=16_000, hz=1000, peak=2000))
    assert np.max(np.abs(out[50:750] - ideal[50:750])) < 20


def test_what_no_device_took_in_time_is_not_said_any_more() -> None:
    track = EarconTrack({"error": BEEP})
    track.set_rate(48_000, track.resampled(48_000) or {})
    track.play("error", 1.0, after_voice=False)
    assert track.audible_until_s(1.1) == float("inf")
    late_s = 1.0 + STALE_S + 0.1
    assert track.audible_until_s(late_s) == 0.0
    assert track.take(480, late_s, 0.0, voice=False) == b""
    assert track.take(480, late_s + 0.01, 0.0, voice=False) == b""
