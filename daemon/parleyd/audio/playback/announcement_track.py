"""An announcement on its way to the speaker, over the agent's voice. Pure.

Like an earcon it belongs to no answer: nothing here is counted as heard by the agent, or cut by a clear. The agent's
voice is ducked under it; while a person talks, it is itself the quieter one.
"""

from __future__ import annotations

from parleyd.audio import pcm as sound
from parleyd.audio.pcm import BYTES_PER_SAMPLE, AudioFormat
from parleyd.audio.playback.gain import AS_IS, Fader, Layer, Move
from parleyd.audio.playback.pipeline import Pipeline
from parleyd.audio.playback.playhead import Segment

# A device that takes nothing for so long is not there.
GONE_S = 1.0
# Its sound is made this far ahead of the device, because a clear of the agent's voice recalls nothing of it.
_AHEAD_S = 0.1
_FADE_S = 0.005
# Ducking moves by its whole range in this time.
_RAMP_S = 0.020
_NOTHING = Layer(b"")
# Its sound belongs to no answer.
_NO_ANSWER = 0


class AnnouncementTrack:
    """begin(), feed() until end(), or clear(); one announcement after the other.

    duck_db: how much quieter the agent is meanwhile, and the announcement while a person talks.
    pipeline: the sound on its way; mix.py makes it, and sets the device's rate.
    began_s: monotonic time at which its first sound was, or will be, audible; None before the device took any.
    silent_from_s: when all of it that the device has taken will have been heard.
    last_period_s: when the device last took anything, silence or not.
    is_over: until the next begin() or feed(), take() returns nothing, and leaves the agent as loud as it is.
    """

    def __init__(self, duck_db: float) -> None:
        self.pipeline = Pipeline(_AHEAD_S)
        self.began_s: float | None = None
        self.silent_from_s = 0.0
        self.last_period_s = 0.0
        self.is_over = True
        self._quiet = 10.0 ** (-duck_db / 20.0)
        self._segment = Segment(_NO_ANSWER, closed=True)
        self._fade = b""
        self._under_talk = False
        self._agent_gain = Fader()
        self._own_gain = Fader()
        self._ramp_samples = 1

    # ---------------------------------------------------------------- the announcer

    def begin(self, fmt: AudioFormat) -> None:
        """The agent is ducked from the first sound to the end of the announcement, also while its sound is late."""
        self.pipeline.clear()
        self.pipeline.queue.set_format(fmt)
        self._segment = Segment(_NO_ANSWER)
        self.began_s = None
        self.is_over = False

    def feed(self, data: bytes) -> None:
        """Takes more sound, as the provider encodes it, in chunks of any size."""
        data, _ = self.pipeline.queue.accept(_NO_ANSWER, data)
        if data:
            self.is_over = False
            self.pipeline.queue.push(self._segment, data)

    def end(self) -> None:
        """No more sound comes; the sound that is there is played to its end."""
        self._segment.closed = True

    def clear(self) -> None:
        """Ends with a fade of 5 ms, if it has begun."""
        ready = (self._fade + self.pipeline.clear())[: round(_FADE_S * self.pipeline.rate_hz) * BYTES_PER_SAMPLE]
        has_begun = bool(ready) and self.began_s is not None
        self._fade = sound.fade_out(ready, len(ready) // BYTES_PER_SAMPLE) if has_begun else b""
        self._segment.closed = True

    def under_talk(self, on: bool) -> None:
        """A person talks: the announcement goes on, but quieter."""
        self._under_talk = on

    # ---------------------------------------------------------------- the present state

    @property
    def waits(self) -> bool:
        """Some of it was not yet given to the device."""
        return bool(self._fade) or not self.pipeline.is_dry

    def left(self, now_s: float) -> bool:
        """Not all of it has been heard, whether or not there is a device."""
        return self.waits or now_s < self.silent_from_s

    def audible_until_s(self, now_s: float) -> float:
        """Infinite while more of it is about to be given to a device that takes it."""
        comes = self.waits and now_s - self.last_period_s < GONE_S
        return float("inf") if comes else self.silent_from_s

    # ---------------------------------------------------------------- the device

    def set_rate(self, rate_hz: int) -> None:
        """The device was opened, perhaps again and at another rate: it goes on where it was."""
        if rate_hz != self.pipeline.rate_hz:
            self._fade = b""
        self.pipeline.set_rate(rate_hz)
        self._ramp_samples = round(_RAMP_S * rate_hz)

    def take(self, samples: int, now_s: float, latency_s: float) -> tuple[Layer, Move]:
        """Returns the sound of the announcement that the device takes at now_s, and by how much the agent is ducked
        meanwhile."""
        self.last_period_s = now_s
        if self._segment.closed and not self.waits:
            agent = self._agent_gain.move(1.0, samples, self._ramp_samples)
            self.is_over = agent is AS_IS
            return _NOTHING, agent
        size = samples * BYTES_PER_SAMPLE
        fade, self._fade = self._fade[:size], self._fade[size:]
        own_sound = b"".join(pcm for _, pcm in self.pipeline.pop(samples - len(fade) // BYTES_PER_SAMPLE))
        piece = fade + own_sound
        rate_hz = self.pipeline.rate_hz
        if own_sound and self.began_s is None:
            self.began_s = now_s + latency_s + len(fade) / BYTES_PER_SAMPLE / rate_hz
        if piece:
            self.silent_from_s = now_s + latency_s + len(piece) / BYTES_PER_SAMPLE / rate_hz
        is_under_way = self.began_s is not None and (self.waits or not self._segment.closed)
        agent = self._agent_gain.move(self._quiet if piece or is_under_way else 1.0, samples, self._ramp_samples)
        own = self._own_gain.move(self._quiet if self._under_talk else 1.0, samples, self._ramp_samples)
        return Layer(piece, (own,)), agent
