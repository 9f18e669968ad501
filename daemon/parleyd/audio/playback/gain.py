"""How loud each sound is, how that changes without a click, and how sounds are added up. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import BYTES_PER_SAMPLE, samples_of, to_pcm

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Move:
    """A factor during one stretch of sound: in a straight line from `begin`, which is that of the sample before, to
    `end` within the first `over_samples`, and level from there on. 1.0 leaves a sound as it is."""

    begin: float
    end: float
    over_samples: int

    @property
    def leaves_as_is(self) -> bool:
        """Whether it changes nothing."""
        return self.begin == self.end == 1.0

    def factors(self, samples: int) -> np.float32 | Floats:
        """One factor for all, or float32 of shape (samples,)."""
        if self.begin == self.end:
            return np.float32(self.end)
        steps = np.minimum(np.arange(1, samples + 1, dtype=np.float32) / np.float32(self.over_samples), np.float32(1.0))
        moved: Floats = np.float32(self.begin) + np.float32(self.end - self.begin) * steps
        return moved


class Fader:
    """A factor on its way to another. now: where it is, 1.0 is unchanged."""

    def __init__(self, now: float = 1.0) -> None:
        self.now = now

    def move(self, target: float, samples: int, range_samples: int) -> Move:
        """The next stretch of `samples`. range_samples: how many it takes from 0.0 to 1.0."""
        begin, over_samples = self.now, math.ceil(abs(target - self.now) * range_samples)
        if over_samples <= samples:
            self.now = target
        else:
            over_samples = samples
            self.now += math.copysign(samples / range_samples, target - begin)
        return Move(begin, self.now, max(1, over_samples))


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the sounds that play at the same time. pcm: signed 16 bit, little-endian, mono, at the device's rate."""

    pcm: bytes
    gains: tuple[Move, ...] = ()


def mixed(samples: int, layers: tuple[Layer, ...], volume: Move) -> bytes:
    """The sum of layers, each of at most `samples`, times the volume; 16 bit, saturated, `samples` long.

    One layer that nothing changes passes bit for bit.
    """
    if not layers:
        return bytes(samples * BYTES_PER_SAMPLE)
    if len(layers) == 1 and volume.leaves_as_is and all(gain.leaves_as_is for gain in layers[0].gains):
        return layers[0].pcm.ljust(samples * BYTES_PER_SAMPLE, b"\0")
    total = np.zeros(samples, np.float32)
    for layer in layers:
        values = samples_of(layer.pcm).astype(np.float32)
        for gain in layer.gains:
            if not gain.leaves_as_is:
                values *= gain.factors(len(values))
        total[: len(values)] += values
    if not volume.leaves_as_is:
        total *= volume.factors(samples)
    return to_pcm(total)
