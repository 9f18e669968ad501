"""Which checks are made with --only: those that are asked for, and those without which they cannot be made. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

On = TypeVar("On")


@dataclass(frozen=True)
class Check(Generic[On]):
    """run(on, cycles) → what was found. needs: names of checks that stand before it, and leave what it begins with."""

    name: str
    run: Callable[[On, int], str]
    needs: tuple[str, ...] = ()


def choose(checks: list[Check[On]], only: re.Pattern[str]) -> list[Check[On]]:
    """In the order of the table."""
    wanted: set[str] = set()
    chosen = []
    for check in reversed(checks):
        if check.name in wanted or only.search(check.name):
            wanted |= {check.name, *check.needs}
            chosen.append(check)
    return chosen[::-1]
