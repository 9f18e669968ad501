"""Learns the sound of a room in which nobody speaks to the agent: noise floor, background, false wakes. Pure.

The figures are chosen by benchmarks/gate_in_noise.py, false_wakes.py and the tuning half of people_and_noise.py;
docs/measurements/gate.md shows their effect.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from math import inf, log10

from parleyd.audio.pcm import FRAME_MS, SILENCE_DBFS, median

# The noise floor is the lowest level of the last seconds. Speech falls to it between words; steady noise stays on it.
FLOOR_START_DBFS = -60.0
FLOOR_MIN_DBFS = -70.0
FLOOR_WINDOW_MS = 4000
# The highest floor before a whole window has passed, because the first sound may already be speech.
FLOOR_UNSURE_DBFS = -50.0
SPEECH_OVER_FLOOR_DB = 3.0
# A syllable is louder than the recent sound of this length. The required rise is larger if the detector takes a large
# share of the sound for speech: in music and among people every frame is "voiced".
RECENT_MS = 800
VOICED_SHARE_S = 5.0
VOICED_SHARE_FROM = 0.1
RISE_PER_VOICED_SHARE_DB = 25.0
RISE_MOST_DB = 12.0
# The required rise while the gate is open for sound that stands out like a voice: in a hall the sound of one syllable
# has not faded when the next one begins.
RISE_IN_TALK_DB = 5.0
# The background is sound like speech that is not meant for the agent. A voice for the agent is this much louder than
# its usual peaks.
BACKGROUND_S = 15.0
BACKGROUND_FROM = 0.12
OVER_BACKGROUND_DB = 3.0
BACKGROUND_PEAKS = 30
BACKGROUND_PEAKS_LEAST = 5
# Below this share of speech the room is quiet and the background is forgotten; otherwise an hour of silence in the
# usual peaks would hide music for half a minute.
BACKGROUND_GONE = 0.05
# How far the usual peaks of a voice are above the noise floor, over the last seconds: a voice falls to the room's level
# between words. Music, babble and a television with music stay nearer to their peaks.
DEPTH_S = 6
VOICE_DEPTH_DB = 18.0
# A depth that no television with music reaches.
PLAIN_DEPTH_DB = 24.0
# The least share of syllables in a voice.
VOICE_SYLLABLES = 0.12
# In a noisy room a voice has less depth (at least CALM_DEPTH_DB), but it falls to within CALM_WITHIN_DB of the room's
# level when nobody spoke, which is the level at a share of speech below CALM_SHARE.
CALM_DEPTH_DB = 8.0
CALM_WITHIN_DB = 3.0
CALM_SHARE = 0.03
# Sound that is this much louder than the background does not belong to it.
TOPS_BACKGROUND_DB = 10.0
# How long the level of a person who was understood stays sufficient, whatever false wakes follow. The level is the
# softer quarter of their last seconds, minus a margin.
UNDERSTOOD_MS = 600_000
UNDERSTOOD_S = 30
UNDERSTOOD_MARGIN_DB = 6.0
# The false-wake penalty: a syllable has to be louder by this much for each false wake in a row, but not louder than the
# sound of the false wake plus OVER_FALSE_WAKE_DB. The duration doubles each time. False wakes count as in a row up to
# PENALTY_REMEMBERED_MS after the last penalty.
PENALTY_STEP_DB = 6.0
PENALTY_MOST_DB = 18.0
OVER_FALSE_WAKE_DB = 1.5
PENALTY_MS = 60_000
PENALTY_MOST_MS = 16 * PENALTY_MS
PENALTY_REMEMBERED_MS = 10 * PENALTY_MS
# A lower level is digital silence, from muted hardware or a microphone that counts as silent; nothing is learnt from
# it.
SILENT_DBFS = -100.0

_SMOOTHING = 0.5
# How fast the shares follow, per frame.
_PER_VOICED_SHARE = FRAME_MS / 1000 / VOICED_SHARE_S
_PER_BACKGROUND = FRAME_MS / 1000 / BACKGROUND_S
_FLOOR_BLOCK_FRAMES = 25
_PEAK_FRAMES = 1000 // FRAME_MS


class LevelFloor:
    """dbfs: the noise floor. smooth_dbfs: the level over about 40 ms."""

    def __init__(self) -> None:
        self.dbfs = self.smooth_dbfs = FLOOR_START_DBFS
        self._smooth_power: float = 10 ** (FLOOR_START_DBFS / 10)
        self._voiced_share = 0.0
        recent = RECENT_MS // FRAME_MS
        self._recent = deque([FLOOR_START_DBFS] * recent, maxlen=recent)
        # The minimum over the window, by blocks, so that the cost does not depend on the window's length.
        self._blocks: deque[float] = deque(maxlen=FLOOR_WINDOW_MS // FRAME_MS // _FLOOR_BLOCK_FRAMES)
        self._blocks_least = inf
        self._block_least = 0.0
        self._block_frames = 0

    def step(self, level_dbfs: float, voiced: bool) -> bool:
        """Takes one frame's level. Returns whether it is far enough above the noise floor to be speech."""
        if level_dbfs <= SILENT_DBFS:
            return False
        self._smooth_power += (10 ** (level_dbfs / 10) - self._smooth_power) * _SMOOTHING
        self.smooth_dbfs = smooth_dbfs = 10 * log10(self._smooth_power)
        self._recent.append(smooth_dbfs)
        self._block_least = min(self._block_least, smooth_dbfs)
        self._block_frames += 1
        if self._block_frames == _FLOOR_BLOCK_FRAMES:
            self._blocks.append(self._block_least)
            self._block_least, self._block_frames = smooth_dbfs, 0
            self._blocks_least = min(self._blocks)
        least = min(self._block_least, self._blocks_least)
        if len(self._blocks) < (self._blocks.maxlen or 0):
            least = min(least, FLOOR_UNSURE_DBFS)
        self.dbfs = max(least, FLOOR_MIN_DBFS)
        stands_out = level_dbfs >= self.dbfs + SPEECH_OVER_FLOOR_DB
        self._voiced_share += (float(voiced and stands_out) - self._voiced_share) * _PER_VOICED_SHARE
        return stands_out

    def may_be_speech(self, levels_dbfs: Sequence[float], voiced: Sequence[bool]) -> bool:
        """Whether step() may take one of these frames for speech: False is certain. Nothing changes."""
        if True not in voiced:
            return False
        # The smoothed level, and with it the floor, does not fall below the softest frame.
        least_dbfs = max(FLOOR_MIN_DBFS, min(self.dbfs, self.smooth_dbfs, *levels_dbfs))
        needed_dbfs = least_dbfs + SPEECH_OVER_FLOOR_DB
        return any(its and level >= needed_dbfs for its, level in zip(voiced, levels_dbfs, strict=True))

    @property
    def rise_db(self) -> float:
        """How far a syllable has to exceed the recent sound at present."""
        rise_db = SPEECH_OVER_FLOOR_DB + RISE_PER_VOICED_SHARE_DB * max(0.0, self._voiced_share - VOICED_SHARE_FROM)
        return min(rise_db, RISE_MOST_DB)

    @property
    def recent_dbfs(self) -> float:
        """The lowest level of the recent sound."""
        return max(FLOOR_MIN_DBFS, min(self._recent))

    @property
    def syllable_dbfs(self) -> float:
        """The level that a syllable has to reach."""
        return self.recent_dbfs + self.rise_db

    @property
    def next_syllable_dbfs(self) -> float:
        """The level that a syllable has to reach while somebody talks."""
        return self.recent_dbfs + min(self.rise_db, RISE_IN_TALK_DB)


