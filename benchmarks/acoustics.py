"""Voices and rooms for the benchmarks: what a microphone beside a speaker hears. Nothing of the daemon is in here."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import samplerate

Sound = npt.NDArray[np.float32]  # 16 kHz mono, 1.0 is full scale

RATE_HZ = 16_000
# Debian's asterisk-core-sounds-en-wav: 568 recordings of a woman's voice, 8 kHz.
RECORDINGS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")

AGENT_LINES = (
    "Certainly. The museum opens at ten in the morning and closes at half past five, except on Mondays.",
    "Let me tell you the story of the lighthouse keeper who counted every ship that passed in the night.",
    "Your next appointment is on Thursday the fourteenth, at a quarter past three, with doctor Henderson.",
    "To make the dough, mix five hundred grams of flour with water, salt, a little sugar and some fresh yeast.",
    "There is light rain over the city until noon, then it clears up, with a cool wind from the north west.",
    "I have found seven restaurants nearby. The closest one is Italian, and it has excellent reviews.",
    "The train leaves from platform nine at eighteen forty two and arrives shortly before midnight.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen, mostly inside the leaves.",
)
PERSON_LINES = (
    "Stop, that is enough.",
    "Wait a moment please.",
    "No, I meant tomorrow evening.",
    "Hold on, what was the address?",
    "Can you say that again?",
    "Thank you, that will do.",
    "Excuse me, one question.",
    "Be quiet now.",
    "Actually, make it two tickets.",
    "And how much does it cost?",
    "Okay, next one.",
    "Please stop talking.",
)
AGENT_VOICES = ("flite:slt", "flite:awb", "espeak:en-us+f3")
PERSON_VOICES = ("flite:rms", "flite:kal16", "espeak:en-gb", "espeak:en-us+m3")


def db(value: float) -> float:
    return float(10.0 ** (value / 20.0))


def active_rms(sound: Sound) -> float:
    """Of the blocks of 20 ms that are within 30 dB of the loudest: pauses do not count."""
    blocks = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    power = (blocks**2).mean(axis=1)
    return float(np.sqrt(power[power > power.max() / 1000].mean()))


def at_level(sound: Sound, dbfs: float) -> Sound:
    """Its active parts at that level."""
    return (sound * (db(dbfs) / active_rms(sound))).astype(np.float32)


def read_wav(path: Path) -> Sound:
    """At RATE_HZ, mixed down."""
    with wave.open(str(path)) as file:
        rate_hz, channels = file.getframerate(), file.getnchannels()
        raw = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    data: Sound = raw.reshape(-1, channels).mean(axis=1, dtype=np.float32).astype(np.float32)
    if rate_hz == RATE_HZ:
        return data
    resampled: Sound = samplerate.resample(data, RATE_HZ / rate_hz, "sinc_medium")
    return resampled


@cache
def say(voice: str, text: str) -> Sound:
    """By flite or espeak-ng; quiet edges are cut off."""
    engine, name = voice.split(":")
    if shutil.which("flite" if engine == "flite" else "espeak-ng") is None:
        raise SystemExit(f"{engine} is missing: apt install flite espeak-ng")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        if engine == "flite":
            command = ["flite", "-voice", name, "-t", text, "-o", str(path)]
        else:
            command = ["espeak-ng", "-v", name, "-w", str(path), text]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return trimmed(read_wav(path))


def trimmed(sound: Sound) -> Sound:
    """Begins and ends where it is within 35 dB of its loudest 10 ms."""
    blocks = sound[: len(sound) // 160 * 160].reshape(-1, 160)
    power = (blocks**2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10**-3.5)
    return at_level(sound[loud[0] * 160 : (loud[-1] + 1) * 160], -26.0)


@cache
def recorded(min_s: float, max_s: float, recordings: Path = RECORDINGS) -> tuple[Sound, ...]:
    """The recordings of that length, in the order of their names; none when the package is not installed."""
    found = []
    for path in sorted(recordings.glob("*.wav")):
        with wave.open(str(path)) as file:
            seconds = file.getnframes() / file.getframerate()
        if min_s <= seconds <= max_s:
            found.append(trimmed(read_wav(path)))
    return tuple(found)


def talk(voices: list[Sound], seconds: float, dbfs: float, rng: np.random.Generator, pause_s: float = 0.35) -> Sound:
    """Sentences one after the other with pauses around pause_s."""
    parts: list[Sound] = []
    samples = 0
    while samples < seconds * RATE_HZ:
        sentence = at_level(voices[int(rng.integers(len(voices)))], dbfs)
        pause = np.zeros(int(RATE_HZ * pause_s * rng.uniform(0.5, 1.5)), np.float32)
        parts += [sentence, pause]
        samples += len(sentence) + len(pause)
    return np.concatenate(parts)[: int(seconds * RATE_HZ)]


@dataclass(frozen=True, slots=True)
class Room:
    """delay_ms: from a sample's hand-off to the device until the microphone hears it. echo_db, person_db: against the
    far end as it was handed off; person_db None: as loud as the echo. drift_ppm: how much faster the microphone's clock
    runs than the speaker's. overdrive: the loudspeaker's distortion (tanh); 0 is none. dry_every_s: so often the
    speaker runs dry, for 10 to 200 ms; 0 is never. hand_over_s: by up to so much later the microphone's periods are
    handed over, as a sound server does; by how much slides, stands and jumps."""

    delay_ms: float = 60.0
    rt60_s: float = 0.3
    echo_db: float = -6.0
    person_db: float | None = None
    drift_ppm: float = 50.0
    noise_dbfs: float = -65.0
    overdrive: float = 0.0
    dry_every_s: float = 0.0
    hand_over_s: float = 0.0
    seed: int = 1

    def response(self) -> Sound:
        """Silence for the delay, the direct sound, and noise that decays by 60 dB in rt60_s, 3 dB below it in sum."""
        rng = np.random.default_rng(self.seed)
        tail = rng.standard_normal(int(self.rt60_s * RATE_HZ)) * np.exp(
            -6.908 * np.arange(int(self.rt60_s * RATE_HZ)) / (self.rt60_s * RATE_HZ)
        )
        tail *= db(-3.0) / np.sqrt((tail**2).sum())
        tail[0] += 1.0
        tail /= np.sqrt((tail**2).sum())
        return np.concatenate([np.zeros(int(self.delay_ms * RATE_HZ / 1000)), tail]).astype(np.float32)

    def echo(self, far: Sound) -> Sound:
        """What of the far end (in samples of the speaker's clock) arrives, in samples of the microphone's clock."""
        sound = np.tanh(far * self.overdrive) / self.overdrive if self.overdrive else far
        if self.drift_ppm:
            stretched = samplerate.resample(sound, 1.0 + self.drift_ppm * 1e-6, "sinc_medium")
            sound = np.zeros_like(far)
            count = min(len(far), len(stretched))
            sound[:count] = stretched[:count]
        wet = convolved(sound.astype(np.float32), self.response())[: len(far)]
        loudness = active_rms(wet)
        return (wet * (db(self.echo_db) * active_rms(far) / loudness)).astype(np.float32) if loudness else wet

    def hand_over(self, seconds: float) -> Sound:
        """How much later a period is handed over, by hundredths of a second: for 10 to 60 s it slides (at up to 250
        ppm) or stands, and then it may jump by up to 5 ms."""
        rng = np.random.default_rng(self.seed + 2000)
        parts, late_s = [np.zeros(0)], self.hand_over_s * rng.uniform()
        while sum(map(len, parts)) < seconds * 100:
            count = int(rng.uniform(10.0, 60.0) * 100)
            by_s = np.clip(self.hand_over_s * rng.uniform() - late_s, -250e-8 * count, 250e-8 * count)
            parts.append(np.linspace(late_s, late_s + by_s * (rng.uniform() < 0.7), count))
            jump_s = rng.uniform(-0.005, 0.005) * (rng.uniform() < 0.3)
            late_s = float(np.clip(parts[-1][-1] + jump_s, 0.0, self.hand_over_s))
        return np.concatenate(parts).astype(np.float32)

    def noise(self, samples: int) -> Sound:
        rng = np.random.default_rng(self.seed + 1000)
        return (rng.standard_normal(samples) * db(self.noise_dbfs)).astype(np.float32)


def convolved(sound: Sound, response: Sound) -> Sound:
    block = 1 << 16
    size = block + len(response) - 1
    size = 1 << (size - 1).bit_length()
    spectrum = np.fft.rfft(response, size)
    out = np.zeros(len(sound) + size, np.float32)
    for start in range(0, len(sound), block):
        piece = np.fft.irfft(np.fft.rfft(sound[start : start + block], size) * spectrum, size)
        out[start : start + size] += piece[: len(out) - start]
    return out[: len(sound)]
