"""Sound as bytes: formats, frames, µ-law, levels and fades. Pure.

All linear audio in this program is mono, signed 16-bit, little-endian.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Samples = npt.NDArray[np.int16]

PIPELINE_RATE_HZ = 16_000
FRAME_MS = 20
FRAME_SAMPLES = PIPELINE_RATE_HZ * FRAME_MS // 1000
BYTES_PER_SAMPLE = 2
FRAME_BYTES = FRAME_SAMPLES * BYTES_PER_SAMPLE
SILENT_FRAME = bytes(FRAME_BYTES)


class Frame(Struct, frozen=True):
    """20 ms of sound at the pipeline rate."""

    pcm: bytes
    """FRAME_BYTES bytes."""
    start_s: float
    """Monotonic time of the first sample."""
    is_silent: bool = False
    """Stands where the microphone is not heard: muted, lost, closed to an echo. Its sound is zeros. Zeros that the
    microphone itself delivers are not meant: they are what the room sounds like."""

    @classmethod
    def silence(cls, start_s: float) -> Frame:
        """In the place of a frame that is not heard."""
        return cls(SILENT_FRAME, start_s, is_silent=True)


class AudioFormat(Struct, frozen=True):
    """The format of a provider's sound."""

    encoding: Literal["pcm", "ulaw", "alaw"]
    """pcm: signed 16 bit, little-endian. ulaw and alaw: 8 bit of G.711. All mono."""
    rate_hz: int
    """The number of samples in a second."""

    @property
    def sample_bytes(self) -> int:
        return BYTES_PER_SAMPLE if self.encoding == "pcm" else 1


# ---------------------------------------------------------------- samples and bytes


def samples_of(pcm: bytes | memoryview) -> Samples:
    """The samples as a read-only view, without a copy. The length in bytes must be even."""
    return np.frombuffer(pcm, dtype="<i2")


def to_pcm(values: npt.NDArray[np.floating] | npt.NDArray[np.integer]) -> bytes:
    """The samples as PCM, rounded and limited to 16 bits."""
    if values.dtype.kind == "f":
        values = np.rint(values)
    pcm: bytes = values.clip(-32768, 32767).astype("<i2").tobytes()
    return pcm


def mix_down(pcm: bytes, channels: int) -> bytes:
    """Returns the mean of interleaved channels, as mono PCM at the same rate."""
    if channels == 1:
        return pcm
    return to_pcm(samples_of(pcm).reshape(-1, channels).mean(axis=1, dtype=np.float32))


def to_mono(pcm: bytes, channels: int, channel: int | None) -> bytes:
    """Returns one of the interleaved channels as mono PCM. channel: counted from 1; None: the mean of all."""
    if channel is None or channels == 1:
        return mix_down(pcm, channels)
    return samples_of(pcm).reshape(-1, channels)[:, channel - 1].tobytes()


def spread(pcm: bytes, channels: int) -> bytes:
    """Returns PCM with this number of interleaved channels, each of them the mono sound."""
    return pcm if channels == 1 else np.repeat(samples_of(pcm), channels).tobytes()


# ---------------------------------------------------------------- µ-law and A-law, ITU-T G.711


def _ulaw_to_linear() -> Samples:
    code = ~np.arange(256, dtype=np.uint8) & 0xFF
    exponent = (code >> 4 & 7).astype(np.int32)
    magnitude = (((code & 15).astype(np.int32) << 3) + 132 << exponent) - 132
    return np.where(code & 128, -magnitude, magnitude).astype(np.int16)


def _linear_to_ulaw() -> npt.NDArray[np.uint8]:
    """Indexed by the sample as an unsigned 16-bit number. Bias 132 and clipping at 32635, as G.711's reference code."""
    linear = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32)
    biased = np.minimum(np.abs(linear), 32635) + 132
    exponent = np.floor(np.log2(biased)).astype(np.int32) - 7
    code = np.where(linear < 0, 128, 0) | exponent << 4 | biased >> exponent + 3 & 15
    table: npt.NDArray[np.uint8] = (~code & 0xFF).astype(np.uint8)
    return table


def _alaw_to_linear() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = code >> 4 & 7
    magnitude = ((code & 15) << 4) + np.where(segment == 0, 8, 0x108) << np.maximum(segment - 1, 0)
    table: Samples = np.where(code & 128, magnitude, -magnitude).astype(np.int16)
    return table