class Sounds(enum.Enum):
    """The kind of sound behind an open gate. NOISE: its level does not fall like that of a voice. VOICE: its level
    falls like that of a voice. PERSON: its level falls to that of the room when nobody spoke, so the voice is the only
    sound."""

    NOISE = enum.auto()
    VOICE = enum.auto()
    PERSON = enum.auto()


class Background:
    """Music, a television, conversation at the next table.

    bar_dbfs: the level that a person who speaks to the agent has to reach; FLOOR_MIN_DBFS without a background. sounds:
    the kind of the present sound. stands_out: its usual peaks are as far above the noise floor as those of a voice, and
    above the background.

    It is learnt while the gate is closed. Sound through an open gate may be a person, however long it lasts: it waits
    until the result is known, and is learnt only if it was not a person."""

    def __init__(self) -> None:
        self.bar_dbfs = FLOOR_MIN_DBFS
        self.sounds = Sounds.NOISE
        self.stands_out = False
        self._share = 0.0
        self._calm_dbfs = FLOOR_START_DBFS
        self._peaks: deque[float] = deque(maxlen=BACKGROUND_PEAKS)
        self._waiting: deque[float] = deque(maxlen=BACKGROUND_PEAKS)
        self._recent: deque[tuple[float, int]] = deque(maxlen=DEPTH_S)
        self._peak = self._usual = FLOOR_MIN_DBFS
        self._frames = self._syllables = 0
        self._is_penalised = False

    def step(
        self,
        level_dbfs: float,
        speech: bool,
        floor: LevelFloor,
        *,
        is_open: bool,
        syllable: bool = False,
        penalised: bool = False,
    ) -> None:
        """speech: by detector and noise floor. floor: which has taken the same frame. syllable: the middle of a
        syllable. penalised: a syllable that only the penalty keeps from opening the gate."""
        if level_dbfs <= SILENT_DBFS:
            return
        self._share += (float(speech) - self._share) * _PER_BACKGROUND
        self._peak = max(self._peak, floor.smooth_dbfs)
        self._syllables += syllable or penalised
        self._is_penalised |= penalised
        self._frames += 1
        if self._frames == _PEAK_FRAMES:
            self._second(floor.dbfs, is_open)
            self._peak, self._frames, self._syllables, self._is_penalised = FLOOR_MIN_DBFS, 0, 0, False
        is_background = self._share > BACKGROUND_FROM and len(self._peaks) >= BACKGROUND_PEAKS_LEAST
        self.bar_dbfs = self._usual + OVER_BACKGROUND_DB if is_background else FLOOR_MIN_DBFS

    def _second(self, floor_dbfs: float, is_open: bool) -> None:
        self._recent.append((self._peak, self._syllables))
        if not is_open and self._share < CALM_SHARE:
            self._calm_dbfs = floor_dbfs
        self.sounds = self._like(floor_dbfs)
        peak_dbfs = median(peak for peak, _ in self._recent)
        self.stands_out = peak_dbfs >= floor_dbfs + PLAIN_DEPTH_DB and self._tops_background(peak_dbfs)
        if self._share < BACKGROUND_GONE:
            self._peaks.clear()
            self._waiting.clear()
        elif is_open:
            self._waiting.append(self._peak)
        elif not (self._is_penalised and self._comes_down(self._peak - floor_dbfs, floor_dbfs)):
            self._peaks.append(self._peak)
        self._learnt()

    def _like(self, floor_dbfs: float) -> Sounds:
        peak_dbfs = median(peak for peak, _ in self._recent)
        if sum(syllables for _, syllables in self._recent) < VOICE_SYLLABLES * len(self._recent) * _PEAK_FRAMES:
            return Sounds.NOISE
        if not self._tops_background(peak_dbfs):
            return Sounds.NOISE
        depth_db = peak_dbfs - floor_dbfs
        if self._comes_down(depth_db, floor_dbfs):
            return Sounds.PERSON
        return Sounds.VOICE if depth_db >= VOICE_DEPTH_DB else Sounds.NOISE

    def _tops_background(self, peak_dbfs: float) -> bool:
        return self.bar_dbfs <= FLOOR_MIN_DBFS or peak_dbfs >= self._usual + TOPS_BACKGROUND_DB

    def _comes_down(self, depth_db: float, floor_dbfs: float) -> bool:
        return depth_db >= CALM_DEPTH_DB and floor_dbfs <= self._calm_dbfs + CALM_WITHIN_DB

    def _learnt(self) -> None:
        if self._peaks:
            self._usual = median(self._peaks)

    def was_nobody(self) -> None:
        """Learns the sound through the gate since the last verdict as background."""
        self._peaks.extend(self._waiting)
        self._waiting.clear()
        self._learnt()

    def was_somebody(self) -> None:
        """Forgets the sound through the gate since the last verdict: it was a person."""
        self._waiting.clear()


