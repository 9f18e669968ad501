"""The resources that this process uses: proc(5), and the limits of its control group: cgroups(7).

It also works when resources are exhausted: without a free file handle it returns the last known figures.
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

from parleyd.core.health import Load

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_NO_HANDLE = (errno.EMFILE, errno.ENFILE)
# Positions of fields in /proc/self/stat, counted from the field behind the program's name.
_THREADS_AT, _RESIDENT_AT = 17, 21

# The last known figures, by name.
_known: dict[str, int | None] = {}
# The descriptor of /proc/self/stat, open after the first call.
_stat = -1


def load() -> Load:
    """Never raises."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    threads, memory_bytes = _of_process()
    return Load(
        memory_bytes=memory_bytes,
        memory_limit_bytes=_of_group("memory.max"),
        handles=_handles(soft),
        handles_limit=None if soft == resource.RLIM_INFINITY else soft,
        threads=threads,
        tasks=_of_group("pids.current") or 0,
        tasks_limit=_of_group("pids.max"),
    )


def _of_process() -> tuple[int, int]:
    """(threads, resident bytes)."""
    global _stat
    try:
        if _stat < 0:
            _stat = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
        # The program's name may contain brackets; the fields behind it do not.
        fields = os.pread(_stat, 4096, 0).rpartition(b")")[2].split()
        _known["threads"] = int(fields[_THREADS_AT])
        _known["memory"] = int(fields[_RESIDENT_AT]) * _PAGE_BYTES
    except OSError:
        pass
    return _known.get("threads") or 0, _known.get("memory") or 0


def _handles(soft_limit: int) -> int:
    try:
        # Minus the handle that lists the directory.
        _known["handles"] = sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1
    except OSError as error:
        if error.errno == errno.EMFILE:
            return soft_limit
    return _known.get("handles") or 0


def _of_group(file: str) -> int | None:
    """None: there is no limit, or no such file."""
    try:
        group = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::")
        text = Path(f"/sys/fs/cgroup{group}/{file}").read_text().strip()
    except StopIteration:
        return None
    except OSError as error:
        return _known.get(file) if error.errno in _NO_HANDLE else None
    _known[file] = None if text == "max" else int(text)
    return _known[file]
