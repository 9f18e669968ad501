"""Counts sound like speech that was not sent: how much, how often, and why. Pure; one frame is FRAME_MS."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from msgspec import Struct

from parleyd.audio.gate.why_held_back import Why
from parleyd.audio.pcm import FRAME_MS

# Held-back sounds with a shorter pause between them count as one.
ONE_TIME_MS = 1000
# The least duration that is reported; shorter sound is only counted.
REPORT_LEAST_MS = 500
_REPORT_MOST_MINUTES = 16
_MINUTE_FRAMES = 60_000 // FRAME_MS
_LATELY_MINUTES = 60


class HeldBackReport(Struct, frozen=True):
    """A report of the speech-like sound that was not sent."""

    held_ms: dict[str, int]
    """The duration since the last report, for each reason."""
    minutes: int
    """The time since the last report."""
    total_ms: int
    """The duration since the start, for all reasons."""


class HeldBack:
    """ms: since the start. times: the number of sounds, each counted for the reason of its beginning."""

    def __init__(self) -> None:
        self.ms: Counter[Why] = Counter()
        self.times: Counter[Why] = Counter()
        self._minutes: deque[Counter[Why]] = deque([Counter()], maxlen=_LATELY_MINUTES)
        self._minute_frames = 0
        self._since_ms = ONE_TIME_MS

    def step(self, released: Iterable[Why | None], frames: int = 1) -> None:
        """Call it for every frame that enters the gate, or for several. released: for every frame that leaves it
        unsent, the reason if it sounds like speech, otherwise None."""
        self._minute_frames += frames
        if self._minute_frames > _MINUTE_FRAMES:
            self._minutes.append(Counter())
            self._minute_frames -= _MINUTE_FRAMES
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


class HeldBackReports:
    """Decides when to report: once a minute at most, and once in 16 minutes if it goes on for hours, as music does."""

    def __init__(self) -> None:
        self._told: Counter[Why] = Counter()
        self._frames = 0
        self._minutes = 1

    def step(self, held_back: HeldBack, frames: int = 1) -> HeldBackReport | None:
        """Call it for every frame, or for several; returns a report when one is due."""
        self._frames += frames
        if self._frames < self._minutes * _MINUTE_FRAMES:
            return None
        minutes, self._frames = self._minutes, 0
        held = held_back.ms - self._told
        if held.total() < REPORT_LEAST_MS:
            self._minutes = 1
            return None
        self._told = Counter(held_back.ms)
        self._minutes = min(2 * minutes, _REPORT_MOST_MINUTES)
        return HeldBackReport({str(why): ms for why, ms in held.items()}, minutes, held_back.total_ms)
