"""How long the threads of a process could run and had no core, since other programs had them all."""

from __future__ import annotations

import contextlib
from pathlib import Path


def waits(pid: int) -> dict[str, float]:
    """The seconds of each thread until now, by the thread's number."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            # sched-stats.rst of the kernel: time on the core, time on the run queue (both ns), turns.
            found[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return found


def longest_s(before: dict[str, float], after: dict[str, float]) -> float:
    """By the thread that has waited longest between the two; threads that are new do not count."""
    return max((waits_s - before[thread] for thread, waits_s in after.items() if thread in before), default=0.0)


def others_are_to_blame(late_s: float, waited_s: float, limit_s: float) -> bool:
    """late_s: how late something was; waited_s: how long it waited for a core meanwhile."""
    return late_s > limit_s >= late_s - waited_s
