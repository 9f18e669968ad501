"""A place that one process holds at a time: flock(2) on a file, which ends with the process however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path


class HeldError(Exception):
    """Another process has it. pid: which one, if it has said so."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"held by process {pid}" if pid else "held by another process")
        self.pid = pid


class Lock:
    """Held from here to close(). Raises HeldError, and OSError where there can be no such file.

    A file system without locks grants it to everybody.
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
            # Its holder has ended since it was opened, and has taken the file along.
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
        # Where nothing may be written, one that is there can be held all the same.
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
