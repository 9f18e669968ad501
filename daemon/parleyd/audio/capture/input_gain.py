"""How much louder the microphone is made before anything else hears it: by the configuration, and by what is learnt.

Pure. Capture applies it, once, so that the echo canceller, the gate, recordings and the agent all hear the same.
"""

from __future__ import annotations

from collections import deque
from statistics import median

import numpy as np

from parleyd.audio.pcm import FRAME_MS, PIPELINE_RATE_HZ, samples_of, to_pcm

# The loudest frame of a stretch of talk should reach this level in the band of speech: the gate is sure of it, and a
# raised voice still has 20 dB to full scale.
GOAL_DBFS = -30.0
# The noise of the room is not raised beyond this: more gain would help nobody to be heard.
NOISE_MOST_DBFS = -50.0
AUTO_MOST_DB = 30.0
# Slow enough for the echo canceller, whose path from speaker to microphone moves along, and for people.
AUTO_DB_PER_MIN = 3.0
# While the gain drives samples beyond full scale: a voice 12 dB too loud is whole again after a second.
CLIPPING_DB_PER_S = 12.0
# A gain that is configured anew goes there no faster. More of an echo than the canceller expects is a person to it: at
# 1 dB/s it never was, at 3 dB/s now and then. Less may come at once.
SLEW_UP_DB_PER_S, SLEW_DOWN_DB_PER_S = 1.0, 12.0
# A frame of 320 samples with this many beyond full scale is clipped; fewer are a click.
CLIPPING_SAMPLES = 3
# How many stretches of talk are remembered. Their median counts, so that one slammed door changes nothing.
_KNOWN = 9
_PENDING = 9


class AutoGain:
    """Learns how much louder the people in this room have to be made. step() for every frame, on one thread.

    Only what the agent has understood counts: music, noise and whatever woke it for nothing teach nothing. Talk over
    the far end teaches nothing either, for what is left of the echo would be in its level. db: 0 to AUTO_MOST_DB.
    """

    def __init__(self, db: float = 0.0) -> None:
        self.db = min(max(0.0, db), AUTO_MOST_DB)
        # Peaks of talk, and the room's floor below it, as the microphone itself has them.
        self._pending: deque[tuple[float, float]] = deque(maxlen=_PENDING)
        self._known: deque[tuple[float, float]] = deque(maxlen=_KNOWN)
        self._peak_dbfs: float | None = None
        self._floor_dbfs = 0.0
        self._was_understood = self._was_nothing = False

    def understood(self) -> None:
        """The agent has made words of what was said lately. Any thread may say so."""
        self._was_understood = True

    def nothing(self) -> None:
        """What was taken for talk lately was none. Any thread may say so."""
        self._was_nothing = True

    def step(
        self, level_dbfs: float, floor_dbfs: float, gain_db: float, *, talk: bool, alone: bool, saturated: int
    ) -> None:
        """One frame after the gain. level_dbfs, floor_dbfs: in the band of speech, of the frame and of the room.
        gain_db: the whole gain. talk: somebody speaks; alone: and the speaker is silent. saturated: how many samples
        the gain has driven beyond full scale."""
        if talk and alone:
            peak_dbfs = level_dbfs - gain_db
            self._peak_dbfs = peak_dbfs if self._peak_dbfs is None else max(self._peak_dbfs, peak_dbfs)
            self._floor_dbfs = floor_dbfs - gain_db
        elif not talk and self._peak_dbfs is not None:
            self._pending.append((self._peak_dbfs, self._floor_dbfs))
            self._peak_dbfs = None
        if self._was_nothing:
            self._was_nothing = False
            self._pending.clear()
            self._peak_dbfs = None
        if self._was_understood:
            self._was_understood = False
            if self._peak_dbfs is not None:
                self._pending.append((self._peak_dbfs, self._floor_dbfs))
            self._known.extend(self._pending)
            self._pending.clear()
        self._move(gain_db, clipping=saturated >= CLIPPING_SAMPLES)

    def _move(self, gain_db: float, *, clipping: bool) -> None:
        if clipping:
            self.db = max(0.0, self.db - CLIPPING_DB_PER_S * FRAME_MS / 1000)
        elif self._known:
            configured_db = gain_db - self.db
            wanted_db = GOAL_DBFS - median(peak for peak, _ in self._known)
            wanted_db = min(wanted_db, NOISE_MOST_DBFS - median(floor for _, floor in self._known)) - configured_db
            wanted_db = min(max(0.0, wanted_db), AUTO_MOST_DB)
            step_db = AUTO_DB_PER_MIN * FRAME_MS / 60_000
            self.db += min(max(wanted_db - self.db, -step_db), step_db)


class InputGain:
    """configured_db: audio.input.gain_db; may be set by any thread. auto: with audio.input.auto_gain; adds to it.

    saturated: how many samples have been driven beyond full scale so far; they stay at full scale.
    """

    def __init__(self, configured_db: float = 0.0, auto: AutoGain | None = None) -> None:
        self.configured_db = configured_db
        self.auto = auto
        self.saturated = 0
        self._applied_db = self.db
        self._saturated_before = 0

    @property
    def db(self) -> float:
        return self.configured_db + (self.auto.db if self.auto is not None else 0.0)

    def apply(self, pcm: bytes) -> bytes:
        """The next piece of sound at the pipeline's rate, of any length. From the gain of the last piece to that of now
        in a straight line, so that no change is a click, and none too fast for the echo canceller."""
        values = samples_of(pcm).astype(np.float32)
        before_db, seconds = self._applied_db, len(values) / PIPELINE_RATE_HZ
        change_db = min(self.db - before_db, SLEW_UP_DB_PER_S * seconds)
        self._applied_db += max(change_db, -SLEW_DOWN_DB_PER_S * seconds)
        if before_db == self._applied_db == 0.0:
            return pcm
        if before_db == self._applied_db:
            values *= np.float32(factor(before_db))
        else:
            ends = factor(before_db), factor(self._applied_db)
            values *= np.linspace(*ends, len(values) + 1, dtype=np.float32)[1:]
        # What the microphone itself delivers at full scale counts as well: made louder, it is no better.
        if before_db > 0.0 or self._applied_db > 0.0:
            self.saturated += int(np.count_nonzero(np.abs(values) > 32768.0))
        return to_pcm(values)

    def hear(self, level_dbfs: float, floor_dbfs: float, *, talk: bool, alone: bool) -> None:
        """Tells AutoGain.step() of every frame that went through apply(). Call it on the thread of apply()."""
        if self.auto is None:
            return
        saturated, self._saturated_before = self.saturated - self._saturated_before, self.saturated
        self.auto.step(level_dbfs, floor_dbfs, self._applied_db, talk=talk, alone=alone, saturated=saturated)


def factor(db: float) -> float:
    return float(10.0 ** (db / 20.0))
