"""What a process costs: its processor time, its context switches, its memory. From /proc, so it asks nothing of it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """cpu_ms, switches: per second of the measurement. rss_mib, pss_mib: at its end."""

    cpu_ms: float
    switches: float
    rss_mib: float
    pss_mib: float


def cpu_s(pid: int) -> float:
    """The processor time of the whole process, ended threads as well: clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def switches(pid: int) -> int:
    """Of all threads that it has now, voluntary and not."""
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end in between.
        with contextlib.suppress(OSError):
            lines = (task / "status").read_text().splitlines()
            count += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return count


def memory_mib(pid: int) -> tuple[float, float]:
    """→ resident memory, and the part of it that no other process shares (proportional set size)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = {line.split()[0]: int(line.split()[1]) for line in rollup if line.endswith("kB")}
    return kib["Rss:"] / 1024, kib["Pss:"] / 1024


def measured(pid: int, seconds: float) -> Cost:
    """What the process costs in that many seconds from now."""
    before = time.monotonic(), cpu_s(pid), switches(pid)
    time.sleep(seconds)
    after = time.monotonic(), cpu_s(pid), switches(pid)
    elapsed_s, used_s, switched = (late - early for early, late in zip(before, after, strict=True))
    return Cost(used_s * 1000 / elapsed_s, switched / elapsed_s, *memory_mib(pid))
