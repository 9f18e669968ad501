"""What a stretch of sound is: formats, frames, µ-law, levels and fades. Pure.

All linear audio in this program is mono, signed 16-bit, little-endian.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PIPELINE_RATE_HZ = 16_000
FRAME_MS = 20
FRAME_SAMPLES = PIPELINE_RATE_HZ * FRAME_MS // 1000
BYTES_PER_SAMPLE = 2
FRAME_BYTES = FRAME_SAMPLES * BYTES_PER_SAMPLE
SILENT_FRAME = bytes(FRAME_BYTES)


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms of sound at the pipeline rate.

    pcm: FRAME_BYTES bytes. start_s: monotonic time of the first sample.
    """

    pcm: bytes
    start_s: float


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How a provider writes sound on the wire."""

    encoding: Literal["pcm", "ulaw"]
    rate_hz: int
