"""What is said at the microphone, and the tones that answer it: every 20 ms of them can be told from all others."""

from __future__ import annotations

import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

RATE_HZ = 16_000
FRAME_SAMPLES = 320
FRAME_BYTES = 2 * FRAME_SAMPLES
FRAME_S = 0.02
# Of the whole sentence; as a person at arm's length.
LEVEL_DBFS = -24.0
# A frame above this has to arrive; what is softer is the gap between words.
LOUD_RMS = 400.0
# The room: a few counts of white noise, as every microphone has.
ROOM_PEAK = 10

SHORT = (
    "What time is it now?",
    "Please turn on the kitchen light.",
    "How warm will it be tomorrow?",
    "Tell me a short story.",
    "Set a timer for ten minutes.",
    "Where did I leave my keys?",
    "Read me the news of today.",
    "Is the back door locked?",
    "Play something quiet.",
    "Call my sister in the evening.",
)
LONG = (
    "I have been thinking about the garden again and about what could be planted beside the old wall, where the "
    "morning sun comes in between the two apple trees and dries the ground much earlier than anywhere else around "
    "the house, so that even in April one can sit there without a coat and read the paper.",
)
VOICES = ("rms", "slt")

# Answers are tones: their number is their frequency.
TONE_FIRST_HZ, TONE_STEP_HZ, TONES = 300.0, 40.0, 90


@dataclass(frozen=True)
class Line:
    """A sentence by one voice. loud: the numbers of the frames that have to arrive."""

    text: str
    pcm: Samples
    loud: tuple[int, ...]

    @property
    def length_s(self) -> float:
        return len(self.pcm) / RATE_HZ


def spoken(text: str, voice: str) -> Samples:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, capture_output=True)
        with wave.open(str(path)) as file:
            rate_hz = file.getframerate()
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
    if rate_hz != RATE_HZ:
        at = np.arange(0, len(sound), rate_hz / RATE_HZ)
        sound = np.interp(at, np.arange(len(sound)), sound)
    # Synthesisers begin and end with silence.
    audible = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    sound = sound[audible[0] : audible[-1] + 1]
    sound *= 32768 * 10 ** (LEVEL_DBFS / 20) / np.sqrt(np.mean(sound**2))
    padded = np.concatenate([sound, np.zeros(-len(sound) % FRAME_SAMPLES)])
    whole: Samples = np.clip(padded, -30_000, 30_000).astype(np.int16)
    return whole


def loud_frames(pcm: Samples) -> tuple[int, ...]:
    power = np.mean(pcm.reshape(-1, FRAME_SAMPLES).astype(np.float64) ** 2, axis=1)
    return tuple(int(number) for number in np.flatnonzero(power > LOUD_RMS**2))


def synthesise() -> dict[str, Samples]:
    """All that is ever said: `voice text` → sound."""
    return {f"{voice} {text}": spoken(text, voice) for text in (*SHORT, *LONG) for voice in VOICES}


class Voices:
    """What synthesise() made, once for all lanes of a run."""

    def __init__(self, sounds: dict[str, Samples]) -> None:
        made = {name: Line(name.partition(" ")[2], pcm, loud_frames(pcm)) for name, pcm in sounds.items()}
        self.short = tuple(line for line in made.values() if line.text in SHORT)
        self.long = tuple(line for line in made.values() if line.text in LONG)


def room(samples: int, seed: int) -> Samples:
    noise: Samples = np.random.default_rng(seed).integers(-ROOM_PEAK, ROOM_PEAK + 1, samples, dtype=np.int16)
    return noise


def unique(pcm: Samples, seed: int) -> Samples:
    """The same sentence with noise of its own below it: no 20 ms of it are like any other's."""
    noise = np.random.default_rng([7, seed]).integers(-6, 7, len(pcm), dtype=np.int16)
    made: Samples = np.clip(pcm.astype(np.int32) + noise, -32768, 32767).astype(np.int16)
    return made


def tone_hz(number: int) -> float:
    return TONE_FIRST_HZ + TONE_STEP_HZ * (number % TONES)


def tone(number: int, seconds: float) -> bytes:
    at = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    return (9000 * np.sin(2 * np.pi * tone_hz(number) * at)).astype("<i2").tobytes()


def tones_heard(path: Path, block_s: float = 0.05) -> dict[int, float]:
    """Of a recorded speaker: for how many seconds each tone sounds. number modulo TONES → seconds."""
    heard: dict[int, float] = {}
    with path.open("rb") as file:
        head = file.read(44)
        rate_hz = int.from_bytes(head[24:28], "little")
        block = int(rate_hz * block_s)
        window = np.hanning(block)
        while data := file.read(2 * block * 400):
            sound = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
            blocks = sound[: len(sound) // block * block].reshape(-1, block)
            alive = np.abs(blocks).max(axis=1) > 500
            if not alive.any():
                continue
            spectrum = np.abs(np.fft.rfft(blocks[alive] * window, n=4 * block, axis=1))
            peaks = spectrum.argmax(axis=1) * rate_hz / (4 * block)
            for hz in peaks:
                number = round((hz - TONE_FIRST_HZ) / TONE_STEP_HZ)
                if 0 <= number < TONES and abs(tone_hz(number) - hz) < 12:
                    heard[number] = heard.get(number, 0.0) + block_s
    return heard
