"""An announcement on its way to the speaker: mixed into what the device takes, over the agent's voice.

Like an earcon it belongs to no answer: nothing here is counted as heard by the agent, or cut by a clear. The agent's
voice is ducked under it; while a person talks, it is itself the quieter one. Safe from any thread: the lock is held
for microseconds, for the device's callback needs it too.
"""

from __future__ import annotations

import threading

import numpy as np

from parleyd.audio import pcm as sound
from parleyd.audio.pcm import BYTES_PER_SAMPLE, AudioFormat
from parleyd.audio.playback.ring import Ring
from parleyd.audio.resample import Resampler

# A device that takes nothing for so long is not there.
GONE_S = 1.0
# So short that to make a piece holds nobody up, and to take a period from it costs next to nothing.
_PIECE_S = 0.100
_FADE_S = 0.005
# Ducking moves by its whole range in this time.
_RAMP_S = 0.020


class AnnouncementTrack:
    """begin(), feed() until end(), or clear(); one announcement after the other, from one thread.

    duck_db: how much quieter the agent is meanwhile, and the announcement while a person talks.
    """

    def __init__(self, duck_db: float) -> None:
        self._quiet = 10.0 ** (-duck_db / 20.0)
        self._lock = threading.Lock()
        self._rate_hz = 48_000
        self._left: Ring[None] = Ring()
        # While sound for a device of another rate is made anew: what comes meanwhile, and goes behind it.
        self._behind: Ring[None] | None = None
        self._open = False
        self._under_talk = False
        self._voice_gain = 1.0
        self._own_gain = 1.0
        self._volume: float | None = None  # of the last period in which it sounded
        self._began_s: float | None = None
        self._silent_from_s = 0.0
        self._last_period_s = 0.0

        # The feeding thread's own.
        self._fmt = AudioFormat("pcm", 16_000)
        self._half = b""
        self._resampler = Resampler(1, 1)

    # ---------------------------------------------------------------- the announcer

    def begin(self, fmt: AudioFormat) -> None:
        """From the first sound on the agent is ducked, until the end, also where the sound comes late."""
        self._fmt = fmt
        self._half = b""
        with self._lock:
            self._resampler = Resampler(fmt.rate_hz, self._rate_hz)
            self._left, self._behind = Ring(), None
            self._open = True
            self._began_s = None

    def feed(self, data: bytes) -> None:
        """More, as the provider encodes it, in chunks of any size."""
        data = self._half + data
        sample_bytes = self._fmt.sample_bytes
        whole = len(data) - len(data) % sample_bytes
        self._half = data[whole:]
        step = round(_PIECE_S * self._fmt.rate_hz) * sample_bytes
        for at in range(0, whole, step):
            self._keep_up()
            piece = sound.decode(self._fmt, data[at : min(at + step, whole)])
            self._push(self._resampler.process(piece), self._resampler.to_hz)

    def end(self) -> None:
        """No more of it comes; what is there is played to its end."""
        self._keep_up()
        self._push(self._resampler.flush(), self._resampler.to_hz)
        with self._lock:
            self._open = False

    def clear(self) -> None:
        """Ends with a fade of 5 ms."""
        with self._lock:
            waiting = b"".join(piece for _, piece in self._left.pop(round(_FADE_S * self._rate_hz)))
            self._left, self._behind = Ring(), None
            if waiting and self._began_s is not None:
                self._left.push(None, sound.fade_out(waiting, len(waiting) // BYTES_PER_SAMPLE))
            self._open = False

    def under_talk(self, on: bool) -> None:
        """A person talks: the announcement goes on, but quieter."""
        with self._lock:
            self._under_talk = on

    def _keep_up(self) -> None:
        """The device may have been opened again at another rate."""
        with self._lock:
            rate_hz = self._rate_hz
        if self._resampler.to_hz != rate_hz:
            self._resampler = Resampler(self._fmt.rate_hz, rate_hz)

    def _push(self, pcm: bytes, rate_hz: int) -> None:
        with self._lock:
            # Opened at another rate just now: a moment is lost.
            if rate_hz == self._rate_hz:
                (self._left if self._behind is None else self._behind).push(None, pcm)

    # ---------------------------------------------------------------- what is so

    @property
    def began_s(self) -> float | None:
        """When its first sound was, or will be, audible."""
        with self._lock:
            return self._began_s

    @property
    def silent_from_s(self) -> float:
        """When all that the device has taken will have been heard."""
        with self._lock:
            return self._silent_from_s

    def left(self, now_s: float) -> bool:
        """Not all of it has been heard, whether or not there is a device."""
        with self._lock:
            return self._waits or now_s < self._silent_from_s

    @property
    def _waits(self) -> bool:
        """Under the lock: some of it was not yet given to the device."""
        return self._left.samples > 0 or self._behind is not None

    @property
    def last_period_s(self) -> float:
        """When the device last took anything, silence or not."""
        return self._last_period_s

    def audible(self, now_s: float) -> bool:
        """It is to be heard now, or in a moment."""
        with self._lock:
            comes = self._waits and now_s - self._last_period_s < GONE_S
            return comes or now_s < self._silent_from_s

    # ---------------------------------------------------------------- playback

    def set_rate(self, rate_hz: int) -> None:
        """The device was opened, perhaps again and at another rate."""
        with self._lock:
            before, self._rate_hz = self._rate_hz, rate_hz
            waiting, self._left = self._left, Ring()
            if not waiting.samples:
                return
            behind: Ring[None] = Ring()
            self._behind = behind
        resampler = Resampler(before, rate_hz)
        for _, piece in waiting.pop(waiting.samples):
            if not self._push_before(behind, resampler.process(piece)):
                return
        if self._push_before(behind, resampler.flush()):
            with self._lock:
                if self._behind is behind:
                    for _, piece in behind.pop(behind.samples):
                        self._left.push(None, piece)
                    self._behind = None

    def _push_before(self, behind: Ring[None], pcm: bytes) -> bool:
        """→ whether it is still wanted: it was not cleared, and no other announcement has begun."""
        with self._lock:
            if self._behind is not behind:
                return False
            self._left.push(None, pcm)
            return True

    def mix(self, pcm: bytes, now_s: float, latency_s: float, *, volume: float) -> bytes:
        """What the device takes now → the same with the announcement over it."""
        with self._lock:
            self._last_period_s = now_s
            active = self._open and self._began_s is not None
            if not self._left.samples and not active and self._voice_gain == 1.0:
                self._volume = None
                return pcm
            samples = len(pcm) // BYTES_PER_SAMPLE
            reach = samples / (self._rate_hz * _RAMP_S)
            piece = b"".join(one for _, one in self._left.pop(samples))
            if piece:
                self._began_s = now_s + latency_s if self._began_s is None else self._began_s
                self._silent_from_s = now_s + latency_s + len(piece) / BYTES_PER_SAMPLE / self._rate_hz
            voice_from, own_from = self._voice_gain, self._own_gain
            self._voice_gain = _towards(self._quiet if piece or active else 1.0, voice_from, reach)
            self._own_gain = _towards(self._quiet if self._under_talk else 1.0, own_from, reach)
            volume_from = volume if self._volume is None else self._volume
            self._volume = volume
            voice_to, own_to = self._voice_gain, self._own_gain
        mixed = sound.samples_of(sound.gain(pcm, voice_from, voice_to)).astype(np.int32)
        if piece:
            over = sound.samples_of(sound.gain(piece, volume_from * own_from, volume * own_to))
            mixed[: len(over)] += over
        return sound.to_pcm(mixed)


def _towards(target: float, now: float, reach: float) -> float:
    return min(max(target, now - reach), now + reach)
