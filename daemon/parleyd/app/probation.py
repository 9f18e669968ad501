"""Decides whether changed settings stay. Pure: time is an argument.

For two minutes after a change the health of the daemon is compared with the health before it. A part that gets a
trouble which it did not have, and keeps it, takes the change back; so does a client that asked for a confirmation and
never confirms: a change may be what cut it off.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PROBATION_S = 120.0
# A trouble that passes sooner, such as a device that is opened again, takes nothing back.
WORSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Kept:
    """The changed settings stay."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The settings go back to those from before the change. reason: in words."""

    reason: str


class Probation:
    """troubled: the parts that had a trouble before the change. confirmed: nobody has to confirm the change."""

    def __init__(self, troubled: Collection[str], now_s: float, *, confirmed: bool) -> None:
        self._troubled = frozenset(troubled)
        self._until_s = now_s + PROBATION_S
        self._confirmed = confirmed
        self._worse_since_s: dict[str, float] = {}

    @property
    def confirmed(self) -> bool:
        return self._confirmed

    def confirm(self) -> None:
        self._confirmed = True

    def left_s(self, now_s: float) -> float:
        """Returns the rest of the probation."""
        return max(0.0, self._until_s - now_s)

    def look(self, troubles: Collection[tuple[str, str]], now_s: float) -> Kept | TakenBack | None:
        """troubles: (part, text) of all present troubles. Returns the decision; None: it is not made yet."""
        worse = {part: text for part, text in troubles if part not in self._troubled}
        self._worse_since_s = {part: self._worse_since_s.get(part, now_s) for part in worse}
        for part, since_s in self._worse_since_s.items():
            if now_s - since_s >= WORSE_S or now_s >= self._until_s:
                return TakenBack(f"{part}: {worse[part]}")
        if now_s < self._until_s:
            return None
        return Kept() if self._confirmed else TakenBack("nobody confirmed it within two minutes")
