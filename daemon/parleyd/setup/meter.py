"""The level meter of the set-up, and the notes that a speaker plays."""

from __future__ import annotations

import numpy as np

from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, PIPELINE_RATE_HZ, SILENCE_DBFS, level_dbfs
from parleyd.audio.resample import Resampler
from parleyd.setup.page import Page
from parleyd.tuning.recording import Listener

TONE_HZ = 48_000
_LOWEST_DBFS = -70.0
_TOO_LOUD_DBFS = -3.0
_SPEECH_DBFS = -45.0
# Two notes, a fifth apart, loud enough for a small speaker and soft enough for the night.
_NOTES_HZ, _NOTE_S, _LOUD_DBFS = (440.0, 660.0), 0.6, -18.0


def bar(level_dbfs: float, left_s: float, width: int) -> str:
    """One line below the width: ``4 s [#####     ] speech``. At 40 columns there are 22 cells."""
    cells = max(8, min(50, width - 18))
    filled = round(min(max(0.0, 1 - level_dbfs / _LOWEST_DBFS), 1.0) * cells)
    if level_dbfs <= SILENCE_DBFS:
        word = "nothing"
    elif level_dbfs > _TOO_LOUD_DBFS:
        word = "too loud"
    else:
        word = "speech" if level_dbfs > _SPEECH_DBFS else "quiet"
    return f"{max(0.0, left_s):2.0f} s [{'#' * filled}{' ' * (cells - filled)}] {word}"


class Meter(Listener):
    """Ctrl-C leaves the set-up, and does not end the recording."""

    may_end_early = False

    def __init__(self, page: Page, seconds: float) -> None:
        self._page = page
        self._seconds = seconds
        self._pending = bytearray()
        self._frames = 0

    def begins(self, rate_hz: int) -> None:
        self._resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)

    def heard(self, pcm: bytes) -> None:
        self._pending += self._resampler.process(pcm)
        loudest = SILENCE_DBFS
        while len(self._pending) >= FRAME_BYTES:
            loudest = max(loudest, level_dbfs(bytes(self._pending[:FRAME_BYTES])))
            del self._pending[:FRAME_BYTES]
            self._frames += 1
        left_s = self._seconds - self._frames * FRAME_MS / 1000
        self._page.moving(bar(loudest, left_s, self._page.width))


def notes() -> bytes:
    """Returns the test sound for a speaker: mono PCM at TONE_HZ."""
    time_s = np.arange(round(_NOTE_S * TONE_HZ)) / TONE_HZ
    fade = np.minimum(1, np.minimum(time_s, _NOTE_S - time_s) / 0.05)
    loud = np.sqrt(2) * 10 ** (_LOUD_DBFS / 20) * 32_767
    sound = np.concatenate([loud * fade * np.sin(2 * np.pi * note_hz * time_s) for note_hz in _NOTES_HZ])
    return bytes(np.rint(sound).astype(np.int16))
