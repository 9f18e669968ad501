"""Rooms to listen in: voices, what disturbs them, and the two mixed at a known level. Deterministic by seed.

The voices are recordings of a person where Debian's package asterisk-core-sounds-en-wav is installed (568 prompts of
one woman, telephone band), and flite's synthetic voices besides or instead. All sound here is float32 at 16 kHz.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parleyd.audio.devices.wav import read_wav
from parleyd.audio.pcm import FRAME_SAMPLES, samples_of
from parleyd.audio.resample import Resampler

Sound = npt.NDArray[np.float32]
Long = npt.NDArray[np.float64]

RATE_HZ = 16_000
PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
PACKAGE = "asterisk-core-sounds-en-wav"
# A telephone prompt begins and ends with silence; speech is what is no more than this below the loudest 10 ms.
SPEECH_RANGE_DB = 30.0
SENTENCES = (
    "what time is it", "turn on the light in the kitchen", "no", "stop", "yes please", "how is the weather tomorrow",
    "play some music", "thank you very much", "set a timer for ten minutes", "who won the game last night",
    "hello", "tell me a joke", "what can you do", "read me the news", "is there any milk left", "good night",
    "call my sister", "how far is it to the station", "never mind", "what is the capital of france",
)  # fmt: skip
FLITE_VOICES = ("slt", "rms", "awb", "kal16")


class NoVoicesError(Exception):
    """Neither recordings nor a synthesiser."""

    hint = f"apt-get install --no-install-recommends {PACKAGE} flite"


# ---------------------------------------------------------------- voices


def read(path: Path) -> Sound:
    """A whole file at the pipeline's rate. Raises DeviceError."""
    pcm, rate_hz = read_wav(path)
    resampler = Resampler(rate_hz, RATE_HZ)
    return (samples_of(resampler.process(pcm) + resampler.flush()) / np.float32(32768)).astype(np.float32)


def recorded() -> list[Sound]:
    """The prompts that are one phrase: sound effects, silences and speeches of minutes are left out."""
    effects = ("beep", "ascending", "descending", "tt-monkeys", "tt-weasels")
    wanted = [
        path
        for path in sorted(PROMPTS.rglob("*.wav"))
        if path.parent.name != "silence" and not path.stem.startswith(effects)
    ]
    return [phrase for path in wanted if 0.25 <= len(phrase := trimmed(read(path))) / RATE_HZ <= 8.0]


def spoken() -> list[Sound]:
    """The sentences in flite's voices; empty where there is no flite."""
    flite = shutil.which("flite")
    if flite is None:
        return []
    voices: list[Sound] = []
    with tempfile.TemporaryDirectory() as folder:
        for voice in FLITE_VOICES:
            for number, text in enumerate(SENTENCES):
                path = Path(folder) / f"{voice}{number}.wav"
                subprocess.run([flite, "-voice", voice, "-t", text, "-o", str(path)], check=True, timeout=20)
                voices.append(trimmed(read(path)))
    return voices


def trimmed(sound: Sound) -> Sound:
    """From the first 10 ms that are speech to the last."""
    step = RATE_HZ // 100
    levels = levels_db(sound, step)
    loud = np.flatnonzero(levels > levels.max(initial=-120.0) - SPEECH_RANGE_DB)
    return sound[loud[0] * step : (loud[-1] + 1) * step] if len(loud) else sound[:0]