class Understood:
    """The level of people who were understood. bar_dbfs: the penalty never asks for more; infinite if nobody was
    understood."""

    def __init__(self) -> None:
        self.bar_dbfs = inf
        self._peaks: deque[float] = deque(maxlen=UNDERSTOOD_S)
        self._peak = SILENCE_DBFS
        self._frames = 0
        self._left_ms = 0

    def step(self, level_dbfs: float, syllable: bool) -> None:
        """syllable: the frame belongs to a syllable that passes the gate."""
        if syllable:
            self._peak = max(self._peak, level_dbfs)
        self.pass_by(1)

    def pass_by(self, frames: int) -> None:
        """Takes this number of frames without a syllable, at most a second of them."""
        self._frames += frames
        if self._frames >= _PEAK_FRAMES:
            if self._peak > SILENCE_DBFS:
                self._peaks.append(self._peak)
            self._peak, self._frames = SILENCE_DBFS, self._frames - _PEAK_FRAMES
        if self._left_ms:
            self._left_ms = max(0, self._left_ms - frames * FRAME_MS)
            if not self._left_ms:
                self.bar_dbfs = inf

    def understood(self) -> None:
        """The last sound was understood."""
        if self._peaks:
            self._left_ms = UNDERSTOOD_MS
            self.bar_dbfs = sorted(self._peaks)[len(self._peaks) // 4] - UNDERSTOOD_MARGIN_DB
            self._peaks.clear()

    def nobody(self) -> None:
        """The last sound was not a person, or belongs to another conversation."""
        self._peaks.clear()


class FalseWakePenalty:
    """Raises the level that a syllable must reach after false wakes. times: false wakes in a row; raised_ms: the rest
    of the penalty. false_wake_dbfs: the loudest sound of the last one."""

    def __init__(self) -> None:
        self.times = 0
        self.raised_ms = 0
        self._remembered_ms = 0
        self._loudest_dbfs = SILENCE_DBFS
        self.false_wake_dbfs = SILENCE_DBFS

    def step(self, level_dbfs: float, talk: bool) -> None:
        """talk: the frame belongs to talk, according to the gate."""
        if talk:
            self._loudest_dbfs = max(self._loudest_dbfs, level_dbfs)
        self.pass_by(1)

    def pass_by(self, frames: int) -> None:
        """Takes this number of frames without talk."""
        self.raised_ms = max(0, self.raised_ms - frames * FRAME_MS)
        self._remembered_ms = max(0, self._remembered_ms - frames * FRAME_MS)
        if not self._remembered_ms:
            self.times = 0

    def wakes(self) -> None:
        """Talk begins while the daemon is asleep: earlier sound does not belong to it."""
        self._loudest_dbfs = SILENCE_DBFS

    def false_wake(self) -> None:
        """The sound since the last call, or since the wake, was not a person."""
        self.times += 1
        self.raised_ms = min(PENALTY_MOST_MS, PENALTY_MS * 2 ** min(self.times - 1, 10))
        self._remembered_ms = self.raised_ms + PENALTY_REMEMBERED_MS
        self.false_wake_dbfs = self._loudest_dbfs
        self._loudest_dbfs = SILENCE_DBFS

    def trust(self) -> None:
        """Somebody was understood: the penalty ends."""
        self.times = self.raised_ms = self._remembered_ms = 0
        self._loudest_dbfs = SILENCE_DBFS

    def bar_dbfs(self, usual_dbfs: float) -> float:
        """The level that a syllable has to reach; usual_dbfs without a penalty."""
        if not self.raised_ms:
            return usual_dbfs
        most_dbfs = usual_dbfs + min(PENALTY_MOST_DB, PENALTY_STEP_DB * self.times)
        return max(usual_dbfs, min(most_dbfs, self.false_wake_dbfs + OVER_FALSE_WAKE_DB))
