"""Makes frames from the periods of the microphone's callback: the device's thread on one side, ears on the other."""

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
    Frame,
)
from parleyd.audio.resample import Resampler
from parleyd.audio.sample_clock import SampleClock

log = logging.getLogger(__name__)

# The longest sound that waits for ears. If more waits, ears are stuck, and the oldest sound is dropped.
QUEUE_MS = 1000
# How long the microphone may deliver nothing before silence is inserted, so that the stream keeps real time.
STARVED_S = 0.2
# How far a period's time may differ from its place in the count of samples. If it is later, sound is missing before it.
# If it is earlier, more sound has arrived than time has passed, as after a sound server stood still, and this sound is
# too old.
HOLE_S = 0.2
_FRAME_S = FRAME_MS / 1000


class _Opening:
    """One opening of the device: it may have a new rate, and has a new count of samples."""

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
        """Returns the sound at the pipeline's rate, and the time of its end."""
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
    """A queue of at most one second: beyond that the oldest period is dropped, counted, and logged once.

    last_period_s, last_sound_s: monotonic time of the last period, and of the last one that was not digital silence.
    gain: applied here and nowhere else, after the detection of digital silence and before all parts that use the sound:
    echo canceller, gate, recordings, agent.
    """

    def __init__(self, device: InputDevice, gain: InputGain | None = None) -> None:
        self.device = device
        self.gain = InputGain() if gain is None else gain
        self._periods: queue.Queue[tuple[_Opening, bytes, float]] = queue.Queue(maxsize=50)
        self._opening: _Opening | None = None  # the opening to which `pending` belongs
        self._pending = bytearray()
        self._next_frame_s: float | None = None
        self._in_gap = False  # the last frames were inserted silence
        self.dropped_periods = 0
        self.last_period_s = 0.0
        self.last_sound_s = 0.0

    def start(self) -> StreamInfo:
        """Opens the device; may be called again after stop(). Raises DeviceError."""
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
        """Waits for sound, at most STARVED_S; a lost microphone yields silence in real time.

        No moment is returned twice, or left out unless ears are slower than real time: sound that arrives late, after
        silence was returned for its time, is dropped, and silence goes on up to the first new sound.
        """
        try:
            opening, pcm, start_s = self._periods.get(timeout=STARVED_S)
        except queue.Empty:
            self._in_gap = True
            now_s = time.monotonic()
            if self._next_frame_s is not None:
                # Ears that are slower than real time would find a longer gap each time, and never catch up.
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
            frames.append(Frame.silence(self._next_frame_s))
            self._next_frame_s += _FRAME_S
        return frames
