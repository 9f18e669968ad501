"""The problems of a configuration file, as values; each is one line for the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple  # Not msgspec, without which the doctor has to tell what is missing.


class Problem(NamedTuple):
    """One problem, or one warning.

    line and column count from 1; None for a problem without a position. key: dotted; empty if the problem is not about
    a key. text: the problem; hint: the solution. Neither ever contains a secret.
    """

    file: str
    line: int | None
    column: int | None
    key: str
    text: str
    hint: str

    def __str__(self) -> str:
        return self.render()

    def render(self, severity: str = "") -> str:
        """`parleyd.yaml:12: gate.hangovr_ms: unknown key; did you mean hangover_ms?`"""
        place = self.file
        if self.line is not None:
            place += f":{self.line}"
            if not self.key and self.column is not None:
                place += f":{self.column}"
        return ": ".join(part for part in (place, severity, self.key, f"{self.text}; {self.hint}") if part)


class ConfigError(Exception):
    """A configuration that cannot be used: all its problems, in the order of the file; str() has a line for each."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)


class KeyProblem(NamedTuple):
    """A problem of a key, before its line in the file is known. key: dotted. A warning does not keep the daemon from
    running."""

    key: str
    text: str
    hint: str
    is_warning: bool = False
