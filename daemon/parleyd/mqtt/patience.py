"""When to try the broker again, and with which version of MQTT. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Literal

FIRST_S, LONGEST_S = 1.0, 60.0
# A failure that does not pass by itself, such as a wrong password, is tried again this seldom.
LASTING_S = 300.0
# A connection that has lasted this long was a good one.
GOOD_S = 30.0
# This number of connections in a row that end soon is no accident.
SHORT_ONES = 3

Version = Literal["5", "3.1.1"]


class Failure(Enum):
    """unreachable: no connection. silent: the broker ended it without an answer. version: it does not speak this one.
    refused: a person has to do something. taken_over: another client with the same name has come. lost: the connection
    was good, and broke."""

    UNREACHABLE = "unreachable"
    SILENT = "silent"
    VERSION = "version"
    REFUSED = "refused"
    TAKEN_OVER = "taken over"
    LOST = "lost"


class Patience:
    """Decides after each failure when the next try comes. protocol: the configuration's mqtt.protocol."""

    def __init__(self, protocol: Literal["auto", "5", "3.1.1"]) -> None:
        self._is_fixed = protocol != "auto"
        self.version: Version = "3.1.1" if protocol == "3.1.1" else "5"
        self._limit_s = FIRST_S
        self._knows_version = False
        self._short_ones = 0

    def connected(self) -> None:
        self._knows_version = True

    def failed(self, failure: Failure, chance: float, lasted_s: float = 0.0) -> float:
        """Returns the time until the next try, in seconds. chance: at random from 0 to 1, so that all devices of a
        house do not come back at once. lasted_s: how long the connection was there."""
        if failure is Failure.LOST:
            self._short_ones = self._short_ones + 1 if lasted_s < GOOD_S else 0
            if lasted_s >= GOOD_S:
                self._limit_s = FIRST_S
        if failure in (Failure.REFUSED, Failure.TAKEN_OVER):
            self._limit_s = FIRST_S
            return LASTING_S * (0.5 + chance / 2)
        if failure is Failure.VERSION or (failure is Failure.SILENT and not self._knows_version):
            if self._is_fixed and failure is Failure.VERSION:
                return LASTING_S * (0.5 + chance / 2)
            if not self._is_fixed:
                self.version = "3.1.1" if self.version == "5" else "5"
                if failure is Failure.VERSION and self.version == "3.1.1":
                    return 0.0
        delay_s = self._limit_s * chance
        self._limit_s = min(LONGEST_S, self._limit_s * 2)
        return delay_s

    @property
    def seems_doubled(self) -> bool:
        """Whether connections end again and again right after they were made, as they do where two devices have one
        name and the broker cannot say so (MQTT 3.1.1)."""
        return self._short_ones >= SHORT_ONES
