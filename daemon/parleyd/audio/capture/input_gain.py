"""The gain of the microphone: the configured part and the learnt part. Pure.

Capture applies it once, so that the echo canceller, the gate, recordings and the agent all get the same sound.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from parleyd.audio.pcm import BYTES_PER_SAMPLE, FRAME_MS, PIPELINE_RATE_HZ, median, samples_of, to_pcm

# The target level of the loudest frame of a stretch of speech, in the band of speech. The gate recognises it safely,
# and a raised voice still has 20 dB of headroom.
GOAL_DBFS = -30.0
# The gain does not raise the noise of the room above this level, because more gain would not help.
NOISE_MOST_DBFS = -50.0
AUTO_MOST_DB = 30.0
# The speed of the automatic gain: slow enough for people and for the echo canceller, whose echo path changes with it.
AUTO_DB_PER_MIN = 3.0
# The speed down while the gain makes samples clip: a voice that is 12 dB too loud is right after a second.
CLIPPING_DB_PER_S = 12.0
# The speed of a change of the configured gain. The canceller takes an echo that is louder than expected for a person:
# never at 1 dB/s, sometimes at 3 dB/s. A gain that falls does no harm.
SLEW_UP_DB_PER_S, SLEW_DOWN_DB_PER_S = 1.0, 12.0
# A frame of 320 samples counts as clipped with this many samples beyond full scale; fewer are only a click.
CLIPPING_SAMPLES = 3
# The number of remembered stretches of speech. Their median is used, so that one slammed door changes nothing.
_KNOWN = 9
_PENDING = 9


class AutoGain:
    """Learns the gain that the people in this room need. Call step() for every frame, on one thread.

    It learns only from speech that the agent has understood, and not from music, noise and false wakes. Speech over the
    far end is ignored, because its level would include residual echo. db: 0 to AUTO_MOST_DB.
    """

    def __init__(self, db: float = 0.0) -> None:
        self.db = min(max(0.0, db), AUTO_MOST_DB)
        # Peaks of speech, and the noise floor with each, before the gain.
        self._pending: deque[tuple[float, float]] = deque(maxlen=_PENDING)
        self._known: deque[tuple[float, float]] = deque(maxlen=_KNOWN)
        self._peak_dbfs: float | None = None
        self._floor_dbfs = 0.0
        self._was_understood = self._was_nothing = False

    def understood(self) -> None:
        """The agent has understood the last speech. May be called from any thread."""
        self._was_understood = True

    def nothing(self) -> None:
        """The last sound was not speech. May be called from any thread."""
        self._was_nothing = True

    def step(
        self, level_dbfs: float, floor_dbfs: float, gain_db: float, *, talk: bool, alone: bool, saturated: int
    ) -> None:
        """One frame after the gain. level_dbfs, floor_dbfs: in the band of speech, of the frame and of the room.
        gain_db: the whole gain. talk: somebody speaks; alone: the speaker is silent. saturated: the number of samples
        that the gain has made clip."""
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

    saturated: the number of samples so far that the gain has made clip; they stay at full scale.
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
        """Applies the gain to the next piece of sound at the pipeline's rate, of any length. The gain moves linearly
        from that of the last piece, so that a change makes no click and is slow enough for the echo canceller."""
        before_db, seconds = self._applied_db, len(pcm) / BYTES_PER_SAMPLE / PIPELINE_RATE_HZ
        change_db = min(self.db - before_db, SLEW_UP_DB_PER_S * seconds)
        self._applied_db += max(change_db, -SLEW_DOWN_DB_PER_S * seconds)
        if before_db == self._applied_db == 0.0:
            return pcm
        values = samples_of(pcm).astype(np.float32)
        if before_db == self._applied_db:
            values *= np.float32(factor(before_db))
        else:
            ends = factor(before_db), factor(self._applied_db)
            values *= np.linspace(*ends, len(values) + 1, dtype=np.float32)[1:]
        # Samples at full scale from the microphone itself count as well, because a gain does not improve them.
        if before_db > 0.0 or self._applied_db > 0.0:
            self.saturated += int(np.count_nonzero(np.abs(values) > 32768.0))
        return to_pcm(values)

    def hear(self, level_dbfs: float, floor_dbfs: float, *, talk: bool, alone: bool) -> None:
        """Passes every frame after apply() to AutoGain.step(). Call it on the thread of apply()."""
        if self.auto is None:
            return
        saturated, self._saturated_before = self.saturated - self._saturated_before, self.saturated
        self.auto.step(level_dbfs, floor_dbfs, self._applied_db, talk=talk, alone=alone, saturated=saturated)


def factor(db: float) -> float:
    return float(10.0 ** (db / 20.0))
