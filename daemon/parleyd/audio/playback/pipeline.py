"""What is on its way to the speaker, from the provider's chunks to the device's periods. Pure but for the resampler.

Three hands: chunks come (push), the playback thread makes periods of them (next_slice, make, store), the device takes
them (pop). playback.py brings the lock; only make() is called without it.
"""

from __future__ import annotations

from parleyd.audio import pcm as sound
from parleyd.audio.pcm import BYTES_PER_SAMPLE
from parleyd.audio.playback.answer_queue import ChunkQueue, Slice
from parleyd.audio.playback.gain import Gain
from parleyd.audio.playback.playhead import Segment
from parleyd.audio.playback.ring import Ring
from parleyd.audio.resample import Resampler

FADE_S = 0.005


class Pipeline:
    """making: the thread has taken sound from the queue and not yet given it back. period_samples: the device's, or
    what is made at once."""

    def __init__(self, gain: Gain) -> None:
        self.queue = ChunkQueue()
        self.making = False
        self.rate_hz = 48_000
        self.period_samples = 480
        self._gain = gain
        self._generation = 0  # grows with every clear: what was in the making belongs to the past
        self._tail_owner: Segment | None = None  # whose last samples the resampler holds
        self._staged: Ring[Segment] = Ring()  # resampled, less than a period as a rule
        self._ring: Ring[Segment | None] = Ring()  # None: a fade, which is nobody's
        self._last_taken = b""  # by the device

        # The playback thread's own.
        self._resampler = Resampler(1, 1)
        self._made = -1  # the generation that the resampler is in the middle of

    # ---------------------------------------------------------------- what is so

    @property
    def is_dry(self) -> bool:
        held = self.queue or self.making or self._tail_owner is not None
        return not held and not self._staged.samples and not self._ring.samples

    @property
    def waiting_s(self) -> float:
        """What the device has not yet taken."""
        return self.queue.duration_s + (self._staged.samples + self._ring.owned_samples) / self.rate_hz

    @property
    def next_owner(self) -> Segment | None:
        """Whose sound is made next."""
        first = self.queue.next_up
        return self._tail_owner if first is None else first[0]

    # ---------------------------------------------------------------- the playback thread

    def next_slice(self) -> tuple[Slice, int] | None:
        """What to make next, when the ring has room for a period; with the generation it belongs to."""
        found = self._next_slice()
        if found is None:
            return None
        self.making = True
        return found, self._generation

    @property
    def has_work(self) -> bool:
        """Whether next_slice would give something."""
        if self._ring.samples > self.period_samples:
            return False
        return bool(self.queue) or self._tail_is_due

    @property
    def _tail_is_due(self) -> bool:
        tail = self._tail_owner
        return tail is not None and (tail.closed or self._ring.samples < self.period_samples)

    def _next_slice(self) -> Slice | None:
        if not self.has_work:
            return None
        tail, first = self._tail_owner, self.queue.next_up
        if first is None:
            return None if tail is None else Slice(tail)
        segment, fmt = first
        if tail is not None and (tail is not segment or self._resampler.from_hz != fmt.rate_hz):
            return Slice(tail)
        return self.queue.take(self.period_samples, self.rate_hz)

    def make(self, slice_: Slice, generation: int) -> bytes:
        """Decodes and resamples, without the lock."""
        fmt = slice_.fmt
        if fmt is None:
            return self._resampler.flush()
        rates = (fmt.rate_hz, self.rate_hz)
        if self._made != generation or (self._resampler.from_hz, self._resampler.to_hz) != rates:
            self._resampler = Resampler(*rates)
            self._made = generation
        return self._resampler.process(sound.decode(fmt, slice_.data))

    def store(self, slice_: Slice, generation: int, pcm: bytes) -> None:
        """What was made; what was cleared meanwhile is dropped."""
        if generation != self._generation:
            return
        self.making = False
        self._tail_owner = slice_.owner if slice_.fmt is not None and self._resampler.delay_s else None
        self._staged.push(slice_.owner, pcm)
        if not self.queue:
            self._move(self._staged.samples)
        elif self._staged.samples >= self.period_samples:
            self._move(self.period_samples)

    def _move(self, samples: int) -> None:
        """From what is made to what the device takes; here the volume is set, as late as can be."""
        for owner, piece in self._staged.pop(samples):
            self._ring.push(owner, self._gain.apply(piece, self.rate_hz, self.period_samples))

    # ---------------------------------------------------------------- the device

    def pop(self, samples: int) -> list[tuple[Segment | None, bytes]]:
        """What the device takes, as far as there is so much."""
        pieces = self._ring.pop(samples)
        pcm = b"".join(piece for _, piece in pieces)
        self._last_taken = pcm if len(pcm) == samples * BYTES_PER_SAMPLE else b""
        return pieces

    def forget_last(self) -> None:
        """What the device took last is over: no fade follows it."""
        self._last_taken = b""

    def set_rate(self, rate_hz: int) -> None:
        """The device was opened, perhaps at another rate: what is made for the old one is dropped, which is no more
        than two periods."""
        if self.rate_hz != rate_hz:
            self._generation += 1
            self.making = False
            self._tail_owner = None
            self._staged = Ring()
            self._ring = Ring()
        self.rate_hz = rate_hz

    # ---------------------------------------------------------------- cutting and ducking

    def clear(self, *, fade: bool) -> None:
        """Throws all away; with a fade, the last of it is FADE_S of what lay ready."""
        self._generation += 1
        self.queue.clear()
        self._tail_owner = None
        self.making = False
        self._staged = Ring()
        waiting = b"".join(piece for _, piece in self._ring.pop(self._ring.samples))
        if fade and (waiting or self._last_taken):
            last = int.from_bytes(self._last_taken[-2:], "little", signed=True)
            self._ring.push(None, sound.fade_out(waiting, round(FADE_S * self.rate_hz), last))

    def duck(self, on: bool) -> None:
        """Down also in what already lies ready."""
        factor = self._gain.duck(on)
        if factor is None:
            return
        start = 1.0
        for owner, piece in self._ring.pop(self._ring.samples):
            count = min(len(piece) // BYTES_PER_SAMPLE, round(FADE_S * self.rate_hz))
            end = factor if start == 1.0 else start
            ramp = sound.gain(piece[: count * BYTES_PER_SAMPLE], start, end)
            self._ring.push(owner, ramp + sound.gain(piece[count * BYTES_PER_SAMPLE :], end, end))
            start = end
