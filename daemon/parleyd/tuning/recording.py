"""Some seconds from the microphone, and the test sound through speaker and microphone together."""

from __future__ import annotations

import threading
import time

import numpy as np

from parleyd.audio import pcm as sound
from parleyd.audio.devices.device import DeviceError, InputDevice, OutputDevice
from parleyd.audio.pcm import BYTES_PER_SAMPLE, PIPELINE_RATE_HZ, samples_of
from parleyd.audio.resample import Resampler
from parleyd.tuning import echo

# A device that works begins within this time.
STARTING_S = 5.0


class _Recorder:
    """Takes what the microphone delivers until there is enough of it."""

    def __init__(self, device: InputDevice) -> None:
        self._device = device
        self._pieces: list[bytes] = []
        self._changed = threading.Condition()
        self._bytes = 0
        self.began_s: float | None = None

    def deliver(self, pcm: bytes, start_s: float) -> None:
        with self._changed:
            if self.began_s is None:
                self.began_s = start_s
            self._pieces.append(pcm)
            self._bytes += len(pcm)
            self._changed.notify_all()

    def wait(self, size_bytes: int, timeout_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._bytes >= size_bytes, timeout_s):
                raise DeviceError(
                    f"the microphone {self._device.name!r} delivers no sound, or stopped doing so",
                    "see that no other program holds it, or choose another with audio.input.device",
                )

    def sound(self) -> bytes:
        with self._changed:
            return b"".join(self._pieces)


def record(device: InputDevice, seconds: float) -> tuple[bytes, int]:
    """Mono PCM at the device's rate. Raises DeviceError."""
    recorder = _Recorder(device)
    info = device.open(recorder.deliver)
    try:
        size_bytes = round(seconds * info.rate_hz) * BYTES_PER_SAMPLE
        recorder.wait(size_bytes, seconds + STARTING_S)
    finally:
        device.close()
    return recorder.sound()[:size_bytes], info.rate_hz


class _Player:
    """Silence until begin(), then the sound, then silence."""

    def __init__(self) -> None:
        self._sound = b""
        self._at: int | None = None
        self.began_s: float | None = None
        self.ended = threading.Event()

    def begin(self, pcm: bytes) -> None:
        self._sound, self._at = pcm, 0

    def fill(self, samples: int) -> bytes:
        size_bytes = samples * BYTES_PER_SAMPLE
        if self._at is None:
            return bytes(size_bytes)
        if self.began_s is None:
            self.began_s = time.monotonic()
        piece = self._sound[self._at : self._at + size_bytes]
        self._at += len(piece)
        if len(piece) < size_bytes:
            self.ended.set()
        return piece + bytes(size_bytes - len(piece))


def play_and_record(speaker: OutputDevice, microphone: InputDevice, *, volume: float) -> echo.EchoPath:
    """Plays the test sound at the volume at which the agent speaks. Raises DeviceError."""
    player, recorder = _Player(), _Recorder(microphone)
    heard = microphone.open(recorder.deliver)
    try:
        recorder.wait(1, STARTING_S)
        played = speaker.open(player.fill)
        try:
            test = sound.gain(echo.sweep(played.rate_hz).tobytes(), volume, volume)
            player.begin(test)
            test_s = len(test) / BYTES_PER_SAMPLE / played.rate_hz
            if not player.ended.wait(test_s + STARTING_S) or player.began_s is None:
                raise DeviceError(
                    f"the speaker {speaker.name!r} takes no sound, or stopped doing so",
                    "see that no other program holds it, or choose another with audio.output.device",
                )
        finally:
            speaker.close()
    finally:
        microphone.close()
    assert recorder.began_s is not None
    return echo.EchoPath(
        far=_at_pipeline_rate(test, played.rate_hz),
        near=_at_pipeline_rate(recorder.sound(), heard.rate_hz),
        near_later_s=recorder.began_s - player.began_s,
    )


def _at_pipeline_rate(pcm: bytes, rate_hz: int) -> sound.Samples:
    resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)
    return np.array(samples_of(resampler.process(pcm) + resampler.flush()))
