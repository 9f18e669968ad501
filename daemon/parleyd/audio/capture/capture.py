"""From the microphone's callback to frames: the device's thread on one side, ears on the other."""

from __future__ import annotations

import logging
import queue
import time

from parleyd.audio.capture.input_gain import InputGain
from parleyd.audio.devices.device import InputDevice, StreamInfo
from parleyd.audio.pcm import (
    BYTES_PER_SAMPLE,
    FRAME_BYTES,
    FRAME_MS,
    PIPELINE_RATE_HZ,
    SILENT_FRAME,
    Frame,
)
from parleyd.audio.resample import Resampler
from parleyd.audio.sample_clock import SampleClock

log = logging.getLogger(__name__)

# Sound that waits for ears; more means that they are stuck, and old sound is worth less than new.
QUEUE_MS = 1000
# Nothing from the microphone for this long: silence is put in its place, so that the room's clock goes on.
STARVED_S = 0.2
# A period that comes so much later than its place in the count says: sound is missing before it. So much earlier: more
# has come than time has passed, as after a sound server stood still; it is sound of a time that is over.
HOLE_S = 0.2
_FRAME_S = FRAME_MS / 1000


class _Opening:
    """What came of one opening of the device: a new rate perhaps, and certainly a new count of samples."""

    def __init__(self) -> None:
        self._resampler: Resampler | None = None  # until the rate is known
        self._clock: SampleClock | None = None  # likewise

    @property
    def clock(self) -> SampleClock | None:
        return self._clock

    def opened(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._clock = SampleClock(rate_hz)
        self._taken = self._made = 0
        self._resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)

    def process(self, pcm: bytes, start_s: float) -> tuple[bytes, float]:
        """→ sound at the pipeline's rate, and when the last of it was over."""
        if self._resampler is None or self._clock is None:
            return b"", 0.0
        late_s = start_s - self._clock.time_of(self._taken) if self._taken else 0.0
        if late_s < -HOLE_S:
            return b"", 0.0
        if late_s > HOLE_S:
            self._clock = SampleClock(self._rate_hz)
        self._clock.stamp(self._taken, start_s)
        made = self._resampler.process(pcm)
        self._taken += len(pcm) // BYTES_PER_SAMPLE
        self._made += len(made) // BYTES_PER_SAMPLE
        held_s = self._taken / self._rate_hz - self._made / PIPELINE_RATE_HZ
        return made, self._clock.time_of(self._taken) - held_s


class Capture:
    """Bounded at one second: then the oldest period is dropped, counted, and said once.

    last_period_s, last_sound_s: monotonic time at which a period, and one that was not digital silence, last came.
    gain: applied here and nowhere else, behind the look for digital silence, which is the device's, and before
    everything that hears: echo canceller, gate, recordings, agent.
    """

    def __init__(self, device: InputDevice, gain: InputGain | None = None) -> None:
        self.device = device
        self.gain = InputGain() if gain is None else gain
        self._periods: queue.Queue[tuple[_Opening, bytes, float]] = queue.Queue(maxsize=50)
        self._opening: _Opening | None = None  # that of which `pending` is
        self._pending = bytearray()
        self._next_frame_s: float | None = None
        self._in_gap = False  # the last frames were silence in the place of sound
        self.dropped_periods = 0
        self.last_period_s = 0.0
        self.last_sound_s = 0.0

    def start(self) -> StreamInfo:
        """Opens the device; after stop(), again. Raises DeviceError."""
        opening = _Opening()
        info = self.device.open(lambda pcm, start_s: self._deliver(opening, pcm, start_s))
        opening.opened(info.rate_hz)
        periods = max(2, QUEUE_MS * info.rate_hz // 1000 // max(1, info.period_samples))
        self._periods.maxsize = periods
        return info

    def stop(self) -> None:
        self.device.close()

    @property
    def clock(self) -> SampleClock | None:
        """The device's, since it was opened; None before the first sound."""
        return None if self._opening is None else self._opening.clock

    def _deliver(self, opening: _Opening, pcm: bytes, start_s: float) -> None:
        """The device's thread: moves bytes, never waits."""
        self.last_period_s = time.monotonic()
        if pcm.count(0) != len(pcm):
            self.last_sound_s = self.last_period_s
        while True:
            try:
                self._periods.put_nowait((opening, pcm, start_s))
                return
            except queue.Full:
                self.dropped_periods += 1
                if self.dropped_periods == 1:
                    log.warning("this machine is too slow: sound of the microphone is dropped, the oldest first")
                try:
                    self._periods.get_nowait()
                except queue.Empty:
                    continue

    def frames(self) -> list[Frame]:
        """Waits for sound, at most STARVED_S; a dead microphone yields silence in real time.

        No moment is given twice, nor, unless ears are slower than real time, left out: sound that comes late for a time
        for which silence was given is dropped, and silence goes on up to the first sound.
        """
        try:
            opening, pcm, start_s = self._periods.get(timeout=STARVED_S)
        except queue.Empty:
            self._in_gap = True
            now_s = time.monotonic()
            if self._next_frame_s is not None:
                # Ears that are slower than real time would find a longer gap each time, and never be done with it.
                self._next_frame_s = max(self._next_frame_s, now_s - QUEUE_MS / 1000)
            return self._silence_until(now_s)
        if opening is not self._opening:
            self._opening = opening
            self._pending.clear()
        made, end_s = opening.process(pcm, start_s)
        if not made:
            return []
        self._pending += self.gain.apply(made)
        begin_s = end_s - len(self._pending) / BYTES_PER_SAMPLE / PIPELINE_RATE_HZ
        frames: list[Frame] = []
        while len(self._pending) >= FRAME_BYTES:
            if self._in_gap:
                frames += self._silence_until(begin_s)
            if not self._in_gap or self._next_frame_s is None or begin_s > self._next_frame_s - _FRAME_S / 2:
                frames.append(Frame(bytes(self._pending[:FRAME_BYTES]), begin_s))
                self._next_frame_s = begin_s + _FRAME_S
                self._in_gap = False
            del self._pending[:FRAME_BYTES]
            begin_s += _FRAME_S
        return frames

    def _silence_until(self, now_s: float) -> list[Frame]:
        if self._next_frame_s is None:
            return []
        frames: list[Frame] = []
        while self._next_frame_s + _FRAME_S <= now_s:
            frames.append(Frame(SILENT_FRAME, self._next_frame_s))
            self._next_frame_s += _FRAME_S
        return frames
