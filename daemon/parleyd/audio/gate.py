"""The gate: decides, frame by frame, whether somebody speaks. Pure.

Every frame that goes in comes out exactly once and in order, marked as speech or not: while the gate is closed frames
are held back for the length of the pre-roll, so that when it opens, what was said before the verdict is still here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from parleyd.audio.pcm import FRAME_MS, Frame

# Onset: this much speech within this window. Shorter than a spoken "no", longer than a click.
ONSET_WINDOW_MS = 200
ONSET_SPEECH_MS = 120
# Talk goes on while at least this much of the last window is speech; single voiced frames in noise do not keep it.
TALK_WINDOW_MS = 100
TALK_SPEECH_MS = 60
# A pause of this length ends a stretch of talk (not yet the utterance: that takes the hangover).
PAUSE_MS = 300

# The level floor: what the room sounds like when nobody speaks.
FLOOR_START_DBFS = -60.0
FLOOR_MIN_DBFS = -70.0
FLOOR_FALL_DB_PER_S = 20.0
FLOOR_RISE_DB_PER_S = 2.0
# A detector that calls a steady hum voiced must not keep the floor down for ever.
FLOOR_RISE_VOICED_DB_PER_S = 0.3
SPEECH_OVER_FLOOR_DB = 6.0
# After a wake for nothing: so much louder it has to be, for so long.
RAISED_DB = 6.0
RAISED_MS = 60_000


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
    talk_ms: how long the current stretch has lasted, 0 when nobody talks.
    """

    passed: tuple[Passed, ...]
    opened: bool = False
    closed: bool = False
    speech_s: float = 0.0
    talk_started: bool = False
    talk_stopped: bool = False
    talk_ms: int = 0


class LevelFloor:
    """Follows the room's noise: falls fast, rises slowly, hardly at all while a voice is heard."""

    def __init__(self) -> None:
        self.dbfs = FLOOR_START_DBFS

    def step(self, level_dbfs: float, voiced: bool) -> bool:
        """Takes one frame's level; whether it stands out of the room far enough to be speech."""
        stands_out = level_dbfs >= self.dbfs + SPEECH_OVER_FLOOR_DB
        per_frame = FRAME_MS / 1000
        if level_dbfs < self.dbfs:
            self.dbfs = max(level_dbfs, self.dbfs - FLOOR_FALL_DB_PER_S * per_frame, FLOOR_MIN_DBFS)
        else:
            rise = FLOOR_RISE_VOICED_DB_PER_S if voiced else FLOOR_RISE_DB_PER_S
            self.dbfs = min(level_dbfs, self.dbfs + rise * per_frame)
        return stands_out


class Gate:
    """pre_roll_ms: sound kept from before the opening. hangover_ms: quiet after which it closes."""

    def __init__(self, pre_roll_ms: int, hangover_ms: int) -> None:
        self._pre_roll_frames = max(1, pre_roll_ms // FRAME_MS)
        self._hangover_ms = hangover_ms
        self._held: deque[Frame] = deque()
        self._window: deque[bool] = deque(maxlen=ONSET_WINDOW_MS // FRAME_MS)
        self._quiet_ms = 0
        self._last_speech_s = 0.0
        self._talk_since_s: float | None = None
        self._raised_ms = 0
        self.floor = LevelFloor()
        self.open = False

    @property
    def talk_since_s(self) -> float | None:
        """When the current stretch of talk began; None while nobody talks."""
        return self._talk_since_s

    def be_harder_of_hearing(self) -> None:
        """What opened it was nothing: for RAISED_MS speech has to be RAISED_DB louder."""
        self._raised_ms = RAISED_MS

    def step(self, frame: Frame, *, voiced: bool, level_dbfs: float, hold_back: bool = True) -> Verdict:
        """One frame in. hold_back=False: let everything through at once (nothing to look back at is kept)."""
        speech = self.floor.step(level_dbfs, voiced) and voiced
        if self._raised_ms:
            self._raised_ms -= FRAME_MS
            speech = speech and level_dbfs >= self.floor.dbfs + SPEECH_OVER_FLOOR_DB + RAISED_DB
        self._window.append(speech)
        end_s = frame.start_s + FRAME_MS / 1000
        recent = list(self._window)[-TALK_WINDOW_MS // FRAME_MS :]
        if sum(recent) * FRAME_MS >= TALK_SPEECH_MS:
            self._quiet_ms = 0
            self._last_speech_s = end_s
        else:
            self._quiet_ms += FRAME_MS

        onset = sum(self._window) * FRAME_MS >= ONSET_SPEECH_MS
        talk_started = talk_stopped = opened = closed = False
        speech_s = 0.0
        if self._talk_since_s is None and onset:
            talk_started = True
            first = list(self._window).index(True)
            self._talk_since_s = speech_s = end_s - (len(self._window) - first) * FRAME_MS / 1000
            if not self.open:
                self.open = opened = True
        elif self._talk_since_s is not None and self._quiet_ms >= PAUSE_MS:
            talk_stopped = True
            self._talk_since_s = None
            self._window.clear()
            speech_s = self._last_speech_s
        if self.open and self._talk_since_s is None and self._quiet_ms >= self._hangover_ms:
            self.open, closed = False, True
            speech_s = self._last_speech_s

        return Verdict(
            passed=tuple(self._release(frame, closed, hold_back)),
            opened=opened,
            closed=closed,
            speech_s=speech_s,
            talk_started=talk_started,
            talk_stopped=talk_stopped,
            talk_ms=0 if self._talk_since_s is None else round((end_s - self._talk_since_s) * 1000),
        )

    def _release(self, frame: Frame, closed: bool, hold_back: bool) -> list[Passed]:
        self._held.append(frame)
        if self.open or closed:
            keep, speech = 0, True
        elif hold_back:
            keep, speech = self._pre_roll_frames, False
        else:
            keep, speech = 0, False
        return [Passed(self._held.popleft(), speech) for _ in range(len(self._held) - keep)]
