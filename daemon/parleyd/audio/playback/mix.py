"""All sound of the speaker, as one object: the agent's answers, an announcement over them, earcons beside them. Pure.

    enqueue ─▶ queue (30 min) ─▶ work: decode, resample ─▶ some periods ─▶ period ─▶ the device
               answer_queue.py   pipeline.py                              gain.py

There is no thread, lock or clock in here: time comes in as an argument, and playback.py has the thread and the lock.
Nothing is held back on purpose: the first chunk sounds as soon as it comes, because agents send faster than real time.
Only the sound that lies ready guards against a late thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from parleyd.audio import pcm as sound
from parleyd.audio.earcons.sounds import Earcon, Sound
from parleyd.audio.pcm import BYTES_PER_SAMPLE, AudioFormat
from parleyd.audio.playback.announcement_track import AnnouncementTrack
from parleyd.audio.playback.earcon_track import EarconTrack
from parleyd.audio.playback.gain import AS_IS, Fader, Layer, Move, mixed
from parleyd.audio.playback.pipeline import Job, Pipeline
from parleyd.audio.playback.playhead import HeardPart, Playhead, Segment, Started

# A clear ends the sound within this time, so that it does not click.
FADE_S = 0.005
# The least length of sound that is made at once, for devices with shorter periods.
_PERIOD_S = 0.010
# The time in which the volume moves over its whole range. A tone of 200 Hz then spreads no more than -80 dB above
# 2 kHz, where a step spreads -36 dB.
_VOLUME_RANGE_S = 0.020
# The time in which ducking moves over its whole range: down before a person's first word is over, back more gently.
_DUCK_RANGE_S, _UNDUCK_RANGE_S = 0.005, 0.010


class Audible(NamedTuple):
    """The monotonic time until which each kind of sound is heard: in the past if it is silent, infinite while more of
    it waits."""

    voice_until_s: float
    """The end of the agent's voice."""
    earcon_until_s: float
    """The end of the earcon."""
    announcement_until_s: float
    """The end of the announcement."""


class Period(NamedTuple):
    """The sound that the device takes at once."""

    samples: int
    """The length, in samples at the device's rate."""
    layers: Sequence[Layer]
    """The sounds that play at the same time; they belong to this object alone."""
    volume: Move
    """The factor of all layers together."""

    def pcm(self) -> bytes:
        """Returns signed 16 bit, little-endian, mono, `samples` long. The arithmetic of a period needs no lock."""
        return mixed(self.samples, self.layers, self.volume)


class _Underruns:
    """Counts the holes in answers: sound that the device asked for in the middle of an answer and did not get."""

    def __init__(self) -> None:
        self.count = 0
        self._starved: Segment | None = None  # if more of this segment comes, the silence so far was a hole
        self._in_hole = False  # a hole of any length counts once

    def more_came(self, segment: Segment) -> None:
        """If the device had run dry in this segment, that was a hole, caused by the network."""
        if self._starved is segment:
            self._add()
        self._starved = None

    def period_was_full(self) -> None:
        self._in_hole = False

    def ran_dry(self, open_segment: Segment | None) -> None:
        """The device got less, and nothing waits: this is a hole if more of the open segment comes later."""
        self._starved = open_segment

    def came_late(self, owner: Segment | None) -> None:
        """The device got less, although sound of owner waits: this is a hole, caused by a late thread, if the answer
        has begun."""
        if owner is not None and owner.handed_s > 0.0:
            self._add()

    def _add(self) -> None:
        self.count += not self._in_hole
        self._in_hole = True


