"""The queue of one hook: in order, bounded, and without events that have become untrue. Pure."""

from __future__ import annotations

from parleyd.hooks.hook_event import HookEvent

MOST_WAITING = 16


class HookQueue:
    """dropped: events for which the hook will never run because too many came."""

    def __init__(self) -> None:
        self._events: list[HookEvent] = []
        self.dropped = 0

    def put(self, hook_event: HookEvent) -> bool:
        """Appends an event. False: the oldest one was dropped for it."""
        self.outdate(hook_event)
        self._events.append(hook_event)
        if len(self._events) <= MOST_WAITING:
            return True
        del self._events[0]
        self.dropped += 1
        return False

    def outdate(self, newer: HookEvent) -> None:
        """Removes the events that the newer one has made untrue."""
        self._events = [older for older in self._events if not newer.supersedes(older)]

    def take(self) -> HookEvent:
        """Removes and returns the oldest event. Raises IndexError if none waits."""
        return self._events.pop(0)

    def clear(self) -> None:
        self._events.clear()

    @property
    def oldest_s(self) -> float | None:
        """The time of the oldest event that waits; None: none waits."""
        return self._events[0].at_s if self._events else None
