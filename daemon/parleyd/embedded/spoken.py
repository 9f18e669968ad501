"""Computes the part of an answer that has been heard, for an answer that is sent faster than it is spoken. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_SENTENCE_CHARS = 240


def sentences(text: str) -> list[str]:
    """Splits a text into pieces that are synthesised one by one, so that the first sound does not wait for the last
    sentence."""
    pieces: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
        rest = sentence
        while len(rest) > MAX_SENTENCE_CHARS:
            cut = rest.rfind(" ", 1, MAX_SENTENCE_CHARS)
            cut = cut if cut > 0 else MAX_SENTENCE_CHARS
            pieces.append(rest[:cut])
            rest = rest[cut:].lstrip()
        if rest:
            pieces.append(rest)
    return pieces


def heard_words(pieces: Iterable[tuple[str, float]], played_s: float) -> str:
    """The words in the first seconds of an answer, by proportion of time within each sentence. pieces: the sentences
    with their durations in seconds."""
    heard: list[str] = []
    for text, duration_s in pieces:
        words = text.split()
        if played_s < duration_s:
            heard += words[: int(len(words) * played_s / duration_s)]
            break
        heard += words
        played_s -= duration_s
    return " ".join(heard)


class SpokenTurn:
    """One answer. It assumes that the client plays from the first chunk, in real time and without gaps.

    text: the words, which may grow. is_told: the client has them.
    """

    def __init__(self, event_id: int, text: str) -> None:
        self.event_id = event_id
        self.text = text
        self.is_streaming = True
        self.is_told = False
        self._began_s: float | None = None
        self._sent_s = 0.0
        self._pieces: list[tuple[str, float]] = []

    def begin(self, now_s: float) -> None:
        """The first chunk leaves."""
        self._began_s = now_s

    def add_words(self, text: str) -> None:
        """More words of an answer that is still being written."""
        self.text = f"{self.text} {text}" if self.text else text

    def add_sentence(self, text: str, duration_s: float) -> None:
        self._pieces.append((text, duration_s))

    def add_sent(self, duration_s: float) -> None:
        self._sent_s += duration_s

    @property
    def ends_s(self) -> float:
        """When all sent sound has been played."""
        return (self._began_s or 0.0) + self._sent_s

    def is_heard(self, now_s: float) -> bool:
        """Whether the client is still playing, or starts at once."""
        return self._began_s is not None and (self.is_streaming or now_s < self.ends_s)

    def heard_text(self, now_s: float) -> str:
        """The words played so far, by proportion of time within each sentence."""
        return heard_words(self._pieces, 0.0 if self._began_s is None else min(now_s - self._began_s, self._sent_s))
