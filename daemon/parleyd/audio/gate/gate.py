"""The gate: decides, frame by frame, whether somebody speaks. Pure.

Every frame that goes in comes out exactly once and in order, marked as speech or not: while the gate is closed frames
are held back for the length of the pre-roll, so that the sound from before the decision is still available when it
opens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import repeat, takewhile
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parleyd.audio.gate.held_back import HeldBack
from parleyd.audio.gate.known_noises import KnownNoises
from parleyd.audio.gate.noise_floor import (
    SPEECH_OVER_FLOOR_DB,
    Background,
    FalseWakePenalty,
    LevelFloor,
    Sounds,
    Understood,
)
from parleyd.audio.gate.why_held_back import Why
from parleyd.audio.pcm import FRAME_MS, Frame

# The figures are chosen by benchmarks/gate_in_noise.py and the tuning half of benchmarks/people_and_noise.py;
# docs/measurements/gate.md shows what they do.

# The gate opens after this much speech within this window: shorter than a spoken "no", longer than a click.
ONSET_WINDOW_MS = 200
ONSET_SPEECH_MS = 120
# How much of an onset's speech has to be the middle of a syllable, with a pitch and louder than the recent sound.
SYLLABLE_WINDOW_MS = 240
ONSET_SYLLABLE_MS = 80
SYLLABLE_PITCH = 0.7
# The first clear syllable of a word may come late: up to this much sound is kept from its first speech-like frame, in
# addition to the pre-roll.
HEAD_MOST_MS = 800
# How much weak near-end sound right before an onset belongs to the word.
FAINT_MOST_MS = 80
# Talk goes on while at least this much of the last window is speech; single voiced frames in noise are not enough.
TALK_WINDOW_MS = 100
TALK_SPEECH_MS = 60
# The longest talk without a syllable: people speak three to eight a second, a hum has none.
SYLLABLE_PAUSE_MS = 500
# A pause of this length ends a stretch of talk; the utterance ends after the hangover.
PAUSE_MS = 300

# A gate that was open for this long, without anybody being understood, learns the sound as background, and stays open
# only for sound that is louder. People talk for two minutes without a pause, and for three with short pauses; music is
# recognised sooner.
TALK_MOST_MS = {Sounds.NOISE: 45_000, Sounds.VOICE: 200_000, Sounds.PERSON: 240_000}
# After this time closed, the time above starts again.
NEXT_TALK_MS = 3000


class Passed(NamedTuple):
    """A frame that leaves the gate."""

    frame: Frame
    """The frame as it came in."""
    speech: bool
    """True if it belongs to an utterance."""
    held_back: Why | None = None
    """The reason why it was not sent although it sounds like speech; None for all other frames."""


class Verdict(NamedTuple):
    """The result of one frame."""

    passed: tuple[Passed, ...]
    """The frames that leave the gate now, in order; none while they are held back."""
    opened: bool = False
    """True if an utterance began with this frame."""
    closed: bool = False
    """True if an utterance ended with this frame."""
    speech_s: float = 0.0
    """Monotonic time at which the speech began or ended; 0 if no talk or utterance began or ended with this frame."""
    talk_started: bool = False
    """True if a stretch of talk began, inside the utterance or at its edge."""
    talk_stopped: bool = False
    """True if a stretch of talk ended, inside the utterance or at its edge."""
    talk_ms: int = 0
    """The duration of the current stretch of talk up to its last speech; 0 when nobody talks."""


class Gate:
    """pre_roll_ms: sound kept from before the opening. hangover_ms: the silence after which it closes.

    held_back: counts sound like speech that was not sent. known: the noises that caused false wakes. is_remembered: the
    noise of the last false wake is among them."""

    pitch_least = SYLLABLE_PITCH

    def __init__(self, pre_roll_ms: int, hangover_ms: int) -> None:
        self._pre_roll_frames = max(1, pre_roll_ms // FRAME_MS)
        self.hangover_ms = hangover_ms
        self._held: deque[Frame] = deque()
        self._held_why: deque[Why | None] = deque()
        self._window: deque[bool] = deque(maxlen=ONSET_WINDOW_MS // FRAME_MS)
        self._syllables: deque[bool] = deque(maxlen=SYLLABLE_WINDOW_MS // FRAME_MS)
        self._faint: deque[bool] = deque(maxlen=(ONSET_WINDOW_MS + FAINT_MOST_MS) // FRAME_MS)
        self._since_syllable_ms = SYLLABLE_PAUSE_MS
        self._quiet_ms = 0
        self._last_speech_s = 0.0
        self._talk_since_s: float | None = None
        self._closed_ms = 0
        # The used share of the time for which it may stay open: 0 to 1.
        self._used_up = 0.0
        self._head = _Head()
        self._like_speech = _LikeSpeech()
        self.floor = LevelFloor()
        self.background = Background()
        self.penalty = FalseWakePenalty()
        self.understood_by = Understood()
        self.held_back = HeldBack()
        self.known = KnownNoises()
        self.is_remembered = False
        self.open = False

    @property
    def bar_dbfs(self) -> float:
        """The level that a syllable has to reach now."""
        return self._bar()[0]

    @property
    def bar_without_penalty_dbfs(self) -> float:
        """The level that a syllable would have to reach to open the gate without a penalty."""
        return max(self.floor.syllable_dbfs, self.background.bar_dbfs)

    def _bar(self) -> tuple[float, Why]:
        """The level that a syllable has to reach now, and the reason for which a softer one is held back."""
        if self.open and self._used_up < 1:
            floor = self.floor
            return floor.next_syllable_dbfs if self.background.stands_out else floor.syllable_dbfs, Why.BACKGROUND
        why = Why.TOO_LONG if self.open else Why.BACKGROUND
        usual_dbfs = self.bar_without_penalty_dbfs
        if not self.penalty.raised_ms:
            return usual_dbfs, why
        penalty_dbfs = min(self.penalty.bar_dbfs(usual_dbfs), self.understood_by.bar_dbfs)
        return (penalty_dbfs, Why.PENALTY) if penalty_dbfs > usual_dbfs else (usual_dbfs, why)

    @property
    def most_held_frames(self) -> int:
        """The longest time that a frame stays in the gate, in frames."""
        return self._pre_roll_frames + HEAD_MOST_MS // FRAME_MS

    @property
    def talk_since_s(self) -> float | None:
        """When the current stretch of talk began; None while nobody talks."""
        return self._talk_since_s

    @property
    def in_words(self) -> bool:
        """Whether somebody talks, and made no pause up to the last frame."""
        return self._talk_since_s is not None and not self._quiet_ms

    @property
    def to_talk_ms(self) -> int:
        """The least length of sound after which talk may begin, while nobody talks."""
        speech_ms, syllables_ms = sum(self._window) * FRAME_MS, sum(self._syllables) * FRAME_MS
        return max(FRAME_MS, ONSET_SPEECH_MS - speech_ms, ONSET_SYLLABLE_MS - syllables_ms)

    @property
    def is_attentive(self) -> bool:
        """Whether some of the last ONSET_WINDOW_MS was like speech."""
        return True in self._window

    @property
    def is_calm(self) -> bool:
        """Whether nobody talks, nothing was like speech of late, and no known noise is followed."""
        is_busy = self.open or self._talk_since_s is not None or self.is_attentive
        return not (is_busy or self._like_speech.goes_on or self._head.goes_on or self.known.listens)

    # ------------------------------------------------------------ what it is told

    def understood(self) -> None:
        """The agent has understood the sound that passed: it was a person. Call it every time."""
        self.understood_by.understood()
        self.background.was_somebody()
        self.penalty.trust()
        self.known.trust()
        self._used_up = 0.0

    def false_wake(self) -> None:
        """A session has ended in which the agent understood nothing: the sound that passed was not a person."""
        self.understood_by.nobody()
        self.background.was_nobody()
        self.penalty.false_wake()
        self.is_remembered = self.known.false_wake()

    def woken(self) -> None:
        """Talk begins while the daemon is asleep: earlier sound does not belong to it."""
        self.understood_by.nobody()
        self.penalty.wakes()

    # ------------------------------------------------------------ frame by frame

    def step(
        self,
        frame: Frame,
        *,
        voiced: bool,
        level_dbfs: float,
        hold_back: bool = True,
        pitch: float = 1.0,
        faint: bool = False,
        power: npt.NDArray[np.floating] | None = None,
        wakes: bool = False,
    ) -> Verdict:
        """Takes one frame.

        level_dbfs, pitch: from audio.gate.measure; without the pitch every voiced frame counts as pitched.
        faint: weak near-end sound, the beginning of a word if a word follows; it does not open the gate.
        power: the frame's spectrum from audio.gate.measure; without it no noise is recognised.
        wakes: talk that begins with this frame wakes the daemon. It does not begin while the sound follows a known
        noise. If it turns out to be a voice, HEAD_MOST_MS of it is kept, as for every late word.
        hold_back=False: pass every frame at once, without a pre-roll."""
        speech = self.floor.step(level_dbfs, voiced) and voiced
        self.penalty.step(level_dbfs, talk=self._talk_since_s is not None)
        pitched = speech and pitch >= self.pitch_least
        bar_dbfs, why = self._bar()
        syllable = pitched and level_dbfs >= bar_dbfs
        self.background.step(
            level_dbfs,
            speech,
            self.floor,
            is_open=self.open,
            syllable=syllable,
            penalised=pitched and not syllable and why is Why.PENALTY,
        )
        self.understood_by.step(level_dbfs, syllable and self.open)
        self._use_up()
        self._window.append(speech)
        self._syllables.append(syllable)
        self._faint.append(faint)
        self._since_syllable_ms = 0 if syllable else self._since_syllable_ms + FRAME_MS
        end_s = frame.start_s + FRAME_MS / 1000
        recent = list(self._window)[-TALK_WINDOW_MS // FRAME_MS :]
        is_talk = sum(recent) * FRAME_MS >= TALK_SPEECH_MS
        if is_talk and self._since_syllable_ms <= SYLLABLE_PAUSE_MS:
            self._quiet_ms = 0
            self._last_speech_s = end_s
        else:
            self._quiet_ms += FRAME_MS

        self._held.append(frame)
        self._held_why.append(None)
        onset = sum(self._window) * FRAME_MS >= ONSET_SPEECH_MS and sum(self._syllables) * FRAME_MS >= ONSET_SYLLABLE_MS
        if power is not None:
            self.known.observe(power)
            if onset and wakes and self._talk_since_s is None:
                if self.known.holds():
                    onset, why = False, Why.KNOWN_NOISE
                    self._mark([why if each else None for each in self._window])
                else:
                    self.known.wakes()
        if speech or self._like_speech.goes_on:
            in_syllable = pitched and level_dbfs >= self.floor.recent_dbfs + SPEECH_OVER_FLOOR_DB
            self._mark(self._like_speech.step(speech=speech, syllable=in_syllable, why=why))
        talk_started = talk_stopped = opened = closed = False
        speech_s = 0.0
        if self._talk_since_s is None and onset:
            talk_started = True
            frames = len(self._window) - list(self._window).index(True)
            before = list(self._faint)[:-frames][-FAINT_MOST_MS // FRAME_MS :]
            frames += sum(takewhile(bool, reversed(before)))
            self._talk_since_s = speech_s = end_s - frames * FRAME_MS / 1000
            if not self.open:
                self.open = opened = True
        elif self._talk_since_s is not None and self._quiet_ms >= PAUSE_MS:
            talk_stopped = True
            self._talk_since_s = None
            self._window.clear()
            self._syllables.clear()
            speech_s = self._last_speech_s
        if self.open and self._talk_since_s is None and self._quiet_ms >= self.hangover_ms:
            self.open, closed = False, True
            speech_s = self._last_speech_s

        self._head.step(speech)
        passed = tuple(self._release(closed, hold_back))
        self.held_back.step(each.held_back for each in passed if not each.speech)
        return Verdict(
            passed=passed,
            opened=opened,
            closed=closed,
            speech_s=speech_s,
            talk_started=talk_started,
            talk_stopped=talk_stopped,
            talk_ms=self._talk_ms,
        )

    def step_calm(
        self,
        frames: Sequence[Frame],
        *,
        voiced: Sequence[bool],
        levels_dbfs: Sequence[float],
        powers: npt.NDArray[np.floating],
    ) -> tuple[Passed, ...] | None:
        """Takes several frames at once, at most a second, as step() with hold_back would take one after the other:
        nothing begins, nothing ends. Returns the frames that leave the gate. None, and nothing has changed: the gate is
        not calm, or one of the frames may be speech.

        voiced, levels_dbfs, powers: as for step(), of each frame."""
        if not self.is_calm or self.floor.may_be_speech(levels_dbfs, voiced):
            return None
        for level_dbfs in levels_dbfs:
            self.floor.step(level_dbfs, False)
            self.background.step(level_dbfs, False, self.floor, is_open=False)
        count = len(frames)
        self.penalty.pass_by(count)
        self.understood_by.pass_by(count)
        self.known.observe_all(powers)
        for flags in (self._window, self._syllables, self._faint):
            flags.extend(repeat(False, count))
        self._since_syllable_ms += count * FRAME_MS
        self._quiet_ms += count * FRAME_MS
        self._stay_closed(count)
        self._held.extend(frames)
        self._held_why.extend(repeat(None, count))
        passed = tuple(self._release(closed=False, hold_back=True))
        self.held_back.step([each.held_back for each in passed], count)
        return passed

    def _stay_closed(self, frames: int) -> None:
        self._closed_ms += frames * FRAME_MS
        if self._used_up >= 1 or self._closed_ms >= NEXT_TALK_MS:
            self._used_up = 0.0

    def _use_up(self) -> None:
        if not self.open:
            self._stay_closed(1)
            return
        self._closed_ms = 0
        if self._used_up < 1:
            self._used_up += FRAME_MS / TALK_MOST_MS[self.background.sounds]
            if self._used_up >= 1:
                self.background.was_nobody()

    def _mark(self, marks: Sequence[Why | None]) -> None:
        """Marks the last held frames as sound like speech."""
        for back, why in enumerate(reversed(marks), 1):
            if back <= len(self._held_why) and why is not None:
                self._held_why[-back] = why

    @property
    def _talk_ms(self) -> int:
        if self._talk_since_s is None:
            return 0
        return max(FRAME_MS, round((self._last_speech_s - self._talk_since_s) * 1000))

    def _release(self, closed: bool, hold_back: bool) -> list[Passed]:
        if self.open or closed:
            keep, speech = 0, True
        elif hold_back:
            keep, speech = self._pre_roll_frames + self._head.frames, False
        else:
            keep, speech = 0, False
        released = []
        while len(self._held) > keep:
            why = self._held_why.popleft()
            released.append(Passed(self._held.popleft(), speech, None if speech else why))
        return released


class _Head:
    """The length of a word that has not opened the gate yet. frames: beyond the onset's window; 0 if speech-like sound
    has lasted too long to be the beginning of a word."""

    def __init__(self) -> None:
        self.frames = 0
        self._begun_frames = 0
        self._quiet_ms = 0

    @property
    def goes_on(self) -> bool:
        return self._begun_frames > 0

    def step(self, speech: bool) -> None:
        if speech:
            self._quiet_ms = 0
            self._begun_frames += 1
        elif self._begun_frames:
            self._quiet_ms += FRAME_MS
            self._begun_frames = self._begun_frames + 1 if self._quiet_ms < PAUSE_MS else 0
        frames = self._begun_frames - ONSET_WINDOW_MS // FRAME_MS
        self.frames = frames if 0 < frames <= HEAD_MOST_MS // FRAME_MS else 0


# A sound that is held back for one of these reasons keeps this reason until it ends.
_FINAL = (Why.TOO_LONG, Why.KNOWN_NOISE)


class _LikeSpeech:
    """Detects sound that would be talk in an otherwise quiet room. goes_on: it has begun and not yet ended."""

    def __init__(self) -> None:
        self._speech: deque[bool] = deque(maxlen=ONSET_WINDOW_MS // FRAME_MS)
        self._syllables: deque[bool] = deque(maxlen=SYLLABLE_WINDOW_MS // FRAME_MS)
        self._quiet_ms = 0
        self._why: Why | None = None

    @property
    def goes_on(self) -> bool:
        return self._why is not None or any(self._speech) or any(self._syllables)

    def step(self, *, speech: bool, syllable: bool, why: Why) -> Sequence[Why | None]:
        """Takes one frame; returns for the last frames up to this one why each would be held back; None if it is not
        speech."""
        self._speech.append(speech)
        self._syllables.append(syllable)
        self._quiet_ms = 0 if speech else self._quiet_ms + FRAME_MS
        if self._quiet_ms >= PAUSE_MS:
            self._why = None
        if self._why is not None:
            if why in _FINAL or self._why not in _FINAL:
                self._why = why
            return (self._why if speech else None,)
        has_pitch = sum(self._syllables) * FRAME_MS >= ONSET_SYLLABLE_MS
        if has_pitch and sum(self._speech) * FRAME_MS >= ONSET_SPEECH_MS:
            self._why = why
            return [why if each else None for each in self._speech]
        if not any(self._syllables) and sum(self._speech) == self._speech.maxlen:
            return [Why.NO_PITCH] * len(self._speech)
        return ()
