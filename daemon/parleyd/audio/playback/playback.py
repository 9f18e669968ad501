"""The thread around the mix: it makes the sound that the device will want, and reports how much was heard.

mix.py decides everything; here are its lock, its clock and its worker, and speaker.py has the device. Each call takes
the lock once, for microseconds, and the device's callback does so once per period. Longer work is done without it: jobs
and all callbacks on this thread, the arithmetic of a period on the device's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from parleyd.audio.devices.device import DeviceError, OutputDevice, StreamInfo
from parleyd.audio.earcons.sounds import Earcon, Sound
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.announcements import Announcements
from parleyd.audio.playback.mix import Audible, Mix
from parleyd.audio.playback.pipeline import Job
from parleyd.audio.playback.playhead import HeardPart, Started
from parleyd.audio.playback.speaker import REOPENING_S, FarEnd, Speaker
from parleyd.core.health import Pulse
from parleyd.core.no_memory import AGAIN_S, NoMemory

# The device rests when nothing was to be heard, and nothing was expected, for so long. Within a conversation it stays
# open, so that the echo canceller keeps its place.
REST_AFTER_S = 10.0


class Playback:
    """Plays answers one after the other on one device, with announcements and earcons; see Mix.

    All methods may be called from any thread, and none but start, stop, release and regain ever waits. The callbacks
    come on the thread `playback`, without its lock, each once per segment of an answer (see playhead.py), in the order
    of the sound:

    on_started(answer, at_s): its first sound is audible, since at_s.
    on_finished(heard): its end has been heard, or it was cleared, perhaps before it started. An answer has ended when
        end_answer was called for it, or another answer follows, or nothing of it came for 0.8 s after its last sound.
    far_end: gets every period that the device takes, silent or not, with all sounds in it.
    on_failure(error): a DeviceError when the device could not be opened again after a sharp cut, else the error that
        ended the thread. Call stop() then.

    may_rest: asked after each opening whether the device may be closed while nothing sounds; it is opened again when
        something is to sound, or by expect(). lead_in_ms: see Speaker.

    announcements: the way in for the announcer.
    """

    def __init__(
        self,
        device: OutputDevice,
        *,
        volume: float,
        duck_db: float,
        cut: Literal["fade", "sharp"],
        on_started: Callable[[int, float], None],
        on_finished: Callable[[HeardPart], None],
        on_failure: Callable[[Exception], None],
        far_end: FarEnd | None = None,
        earcons: Mapping[Earcon, Sound] | None = None,
        may_rest: Callable[[], bool] = lambda: False,
        lead_in_ms: int = 0,
    ) -> None:
        self._may_rest = may_rest
        self._rests_in_quiet = False  # may_rest() for the present opening
        self._expected_s = 0.0  # when sound was last expected
        self._sharp = cut == "sharp"
        self._on_started = on_started
        self._on_finished = on_finished
        self._on_failure = on_failure

        # Held for microseconds only, because the device's callback needs it too. It guards everything below.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._mix = Mix(volume=volume, duck_db=duck_db, earcons=earcons)
        self._speaker = Speaker(device, self._mix, self._changed, far_end, lead_in_ms=lead_in_ms)
        self._stopping = False
        self._cut_wanted = False
        # For the thread: the sound that there was no memory to make; it is made again before any other.
        self._owed: Job | None = None
        self._memory = NoMemory("speaker", "the sound of the agent has a hole, and then goes on where it was")

        self.announcements = Announcements(self._mix, self._changed)
        self._thread = threading.Thread(target=self._run, name="playback", daemon=True)
        self.pulse = Pulse("playback")

    @contextmanager
    def _mixing(self) -> Iterator[Mix]:
        """The mix, for calls that give the thread something to do."""
        with self._changed:
            yield self._mix
            self._changed.notify_all()

    # ---------------------------------------------------------------- life

    def start(self) -> StreamInfo:
        """Opens the device and begins. Raises DeviceError."""
        info = self._speaker.open()
        self._rests_in_quiet = self._may_rest()
        self._expected_s = time.monotonic()
        self._thread.start()
        return info

    def stop(self) -> None:
        """Cuts the sound; the rest of it counts as cleared. At the return the device is closed, and all callbacks are
        over.

        It waits for the callbacks: do not hold a lock that they need. May be called from a callback, too.
        """
        with self._mixing() as mix:
            self._stopping = True
            mix.clear(time.monotonic(), fade=False)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            # It may be inside PortAudio, which may never return.
            self._thread.join(REOPENING_S)
        self._speaker.close()

    @property
    def device(self) -> OutputDevice:
        return self._speaker.device

    def release(self) -> None:
        """Closes the device until regain(); sound that waits is kept, unless it is cleared."""
        self._speaker.release()

    def regain(self) -> None:
        """Opens the device again; the sound goes on where it was. Raises DeviceError."""
        self._speaker.regain()
        rests = self._may_rest()
        with self._changed:
            self._rests_in_quiet, self._expected_s = rests, time.monotonic()
            self._changed.notify_all()

    def expect(self) -> None:
        """Something may sound soon: a device that rests is opened ahead of it. Returns at once."""
        with self._changed:
            self._expected_s = time.monotonic()
            if self._speaker.rests:
                self._changed.notify_all()

    def forsake(self, on: bool) -> None:
        """While on, there is no speaker, and none is expected soon: sound that waits counts as cleared, and so does
        sound that comes."""
        with self._mixing() as mix:
            mix.discard(on, time.monotonic())

    # ---------------------------------------------------------------- orders: see Mix

    def set_format(self, fmt: AudioFormat) -> None:
        """The format of the sound that is enqueued from now on."""
        with self._changed:
            self._mix.set_format(fmt)

    def enqueue(self, answer: int, data: bytes) -> None:
        """Takes more of an answer, as the provider encodes it; in chunks of any size, even with half a sample at the
        end."""
        with self._mixing() as mix:
            if not self._stopping:
                mix.enqueue(answer, data, time.monotonic())

    def end_answer(self, answer: int) -> None:
        """No more of this answer will come: its last samples need not wait for others."""
        with self._mixing() as mix:
            mix.end_answer(answer)

    def clear(self) -> tuple[HeardPart, ...]:
        """Throws away all sound that has not been heard. The sound ends with a fade; if cut is sharp, the device is
        closed and reopened instead. Returns how much was heard of each answer that was sounding or waited, in the order
        of sounding."""
        with self._mixing() as mix:
            if self._sharp and not self._speaker.rests:
                self._cut_wanted = True
                self._speaker.cut()
            return mix.clear(time.monotonic(), fade=not self._sharp)

    def duck(self, on: bool) -> None:
        """Quieter by duck_db while on; nothing is skipped."""
        with self._changed:
            self._mix.duck(on)

    def set_volume(self, volume: float) -> None:
        """1.0 is unchanged. The volume moves within 20 ms, from the next period on."""
        with self._changed:
            self._mix.set_volume(volume)

    def play_earcon(self, name: Earcon, *, after_voice: bool) -> None:
        """Plays an earcon at once, beside the agent's voice; after_voice: when the agent has finished. An earcon that
        is more than a second late is dropped."""
        with self._changed:
            if not self._stopping:
                self._mix.play_earcon(name, time.monotonic(), after_voice=after_voice)
                if self._speaker.rests:
                    self._changed.notify_all()

    # ---------------------------------------------------------------- the present state

    @property
    def volume(self) -> float:
        """The volume, or its goal while it moves."""
        return self._mix.volume

    def audible_until(self, now_s: float) -> Audible:
        """Until when the agent, earcons and announcements are to be heard."""
        with self._changed:
            return self._mix.audible(now_s)

    def audible(self, now_s: float) -> bool:
        """Whether the agent is to be heard: some of its voice waits, or is inside the device's latency."""
        return now_s < self.audible_until(now_s).voice_until_s

    @property
    def silent_from_s(self) -> float:
        """When all of the agent's voice that the device has taken so far will have been heard."""
        with self._changed:
            return self._mix.silent_from_s

    @property
    def queued_ms(self) -> int:
        """The duration of the agent's voice that the device has not yet taken."""
        with self._changed:
            return round(self._mix.queued_s * 1000)

    @property
    def dropped_ms(self) -> int:
        """The duration of all sound so far that came beyond the queue's limits."""
        return round(self._mix.dropped_s * 1000)

    @property
    def underruns(self) -> int:
        """How often an answer had a hole so far: its sound came late, a thread was late, the hardware ran dry, or there
        was no memory for a period."""
        return self._mix.underruns + self._speaker.holes + self._speaker.device.underruns

    @property
    def last_period_s(self) -> float:
        """Monotonic time at which the device last took a period, or was opened after a rest: a sign of life."""
        return self._mix.last_period_s

    @property
    def rests(self) -> bool:
        """The device is closed because nothing sounds."""
        return self._speaker.rests

    # ---------------------------------------------------------------- the playback thread

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_failure(error)

    def _turn(self) -> bool:
        """Waits for something to do and does it. Returns whether to go on."""
        mix = self._mix
        with self._changed:
            while True:
                now_s = time.monotonic()
                told = mix.told(now_s)
                stopping = self._stopping
                cut, self._cut_wanted = self._cut_wanted, False
                opens = self._opens(now_s)
                job = None if stopping or cut or opens else self._owed or mix.work()
                if told or job is not None or stopping or cut or opens or mix.has_waste:
                    break
                rest_s = self._rest_at_s(now_s)
                if rest_s is not None and now_s >= rest_s:
                    break
                next_s = min((at_s for at_s in (mix.next_told_s, rest_s) if at_s is not None), default=None)
                self.pulse.rest()
                self._changed.wait(None if next_s is None else max(0.0, next_s - now_s))
            self.pulse.beat()
        self._tell(told)
        if stopping:
            return False
        if cut or opens:
            self._reopen()
        elif job is not None:
            self._make(job)
        elif mix.has_waste:
            # Nobody waits for sound.
            mix.free_some()
        elif not told:
            self._speaker.rest()
        return True

    def _make(self, job: Job) -> None:
        self._owed = None
        try:
            job.run()
        except MemoryError as error:
            self._memory.fails(error)
            self._owed = job
            self._wait_for_memory()
            return
        self._memory.succeeds()
        with self._mixing() as mix:
            mix.finish(job)

    def _wait_for_memory(self) -> None:
        with self._changed:
            self._changed.wait(AGAIN_S)

    def _reopen(self) -> None:
        try:
            self._speaker.reopen()
        except DeviceError as error:
            self._on_failure(error)
            return
        except MemoryError as error:
            self._memory.fails(error)
            # Until then the device takes nothing from the mix.
            self._cut_wanted = True
            self._wait_for_memory()
            return
        self._memory.succeeds()
        rests = self._may_rest()
        with self._changed:
            self._rests_in_quiet = rests

    def _opens(self, now_s: float) -> bool:
        """Under the lock: whether the rest of the device is over."""
        if not self._speaker.rests:
            return False
        return self._mix.waits or self._mix.earcons.waits or now_s - self._expected_s < REST_AFTER_S

    def _rest_at_s(self, now_s: float) -> float | None:
        """Under the lock: when the device may rest, if nothing happens until then, or when to ask again; None: not, or
        it rests already."""
        if not (self._rests_in_quiet and self._speaker.may_rest):
            return None
        if self._mix.waits or self._mix.earcons.waits:
            return now_s + REST_AFTER_S
        audible = self._mix.audible(now_s)
        heard_s = max(audible.voice_until_s, audible.earcon_until_s, audible.announcement_until_s)
        return max(self._expected_s, heard_s) + REST_AFTER_S

    def _tell(self, told: list[Started | HeardPart]) -> None:
        for it in told:
            if isinstance(it, Started):
                self._on_started(it.answer, it.at_s)
            else:
                self._on_finished(it)
