"""The dialogue's view of a speaker, and the stand-in where nobody hears the agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.playhead import HeardPart


class Voice(Protocol):
    """See audio/playback/playback.py, which is one. Everything returns at once."""

    def set_format(self, fmt: AudioFormat) -> None: ...

    def enqueue(self, answer: int, data: bytes) -> None: ...

    def end_answer(self, answer: int) -> None: ...

    def clear(self) -> Sequence[HeardPart]: ...

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

    def clear(self) -> Sequence[HeardPart]:
        return ()

    def duck(self, on: bool) -> None:
        pass

    def audible(self, now_s: float) -> bool:
        return False
