"""The last second and a half of what the speaker took, every sample under its number. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import BYTES_PER_SAMPLE, samples_of

Floats = npt.NDArray[np.float32]

# How much of the far end is kept: more than the largest lag, and more than the ears can be late.
KEPT_S = 1.5


class DelayLine:
    """Samples are numbered from the first that was ever appended. Those from `start` up to, not including, `end` are
    kept. Nothing is kept while all of it would be silent, as it is most of the day."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.start = 0
        """The number of the first kept sample."""
        self.silent_from = 0
        """The number of the sample from which on all that was appended is digital silence."""
        self._kept_samples = round(KEPT_S * rate_hz)
        # The kept samples are a stretch of this buffer. When there is no room behind them, they move to the front.
        self._buffer = np.zeros(round(2 * KEPT_S * rate_hz), np.float32)
        self._kept, self._kept_ends_at = self._buffer[:0], 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def end(self) -> int:
        """The number that the next sample will have."""
        return self.start + len(self._kept)

    def clear(self) -> None:
        """Forgets what is kept; the numbers go on."""
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
        """float32 (count,), full scale 1.0: the samples from number `begin` on, and zeros where none is kept. A view of
        the line: it is good until the next append()."""
        low = max(0, begin - self.start)
        high = min(len(self._kept), begin - self.start + count)
        if high - low == count:
            return self._kept[low:high]
        samples = np.zeros(count, np.float32)
        if low < high:
            offset = begin - self.start
            samples[low - offset : high - offset] = self._kept[low:high]
        return samples
