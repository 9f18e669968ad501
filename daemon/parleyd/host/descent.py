"""Finds the descendants of this process in /proc, while they change.

With become_reaper() a process whose parent ends stays a descendant, whatever it does.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

from parleyd.host import runner

# How often a line that has changed while it was read is read again.
_TRIES = 20
# Longer ones are none.
_MOST_GENERATIONS = 10_000
# The position of a field in /proc/PID/stat, counted from the field behind the program's name.
_PARENT_AT = 1


class GoneError(Exception):
    """The process has ended, or its line changes faster than it can be read."""


def become_reaper() -> None:
    """Orphans among the descendants become children of this process, not of process 1: prctl(2), and host/orphans.py
    buries them."""
    runner.adopt_orphans()


def line_of(pid: int, held: int | None = None) -> tuple[int, ...]:
    """pid, its parent, and so on: up to this process, or to the last that can be seen. held: a pidfd of it, which tells
    that the number is not another one's meanwhile. Raises GoneError."""
    for _ in range(_TRIES):
        first, second = _read(pid), _read(pid)
        if held is not None and select.select([held], [], [], 0)[0]:
            raise GoneError
        if first and first == second:
            return first
    raise GoneError


def _read(pid: int) -> tuple[int, ...]:
    """Nothing where the process itself cannot be seen."""
    own, found = os.getpid(), [pid]
    while found[-1] != own and len(found) < _MOST_GENERATIONS:
        parent = _parent(found[-1])
        if parent is None and len(found) == 1:
            return ()
        if not parent:
            break
        found.append(parent)
    return tuple(found)


def _parent(pid: int) -> int | None:
    """None: it cannot be seen. 0: it has none."""
    try:
        # The name may have anything in it, but nothing behind it has a bracket.
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[_PARENT_AT])
    except OSError:
        return None
