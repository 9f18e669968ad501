"""A microphone at which an actor speaks prepared lines on cue."""

from __future__ import annotations

import random
import threading
import time
from collections import deque

import numpy as np

from parleyd.audio.devices.clock import RealTimeClock
from parleyd.audio.devices.device import Deliver, StreamInfo
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, PIPELINE_RATE_HZ

# The peak of the room's noise, because no room is digitally silent.
ROOM_PEAK = 12


class ActorMicrophone:
    """An InputDevice: 16 kHz, 20 ms periods in real time, a quiet room between the lines. Keeps its sound."""

    def __init__(self) -> None:
        self.name = "an actor"
        self.overflows = 0
        self.began_s = 0.0
        self.given: list[bytes] = []
        self._lock = threading.Lock()
        self._script: deque[bytes | None] = deque()  # None: quiet
        self._clock: RealTimeClock | None = None
        noise = np.random.default_rng(7).integers(-ROOM_PEAK, ROOM_PEAK + 1, (50, FRAME_SAMPLES))
        self._room = [row.astype("<i2").tobytes() for row in noise]

    def say(self, line: bytes, *, after_ms: int) -> None:
        """Speaks a line (PCM at the pipeline rate) after this time of silence; lines are spoken in order."""
        line += bytes(-len(line) % FRAME_BYTES)
        periods: list[bytes | None] = [None] * (after_ms // FRAME_MS)
        periods += [line[i : i + FRAME_BYTES] for i in range(0, len(line), FRAME_BYTES)]
        with self._lock:
            self._script.extend(periods)

    def in_the_room(self, period: bytes, start_s: float) -> bytes:
        """The other sound in the room; start_s: the monotonic time of the period's first sample."""
        return period

    def open(self, deliver: Deliver) -> StreamInfo:
        period_s = FRAME_MS / 1000
        self.began_s = time.monotonic()

        def speak(at_s: float) -> None:
            with self._lock:
                spoken = self._script.popleft() if self._script else None
            period = self.in_the_room(random.choice(self._room) if spoken is None else spoken, at_s - period_s)
            self.given.append(period)
            deliver(period, at_s - period_s)

        self._clock = RealTimeClock("actor", period_s, speak, start_s=self.began_s + period_s)
        return StreamInfo(PIPELINE_RATE_HZ, 1, FRAME_SAMPLES, period_s)

    def close(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.stop()
