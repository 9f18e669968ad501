"""From the microphone's callback to frames: the device's thread on one side, ears on the other."""

from __future__ import annotations

import logging
import queue
import time

from parleyd.audio.devices.device import InputDevice, StreamInfo
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, PIPELINE_RATE_HZ, SILENT_FRAME, Frame
from parleyd.audio.resample import Resampler

log = logging.getLogger(__name__)

# Sound that waits for ears; more means that they are stuck, and old sound is worth less than new.
QUEUE_MS = 1000
# Nothing from the microphone for this long: silence is put in its place, so that the room's clock goes on.
STARVED_S = 0.2


class Capture:
    """Bounded at one second: then the oldest period is dropped, counted, and said once."""

    def __init__(self, device: InputDevice) -> None:
        self.device = device
        self._periods: queue.Queue[tuple[bytes, float]] = queue.Queue(maxsize=50)
        self._resampler: Resampler | None = None
        self._pending = bytearray()
        self._pending_start_s = 0.0
        self._next_frame_s: float | None = None
        self.dropped_periods = 0
        self.delivered = 0

    def start(self) -> StreamInfo:
        """Opens the device. Raises DeviceError."""
        info = self.device.open(self._deliver)
        self._resampler = Resampler(info.rate_hz, PIPELINE_RATE_HZ)
        periods = max(2, QUEUE_MS * info.rate_hz // 1000 // max(1, info.period_samples))
        self._periods.maxsize = periods
        return info

    def stop(self) -> None:
        self.device.close()

    def _deliver(self, pcm: bytes, start_s: float) -> None:
        """The device's thread: moves bytes, never waits."""
        self.delivered += 1
        while True:
            try:
                self._periods.put_nowait((pcm, start_s))
                return
            except queue.Full:
                self.dropped_periods += 1
                if self.dropped_periods == 1:
                    log.warning("ears do not keep up with the microphone; the oldest sound is dropped")
                try:
                    self._periods.get_nowait()
                except queue.Empty:
                    continue

    def frames(self) -> list[Frame]:
        """Waits for sound, at most STARVED_S; a dead microphone yields silence in real time."""
        try:
            pcm, start_s = self._periods.get(timeout=STARVED_S)
        except queue.Empty:
            return self._silence_until(time.monotonic())
        if self._resampler is None:
            return []
        if not self._pending:
            self._pending_start_s = start_s
        self._pending += self._resampler.process(pcm)
        frames: list[Frame] = []
        while len(self._pending) >= FRAME_BYTES:
            frames.append(Frame(bytes(self._pending[:FRAME_BYTES]), self._pending_start_s))
            del self._pending[:FRAME_BYTES]
            self._pending_start_s += FRAME_MS / 1000
        if frames:
            self._next_frame_s = frames[-1].start_s + FRAME_MS / 1000
        return frames

    def _silence_until(self, now_s: float) -> list[Frame]:
        if self._next_frame_s is None:
            return []
        frames: list[Frame] = []
        while self._next_frame_s + FRAME_MS / 1000 <= now_s:
            frames.append(Frame(SILENT_FRAME, self._next_frame_s))
            self._next_frame_s += FRAME_MS / 1000
        return frames

