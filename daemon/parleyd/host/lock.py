"""A lock that only one process can hold: flock(2) on a file, which the kernel releases when the process ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path


class HeldError(Exception):
    """Another process holds the lock. pid: its number, if it is known."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"held by process {pid}" if pid else "held by another process")
        self.pid = pid


class Lock:
    """Held from its creation until close(). Raises HeldError, and OSError if the file cannot be made.

    On a file system without locks every process gets it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        while True:
            self._descriptor = _opened(path)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _said(self._descriptor)
                os.close(self._descriptor)
                raise HeldError(pid) from None
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                    os.close(self._descriptor)
                    raise
            if _is_at(self._descriptor, path):
                break
            # The previous holder has ended and has removed the file since it was opened.
            os.close(self._descriptor)
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._descriptor)


def _opened(path: Path) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        # An existing file can be locked even in a directory that is not writable.
        return os.open(path, flags | os.O_RDONLY)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _said(descriptor: int) -> int | None:
    try:
        return int(os.pread(descriptor, 20, 0))
    except (OSError, ValueError):
        return None
