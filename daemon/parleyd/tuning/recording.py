"""Records from the microphone, and plays the test sound while recording."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np

from parleyd.audio import pcm as sound
from parleyd.audio.capture.input_gain import InputGain
from parleyd.audio.devices.device import DeviceError, InputDevice, OutputDevice
from parleyd.audio.devices.names import microphone_of
from parleyd.audio.pcm import BYTES_PER_SAMPLE, PIPELINE_RATE_HZ, samples_of
from parleyd.audio.resample import Resampler
from parleyd.config.schema import AudioInput
from parleyd.tuning import echo

# A working device delivers sound within this time.
STARTING_S = 5.0
_LOOK_S = 0.1
# How long one channel is recorded alone, if the mean of all channels was silence.
_ALONE_S = 1.0
_TAIL_S = 0.1


class _Recorder:
    """Collects the microphone's sound, with the daemon's gain, until there is enough."""

    def __init__(self, device: InputDevice, gain_db: float) -> None:
        self._device = device
        self._gain = InputGain(gain_db)
        self._pieces: list[bytes] = []
        self._changed = threading.Condition()
        self._bytes = 0
        self.began_s: float | None = None

    def deliver(self, pcm: bytes, start_s: float) -> None:
        with self._changed:
            if self.began_s is None:
                self.began_s = start_s
            self._pieces.append(self._gain.apply(pcm))
            self._bytes += len(pcm)
            self._changed.notify_all()

    def wait(self, size_bytes: int, timeout_s: float, look: Callable[[], None] = lambda: None) -> None:
        """look: called repeatedly on this thread."""
        until_s = time.monotonic() + timeout_s
        while True:
            with self._changed:
                is_enough = self._changed.wait_for(lambda: self._bytes >= size_bytes, _LOOK_S)
            look()
            if is_enough:
                return
            if time.monotonic() >= until_s:
                raise DeviceError(
                    f"the microphone {self._device.name!r} delivers no sound, or stopped doing so",
                    "see that no other program holds it, or choose another with audio.input.device",
                )

    def sound(self) -> bytes:
        return self.since(0)[0]

    def since(self, piece: int) -> tuple[bytes, int]:
        """The sound from that piece on, and the number of the next piece."""
        with self._changed:
            return b"".join(self._pieces[piece:]), len(self._pieces)


class Listener:
    """Is told about the progress of record(). may_end_early: Ctrl-C ends the recording and is no interruption."""

    may_end_early = True

    def begins(self, rate_hz: int) -> None:
        """The microphone is open, with this rate."""

    def heard(self, pcm: bytes) -> None:
        """The sound since the last call, about ten times a second."""


def record(device: InputDevice, seconds: float, gain_db: float, listener: Listener | None = None) -> tuple[bytes, int]:
    """Records mono PCM at the device's rate, with the daemon's gain. With a listener that allows it, Ctrl-C ends the
    recording early, if there is some sound. Raises DeviceError."""
    recorder = _Recorder(device, gain_db)
    info = device.open(recorder.deliver)
    told = 0

    def look() -> None:
        nonlocal told
        pcm, told = recorder.since(told)
        if listener is not None and pcm:
            listener.heard(pcm)

    try:
        size_bytes = round(seconds * info.rate_hz) * BYTES_PER_SAMPLE
        if listener is not None:
            listener.begins(info.rate_hz)
        ends_early = listener is not None and listener.may_end_early
        with contextlib.suppress(KeyboardInterrupt) if ends_early else contextlib.nullcontext():
            recorder.wait(size_bytes, seconds + STARTING_S, look)
    finally:
        device.close()
    heard = recorder.sound()[:size_bytes]
    if not heard:
        # Interrupted before there was any sound.
        raise KeyboardInterrupt
    return heard, info.rate_hz


def channels_cancel(section: AudioInput) -> bool:
    """If the mean of all channels was silence: whether the first one alone is not silent. False if that cannot be
    tried."""
    if section.channel is not None:
        return False
    try:
        pcm, _ = record(microphone_of(msgspec.structs.replace(section, channel=1)), _ALONE_S, 0.0)
    except DeviceError:
        return False
    return any(pcm)


class _Player:
    """Plays silence until begin(), then the sound, then silence."""

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

    def await_end(self, name: str, seconds: float) -> float:
        """Waits until the sound of that length was taken. Returns when it began. Raises DeviceError."""
        if not self.ended.wait(seconds + STARTING_S) or self.began_s is None:
            raise DeviceError(
                f"the speaker {name!r} takes no sound, or stopped doing so",
                "see that no other program holds it, or choose another with audio.output.device",
            )
        return self.began_s


def play_and_record(speaker: OutputDevice, microphone: InputDevice, *, volume: float, gain_db: float) -> echo.EchoPath:
    """Plays the test sound at the agent's volume, and records it with the daemon's gain. Raises DeviceError."""
    player, recorder = _Player(), _Recorder(microphone, gain_db)
    heard = microphone.open(recorder.deliver)
    try:
        recorder.wait(1, STARTING_S)
        played = speaker.open(player.fill)
        try:
            test = sound.gain(echo.sweep(played.rate_hz).tobytes(), volume, volume)
            player.begin(test)
            began_s = player.await_end(speaker.name, len(test) / BYTES_PER_SAMPLE / played.rate_hz)
        finally:
            speaker.close()
    finally:
        microphone.close()
    assert recorder.began_s is not None
    return echo.EchoPath(
        far=_at_pipeline_rate(test, played.rate_hz),
        near=_at_pipeline_rate(recorder.sound(), heard.rate_hz),
        near_later_s=recorder.began_s - began_s,
    )


def play(speaker: OutputDevice, pcm: bytes, rate_hz: int, volume: float) -> None:
    """Plays mono PCM to its end. Raises DeviceError."""
    player = _Player()
    played = speaker.open(player.fill)
    try:
        resampler = Resampler(rate_hz, played.rate_hz)
        at_rate = resampler.process(pcm) + resampler.flush()
        # The device still holds some sound when it has taken the last sample.
        tail = bytes(BYTES_PER_SAMPLE * round((played.latency_s + _TAIL_S) * played.rate_hz))
        whole = sound.gain(at_rate, volume, volume) + tail
        player.begin(whole)
        player.await_end(speaker.name, len(whole) / BYTES_PER_SAMPLE / played.rate_hz)
    finally:
        speaker.close()


def _at_pipeline_rate(pcm: bytes, rate_hz: int) -> sound.Samples:
    resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)
    return np.array(samples_of(resampler.process(pcm) + resampler.flush()))
