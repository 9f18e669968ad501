"""The pipeline's sound, in the format that the session wants. State lives as long as the session."""

from __future__ import annotations

from parleyd.audio import pcm
from parleyd.audio.pcm import PIPELINE_RATE_HZ, AudioFormat
from parleyd.audio.resample import Resampler


class WireEncoder:
    def __init__(self, wire_format: AudioFormat) -> None:
        self._format = wire_format
        self._resampler = Resampler(PIPELINE_RATE_HZ, wire_format.rate_hz)

    def encode(self, sound: bytes) -> bytes:
        """sound: PCM at the pipeline rate, any length."""
        return pcm.encode(self._format, self._resampler.process(sound))
