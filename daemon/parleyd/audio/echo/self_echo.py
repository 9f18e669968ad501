"""Decides whether the daemon hears itself. Pure: levels, words and times are arguments."""

from __future__ import annotations

import re
from collections import deque
from itertools import repeat

import numpy as np

# The condition by levels: over this many frames in which somebody seems to talk over the far end, the loudness of
# far end and microphone correlate as closely as ALIKE, at the best delay of up to LAGS frames, twice in a row.
FRAMES = 75
LAGS = 16
ALIKE = 0.8
_QUIETEST_DBFS = -60.0
_TIMES = 2
# The condition by words: a transcript has at least LEAST_WORDS words, and the share SAME_WORDS of them occurs in the
# same order in one of the agent's recent answers; in two transcripts in a row that come soon after one another, because
# people do repeat a sentence now and then.
LEAST_WORDS = 4
SAME_WORDS = 0.8
_LATELY_S = 30.0
_SOON_S = 60.0


class SelfEcho:
    """Each method returns True when it is certain, at most once in this object's life."""

    def __init__(self) -> None:
        self._far_dbfs: deque[float] = deque([_QUIETEST_DBFS] * LAGS, maxlen=LAGS)
        self._near: list[float] = []
        self._far: list[list[float]] = []
        self._alike = 0
        self._said: deque[tuple[float, list[str]]] = deque(maxlen=8)
        self._repeated_s = float("-inf")
        self._told = False

    def levels(self, near_dbfs: float, far_dbfs: float, *, talk: bool) -> bool:
        """near_dbfs, far_dbfs: levels of a frame for the gate, and of its far end. talk: the gate takes it for talk."""
        self._far_dbfs.appendleft(max(far_dbfs, _QUIETEST_DBFS))
        if not talk or max(self._far_dbfs) <= _QUIETEST_DBFS:
            return False
        self._near.append(max(near_dbfs, _QUIETEST_DBFS))
        self._far.append(list(self._far_dbfs))
        if len(self._near) < FRAMES:
            return False
        near, far = np.asarray(self._near), np.asarray(self._far)
        self._near, self._far = [], []
        near = near - near.mean()
        far = far - far.mean(axis=0)
        size = np.sqrt((near**2).sum() * (far**2).sum(axis=0))
        likeness = float(np.max(near @ far / np.where(size > 0.0, size, np.inf)))
        self._alike = self._alike + 1 if likeness >= ALIKE else 0
        return self._certain(self._alike >= _TIMES)

    def pass_by(self, frames: int) -> None:
        """Takes this number of frames, without talk and without a far end."""
        self._far_dbfs.extendleft(repeat(_QUIETEST_DBFS, min(frames, LAGS)))

    def agent_said(self, text: str, at_s: float) -> None:
        self._said.append((at_s, _words(text)))

    def person_said(self, text: str, at_s: float) -> bool:
        """Takes a final transcript."""
        words = _words(text)
        if len(words) < LEAST_WORDS:
            return False
        repeats = any(_repeats(words, said) for said_s, said in self._said if at_s - said_s <= _LATELY_S)
        again = repeats and at_s - self._repeated_s <= _SOON_S
        self._repeated_s = at_s if repeats else float("-inf")
        return self._certain(again)

    def _certain(self, it_is: bool) -> bool:
        first = it_is and not self._told
        self._told = self._told or it_is
        return first


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _repeats(words: list[str], said: list[str]) -> bool:
    try:
        # Imported here, because few devices ever compare words.
        from difflib import SequenceMatcher
    except OSError:
        # There is no file handle left; the next words may be compared.
        return False

    blocks = SequenceMatcher(None, words, said, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) >= SAME_WORDS * len(words)
