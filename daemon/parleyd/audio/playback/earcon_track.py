"""Earcons on their way to the speaker, beside the agent's voice. Pure.

They belong to no answer: nothing here is counted as heard, cut by a clear, or ducked.
"""

from __future__ import annotations

from collections.abc import Mapping

from parleyd.audio import pcm as sound
from parleyd.audio.earcons.sounds import Earcon, Sound
from parleyd.audio.pcm import BYTES_PER_SAMPLE
from parleyd.audio.resample import Resampler

# An earcon that the device has not taken after this time is dropped, because its message is out of date.
STALE_S = 1.0
# The fade of an earcon that is cut short by a newer one.
_FADE_S = 0.005


class EarconTrack:
    """silent_from_s: when all sound of earcons that the device has taken will have been heard."""

    def __init__(self, sounds: Mapping[Earcon, Sound]) -> None:
        self._sounds = sounds
        self._rate_hz = 0
        self._ready: dict[Earcon, bytes] = {}  # at the device's rate
        self._left = b""
        self._has_begun = False  # the earcon in `left` has begun to sound
        self._after_voice = False
        self._waits = False  # for the voice to end
        self._touched_s = 0.0  # when it was asked for, or the device last took some or had to wait
        self.silent_from_s = 0.0

    def resampled(self, rate_hz: int) -> dict[Earcon, bytes] | None:
        """Makes the sounds for set_rate(), which takes milliseconds, so no lock may be held. Returns None if the rate
        stays the same."""
        if rate_hz == self._rate_hz:
            return None
        return {name: _at(rate_hz, it) for name, it in self._sounds.items()}

    def set_rate(self, rate_hz: int, ready: dict[Earcon, bytes]) -> None:
        self._rate_hz = rate_hz
        self._ready = ready
        self._left = b""
        self._has_begun = False

    def play(self, name: Earcon, now_s: float, *, after_voice: bool) -> None:
        """Plays an earcon from the next period on; after_voice: once the agent has finished. An earcon that is switched
        off is ignored."""
        fresh = self._ready.get(name)
        if fresh is None:
            return
        self._after_voice = after_voice and not self._has_begun
        if self._has_begun:
            fresh = sound.fade_out(self._left, round(_FADE_S * self._rate_hz)) + fresh
        self._left = fresh
        self._waits = False
        self._touched_s = now_s

    @property
    def waits(self) -> bool:
        """Whether some of an earcon was not yet given to the device."""
        return bool(self._left)

    def take(self, samples: int, now_s: float, latency_s: float, *, voice: bool) -> bytes:
        """Returns the sound of earcons that the device takes at now_s, at most `samples`. voice: the agent is not
        finished."""
        if not self._left:
            return b""
        if now_s - self._touched_s > STALE_S:
            self._left = b""
            self._has_begun = False
            return b""
        self._touched_s = now_s
        self._waits = voice and self._after_voice
        if self._waits:
            return b""
        self._after_voice = False
        size = samples * BYTES_PER_SAMPLE
        piece, self._left = self._left[:size], self._left[size:]
        self._has_begun = bool(self._left)
        self.silent_from_s = now_s + latency_s + len(piece) / BYTES_PER_SAMPLE / self._rate_hz
        return piece

    def audible_until_s(self, now_s: float) -> float:
        """Infinite while an earcon is about to be given to the device."""
        comes = bool(self._left) and not self._waits and now_s - self._touched_s <= STALE_S
        return float("inf") if comes else self.silent_from_s


def _at(rate_hz: int, it: Sound) -> bytes:
    resampler = Resampler(it.rate_hz, rate_hz)
    return resampler.process(it.pcm) + resampler.flush()