def levels_db(sound: Sound, step: int = FRAME_SAMPLES) -> Sound:
    blocks = sound[: len(sound) // step * step].reshape(-1, step)
    power = np.maximum((blocks.astype(np.float64) ** 2).mean(axis=1), 1e-12)
    levels: Sound = (10 * np.log10(power)).astype(np.float32)
    return levels


def active_level_db(sound: Sound) -> float:
    """Of the frames that are no more than 20 dB below the loudest one."""
    levels = levels_db(sound)
    active = levels[levels > levels.max() - 20]
    return float(10 * np.log10(np.mean(10 ** (active / 10))))


def at_level(sound: Sound, level_db: float) -> Sound:
    scaled: Sound = (sound * 10 ** ((level_db - active_level_db(sound)) / 20)).astype(np.float32)
    return scaled


# ---------------------------------------------------------------- what disturbs


def coloured(samples: int, exponent: float, rng: np.random.Generator) -> Sound:
    """Noise whose power falls with frequency**exponent from 50 Hz on: 0 white, 1 pink."""
    size = 1 << samples.bit_length()
    hz = np.fft.rfftfreq(size, 1 / RATE_HZ)
    shape = np.maximum(hz, 50.0) ** (-exponent / 2) * (hz > 30)
    noise: Sound = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * shape)[:samples].astype(np.float32)
    return noise


def pink(samples: int, _voices: Sequence[Sound], rng: np.random.Generator) -> Sound:
    return coloured(samples, 1.0, rng)


def babble(samples: int, voices: Sequence[Sound], rng: np.random.Generator) -> Sound:
    """Eight people at once."""
    out = np.zeros(samples, np.float32)
    for _ in range(8):
        out += talk(samples, voices, rng, pause_s=0.3)
    return out


def talk(samples: int, voices: Sequence[Sound], rng: np.random.Generator, pause_s: float) -> Sound:
    out = np.zeros(samples, np.float32)
    at = 0
    while at < samples:
        phrase = at_level(voices[int(rng.integers(len(voices)))], -20.0 + rng.uniform(-3, 3))
        piece = phrase[: samples - at]
        out[at : at + len(piece)] += piece
        at += len(phrase) + round(rng.exponential(pause_s) * RATE_HZ)
    return out


def television(samples: int, voices: Sequence[Sound], rng: np.random.Generator) -> Sound:
    """One voice after the other, compressed as broadcasters do, over quiet music."""
    speech = talk(samples, voices, rng, pause_s=0.25)
    squeezed = (np.tanh(speech * 8) / 4).astype(np.float32)
    return (squeezed + at_level(music(samples, voices, rng), active_level_db(squeezed) - 15)).astype(np.float32)


def music(samples: int, _voices: Sequence[Sound], rng: np.random.Generator) -> Sound:
    """A band that plays by itself: chords, bass, a lead with vibrato, drums; a new tempo every 20 to 40 s."""
    out = np.zeros(samples + 4 * RATE_HZ, np.float64)
    at = 0
    while at < samples:
        until = min(samples, at + round(rng.uniform(20, 40) * RATE_HZ))
        _piece(out, at, until, rng)
        at = until
    return out[:samples].astype(np.float32)


