"""Holes in answers: sound that the device asked for and did not get. Pure; playback.py brings the lock."""

from __future__ import annotations

from parleyd.audio.playback.playhead import Segment


class Holes:
    """count: so far; a hole of any length is one."""

    def __init__(self) -> None:
        self.count = 0
        self._starved: Segment | None = None
        self._in_gap = False

    def came(self, segment: Segment) -> None:
        """More of a segment: if the device ran dry in it, that was a hole, the network's."""
        if self._starved is segment:
            self._add()
        self._starved = None

    def filled(self) -> None:
        """The device got all it asked for."""
        self._in_gap = False

    def ran_dry(self, open_segment: Segment | None) -> None:
        """It got less, and nothing waits: a hole if more of the open segment comes later."""
        self._starved = open_segment

    def late(self, next_owner: Segment | None) -> None:
        """It got less though there is more: a hole, ours, if its answer has begun."""
        if next_owner is not None and next_owner.handed_s > 0.0:
            self._add()

    def forget(self) -> None:
        self._starved = None

    def _add(self) -> None:
        if not self._in_gap:
            self.count += 1
        self._in_gap = True
