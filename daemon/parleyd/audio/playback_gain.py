"""How loud the agent is: volume and ducking, and how both move without a click. Pure."""

from __future__ import annotations

from parleyd.audio import pcm as sound
from parleyd.audio.pcm import BYTES_PER_SAMPLE


class Gain:
    """duck_factor: what remains of the loudness while ducked."""

    def __init__(self, volume: float, duck_factor: float) -> None:
        self._volume = volume
        self._duck_factor = duck_factor
        self._ducked = False
        self._now = volume  # where volume and ducking have got to

    @property
    def _target(self) -> float:
        return self._volume * (self._duck_factor if self._ducked else 1.0)

    def set_volume(self, volume: float) -> None:
        self._volume = volume

    def duck(self, on: bool) -> float | None:
        """→ the factor by which what was already applied is too loud now; None where it is not."""
        if on == self._ducked:
            return None
        self._ducked = on
        if not on or self._now <= self._target:
            return None
        before, self._now = self._now, self._target
        return self._now / before

    def apply(self, pcm: bytes, period_samples: int) -> bytes:
        """The next piece; the whole range takes one period."""
        reach = len(pcm) / BYTES_PER_SAMPLE / period_samples
        begin = self._now
        self._now = min(max(self._target, begin - reach), begin + reach)
        return sound.gain(pcm, begin, self._now)
