"""The queue of one hook: in order, bounded, and without events that have become untrue. Pure."""

from __future__ import annotations

from parleyd.hooks.occasion import Occasion

MOST_WAITING = 16


class Waiting:
    """dropped: events for which the hook will never run because too many came."""

    def __init__(self) -> None:
        self._occasions: list[Occasion] = []
        self.dropped = 0

    def put(self, occasion: Occasion) -> bool:
        """Appends an event. False: the oldest one was dropped for it."""
        self.outdate(occasion)
        self._occasions.append(occasion)
        if len(self._occasions) <= MOST_WAITING:
            return True
        del self._occasions[0]
        self.dropped += 1
        return False

    def outdate(self, newer: Occasion) -> None:
        """Removes the events that the newer one has made untrue."""
        self._occasions = [older for older in self._occasions if not newer.supersedes(older)]

    def take(self) -> Occasion:
        """Removes and returns the oldest event. Raises IndexError if none waits."""
        return self._occasions.pop(0)

    def clear(self) -> None:
        self._occasions.clear()

    @property
    def oldest_s(self) -> float | None:
        """The time of the oldest event that waits; None: none waits."""
        return self._occasions[0].at_s if self._occasions else None
