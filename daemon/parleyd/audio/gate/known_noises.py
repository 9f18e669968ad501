"""Recognises noises that caused false wakes: the same bark, bell or siren opens the gate once, not twelve times. Pure.

Loudness cannot distinguish a bark in a quiet room from a voice. But a repeated noise is nearly identical, and speech
never is. Therefore the beginning of a noise that caused a false wake is kept as a picture, band by band and frame by
frame. Sound that would open the gate is compared with these pictures: as long as it follows one of them, it is held
back. The loudness of the whole does not matter, nor does sound below the noise floor. As soon as the sound differs,
because somebody speaks after all, it is not held back any more, and the pre-roll still contains the beginning.

The figures are chosen by benchmarks/people_and_noise.py on its half `tune`; docs/measurements/people-and-noise.md shows
their effect.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from parleyd.audio.gate.measure import SPECTRUM_HZ
from parleyd.audio.pcm import FRAME_MS

Bands = npt.NDArray[np.float32]

BANDS = 16
BANDS_HZ = (200.0, 7000.0)
# The length of a picture before and after the opening.
BEFORE_MS = 600
AFTER_MS = 2500
# The length of sound that is compared before it is held back, and the largest shift between the two openings.
EVIDENCE_MS = 280
SHIFT_MOST_MS = 240
# How far two pictures of one noise may differ, in the mean over bands and frames: to be held back after one false wake,
# and after several; and while a noise is followed. The same word spoken twice by one person differs by 5 dB in the
# mean, and by 2.05 at least.
SAME_DB = 2.0
SAME_AGAIN_DB = 2.6
FOLLOWS_DB = 3.0
# The largest difference in loudness of the same noise.
GAIN_MOST_DB = 12.0
# The compared cells of a picture are those this far above the noise floor, and not farther than RANGE_DB below the
# loudest cell; at least CELLS_LEAST are needed.
OVER_FLOOR_DB = 8.0
CELL_LEAST_OVER_FLOOR_DB = 5.0
RANGE_DB = 24.0
CELLS_LEAST = 40
# The number of cells that are needed to decide that a noise is not followed any more: five frames.
FOLLOWED_CELLS_LEAST = 80
# The noise floor of a band is the level below which this share of the last seconds lies.
FLOOR_SHARE = 0.2
FLOOR_MS = 4000
# The number of known noises, and how long a noise is remembered that does not come again.
KNOWN_MOST = 16
REMEMBERED_MS = 24 * 3600 * 1000

_BEFORE = BEFORE_MS // FRAME_MS
_PICTURE = (BEFORE_MS + AFTER_MS) // FRAME_MS
_EVIDENCE = EVIDENCE_MS // FRAME_MS
_SHIFT = SHIFT_MOST_MS // FRAME_MS
_ENDS = range(_BEFORE - _SHIFT, _BEFORE + _SHIFT + 1)
_RING = FLOOR_MS // FRAME_MS
# The power of silence for 16-bit samples: far below the noise of any microphone.
_SILENCE_POWER = 1.0


def _band_edges_hz() -> npt.NDArray[np.float64]:
    """The edges of bands of equal width on the mel scale."""
    low, high = (1127 * np.log1p(hz / 700) for hz in BANDS_HZ)
    edges: npt.NDArray[np.float64] = 700 * np.expm1(np.linspace(low, high, BANDS + 1) / 1127)
    return edges


_EDGES = np.searchsorted(SPECTRUM_HZ, _band_edges_hz())


def _decibels(power: Bands) -> Bands:
    levels: Bands = 10 * np.log10(power + _SILENCE_POWER, dtype=np.float32)
    return levels


class _Noise(Struct):
    """picture: levels in dB, frames × bands, with the opening's frame at _BEFORE - 1; the last frames may be missing
    while the noise goes on.
    floor: the noise floor of each band at that time. heard: the number of the frame at which it was heard last.
    times: the number of false wakes by this noise or a similar one."""

    picture: Bands
    floor: Bands
    heard: int
    times: int = 1


class _Track(Struct):
    """A known noise that is heard now. at: the next frame of its picture. gain_db: how much louder it is now."""

    noise: _Noise
    at: int
    gain_db: float


class KnownNoises:
    """For one microphone; every frame is observed, in order."""

    def __init__(self) -> None:
        self._ring = np.full((_RING, BANDS), _SILENCE_POWER, np.float32)
        self._frames = 0
        self._noises: list[_Noise] = []
        self._track: _Track | None = None
        self._floor_now: Bands = np.zeros(BANDS, np.float32)
        # For the last frames of the followed noise: the sum of the differences, and the number of cells.
        self._differs: list[tuple[float, int]] = []
        # The sound that woke the daemon, until the result is known; and the number of its frames still to come.
        self._woke: _Noise | None = None
        self._to_come = 0

    def __len__(self) -> int:
        return len(self._noises)

    def observe(self, power: npt.NDArray[np.floating]) -> None:
        """Takes one frame. power: its spectrum, VoiceMeasure.power, of the length of SPECTRUM_HZ."""
        self._take(np.add.reduceat(power, _EDGES)[:BANDS])

    def _take(self, bands: npt.NDArray[np.floating]) -> None:
        self._frames += 1
        row = self._ring[self._frames % _RING]
        row[:] = bands
        if self._woke is not None and self._to_come:
            self._to_come -= 1
            self._woke.picture[_PICTURE - self._to_come - 1] = _decibels(row)
        if self._track is not None:
            self._follow(self._track, _decibels(row))

    @property
    def listens(self) -> bool:
        """Whether the next frames matter one by one: a known noise is followed, or a new one is being pictured."""
        return self._track is not None or (self._woke is not None and self._to_come > 0)

    def observe_all(self, powers: npt.NDArray[np.floating]) -> None:
        """Several frames at once, fewer than FLOOR_MS of them, while it does not listen. powers: (frames, bins)."""
        rows = np.arange(self._frames + 1, self._frames + 1 + len(powers)) % _RING
        self._ring[rows] = np.add.reduceat(powers, _EDGES, axis=1)[:, :BANDS]
        self._frames += len(powers)

    def holds(self) -> bool:
        """Whether the sound that would open the gate with this frame is a known noise."""
        if self._track is None:
            self._forget_old()
            if self._noises:
                self._recognise()
        return self._track is not None

    def wakes(self) -> None:
        """The gate opens with this frame, and that wakes the daemon."""
        picture = np.full((_PICTURE, BANDS), 10 * np.log10(_SILENCE_POWER), np.float32)
        picture[:_BEFORE] = _decibels(self._last(_BEFORE))
        self._woke = _Noise(picture, self._floor(), self._frames)
        self._to_come = _PICTURE - _BEFORE
        self._track = None

    def false_wake(self) -> bool:
        """The last wake was a false wake: its sound is known from now on. Returns False if it cannot be: no sound
        caused the wake, or too little of it is above the noise floor."""
        woke, self._woke = self._woke, None
        if woke is None or not np.isfinite(_apart_db(woke, woke)):
            return False
        alike = [noise for noise in self._noises if _apart_db(noise, woke) <= SAME_AGAIN_DB]
        for noise in (*alike, woke):
            noise.times = 1 + len(alike)
        self._noises = [*self._noises[1 - KNOWN_MOST :], woke]
        return True

    def trust(self) -> None:
        """Somebody was understood: the sound of the wake was speech, and noises that resemble it are removed."""
        woke, self._woke = self._woke, None
        self._track = None
        if woke is not None:
            self._noises = [noise for noise in self._noises if _apart_db(noise, woke) > FOLLOWS_DB]

    # ------------------------------------------------------------ comparing

    def _last(self, frames: int) -> Bands:
        rows: Bands = self._ring[np.arange(self._frames - frames + 1, self._frames + 1) % _RING]
        return rows

    def _floor(self) -> Bands:
        seen = self._ring[1 : self._frames + 1] if self._frames < _RING else self._ring
        rank = int(FLOOR_SHARE * len(seen))
        floor: Bands = _decibels(np.partition(seen, rank, axis=0)[rank])
        return floor

    def _forget_old(self) -> None:
        oldest = self._frames - REMEMBERED_MS // FRAME_MS
        self._noises = [noise for noise in self._noises if noise.heard > oldest]

    def _recognise(self) -> None:
        now, floor = _decibels(self._last(_EVIDENCE)), self._floor()
        differs_db, noise, at, gain_db = _nearest(self._noises, now, floor)
        if differs_db > (SAME_DB if noise.times == 1 else SAME_AGAIN_DB):
            return
        # Noises that were heard recently are forgotten last.
        noise.heard = self._frames
        self._noises.sort(key=lambda each: each.heard)
        self._track = _Track(noise, at, gain_db)
        self._floor_now = floor
        self._differs = [(differs_db * CELLS_LEAST, CELLS_LEAST)]

    def _follow(self, track: _Track, now: Bands) -> None:
        picture = track.noise.picture
        if track.at >= len(picture):
            self._track = None
            return
        # The same noise has another position relative to the frames each time; at its edges a neighbouring frame may
        # match better.
        near = picture[track.at - 1 : track.at + 2, None]
        track.at += 1
        differs, counts = _compare(now[None], near, track.noise.floor, self._floor_now, track.gain_db)
        most_like = int(np.argmin(differs))
        self._differs = [*self._differs[1 - _EVIDENCE :], (float(differs[most_like]), int(counts[most_like]))]
        cells = sum(count for _, count in self._differs)
        if cells >= FOLLOWED_CELLS_LEAST and sum(each for each, _ in self._differs) > FOLLOWS_DB * cells:
            self._track = None


def _apart_db(noise: _Noise, other: _Noise) -> float:
    return _nearest([noise], other.picture[_BEFORE - _EVIDENCE : _BEFORE], other.floor)[0]


def _nearest(noises: Sequence[_Noise], now: Bands, floor: Bands) -> tuple[float, _Noise, int, float]:
    """The place in one of the noises that matches `now` best: its difference in dB; its noise; the next frame; how much
    louder it is now. Searched in steps of three frames first, then exactly."""
    many = [(noise, end) for noise in noises for end in _ENDS[1::3]]
    best = int(np.argmin(_differences(many, now, floor)[0]))
    noise, end = many[best]
    few = [(noise, each) for each in range(end - 1, end + 2)]
    differs_db, gains_db = _differences(few, now, floor)
    best = int(np.argmin(differs_db))
    return float(differs_db[best]), noise, few[best][1], float(gains_db[best])


def _differences(places: Sequence[tuple[_Noise, int]], now: Bands, floor: Bands) -> tuple[Bands, Bands]:
    """For each place (a noise and the end in its picture): the difference and the gain, in dB; infinite if too few
    cells can be compared."""
    then = np.stack([noise.picture[end - _EVIDENCE : end] for noise, end in places])
    floors = np.stack([noise.floor for noise, _ in places])[:, None]
    both = (now > floor + OVER_FLOOR_DB) & (then > floors + OVER_FLOOR_DB)
    cells = both.sum(axis=(1, 2))
    louder_db = np.where(both, now - then, np.float32(0)).sum(axis=(1, 2))
    gains: Bands = (louder_db / np.maximum(cells, 1)).astype(np.float32)
    differs, counts = _compare(now, then, floors, floor, gains[:, None, None])
    comparable = (cells >= CELLS_LEAST) & (np.abs(gains) <= GAIN_MOST_DB)
    return np.where(comparable, differs / np.maximum(counts, 1), np.inf).astype(np.float32), gains


def _compare(
    now: Bands, then: Bands, floor_then: Bands, floor_now: Bands, gain_db: Bands | float
) -> tuple[Bands, npt.NDArray[np.integer]]:
    """For each place, frames × bands: the sum of all differences, and the number of cells. Cells below the noise floor
    of either time count as equal."""
    least = np.maximum(np.maximum(floor_now, floor_then + gain_db) + CELL_LEAST_OVER_FLOOR_DB, now.max() - RANGE_DB)
    here, there = np.maximum(now, least), np.maximum(then + gain_db, least)
    counts = (here > least) | (there > least)
    differs: Bands = np.where(counts, np.abs(here - there), np.float32(0)).sum(axis=(1, 2))
    return differs, counts.sum(axis=(1, 2))
