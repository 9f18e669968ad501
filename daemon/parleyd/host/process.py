"""What this process takes of the machine: proc(5), and the limit of its control group: cgroups(7)."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

from parleyd.health import Load

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def load() -> Load:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Load(
        memory_bytes=memory_bytes(),
        memory_limit_bytes=_memory_limit_bytes(),
        handles=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        handles_limit=None if soft == resource.RLIM_INFINITY else soft,
        threads=threading.active_count(),
    )


def memory_bytes() -> int:
    """Resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def _memory_limit_bytes() -> int | None:
    try:
        group = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::")
        text = Path(f"/sys/fs/cgroup{group}/memory.max").read_text().strip()
    except (OSError, StopIteration):
        return None
    return None if text == "max" else int(text)
