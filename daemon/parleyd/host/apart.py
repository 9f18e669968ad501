"""How tools, hooks and commands of dynamic variables are kept apart from the daemon on this machine.

By systemd where the system service's socket unit is there: every call is a unit of its own, of another user. Else by
Landlock, as the daemon's user, who then does not reach what is hidden. Else not at all.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from parleyd.host import directories, runner

# systemd/parleyd-tools.socket
SOCKET = Path("/run/parleyd-tools.socket")
USER = "parleyd-tools"
UNIT = "parleyd-tools@*.service"
# landlock(7): from these on it also restrains ioctl(2) on devices, and signals and abstract Unix sockets.
_SIGNALS_SINCE_ABI = 6
# How programs, Python and subprocesses.py word that something was refused.
_REFUSED = "permission denied|read-only file system|operation not permitted|may not be run"


class Way(Enum):
    """unit: by systemd. landlock: as the daemon's user. none: this machine has neither."""

    UNIT = "unit"
    LANDLOCK = "landlock"
    NONE = "none"


class Ways(NamedTuple):
    """The means of this machine. abi: the version of Landlock; 0: there is none."""

    way: Way
    abi: int

    def in_words(self) -> str:
        """One line, for people."""
        match self.way:
            case Way.UNIT:
                return f"apart, each call as a unit of systemd's, by the user {USER}"
            case Way.LANDLOCK:
                return f"apart by Landlock (ABI {self.abi}), as the daemon's own user"
            case Way.NONE:
                return "not apart: as the daemon's own user, who reaches the key and all files of the daemon"

    def weaker(self) -> tuple[str, ...]:
        """The weaknesses compared with systemd and a recent kernel; empty if there are none."""
        if self.way is Way.UNIT:
            return () if self.abi else ("tools that run at the same time can look into each other's memory",)
        if self.way is Way.NONE:
            return ("the key, the audit log, transcripts and the state can be read and changed by every tool",)
        signals = "signals can end the daemon" if self.abi < _SIGNALS_SINCE_ABI else ""
        bus = "the user's systemd and D-Bus can be asked to run something else"
        root = "root can get around it" if os.geteuid() == 0 else ""
        return tuple(filter(None, (bus, signals, root)))

    def in_a_line(self) -> str:
        """The words, and what is weaker."""
        weaker = "; ".join(self.weaker())
        return f"{self.in_words()}{f'; weaker: {weaker}' if weaker else ''}"

    def hint(self) -> str:
        """The hint for a better protection; "" if there is none."""
        match self.way:
            case Way.UNIT:
                return ""
            case Way.LANDLOCK:
                return "the system service (docs/service.md) runs tools as a user of their own"
            case Way.NONE:
                service = "the system service (docs/service.md)"
                return f"take {service}, or a kernel with Landlock (lsm=landlock,... in its command line)"


def ways(socket: Path = SOCKET) -> Ways:
    """Asks this machine, as far as this user may use what it has."""
    abi = runner.landlock_abi()
    if _is_ours(socket):
        return Ways(Way.UNIT, abi)
    return Ways(Way.LANDLOCK if abi else Way.NONE, abi)


def ways_of(config_file: Path) -> Ways:
    """Those of the daemon that reads this file: the system service's, where it is the service's file."""
    if config_file.absolute() == directories.SYSTEM_CONFIG and SOCKET.is_socket():
        return Ways(Way.UNIT, runner.landlock_abi())
    return ways()


def _is_ours(socket: Path) -> bool:
    """Whether it is the socket of the unit, for this user: nobody else's under that name."""
    try:
        status = socket.lstat()
    except OSError:
        return False
    is_for_us = os.geteuid() in (0, status.st_uid)
    return is_for_us and stat.S_ISSOCK(status.st_mode) and os.access(socket, os.W_OK)


class Apart:
    """How one daemon runs its programs. always: what they must not reach where Landlock does it, beside the daemon's
    own directories. required: what cannot be kept apart is not run. Thread-safe."""

    def __init__(self, ways: Ways, always: Iterable[Path] = (), *, required: bool = False) -> None:
        self.ways = ways
        self.required = required
        self._always = (*always, *_own_places())
        self.hidden: tuple[bytes, ...] = ()
        self.hide(())

    def hide(self, places: Iterable[Path]) -> None:
        """Hides these places in addition to the fixed ones; replaces the places of the last call."""
        self.hidden = tuple(sorted({os.fsencode(place.absolute()) for place in (*self._always, *places)}))

    def hint_about(self, said: str) -> str:
        """The hint for a program that failed with these words, where being kept apart may be the reason; else ""."""
        if not re.search(_REFUSED, said, re.IGNORECASE):
            return ""
        match self.ways.way:
            case Way.UNIT:
                return (
                    f"programs run here as the user {USER}: let that user reach the file (chgrp {USER} FILE), keep it "
                    f"in /var/lib/{USER}, or write run_as: daemon (docs/tools.md)"
                )
            case Way.LANDLOCK:
                return (
                    "programs run here apart from the daemon, which closes some folders to them: keep the file in a "
                    "folder such as ~/.local/share/NAME, or write run_as: daemon (docs/tools.md)"
                )
            case Way.NONE:
                return ""


def here() -> Apart:
    """For a program that knows no configuration."""
    return Apart(ways())


def _own_places() -> list[Path]:
    """State, control socket, and the credentials that systemd has passed."""
    places = []
    for find in (directories.state_place, directories.runtime_place):
        try:
            places.append(find())
        except OSError:
            # Without a home there is no such directory.
            continue
    if passed := os.environ.get("CREDENTIALS_DIRECTORY"):
        places.append(Path(passed))
    return places
