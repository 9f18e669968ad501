"""The ears thread: frames from the microphone → echo → voice activity → gate → uplink.

One loop with one input (capture's bounded queue). All functions that it calls return at once.

Each frame takes the same steps in the same order, whenever it is handled. But a wake-up of a thread costs many times
what a frame does, so frames are handled, and sent, several at a time. While nobody talks, they are as many as the gate
needs at least before it can take them for talk: so talk is noticed no later than if each frame were handled as it came.
While somebody talks and the speaker is silent, they are four within words and two in a pause, where the agent waits for
the end of the turn. While somebody talks over the agent, each frame is handled as it comes.

While the daemon is asleep the microphone's periods are longer. Only a second voice detector hears each of them as it
comes, on the device's thread: the gate takes no frame for speech that is not voiced, so the ears sleep on until there
is a voice, or two seconds of sound wait. Frames that cannot be speech, and in which nothing of the speaker is, are
handled together (_hear_calm), with the same result.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from parleyd.audio.capture.capture import Capture, WorthHearing
from parleyd.audio.capture.missing import MissingLog
from parleyd.audio.echo.control import EchoControl, NearFrame
from parleyd.audio.gate.gate import Gate, Passed, Verdict
from parleyd.audio.gate.held_back import HeldBackReports
from parleyd.audio.gate.measure import NO_POWER, Measured, VoiceMeasure
from parleyd.audio.gate.order_stretch import OrderStretch
from parleyd.audio.gate.vad import Detector
from parleyd.audio.gate.wakeword import WakeWord
from parleyd.audio.gate.why_held_back import in_words
from parleyd.audio.pcm import FRAME_MS, SILENCE_DBFS, Frame
from parleyd.audio.recorder import Recorder
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.conversation.session.outbox import Outbox
from parleyd.core import events
from parleyd.core.health import Pulse
from parleyd.core.log_fields import fields
from parleyd.core.no_memory import NoMemory

log = logging.getLogger(__name__)

# The models detect their word 200 to 260 ms after its end (measured with flite). Speech in this time is for the agent.
WORD_LAG_MS = 300
# After this number of false wakes in a row the log gives further advice.
HINT_AFTER = 3
WORD_HINT = "; where music or a television plays for hours, wake.mode: word is the right mode (docs/gate.md)"
# How much sound is handled at a time at most while nobody speaks: less than the gate needs to take it for talk. Asleep
# it is one period of the microphone.
QUIET_BATCH_MS = 100
# How much sound is handled at a time while somebody speaks and nothing sounds: within words, and in a pause between or
# after them. The words that are sent later by this are not the last ones of a turn, for which the agent waits: it waits
# for a pause that is longer than any of this.
WORDS_BATCH_MS, PAUSE_BATCH_MS = 80, 40
# How many frames without speech are given to the outbox at once; and while something sounds, when no agent waits for
# silence to end a turn.
QUIET_FRAMES, QUIET_FRAMES_IN_SOUND = QUIET_BATCH_MS // FRAME_MS, 300 // FRAME_MS
# How long the daemon has been asleep, and nothing was like speech, before the microphone's periods become longer.
REST_AFTER_FRAMES = 2000 // FRAME_MS
# How many frames are handled together at most. From the first that may be speech on, each is handled by itself.
CALM_FRAMES = 960 // FRAME_MS
# How long after the word the supervisor's thread may need to leave the state asleep.
CALLED_S = 1.0


class Wakeable(Protocol):
    """The part of the supervisor that ears use."""

    @property
    def asleep(self) -> bool: ...

    @property
    def deaf(self) -> bool: ...

    def wake(self, *, by_speech: bool) -> None: ...


class Analysed(NamedTuple):
    """A frame on its way to the gate, and what was found in it."""

    near: NearFrame
    voiced: bool
    measured: Measured
    power: npt.NDArray[np.floating]
    """Its spectrum; see VoiceMeasure."""


def batch_ms(*, talks: bool, in_words: bool, to_talk_ms: int, sends_speech: bool, speaker_sounds: bool) -> int:
    """How much sound is handled at a time; 0: each frame as it comes, because it may interrupt the agent, or begin to.

    talks: somebody does. in_words: and makes no pause. to_talk_ms: the least sound that makes the gate take it for
    talk, while nobody talks. sends_speech: what leaves the gate belongs to an utterance.
    """
    if talks:
        if speaker_sounds:
            return 0
        return WORDS_BATCH_MS if in_words else PAUSE_BATCH_MS
    most_ms = PAUSE_BATCH_MS if sends_speech else QUIET_BATCH_MS
    return min(most_ms, to_talk_ms) if to_talk_ms > FRAME_MS else 0


class Ears:
    """hold_back: the uplink sends speech only. muted: the microphone counts as silent for all following parts.

    level_dbfs: of the last frame. heard_frames: without muted ones. speech_frames: the frames that passed the gate as
    speech.
    wake_on_speech=False: speech while asleep stops at the gate, unless it follows the wake_word.
    """

    def __init__(
        self,
        capture: Capture,
        echo: EchoControl,
        vad: Detector,
        gate: Gate,
        outbox: Outbox,
        dialogue: Dialogue,
        supervisor: Wakeable,
        bus: events.Bus,
        *,
        hold_back: bool,
        wake_on_speech: bool,
        on_death: Callable[[str, BaseException], None],
        wake_word: WakeWord | None = None,
        recorder: Recorder | None = None,
        orders: Callable[[bytes], None] | None = None,
    ) -> None:
        """orders: gets each stretch of talk that may be an order to the device itself; returns at once."""
        self._orders = orders
        self._order_stretch = OrderStretch()
        self._capture = capture
        self._echo = echo
        self._vad = vad
        self._measure = VoiceMeasure()
        self._gate = gate
        self._outbox = outbox
        self._dialogue = dialogue
        self._supervisor = supervisor
        self._worth_hearing = self._worth_hearing_by(vad)
        self._bus = bus
        self._hold_back = hold_back
        self._wake_on_speech = wake_on_speech
        self._on_death = on_death
        self._wake_word = wake_word
        self._recorder = recorder
        self._after_word: deque[Passed] = deque(maxlen=WORD_LAG_MS // FRAME_MS)
        self._called_s = float("-inf")
        self._calm_frames = 0  # handled since something was last like speech, or sounded
        self._unsent: list[Passed] = []  # on their way to the outbox
        self._may_wait = True  # they may, because there is no speech in them
        self._last_was_speech = False  # of the frames that went to the outbox
        self._dialogue_knows = False  # of the present speech
        self._utterance = 0
        self._false_wake = threading.Event()
        self._words = threading.Event()
        self._was_understood = False
        self._held_back_reports = HeldBackReports()
        self._missing_log = MissingLog()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ears", daemon=True)
        self._memory = NoMemory("ears", "the microphone counts as silent where its sound cannot be handled")
        self.pulse = Pulse("ears")
        self.first_frame = threading.Event()
        self._muted = False
        self._heard_from_s = float("-inf")
        self.heard_frames = 0
        self.level_dbfs = SILENCE_DBFS
        self.frames = 0
        self.speech_frames = 0
        bus.subscribe(self._take)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._capture.hurry()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def reconfigure(self, vad: Detector, hangover_ms: int, *, wake_on_speech: bool, wake_word: WakeWord | None) -> None:
        """The new settings apply from the next frame; between utterances this is inaudible."""
        self._vad, self._worth_hearing = vad, self._worth_hearing_by(vad)
        self._gate.hangover_ms = hangover_ms
        self._wake_on_speech = wake_on_speech
        self._wake_word = wake_word

    def false_wake(self) -> None:
        """The sound that the gate took for speech was a false wake. May be called from any thread."""
        self._false_wake.set()

    def _take(self, event: events.Event) -> None:
        """A subscriber of the bus, on any thread: words of a person prove that the sound that passed the gate was
        speech. And what waited while the daemon was asleep is to be handled before a session is live, in which it would
        count as the session's time."""
        if isinstance(event, events.StateChanged):
            self._capture.hurry()
        elif isinstance(event, events.Heard) and event.final and any(sign.isalnum() for sign in event.text):
            self._words.set()

    @property
    def muted(self) -> bool:
        return self._muted

    def mute(self, on: bool, now_s: float) -> None:
        """May be called from any thread. While muted, and for sound captured before the end of mute, the microphone
        counts as silent. A frame that is being processed may still reach the outbox."""
        if not on:
            self._heard_from_s = now_s
        self._muted = on

    @property
    def gate(self) -> Gate:
        """The gate, for reading only."""
        return self._gate

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.pulse.beat()
                frames = self._frames()
                for at in range(0, len(frames), CALM_FRAMES):
                    self._hear_all(frames[at : at + CALM_FRAMES])
                self._tell_what_is_missing()
                self._set_pace()
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_death("ears", error)

    def _frames(self) -> list[Frame]:
        try:
            return self._capture.frames()
        except MemoryError as error:
            self._memory.fails(error)
            return []

    def _set_pace(self) -> None:
        """How much sound the next wake-up of this thread brings."""
        gate = self._gate
        self._capture.batch_ms = batch_ms(
            talks=gate.talk_since_s is not None,
            in_words=gate.in_words,
            to_talk_ms=gate.to_talk_ms,
            # After the gate has closed, speech still comes out of it for the length of the pre-roll.
            sends_speech=gate.open or self._last_was_speech,
            speaker_sounds=self._echo.speaker_sounds,
        )
        is_calm = self._calm_frames >= REST_AFTER_FRAMES
        if not self._supervisor.asleep:
            self._capture.rest(False)
        elif is_calm:
            self._capture.rest(True)
        waits = is_calm and self._supervisor.asleep and self._echo.speaker_rests and self._wake_word is None
        self._capture.wait_for(self._worth_hearing if waits and self._capture.rests else None)

    def _worth_hearing_by(self, vad: Detector) -> WorthHearing | None:
        """For Capture.wait_for(): whatever ends the rest is, and a voice. None: the detector is not cheap enough."""
        if (beside := vad.beside()) is None:
            return None
        supervisor, echo, hears = self._supervisor, self._echo, beside.hears

        def worth_hearing(pcm: bytes, rate_hz: int) -> bool:
            return not (supervisor.asleep and echo.speaker_rests) or hears(pcm, rate_hz)

        return worth_hearing

    def _hear_all(self, frames: Sequence[Frame]) -> None:
        """Frames that were taken together."""
        analysed: Sequence[Analysed | None] = [None] * len(frames)
        if self._is_calm(frames):
            analysed = self._hear_calm(frames)
            frames = frames[len(frames) - len(analysed) :]
        for number, (frame, its) in enumerate(zip(frames, analysed, strict=True), 1):
            self._hear(frame, its, is_last=number == len(frames))
            # Up to a second of sound may have arrived at once, which takes long on a slow machine.
            self.pulse.beat()

    def _is_calm(self, frames: Sequence[Frame]) -> bool:
        """Whether these frames may be handled together: nothing is in them but what the microphone hears, and nothing
        depends on them one by one."""
        supervisor, begin_s = self._supervisor, frames[0].start_s
        asleep = supervisor.asleep
        return (
            self._gate.is_calm
            and not (self._muted or supervisor.deaf or self._last_was_speech)
            and (self._hold_back or asleep)
            and (self._wake_word is None or self._wake_on_speech or not asleep)
            and begin_s >= self._heard_from_s
            and True not in [frame.is_silent for frame in frames]
            and self._echo.passes(begin_s, len(frames))
        )

    def _hear_calm(self, frames: Sequence[Frame]) -> list[Analysed]:
        """Handles frames together, up to the first that may be speech. Returns what was found in those that are left,
        for _hear(). If there is no memory they all count as silence, and are to be heard as that."""
        count = len(frames)
        self._learn()
        try:
            voiced = self._vad.all_voiced(frames)
            levels_dbfs, powers = self._measure.steps(frames)
        except MemoryError as error:
            self._memory.fails(error)
            self._capture.lose(frames[0].start_s, count * FRAME_MS / 1000)
            return [_unheard(frame) for frame in frames]
        self._memory.succeeds()
        first = voiced.index(True) if True in voiced else count
        for part in (slice(0, first), slice(first, count)):
            if frames[part] and not self._pass_calm(frames[part], voiced[part], levels_dbfs[part], powers[part]):
                return [
                    Analysed(
                        NearFrame(frame, may_be_speech=True),
                        its,
                        Measured(level_dbfs, self._measure.pitch(power) if its else 0.0),
                        power,
                    )
                    for frame, its, level_dbfs, power in zip(
                        frames[part], voiced[part], levels_dbfs[part], powers[part], strict=True
                    )
                ]
        return []

    def _pass_calm(
        self,
        frames: Sequence[Frame],
        voiced: Sequence[bool],
        levels_dbfs: Sequence[float],
        powers: npt.NDArray[np.floating],
    ) -> bool:
        """Returns False, and nothing has changed, if there may be speech in them."""
        count = len(frames)
        passed = self._gate.step_calm(frames, voiced=voiced, levels_dbfs=levels_dbfs, powers=powers)
        if passed is None:
            return False
        self.level_dbfs = levels_dbfs[-1]
        if self._orders is not None:
            for frame in frames:
                self._listen_for_orders(self._orders, frame, Verdict(()))
        if self._capture.gain.auto is not None:
            for level_dbfs in levels_dbfs:
                self._capture.gain.hear(level_dbfs, self._gate.floor.dbfs, talk=False, alone=True)
        self._calm_frames += count
        wanted = self._wake_on_speech or not self._supervisor.asleep
        self._send(Verdict(passed), wanted=wanted, is_last=True)
        if self._recorder is not None:
            self._recorder.take(passed, closed=False)
        self._tell_what_was_held_back(frames[-1].start_s, count)
        self.heard_frames += count
        self.frames += count
        self.first_frame.set()
        return True

    def _hear(self, frame: Frame, analysed: Analysed | None, *, is_last: bool) -> None:
        """analysed: by _hear_calm(). is_last: of the frames that were taken together."""
        # The order matters: the supervisor sets deaf before it wakes, and sleeps before it clears deaf.
        was_asleep, deaf = self._supervisor.asleep, self._supervisor.deaf
        asleep = was_asleep or deaf or self._supervisor.asleep
        self._learn()
        muted = self._muted or frame.start_s < self._heard_from_s
        self.heard_frames += not muted
        if muted:
            frame = Frame.silence(frame.start_s)
        echo, voiced, measured, power = self._analysed(frame) if analysed is None or muted else analysed
        frame = echo.frame
        self.level_dbfs = measured.level_dbfs
        verdict = self._gate.step(
            frame,
            voiced=voiced,
            level_dbfs=measured.level_dbfs,
            pitch=measured.pitch,
            faint=echo.weak_near_end,
            power=power,
            wakes=asleep and self._wake_on_speech,
            hold_back=self._hold_back or asleep,
        )
        self._echo.judge(echo, talk=verdict.talk_ms > 0)
        if self._orders is not None:
            self._listen_for_orders(self._orders, frame, verdict)
        if muted or (verdict.passed and verdict.passed[0].frame.start_s < self._heard_from_s):
            # The gate has held these frames, of which the first is the oldest, since before mute.
            verdict = verdict._replace(passed=self._silenced(verdict.passed, muted=muted))
        floor_dbfs, alone = self._gate.floor.dbfs, echo.far_end_silent
        self._capture.gain.hear(measured.level_dbfs, floor_dbfs, talk=verdict.talk_ms > 0, alone=alone)
        if verdict.talk_started and asleep:
            self._gate.woken()
        called = frame.start_s - self._called_s < CALLED_S
        wanted = self._wake_on_speech or not asleep or called
        if self._wake_word is not None and not wanted:
            self._listen_for(self._wake_word, frame, verdict)
        if verdict.opened and asleep and not called:
            # Remaining sound belongs to a conversation that is over.
            self._outbox.forget()
        is_busy = self._gate.open or self._gate.is_attentive or self._last_was_speech
        self._calm_frames = 0 if is_busy or self._echo.speaker_sounds else self._calm_frames + 1
        if deaf and not called:
            # The agent gets zeros, except for the speech that wakes it now.
            passed = self._silenced(verdict.passed, muted=not self._wake_on_speech, speech_only=True)
            self._send(verdict._replace(passed=passed), wanted=True, is_last=is_last)
        else:
            self._send(verdict, wanted=wanted, is_last=is_last)
        if self._recorder is not None:
            self._recorder.take(verdict.passed, closed=verdict.closed)
        self._tell(verdict, wanted, for_dialogue=wanted or not deaf)
        self._tell_what_was_held_back(frame.start_s, 1)
        self.frames += 1
        self.speech_frames += sum(one.speech for one in verdict.passed)
        if not self.first_frame.is_set():
            self.first_frame.set()

    def _analysed(self, frame: Frame) -> Analysed:
        """The frame without echo, and what is in it.

        All that a frame needs much memory for is done here, and before the gate: without memory it counts as silence,
        so that all that follows keeps time."""
        try:
            echo = self._echo.hear(frame)
            voiced = echo.may_be_speech and self._vad.voiced(echo.frame)
            measured = self._measure.step(echo.frame, voiced=voiced)
        except MemoryError as error:
            self._memory.fails(error)
            self._capture.lose(frame.start_s, FRAME_MS / 1000)
            return _unheard(frame)
        self._memory.succeeds()
        return Analysed(echo, voiced, measured, self._measure.power)

    def _send(self, verdict: Verdict, *, wanted: bool, is_last: bool) -> None:
        """Frames that were taken together go together: each message would wake the sender, and the network. Zeros wait
        even longer. But the first one tells the uplink that the speech is over."""
        is_speech = any(one.speech for one in verdict.passed)
        self._may_wait &= self._hold_back and not (is_speech or self._last_was_speech or verdict.talk_ms)
        if verdict.passed:
            self._last_was_speech = is_speech
        if not (verdict.talk_started or verdict.talk_stopped or verdict.closed):
            self._unsent.extend(verdict.passed if wanted else ())
            most = QUIET_FRAMES_IN_SOUND if self._echo.speaker_sounds else QUIET_FRAMES
            if len(self._unsent) >= most or (is_last and not self._may_wait):
                self._push_unsent()
            return
        self._push_unsent()
        self._outbox.hear(verdict, wanted=wanted)

    def _push_unsent(self) -> None:
        self._may_wait = True
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            self._outbox.push(unsent)

    def _silenced(self, passed: tuple[Passed, ...], *, muted: bool, speech_only: bool = False) -> tuple[Passed, ...]:
        """Replaces sound that must not be sent by silence of the same duration."""
        return tuple(
            Passed(Frame.silence(one.frame.start_s), speech=False)
            if muted or (speech_only and not one.speech) or one.frame.start_s < self._heard_from_s
            else one
            for one in passed
        )

    def _learn(self) -> None:
        """Tells the gate the results of wakes."""
        gate, penalty = self._gate, self._gate.penalty
        understood, before = self._dialogue.understood, self._was_understood
        self._was_understood = understood
        if self._false_wake.is_set():
            self._false_wake.clear()
            gate.false_wake()
            log.info("%s%s", penalty_in_words(gate), WORD_HINT if penalty.times == HINT_AFTER else "")
        elif self._words.is_set() or (understood and (penalty.times or not before)):
            self._words.clear()
            gate.understood()

    def _tell_what_was_held_back(self, at_s: float, frames: int) -> None:
        report = self._held_back_reports.step(self._gate.held_back, frames)
        if report is None:
            return
        self._bus.publish(events.SpeechHeldBack(at_s=at_s, held_ms=report.held_ms, total_ms=report.total_ms))
        log.info(
            "held back %.1f s that sounded like speech in the last %s (%s); %.1f s since the start",
            sum(report.held_ms.values()) / 1000,
            "minute" if report.minutes == 1 else f"{report.minutes} minutes",
            in_words(report.held_ms),
            report.total_ms / 1000,
        )

    def _tell_what_is_missing(self) -> None:
        for missing in self._capture.take_missing():
            self._bus.publish(
                events.SoundMissing(at_s=missing.begin_s, missing_ms=missing.missing_ms, cause=missing.why.value)
            )
            if (line := self._missing_log.line(missing, time.monotonic())) is not None:
                log.warning("%s", line, extra=fields(reason=missing.why.value))

    def _listen_for_orders(self, orders: Callable[[bytes], None], frame: Frame, verdict: Verdict) -> None:
        stretch = self._order_stretch.step(
            frame.pcm,
            talk_started=verdict.talk_started,
            talk_stopped=verdict.talk_stopped,
            agent_sounds=self._echo.agent_sounds,
        )
        if stretch is not None:
            orders(stretch)

    def _listen_for(self, word: WakeWord, frame: Frame, verdict: Verdict) -> None:
        """Wakes at the wake word; the sound after the word is the beginning of the sent sound."""
        self._after_word.extend(verdict.passed)
        if not word.heard(frame):
            return
        word.reset()
        self._called_s = frame.start_s
        self._outbox.forget()
        self._outbox.push(tuple(self._after_word))
        self._after_word.clear()
        self._supervisor.wake(by_speech=True)

    def _tell(self, verdict: Verdict, wanted: bool, *, for_dialogue: bool) -> None:
        """for_dialogue: speech that begins now keeps the session open, or interrupts the agent."""
        if verdict.opened:
            self._utterance += 1
            self._bus.publish(
                events.UtteranceStarted(at_s=verdict.speech_s, utterance=self._utterance, detected_s=time.monotonic())
            )
        if verdict.talk_started and for_dialogue:
            self._dialogue.talk_started(verdict.speech_s)
            self._dialogue_knows = True
        if verdict.talk_ms and self._dialogue_knows:
            self._dialogue.talk_goes_on(verdict.talk_ms)
        if verdict.talk_stopped:
            if self._dialogue_knows:
                self._dialogue.talk_stopped()
                self._dialogue_knows = False
            self._bus.publish(events.TalkStopped(at_s=verdict.speech_s, utterance=self._utterance))
        if verdict.closed:
            self._bus.publish(events.UtteranceEnded(at_s=verdict.speech_s, utterance=self._utterance))
        if verdict.talk_started and wanted:
            self._supervisor.wake(by_speech=True)


