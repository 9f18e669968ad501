"""What the tests of playback share: a tone, a speaker whose time stands still, and a playback that is listened to."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from parleyd.audio.devices.device import DeviceError, Fill, OutputDevice, StreamInfo
from parleyd.audio.playback.playback import Playback
from parleyd.audio.playback.playhead import HeardPart


def tone(duration_s: float, *, rate_hz: int = 24_000, hz: float = 500.0, peak: int = 10_000) -> bytes:
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    pcm: bytes = np.rint(np.sin(2 * math.pi * hz * t) * peak).astype("<i2").tobytes()
    return pcm


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.int32)


class SteppingOutput:
    """A speaker whose time stands still until somebody pulls. 48 kHz, 10 ms periods."""

    name = "stepping"
    underruns = 0

    def __init__(self, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self.fill: Fill | None = None
        self.opened = 0
        self.open_again = threading.Event()
        self.fails_at_open: int | None = None

    def open(self, fill: Fill) -> StreamInfo:
        self.opened += 1
        if self.opened == self.fails_at_open:
            raise DeviceError("gone", "plug it in")
        self.fill = fill
        if self.opened > 1:
            self.open_again.set()
        return StreamInfo(48_000, 1, 480, self.latency_s)

    def close(self) -> None:
        self.fill = None


class Room:
    """A Playback with everything that it tells."""

    def __init__(self, device: OutputDevice, **options: Any) -> None:
        self.told: list[tuple[str, object]] = []
        self.changed = threading.Condition()
        self.device = device
        chosen: dict[str, Any] = {"volume": 1.0, "duck_db": 12.0, "cut": "fade"} | options
        self.playback = Playback(
            device,
            on_started=lambda answer, _at_s: self.tell("started", answer),
            on_finished=lambda heard: self.tell("finished", heard),
            on_failure=lambda error: self.tell("failure", error),
            **chosen,
        )

    def tell(self, what: str, it: object) -> None:
        with self.changed:
            self.told.append((what, it))
            self.changed.notify_all()

    def wait_told(self, predicate: Callable[[list[tuple[str, object]]], bool], timeout_s: float = 60.0) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: predicate(self.told), timeout_s)

    @property
    def finished(self) -> list[HeardPart]:
        with self.changed:
            return [it for what, it in self.told if isinstance(it, HeardPart)]

    def wait_silent(self, timeout_s: float) -> bool:
        """Until all that came of answers has been heard or cleared; False when that takes longer."""
        end_s, pause = time.monotonic() + timeout_s, threading.Event()
        while self.playback.audible(time.monotonic()):
            if time.monotonic() >= end_s:
                return False
            pause.wait(0.005)
        return True

    def settle(self) -> None:
        """Until the thread has made all it may make before the next pull."""
        playback, mix, speaker = self.playback, self.playback._mix, self.playback._speaker

        def settled() -> bool:
            is_making = mix._voice._job is not None or mix.announcement.pipeline._job is not None
            return not (is_making or mix.has_work or playback._cut_wanted or speaker._is_reopening)

        with playback._changed:
            assert playback._changed.wait_for(settled, 60), "playback is stuck"

    def pull(self, periods: int = 1, size: int = 480) -> np.ndarray:
        """What the speaker plays."""
        assert isinstance(self.device, SteppingOutput)
        fill = self.device.fill
        assert fill is not None
        played = []
        for _ in range(periods):
            self.settle()
            played.append(fill(size))
        return samples(b"".join(played))
