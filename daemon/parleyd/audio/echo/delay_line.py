"""Keeps the last second and a half of the sound that the speaker took, with a number for every sample. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import BYTES_PER_SAMPLE, samples_of

Floats = npt.NDArray[np.float32]

# The duration of the far end that is kept: more than the largest lag, and more than the ears can be late.
KEPT_S = 1.5


class DelayLine:
    """Samples are numbered from the first that was ever appended. The samples from `start` up to, not including, `end`
    are kept. If all of them would be silent, which is the case most of the day, nothing is kept."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._kept_samples = round(KEPT_S * rate_hz)
        # The kept samples are a part of this buffer. When there is no room behind them, they move to the front.
        self._buffer = np.zeros(round(2 * KEPT_S * rate_hz), np.float32)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Discards everything, in the same memory: the next sample has the number 0."""
        self.start = 0
        """The number of the first sample that is kept."""
        self.silent_from = 0
        """The number of the first sample of the digital silence at the end."""
        self._kept, self._kept_ends_at = self._buffer[:0], 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def end(self) -> int:
        """The number of the next sample."""
        return self.start + len(self._kept)

    def clear(self) -> None:
        """Discards the samples; the numbers go on."""
        self.start = self.end
        self._kept, self._kept_ends_at = self._buffer[:0], 0

    def append(self, periods: Sequence[bytes]) -> None:
        """periods: mono PCM at rate_hz, in order."""
        end = self.end
        for pcm in periods:
            end += len(pcm) // BYTES_PER_SAMPLE
            if pcm != bytes(len(pcm)):
                self.silent_from = end
        dropped = max(0, end - self.start - self._kept_samples)
        if self.silent_from <= self.start + dropped:
            self._kept, self._kept_ends_at = self._buffer[:0], 0
            self.start = end
            return
        samples = samples_of(b"".join(periods))
        kept, samples = self._kept[dropped:], samples[max(0, dropped - len(self._kept)) :]
        if self._kept_ends_at + len(samples) > len(self._buffer):
            self._buffer[: len(kept)] = kept
            self._kept_ends_at = len(kept)
        begin, self._kept_ends_at = self._kept_ends_at, self._kept_ends_at + len(samples)
        np.multiply(samples, np.float32(1 / 32768), out=self._buffer[begin : self._kept_ends_at])
        self._kept = self._buffer[begin - len(kept) : self._kept_ends_at]
        self.start += dropped
        assert self.end == end

    def read(self, begin: int, count: int) -> Floats:
        """Returns float32 (count,), full scale 1.0: the samples from number `begin` on, with zeros for samples that are
        not kept. The array may be a view of the line; it is valid until the next append()."""
        low = max(0, begin - self.start)
        high = min(len(self._kept), begin - self.start + count)
        if high - low == count:
            return self._kept[low:high]
        samples = np.zeros(count, np.float32)
        if low < high:
            offset = begin - self.start
            samples[low - offset : high - offset] = self._kept[low:high]
        return samples