def _unheard(frame: Frame) -> Analysed:
    """In the place of a frame for which there was no memory."""
    silence = NearFrame(Frame.silence(frame.start_s), may_be_speech=False)
    return Analysed(silence, voiced=False, measured=Measured(SILENCE_DBFS, 0.0), power=NO_POWER)


def penalty_in_words(gate: Gate) -> str:
    """The effect of a false wake on the gate, in words."""
    penalty, bar_dbfs, usual_dbfs = gate.penalty, gate.bar_dbfs, gate.bar_without_penalty_dbfs
    woken = f"false wake ({penalty.times} in a row)"
    if gate.open or bar_dbfs <= usual_dbfs:
        return f"{woken}: the sound that woke it would not be loud enough any more, so nobody has to be louder for it"
    raised = (
        f"{woken}: for {penalty.raised_ms // 60_000} min a voice has to reach {bar_dbfs:.0f} dBFS, where "
        f"{usual_dbfs:.0f} would do"
    )
    if penalty.false_wake_dbfs < bar_dbfs:
        return f"{raised}; that is louder than the sound that woke it"
    that_was = f"{raised}; the sound that woke it reached {penalty.false_wake_dbfs:.0f} dBFS"
    if gate.is_remembered:
        return f"{that_was}, but it is known now, and what sounds the same will be held back"
    return f"{that_was}, so the same can wake it again"
