"""Noises that woke for nothing: known when they come again, and nobody's voice taken for one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from parleyd.audio.devices.wav import read_wav
from parleyd.audio.gate import known_noises
from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.known_noises import KNOWN_MOST, KnownNoises
from parleyd.audio.gate.measure import VoiceMeasure
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, PIPELINE_RATE_HZ, Frame, samples_of, to_pcm
from parleyd.audio.resample import Resampler

Wave = npt.NDArray[np.float64]

ROOM = 12.0  # the noise of room and microphone, in steps of 16 bits


def bark(hz: float = 300.0, times: int = 2, seed: int = 1) -> Wave:
    """A dog of that pitch in a living room: a hoarse, falling tone of 0.2 s, again and again."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(0.22 * PIPELINE_RATE_HZ)) / PIPELINE_RATE_HZ
    phase = 2 * np.pi * np.cumsum(hz * (1.3 - 2.5 * t)) / PIPELINE_RATE_HZ
    tone = sum(np.sin(k * phase) / (1 + (k - 3) ** 2) for k in range(1, 12))
    once = (np.asarray(tone) + 0.15 * rng.standard_normal(len(t))) * np.sin(np.pi * np.minimum(1, t / 0.22)) ** 0.5
    gap = np.zeros(round(0.25 * PIPELINE_RATE_HZ))
    dry = np.concatenate([part for _ in range(times) for part in (once, gap)])
    decay = np.arange(round(0.3 * PIPELINE_RATE_HZ)) / PIPELINE_RATE_HZ
    response = 0.08 * np.random.default_rng(2).standard_normal(len(decay)) * np.exp(-decay * 6.9 / 0.3)
    response[0] = 1
    size = 1 << (len(dry) + len(response)).bit_length()
    heard = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)
    return 6000 * heard[: len(dry)]


def chord(seed: int) -> Wave:
    """Five tones, anywhere, of a quarter of a second."""
    rng = np.random.default_rng(seed)
    t = np.arange(PIPELINE_RATE_HZ // 4) / PIPELINE_RATE_HZ
    return np.asarray(sum(3000 * np.sin(2 * np.pi * hz * t) for hz in 250 * 20 ** rng.random(5)))


def spoken(folder: Path, *command: str) -> Wave:
    """What flite or espeak-ng says, as loud as a bark."""
    path = folder / "said.wav"
    subprocess.run([*command, str(path)], check=True, timeout=30, capture_output=True)
    pcm, rate_hz = read_wav(path)
    resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)
    wave = samples_of(resampler.process(pcm) + resampler.flush()).astype(np.float64)
    louder: Wave = wave * 9000 / np.abs(wave).max()
    return louder


class Room:
    """A microphone, the gate, and what is known; each sound comes after four quiet seconds."""

    def __init__(self) -> None:
        self.known = KnownNoises()
        self._measure = VoiceMeasure()
        self._rng = np.random.default_rng(7)

    def sounds(self, wave: Wave, *, noise: float = ROOM) -> tuple[bool, int]:
        """(whether it woke the daemon, for how many ms it was held back)."""
        lead = np.zeros(4 * PIPELINE_RATE_HZ + int(self._rng.integers(320)))
        whole = np.concatenate([lead, wave, np.zeros(3 * PIPELINE_RATE_HZ)])
        pcm = to_pcm(whole + noise * self._rng.standard_normal(len(whole)))
        gate, vad = Gate(500, 900), Vad(2)
        held_ms, held, woke = 0, False, False
        for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
            frame = Frame(pcm[at : at + FRAME_BYTES], at / FRAME_BYTES * FRAME_MS / 1000)
            voiced = vad.voiced(frame)
            measured = self._measure.step(frame, voiced=voiced)
            self.known.observe(self._measure.power)
            verdict = gate.step(frame, voiced=voiced, level_dbfs=measured.level_dbfs, pitch=measured.pitch)
            if not woke and (verdict.opened or held):
                held = self.known.holds()
                if not held:
                    self.known.wakes()
                woke, held_ms = not held, held_ms + FRAME_MS * held
                # Nobody talks any more, so nothing would open it.
                held = held and gate.talk_since_s is not None
        return woke, held_ms

    def hears(self, wave: Wave, seconds: float = 60.0) -> None:
        """That after four quiet seconds, up to so much of it, without a gate."""
        whole = np.concatenate([np.zeros(4 * PIPELINE_RATE_HZ), wave[: round(seconds * PIPELINE_RATE_HZ)]])
        pcm = to_pcm(whole + ROOM * self._rng.standard_normal(len(whole)))
        for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
            self._measure.step(Frame(pcm[at : at + FRAME_BYTES], 0.0), voiced=False)
            self.known.observe(self._measure.power)

    def fooled_by(self, wave: Wave) -> None:
        woke, _ = self.sounds(wave)
        assert woke, "this noise opens no gate, and proves nothing"
        self.known.false_wake()


def is_held(told: tuple[bool, int]) -> bool:
    return told[0] is False and told[1] > 0


