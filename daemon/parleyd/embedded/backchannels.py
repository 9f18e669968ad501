"""Words that do not interrupt, such as "mhm": the platform's `interruption_ignore_terms`. Pure.

The words are known only when they have been recognised. So an interruption that may be one of them waits: until its
words are there, or until the person has spoken for longer than any of them takes.
"""

from __future__ import annotations

import string
from collections.abc import Iterable

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


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(_NO_WORDS)
