"""A stream of sound at one rate → the same sound at another. Pure.

libsamplerate, not soxr, which is the usual choice: soxr's filtered presets hold back 12 to 40 ms and give it out in
bursts (measured in blocks of 10 ms), more than the whole way of a frame may take. This holds back 3 ms at 16 kHz.
"""

from __future__ import annotations

import numpy as np
import samplerate

from parleyd.audio.pcm import samples_of, to_pcm

# SNR 121 dB, 90 % of the bandwidth (libsamplerate's documentation).
_CONVERTER = "sinc_medium"
# What the converter holds back, in samples at the lower of the two rates; measured, and rounded up.
_HELD_SAMPLES = 48


class Resampler:
    """Keeps its state from block to block: blocks of any size, no edges.

    Holds back up to `delay_s` of sound, which `flush` gives out; the sound itself is not shifted. n samples in, then a
    flush, are ceil(n * to / from) samples out. With equal rates everything passes untouched.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz = from_hz
        self.to_hz = to_hz
        self.delay_s = 0.0 if from_hz == to_hz else _HELD_SAMPLES / min(from_hz, to_hz)
        self._start()

    def _start(self) -> None:
        self._converter = samplerate.Resampler(_CONVERTER, channels=1)
        self._taken = 0
        self._given = 0

    def process(self, pcm: bytes) -> bytes:
        """pcm: whole samples at the one rate → as much as is ready at the other."""
        if self.from_hz == self.to_hz:
            return pcm
        samples = samples_of(pcm).astype(np.float32)
        self._taken += len(samples)
        out = self._converter.process(samples, self.to_hz / self.from_hz)
        self._given += len(out)
        return to_pcm(out)

    def flush(self) -> bytes:
        """What is still held back; begins anew afterwards."""
        if self.from_hz == self.to_hz:
            return b""
        owed = max(0, -(-self._taken * self.to_hz // self.from_hz) - self._given)
        silence = np.zeros(2 * round(self.delay_s * self.from_hz), np.float32)
        tail = self._converter.process(silence, self.to_hz / self.from_hz)
        self._start()
        return to_pcm(tail[:owed])
