"""Words that do not interrupt, such as "mhm": the platform's `interruption_ignore_terms`. For both protocols. Pure.

The words are known only when they have been recognised. So an interruption that may be one of them waits: until its
words are there, or until the person has spoken for longer than any of them takes.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence

# How long a word takes: so long whatever it is, and so much for each of its signs, spoken slowly.
_LEAST_MS = 300
_EACH_SIGN_MS = 80
_NO_WORDS = string.punctuation + string.whitespace + "…。，！？、"


def longest_ms(terms: Iterable[str]) -> int:
    """The time that the longest of the terms takes, at most. 0: there are none."""
    return max((_LEAST_MS + _EACH_SIGN_MS * len(term) for term in terms), default=0)


def is_ignored(text: str, terms: Iterable[str]) -> bool:
    """Whether the words are one of the terms: all of them, in any case. A recogniser writes a full stop behind them."""
    return bool(plain := _plain(text)) and any(plain == _plain(term) for term in terms)


class Doubt:
    """Whether a person who begins to speak interrupts, or perhaps says one of the terms. One utterance at a time."""

    def __init__(self, terms: Sequence[str]) -> None:
        self._terms = terms
        self._longest_ms = longest_ms(terms)
        self.is_open = False

    def started(self, *, is_answering: bool) -> bool:
        """The person begins to speak. Returns whether that interrupts at once; is_answering: an answer is made, or
        heard."""
        self.is_open = bool(self._terms) and is_answering
        return not self.is_open

    def goes_on(self, speech_ms: int) -> bool:
        """The person has spoken for so long. Returns whether that ends the doubt: none of the terms takes so long."""
        if not self.is_open or speech_ms <= self._longest_ms:
            return False
        self.is_open = False
        return True

    def ended(self) -> bool:
        """The utterance is over, or forgotten. Returns whether its words have to decide."""
        was_open, self.is_open = self.is_open, False
        return was_open

    def is_ignored(self, text: str) -> bool:
        """See is_ignored."""
        return is_ignored(text, self._terms)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(_NO_WORDS)
