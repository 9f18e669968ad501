"""Ends after which it is tried again. Pure."""

from __future__ import annotations

from parleyd.core.endings import Ending, EndingKind
from parleyd.core.no_memory import HINT, in_words


def retry(reason: str, hint: str | None = None) -> Ending:
    return Ending(EndingKind.RETRY, reason, hint)


def no_memory(error: MemoryError) -> Ending:
    return retry(in_words(error), HINT)


def no_thread() -> Ending:
    return retry("the system has no thread left", "see TasksMax= of the unit, and what else runs on this device")
