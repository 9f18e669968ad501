"""Decides whether changed settings stay. Pure: time is an argument.

For two minutes after a change the health of the daemon is compared with the health before it. A part that gets a
trouble which it did not have, and keeps it, takes the change back; so does a client that asked for a confirmation and
never confirms: a change may be what cut it off.

Some keys are used by the next session only. A change of those is untried after two minutes without one: it waits, for a
day at the most, and the two minutes begin anew with the session.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

PROBATION_S = 120.0
# A trouble that passes sooner, such as a device that is opened again, takes nothing back.
WORSE_S = 10.0
# How long a change waits for a session that tries it.
UNTRIED_S = 86_400.0


class Kept(Struct, frozen=True):
    """The changed settings stay. untried: no session has used them."""

    untried: bool = False


class TakenBack(Struct, frozen=True):
    """The settings go back to those from before the change. reason: in words."""

    reason: str


class Probation:
    """troubled: the parts that had a trouble before the change. confirmed: nobody has to confirm the change. untried: a
    session has to use it. All times are those of one clock that never goes back."""

    def __init__(self, troubled: Collection[str], now_s: float, *, confirmed: bool, untried: bool = False) -> None:
        self._troubled = frozenset(troubled)
        # Troubles that came while it waited for a session: they are not the change's.
        self._excused: frozenset[str] = frozenset()
        self._began_s = now_s
        self._until_s = now_s + PROBATION_S
        self._confirmed = confirmed
        self._untried = untried
        self._waits = False
        self._kept = False
        self._worse_since_s: dict[str, float] = {}

    @property
    def confirmed(self) -> bool:
        return self._confirmed

    @property
    def untried(self) -> bool:
        """Whether a session has to use the change, and none has yet."""
        return self._untried

    @property
    def waits(self) -> bool:
        """Whether the two minutes are over without a session that has to use the change: nothing is watched until one
        begins."""
        return self._waits

    @property
    def excuses(self) -> frozenset[str]:
        """The parts whose trouble takes nothing back: it came before the change, or while that waited for a session."""
        return self._troubled | self._excused

    def confirm(self) -> None:
        """Somebody wants to keep the change. If it waits for a session, it does not any more; within the two minutes,
        in which a program may confirm that it still reaches the device, it waits for one after them all the same."""
        self._confirmed = True
        self._kept = self._waits

    def left_s(self, now_s: float) -> float:
        """Returns the rest of the probation; while it waits for a session, the rest of the day."""
        if self._waits:
            until_s = self._began_s + UNTRIED_S
        else:
            until_s = self._until_s if self._confirmed else self._began_s + PROBATION_S
        return max(0.0, until_s - now_s)

    def session_begins(self, at_s: float) -> None:
        """The daemon tries to open a session, with the settings that are in force then."""
        if self._untried and at_s >= self._began_s:
            self._waits = False
            self._until_s = max(self._until_s, at_s + PROBATION_S)

    def session_opened(self, begun_s: float, at_s: float) -> None:
        """A session is open that was begun at begun_s."""
        if self._untried and begun_s >= self._began_s:
            self._untried = self._waits = False
            self._until_s = max(self._until_s, at_s + PROBATION_S)

    def look(self, troubles: Collection[tuple[str, str]], now_s: float) -> Kept | TakenBack | None:
        """troubles: (part, text) of all present troubles. Returns the decision; None: it is not made yet."""
        if self._waits:
            self._excused = frozenset(part for part, _ in troubles)
            return Kept(untried=True) if self._kept or now_s >= self._began_s + UNTRIED_S else None
        worse = {part: text for part, text in troubles if part not in self.excuses}
        self._worse_since_s = {part: self._worse_since_s.get(part, now_s) for part in worse}
        for part, since_s in self._worse_since_s.items():
            if now_s - since_s >= WORSE_S or now_s >= self._until_s:
                return TakenBack(f"{part}: {worse[part]}")
        if not self._confirmed and now_s >= self._began_s + PROBATION_S:
            return TakenBack("nobody confirmed it within two minutes")
        if now_s < self._until_s:
            return None
        if self._untried:
            self._waits = True
            return None
        return Kept()
