"""What is written down about each fault and each life, and how it is stored."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """One fault. recovery_s: to the next usable session; 0 where the old one stayed; None where none came.

    failures: broken promises. The figures are of the utterances that were spoken from this fault to the next.
    """

    kind: str
    token: int
    row: str
    life: int = 0
    provider: str = "elevenlabs"
    skipped: str = ""
    survived: bool | None = None
    recovery_s: float | None = None
    said: int = 0
    lost: int = 0
    heads: int = 0
    told: int = 0
    excused: int = 0
    gate: int = 0
    answers_due: int = 0
    answers_heard: int = 0
    hang: bool = False
    crash: bool = False
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def repeat(self) -> str:
        return f"scripts/chaos --provider {self.provider} --repeat {self.kind}:{self.token}"


@dataclass
class LifeOutcome:
    """One daemon's life. growth: threads, handles and MiB at its end against its beginning, both asleep.
    late: utterances that the harness wrote too late, and that are excused for that. gaps_ms: sound that the
    daemon told to be missing from its microphone."""

    number: int
    world: str
    outcomes: list[Outcome]
    daemons: int = 0
    said: int = 0
    late: int = 0
    gaps_ms: float = 0.0
    growth: tuple[int, int, float] | None = None
    most_rss_mib: float = 0.0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def stored(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> LifeOutcome:
        outcomes = [Outcome(**one) for one in stored.pop("outcomes")]
        growth = stored.pop("growth")
        return cls(outcomes=outcomes, growth=tuple(growth) if growth else None, **stored)
