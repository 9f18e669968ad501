"""The daemon inherits what its descendants leave behind (host/descent.py), or all, as process 1 of a container, and has
to bury it.

The runner of a tool or a hook kills all that this has left in the background. If the runner itself was killed, the
entry of what then ends stays in the process table until its parent asks for it, and that is the daemon. What the daemon
has started itself somebody waits for, and does so at once; so what has been dead for a while is nobody's.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Whoever waits for a child of ours has asked for it long before.
GRACE_S = 10.0
# Of /proc/PID/stat, counted from the field behind the program's name.
_STATE_AT, _PARENT_AT, _START_AT = 0, 1, 19

# A process number and its start: numbers are used again.
Dead = tuple[int, int]


class Orphans:
    """look() now and then, from one thread."""

    def __init__(self) -> None:
        self._since_s: dict[Dead, float] = {}

    def look(self, now_s: float) -> None:
        if not _has_dead():
            self._since_s.clear()
            return
        for pid in self.forgotten(dead_children(), now_s):
            # Somebody may have asked for it in this moment.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def forgotten(self, dead: set[Dead], now_s: float) -> list[int]:
        """dead: those that nobody has asked for yet. → the numbers of those that nobody will."""
        self._since_s = {one: self._since_s.get(one, now_s) for one in dead}
        return [pid for (pid, _), since_s in self._since_s.items() if now_s - since_s >= GRACE_S]


def _has_dead() -> bool:
    """One question to the kernel, where dead_children() has to look at every process."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def dead_children() -> set[Dead]:
    """Of this process."""
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
