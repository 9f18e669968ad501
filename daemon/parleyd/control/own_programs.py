"""Closes the control socket to programs that the daemon has started: a tool that was taken over by an attacker must
neither unmute the microphone nor approve its own calls.

Such a program is recognised by its ancestors, which the kernel keeps (host/descent.py), and by the user of
parleyd-tools@.service. Programs that the configuration runs as the daemon (run_as: daemon) are admitted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterable

from parleyd.control.peer import held_peer, peer
from parleyd.host import apart
from parleyd.host.descent import GoneError, line_of
from parleyd.host.subprocesses import trusted_children

log = logging.getLogger(__name__)

# A program that connects again and again is logged once in this time.
_TOLD_EVERY_S = 60.0


class OwnPrograms:
    """Belongs to the thread of the control socket."""

    def __init__(
        self, trusted: Callable[[], Iterable[int]] = trusted_children, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._trusted = trusted
        self._clock_s = clock_s
        self._tools_uid = _uid(apart.USER)
        self._told_s: float | None = None
        self._untold = 0

    def refused(self, connection: socket.socket) -> str | None:
        """Returns the reason why this client is refused; None: it is admitted."""
        client = peer(connection)
        why = self._why(connection)
        if why is not None:
            self._tell(client.pid, client.uid, why)
        return why

    def _why(self, connection: socket.socket) -> str | None:
        client = peer(connection)
        if client.pid == os.getpid():
            return None
        if client.uid == self._tools_uid != os.geteuid():
            return f"this is a program of the user {apart.USER}, which runs tools and hooks"
        held = held_peer(connection)
        try:
            line = line_of(client.pid, held)
        except GoneError:
            # Processes of another user may be invisible (the unit has ProtectProc=), which is no reason to refuse them.
            # A descendant without privileges has the daemon's user.
            return "the process that has connected is gone" if client.uid == os.geteuid() else None
        finally:
            if held is not None:
                os.close(held)
        if line[-1] != os.getpid() or not set(line).isdisjoint(self._trusted()):
            return None
        return "this was started by the daemon itself, as tools and hooks are"

    def _tell(self, pid: int, uid: int, why: str) -> None:
        now_s = self._clock_s()
        if self._told_s is not None and now_s - self._told_s < _TOLD_EVERY_S:
            self._untold += 1
            return
        more = f" ({self._untold} more since the last time)" if self._untold else ""
        self._told_s, self._untold = now_s, 0
        log.warning("process %d of user %d was sent away from the control socket: %s%s", pid, uid, why, more)


def _uid(name: str) -> int | None:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    return None
