"""What a room sounds like when nobody speaks to us: its floor, its restlessness, its hubbub, its false alarms. Pure.

The figures are chosen by benchmarks/gate_in_noise.py, false_wakes.py and the tuning half of people_and_noise.py;
docs/measurements/gate.md shows what they do.
"""

from __future__ import annotations

import enum
from collections import deque
from math import inf, log10
from statistics import median

from parleyd.audio.pcm import FRAME_MS, SILENCE_DBFS

# The level floor: the least level of the last seconds. Speech touches it between words, noise lives on it.
FLOOR_START_DBFS = -60.0
FLOOR_MIN_DBFS = -70.0
FLOOR_WINDOW_MS = 4000
# Until the floor has seen one whole window, it may be speech from the first moment on: no higher than this.
FLOOR_UNSURE_DBFS = -50.0
SPEECH_OVER_FLOOR_DB = 3.0
# A syllable rises out of the last moment; by more where the detector calls much of what it hears speech: in music and
# among people every frame is "voiced".
MOMENT_MS = 800
RESTLESS_S = 5.0
RESTLESS_FROM = 0.1
RISE_PER_RESTLESS_DB = 25.0
RISE_MOST_DB = 12.0
# While the gate is open for what stands out of the room as a voice does, this is enough: in a hall the sound
# of one syllable has not gone when the next one begins.
RISE_IN_TALK_DB = 5.0
# Hubbub: what is taken for speech and is meant for nobody. A voice that is for us tops its usual peaks by this much.
HUBBUB_S = 15.0
HUBBUB_FROM = 0.12
OVER_HUBBUB_DB = 3.0
HUBBUB_PEAKS = 30
HUBBUB_PEAKS_LEAST = 5
# Where so little is taken for speech it is quiet: what begins now is learnt afresh, for an hour of silence in the usual
# peaks would hide music for half a minute.
HUBBUB_GONE = 0.05
# A voice comes down to the room between words: over the last seconds its usual peaks are so far above the floor. Music,
# babble and a television with music behind it stay nearer to their peaks.
DEPTH_S = 6
VOICE_DEPTH_DB = 18.0
# No television with music behind it stands so far out as this.
PLAIN_DEPTH_DB = 24.0
# ... and has at least this share of syllables.
VOICE_SYLLABLES = 0.12
# In a noisy room a voice does not stand so far out, but it comes down to within this much of the room as it was when
# nobody spoke: when the share of speech was less than that.
CALM_DEPTH_DB = 8.0
CALM_WITHIN_DB = 3.0
CALM_SHARE = 0.03
# Where there is hubbub, what is so much louder is none of it.
TOPS_HUBBUB_DB = 10.0
# Whoever was understood is loud enough for so long, whatever false alarms come after them: the softer quarter of their
# seconds, and a little less than that.
UNDERSTOOD_MS = 600_000
UNDERSTOOD_S = 30
UNDERSTOOD_MARGIN_DB = 6.0
# After a wake for nothing a syllable has to be louder: by this much more for each in a row, but only until it tops what
# fooled us. That lasts twice as long each time, and they count as in a row for so long after that.
DOUBT_STEP_DB = 6.0
DOUBT_MOST_DB = 18.0
OVER_FOOLED_DB = 1.5
DOUBT_MS = 60_000
DOUBT_MOST_MS = 16 * DOUBT_MS
DOUBT_REMEMBERED_MS = 10 * DOUBT_MS
# Below this it is digital silence, muted hardware or a microphone that counts as silent: it says nothing of the room.
SILENT_DBFS = -100.0

_SMOOTHING = 0.5
_FLOOR_BLOCK_FRAMES = 25
_PEAK_FRAMES = 1000 // FRAME_MS


class _Smooth:
    """A level over about 40 ms."""

    def __init__(self) -> None:
        self._power: float = 10 ** (FLOOR_START_DBFS / 10)

    def step(self, level_dbfs: float) -> float:
        self._power += (10 ** (level_dbfs / 10) - self._power) * _SMOOTHING
        return 10 * log10(self._power)