class Mix:
    """Answers one after the other, and the sounds over and beside them, from enqueue() to period().

    volume: 1.0 is unchanged. duck_db: how much quieter the agent is while ducked. earcons: the sounds of the earcons
    that are on.

    announcement, earcons: tracks of their own. They neither wait in the queue nor count as the agent's voice.
    last_period_s: monotonic time at which the device last took a period, or began to be opened after a rest; 0.0
    before. device_rests: the device is closed because nothing sounds, and is opened as soon as something does.

    These invariants hold after any calls in any order; tests/audio/test_mix_sequences.py tries it:

    - The device takes each answer's sound in the order in which it came, each sample once. Sound that is not taken was
      cleared, discarded, or lost at the queue's limits (and, when the device's rate changes, in the resampler).
    - Sound that is told as heard was heard: as many milliseconds of an answer as the device took, after a clear without
      a fade only those that had sounded; never more than came.
    - A clear leaves nothing: at most FADE_S of sound that belongs to no answer, then silence until more comes.
    - One answer at most has the floor. Reports come in the order of the sound: Started at most once, then HeardPart
      exactly once for every segment of an answer, and no report of another answer between the two.
    - Neither ducking nor the volume skips anything, and neither do the sounds over and beside an answer.
    - Announcements and earcons are never heard as an answer's, and no clear takes them.
    - Silence after the end of an answer, or before its first sound, is no underrun.
    """

    def __init__(self, *, volume: float, duck_db: float, earcons: Mapping[Earcon, Sound] | None = None) -> None:
        self.announcement = AnnouncementTrack(duck_db)
        self.earcons = EarconTrack(earcons or {})
        self.last_period_s = 0.0
        self.device_rests = False
        self._voice = Pipeline()
        self._playhead = Playhead(self._voice.rate_hz, 0.020)
        self._underruns = _Underruns()
        self._told: list[Started | HeardPart] = []
        self._fade = b""  # of the sound that was cleared
        self._last_sample = b""  # of the voice, if the device's last period ended in it
        self._volume = volume
        self._duck_factor = 10.0 ** (-duck_db / 20.0)
        self._is_ducked = False
        self._volume_gain = Fader(volume)
        self._duck_gain = Fader()
        self._volume_range_samples = self._duck_range_samples = self._unduck_range_samples = 1
        self._discards = False
        self._discarded_answer: int | None = None

    # ---------------------------------------------------------------- the agent's voice

    def set_format(self, fmt: AudioFormat) -> None:
        """The format of the sound that is enqueued from now on."""
        self._voice.queue.set_format(fmt)

    def enqueue(self, answer: int, data: bytes, now_s: float) -> None:
        """Takes more of an answer, as the provider encodes it; in chunks of any size, even with half a sample at the
        end."""
        queue = self._voice.queue
        data, lost_s = queue.accept(answer, data)
        if self._discards and answer == self._discarded_answer:
            return
        if lost_s:
            self._playhead.lost(answer, lost_s)
        if not data:
            return
        segment = self._playhead.queued(answer, queue.length_s(data))
        if self._discards:
            self._discarded_answer = answer
            self._told += self._playhead.clear(now_s, sharp=True)
            return
        queue.push(segment, data)
        self._underruns.more_came(segment)

    def end_answer(self, answer: int) -> None:
        """No more of this answer will come: its last samples need not wait for others."""
        self._playhead.end(answer)

    def clear(self, now_s: float, *, fade: bool) -> tuple[HeardPart, ...]:
        """Throws away all of the agent's voice that the device has not taken.

        With a fade, the sound ends within FADE_S, and all sound that the device has taken counts as heard. Without a
        fade it ends at once, together with the sound in the device, which has to be closed: only sound that was audible
        counts as heard. Returns how much was heard of each answer that was sounding or waited, in the order of
        sounding.
        """
        self._collect(now_s)
        told = self._playhead.clear(now_s, sharp=not fade, fade_s=FADE_S if fade else 0.0)
        self._told += told
        ready = self._fade + self._voice.clear()
        self._fade = b""
        if fade and (ready or self._last_sample):
            last = int.from_bytes(self._last_sample, "little", signed=True)
            self._fade = sound.fade_out(ready, round(FADE_S * self._voice.rate_hz), last)
        return tuple(it for it in told if isinstance(it, HeardPart))

    def discard(self, on: bool, now_s: float) -> None:
        """While on, nobody can hear: sound that waits counts as cleared, and so does sound that comes."""
        if on and not self._discards:
            self.clear(now_s, fade=False)
        self._discards = on
        self._discarded_answer = None

    def duck(self, on: bool) -> None:
        """Quieter by duck_db while on, from the next period on; nothing is skipped."""
        self._is_ducked = on

    def set_volume(self, volume: float) -> None:
        """1.0 is unchanged. Moves within 20 ms, from the next period on; at once where nothing sounds."""
        self._volume = volume
        if not (self.waits or self.earcons.waits):
            self._volume_gain.jump(volume)

    def play_earcon(self, name: Earcon, now_s: float, *, after_voice: bool) -> None:
        """Plays an earcon at once, beside the agent's voice; after_voice: when the agent has finished. Does nothing
        while discarding."""
        if not self._discards:
            self.earcons.play(name, now_s, after_voice=after_voice)

    # ---------------------------------------------------------------- the present state

    @property
    def volume(self) -> float:
        """The volume, or its goal while it moves."""
        return self._volume

    @property
    def voice_waits(self) -> bool:
        """Whether the device has not yet taken some of the agent's voice, or of the fade in its place."""
        return bool(self._fade) or not self._voice.is_dry

    @property
    def waits(self) -> bool:
        """Whether the device has not yet taken some of the agent's voice, or of an announcement."""
        return self.voice_waits or self.announcement.waits

    @property
    def silent_from_s(self) -> float:
        """When all of the agent's voice that the device has taken will have been heard."""
        return self._playhead.silent_from_s

    def audible(self, now_s: float) -> Audible:
        """Until when the agent, earcons and announcements are to be heard."""
        return Audible(
            float("inf") if self.voice_waits else self._playhead.silent_from_s,
            self.earcons.audible_until_s(now_s),
            self.announcement.audible_until_s(now_s),
        )

    @property
    def queued_s(self) -> float:
        """Seconds of the agent's voice that the device has not yet taken."""
        return self._voice.waiting_s

    @property
    def dropped_s(self) -> float:
        """Seconds of sound so far that came beyond the queue's limits."""
        return self._voice.queue.dropped_s

    @property
    def underruns(self) -> int:
        """How often an answer had a hole, so far: it came late, or we were late."""
        return self._underruns.count

    # ---------------------------------------------------------------- reports

    def told(self, now_s: float) -> list[Started | HeardPart]:
        """Returns the reports that have become due by now, each once, in the order of the sound."""
        self._collect(now_s)
        told, self._told = self._told, []
        return told

    @property
    def next_told_s(self) -> float | None:
        """When told() will have a report, if nothing else happens until then; None: never."""
        return self._playhead.next_due_s(dry=not self.voice_waits)

    def _collect(self, now_s: float) -> None:
        self._told += self._playhead.due(now_s, dry=not self.voice_waits)

    # ---------------------------------------------------------------- the worker

    @property
    def has_work(self) -> bool:
        """Whether work() would give something."""
        return self._voice.has_work or self.announcement.pipeline.has_work

    def work(self) -> Job | None:
        """Returns the next piece of sound to make for the device, the agent's voice first. For one thread: run() it,
        then finish()."""
        return self._voice.work() or self.announcement.pipeline.work()

    def finish(self, job: Job) -> None:
        """A job has run; its sound is dropped if it was cleared meanwhile."""
        self._voice.finish(job)
        self.announcement.pipeline.finish(job)

    @property
    def has_waste(self) -> bool:
        """Whether free_some() has something to do."""
        return self._voice.queue.has_waste or self.announcement.pipeline.queue.has_waste

    def free_some(self) -> None:
        """Frees some of the sound that was cleared; for the worker when it has no work, and without a lock."""
        self._voice.queue.free_some()
        self.announcement.pipeline.queue.free_some()

    # ---------------------------------------------------------------- the device

    def device_opened(
        self, rate_hz: int, period_samples: int, latency_s: float, earcons: dict[Earcon, bytes] | None
    ) -> None:
        """The device was opened, perhaps again and at another rate: everything goes on where it was.

        earcons: the result of self.earcons.resampled(rate_hz).
        """
        if earcons is not None:
            self.earcons.set_rate(rate_hz, earcons)
        if rate_hz != self._voice.rate_hz:
            self._fade = b""
        self._voice.set_rate(rate_hz)
        self.announcement.set_rate(rate_hz)
        self._period_is(max(period_samples, round(rate_hz * _PERIOD_S)))
        self._volume_range_samples = round(_VOLUME_RANGE_S * rate_hz)
        self._duck_range_samples, self._unduck_range_samples = (
            round(range_s * rate_hz) for range_s in (_DUCK_RANGE_S, _UNDUCK_RANGE_S)
        )
        self._playhead.rate_hz = rate_hz
        self._playhead.latency_s = latency_s

    def device_closed(self) -> None:
        """The device takes nothing until device_opened(). Its last sound is over, so a clear needs no fade for it."""
        self._last_sample = b""

    def _period_is(self, samples: int) -> None:
        self._voice.period_samples = self.announcement.pipeline.period_samples = samples

    def voice_alone(self, samples: int, now_s: float) -> tuple[bytes, Move] | None:
        """The device takes so many samples at now_s. Returns them and the volume, if that is the agent's voice and
        nothing else, from the middle of an answer, and gives the worker nothing to do or to tell. Otherwise nothing is
        taken, and the result is None: see period().

        It does what period() does with the same sound, and nearly every period of an answer goes this way. The device's
        thread finds cold caches a hundred times a second: there each function and each object on the way costs a
        microsecond. So nothing is asked that follows from the rest: a fade is taken by the first period of an answer,
        whose start was not told yet.
        """
        announcement, volume = self.announcement, self._volume_gain.still
        if (
            not self._last_sample  # the period before was not full of the voice
            or self._is_ducked
            or self._duck_gain.still is not AS_IS
            or volume.end != self._volume
            or not announcement.is_over
            or self.earcons.waits
        ):
            return None
        piece = self._voice.pop_piece(samples)
        if piece is None:
            return None
        owner, pcm = piece
        self.last_period_s = announcement.last_period_s = now_s
        self._last_sample = pcm[-BYTES_PER_SAMPLE:]
        self._playhead.handed(owner, samples, 0.0, now_s)
        return pcm, volume

    def period(self, samples: int, now_s: float) -> Period:
        """The device takes so many samples at now_s."""
        self.last_period_s = now_s
        if samples > self._voice.period_samples:
            self._period_is(samples)
        layers: list[Layer] = []
        voice, latency_s = self._take_voice(samples, now_s), self._playhead.latency_s
        announcement, under_announcement = self.announcement.take(samples, now_s, latency_s)
        duck, range_samples = 1.0, self._unduck_range_samples
        if self._is_ducked:
            duck, range_samples = self._duck_factor, self._duck_range_samples
        ducked = self._duck_gain.move(duck, samples, range_samples)
        if voice:
            layers.append(Layer(voice, (ducked, under_announcement)))
        if announcement.pcm:
            layers.append(announcement)
        if self.earcons.waits:
            is_answering = self._playhead.busy or self.voice_waits
            if earcon := self.earcons.take(samples, now_s, latency_s, voice=is_answering):
                layers.append(Layer(earcon))
        return Period(samples, layers, self._volume_gain.move(self._volume, samples, self._volume_range_samples))

    def _take_voice(self, samples: int, now_s: float) -> bytes:
        something_waits = self.voice_waits
        if not something_waits:
            self._last_sample = b""
            self._underruns.ran_dry(self._playhead.open)
            return b""
        size, pcm = samples * BYTES_PER_SAMPLE, b""
        if self._fade:
            pcm, self._fade = self._fade[:size], self._fade[size:]
        for owner, piece in self._voice.pop(samples - len(pcm) // BYTES_PER_SAMPLE):
            lead_s = len(pcm) / BYTES_PER_SAMPLE / self._voice.rate_hz
            self._playhead.handed(owner, len(piece) // BYTES_PER_SAMPLE, lead_s, now_s)
            pcm = pcm + piece if pcm else piece
        if len(pcm) == size:
            self._last_sample = pcm[-BYTES_PER_SAMPLE:]
            self._underruns.period_was_full()
            return pcm
        self._last_sample = b""
        if self.voice_waits:
            self._underruns.came_late(self._voice.next_owner)
        else:
            self._underruns.ran_dry(self._playhead.open)
        return pcm
