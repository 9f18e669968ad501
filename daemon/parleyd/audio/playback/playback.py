"""The clearable queue: the agent's voice → the speaker. Knows what has been heard; stops within milliseconds.

    enqueue ──▶ queue (≤ 30 min) ─▶ thread: decode, resample, volume ──▶ ring (2 periods) ──▶ the device's callback
                answer_queue.py     pipeline.py, gain.py

Nothing is held back on purpose: the first chunk sounds as soon as it comes, for agents send faster than real time; the
ring's two periods are all that guards against a late thread. A clear throws the queue away and turns what lies in the
ring into a short fade, so that the sound ends within the device's latency, one period and the fade, however long
the chunks are.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Literal, Protocol

from parleyd.audio.devices.device import DeviceError, OutputDevice, StreamInfo
from parleyd.audio.earcons.sounds import Earcon
from parleyd.audio.pcm import BYTES_PER_SAMPLE, AudioFormat
from parleyd.audio.playback.announcement_track import AnnouncementTrack
from parleyd.audio.playback.earcon_track import EarconTrack
from parleyd.audio.playback.gain import Gain
from parleyd.audio.playback.pipeline import FADE_S, Pipeline
from parleyd.audio.playback.playhead import Heard, Playhead, Started
from parleyd.audio.playback.underruns import Holes
from parleyd.core.health import Pulse

# What is made at once.
_PERIOD_S = 0.010
# A sharp cut that takes longer hangs, and who wants the device need not wait for it.
_REOPENING_S = 2.0


class FarEnd(Protocol):
    """Follows everything that the speaker plays; audio/echo/far_end.py. Neither method waits."""

    def start(self, rate_hz: int, latency_s: float) -> None:
        """The speaker was opened, perhaps again: the periods that follow are at this rate, and are heard this late."""

    def take(self, pcm: bytes, at_s: float) -> None:
        """The speaker's device took this period at at_s."""


