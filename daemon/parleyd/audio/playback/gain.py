"""How loud each sound is, how that changes without a click, and how sounds are added up. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import BYTES_PER_SAMPLE, samples_of, to_pcm

Floats = npt.NDArray[np.float32]


class Move(NamedTuple):
    """A factor during one stretch of sound: in a straight line from `begin` to `end`, and level from there on. 1.0
    leaves a sound as it is."""

    begin: float
    """The factor of the sample before the stretch."""
    end: float
    """The factor at the end of the line, and after it."""
    over_samples: int = 1
    """The length of the line, in samples at the device's rate."""

    def factors(self, samples: int) -> np.float32 | Floats:
        """One factor for all, or float32 of shape (samples,)."""
        if self.begin == self.end:
            return np.float32(self.end)
        steps = np.minimum(np.arange(1, samples + 1, dtype=np.float32) / np.float32(self.over_samples), np.float32(1.0))
        moved: Floats = np.float32(self.begin) + np.float32(self.end - self.begin) * steps
        return moved


AS_IS = Move(1.0, 1.0)


class Fader:
    """A factor on its way to another, which moves in straight lines. 1.0 is unchanged.

    still: the move of a stretch in which it stays where it is now."""

    def __init__(self, now: float = 1.0) -> None:
        self.jump(now)

    def jump(self, now: float) -> None:
        """At once: where nothing sounds."""
        self.still = AS_IS if now == 1.0 else Move(now, now)

    def move(self, target: float, samples: int, range_samples: int) -> Move:
        """The next stretch of `samples`. range_samples: how many it takes from 0.0 to 1.0."""
        begin = self.still.end
        if begin == target:
            return self.still
        over_samples = math.ceil(abs(target - begin) * range_samples)
        if over_samples <= samples:
            self.jump(target)
        else:
            over_samples = samples
            self.jump(begin + math.copysign(samples / range_samples, target - begin))
        return Move(begin, self.still.end, max(1, over_samples))


class Layer(NamedTuple):
    """One of the sounds that play at the same time."""

    pcm: bytes
    """Signed 16 bit, little-endian, mono, at the device's rate."""
    gains: tuple[Move, ...] = ()
    """The factors of this sound, which are multiplied; none: it is played as it is."""


def mixed(samples: int, layers: Sequence[Layer], volume: Move) -> bytes:
    """The sum of layers, each of at most `samples`, times the volume; 16 bit, saturated, `samples` long.

    One layer that nothing changes passes bit for bit.
    """
    if not layers:
        return bytes(samples * BYTES_PER_SAMPLE)
    if len(layers) == 1:
        return scaled(layers[0].pcm, *layers[0].gains, volume).ljust(samples * BYTES_PER_SAMPLE, b"\0")
    total = np.zeros(samples, np.float32)
    for layer in layers:
        values = samples_of(layer.pcm)
        total[: len(values)] += values * _factors(layer.gains, len(values))
    return to_pcm(total * volume.factors(samples))


def scaled(pcm: bytes, *gains: Move) -> bytes:
    """The sound times all these factors; 16 bit, saturated. Without a factor other than AS_IS it passes bit for bit."""
    gains = tuple(gain for gain in gains if gain is not AS_IS)
    if not gains:
        return pcm
    values = samples_of(pcm)
    quieter = values * _factors(gains, len(values))
    if all(gain.begin <= 1.0 and gain.end <= 1.0 for gain in gains):
        # Nothing can saturate, which saves half of the work.
        rounded: bytes = np.rint(quieter).astype("<i2").tobytes()
        return rounded
    return to_pcm(quieter)


def _factors(gains: Iterable[Move], samples: int) -> np.float32 | Floats:
    level, moving = 1.0, []
    for gain in gains:
        if gain.begin == gain.end:
            level *= gain.end
        else:
            moving.append(gain.factors(samples))
    product: np.float32 | Floats = np.float32(level)
    for factors in moving:
        product = product * factors
    return product
