"""Collects orphaned processes: those that the daemon's descendants leave behind (host/descent.py), or all, if the
daemon is process 1 of a container.

The runner of a tool or a hook kills all processes that the program has left in the background. If the runner itself was
killed, the daemon becomes the parent of these processes, and their entries stay in the process table until the daemon
waits for them. The daemon waits at once for each process that it has started itself; so a child that has been dead for
a while is an orphan.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# A dead child that nobody has waited for after this time is an orphan.
GRACE_S = 10.0
# Positions of fields in /proc/PID/stat, counted from the field behind the program's name.
_STATE_AT, _PARENT_AT, _START_AT = 0, 1, 19

# A process number and its start time, because numbers are used again.
Dead = tuple[int, int]


class Orphans:
    """Call look() regularly, from one thread."""

    def __init__(self) -> None:
        self._since_s: dict[Dead, float] = {}

    def look(self, now_s: float) -> None:
        if not _has_dead():
            self._since_s.clear()
            return
        for pid in self.forgotten(dead_children(), now_s):
            # Another thread may have waited for it in the meantime.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def forgotten(self, dead: set[Dead], now_s: float) -> list[int]:
        """dead: the children that have ended and were not waited for. Returns the numbers of those that are orphans."""
        self._since_s = {one: self._since_s.get(one, now_s) for one in dead}
        return [pid for (pid, _), since_s in self._since_s.items() if now_s - since_s >= GRACE_S]


def _has_dead() -> bool:
    """One question to the kernel, where dead_children() has to look at every process."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def dead_children() -> set[Dead]:
    """The dead children of this process."""
    found: set[Dead] = set()
    with contextlib.suppress(OSError):
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                if fields[_STATE_AT] == b"Z" and int(fields[_PARENT_AT]) == os.getpid():
                    found.add((int(folder.name), int(fields[_START_AT])))
    return found
