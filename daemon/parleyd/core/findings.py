"""The findings of a check, as values, and the exit code that follows from them. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """skipped: the check was left out, with the reason.
    note: useful to know.
    warning: it works, but not well or not for long.
    error: the daemon cannot do its work.
    failed: the check itself failed."""

    GOOD = "ok"
    SKIPPED = "skip"
    NOTE = "note"
    WARNING = "warn"
    FAILED = "?"
    ERROR = "FAIL"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """text: the finding; hint: what to do about it, "" if nothing. Both are one line without secrets.

    is_configuration: the cause is in the configuration file, the key, or the agent's settings.
    """

    severity: Severity
    text: str
    hint: str = ""
    is_configuration: bool = False


def good(text: str) -> Finding:
    return Finding(Severity.GOOD, text)


def note(text: str, hint: str = "") -> Finding:
    return Finding(Severity.NOTE, text, hint)


def warning(text: str, hint: str) -> Finding:
    return Finding(Severity.WARNING, text, hint)


def error(text: str, hint: str) -> Finding:
    return Finding(Severity.ERROR, text, hint)


def misconfigured(text: str, hint: str) -> Finding:
    return Finding(Severity.ERROR, text, hint, is_configuration=True)


def skipped(reason: str) -> Finding:
    return Finding(Severity.SKIPPED, reason)


def failed(text: str, hint: str) -> Finding:
    return Finding(Severity.FAILED, text, hint)


def worst(findings: Iterable[Finding]) -> Severity:
    return max((finding.severity for finding in findings), key=lambda severity: severity.rank, default=Severity.GOOD)


def exit_code(findings: Iterable[Finding]) -> int:
    """The exit code. 78: the configuration must be changed; 69: something else is missing or broken; 70: a check
    failed; 0: nothing worse than warnings."""
    of = list(findings)
    found = worst(of)
    if found is Severity.ERROR:
        return os.EX_CONFIG if any(one.is_configuration for one in of) else os.EX_UNAVAILABLE
    return os.EX_SOFTWARE if found is Severity.FAILED else os.EX_OK
