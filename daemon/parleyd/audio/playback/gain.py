"""How loud the agent is: volume and ducking, and how both move without a click. Pure."""

from __future__ import annotations

from parleyd.audio import pcm as sound
from parleyd.audio.pcm import BYTES_PER_SAMPLE

# The whole range takes so long: of a tone of 200 Hz no more than -80 dB then spreads above 2 kHz, a step leaves -36.
VOLUME_RAMP_S = 0.020


class Gain:
    """volume: where it is going. duck_factor: what remains of the loudness while ducked."""

    def __init__(self, volume: float, duck_factor: float) -> None:
        self.volume = volume
        self._duck_factor = duck_factor
        self._ducked = False
        self._volume_now = volume
        self._duck_now = 1.0

    def set_volume(self, volume: float, *, at_once: bool) -> None:
        """at_once: nothing sounds, so there is nothing that a step could disturb."""
        self.volume = volume
        if at_once:
            self._volume_now = volume

    def duck(self, on: bool) -> float | None:
        """→ the factor by which what was already applied is too loud now; None where it is not."""
        self._ducked = on
        if not on or self._duck_now <= self._duck_factor:
            return None
        before, self._duck_now = self._duck_now, self._duck_factor
        return self._duck_factor / before

    def apply(self, pcm: bytes, rate_hz: int, period_samples: int) -> bytes:
        """The next piece. Back from ducking takes one period."""
        samples = len(pcm) / BYTES_PER_SAMPLE
        begin = self._volume_now * self._duck_now
        self._volume_now = _towards(self.volume, self._volume_now, samples / (rate_hz * VOLUME_RAMP_S))
        self._duck_now = _towards(self._duck_factor if self._ducked else 1.0, self._duck_now, samples / period_samples)
        return sound.gain(pcm, begin, self._volume_now * self._duck_now)


def _towards(target: float, now: float, reach: float) -> float:
    return min(max(target, now - reach), now + reach)
