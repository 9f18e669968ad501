"""The device that takes the mix: opened, cut, lent to whoever reopens devices, and closed in the end.

An opening may take as long as a sound server hangs, and nobody waits for it that long. So each is asked at its end
whether it is still wanted, and a period is given to the latest opening only: to none before the mix knows its rate, and
to none any more once what it holds is not to be heard.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

from parleyd.audio.devices.device import DeviceError, OutputDevice, StreamInfo
from parleyd.audio.pcm import BYTES_PER_SAMPLE
from parleyd.audio.playback.mix import Mix

# Who wants the device waits this long for a cut to reopen it; one that takes longer hangs.
REOPENING_S = 2.0


class FarEnd(Protocol):
    """Follows everything that the speaker plays; audio/echo/far_end.py. Neither method waits."""

    def start(self, rate_hz: int, latency_s: float) -> None:
        """The speaker was opened, perhaps again: the periods that follow are at this rate, and are heard this late."""

    def take(self, pcm: bytes, at_s: float) -> None:
        """The speaker's device took this period at at_s: signed 16 bit, little-endian, mono."""


class _UnwantedError(DeviceError):
    """The device opened too late, and has been closed again."""


class Speaker:
    """changed: the mix's lock, held for microseconds only; notified when there may be work, or something to tell."""

    def __init__(
        self, device: OutputDevice, mix: Mix, changed: threading.Condition, far_end: FarEnd | None = None
    ) -> None:
        self.device = device
        self._mix = mix
        self._changed = changed
        self._far_end = far_end
        self._closed = False  # for good
        self._is_reopening = False
        self._released = False  # somebody else has closed the device and will open it again
        self._opening: object | None = None  # the one whose periods come out of the mix

    def open(self) -> StreamInfo:
        """Raises DeviceError, also where nobody wants the device any more when it has opened at last."""
        return self._open(after_release=True)

    def close(self) -> None:
        """For good. No callback runs after the return, unless an opening hangs: that one is closed when it is over."""
        with self._changed:
            self._closed = True
        self.device.close()

    def release(self) -> None:
        """Closes the device until regain(); the mix keeps what waits. Waits for a reopening, two seconds at most."""
        with self._changed:
            self._released = True
            self._changed.wait_for(lambda: not self._is_reopening, REOPENING_S)
            self._opening = None
            self._mix.device_closed()
        self.device.close()

    def regain(self) -> None:
        """Opens the device again; the sound goes on where it was. Raises DeviceError."""
        with self._changed:
            if self._is_reopening:
                # It hangs in there since before the release, and will be closed when it comes back.
                raise DeviceError(f"{self.device.name}: it is still being opened", "try again a little later")
        self._open(after_release=True)
        with self._changed:
            self._released = False

    def cut(self) -> None:
        """Under the lock: the device takes nothing more until reopen(), for what it holds is not to be heard."""
        self._opening = None

    def reopen(self) -> None:
        """Throws away what the device holds. Raises DeviceError; does nothing while it is released."""
        with self._changed:
            if self._released:
                return
            self._is_reopening = True
        try:
            self.device.close()
            self._open(after_release=False)
        except _UnwantedError:
            # Who released or closed it has waited for this, but not for ever.
            pass
        finally:
            with self._changed:
                self._is_reopening = False
                self._changed.notify_all()

    def _open(self, *, after_release: bool) -> StreamInfo:
        opening = object()
        info = self.device.open(lambda samples: self._fill(samples, opening))
        earcons = self._mix.earcons.resampled(info.rate_hz)
        if self._far_end is not None:
            self._far_end.start(info.rate_hz, info.latency_s)
        with self._changed:
            wanted = not self._closed and (after_release or not self._released)
            if wanted:
                self._mix.device_opened(info.rate_hz, info.period_samples, info.latency_s, earcons)
                self._opening = opening
                self._changed.notify_all()
        if not wanted:
            self.device.close()
            raise _UnwantedError(f"{self.device.name}: it was opened too late", "see what keeps the sound server busy")
        return info

    def _fill(self, samples: int, opening: object) -> bytes:
        """The device's thread: what it plays next, signed 16 bit, little-endian, mono. The lock is taken once."""
        now_s = time.monotonic()
        with self._changed:
            if opening is not self._opening:
                self._mix.last_period_s = now_s
                return bytes(samples * BYTES_PER_SAMPLE)
            waits = self._mix.waits
            period = self._mix.period(samples, now_s)
            if waits:
                self._changed.notify_all()
        pcm = period.pcm()
        if self._far_end is not None:
            self._far_end.take(pcm, now_s)
        return pcm
