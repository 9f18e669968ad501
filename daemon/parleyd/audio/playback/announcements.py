"""The announcer's way into the mix, safe from any thread."""

from __future__ import annotations

import threading
import time

from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.mix import Mix


class Announcements:
    """begin(), feed() until end(), or clear(); one announcement after the other. Nothing here waits.

    changed: the mix's lock; notified when there is something to make.
    """

    def __init__(self, mix: Mix, changed: threading.Condition) -> None:
        self._mix = mix
        self._track = mix.announcement
        self._changed = changed

    def begin(self, fmt: AudioFormat) -> None:
        """See AnnouncementTrack.begin."""
        with self._changed:
            self._track.begin(fmt)

    def feed(self, data: bytes) -> None:
        """See AnnouncementTrack.feed."""
        with self._changed:
            self._track.feed(data)
            self._changed.notify_all()

    def end(self) -> None:
        """See AnnouncementTrack.end."""
        with self._changed:
            self._track.end()
            self._changed.notify_all()

    def clear(self) -> None:
        """Ends the announcement with a fade of 5 ms."""
        with self._changed:
            self._track.clear()
            self._changed.notify_all()

    def under_talk(self, on: bool) -> None:
        """A person talks: the announcement goes on, but quieter."""
        with self._changed:
            self._track.under_talk(on)

    @property
    def began_s(self) -> float | None:
        """Monotonic time at which its first sound was, or will be, audible; None before the device took any."""
        with self._changed:
            return self._track.began_s

    @property
    def last_period_s(self) -> float:
        """When the device last took anything, silence or not; now, while it rests."""
        with self._changed:
            return time.monotonic() if self._mix.device_rests else self._mix.last_period_s

    def left(self, now_s: float) -> bool:
        """Not all of it has been heard, whether or not there is a device."""
        with self._changed:
            return self._track.left(now_s)
