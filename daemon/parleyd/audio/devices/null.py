"""A microphone that delivers silence and a speaker that plays nothing, both in real time."""

from __future__ import annotations

import time

from parleyd.audio.devices.clock import RealTimeClock
from parleyd.audio.devices.device import Deliver, Fill, StreamInfo
from parleyd.audio.devices.safe_callbacks import SafeCallbacks
from parleyd.audio.pcm import FRAME_MS, FRAME_SAMPLES, PIPELINE_RATE_HZ, SILENT_FRAME

_OUTPUT_RATE_HZ = 48_000
_OUTPUT_PERIOD_SAMPLES = _OUTPUT_RATE_HZ // 100


class NullInput:
    """Digital silence, 16 kHz, 20 ms periods."""

    def __init__(self) -> None:
        self.name = "null"
        self.overflows = 0
        self._clock: RealTimeClock | None = None

    def open(self, deliver: Deliver) -> StreamInfo:
        safe = SafeCallbacks(self.name).deliver(deliver)
        period_s = FRAME_MS / 1000
        # A period is delivered when its time is over.
        self._clock = RealTimeClock(
            "null input",
            period_s,
            lambda at_s: safe(SILENT_FRAME, at_s - period_s),
            start_s=time.monotonic() + period_s,
        )
        return StreamInfo(PIPELINE_RATE_HZ, 1, FRAME_SAMPLES, period_s)

    def close(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.stop()


class NullOutput:
    """Discards the sound, 48 kHz, 10 ms periods."""

    def __init__(self) -> None:
        self.name = "null"
        self.underruns = 0
        self._clock: RealTimeClock | None = None

    def open(self, fill: Fill) -> StreamInfo:
        safe = SafeCallbacks(self.name).fill(fill)

        def swallow(_at_s: float) -> None:
            safe(_OUTPUT_PERIOD_SAMPLES)

        self._clock = RealTimeClock("null output", 0.010, swallow, start_s=time.monotonic())
        return StreamInfo(_OUTPUT_RATE_HZ, 1, _OUTPUT_PERIOD_SAMPLES, 0.0)

    def close(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.stop()