def _piece(out: Long, at: int, until: int, rng: np.random.Generator) -> None:
    beat = round(60 / rng.uniform(70, 140) * RATE_HZ)
    root = int(rng.integers(40, 52))
    drums = rng.random() < 0.7
    soft = rng.uniform(0.3, 1.0)
    for number, start in enumerate(range(at, until, beat)):
        chord = root + (0, 5, 7, 9)[int(number // 4) % 4]
        _note(out, start, chord - 12, beat, 0.6, 1.5, rng)
        if number % 2 == 0:
            for step in (0, 4 if rng.random() < 0.7 else 3, 7):
                _note(out, start, chord + 12 + step, 2 * beat, 0.25, 1.0, rng)
        for half in (0, beat // 2):
            if rng.random() < 0.6:
                melody = chord + 24 + int(rng.choice((0, 2, 4, 7, 9, 12)))
                _note(out, start + half, melody, beat // 2, 0.35 * soft, 0.4, rng)
        if drums:
            _burst(out, start, 0.12, 60 if number % 2 == 0 else 190, 0.8, 0.1 if number % 2 == 0 else 0.8, rng)
            _burst(out, start + beat // 2, 0.04, 6000, 0.15, 1.0, rng)


def _note(out: Long, at: int, midi: int, samples: int, loud: float, dull: float, rng: np.random.Generator) -> None:
    t = np.arange(round(samples * 1.2)) / RATE_HZ
    hz = 440 * 2 ** ((midi - 69) / 12)
    phase = 2 * np.pi * hz * t + 0.02 * hz / 5 * np.sin(2 * np.pi * 5.5 * t)
    wave = sum(np.sin(k * phase + rng.uniform(0, 6)) / k ** (1 + dull) for k in range(1, 7) if k * hz < 7000)
    envelope = np.minimum(1, t / 0.015) * np.exp(-t * 2.5) * np.minimum(1, (t[-1] - t) / 0.05)
    _add(out, at, loud * envelope * np.asarray(wave))


def _burst(out: Long, at: int, decay_s: float, hz: float, loud: float, noisy: float, rng: np.random.Generator) -> None:
    """A resonance that is struck: a drum, a tap, a door."""
    t = np.arange(round(6 * decay_s * RATE_HZ)) / RATE_HZ
    wave = (1 - noisy) * np.sin(2 * np.pi * hz * t) + noisy * _band(len(t), hz, rng)
    _add(out, at, loud * np.exp(-t / decay_s) * wave)


def _band(samples: int, hz: float, rng: np.random.Generator) -> Long:
    """Noise around a frequency, two octaves wide, of level one."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(samples, 1 / RATE_HZ), 1.0) / hz)
    wave = np.fft.irfft(spectrum * np.exp(-(octaves**2)), samples)
    return np.asarray(wave / (np.std(wave) + 1e-9))


def _add(out: Long, at: int, wave: Long) -> None:
    end = min(len(out), at + len(wave))
    out[at:end] += wave[: max(0, end - at)]


def taps(samples: int, _voices: Sequence[Sound], rng: np.random.Generator) -> Sound:
    """Typing, things put on the table, steps, doors: an event every 0.8 s in the mean, each of its own loudness."""
    out = np.zeros(samples + 4 * RATE_HZ, np.float64)
    at = 0.0
    while (at := at + rng.exponential(0.8) * RATE_HZ) < samples:
        kind, start, loud = rng.random(), round(at), 10 ** (rng.uniform(-12, 0) / 20)
        if kind < 0.45:
            for key in range(int(rng.integers(3, 12))):
                later = start + round(key * rng.uniform(0.09, 0.22) * RATE_HZ)
                _burst(out, later, rng.uniform(0.004, 0.012), rng.uniform(1500, 5000), 0.5 * loud, 1.0, rng)
        elif kind < 0.75:
            _burst(out, start, rng.uniform(0.01, 0.05), rng.uniform(250, 1800), loud, rng.uniform(0.3, 1), rng)
        elif kind < 0.9:
            for step in range(int(rng.integers(2, 5))):
                later = start + round(step * 0.55 * RATE_HZ)
                _burst(out, later, 0.05, rng.uniform(70, 160), 0.7 * loud, 0.7, rng)
        else:
            _burst(out, start, rng.uniform(0.08, 0.2), rng.uniform(60, 200), 1.6 * loud, 0.6, rng)
            _burst(out, start + round(0.03 * RATE_HZ), 0.03, rng.uniform(800, 2500), loud, 1.0, rng)
    return out[:samples].astype(np.float32)


NOISES: dict[str, Callable[[int, Sequence[Sound], np.random.Generator], Sound]] = {
    "pink": pink,
    "music": music,
    "taps": taps,
    "television": television,
    "babble": babble,
}


# ---------------------------------------------------------------- the room


@dataclass(frozen=True)
class Scene:
    """What a microphone hears. spoken: from, to of every utterance, in samples; none where there is noise alone."""

    name: str
    sound: Sound
    spoken: tuple[tuple[int, int], ...]


class Rooms:
    """Everything is heard through the same small living room, over a microphone with a noise of its own."""

    SPEECH_DB = -30.0
    SOFT_SPEECH_DB = -46.0
    MICROPHONE_DB = -66.0
    QUIET_S = 60.0

    def __init__(self, utterances: int, noise_s: float, seed: int) -> None:
        """Raises NoVoicesError."""
        rng = np.random.default_rng(seed)
        people, machines = recorded() if PROMPTS.is_dir() else [], spoken()
        self.recorded = len(people)
        if not people and not machines:
            raise NoVoicesError("there are no voices")
        rng.shuffle(people)
        rng.shuffle(machines)
        share = min(len(people) // 2, utterances * 3 // 4)
        self._said = people[:share] + machines[: min(len(machines) // 2, utterances - share)]
        self._others = people[share:] + machines[len(self._said) - share :]
        rng.shuffle(self._said)
        decay = np.exp(-np.arange(round(0.3 * RATE_HZ)) / (0.3 / 6.9 * RATE_HZ))
        self._response = 0.12 * rng.standard_normal(len(decay)) * decay
        self._response[0] = 1.0
        speech, self._spoken = self._conversation(rng)
        self._speech = at_level(self._heard(speech), self.SPEECH_DB)
        self._noise_samples = round(noise_s * RATE_HZ)
        self._rng = rng
        # What was to be heard before: a daemon has been up for long when somebody turns on the music.
        quiet = coloured(round(self.QUIET_S * RATE_HZ), 0.5, np.random.default_rng(seed + 1000))
        self.before = at_level(quiet, self.MICROPHONE_DB)
        self.utterances = len(self._spoken)

    def _conversation(self, rng: np.random.Generator) -> tuple[Sound, tuple[tuple[int, int], ...]]:
        """The utterances with pauses of 2 to 5 s, each of its own loudness."""
        pieces: list[Sound] = []
        spoken: list[tuple[int, int]] = []
        at = 0
        for phrase in self._said:
            pause = np.zeros(round(rng.uniform(2, 5) * RATE_HZ), np.float32)
            loud = at_level(phrase, rng.uniform(-3, 3))
            spoken.append((at + len(pause), at + len(pause) + len(loud)))
            pieces += [pause, loud]
            at += len(pause) + len(loud)
        pieces.append(np.zeros(2 * RATE_HZ, np.float32))
        return np.concatenate(pieces), tuple(spoken)

    def _heard(self, sound: Sound) -> Sound:
        size = 1 << (len(sound) + len(self._response)).bit_length()
        both = np.fft.rfft(sound, size) * np.fft.rfft(self._response, size)
        return np.fft.irfft(both, size)[: len(sound)].astype(np.float32)

    def _microphone(self, samples: int) -> Sound:
        return at_level(coloured(samples, 0.5, self._rng), self.MICROPHONE_DB)

    def scenes(self, names: Sequence[str], ratios_db: Sequence[float]) -> Iterator[tuple[str, Scene, Scene]]:
        """(title, speech in noise, the noise alone): quiet, soft voices in quiet, then every noise at every ratio."""
        samples = len(self._speech)
        silence = Scene("quiet", self._microphone(self._noise_samples), ())
        for title, level_db in (("quiet", self.SPEECH_DB), ("quiet, soft voice", self.SOFT_SPEECH_DB)):
            voice = self._speech * 10 ** ((level_db - self.SPEECH_DB) / 20)
            yield title, Scene(title, voice + self._microphone(samples), self._spoken), silence
        for name in names:
            make = NOISES[name]
            long = self._heard(make(samples + self._noise_samples, self._others, self._rng))
            for ratio_db in ratios_db:
                noise = at_level(long, self.SPEECH_DB - ratio_db)
                noise = noise + self._microphone(len(noise))
                title = f"{name} {ratio_db:g} dB"
                yield (
                    title,
                    Scene(title, self._speech + noise[:samples], self._spoken),
                    Scene(title, noise[samples:], ()),
                )
