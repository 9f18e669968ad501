"""What the speaker plays, in step with what the microphone hears: two devices, two clocks. Pure but for one deque.

The speaker's callback leaves every period it takes with the time at which it took it; ears ask for the far end that
belongs to a frame of the microphone. Where that begins is found by the times, each device's own clock fitted to them
(sample_clock.py). From then on it goes along with the microphone's count of samples, so that the echo stays where it
is: a sound server hands sound over sooner or later by tens of milliseconds, while the sound itself keeps its place.
That the crystals of two devices differ, by up to some 100 ppm, is heard: the echo comes later than the canceller
expects, and later, and the far end goes slower. Sound that is lost on either side shows in the times. Nothing is queued
between the devices but the last second of the far end, whatever their clocks do.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import BYTES_PER_SAMPLE, FRAME_MS, FRAME_SAMPLES, PIPELINE_RATE_HZ, samples_of
from parleyd.audio.sample_clock import MOST_DRIFT, SampleClock

Floats = npt.NDArray[np.float32]

# The far end is given a little later than it was handed over, so that a late callback does not leave a hole; its echo
# is later still: by the speaker's latency, the way through the air, and the microphone's. Some speakers take theirs in
# bursts: theirs is given later, but never later than it is heard.
LEAST_LAG_S = 0.010
_SPARE_S = 0.002
# A speaker that has taken nothing for so long is gone, and its last sound has been heard.
GONE_S = 0.5
# Of the far end this much is kept: more than the largest lag, and than ears can be late.
_KEPT_S = 1.5
# Of a slip that is heard, so much is made up for at once, and so much more in each frame from then on.
_FOLLOW, _FOLLOW_ON = 0.05, 0.0005
# For so long after the echo was heard it goes by the count; then the times tell better, as after an hour they do.
_COUNTED_S = 60.0
# A step in the microphone's times that is larger is sound that it lost.
_HOLE_S = 0.001
# Further from the times than this it is in the wrong place, whatever is heard.
_MOST_OFF_S = 0.05
# When a frame's end was missing for so long without the speaker having run dry, the microphone's sound comes sooner
# than it did.
_PATIENCE_FRAMES = 15
_PHASES = 256
_HALF_TAPS_AT_16K = 16
_FRAME_S = FRAME_MS / 1000


def _bank(rate_hz: int) -> Floats:
    """Low-pass filters at the pipeline's band edge, one for each fraction of a device sample: (phases + 1, taps)."""
    scale = max(1.0, rate_hz / PIPELINE_RATE_HZ)
    half = math.ceil(_HALF_TAPS_AT_16K * scale)
    cutoff = 0.94 / scale
    at = np.arange(-half + 1, half + 1)[None, :] - np.linspace(0.0, 1.0, _PHASES + 1)[:, None]
    window = np.i0(8.0 * np.sqrt(np.clip(1.0 - (at / half) ** 2, 0.0, 1.0))) / np.i0(8.0)
    taps = cutoff * np.sinc(cutoff * at) * window
    bank: Floats = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return bank


