"""The interface of every microphone and every speaker.

Devices use mono signed 16-bit little-endian PCM at a rate of their own, and convert the hardware's channels themselves.
Callbacks run on the device's thread: they must not block and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from msgspec import Struct

from parleyd.core.errors import UserError

# deliver(pcm, start_s): one period of any length; start_s is the monotonic time of its first sample.
Deliver = Callable[[bytes, float], None]
# fill(samples): exactly that many samples (2 bytes each) to be played next.
Fill = Callable[[int], bytes]


class DeviceError(UserError):
    """A device that cannot be used. The text is one line for the user; `hint` says what to do about it."""

    hint: str


def too_few_channels(what: str, there_are: int, wanted: int) -> DeviceError:
    """The error for a microphone without the requested channel."""
    plural = "s" if there_are != 1 else ""
    return DeviceError(
        f"{what} has {there_are} channel{plural}, and audio.input.channel asks for number {wanted}",
        f"set audio.input.channel to a number up to {there_are}, or to null for the mean of all",
    )


class StreamInfo(Struct, frozen=True):
    """The properties of an open device."""

    rate_hz: int
    """The rate of the device, which may differ from the pipeline's."""
    channels: int
    """The number of channels that are open at the device."""
    period_samples: int
    """The length of a period, in samples of one channel at rate_hz."""
    latency_s: float
    """The latency in seconds, as reported by the device."""


class InputDevice(Protocol):
    """A microphone."""

    name: str
    """The name that is shown to people."""
    overflows: int
    """The number of times that the hardware has lost sound so far."""

    def open(self, deliver: Deliver) -> StreamInfo:
        """Start delivering. Raises DeviceError. May be opened again after close()."""

    def close(self) -> None:
        """Stop delivering; no callback runs after the return. May be called again."""


@runtime_checkable
class OpensBeside(Protocol):
    """A microphone that may be able to deliver two streams at the same time."""

    def open_beside(self, deliver: Deliver, period_ms: int | None) -> StreamInfo:
        """Start a second stream; period_ms: of its periods, None: as open() does. The first one goes on until
        close_older(); close() ends both. Raises DeviceError, also for hardware that has only one stream."""

    def close_older(self) -> None:
        """End the first of two streams; no callback of it runs after the return."""


class OutputDevice(Protocol):
    """A speaker."""

    name: str
    """The name that is shown to people."""
    underruns: int
    """The number of times that the hardware had no sound to play so far."""

    def open(self, fill: Fill) -> StreamInfo:
        """Start asking for sound. Raises DeviceError. May be opened again after close()."""

    def close(self) -> None:
        """Cut the sound at once, without playing the rest in the device. May be called again."""