def test_a_noise_that_wakes_for_nothing_soon_wakes_no_more() -> None:
    """It lies elsewhere between the frames each time, and may be held back only when it was heard from both sides."""
    room = Room()
    wakes = 0
    for _ in range(12):
        woke, _ = room.sounds(bark())
        if woke:
            wakes += 1
            room.known.false_wake()
    assert 1 <= wakes <= 3


def test_its_loudness_is_no_matter() -> None:
    room = Room()
    room.fooled_by(bark())
    assert is_held(room.sounds(2 * bark()))
    assert is_held(room.sounds(bark() / 2))


def test_it_is_known_over_a_louder_noise_floor() -> None:
    room = Room()
    room.fooled_by(bark())
    assert is_held(room.sounds(bark(), noise=6 * ROOM))


def test_a_wake_alone_teaches_nothing() -> None:
    room = Room()
    assert room.sounds(bark())[0]
    assert room.sounds(bark())[0]


def test_another_noise_is_not_known() -> None:
    room = Room()
    room.fooled_by(bark(300))
    assert room.sounds(bark(420))[0]
    assert room.sounds(bark(230))[0]


def test_what_is_understood_is_a_noise_no_more() -> None:
    """It was a voice out of a machine, say; and it comes again while somebody else has woken the daemon."""
    room = Room()
    room.fooled_by(bark())
    room.fooled_by(bark(150, times=3))
    room.hears(bark(), 0.2)
    room.known.wakes()
    room.known.trust()
    assert len(room.known) == 1
    assert room.sounds(bark())[0]
    assert is_held(room.sounds(bark(150, times=3))), "what is unlike it stays known"


def test_who_speaks_into_a_known_noise_is_heard(tmp_path: Path) -> None:
    room = Room()
    long = bark(times=4)
    room.fooled_by(long)
    assert is_held(room.sounds(long))
    voice = spoken(tmp_path, "flite", "-voice", "slt", "-t", "what time is it in Rome", "-o")
    both = long.copy()
    at = round(0.5 * PIPELINE_RATE_HZ)
    both = np.concatenate([both, np.zeros(max(0, at + len(voice) - len(both)))])
    both[at : at + len(voice)] += voice
    woke, held_ms = room.sounds(both)
    assert woke
    # The pre-roll of half a second still has the voice's beginning.
    assert held_ms < 800


WORDS = ("hello", "stop", "no", "what time is it", "good morning", "turn on the light")


def test_no_voice_is_taken_for_a_noise(tmp_path: Path) -> None:
    room = Room()
    for hz in (180, 240, 300, 380, 460):
        room.fooled_by(bark(hz))
    for voice in ("slt", "rms", "awb", "kal16"):
        for word in WORDS:
            woke, held_ms = room.sounds(spoken(tmp_path, "flite", "-voice", voice, "-t", word, "-o"))
            assert woke, (voice, word)
            assert held_ms <= 200, (voice, word)


def test_who_was_not_understood_may_say_it_again(tmp_path: Path) -> None:
    """The same words of the same voice, slower and lower, or quicker and higher, as people say them again. (A
    synthesiser forms its vowels the same way each time; people do not.)"""
    room = Room()
    words = ("hello", "no", "what time is it", "turn on the light")
    for word in words:
        room.fooled_by(spoken(tmp_path, "espeak-ng", "-s", "160", "-p", "50", word, "-w"))
    for word in words:
        for speed, pitch in (("140", "40"), ("180", "60"), ("150", "65"), ("175", "38")):
            woke, held_ms = room.sounds(spoken(tmp_path, "espeak-ng", "-s", speed, "-p", pitch, word, "-w"))
            assert woke, (word, speed, pitch)
            # The pre-roll of half a second still has the beginning.
            assert held_ms < 500, (word, speed, pitch)


def test_no_more_are_kept_than_fit_and_the_oldest_goes_first() -> None:
    room = Room()
    chords = [chord(number) for number in range(KNOWN_MOST + 1)]
    for wave in chords:
        room.hears(wave, 0.25)
        room.known.wakes()
        room.hears(np.zeros(0))
        room.known.false_wake()
    assert len(room.known) == KNOWN_MOST
    held = []
    for wave in chords:
        room.hears(wave, 0.25)
        held.append(room.known.holds())
    assert held == [False] + KNOWN_MOST * [True]


def test_what_does_not_come_again_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_noises, "REMEMBERED_MS", 20_000)
    room = Room()
    room.fooled_by(bark())
    # Held back 8 s later, which keeps it; then for longer than that it is quiet.
    assert is_held(room.sounds(bark()))
    assert is_held(room.sounds(bark()))
    for _ in range(3):
        room.sounds(np.zeros(PIPELINE_RATE_HZ))
    assert room.sounds(bark())[0]
    assert len(room.known) == 0


def test_a_microphone_that_is_muted_is_no_trouble() -> None:
    known = KnownNoises()
    measure = VoiceMeasure()
    for _ in range(300):
        measure.step(Frame(bytes(FRAME_BYTES), 0.0))
        known.observe(measure.power)
    known.wakes()
    known.false_wake()
    assert not known.holds()
