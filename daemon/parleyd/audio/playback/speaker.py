"""The device that takes the mix: opened, cut, rested, lent to the part that reopens devices, and closed in the end.

An opening may take as long as a sound server hangs, and nobody waits for it that long. So at its end each opening asks
whether it is still wanted. Periods of the mix are given to the latest opening only: to no opening before the mix knows
its rate, and to none once the sound that it holds is not to be heard.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import Protocol

from parleyd.audio.devices.device import DeviceError, OutputDevice, StreamInfo
from parleyd.audio.pcm import BYTES_PER_SAMPLE
from parleyd.audio.playback.gain import AS_IS, scaled
from parleyd.audio.playback.mix import Mix

# A caller that wants the device waits this long for a cut to reopen it. A reopening that takes longer hangs.
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
    """changed: the mix's lock, held for microseconds only; notified when there may be work, or something to tell.
    lead_in_ms: the silence that the device takes after each opening, before any sound of the mix.

    rests: the device is closed because nothing sounds. holes: the periods that there was no memory to make."""

    def __init__(
        self,
        device: OutputDevice,
        mix: Mix,
        changed: threading.Condition,
        far_end: FarEnd | None = None,
        *,
        lead_in_ms: int = 0,
    ) -> None:
        self.device = device
        self.rests = False
        self.holes = 0
        self._mix = mix
        self._changed = changed
        self._far_end = far_end
        self._lead_in_s = lead_in_ms / 1000
        self._lead_in_samples = 0  # of the present opening, still to be taken
        self._closed = False  # for good
        self._is_reopening = False
        self._released = False  # another part has closed the device and will open it again
        self._opening: object | None = None  # the opening that takes its periods from the mix

    def open(self) -> StreamInfo:
        """Raises DeviceError, also if nobody wants the device any more when it has opened at last."""
        return self._open(after_release=True)

    def close(self) -> None:
        """For good. No callback runs after the return, unless an opening hangs: that one is closed when it is over."""
        with self._changed:
            self._closed = True
        self.device.close()

    def release(self) -> None:
        """Closes the device until regain(); the mix keeps its sound. Waits for a reopening, two seconds at most."""
        with self._changed:
            self._released = True
            self._changed.wait_for(lambda: not self._is_reopening, REOPENING_S)
            self._opening = None
            self._end_rest()
            self._mix.device_closed()
        self.device.close()

    def regain(self) -> None:
        """Opens the device again; the sound goes on where it was. Raises DeviceError."""
        with self._changed:
            if self._is_reopening:
                # That opening hangs since before the release, and is closed when it returns.
                raise DeviceError(f"{self.device.name}: it is still being opened", "try again a little later")
        self._open(after_release=True)
        with self._changed:
            self._released = False

    def cut(self) -> None:
        """Under the lock: the device takes nothing more until reopen(), because its sound is not to be heard."""
        self._opening = None

    @property
    def may_rest(self) -> bool:
        """Under the lock: it is open, as far as this object knows, and nobody else opens or closes it."""
        return not (self.rests or self._released or self._closed or self._is_reopening)

    def rest(self) -> None:
        """Closes the device until reopen(); does nothing while it is released or closed."""
        with self._changed:
            if not self.may_rest:
                return
            self._is_reopening = self.rests = self._mix.device_rests = True
            self._opening = None
            self._mix.device_closed()
        try:
            self.device.close()
        finally:
            self._reopened()

    def reopen(self) -> None:
        """Throws away what the device holds, or ends its rest. Raises DeviceError; does nothing while it is
        released."""
        with self._changed:
            if self._released:
                return
            self._is_reopening = True
            was_resting = self.rests
            self._end_rest()
        try:
            if not was_resting:
                self.device.close()
            self._open(after_release=False)
        except _UnwantedError:
            # The part that released or closed it has waited for this, but not for ever.
            pass
        finally:
            self._reopened()

    def _end_rest(self) -> None:
        if self.rests:
            # The opening counts as a sign of life: periods come when it is over.
            self._mix.last_period_s = time.monotonic()
        self.rests = self._mix.device_rests = False

    def _reopened(self) -> None:
        with self._changed:
            self._is_reopening = False
            self._changed.notify_all()

    def _open(self, *, after_release: bool) -> StreamInfo:
        opening = object()
        info = self.device.open(functools.partial(self._fill, opening))
        earcons = self._mix.earcons.resampled(info.rate_hz)
        if self._far_end is not None:
            self._far_end.start(info.rate_hz, info.latency_s)
        with self._changed:
            wanted = not self._closed and (after_release or not self._released)
            if wanted:
                self._mix.device_opened(info.rate_hz, info.period_samples, info.latency_s, earcons)
                self._lead_in_samples = round(self._lead_in_s * info.rate_hz)
                self._opening = opening
                self._changed.notify_all()
        if not wanted:
            self.device.close()
            raise _UnwantedError(f"{self.device.name}: it was opened too late", "see what keeps the sound server busy")
        return info

    def _fill(self, opening: object, samples: int) -> bytes:
        """The device's thread: the next period, signed 16 bit, little-endian, mono. The lock is taken once."""
        now_s = time.monotonic()
        with self._changed:
            if opening is not self._opening or self._lead_in_samples > 0:
                self._mix.last_period_s = now_s
                if opening is self._opening:
                    self._lead_in_samples -= samples
                return bytes(samples * BYTES_PER_SAMPLE)
            alone = self._mix.voice_alone(samples, now_s)
            if alone is None:
                waits = self._mix.waits
                period = self._mix.period(samples, now_s)
                if waits and (self._mix.has_work or self._mix.next_told_s is not None):
                    self._changed.notify_all()
        try:
            if alone is None:
                pcm = period.pcm()
            else:
                pcm, volume = alone
                if volume is not AS_IS:
                    pcm = scaled(pcm, volume)
        except MemoryError:
            # The device plays silence instead (SafeCallbacks), and the echo canceller learns of no sound.
            self.holes += 1
            if self._far_end is not None:
                self._far_end.take(bytes(samples * BYTES_PER_SAMPLE), now_s)
            raise
        if self._far_end is not None:
            self._far_end.take(pcm, now_s)
        return pcm
