"""The gate: decides, frame by frame, whether somebody speaks. Pure.

Every frame that goes in comes out exactly once and in order, marked as speech or not: while the gate is closed frames
are held back for the length of the pre-roll, so that when it opens, what was said before the verdict is still here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import takewhile

from parleyd.audio.pcm import FRAME_MS, Frame
from parleyd.audio.room import Doubt, Hubbub, LevelFloor

# The figures are chosen by benchmarks/gate_in_noise.py; docs/gate.md shows what they do.

# Onset: this much speech within this window. Shorter than a spoken "no", longer than a click.
ONSET_WINDOW_MS = 200
ONSET_SPEECH_MS = 120
# Of an onset's speech, this much has to be the middle of a syllable: it has a pitch and stands out of the last moment.
SYLLABLE_WINDOW_MS = 240
ONSET_SYLLABLE_MS = 80
SYLLABLE_PITCH = 0.7
# What came right before an onset, and was more than echo, belongs to the word: up to this much.
FAINT_MOST_MS = 80
# Talk goes on while at least this much of the last window is speech; single voiced frames in noise do not keep it.
TALK_WINDOW_MS = 100
TALK_SPEECH_MS = 60
# ... and no longer than this without a syllable: people make three to eight a second, a hum makes none.
SYLLABLE_PAUSE_MS = 500
# A pause of this length ends a stretch of talk (not yet the utterance: that takes the hangover).
PAUSE_MS = 300

# A gate that has been open for so long hears a room and not a person: it stays open only for what tops the hubbub.
TALK_MOST_MS = 45_000


@dataclass(frozen=True, slots=True)
class Passed:
    """A frame on its way out of the gate."""

    frame: Frame
    speech: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one frame led to.

    opened/closed: an utterance began/ended with this frame; speech_s: when the speech itself began/ended.
    talk_started/talk_stopped: a stretch of talk inside (or at the edge of) the utterance.
    talk_ms: how long the current stretch has lasted, up to its last speech; 0 when nobody talks.
    """

    passed: tuple[Passed, ...]
    opened: bool = False
    closed: bool = False
    speech_s: float = 0.0
    talk_started: bool = False
    talk_stopped: bool = False
    talk_ms: int = 0


class Gate:
    """pre_roll_ms: sound kept from before the opening. hangover_ms: quiet after which it closes."""

    pitch_least = SYLLABLE_PITCH

    def __init__(self, pre_roll_ms: int, hangover_ms: int) -> None:
        self._pre_roll_frames = max(1, pre_roll_ms // FRAME_MS)
        self.hangover_ms = hangover_ms
        self._held: deque[Frame] = deque()
        self._window: deque[bool] = deque(maxlen=ONSET_WINDOW_MS // FRAME_MS)
        self._syllables: deque[bool] = deque(maxlen=SYLLABLE_WINDOW_MS // FRAME_MS)
        self._faint: deque[bool] = deque(maxlen=(ONSET_WINDOW_MS + FAINT_MOST_MS) // FRAME_MS)
        self._since_syllable_ms = SYLLABLE_PAUSE_MS
        self._quiet_ms = 0
        self._last_speech_s = 0.0
        self._talk_since_s: float | None = None
        self._open_ms = 0
        self.floor = LevelFloor()
        self.hubbub = Hubbub()
        self.doubt = Doubt()
        self.open = False

    @property
    def bar_dbfs(self) -> float:
        """The level that a syllable has to reach now."""
        if self.open and self._open_ms <= TALK_MOST_MS:
            return self.floor.syllable_dbfs
        return self.doubt.bar_dbfs(max(self.floor.syllable_dbfs, self.hubbub.bar_dbfs))

    @property
    def talk_since_s(self) -> float | None:
        """When the current stretch of talk began; None while nobody talks."""
        return self._talk_since_s

    def step(
        self,
        frame: Frame,
        *,
        voiced: bool,
        level_dbfs: float,
        hold_back: bool = True,
        pitch: float = 1.0,
        faint: bool = False,
    ) -> Verdict:
        """One frame in. level_dbfs, pitch: as audio.measure has them; without the pitch every voiced frame has one.
        faint: it is the beginning of a word, if a word follows; it opens nothing.
        hold_back=False: let everything through at once (nothing to look back at is kept)."""
        speech = self.floor.step(level_dbfs, voiced) and voiced
        self._open_ms = self._open_ms + FRAME_MS if self.open else 0
        self.hubbub.step(level_dbfs, speech, self._open_ms)
        self.doubt.step(level_dbfs, talk=self._talk_since_s is not None)
        syllable = speech and pitch >= self.pitch_least and level_dbfs >= self.bar_dbfs
        self._window.append(speech)
        self._syllables.append(syllable)
        self._faint.append(faint)
        self._since_syllable_ms = 0 if syllable else self._since_syllable_ms + FRAME_MS
        end_s = frame.start_s + FRAME_MS / 1000
        recent = list(self._window)[-TALK_WINDOW_MS // FRAME_MS :]
        if sum(recent) * FRAME_MS >= TALK_SPEECH_MS and self._since_syllable_ms <= SYLLABLE_PAUSE_MS:
            self._quiet_ms = 0
            self._last_speech_s = end_s
        else:
            self._quiet_ms += FRAME_MS

        onset = (
            sum(self._window) * FRAME_MS >= ONSET_SPEECH_MS and sum(self._syllables) * FRAME_MS >= ONSET_SYLLABLE_MS
        )
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

        return Verdict(
            passed=tuple(self._release(frame, closed, hold_back)),
            opened=opened,
            closed=closed,
            speech_s=speech_s,
            talk_started=talk_started,
            talk_stopped=talk_stopped,
            talk_ms=self._talk_ms,
        )

    @property
    def _talk_ms(self) -> int:
        if self._talk_since_s is None:
            return 0
        return max(FRAME_MS, round((self._last_speech_s - self._talk_since_s) * 1000))

    def _release(self, frame: Frame, closed: bool, hold_back: bool) -> list[Passed]:
        self._held.append(frame)
        if self.open or closed:
            keep, speech = 0, True
        elif hold_back:
            keep, speech = self._pre_roll_frames, False
        else:
            keep, speech = 0, False
        return [Passed(self._held.popleft(), speech) for _ in range(len(self._held) - keep)]
