"""Follows a spoken turn to the first sound of its answer, and tells the parts of that delay: in the figures and in the
record. For both protocols; runs on the server's event loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from parleyd.embedded.figures import Figures
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.turn_times import TurnTimes


def ended(silence_ms: int) -> TurnTimes:
    """The person has finished now, after so much silence."""
    now_s = time.monotonic()
    return TurnTimes(now_s - silence_ms / 1000, now_s)


class TurnDelay:
    """One turn at a time: the one whose words have come last."""

    def __init__(self, figures: Figures, record: ConnectionRecord) -> None:
        self._figures = figures
        self._record = record
        self._times: TurnTimes | None = None

    def understood(self, times: TurnTimes, *, is_ahead: bool) -> None:
        """The words are there. is_ahead: they were, before the silence was long enough."""
        times.words_s = times.ended_s if is_ahead else time.monotonic()
        self._times = times

    def words(self) -> None:
        """Words of the answer are there."""
        if self._times is not None and self._times.piece_s is None:
            self._times.piece_s = time.monotonic()

    def sound(self) -> None:
        """Sound of the answer leaves. The first one ends the delay."""
        times, self._times = self._times, None
        parts = None if times is None else times.parts_s(time.monotonic())
        if parts is None:
            return
        for part, delay in self._figures.delays.items():
            delay.add(parts[part])
        self._record.tell("delay", **{f"{part}_ms": round(seconds * 1000) for part, seconds in parts.items()})

    def forget(self) -> None:
        """The next sound is no answer to the turn."""
        self._times = None

    @contextmanager
    def goes_on(self) -> Iterator[None]:
        """Sound that leaves meanwhile is not the answer."""
        times, self._times = self._times, None
        yield
        self._times = self._times or times
