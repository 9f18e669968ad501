"""What the dialogue needs of a speaker, and what is there where nobody hears the agent."""

from __future__ import annotations

from typing import Protocol

from parleyd.audio import pcm
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.playhead import Heard

# The peak below which sound is none: about -54 dBFS. Synthetic speech is pauses of digital silence and far more.
AUDIBLE_PEAK = 64


def duration_s(fmt: AudioFormat, data: bytes) -> float:
    return len(data) / (fmt.sample_bytes * fmt.rate_hz)


def is_audible(fmt: AudioFormat, data: bytes) -> bool:
    """Whether there is anything to hear in a provider's sound; half a sample at its end is left out."""
    samples = pcm.samples_of(pcm.decode(fmt, data[: len(data) // fmt.sample_bytes * fmt.sample_bytes]))
    return len(samples) > 0 and max(int(samples.max()), -int(samples.min())) >= AUDIBLE_PEAK


class Voice(Protocol):
    """See audio/playback/playback.py, which is one. Everything returns at once."""

    def set_format(self, fmt: AudioFormat) -> None: ...

    def enqueue(self, answer: int, data: bytes) -> None: ...

    def end_answer(self, answer: int) -> None: ...

    def clear(self) -> Heard | None: ...

    def duck(self, on: bool) -> None: ...

    def audible(self, now_s: float) -> bool: ...

    @property
    def silent_from_s(self) -> float: ...


class NoVoice:
    """Answers are texts."""

    silent_from_s = float("-inf")

    def set_format(self, fmt: AudioFormat) -> None:
        pass

    def enqueue(self, answer: int, data: bytes) -> None:
        pass

    def end_answer(self, answer: int) -> None:
        pass

    def clear(self) -> Heard | None:
        return None

    def duck(self, on: bool) -> None:
        pass

    def audible(self, now_s: float) -> bool:
        return False
