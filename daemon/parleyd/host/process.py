"""What this process takes of the machine: proc(5), and the limits of its control group: cgroups(7)."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from parleyd.health import Load

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def load() -> Load:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Load(
        memory_bytes=memory_bytes(),
        memory_limit_bytes=_of_group("memory.max"),
        handles=_entries("/proc/self/fd"),
        handles_limit=None if soft == resource.RLIM_INFINITY else soft,
        threads=_entries("/proc/self/task"),
        tasks=_of_group("pids.current") or 0,
        tasks_limit=_of_group("pids.max"),
    )


def memory_bytes() -> int:
    """Resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def _entries(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


def _of_group(file: str) -> int | None:
    """None: there is no limit, or no such file."""
    try:
        group = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::")
        text = Path(f"/sys/fs/cgroup{group}/{file}").read_text().strip()
    except (OSError, StopIteration):
        return None
    return None if text == "max" else int(text)