class FarEnd:
    """take() on the speaker's thread, never waits; start() before; frame() on the ears thread.

    starved: how often the far end of a frame had not been handed over yet. It then counts as silence.
    in_step: of the last frame, whether it was all there, and where it was up to then. When not, the speaker is late, or
    it has run dry and lost its place (what is given is off until its clock shows that), or sound was lost before it.
    later: by how many samples of the pipeline it is given later than up to the last frame, so that nothing is missing.
    """

    def __init__(self) -> None:
        # Appending to and popping from a deque is atomic; it forgets the oldest by itself.
        self._handed: deque[tuple[int, int, bytes, float]] = deque(maxlen=1000)
        self._rate_hz = PIPELINE_RATE_HZ
        self._most_lag_s = LEAST_LAG_S
        self._opened = 0
        self._using = 0
        self.starved = 0
        self.in_step = True
        self.later = 0
        self._open(PIPELINE_RATE_HZ)

    @property
    def clock(self) -> SampleClock:
        """The speaker's, since it was opened."""
        return self._clock

    def start(self, rate_hz: int, latency_s: float) -> None:
        """The speaker was opened, perhaps again: what follows is at this rate, and heard so much later."""
        self._rate_hz = rate_hz
        self._most_lag_s = max(LEAST_LAG_S, latency_s)
        self._opened += 1

    def take(self, pcm: bytes, at_s: float) -> None:
        """The speaker's device took this much at at_s."""
        self._handed.append((self._opened, self._rate_hz, pcm, at_s))

    def forget(self) -> None:
        """Nobody asks for it: instead of frame()."""
        self._handed.clear()

    # ---------------------------------------------------------------- the ears thread

    def _open(self, rate_hz: int) -> None:
        self._bank = _bank(rate_hz)
        self._clock = SampleClock(rate_hz)
        self._lag_s = LEAST_LAG_S
        self._handed_s = -math.inf  # the last period
        self._missing_s = 0.0  # by how much the speaker is, or was, late
        self._missing_frames = 0  # for how long
        self._lost_s = 0.0  # by its clock, at the last frame
        self._at = 0.0  # the sample with which the last frame began
        self._start_s = math.nan  # and when that was
        self._slower = 0.0  # how much slower the speaker's clock runs than the microphone's
        self._by_times = 0.0  # that sample, by the times alone
        self._off = 0.0  # and by how many samples later the echo had it when it was last heard
        self._counted_until_s = -math.inf  # it goes by the count
        self._elsewhere = self._opened > 1  # the place is not where the echo was last heard
        # The kept sound is a stretch of this; where there is no more room behind it, it moves to the front.
        self._room = np.zeros(round(2 * _KEPT_S * rate_hz), np.float32)
        self._kept, self._end = self._room[:0], 0
        self._kept_from = 0  # the number of its first sample
        self._silent_from = 0  # the number of the sample from which on all is zero
        self._wide = self._bank.shape[1]

    def follow(self, slip: float) -> None:
        """The echo of the last frame came later than it should have, by so many samples of the pipeline."""
        self._slower = max(-MOST_DRIFT, min(MOST_DRIFT, self._slower + _FOLLOW_ON * slip / FRAME_SAMPLES))
        self._at -= _FOLLOW * slip * self._clock.rate_hz / PIPELINE_RATE_HZ
        if slip:
            self._counted_until_s = self._start_s + _COUNTED_S
            self._off = self._at - self._by_times

    def move(self, jump: int) -> None:
        """All of the echo comes later than it did, by so many samples of the pipeline."""
        by = jump * self._clock.rate_hz / PIPELINE_RATE_HZ
        self._at -= by
        self._off -= by
        self._elsewhere = True

    @property
    def kept_s(self) -> float:
        return len(self._kept) / self._clock.rate_hz

    def frame(self, start_s: float) -> Floats | None:
        """What belongs to the microphone's frame that begins at start_s: FRAME_SAMPLES at the pipeline rate, full scale
        1.0; None when it is digital silence. To be called for every frame, in order."""
        self._gather()
        if start_s - self._handed_s > GONE_S:
            # It waits for nothing that would still come.
            self._kept_from += len(self._kept)
            self._kept, self._end = self._room[:0], 0
        moved = self._move(start_s)
        self.in_step, self.later = True, 0
        if not len(self._kept):
            self._missing_s, self._missing_frames = 0.0, 0
            return None
        step = self._clock.rate_hz / PIPELINE_RATE_HZ
        missing = self._wait(start_s, step, moved=moved)
        if self._at - self._wide // 2 >= self._silent_from < self._kept_from + len(self._kept):
            return None
        self.in_step, self._elsewhere = not (missing or moved or self.later or self._elsewhere), False
        return self._resampled(self._at, step)

    def _move(self, start_s: float) -> bool:
        """To the frame that begins at start_s; whether sound was lost between it and the last."""
        rate_hz = self._clock.rate_hz
        self._by_times = self._clock.sample_at(start_s - self._lag_s)
        hole_s, self._start_s = start_s - self._start_s - _FRAME_S, start_s
        lost_s, self._lost_s = self._clock.lost_s - self._lost_s, self._clock.lost_s
        self._at += _FRAME_S * rate_hz * (1.0 - self._slower)
        if abs(hole_s) > _HOLE_S:
            self._at += hole_s * rate_hz
        self._at -= lost_s * rate_hz
        # A small step of the microphone's times is mostly its clock, which finds its place after the device was opened:
        # the far end goes along, but nobody goes unheard for that.
        moved = lost_s != 0.0 or abs(hole_s) > _FRAME_S
        if start_s > self._counted_until_s:
            self._at = self._by_times + self._off
        if abs(self._at - self._by_times) > _MOST_OFF_S * rate_hz:
            self._at, self._off, self._elsewhere = self._by_times, 0.0, True
        return moved

    def _wait(self, start_s: float, step: float, *, moved: bool) -> bool:
        """Whether the end of the frame's far end is missing. What is missing often is given later."""
        last = self._at + (FRAME_SAMPLES - 1) * step + self._wide // 2
        missing_s = (last - self._kept_from - len(self._kept) + 1.0) / self._clock.rate_hz
        if moved:
            self._missing_s, self._missing_frames = 0.0, 0
        if missing_s > 0.0:
            self.starved += 1
            self._missing_s = max(self._missing_s, missing_s)
            self._missing_frames += 1
        if self._missing_s and (missing_s <= 0.0 or self._missing_frames > _PATIENCE_FRAMES):
            # It has come after all, or never comes in time. If the speaker had run dry, its clock would have jumped.
            later = math.ceil((self._missing_s + _SPARE_S) * PIPELINE_RATE_HZ)
            lag_s = (self._clock.sample_at(start_s) - self._at + later * step) / self._clock.rate_hz
            if lag_s <= self._most_lag_s:
                self.later = later
                self._at -= later * step
                self._off -= later * step
                more_s = max(0.0, lag_s - self._lag_s)
                self._lag_s += more_s
                self._off += more_s * self._clock.rate_hz
                self._by_times -= more_s * self._clock.rate_hz
            self._missing_s, self._missing_frames = 0.0, 0
        return bool(missing_s > 0.0)

    def _gather(self) -> None:
        pieces: list[bytes] = []
        fresh = 0
        while self._handed:
            opened, rate_hz, pcm, at_s = self._handed.popleft()
            if opened != self._using:
                self._using = opened
                pieces.clear()
                fresh = 0
                self._open(rate_hz)
            start = self._kept_from + len(self._kept) + fresh
            self._clock.stamp(start, at_s)
            self._handed_s = at_s
            pieces.append(pcm)
            fresh += len(pcm) // BYTES_PER_SAMPLE
            if pcm != bytes(len(pcm)):
                self._silent_from = start + len(pcm) // BYTES_PER_SAMPLE
        if not pieces:
            return
        surplus = len(self._kept) + fresh - round(_KEPT_S * self._clock.rate_hz)
        if self._silent_from <= self._kept_from + max(0, surplus):
            # All that would be kept is silent, as it is most of the day.
            self._kept_from += len(self._kept) + fresh
            self._kept, self._end = self._room[:0], 0
            return
        samples = samples_of(b"".join(pieces))
        dropped = max(0, surplus)
        kept, samples = self._kept[dropped:], samples[max(0, dropped - len(self._kept)) :]
        if self._end + len(samples) > len(self._room):
            self._room[: len(kept)] = kept
            self._end = len(kept)
        start, self._end = self._end, self._end + len(samples)
        np.multiply(samples, np.float32(1 / 32768), out=self._room[start : self._end])
        self._kept = self._room[start - len(kept) : self._end]
        self._kept_from += dropped

    def _resampled(self, first: float, step: float) -> Floats:
        at = first - self._kept_from
        between = at - math.floor(at)
        begin = math.floor(at) - self._wide // 2 + 1
        stretch = int(between + (FRAME_SAMPLES - 1) * step) + self._wide
        low, high = max(0, begin), min(len(self._kept), begin + stretch)
        source = self._kept[low : max(low, high)]
        if high - low < stretch:
            source = np.zeros(stretch, np.float32)
            if low < high:
                source[low - begin : high - begin] = self._kept[low:high]
        out: Floats
        if step.is_integer():
            # Every sample lies between two of the device's in the same way: one filter.
            windows = np.lib.stride_tricks.as_strided(
                source, (FRAME_SAMPLES, self._wide), (int(step) * source.itemsize, source.itemsize), writeable=False
            )
            out = np.dot(windows, self._bank[round(between * _PHASES)])
            return out
        places = between + np.arange(FRAME_SAMPLES) * step
        whole = places.astype(np.intp)
        phase = np.rint((places - whole) * _PHASES).astype(np.intp)
        windows = np.lib.stride_tricks.sliding_window_view(source, self._wide)
        out = np.einsum("ij,ij->i", windows[whole], self._bank[phase])
        return out
