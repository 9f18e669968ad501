"""Changes the rate of a stream of sound. Pure.

It uses libsamplerate instead of soxr, the usual choice: soxr's filtered presets delay the sound by 12 to 40 ms and
return it in bursts (measured in blocks of 10 ms), longer than the whole pipeline may take. libsamplerate delays it by 3
ms at 16 kHz.

If one rate is a small multiple of the other, as between 48 kHz devices and the pipeline, the same filter is one product
of matrices, at a tenth of libsamplerate's cost, which was two thirds of the ears' processor time
(benchmarks/ears_cost.py).
"""

from __future__ import annotations

import math
from functools import cache, partial
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import BYTES_PER_SAMPLE, samples_of, to_pcm

# Loaded with the first rate of no simple ratio, because most devices and agents have none: a megabyte. That it is there
# is known at the start.
if find_spec("samplerate") is None:
    raise ModuleNotFoundError("No module named 'samplerate'", name="samplerate")

Floats = npt.NDArray[np.float32]

# SNR 121 dB, 90 % of the bandwidth (libsamplerate's documentation).
_CONVERTER = "sinc_medium"
# The delay of both converters, in samples at the lower rate: libsamplerate's delay is measured and rounded up; the
# matrix's delay is half its filter.
_HELD_SAMPLES = 48
# The largest ratio for the matrix; beyond it, the filter is so long that the matrix is not faster.
_MOST_TIMES = 6
# The matrix's filter: Kaiser's window with 100 dB, -6 dB at this share of the lower rate's half, so that nothing folds.
_KAISER_BETA = 10.0
_CUTOFF = 0.94
# The number of cycles in one row of the product: longer rows need more arithmetic, shorter ones more copying.
_ROW_CYCLES = 8


class _Converter(Protocol):
    def process(self, samples: Floats, /) -> bytes:
        """Returns PCM. After a MemoryError the same samples may be given again."""


class _Library:
    def __init__(self, from_hz: int, to_hz: int) -> None:
        import samplerate

        self._ratio = to_hz / from_hz
        self._new = partial(samplerate.Resampler, _CONVERTER, channels=1)
        self._converter = self._new()

    def process(self, samples: Floats) -> bytes:
        try:
            return to_pcm(self._converter.process(samples, self._ratio))
        except MemoryError:
            # It has the samples already, or not. Without it 3 ms are lost, and nothing sounds twice.
            self._converter = self._new()
            raise


@cache
def _matrix(up: int, down: int) -> Floats:
    """(samples in, samples out) of a row of cycles, each of which makes `up` samples of `down`; one of the two is 1."""
    half = _HELD_SAMPLES * down
    taken, made = 2 * half + _ROW_CYCLES * down, _ROW_CYCLES * up
    # Distance of each sample in from each sample out, in samples in.
    distance = np.arange(taken)[:, None] - half - np.arange(made)[None, :] * (down / up)
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1.0 - (distance / half) ** 2, 0.0, 1.0))) * (abs(distance) < half)
    cutoff = _CUTOFF / down
    taps = cutoff * np.sinc(cutoff * distance) * window
    matrix: Floats = (taps / taps.sum(axis=0)).astype(np.float32)
    return matrix


class _Matrix:
    def __init__(self, up: int, down: int) -> None:
        self._up, self._down = up, down
        self._matrix = _matrix(up, down)
        self._wide = 2 * _HELD_SAMPLES * down  # the additional samples that a cycle needs
        self._kept = np.zeros(self._wide // 2, np.float32)
        # Room for the rows of the longest block so far. numpy would make this copy anyway, in memory that it asks for
        # in each block.
        self._rows = np.empty((0, len(self._matrix)), np.float32)

    def process(self, samples: Floats) -> bytes:
        have = len(self._kept) + len(samples)
        cycles = max(0, have - self._wide) // self._down
        rows = -(-cycles // _ROW_CYCLES)
        row = _ROW_CYCLES * self._down
        # The last row may reach beyond the input; the extra output is cut off below.
        joined = np.zeros(max(have, rows * row + self._wide), np.float32)
        joined[: len(self._kept)] = self._kept
        joined[len(self._kept) : have] = samples
        kept = joined[cycles * self._down : have].copy()
        # as_strided() would take as long as the product itself.
        strides = (row * joined.itemsize, joined.itemsize)
        windows: Floats = np.ndarray((rows, len(self._matrix)), np.float32, joined, strides=strides)
        if len(self._rows) < rows:
            self._rows = np.empty(windows.shape, np.float32)
        np.copyto(self._rows[:rows], windows)
        pcm = to_pcm((self._rows[:rows] @ self._matrix).reshape(-1)[: cycles * self._up])
        self._kept = kept
        return pcm


class Resampler:
    """Keeps its state between blocks, which may have any size.

    It delays up to `delay_s` of sound, which `flush` returns; the sound itself is not shifted. For n samples and a
    flush it returns ceil(n * to / from) samples. With equal rates the sound passes unchanged.

    A call that found no memory (MemoryError) has changed nothing, and may be made again.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz = from_hz
        self.to_hz = to_hz
        self.delay_s = 0.0 if from_hz == to_hz else _HELD_SAMPLES / min(from_hz, to_hz)
        self._converter = self._new()
        self._taken = 0
        self._given = 0

    def _new(self) -> _Converter:
        common = math.gcd(self.from_hz, self.to_hz)
        up, down = self.to_hz // common, self.from_hz // common
        by_matrix = min(up, down) == 1 and max(up, down) <= _MOST_TIMES
        return _Matrix(up, down) if by_matrix else _Library(self.from_hz, self.to_hz)

    def process(self, pcm: bytes) -> bytes:
        """Takes complete samples at the first rate; returns the samples that are ready at the second rate."""
        if self.from_hz == self.to_hz:
            return pcm
        samples = samples_of(pcm).astype(np.float32)
        out = self._converter.process(samples)
        self._taken += len(samples)
        self._given += len(out) // BYTES_PER_SAMPLE
        return out

    def flush(self) -> bytes:
        """Returns the delayed rest, and starts a new stream."""
        if self.from_hz == self.to_hz:
            return b""
        owed = max(0, -(-self._taken * self.to_hz // self.from_hz) - self._given)
        silence = np.zeros(2 * round(self.delay_s * self.from_hz), np.float32)
        fresh = self._new()
        tail = self._converter.process(silence)[: owed * BYTES_PER_SAMPLE]
        self._converter = fresh
        self._taken = self._given = 0
        return tail
