"""Turns the changes of a bouncing contact into short and long presses. Pure: times are arguments, in seconds of one
clock."""

from __future__ import annotations

from typing import Literal

Press = Literal["short", "long"]


class Presses:
    """A change counts at once. Changes within debounce_ms after it are bouncing; the contact's state at the end of this
    time counts.

    long_ms: a press is long as soon as it has lasted this long, and short if it ends before. None: there are no long
    presses, and a short press is reported when it begins.
    """

    def __init__(self, debounce_ms: int, long_ms: int | None) -> None:
        self._debounce_s = debounce_ms / 1000
        self._long_s = None if long_ms is None else long_ms / 1000
        self._contact = False  # as it was last seen
        self._seen_s = float("-inf")
        self._down = False  # as it counts
        self._turned_s = float("-inf")
        self._long_at_s: float | None = None

    @property
    def due_s(self) -> float | None:
        """When to call pass_to() if the contact does not change; None: never."""
        return min((at_s for at_s in (self._turn_at_s, self._long_at_s) if at_s is not None), default=None)

    @property
    def _turn_at_s(self) -> float | None:
        return None if self._contact == self._down else max(self._seen_s, self._turned_s + self._debounce_s)

    def change(self, closed: bool, at_s: float) -> list[Press]:
        """The contact was closed or opened."""
        presses = self.pass_to(at_s)
        if closed != self._contact:
            self._contact, self._seen_s = closed, at_s
        return presses + self.pass_to(at_s)

    def lost(self) -> None:
        """The button is lost: the present press is forgotten."""
        self._contact = self._down = False
        self._long_at_s = None

    def pass_to(self, now_s: float) -> list[Press]:
        """Processes the time up to now."""
        presses: list[Press] = []
        while (due_s := self.due_s) is not None and due_s <= now_s:
            if due_s == self._long_at_s:
                self._long_at_s = None
                presses.append("long")
            else:
                presses += self._turn(due_s)
        return presses

    def _turn(self, at_s: float) -> list[Press]:
        self._down, self._turned_s = self._contact, at_s
        if self._long_s is None:
            return ["short"] if self._down else []
        was_short = self._long_at_s is not None
        self._long_at_s = at_s + self._long_s if self._down else None
        return ["short"] if was_short else []
