"""The clearable queue: the agent's voice → the speaker. Knows what has been heard; stops within milliseconds.

    enqueue ──▶ queue (≤ 120 s) ──▶ thread: decode, resample, volume ──▶ ring (2 periods) ──▶ the device's callback

Nothing is held back on purpose: the first chunk sounds as soon as it comes, for agents send faster than real time; the
ring's two periods are all that guards against a late thread. A clear throws the queue away and turns what lies in the
ring into a short fade, so that the sound ends within the device's latency, one period and the fade, however long
the chunks are.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from parleyd.audio import pcm as sound
from parleyd.audio.devices.device import DeviceError, OutputDevice, StreamInfo
from parleyd.audio.far_end import FarEnd
from parleyd.audio.pcm import BYTES_PER_SAMPLE, AudioFormat
from parleyd.audio.playhead import Heard, Playhead, Segment, Started
from parleyd.audio.resample import Resampler
from parleyd.audio.ring import Ring

log = logging.getLogger(__name__)

QUEUE_LIMIT_S = 120.0
FADE_S = 0.005
# What is made at once, and the time in which volume and ducking move.
_PERIOD_S = 0.010
# A sharp cut that takes longer hangs, and who wants the device need not wait for it.
_REOPENING_S = 2.0


@dataclass(slots=True)
class _Chunk:
    """Not yet played, as the provider sent it."""

    segment: Segment
    fmt: AudioFormat
    data: memoryview


# Whose it is, its format, its bytes. Without a format: time for what the resampler still holds.
_Slice = tuple[Segment, AudioFormat | None, bytes]


class Playback:
    """Plays answers one after the other on one device.

    All methods may be called from any thread, and none but start, stop and wait_drained ever waits. The callbacks come
    on the thread `playback`, each once per segment of an answer (see playhead.py), in the order of what is heard:

    on_started(answer, at_s): its first sound is audible, since at_s.
    on_finished(heard): its end has been heard, or it was cleared, perhaps before it started. An answer has ended when
        end_answer was called for it, or another answer follows, or nothing of it came for 0.8 s after its last sound.
    far_end: is given every period that the device takes, silent or not.
    on_failure(error): a DeviceError when the device could not be opened again after a sharp cut, else the error that
        ended the thread. Call stop() then.
    """

    def __init__(
        self,
        device: OutputDevice,
        *,
        volume: float,
        duck_db: float,
        cut: Literal["fade", "sharp"],
        on_started: Callable[[int, float], None],
        on_finished: Callable[[Heard], None],
        on_failure: Callable[[Exception], None],
        far_end: FarEnd | None = None,
    ) -> None:
        self._device = device
        self._sharp = cut == "sharp"
        self._on_started = on_started
        self._on_finished = on_finished
        self._on_failure = on_failure
        self._far_end = far_end
        self._duck_factor = 10.0 ** (-duck_db / 20.0)

        # Held for microseconds only, for the device's callback needs it too. All below belongs to it.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stopping = False
        self._cut_wanted = False
        self._reopening = False
        self._released = False  # somebody else has closed the device and will open it again
        self._unheard = False  # nobody can hear: see forsake
        self._unheard_answer: int | None = None
        self._volume = volume
        self._ducked = False
        self._gain = volume  # where volume and ducking have got to
        self._fmt = AudioFormat("pcm", sound.PIPELINE_RATE_HZ)
        self._odd = b""  # half a sample, until the chunk with its other half comes
        self._odd_answer: int | None = None
        self._queue: deque[_Chunk] = deque()
        self._queued_s = 0.0
        self._dropped_s = 0.0
        self._drop_said = False
        self._generation = 0  # grows with every clear: what was in the making belongs to the past
        self._making = False  # the thread has taken sound from the queue and not yet given it back
        self._tail_owner: Segment | None = None  # whose last samples the resampler holds
        self._staged: Ring[Segment] = Ring()  # resampled, less than a period as a rule
        self._ring: Ring[Segment | None] = Ring()  # None: a fade, which is nobody's
        self._last_taken = b""  # by the device
        self._underruns = 0
        self._starved: Segment | None = None
        self._in_gap = False
        self._told: list[Started | Heard] = []
        self._last_period_s = 0.0
        self._period_samples = 480
        self._playhead = Playhead(48_000, 0.02)

        # The thread's own.
        self._resampler = Resampler(1, 1)
        self._made = -1  # the generation that the resampler is in the middle of
        self._thread = threading.Thread(target=self._run, name="playback", daemon=True)

    # ---------------------------------------------------------------- life

    def start(self) -> StreamInfo:
        """Opens the device and begins. Raises DeviceError."""
        info = self._open()
        self._thread.start()
        return info

    def stop(self) -> None:
        """Cuts the sound; what was left counts as cleared. The device is closed at the return, all callbacks are over.

        It waits for the callbacks: do not hold a lock that they need. May be called from a callback, too.
        """
        with self._changed:
            self._stopping = True
            self._throw_away(time.monotonic(), sharp=True)
            self._changed.notify_all()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._device.close()

    @property
    def device(self) -> OutputDevice:
        return self._device

    def release(self) -> None:
        """Closes the device until regain(); what waits is kept, and a clear only throws it away."""
        with self._changed:
            self._released = True
            self._changed.wait_for(lambda: not self._reopening, _REOPENING_S)
            self._last_taken = b""
        self._device.close()

    def regain(self) -> None:
        """Opens the device again; the sound goes on where it was. Raises DeviceError."""
        self._open()
        with self._changed:
            self._released = False

    def forsake(self, on: bool) -> None:
        """While on, there is no speaker and soon will not be: what waits counts as cleared, and what comes does too."""
        with self._changed:
            if on and not self._unheard:
                self._throw_away(time.monotonic(), sharp=True)
            self._unheard = on
            self._unheard_answer = None
            self._changed.notify_all()

    # ---------------------------------------------------------------- what others say

    def set_format(self, fmt: AudioFormat) -> None:
        """Of what is enqueued from now on."""
        with self._lock:
            self._fmt = fmt
            self._odd = b""

    def enqueue(self, answer: int, data: bytes) -> None:
        """More of an answer, as the provider encodes it; in chunks of any size, even with half a sample at the end."""
        with self._changed:
            if self._stopping:
                return
            if self._odd_answer == answer:
                data = self._odd + data
            self._odd, self._odd_answer = b"", None
            if self._fmt.encoding == "pcm" and len(data) % 2:
                self._odd, self._odd_answer = data[-1:], answer
                data = data[:-1]
            data = self._within_limit(data)
            if not data:
                return
            duration_s = len(data) / self._fmt.sample_bytes / self._fmt.rate_hz
            if self._unheard and answer == self._unheard_answer:
                return
            segment = self._playhead.queued(answer, duration_s)
            if self._unheard:
                self._unheard_answer = answer
                self._told += self._playhead.clear(time.monotonic(), sharp=True)
                self._changed.notify_all()
                return
            self._queue.append(_Chunk(segment, self._fmt, memoryview(data)))
            self._queued_s += duration_s
            if self._starved is segment:
                self._count_underrun()
            self._starved = None
            self._changed.notify_all()

    def end_answer(self, answer: int) -> None:
        """No more of this answer will come: its last samples need not wait for others."""
        with self._changed:
            self._playhead.end(answer)
            self._changed.notify_all()

    def clear(self) -> Heard | None:
        """Throws away all that has not been heard; the sound ends with a fade, or if cut is sharp, the device is closed
        and reopened. → what was heard of the answer that was sounding, or next in turn; None if there was none."""
        with self._changed:
            told = self._throw_away(time.monotonic(), sharp=self._sharp)
            self._cut_wanted |= self._sharp
            self._changed.notify_all()
        return next((it for it in told if isinstance(it, Heard)), None)

    def duck(self, on: bool) -> None:
        """Quieter by duck_db while on; nothing is skipped. Down also in what already waits for the device."""
        with self._lock:
            if on == self._ducked:
                return
            self._ducked = on
            if self._gain > self._target_gain() and on:
                self._quieten_ring(self._target_gain() / self._gain)
                self._gain = self._target_gain()

    def set_volume(self, volume: float) -> None:
        """1.0 is unchanged. Moves within a period."""
        with self._lock:
            self._volume = volume

    # ---------------------------------------------------------------- what is so

    def audible(self, now_s: float) -> bool:
        """Whether the agent is to be heard: some of it waits, or is inside the device's latency."""
        with self._lock:
            return not self._is_dry() or now_s < self._playhead.silent_from_s

    def heard(self, answer: int) -> Heard | None:
        """How far an answer has got; None if nothing ever came of it."""
        now_s = time.monotonic()
        with self._changed:
            self._told += self._playhead.due(now_s, dry=self._is_dry())
            if self._told:
                self._changed.notify_all()
            return self._playhead.heard(answer, now_s)

    def wait_drained(self, timeout_s: float) -> bool:
        """Until all that came has been heard or cleared; False when that takes longer."""
        give_up_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                now_s = time.monotonic()
                silent_s = self._playhead.silent_from_s if self._is_dry() else math.inf
                if now_s >= silent_s or self._stopping:
                    return True
                if now_s >= give_up_s:
                    return False
                self._changed.wait(min(silent_s, give_up_s) - now_s)

    @property
    def silent_from_s(self) -> float:
        """When all that the device has taken so far will have been heard."""
        with self._lock:
            return self._playhead.silent_from_s

    @property
    def queued_ms(self) -> int:
        """What the device has not yet taken."""
        with self._lock:
            made = self._staged.samples + self._ring.owned_samples
            return round((self._queued_s + made / self._playhead.rate_hz) * 1000)

    @property
    def dropped_ms(self) -> int:
        """What came beyond QUEUE_LIMIT_S, so far."""
        return round(self._dropped_s * 1000)

    @property
    def underruns(self) -> int:
        """How often an answer had a hole, so far: it came late, we were late, or the hardware ran dry."""
        return self._underruns + self._device.underruns

    @property
    def last_period_s(self) -> float:
        """Monotonic time at which the device last took a period: a sign of life."""
        return self._last_period_s

    # ---------------------------------------------------------------- the device's thread

    def _fill(self, samples: int) -> bytes:
        now_s = time.monotonic()
        pcm = self._next_period(samples, now_s)
        if self._far_end is not None:
            self._far_end.take(pcm, now_s)
        return pcm

    def _next_period(self, samples: int, now_s: float) -> bytes:
        with self._changed:
            self._last_period_s = now_s
            self._period_samples = max(self._period_samples, samples)
            if not self._ring.samples and self._is_dry():
                self._last_taken = b""
                self._starved = self._playhead.open
                return bytes(samples * BYTES_PER_SAMPLE)
            pieces = self._ring.pop(samples)
            taken = 0
            for owner, piece in pieces:
                count = len(piece) // BYTES_PER_SAMPLE
                if owner is not None:
                    self._playhead.handed(owner, count, taken / self._playhead.rate_hz, now_s)
                taken += count
            pcm = b"".join(piece for _, piece in pieces)
            self._last_taken = pcm if taken == samples else b""
            if taken == samples:
                self._in_gap = False
            else:
                pcm += bytes((samples - taken) * BYTES_PER_SAMPLE)
                self._note_hole()
            self._changed.notify_all()
        return pcm

    def _note_hole(self) -> None:
        """The device got less than it asked for: our fault if there was more, the network's if more comes later."""
        if self._is_dry():
            self._starved = self._playhead.open
            return
        waiting = self._queue[0].segment if self._queue else self._tail_owner
        if waiting is not None and waiting.handed_s > 0.0:
            self._count_underrun()

    def _count_underrun(self) -> None:
        if not self._in_gap:
            self._underruns += 1
        self._in_gap = True

    # ---------------------------------------------------------------- under the lock

    def _is_dry(self) -> bool:
        held = self._queue or self._making or self._tail_owner is not None
        return not held and not self._staged.samples and not self._ring.samples

    def _target_gain(self) -> float:
        return self._volume * (self._duck_factor if self._ducked else 1.0)

    def _within_limit(self, data: bytes) -> bytes:
        sample_bytes = self._fmt.sample_bytes
        room = max(0, int((QUEUE_LIMIT_S - self._queued_s) * self._fmt.rate_hz)) * sample_bytes
        if len(data) <= room:
            return data
        self._dropped_s += (len(data) - room) / sample_bytes / self._fmt.rate_hz
        if not self._drop_said:
            self._drop_said = True
            log.warning("the agent is more than %d s ahead of the speaker: its newest sound is dropped", QUEUE_LIMIT_S)
        return data[:room]

    def _throw_away(self, now_s: float, *, sharp: bool) -> list[Started | Heard]:
        self._told += self._playhead.due(now_s, dry=self._is_dry())
        told = self._playhead.clear(now_s, sharp=sharp, fade_s=0.0 if sharp else FADE_S)
        self._told += told
        self._generation += 1
        self._queue.clear()
        self._queued_s = 0.0
        self._odd, self._odd_answer = b"", None
        self._tail_owner = None
        self._making = False
        self._staged = Ring()
        self._starved = None
        waiting = b"".join(piece for _, piece in self._ring.pop(self._ring.samples))
        if not sharp and (waiting or self._last_taken):
            last = int.from_bytes(self._last_taken[-2:], "little", signed=True)
            self._ring.push(None, sound.fade_out(waiting, round(FADE_S * self._playhead.rate_hz), last))
        self._drop_said = False
        return told

    def _quieten_ring(self, factor: float) -> None:
        start = 1.0
        for owner, piece in self._ring.pop(self._ring.samples):
            count = min(len(piece) // BYTES_PER_SAMPLE, round(FADE_S * self._playhead.rate_hz))
            end = factor if start == 1.0 else start
            ramp = sound.gain(piece[: count * BYTES_PER_SAMPLE], start, end)
            self._ring.push(owner, ramp + sound.gain(piece[count * BYTES_PER_SAMPLE :], end, end))
            start = end

    # ---------------------------------------------------------------- the playback thread

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:  # noqa: BLE001 — nothing is swallowed: the owner decides what a dead thread means
            self._on_failure(error)

    def _turn(self) -> bool:
        """Waits for something to do and does one thing. → whether to go on."""
        with self._changed:
            while True:
                now_s = time.monotonic()
                self._told += self._playhead.due(now_s, dry=self._is_dry())
                told, self._told = self._told, []
                slice_ = None if self._stopping or self._cut_wanted else self._next_slice()
                if told or slice_ is not None or self._stopping or self._cut_wanted:
                    break
                due_s = self._playhead.next_due_s(dry=self._is_dry())
                self._changed.wait(None if due_s is None else max(0.0, due_s - now_s))
            generation = self._generation
            stopping = self._stopping
            cut, self._cut_wanted = self._cut_wanted, False
        self._tell(told)
        if stopping:
            return False
        if cut:
            self._reopen()
        if slice_ is not None:
            self._make(*slice_, generation=generation)
        return True

    def _tell(self, told: list[Started | Heard]) -> None:
        for it in told:
            if isinstance(it, Started):
                self._on_started(it.answer, it.at_s)
            else:
                self._on_finished(it)

    def _next_slice(self) -> _Slice | None:
        """What to resample next, when the ring has room for a period."""
        if self._ring.samples > self._period_samples:
            return None
        tail = self._tail_owner
        if self._queue:
            chunk = self._queue[0]
            if tail is not None and (tail is not chunk.segment or self._resampler.from_hz != chunk.fmt.rate_hz):
                return self._taken(tail, None, b"")
            samples = math.ceil(self._period_samples * chunk.fmt.rate_hz / self._playhead.rate_hz)
            wanted = samples * chunk.fmt.sample_bytes
            data = chunk.data[:wanted]
            self._queued_s = max(0.0, self._queued_s - len(data) / chunk.fmt.sample_bytes / chunk.fmt.rate_hz)
            chunk.data = chunk.data[wanted:]
            if not chunk.data:
                self._queue.popleft()
            return self._taken(chunk.segment, chunk.fmt, bytes(data))
        if tail is not None and (tail.closed or self._ring.samples < self._period_samples):
            return self._taken(tail, None, b"")
        return None

    def _taken(self, owner: Segment, fmt: AudioFormat | None, data: bytes) -> _Slice:
        self._making = True
        return owner, fmt, data

    def _make(self, owner: Segment, fmt: AudioFormat | None, data: bytes, *, generation: int) -> None:
        if fmt is None:
            pcm = self._resampler.flush()
        else:
            rates = (fmt.rate_hz, self._playhead.rate_hz)
            if self._made != generation or (self._resampler.from_hz, self._resampler.to_hz) != rates:
                self._resampler = Resampler(*rates)
                self._made = generation
            pcm = self._resampler.process(sound.decode(fmt, data))
        with self._changed:
            if generation != self._generation:
                return
            self._making = False
            self._tail_owner = owner if fmt is not None and self._resampler.delay_s else None
            self._staged.push(owner, pcm)
            if not self._queue:
                self._move(self._staged.samples)
            elif self._staged.samples >= self._period_samples:
                self._move(self._period_samples)
            self._changed.notify_all()

    def _move(self, samples: int) -> None:
        """From what is made to what the device takes; here the volume is set, as late as can be."""
        for owner, piece in self._staged.pop(samples):
            reach = len(piece) / BYTES_PER_SAMPLE / self._period_samples
            begin = self._gain
            self._gain = min(max(self._target_gain(), begin - reach), begin + reach)
            self._ring.push(owner, sound.gain(piece, begin, self._gain))

    def _open(self) -> StreamInfo:
        info = self._device.open(self._fill)
        with self._lock:
            if self._playhead.rate_hz != info.rate_hz:
                # What is made is made for another rate, and no more than two periods long.
                self._generation += 1
                self._making = False
                self._tail_owner = None
                self._staged = Ring()
                self._ring = Ring()
            self._playhead.rate_hz = info.rate_hz
            self._playhead.latency_s = info.latency_s
            self._period_samples = max(info.period_samples, round(info.rate_hz * _PERIOD_S))
        if self._far_end is not None:
            self._far_end.start(info.rate_hz)
        return info

    def _reopen(self) -> None:
        with self._changed:
            if self._released:
                return
            self._reopening = True
        try:
            self._device.close()
            self._open()
        except DeviceError as error:
            self._on_failure(error)
        finally:
            with self._changed:
                self._reopening = False
                self._changed.notify_all()
