"""Joins the sounds of two streams of one microphone, so that no sample is missing and none comes twice. Pure.

The times of two streams differ by some milliseconds: their periods arrive with different delays. But both streams have
the same sound, even in a quiet room, where it is the microphone's own noise. So the place is found by correlation, near
the place by the clock. Sound is PCM at the pipeline's rate.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from parleyd.audio.pcm import BYTES_PER_SAMPLE, PIPELINE_RATE_HZ, samples_of

# The length of the sound that is compared, and how far from its place by the clock it is looked for.
COMPARED_SAMPLES = PIPELINE_RATE_HZ * 40 // 1000
SEARCHED_SAMPLES = PIPELINE_RATE_HZ * 40 // 1000
# Two resamplings of white noise, half a sample apart, have a correlation of 0.64; unrelated noise of this length stays
# below 0.2.
ALIKE = 0.4
# The first samples of a stream may be those of a filter that settles.
SETTLING_SAMPLES = PIPELINE_RATE_HZ * 10 // 1000
# After this much sound of the newer stream the place by the clock is taken: the older one has ended, or both deliver
# zeros.
PATIENCE_SAMPLES = PIPELINE_RATE_HZ * 600 // 1000


class Joined(Struct, frozen=True):
    """The place at which the newer stream continues the older one."""

    pcm: bytes
    """Signed 16 bit, little-endian, mono, at the pipeline's rate: the newer stream's sound that continues the older
    one."""
    end_s: float
    """Monotonic time of the end of that sound."""
    skip_samples: int
    """The number of samples, at the pipeline's rate, of the newer stream's next sound that the older stream has
    delivered already."""


class Join:
    """older() and newer() for all sound since the newer stream began to deliver; result() after each."""

    def __init__(self) -> None:
        self._older, self._newer = bytearray(), bytearray()
        self._older_end_s: float | None = None
        self._newer_end_s = 0.0

    def older(self, pcm: bytes, end_s: float) -> None:
        self._older += pcm
        self._older_end_s = end_s

    def newer(self, pcm: bytes, end_s: float) -> None:
        self._newer += pcm
        self._newer_end_s = end_s

    def result(self) -> Joined | None:
        """The continuation, once its place is known."""
        newer_samples = len(self._newer) // BYTES_PER_SAMPLE
        if self._older_end_s is None:
            # The older stream has ended before the newer one began: all of the newer one is new.
            return self._joined(-newer_samples) if newer_samples >= PATIENCE_SAMPLES else None
        # Positive: the older stream has more.
        ahead = round((self._older_end_s - self._newer_end_s) * PIPELINE_RATE_HZ)
        off = self._measured(ahead)
        if off is not None:
            return self._joined(ahead + off)
        return self._joined(ahead) if newer_samples >= PATIENCE_SAMPLES else None

    def _measured(self, ahead: int) -> int | None:
        """By how many samples the older stream is further ahead than by the clock; None: not known yet."""
        older, newer = (samples_of(bytes(one)).astype(np.float32) for one in (self._older, self._newer))
        # The end of the compared part in the newer sound: as late as possible, with room for the search behind it.
        end = len(newer) - max(0, SEARCHED_SAMPLES - ahead)
        begin = end - COMPARED_SAMPLES
        # Where that is in the older sound, by the clock.
        place = len(older) - ahead - (len(newer) - begin)
        first = place - SEARCHED_SAMPLES
        if begin < SETTLING_SAMPLES or first < 0:
            return None
        part = newer[begin:end]
        searched = older[first : first + COMPARED_SAMPLES + 2 * SEARCHED_SAMPLES]
        # Without an offset or a hum, which are alike at many places.
        part, searched = part[2:] - part[:-2], searched[2:] - searched[:-2]
        both = np.correlate(searched, part, "valid")
        sums = np.concatenate([[0.0], np.cumsum(searched.astype(np.float64) ** 2)])
        power = (sums[len(part) :] - sums[: -len(part)]) * float(np.dot(part, part))
        alike = both / np.sqrt(np.maximum(power, 1.0))
        best = int(np.argmax(alike))
        return SEARCHED_SAMPLES - best if alike[best] >= ALIKE else None

    def _joined(self, ahead: int) -> Joined:
        have = len(self._newer) // BYTES_PER_SAMPLE
        left = max(0, min(have, -ahead))
        pcm = bytes(self._newer[(have - left) * BYTES_PER_SAMPLE :])
        return Joined(pcm, self._newer_end_s, max(0, ahead))
