"""What sounded like speech and was not sent: how much, how often, and why. Pure; one frame is FRAME_MS."""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from parleyd.audio.pcm import FRAME_MS

# Two held-back sounds with less than this between them are one.
ONE_TIME_MS = 1000
# Less than this is no news; it is counted all the same.
NEWS_LEAST_MS = 500
_NEWS_MOST_MINUTES = 16
_MINUTE_FRAMES = 60_000 // FRAME_MS
_LATELY_MINUTES = 60


class Why(enum.StrEnum):
    """background: not louder than what goes on in the room. doubt: not loud enough after wakes for nothing.
    known_noise: recognised as a noise that was nobody. too_long: talk that had not ended for minutes. no_pitch: voiced
    for the detector, but without the pitch that all vowels have, as in a whisper."""

    BACKGROUND = "background"
    DOUBT = "doubt"
    KNOWN_NOISE = "known_noise"
    TOO_LONG = "too_long"
    NO_PITCH = "no_pitch"


WORDS: dict[str, str] = {
    Why.BACKGROUND: "no louder than the other sounds of the room",
    Why.DOUBT: "too soft after wakes for nothing",
    Why.KNOWN_NOISE: "a noise that woke for nothing before",
    Why.TOO_LONG: "talk that had not ended for minutes",
    Why.NO_PITCH: "without a pitch, as in a whisper",
}


def in_words(held_ms: dict[str, int]) -> str:
    """Such as "3.0 s no louder than the other sounds of the room, 0.2 s without a pitch, as in a whisper"."""
    most_first = sorted(held_ms.items(), key=lambda each: -each[1])
    return ", ".join(f"{ms / 1000:.1f} s {WORDS.get(why, why)}" for why, ms in most_first if ms)


@dataclass(frozen=True, slots=True)
class News:
    """held_ms: since the last news, which is so many minutes ago. total_ms: since the start."""

    held_ms: dict[str, int]
    minutes: int
    total_ms: int


class HeldBack:
    """ms: since the start. times: how many sounds that was, a sound being counted for what held its beginning back."""

    def __init__(self) -> None:
        self.ms: Counter[Why] = Counter()
        self.times: Counter[Why] = Counter()
        self._minutes: deque[Counter[Why]] = deque([Counter()], maxlen=_LATELY_MINUTES)
        self._minute_frames = 0
        self._since_ms = ONE_TIME_MS

    def step(self, released: Iterable[Why | None]) -> None:
        """Once for every frame that goes into the gate. released: for every frame that leaves it unsent, why that is a
        loss, or None."""
        self._minute_frames += 1
        if self._minute_frames > _MINUTE_FRAMES:
            self._minutes.append(Counter())
            self._minute_frames = 1
        for why in released:
            if why is None:
                self._since_ms += FRAME_MS
                continue
            if self._since_ms >= ONE_TIME_MS:
                self.times[why] += 1
            self._since_ms = 0
            self.ms[why] += FRAME_MS
            self._minutes[-1][why] += FRAME_MS

    @property
    def total_ms(self) -> int:
        return sum(self.ms.values())

    def lately_ms(self) -> dict[Why, int]:
        """Of the last hour."""
        whole: Counter[Why] = Counter()
        for minute in tuple(self._minutes):
            whole.update(dict(minute))
        return dict(whole)


class HeldBackNews:
    """When to tell of it: once a minute at most, and where it goes on for hours, as music does, once in 16 minutes."""

    def __init__(self) -> None:
        self._told: Counter[Why] = Counter()
        self._frames = 0
        self._minutes = 1

    def step(self, held_back: HeldBack) -> News | None:
        """Once per frame."""
        self._frames += 1
        if self._frames < self._minutes * _MINUTE_FRAMES:
            return None
        minutes, self._frames = self._minutes, 0
        held = held_back.ms - self._told
        if held.total() < NEWS_LEAST_MS:
            self._minutes = 1
            return None
        self._told = Counter(held_back.ms)
        self._minutes = min(2 * minutes, _NEWS_MOST_MINUTES)
        return News({str(why): ms for why, ms in held.items()}, minutes, held_back.total_ms)
