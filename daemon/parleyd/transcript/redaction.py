"""Replaces the parts of a text that must not be written. Pure.

A pattern can take practically for ever, and Python's own `re` holds the interpreter lock meanwhile, which would stop
the sound. The library regex can release the lock and stop the search (PyPI, `regex`, "timeout" and "concurrent"). It is
loaded only if there are patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

MOST_CHARS = 8000
TIMEOUT_S = 0.2
REDACTED = "[redacted]"
WITHHELD = "[withheld: a pattern of transcript.redact took too long]"


class PatternError(Exception):
    """The text is not a regular expression; the message says why, in one line."""


def compiled(pattern: str) -> regex.Pattern[str]:
    """Raises PatternError."""
    import regex

    try:
        return regex.compile(pattern)
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        raise PatternError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None


class Redaction:
    """Raises PatternError."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [compiled(pattern) for pattern in patterns]

    def __call__(self, text: str) -> str:
        """The redacted text, at most MOST_CHARS of it; WITHHELD if the patterns take too long."""
        if len(text) > MOST_CHARS:
            text = text[: MOST_CHARS - 1] + "…"
        for pattern in self._patterns:
            try:
                text = pattern.sub(REDACTED, text, concurrent=True, timeout=TIMEOUT_S)
            except TimeoutError:
                return WITHHELD
        return text
