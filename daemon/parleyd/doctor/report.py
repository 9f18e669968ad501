"""Prints the outcome: a line for each check and its hint below it, or JSON. Pure except for print."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from parleyd.core.findings import Finding, Severity, exit_code, worst
from parleyd.doctor.run import Outcome

_NAME_WIDTH = 20
_MARK_WIDTH = 4
_INDENT = " " * (_MARK_WIDTH + 2 + _NAME_WIDTH + 1)
# ECMA-48 (ANSI): SGR colours.
_COLOURS = {
    Severity.GOOD: "32",
    Severity.SKIPPED: "2",
    Severity.NOTE: "36",
    Severity.WARNING: "33",
    Severity.FAILED: "35",
    Severity.ERROR: "1;31",
}


class Page:
    """Prints outcomes as they come. Consecutive checks that were skipped for the same reason share a line.

    width: of the terminal; None: do not wrap.
    """

    def __init__(self, write: Callable[[str], None], *, width: int | None = None, colour: bool = False) -> None:
        self._write = write
        self._width = width
        self._colour = colour
        self._waiting: list[Outcome] = []
        # Hints that were already printed, with the check's name.
        self._told: dict[str, str] = {}

    def add(self, outcome: Outcome) -> None:
        if self._waiting and _reason(outcome) != _reason(self._waiting[0]):
            self._flush()
        if _reason(outcome) is not None:
            self._waiting.append(outcome)
        else:
            self._entry(outcome.name, outcome.findings)

    def end(self, outcomes: Sequence[Outcome]) -> None:
        self._flush()
        counts = Counter(finding.severity for outcome in outcomes for finding in outcome.findings)
        words = [
            _count(counts[Severity.ERROR], "error"),
            _count(counts[Severity.FAILED], "check that could not be made", "checks that could not be made"),
            _count(counts[Severity.WARNING], "warning"),
            _count(counts[Severity.SKIPPED], "skipped", "skipped"),
        ]
        self._write("")
        self._write(", ".join(word for word in words if word) or "nothing is wrong")
        first = next(
            (
                (outcome.name, finding)
                for outcome in outcomes
                for finding in outcome.findings
                if finding.severity is Severity.ERROR and finding.hint
            ),
            None,
        )
        if first is not None:
            # The first finding is repeated at the end, because it may have scrolled away.
            name, finding = first
            for line in self._wrapped(f"first: {name}: {finding.text}", "", indented=False):
                self._write(line)
            for line in self._wrapped(finding.hint, "-> ", indented=False):
                self._write(line)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            self._entry(waiting[0].name, waiting[0].findings)
        elif waiting:
            names = ", ".join(outcome.name for outcome in waiting[1:])
            reason = _reason(waiting[0])
            self._entry(waiting[0].name, (Finding(Severity.SKIPPED, f"{reason} (also skipped: {names})"),))

    def _entry(self, name: str, findings: Sequence[Finding]) -> None:
        for number, finding in enumerate(findings):
            mark = f"{finding.severity.value:<{_MARK_WIDTH}}"
            if self._colour:
                mark = f"\033[{_COLOURS[finding.severity]}m{mark}\033[0m"
            first, *more = self._wrapped(finding.text, "")
            self._write(f"{mark}  {name if number == 0 else '':<{_NAME_WIDTH}} {first}".rstrip())
            for line in more:
                self._write(_INDENT + line)
            # Consecutive findings with the same hint have it below the last one.
            is_next_the_same = findings[number + 1 : number + 2] and findings[number + 1].hint == finding.hint
            if not finding.hint or is_next_the_same:
                continue
            # The same trouble may appear in several checks.
            told = self._told.setdefault(finding.hint, name)
            for line in self._wrapped(finding.hint if told == name else f"as above: {told}", "-> "):
                self._write(_INDENT + line)

    def _wrapped(self, text: str, lead: str, *, indented: bool = True) -> list[str]:
        indent = len(_INDENT) if indented else 0
        room = 10_000_000 if self._width is None else max(40, self._width - indent)
        wrap = textwrap.TextWrapper(
            room, initial_indent=lead, subsequent_indent=" " * len(lead), break_long_words=False, break_on_hyphens=False
        )
        return wrap.wrap(text) or [""]


def _reason(outcome: Outcome) -> str | None:
    """Why it was skipped; None if it was not, or if there are more findings."""
    only = outcome.findings[0]
    return only.text if len(outcome.findings) == 1 and only.severity is Severity.SKIPPED and not only.hint else None


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}" if number else ""


def facts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The outcomes as JSON values."""
    everything = [finding for outcome in outcomes for finding in outcome.findings]
    return {
        "worst": _WORDS[worst(everything)],
        "exit_code": exit_code(everything),
        "checks": [
            {
                "name": outcome.name,
                "severity": _WORDS[outcome.severity],
                "seconds": round(outcome.seconds, 3),
                "findings": [
                    {"severity": _WORDS[one.severity], "text": one.text, "hint": one.hint or None}
                    for one in outcome.findings
                ],
            }
            for outcome in outcomes
        ],
    }


_WORDS = {severity: severity.name.lower() for severity in Severity}
