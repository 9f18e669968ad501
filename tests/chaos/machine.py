"""What the machine allows: namespaces, a bad network and a bad disk, none of which anybody else notices."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
FAKETIME = "faketime/libfaketimeMT.so.1"


class Unable(Exception):  # noqa: N818 - it is no error: the fault is skipped, with this as its reason
    """This machine, or this user, cannot have the fault."""


def run(*command: str | Path) -> str:
    """Raises Unable."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unable(f"{command[0]}: {error}") from error
    if done.returncode:
        raise Unable(f"{command[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Machine:
    """enter() once, in a process of one thread; its threads and children are in the same namespaces."""

    def __init__(self) -> None:
        self.isolated = False
        self.why_not = "needs root, for namespaces of its own"
        self.hosts: Path | None = None

    def enter(self, folder: Path) -> None:
        """A network and mounts of its own, where that can be had."""
        if os.geteuid() != 0:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS):
            self.why_not = f"unshare: {os.strerror(ctypes.get_errno())}"
            return
        try:
            run("mount", "--make-rprivate", "/")
            run("ip", "link", "set", "lo", "up")
            self.hosts = folder / "hosts"
            self.hosts.write_text("127.0.0.1 localhost agent.test\n")
            run("mount", "--bind", self.hosts, "/etc/hosts")
            resolv = folder / "resolv.conf"
            # Nobody listens there in this network: a name that is not in the file is answered by a refusal.
            resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
            with contextlib.suppress(Unable):
                run("mount", "--bind", resolv, Path("/etc/resolv.conf").resolve())
        except Unable as error:
            self.why_not = str(error)
            return
        self.isolated = True

    def need(self, *programs: str) -> None:
        """Raises Unable."""
        if not self.isolated:
            raise Unable(self.why_not)
        for program in programs:
            if shutil.which(program) is None:
                raise Unable(f"{program} is not installed")

    def small_disk(self, path: Path) -> None:
        """A disk of a MiB at path, which may be made read-only, or full. Raises Unable."""
        self.need("mount")
        run("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", path)

    @property
    def host(self) -> str:
        """The name of the server: one that is looked up, where that can be made to fail."""
        return "agent.test" if self.isolated else "127.0.0.1"


def faketime() -> Path:
    """The library that makes a process believe in another time of day. Raises Unable."""
    for folder in Path("/usr/lib").glob("*-linux-gnu"):
        if (path := folder / FAKETIME).exists():
            return path
    raise Unable("faketime is not installed")
