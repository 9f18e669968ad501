"""The sound of the room that did not reach the ears: when, how much and why. Pure."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

# Sound that is missing for the same reason, with less than this between, is one stretch.
ONE_STRETCH_S = 0.5
# A stretch that goes on is told at least this often.
LONGEST_STRETCH_S = 30.0
# The log has one line in this time at most; the events have every stretch.
LOGGED_EVERY_S = 60.0


class Why(StrEnum):
    """Why sound is missing, in words."""

    TOO_SLOW = "this machine was too slow to handle it"
    NOT_IN_TIME = "the microphone delivered nothing in time"
    TOO_OLD = "the microphone delivered it too late"
    OVERFLOW = "the sound card or its driver lost it"
    NO_MEMORY = "there was not enough memory to handle it"


class Missing(Struct, frozen=True):
    """A stretch in which sound is missing."""

    begin_s: float
    """Monotonic time of the first missing sample, in the room."""
    missing_ms: int
    """How much is missing; 0: the sound card did not tell."""
    why: Why
    """The reason."""


class MissingSound:
    """Puts stretches together. total_ms: since the start, with what is not told yet."""

    def __init__(self) -> None:
        self.total_ms = 0
        self._begin_s = self._end_s = self._added_s = 0.0
        self._missing_s = 0.0
        self._why: Why | None = None
        self._over: list[Missing] = []

    def add(self, begin_s: float, missing_s: float, why: Why, now_s: float) -> None:
        """Sound from begin_s on is missing. missing_s: how much; 0: not known. now_s: when that was noticed."""
        if self._why is not None and (why is not self._why or begin_s - self._end_s >= ONE_STRETCH_S):
            self._close()
        if self._why is None:
            self._why, self._begin_s, self._missing_s = why, begin_s, 0.0
        # An overflow is known before the hole that it made.
        self._begin_s = min(self._begin_s, begin_s)
        self._missing_s += missing_s
        self._end_s, self._added_s = begin_s + missing_s, now_s
        self.total_ms += round(missing_s * 1000)

    def take(self, now_s: float) -> list[Missing]:
        """The stretches that are over, or have become long, since the last call; each once."""
        if self._why is not None and (
            now_s - self._added_s >= ONE_STRETCH_S or self._end_s - self._begin_s >= LONGEST_STRETCH_S
        ):
            self._close()
        over, self._over = self._over, []
        return over

    def _close(self) -> None:
        assert self._why is not None
        self._over.append(Missing(self._begin_s, round(self._missing_s * 1000), self._why))
        self._why = None


class MissingLog:
    """The words for the log: of the first stretch at once, of later ones once in LOGGED_EVERY_S at most, summed."""

    def __init__(self) -> None:
        self._logged_s: float | None = None
        self._untold_ms = 0

    def line(self, missing: Missing, now_s: float) -> str | None:
        """Returns what to log now, if anything."""
        self._untold_ms += missing.missing_ms
        if self._logged_s is not None and now_s - self._logged_s < LOGGED_EVERY_S:
            return None
        self._logged_s = now_s
        much, self._untold_ms = f"{self._untold_ms / 1000:.2f} s" if self._untold_ms else "some", 0
        return f"{much} of the microphone's sound is missing: {missing.why}"