class Playback:
    """Plays answers one after the other on one device.

    All methods may be called from any thread, and none but start, stop and wait_drained ever waits. The callbacks come
    on the thread `playback`, each once per segment of an answer (see playhead.py), in the order of what is heard:

    on_started(answer, at_s): its first sound is audible, since at_s.
    on_finished(heard): its end has been heard, or it was cleared, perhaps before it started. An answer has ended when
        end_answer was called for it, or another answer follows, or nothing of it came for 0.8 s after its last sound.
    far_end: is given every period that the device takes, silent or not, with the earcons in it.
    earcons: are no answers; they neither wait in the queue nor count as the agent's voice.
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
        earcons: EarconTrack | None = None,
        announcements: AnnouncementTrack | None = None,
    ) -> None:
        self._device = device
        self._sharp = cut == "sharp"
        self._on_started = on_started
        self._on_finished = on_finished
        self._on_failure = on_failure
        self._far_end = far_end
        self._earcons = earcons or EarconTrack({})
        self._announcements = announcements

        # Held for microseconds only, for the device's callback needs it too. All below belongs to it.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stopping = False
        self._cut_wanted = False
        self._reopening = False
        self._released = False  # somebody else has closed the device and will open it again
        self._unheard = False  # nobody can hear: see forsake
        self._unheard_answer: int | None = None
        self._gain = Gain(volume, 10.0 ** (-duck_db / 20.0))
        self._pipeline = Pipeline(self._gain)
        self._holes = Holes()
        self._told: list[Started | Heard] = []
        self._last_period_s = 0.0
        self._playhead = Playhead(self._pipeline.rate_hz, 0.02)
        self._thread = threading.Thread(target=self._run, name="playback", daemon=True)
        self.pulse = Pulse("playback")

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
            # It may be inside PortAudio, which may never return.
            self._thread.join(_REOPENING_S)
        self._device.close()

    @property
    def device(self) -> OutputDevice:
        return self._device

    def release(self) -> None:
        """Closes the device until regain(); what waits is kept, and a clear only throws it away."""
        with self._changed:
            self._released = True
            self._changed.wait_for(lambda: not self._reopening, _REOPENING_S)
            self._pipeline.forget_last()
        self._device.close()

    def regain(self) -> None:
        """Opens the device again; the sound goes on where it was. Raises DeviceError."""
        with self._lock:
            if self._reopening:
                # It hangs in there since before the release, and will be closed when it comes back.
                raise DeviceError(f"{self._device.name}: it is still being opened", "try again a little later")
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
            self._pipeline.queue.set_format(fmt)

    def enqueue(self, answer: int, data: bytes) -> None:
        """More of an answer, as the provider encodes it; in chunks of any size, even with half a sample at the end."""
        with self._changed:
            if self._stopping:
                return
            queue = self._pipeline.queue
            data, lost_s = queue.accept(answer, data)
            if self._unheard and answer == self._unheard_answer:
                return
            if lost_s:
                self._playhead.lost(answer, lost_s)
                self._changed.notify_all()
            if not data:
                return
            segment = self._playhead.queued(answer, queue.length_s(data))
            if self._unheard:
                self._unheard_answer = answer
                self._told += self._playhead.clear(time.monotonic(), sharp=True)
                self._changed.notify_all()
                return
            queue.push(segment, data)
            self._holes.came(segment)
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
            self._pipeline.duck(on)

    def set_volume(self, volume: float) -> None:
        """1.0 is unchanged. Moves within 20 ms, from the next sound on that is made."""
        with self._lock:
            self._gain.set_volume(volume, at_once=self._pipeline.is_dry)

    def play_earcon(self, name: Earcon, *, after_voice: bool) -> None:
        """At once, beside the agent's voice; after_voice: when the agent has finished. Not later than a second after
        the device could have taken it."""
        with self._lock:
            if not self._stopping and not self._unheard:
                self._earcons.play(name, time.monotonic(), after_voice=after_voice)

    # ---------------------------------------------------------------- what is so

    @property
    def volume(self) -> float:
        """Where it is going, if it moves."""
        return self._gain.volume

    def earcon_audible(self, now_s: float) -> bool:
        with self._lock:
            return self._earcons.audible(now_s)

    @property
    def earcons_silent_from_s(self) -> float:
        """When all that the device has taken of earcons will have been heard."""
        return self._earcons.silent_from_s

    def audible(self, now_s: float) -> bool:
        """Whether the agent is to be heard: some of it waits, or is inside the device's latency."""
        with self._lock:
            return not self._pipeline.is_dry or now_s < self._playhead.silent_from_s

    def heard(self, answer: int) -> Heard | None:
        """How far an answer has got; None if nothing ever came of it."""
        now_s = time.monotonic()
        with self._changed:
            self._told += self._playhead.due(now_s, dry=self._pipeline.is_dry)
            if self._told:
                self._changed.notify_all()
            return self._playhead.heard(answer, now_s)

    def wait_drained(self, timeout_s: float) -> bool:
        """Until all that came has been heard or cleared; False when that takes longer."""
        give_up_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                now_s = time.monotonic()
                silent_s = self._playhead.silent_from_s if self._pipeline.is_dry else math.inf
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
            return round(self._pipeline.waiting_s * 1000)

    @property
    def dropped_ms(self) -> int:
        """What came beyond the queue's limits, so far."""
        return round(self._pipeline.queue.dropped_s * 1000)

    @property
    def underruns(self) -> int:
        """How often an answer had a hole, so far: it came late, we were late, or the hardware ran dry."""
        return self._holes.count + self._device.underruns

    @property
    def last_period_s(self) -> float:
        """Monotonic time at which the device last took a period: a sign of life."""
        return self._last_period_s

    # ---------------------------------------------------------------- the device's thread

    def _fill(self, samples: int) -> bytes:
        now_s = time.monotonic()
        pcm = self._next_period(samples, now_s)
        with self._lock:
            voice = self._playhead.busy or not self._pipeline.is_dry
            latency_s, volume = self._playhead.latency_s, self._gain.volume
        if self._announcements is not None:
            pcm = self._announcements.mix(pcm, now_s, latency_s, volume=volume)
        with self._lock:
            pcm = self._earcons.mix(pcm, now_s, latency_s, volume=volume, voice=voice)
        if self._far_end is not None:
            self._far_end.take(pcm, now_s)
        return pcm

    def _next_period(self, samples: int, now_s: float) -> bytes:
        with self._changed:
            self._last_period_s = now_s
            pipeline = self._pipeline
            pipeline.period_samples = max(pipeline.period_samples, samples)
            if pipeline.is_dry:
                pipeline.forget_last()
                self._holes.ran_dry(self._playhead.open)
                return bytes(samples * BYTES_PER_SAMPLE)
            pieces = pipeline.pop(samples)
            taken = 0
            for owner, piece in pieces:
                count = len(piece) // BYTES_PER_SAMPLE
                if owner is not None:
                    self._playhead.handed(owner, count, taken / self._playhead.rate_hz, now_s)
                taken += count
            pcm = b"".join(piece for _, piece in pieces)
            if taken == samples:
                self._holes.filled()
            else:
                pcm += bytes((samples - taken) * BYTES_PER_SAMPLE)
                if self._pipeline.is_dry:
                    self._holes.ran_dry(self._playhead.open)
                else:
                    self._holes.late(pipeline.next_owner)
            self._changed.notify_all()
        return pcm

    # ---------------------------------------------------------------- under the lock

    def _throw_away(self, now_s: float, *, sharp: bool) -> list[Started | Heard]:
        self._told += self._playhead.due(now_s, dry=self._pipeline.is_dry)
        told = self._playhead.clear(now_s, sharp=sharp, fade_s=0.0 if sharp else FADE_S)
        self._told += told
        self._pipeline.clear(fade=not sharp)
        self._holes.forget()
        return told

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
                self._told += self._playhead.due(now_s, dry=self._pipeline.is_dry)
                told, self._told = self._told, []
                work = None if self._stopping or self._cut_wanted else self._pipeline.next_slice()
                has_waste = self._pipeline.queue.has_waste
                if told or work is not None or has_waste or self._stopping or self._cut_wanted:
                    break
                due_s = self._playhead.next_due_s(dry=self._pipeline.is_dry)
                self.pulse.rest()
                self._changed.wait(None if due_s is None else max(0.0, due_s - now_s))
            self.pulse.beat()
            stopping = self._stopping
            cut, self._cut_wanted = self._cut_wanted, False
        self._tell(told)
        if stopping:
            return False
        if cut:
            self._reopen()
        if work is not None:
            pcm = self._pipeline.make(*work)
            with self._changed:
                self._pipeline.store(*work, pcm)
                self._changed.notify_all()
        else:
            # When nobody waits for sound.
            self._pipeline.queue.free_some()
        return True

    def _tell(self, told: list[Started | Heard]) -> None:
        for it in told:
            if isinstance(it, Started):
                self._on_started(it.answer, it.at_s)
            else:
                self._on_finished(it)

    def _open(self) -> StreamInfo:
        info = self._device.open(self._fill)
        earcons = self._earcons.resampled(info.rate_hz)
        if self._announcements is not None:
            self._announcements.set_rate(info.rate_hz)
        with self._lock:
            if earcons is not None:
                self._earcons.set_rate(info.rate_hz, earcons)
            self._pipeline.set_rate(info.rate_hz)
            self._playhead.rate_hz = info.rate_hz
            self._playhead.latency_s = info.latency_s
            self._pipeline.period_samples = max(info.period_samples, round(info.rate_hz * _PERIOD_S))
        if self._far_end is not None:
            self._far_end.start(info.rate_hz, info.latency_s)
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
                # Who released the device, or stopped, has waited for this, but not for ever.
                unwanted = self._released or self._stopping
            if unwanted:
                self._device.close()
            with self._changed:
                self._reopening = False
                self._changed.notify_all()
