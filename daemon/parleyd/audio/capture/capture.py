"""Makes frames from the periods of the microphone's callback: the device's thread on one side, ears on the other.

A wake-up of a thread costs many times the work that is done in it. So the ears say how much sound may wait until they
are woken (batch_ms), and in a quiet room the microphone is opened with longer periods (rest): beside the old stream,
with both streams running until their sounds are joined, so that no sample is missed (join.py). While it rests, the
ears can also let sound wait until somebody listens to it who costs less than they do (wait_for).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from typing import Protocol

from parleyd.audio.capture.input_gain import InputGain, factor
from parleyd.audio.capture.join import Join
from parleyd.audio.capture.missing import Missing, MissingSound, Why
from parleyd.audio.devices.device import DeviceError, InputDevice, OpensBeside, StreamInfo
from parleyd.audio.pcm import (
    BYTES_PER_SAMPLE,
    FRAME_BYTES,
    FRAME_MS,
    PIPELINE_RATE_HZ,
    Frame,
)
from parleyd.audio.pcm import gain as amplified
from parleyd.audio.resample import Resampler
from parleyd.audio.sample_clock import SampleClock

log = logging.getLogger(__name__)

# The longest sound that waits for ears, besides that which they let wait. If more waits, ears are stuck, and the oldest
# sound is dropped.
QUEUE_MS = 1000
# The microphone's periods while it rests. Speech is noticed up to 100 ms later than with periods of one frame; the
# pre-roll has its beginning.
RESTING_PERIOD_MS = 120
# How much sound waits while the microphone rests and nothing is worth the ears' attention.
WAITING_MS = 16 * RESTING_PERIOD_MS
# How long the microphone may deliver nothing before silence is inserted, so that the stream keeps real time.
STARVED_S = 0.2
# Perhaps the whole process stood still, and the microphone's thread with it. So that thread gets this much more time to
# deliver what has come meanwhile, and again while the waiting itself ends too late by LATE_S, up to QUEUE_MS.
TURN_S, LATE_S = 0.05, 0.02
# How far a period's time may differ from its place in the count of samples. If it is later, sound is missing before it.
# If it is earlier, more sound has arrived than time has passed, as after a sound server stood still, and this sound is
# too old.
HOLE_S = 0.2
# How long two streams run beside each other at most, until their sounds are joined.
JOINED_S = 3.0
_FRAME_S = FRAME_MS / 1000


class WorthHearing(Protocol):
    """Whether the ears have to be woken for the next period of the microphone, and for all that waits before it."""

    def __call__(self, pcm: bytes, rate_hz: int) -> bool: ...


class _Opening:
    """One opening of the device: it may have a new rate, and has a new count of samples.

    beside: the opening that runs at the same time, and from which this one takes over. joined: it has. was_left:
    another opening has taken over from this one. rate_hz, byte_s: of its sound, once the rate is known; byte_s is the
    length of a byte in seconds. skip_samples: how much of its next sound the other has delivered. too_old_s: how much
    of its sound came too late to be used, and is not counted yet."""

    def __init__(self, beside: _Opening | None = None) -> None:
        self.beside = beside
        self.joined = threading.Event()
        self.was_left = False
        self.skip_samples = 0
        self.too_old_s = 0.0
        self._is_torn = False  # a period is lost in the middle: what is counted begins anew
        self.rate_hz = PIPELINE_RATE_HZ
        self.byte_s = 1 / BYTES_PER_SAMPLE / PIPELINE_RATE_HZ
        self._resampler: Resampler | None = None  # until the rate is known
        self._clock: SampleClock | None = None  # likewise

    @property
    def clock(self) -> SampleClock | None:
        return self._clock

    def opened(self, rate_hz: int) -> None:
        self.rate_hz, self.byte_s = rate_hz, 1 / BYTES_PER_SAMPLE / rate_hz
        self._clock = SampleClock(rate_hz)
        self._taken = self._made = 0
        self._resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)

    def length_s(self, pcm: bytes) -> float:
        return len(pcm) * self.byte_s

    def process(self, pcm: bytes, start_s: float) -> tuple[bytes, float]:
        """Returns the sound, 16-bit PCM at the pipeline's rate, and the monotonic time of its end. After a MemoryError
        the period is lost, and the next one begins anew."""
        if self._resampler is None or self._clock is None:
            return b"", 0.0
        if self._is_torn:
            self.opened(self.rate_hz)
            self._is_torn = False
        late_s = start_s - self._clock.time_of(self._taken) if self._taken else 0.0
        if late_s < -HOLE_S:
            self.too_old_s += self.length_s(pcm)
            return b"", 0.0
        if late_s > HOLE_S:
            self._clock = SampleClock(self.rate_hz)
        self._clock.stamp(self._taken, start_s)
        try:
            made = self._resampler.process(pcm)
        except MemoryError:
            self._is_torn = True
            raise
        self._taken += len(pcm) // BYTES_PER_SAMPLE
        self._made += len(made) // BYTES_PER_SAMPLE
        if self.skip_samples:
            skipped = min(self.skip_samples, len(made) // BYTES_PER_SAMPLE)
            self.skip_samples -= skipped
            made = made[skipped * BYTES_PER_SAMPLE :]
        held_s = self._taken / self.rate_hz - self._made / PIPELINE_RATE_HZ
        return made, self._clock.time_of(self._taken) - held_s


class Capture:
    """A queue of at most one second: beyond that the oldest period is dropped.

    All sound that is missing from frames(), for this or another reason, is counted, and told by take_missing().

    last_period_s, last_sound_s: monotonic time of the last period, and of the last one that was not digital silence.
    gain: applied here and nowhere else, after the detection of digital silence and before all parts that use the sound:
    echo canceller, gate, recordings, agent.
    batch_ms: how much sound may wait before frames() returns; 0: each period at once. The ears set it.
    """

    def __init__(self, device: InputDevice, gain: InputGain | None = None) -> None:
        self.device = device
        self.gain = InputGain() if gain is None else gain
        self._batch_ms = 0
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        # Each period has its opening, its sound, its time, and whether the device lost sound before it.
        self._periods: deque[tuple[_Opening, bytes, float, bool]] = deque()
        self._waiting_s = 0.0
        self._opening: _Opening | None = None  # the opening to which `pending` belongs
        self._join: Join | None = None  # while another opening takes over from it
        self._joining: _Opening | None = None
        self._worth_hearing: WorthHearing | None = None  # while sound may wait for it
        self._enough_s = 0.0  # how much sound frames() returns at once
        self._is_urgent = False  # and something was
        self._pending = bytearray()
        self._next_frame_s: float | None = None
        self._in_gap = False  # the last frames were inserted silence
        self._gap_from_s = 0.0  # the time of the first of them
        # The end of the last gap, and how much of its sound may still come, too old then. The gap was counted.
        self._gap_over_s, self._gap_owed_s = 0.0, 0.0
        self._missing = MissingSound()
        # The time and the length of the sound that was dropped from the queue and is not counted yet.
        self._dropped_from_s, self._dropped_s = 0.0, 0.0
        self._counted_s = 0.0  # the part of the hole before the next frame that is counted already
        self._overflows = 0  # the device's count, at the last period
        self.dropped_periods = 0
        self.last_period_s = 0.0
        self.last_sound_s = 0.0
        # The openings whose sound is wanted. Others have begun too late, and are closed as soon as they have opened.
        self._wanted: tuple[_Opening, ...] = ()
        self._rests = False  # the newest opening has long periods
        self._switch: threading.Thread | None = None
        self._can_rest = isinstance(device, OpensBeside)

    def start(self) -> StreamInfo:
        """Opens the device; may be called again after stop(). Raises DeviceError, also if stop() was called before the
        device had opened at last."""
        opening = _Opening()
        with self._ready:
            self._wanted = (opening,)
            self._rests, self._can_rest = False, isinstance(self.device, OpensBeside)
        info = self.device.open(partial(self._deliver, opening))
        opening.opened(info.rate_hz)
        with self._ready:
            is_wanted = opening in self._wanted
        if not is_wanted:
            self.device.close()
            raise DeviceError(f"{self.device.name}: it was opened too late", "see what keeps the sound server busy")
        return info

    def stop(self) -> None:
        """No sound comes after the return, even if an opening is still under way."""
        with self._ready:
            unwanted, self._wanted = self._wanted, ()
        for opening in unwanted:
            # Nobody joins its sound any more.
            opening.joined.set()
        self.device.close()

    @property
    def clock(self) -> SampleClock | None:
        """The device's, since it was opened; None before the first sound."""
        return None if self._opening is None else self._opening.clock

    @property
    def rests(self) -> bool:
        """The periods are long ones, and no other stream runs beside. Any thread may read it."""
        return self._rests and self._join is None and len(self._wanted) == 1

    def wait_for(self, worth_hearing: WorthHearing | None) -> None:
        """Lets up to WAITING_MS of sound wait until a period is worth hearing; None: batch_ms alone decides.
        worth_hearing is called on the device's thread, for every period in order, while there is one stream; from two
        streams each period is worth hearing. For the ears thread."""
        if worth_hearing is not self._worth_hearing:
            with self._ready:
                self._worth_hearing = worth_hearing
                self._set_enough()

    def hurry(self) -> None:
        """The sound that waits is returned now; if there is none, the next period is, by itself. Any thread may call
        it."""
        with self._ready:
            self._is_urgent = True
            self._ready.notify()

    @property
    def batch_ms(self) -> int:
        return self._batch_ms

    @batch_ms.setter
    def batch_ms(self, batch_ms: int) -> None:
        if batch_ms != self._batch_ms:
            with self._ready:
                self._batch_ms = batch_ms
                self._set_enough()

    def _set_enough(self) -> None:
        # Periods are a little shorter than their name where the rate is no multiple.
        self._enough_s = (WAITING_MS if self._worth_hearing is not None else self._batch_ms) / 1000 - 0.001

    def rest(self, on: bool) -> None:
        """Asks for periods of RESTING_PERIOD_MS while on, where the microphone can be opened twice. Returns at once:
        the opening is done on a thread of its own. For the ears thread."""
        if on is self._rests or not self._can_rest or self._join is not None:
            return
        if self._switch is not None and self._switch.is_alive():
            return
        self._rests = on
        self._switch = threading.Thread(target=self._open_beside, args=(on,), name="microphone", daemon=True)
        try:
            self._switch.start()
        except RuntimeError:
            # The system has no thread left; the stream goes on as it is.
            self._rests, self._switch = not on, None

    def _open_beside(self, rests: bool) -> None:
        device, older = self.device, self._opening
        assert isinstance(device, OpensBeside)
        opening = _Opening(beside=older)
        with self._ready:
            if older is None or self._wanted != (older,):
                self._rests = not rests
                return
            self._wanted = (older, opening)
        try:
            info = device.open_beside(partial(self._deliver, opening), RESTING_PERIOD_MS if rests else None)
        except (DeviceError, MemoryError) as error:
            log.debug("the microphone's periods stay as they are: %s", error)
            with self._ready:
                if opening in self._wanted:
                    self._can_rest, self._rests = False, not rests
                    self._wanted = (older,)
            return
        opening.opened(info.rate_hz)
        if not opening.joined.wait(JOINED_S):
            log.debug("the microphone's two streams were not joined in time")
        device.close_older()
        with self._ready:
            self._wanted = tuple(one for one in self._wanted if one is not older)

    def _deliver(self, opening: _Opening, pcm: bytes, start_s: float) -> None:
        """The device's thread: moves bytes, waits only for the lock, which is held for microseconds."""
        self.last_period_s = now_s = time.monotonic()
        # It ends at the first byte that is not zero.
        if any(pcm):
            self.last_sound_s = now_s
        worth_hearing = self._worth_hearing
        is_urgent = worth_hearing is not None and self._is_urgent_by(worth_hearing, opening, pcm)
        with self._lock:
            if opening not in self._wanted:
                return
            overflows = self.device.overflows
            has_lost, self._overflows = overflows != self._overflows, overflows
            self._periods.append((opening, pcm, start_s, has_lost))
            self._waiting_s += len(pcm) * opening.byte_s
            self._is_urgent |= is_urgent
            if self._waiting_s > QUEUE_MS / 1000 + self._enough_s:
                self._drop_oldest()
            if self._is_urgent or self._waiting_s >= self._enough_s:
                self._ready.notify()

    def _is_urgent_by(self, worth_hearing: WorthHearing, opening: _Opening, pcm: bytes) -> bool:
        """The device's thread. After a rest it finds its code in no cache, so that each call counts."""
        if len(self._wanted) > 1:
            return True
        gain = self.gain
        try:
            if gain.configured_db or gain.auto is not None:
                its = factor(gain.db)
                pcm = amplified(pcm, its, its)
            return worth_hearing(pcm, opening.rate_hz)
        except MemoryError:
            return True

    def _drop_oldest(self) -> None:
        """With the lock: until what waits is within its bound."""
        while self._waiting_s > QUEUE_MS / 1000 + self._enough_s and len(self._periods) > 2:
            oldest, lost, lost_from_s, _ = self._periods.popleft()
            self._waiting_s -= oldest.length_s(lost)
            self._dropped_from_s = self._dropped_from_s if self._dropped_s else lost_from_s
            self._dropped_s += oldest.length_s(lost)
            self.dropped_periods += 1

    def _wait(self, enough_s: float) -> None:
        """With the lock: until so much sound waits, or the microphone has delivered less for STARVED_S longer than it
        takes to deliver what may wait."""

        def is_enough() -> bool:
            return bool(self._periods) and (self._is_urgent or self._waiting_s >= enough_s)

        starved_s = STARVED_S if self._worth_hearing is None else STARVED_S + enough_s
        until_s = time.monotonic() + starved_s + QUEUE_MS / 1000
        if self._ready.wait_for(is_enough, starved_s):
            return
        while not self._periods and (began_s := time.monotonic()) < until_s:
            self._ready.wait_for(is_enough, TURN_S)
            if time.monotonic() - began_s < TURN_S + LATE_S:
                return

    def _taken(self) -> list[tuple[_Opening, bytes, float, bool]]:
        """Waits for a batch of periods; as few as make a batch, oldest first, or all if one is urgent."""
        with self._ready:
            enough_s = self._enough_s
            self._wait(enough_s)
            if self._is_urgent:
                self._is_urgent, enough_s = False, float("inf")
            if self._dropped_s:
                self._missing.add(self._dropped_from_s, self._dropped_s, Why.TOO_SLOW, time.monotonic())
                self._counted_s += self._dropped_s
                self._dropped_s = 0.0
            taken: list[tuple[_Opening, bytes, float, bool]] = []
            taken_s = 0.0
            while self._periods and (not taken or taken_s < enough_s):
                taken.append(self._periods.popleft())
                taken_s += taken[-1][0].length_s(taken[-1][1])
            self._waiting_s = self._waiting_s - taken_s if self._periods else 0.0
        return taken

    def frames(self) -> list[Frame]:
        """Waits for sound, at most STARVED_S, or as much longer as sound may wait; a lost microphone yields silence in
        real time.

        No moment is returned twice, or left out unless ears are slower than real time: sound that arrives late, after
        silence was returned for its time, is dropped, and silence goes on up to the first new sound.

        A period that finds no memory is missing. Raises MemoryError if no frame is left because of that.
        """
        taken = self._taken()
        if not taken:
            now_s = time.monotonic()
            if not self._in_gap and self._next_frame_s is not None:
                self._gap_from_s = self._next_frame_s
            self._in_gap = True
            if self._next_frame_s is not None:
                # Ears that are slower than real time would find a longer gap each time, and never catch up.
                self._next_frame_s = max(self._next_frame_s, now_s - QUEUE_MS / 1000)
            return self._silence_until(now_s)
        frames: list[Frame] = []
        no_memory: MemoryError | None = None
        for opening, pcm, start_s, has_lost in taken:
            if has_lost and not self._in_gap:
                # The time of the gap is told anyway.
                self._missing.add(start_s, 0.0, Why.OVERFLOW, time.monotonic())
            try:
                self._take(opening, pcm, start_s, frames)
            except MemoryError as error:
                no_memory = error
                self._counted_s += opening.length_s(pcm)
                self.lose(start_s, opening.length_s(pcm))
        if no_memory is not None and not frames:
            raise no_memory
        return frames

    def lose(self, begin_s: float, missing_s: float) -> None:
        """This sound could not be handled for want of memory. For the thread of frames()."""
        self._missing.add(begin_s, missing_s, Why.NO_MEMORY, time.monotonic())

    def take_missing(self) -> list[Missing]:
        """The stretches of sound that are missing, each once, soon after it is over. For the thread of frames()."""
        return self._missing.take(time.monotonic())

    @property
    def missing_ms(self) -> int:
        """How much sound is missing since the start."""
        return self._missing.total_ms

    def _take(self, opening: _Opening, pcm: bytes, start_s: float, frames: list[Frame]) -> None:
        """One period; appends the frames that it completes."""
        if opening is not self._opening:
            if opening.beside is not None and opening.beside is self._opening:
                self._take_beside(opening, pcm, start_s, frames)
                return
            if opening.was_left:
                return
            self._follow(opening)
            self._pending.clear()
        made, end_s = opening.process(pcm, start_s)
        if opening.too_old_s:
            self._count_too_old(start_s, opening.too_old_s)
            opening.too_old_s = 0.0
        if self._join is not None and self._joining is not None and made:
            self._join.older(made, end_s)
            self._add(made, end_s, frames)
            self._take_over(self._joining, frames)
            return
        self._add(made, end_s, frames)

    def _count_too_old(self, start_s: float, too_old_s: float) -> None:
        """A sound server that stood still hands over the sound of the gap, of which all is counted, at its end."""
        if start_s - self._gap_over_s < QUEUE_MS / 1000:
            of_gap_s = min(too_old_s, self._gap_owed_s)
            self._gap_owed_s -= of_gap_s
            too_old_s -= of_gap_s
        if too_old_s > 0.0:
            self._missing.add(start_s, too_old_s, Why.TOO_OLD, time.monotonic())

    def _count_hole(self, begin_s: float) -> None:
        """Between the last frame that was heard, and the next one at begin_s."""
        if self._next_frame_s is not None:
            from_s, why = (self._gap_from_s, Why.NOT_IN_TIME) if self._in_gap else (self._next_frame_s, Why.OVERFLOW)
            # A jump of the device's clock may be smaller, and be undone.
            least_s = _FRAME_S / 2 if self._in_gap else HOLE_S - _FRAME_S
            hole_s = begin_s - from_s
            if hole_s > least_s and hole_s - self._counted_s > _FRAME_S / 2:
                self._missing.add(from_s, hole_s - self._counted_s, why, time.monotonic())
            if self._in_gap:
                self._gap_over_s, self._gap_owed_s = begin_s, hole_s

    def _follow(self, opening: _Opening) -> None:
        if self._opening is not None:
            self._opening.was_left = True
        self._opening = opening
        opening.beside = None
        self._join = self._joining = None

    def _take_beside(self, opening: _Opening, pcm: bytes, start_s: float, frames: list[Frame]) -> None:
        if self._join is None:
            self._join, self._joining = Join(), opening
        made, end_s = opening.process(pcm, start_s)
        # Until they are joined the older one delivers it.
        opening.too_old_s = 0.0
        if made:
            self._join.newer(made, end_s)
            self._take_over(opening, frames)

    def _take_over(self, opening: _Opening, frames: list[Frame]) -> None:
        """Goes on with the newer opening, once it is known where its sound continues that of the older one."""
        assert self._join is not None
        joined = self._join.result()
        if joined is None:
            return
        self._follow(opening)
        opening.skip_samples = joined.skip_samples
        opening.joined.set()
        self._add(joined.pcm, joined.end_s, frames)

    def _add(self, made: bytes, end_s: float, frames: list[Frame]) -> None:
        """Sound at the pipeline's rate, and the time of its end."""
        if not made:
            return
        made = self.gain.apply(made)
        pending = self._pending
        begin_s = end_s - (len(pending) + len(made)) / BYTES_PER_SAMPLE / PIPELINE_RATE_HZ
        if pending:
            pending += made
            made = bytes(pending)
        count = len(made) // FRAME_BYTES
        self._pending = bytearray(made[count * FRAME_BYTES :])
        for at in range(0, count * FRAME_BYTES, FRAME_BYTES):
            if self._in_gap:
                frames += self._silence_until(begin_s)
            if not self._in_gap or self._next_frame_s is None or begin_s > self._next_frame_s - _FRAME_S / 2:
                if self._in_gap or begin_s != self._next_frame_s:
                    self._count_hole(begin_s)
                self._counted_s = 0.0
                frames.append(Frame(made[at : at + FRAME_BYTES], begin_s))
                self._next_frame_s = begin_s + _FRAME_S
                self._in_gap = False
            begin_s += _FRAME_S

    def _silence_until(self, now_s: float) -> list[Frame]:
        if self._next_frame_s is None:
            return []
        frames: list[Frame] = []
        while self._next_frame_s + _FRAME_S <= now_s:
            frames.append(Frame.silence(self._next_frame_s))
            self._next_frame_s += _FRAME_S
        return frames