def _linear_to_alaw() -> npt.NDArray[np.uint8]:
    """Indexed by the sample as an unsigned 16-bit number, as G.711's reference code."""
    linear = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32) >> 3
    magnitude = np.where(linear < 0, -linear - 1, linear)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    code = segment << 4 | magnitude >> np.maximum(segment, 1) & 15
    table: npt.NDArray[np.uint8] = (code ^ np.where(linear < 0, 0x55, 0xD5)).astype(np.uint8)
    return table


# Made when they are first needed: few agents speak G.711, and making the tables takes megabytes.


@functools.cache
def _to_linear(encoding: Literal["ulaw", "alaw"]) -> Samples:
    return _ulaw_to_linear() if encoding == "ulaw" else _alaw_to_linear()


@functools.cache
def _from_linear(encoding: Literal["ulaw", "alaw"]) -> npt.NDArray[np.uint8]:
    return _linear_to_ulaw() if encoding == "ulaw" else _linear_to_alaw()


def decode(fmt: AudioFormat, data: bytes) -> bytes:
    """Turns a provider's sound into PCM at the same rate. For `pcm` the length must be even: the caller keeps an odd
    byte for the next chunk."""
    if fmt.encoding == "pcm":
        return data
    return _to_linear(fmt.encoding)[np.frombuffer(data, dtype=np.uint8)].tobytes()


def encode(fmt: AudioFormat, pcm: bytes) -> bytes:
    """Turns PCM into a provider's sound at the same rate."""
    if fmt.encoding == "pcm":
        return pcm
    coded: bytes = _from_linear(fmt.encoding)[np.frombuffer(pcm, dtype="<u2")].tobytes()
    return coded


# ---------------------------------------------------------------- levels and fades

SILENCE_DBFS = -120.0
# A provider's sound with no sample above this, about -54 dBFS, counts as silence. Synthetic speech has pauses of
# digital silence, and far higher peaks.
AUDIBLE_PEAK = 64


def duration_s(fmt: AudioFormat, data: bytes) -> float:
    """The length of a provider's sound in seconds."""
    return len(data) / (fmt.sample_bytes * fmt.rate_hz)


def is_audible(fmt: AudioFormat, data: bytes) -> bool:
    """Whether there is anything to hear in a provider's sound; half a sample at its end is left out."""
    samples = samples_of(decode(fmt, data[: len(data) // fmt.sample_bytes * fmt.sample_bytes]))
    return len(samples) > 0 and max(int(samples.max()), -int(samples.min())) >= AUDIBLE_PEAK


def level_dbfs(pcm: bytes) -> float:
    """The root mean square level; 0 is a full-scale square wave; SILENCE_DBFS for digital silence and for no
    samples."""
    values = samples_of(pcm).astype(np.float32)
    power = float(np.dot(values, values)) / (len(values) or 1)
    return 10.0 * math.log10(power / 32768.0**2) if power > 0 else SILENCE_DBFS


def gain(pcm: bytes, factor_from: float, factor_to: float) -> bytes:
    """Applies a factor that moves linearly from the first to the second value; samples are limited and do not wrap."""
    if factor_from == factor_to == 1.0:
        return pcm
    values = samples_of(pcm)
    if factor_from == factor_to:
        return to_pcm(values * np.float32(factor_to))
    steps = np.linspace(factor_from, factor_to, len(values) + 1, dtype=np.float32)[1:]
    return to_pcm(values * steps)


def fade_out(pcm: bytes, samples: int, last: int = 0) -> bytes:
    """The beginning of pcm, `samples` long, fading to zero along half a cosine: the last sample is silent.

    If pcm is shorter, its last sample (or `last`, the one played before) is repeated, so that there is no click.
    """
    values = samples_of(pcm)[:samples].astype(np.float32)
    if len(values) < samples:
        held = values[-1] if len(values) else np.float32(last)
        values = np.concatenate([values, np.full(samples - len(values), held, np.float32)])
    curve = 0.5 + 0.5 * np.cos(np.linspace(0.0, np.pi, samples + 1, dtype=np.float32)[1:])
    return to_pcm(values * curve)


def median(values: Iterable[float]) -> float:
    """The median of at least one value. The module statistics has the same function, and takes 2 ms to load."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
