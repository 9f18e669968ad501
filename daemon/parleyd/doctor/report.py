"""Prints the outcome: a line for each check and its hint below it, or JSON. Pure except for print."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from parleyd.core.findings import Finding, Severity, exit_code, worst
from parleyd.doctor.run import Outcome

_NAME_WIDTH = 20
_MARK_WIDTH = 4
_INDENT = _MARK_WIDTH + 2 + _NAME_WIDTH + 1
# On a narrower terminal the text stands below the name.
_BESIDE_COLUMNS = 64
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
        self._indent = _INDENT if width is None or width >= _BESIDE_COLUMNS else _MARK_WIDTH + 2
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
        for line in self._wrapped(", ".join(word for word in words if word) or "nothing is wrong", "", 0):
            self._write(line)
        self._failures(outcomes)

    def _failures(self, outcomes: Sequence[Outcome]) -> None:
        """The failures stand at the end again, because they may have scrolled away: each hint once, and the first thing
        to do last."""
        found = list(to_fix(outcomes))
        if found:
            self._write("")
            self._write("to fix, the first thing last:" if len(found) > 1 else "to fix:")
        for one in reversed(found):
            also = f" (also: {', '.join(one.others)})" if one.others else ""
            lines = self._wrapped(f"{one.name}: {one.text}{also}", "  ", 0)
            for line in (*lines, *(self._wrapped(one.hint, "  -> ", 0) if one.hint else ())):
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
            lines = self._wrapped(finding.text, "", self._indent)
            if self._indent < _INDENT:
                # On a narrow terminal the text stands below the name.
                self._write(f"{mark}  {name if number == 0 else ''}".rstrip())
            else:
                self._write(f"{mark}  {name if number == 0 else '':<{_NAME_WIDTH}} {lines.pop(0)}".rstrip())
            # Consecutive findings with the same hint have it below the last one.
            is_next_the_same = findings[number + 1 : number + 2] and findings[number + 1].hint == finding.hint
            if finding.hint and not is_next_the_same:
                # The same trouble may appear in several checks.
                told = self._told.setdefault(finding.hint, name)
                hint = finding.hint if told == name else f"as above: {told}"
                lines += self._wrapped(hint, "-> ", self._indent)
            for line in lines:
                self._write(" " * self._indent + line)

    def _wrapped(self, text: str, lead: str, indent: int) -> list[str]:
        """The lines without the indent that they will have."""
        room = 10_000_000 if self._width is None else max(20, self._width - 1 - indent)
        wrap = textwrap.TextWrapper(
            room, initial_indent=lead, subsequent_indent=" " * len(lead), break_long_words=False, break_on_hyphens=False
        )
        return wrap.wrap(text) or [""]


@dataclass(frozen=True)
class Fix:
    """name: of the check. others: the checks that failed for the same reason."""

    name: str
    text: str
    hint: str
    others: tuple[str, ...]


def to_fix(outcomes: Sequence[Outcome]) -> Iterator[Fix]:
    """The failures with their hints, each hint once, in the order in which to work on them."""
    failing = [outcome for outcome in outcomes if outcome.severity in (Severity.ERROR, Severity.FAILED)]
    causes = {outcome.explains: outcome for outcome in failing if outcome.explains}
    by_hint: dict[str, list[tuple[str, str]]] = {}
    for outcome in failing:
        if outcome.explains and outcome.explains in {each.name for each in failing}:
            continue
        # A failure that another check explains stands there, and its own hint would only lead astray.
        cause = causes.get(outcome.name)
        for each in (outcome,) if cause is None else (cause, outcome):
            for finding in each.findings:
                if finding.severity in (Severity.ERROR, Severity.FAILED):
                    hint = finding.hint if cause is None else cause.findings[0].hint
                    by_hint.setdefault(hint, []).append((each.name, finding.text))
    for hint, ((name, text), *more) in by_hint.items():
        yield Fix(name, text, hint, tuple(dict.fromkeys(each for each, _ in more if each != name)))


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
