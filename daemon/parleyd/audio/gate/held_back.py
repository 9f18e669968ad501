"""Counts sound like speech that was not sent: how much, how often, and why. Pure; one frame is FRAME_MS."""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from parleyd.audio.pcm import FRAME_MS

# Held-back sounds with a shorter pause between them count as one.
ONE_TIME_MS = 1000
# The least duration that is reported; shorter sound is only counted.
NEWS_LEAST_MS = 500
_NEWS_MOST_MINUTES = 16
_MINUTE_FRAMES = 60_000 // FRAME_MS
_LATELY_MINUTES = 60


class Why(enum.StrEnum):
    """background: not louder than the background. penalty: not loud enough during a false-wake penalty. known_noise:
    recognised as a noise that caused a false wake. too_long: talk that had not ended for minutes. no_pitch: voiced for
    the detector, but without the pitch that all vowels have, as in a whisper."""

    BACKGROUND = "background"
    PENALTY = "doubt"
    KNOWN_NOISE = "known_noise"
    TOO_LONG = "too_long"
    NO_PITCH = "no_pitch"


WORDS: dict[str, str] = {
    Why.BACKGROUND: "no louder than the other sounds of the room",
    Why.PENALTY: "too soft during the penalty after false wakes",
    Why.KNOWN_NOISE: "a noise that caused a false wake before",
    Why.TOO_LONG: "talk that had not ended for minutes",
    Why.NO_PITCH: "without a pitch, as in a whisper",
}


def in_words(held_ms: dict[str, int]) -> str:
    """The durations in words, such as "3.0 s no louder than the other sounds of the room, 0.2 s without a pitch, as in
    a whisper"."""
    most_first = sorted(held_ms.items(), key=lambda each: -each[1])
    return ", ".join(f"{ms / 1000:.1f} s {WORDS.get(why, why)}" for why, ms in most_first if ms)


@dataclass(frozen=True, slots=True)
class News:
    """A report. held_ms: since the last report. minutes: since the last report. total_ms: since the start."""

    held_ms: dict[str, int]
    minutes: int
    total_ms: int


class HeldBack:
    """ms: since the start. times: the number of sounds, each counted for the reason of its beginning."""

    def __init__(self) -> None:
        self.ms: Counter[Why] = Counter()
        self.times: Counter[Why] = Counter()
        self._minutes: deque[Counter[Why]] = deque([Counter()], maxlen=_LATELY_MINUTES)
        self._minute_frames = 0
        self._since_ms = ONE_TIME_MS

    def step(self, released: Iterable[Why | None]) -> None:
        """Call it once for every frame that enters the gate. released: for every frame that leaves it unsent, the
        reason if it sounds like speech, otherwise None."""
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
        """The durations of the last hour."""
        whole: Counter[Why] = Counter()
        for minute in tuple(self._minutes):
            whole.update(dict(minute))
        return dict(whole)


class HeldBackNews:
    """Decides when to report: once a minute at most, and once in 16 minutes if it goes on for hours, as music does."""

    def __init__(self) -> None:
        self._told: Counter[Why] = Counter()
        self._frames = 0
        self._minutes = 1

    def step(self, held_back: HeldBack) -> News | None:
        """Call it once per frame; returns a report when one is due."""
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
