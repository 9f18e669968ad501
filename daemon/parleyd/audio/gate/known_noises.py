"""Noises that woke for nothing, known again: the same bark, bell or siren opens the gate once, not twelve times. Pure.

Loudness cannot tell a bark in a quiet room from a voice. But a noise that comes again is the same noise, and what
people say is never the same twice. So the beginning of what woke for nothing is kept as a picture, band by band and
frame by frame, and what would open the gate is compared with these pictures: as long as it follows one of them, it is
held back. The loudness of the whole does not matter, nor what lies below the noise floor of then or now. As soon as it
differs, because somebody speaks after all, nothing is held back any more, and the pre-roll still has the beginning.

The figures are chosen by benchmarks/people_and_noise.py on its half `tune`; docs/measurements/people-and-noise.md shows
what they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from parleyd.audio.gate.measure import SPECTRUM_HZ
from parleyd.audio.pcm import FRAME_MS

Bands = npt.NDArray[np.float32]

BANDS = 16
BANDS_HZ = (200.0, 7000.0)
# A picture reaches from so much before the opening to so much after it.
BEFORE_MS = 600
AFTER_MS = 2500
# What is compared before anything is held back, and how far apart the two openings may be in their noises.
EVIDENCE_MS = 280
SHIFT_MOST_MS = 240
# How far two pictures of one noise may differ, in the mean over bands and frames: to be held back after it woke for
# nothing once, and twice; and while it is followed. The same word spoken twice by one person differs by 5 dB in the
# mean, and by 2.05 at least.
SAME_DB = 2.0
SAME_AGAIN_DB = 2.6
FOLLOWS_DB = 3.0
# Another loudness of the same noise: so much at most.
GAIN_MOST_DB = 12.0
# A cell of the picture counts from so much over the noise floor on, and down to so much below the loudest cell.
OVER_FLOOR_DB = 8.0
CELL_LEAST_OVER_FLOOR_DB = 5.0
RANGE_DB = 24.0
CELLS_LEAST = 40
# ... and to say that a noise is followed no more: five frames.
FOLLOWED_CELLS_LEAST = 80
# The noise floor of a band: this share of the last seconds is below it.
FLOOR_SHARE = 0.2
FLOOR_MS = 4000
# How many noises are known, and how long one is remembered that does not come again.
KNOWN_MOST = 16
REMEMBERED_MS = 24 * 3600 * 1000

_BEFORE = BEFORE_MS // FRAME_MS
_PICTURE = (BEFORE_MS + AFTER_MS) // FRAME_MS
_EVIDENCE = EVIDENCE_MS // FRAME_MS
_SHIFT = SHIFT_MOST_MS // FRAME_MS
_ENDS = range(_BEFORE - _SHIFT, _BEFORE + _SHIFT + 1)
_RING = FLOOR_MS // FRAME_MS
# Of samples of 16 bits: far below the noise of any microphone.
_SILENCE_POWER = 1.0


def _band_edges_hz() -> npt.NDArray[np.float64]:
    """Equally wide to the ear (mel)."""
    low, high = (1127 * np.log1p(hz / 700) for hz in BANDS_HZ)
    edges: npt.NDArray[np.float64] = 700 * np.expm1(np.linspace(low, high, BANDS + 1) / 1127)
    return edges


_EDGES = np.searchsorted(SPECTRUM_HZ, _band_edges_hz())


def _decibels(power: Bands) -> Bands:
    levels: Bands = 10 * np.log10(power + _SILENCE_POWER, dtype=np.float32)
    return levels


@dataclass(slots=True)
class _Noise:
    """picture: levels in dB, frames × bands, the opening's frame at _BEFORE - 1; the last ones may be missing while it
    is still going on. floor: of each band, then. heard: the number of the frame at which it was heard last. times: how
    often it, or one like it, woke for nothing."""

    picture: Bands
    floor: Bands
    heard: int
    times: int = 1


@dataclass(slots=True)
class _Track:
    """A noise that is being heard again. at: the frame of its picture that is next. gain_db: how much louder it is."""

    noise: _Noise
    at: int
    gain_db: float


class KnownNoises:
    """For the one microphone; every frame is observed, in order."""

    def __init__(self) -> None:
        self._ring = np.full((_RING, BANDS), _SILENCE_POWER, np.float32)
        self._frames = 0
        self._noises: list[_Noise] = []
        self._track: _Track | None = None
        self._floor_now: Bands = np.zeros(BANDS, np.float32)
        # Of the last frames of what is followed: the sum of all differences, of so many cells.
        self._differs: list[tuple[float, int]] = []
        # What woke us, until it is known whether that was for nothing; and how many frames of it are still to come.
        self._woke: _Noise | None = None
        self._to_come = 0

    def __len__(self) -> int:
        return len(self._noises)

    def observe(self, power: npt.NDArray[np.floating]) -> None:
        """One frame. power: its spectrum, as VoiceMeasure.power has it, SPECTRUM_HZ long."""
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

    def holds(self) -> bool:
        """Whether what would open the gate with this frame is a noise that is known."""
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

    def fooled(self) -> bool:
        """What woke us was nothing: it is known from now on. False if that is not so: nothing had woken us, or there is
        too little of it over the noise floor to be known again."""
        woke, self._woke = self._woke, None
        if woke is None or not np.isfinite(_apart_db(woke, woke)):
            return False
        alike = [noise for noise in self._noises if _apart_db(noise, woke) <= SAME_AGAIN_DB]
        for noise in (*alike, woke):
            noise.times = 1 + len(alike)
        self._noises = [*self._noises[1 - KNOWN_MOST :], woke]
        return True

    def trust(self) -> None:
        """Somebody was understood: what woke us was somebody, and so was what is like it."""
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
        # The ones that were heard last are the last to be forgotten.
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
        # The same noise lies elsewhere between the frames each time: at its edges, a neighbour is more like it.
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
    """The place in one of the noises that is most like `now`: by how much that differs, in dB; whose it is; the frame
    that comes after it; how much louder it is now. First from three frames to three frames, then exactly."""
    many = [(noise, end) for noise in noises for end in _ENDS[1::3]]
    best = int(np.argmin(_differences(many, now, floor)[0]))
    noise, end = many[best]
    few = [(noise, each) for each in range(end - 1, end + 2)]
    differs_db, gains_db = _differences(few, now, floor)
    best = int(np.argmin(differs_db))
    return float(differs_db[best]), noise, few[best][1], float(gains_db[best])


def _differences(places: Sequence[tuple[_Noise, int]], now: Bands, floor: Bands) -> tuple[Bands, Bands]:
    """Of each place, which is a noise and the end in its picture: (how it differs, its gain), in dB; infinite where too
    little of both can be compared."""
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
    """Of each place, frames × bands: the sum of all differences, and of how many cells. What is below the floor of then
    or now is as good as equal."""
    least = np.maximum(np.maximum(floor_now, floor_then + gain_db) + CELL_LEAST_OVER_FLOOR_DB, now.max() - RANGE_DB)
    here, there = np.maximum(now, least), np.maximum(then + gain_db, least)
    counts = (here > least) | (there > least)
    differs: Bands = np.where(counts, np.abs(here - there), np.float32(0)).sum(axis=(1, 2))
    return differs, counts.sum(axis=(1, 2))