class LevelFloor:
    """dbfs: the floor. rise_db: how far a syllable has to stand out of the last moment, here and now."""

    def __init__(self) -> None:
        self.dbfs = FLOOR_START_DBFS
        self.rise_db = SPEECH_OVER_FLOOR_DB
        self._smooth = _Smooth()
        self._restless = 0.0
        moment = MOMENT_MS // FRAME_MS
        self._moment = deque([FLOOR_START_DBFS] * moment, maxlen=moment)
        # The minimum over the window, block by block: the cost does not depend on the window's length.
        self._blocks: deque[float] = deque(maxlen=FLOOR_WINDOW_MS // FRAME_MS // _FLOOR_BLOCK_FRAMES)
        self._block_least = 0.0
        self._block_frames = 0

    def step(self, level_dbfs: float, voiced: bool) -> bool:
        """Takes one frame's level; whether it stands out of the room far enough to be speech."""
        if level_dbfs <= SILENT_DBFS:
            return False
        smooth_dbfs = self._smooth.step(level_dbfs)
        self._moment.append(smooth_dbfs)
        self._block_least = min(self._block_least, smooth_dbfs)
        self._block_frames += 1
        if self._block_frames == _FLOOR_BLOCK_FRAMES:
            self._blocks.append(self._block_least)
            self._block_least, self._block_frames = smooth_dbfs, 0
        least = min(self._block_least, *self._blocks) if self._blocks else self._block_least
        if len(self._blocks) < (self._blocks.maxlen or 0):
            least = min(least, FLOOR_UNSURE_DBFS)
        self.dbfs = max(least, FLOOR_MIN_DBFS)
        stands_out = level_dbfs >= self.dbfs + SPEECH_OVER_FLOOR_DB
        self._restless += (float(voiced and stands_out) - self._restless) * FRAME_MS / 1000 / RESTLESS_S
        rise_db = SPEECH_OVER_FLOOR_DB + RISE_PER_RESTLESS_DB * max(0.0, self._restless - RESTLESS_FROM)
        self.rise_db = min(rise_db, RISE_MOST_DB)
        return stands_out

    @property
    def moment_dbfs(self) -> float:
        """The least level of the last moment."""
        return max(FLOOR_MIN_DBFS, min(self._moment))

    @property
    def syllable_dbfs(self) -> float:
        """The level that a syllable has to reach."""
        return self.moment_dbfs + self.rise_db

    @property
    def next_syllable_dbfs(self) -> float:
        """The level that a syllable has to reach while somebody talks."""
        return self.moment_dbfs + min(self.rise_db, RISE_IN_TALK_DB)


class Sounds(enum.Enum):
    """What an open gate hears. NOISE: it does not come down as a voice does. VOICE: it does. PERSON: it comes down to
    the room as it was when nobody spoke, so nothing else sounds but that voice."""

    NOISE = enum.auto()
    VOICE = enum.auto()
    PERSON = enum.auto()


class Hubbub:
    """Music, a television, talk at the next table. bar_dbfs: the level that whoever speaks to us has to reach;
    FLOOR_MIN_DBFS where there is no hubbub. sounds: like what it sounds now. stands_out: its usual peaks are as far
    over the floor as those of a voice, and over what is hubbub already.

    It is learnt while the gate is closed. What comes through an open gate may be somebody, however long it lasts: that
    waits until it is known who it was, and is learnt only if it was nobody."""

    def __init__(self) -> None:
        self.bar_dbfs = FLOOR_MIN_DBFS
        self.sounds = Sounds.NOISE
        self.stands_out = False
        self._smooth = _Smooth()
        self._share = 0.0
        self._calm_dbfs = FLOOR_START_DBFS
        self._peaks: deque[float] = deque(maxlen=HUBBUB_PEAKS)
        self._waiting: deque[float] = deque(maxlen=HUBBUB_PEAKS)
        self._recent: deque[tuple[float, int]] = deque(maxlen=DEPTH_S)
        self._peak = self._usual = FLOOR_MIN_DBFS
        self._frames = self._syllables = 0
        self._is_doubted = False

    def step(
        self,
        level_dbfs: float,
        speech: bool,
        *,
        floor_dbfs: float,
        is_open: bool,
        syllable: bool = False,
        doubted: bool = False,
    ) -> None:
        """speech: taken for speech by detector and floor. syllable: the middle of one. doubted: one that only doubt
        keeps from opening the gate."""
        if level_dbfs <= SILENT_DBFS:
            return
        self._share += (float(speech) - self._share) * FRAME_MS / 1000 / HUBBUB_S
        self._peak = max(self._peak, self._smooth.step(level_dbfs))
        self._syllables += syllable or doubted
        self._is_doubted |= doubted
        self._frames += 1
        if self._frames == _PEAK_FRAMES:
            self._second(floor_dbfs, is_open)
            self._peak, self._frames, self._syllables, self._is_doubted = FLOOR_MIN_DBFS, 0, 0, False
        is_hubbub = self._share > HUBBUB_FROM and len(self._peaks) >= HUBBUB_PEAKS_LEAST
        self.bar_dbfs = self._usual + OVER_HUBBUB_DB if is_hubbub else FLOOR_MIN_DBFS

    def _second(self, floor_dbfs: float, is_open: bool) -> None:
        self._recent.append((self._peak, self._syllables))
        if not is_open and self._share < CALM_SHARE:
            self._calm_dbfs = floor_dbfs
        self.sounds = self._like(floor_dbfs)
        peak_dbfs = median(peak for peak, _ in self._recent)
        self.stands_out = peak_dbfs >= floor_dbfs + PLAIN_DEPTH_DB and self._tops_hubbub(peak_dbfs)
        if self._share < HUBBUB_GONE:
            self._peaks.clear()
            self._waiting.clear()
        elif is_open:
            self._waiting.append(self._peak)
        elif not (self._is_doubted and self._comes_down(self._peak - floor_dbfs, floor_dbfs)):
            self._peaks.append(self._peak)
        self._learnt()

    def _like(self, floor_dbfs: float) -> Sounds:
        peak_dbfs = median(peak for peak, _ in self._recent)
        if sum(syllables for _, syllables in self._recent) < VOICE_SYLLABLES * len(self._recent) * _PEAK_FRAMES:
            return Sounds.NOISE
        if not self._tops_hubbub(peak_dbfs):
            return Sounds.NOISE
        depth_db = peak_dbfs - floor_dbfs
        if self._comes_down(depth_db, floor_dbfs):
            return Sounds.PERSON
        return Sounds.VOICE if depth_db >= VOICE_DEPTH_DB else Sounds.NOISE

    def _tops_hubbub(self, peak_dbfs: float) -> bool:
        return self.bar_dbfs <= FLOOR_MIN_DBFS or peak_dbfs >= self._usual + TOPS_HUBBUB_DB

    def _comes_down(self, depth_db: float, floor_dbfs: float) -> bool:
        return depth_db >= CALM_DEPTH_DB and floor_dbfs <= self._calm_dbfs + CALM_WITHIN_DB

    def _learnt(self) -> None:
        if self._peaks:
            self._usual = median(self._peaks)

    def was_nobody(self) -> None:
        """What came through the gate since the last verdict was hubbub."""
        self._peaks.extend(self._waiting)
        self._waiting.clear()
        self._learnt()

    def was_somebody(self) -> None:
        """What came through the gate since the last verdict was a person."""
        self._waiting.clear()


class Understood:
    """Who was understood, and how loud they are. bar_dbfs: no doubt asks for more than this; infinite if nobody was."""

    def __init__(self) -> None:
        self.bar_dbfs = inf
        self._peaks: deque[float] = deque(maxlen=UNDERSTOOD_S)
        self._peak = SILENCE_DBFS
        self._frames = 0
        self._left_ms = 0

    def step(self, level_dbfs: float, syllable: bool) -> None:
        """syllable: the frame belongs to one that goes through the gate."""
        if syllable:
            self._peak = max(self._peak, level_dbfs)
        self._frames += 1
        if self._frames == _PEAK_FRAMES:
            if self._peak > SILENCE_DBFS:
                self._peaks.append(self._peak)
            self._peak, self._frames = SILENCE_DBFS, 0
        if self._left_ms:
            self._left_ms -= FRAME_MS
            if not self._left_ms:
                self.bar_dbfs = inf

    def understood(self) -> None:
        """What was heard last was understood."""
        if self._peaks:
            self._left_ms = UNDERSTOOD_MS
            self.bar_dbfs = sorted(self._peaks)[len(self._peaks) // 4] - UNDERSTOOD_MARGIN_DB
            self._peaks.clear()

    def nobody(self) -> None:
        """What was heard last was nobody, or belongs to another conversation."""
        self._peaks.clear()


class Doubt:
    """What wakes for nothing teach. times: how many in a row; raised_ms: how long it still has to be louder.
    fooled_by_dbfs: the loudest of the last one."""

    def __init__(self) -> None:
        self.times = 0
        self.raised_ms = 0
        self._remembered_ms = 0
        self._loudest_dbfs = SILENCE_DBFS
        self.fooled_by_dbfs = SILENCE_DBFS

    def step(self, level_dbfs: float, talk: bool) -> None:
        """talk: the frame belongs to what the gate takes for talk."""
        if talk:
            self._loudest_dbfs = max(self._loudest_dbfs, level_dbfs)
        self.raised_ms = max(0, self.raised_ms - FRAME_MS)
        self._remembered_ms = max(0, self._remembered_ms - FRAME_MS)
        if not self._remembered_ms:
            self.times = 0

    def wakes(self) -> None:
        """Somebody begins to talk while all is asleep: what was heard before belongs to something else."""
        self._loudest_dbfs = SILENCE_DBFS

    def fooled(self) -> None:
        """What was heard since the last time, or since it woke, was nothing."""
        self.times += 1
        self.raised_ms = min(DOUBT_MOST_MS, DOUBT_MS * 2 ** min(self.times - 1, 10))
        self._remembered_ms = self.raised_ms + DOUBT_REMEMBERED_MS
        self.fooled_by_dbfs = self._loudest_dbfs
        self._loudest_dbfs = SILENCE_DBFS

    def trust(self) -> None:
        """Somebody was understood."""
        self.times = self.raised_ms = self._remembered_ms = 0
        self._loudest_dbfs = SILENCE_DBFS

    def bar_dbfs(self, usual_dbfs: float) -> float:
        """The level that a syllable has to reach, where usual_dbfs would do without doubt."""
        if not self.raised_ms:
            return usual_dbfs
        most_dbfs = usual_dbfs + min(DOUBT_MOST_DB, DOUBT_STEP_DB * self.times)
        return max(usual_dbfs, min(most_dbfs, self.fooled_by_dbfs + OVER_FOOLED_DB))
