"""Writing files that are complete even after a power cut, and reading files that are regular files."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from pathlib import Path

# A pipe that delivers nothing for this long is taken for one without a writer.
PIPE_S = 3.0


def replace_file(path: Path, content: bytes, mode: int = 0o600, *, at_once: bool = True) -> None:
    """The file holds either what it held or all of `content`. mode: whatever the umask is. Raises OSError.

    at_once=False: for what changes often. Does not wait for the disk; a power cut in the next seconds may undo it,
    or leave the file empty.
    """
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(descriptor, mode)
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            if at_once:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    if not at_once:
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def open_regular(path: Path) -> int:
    """Opens a descriptor for reading. Raises OSError, also if it is not a regular file, and ValueError."""
    # O_NONBLOCK: opening a pipe without a writer must not block.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise _no_regular_file(mode)


def open_own(path: Path, flags: int) -> int:
    """Opens a descriptor for writing, of a file that is this user's alone and is made if need be; flags: beside those.
    Raises OSError, also for a link and for what is no regular file: somebody else may have put it there."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise _no_regular_file(mode)


def read_file(path: Path, most_bytes: int, *, pipes: bool = False) -> bytes:
    """The first `most_bytes` of a file. Raises OSError, also if it is not a regular file, and ValueError.

    pipes: allows `/dev/stdin` and the shell's `<(command)`, too; a pipe that delivers nothing for PIPE_S is an error.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        is_pipe = stat.S_ISFIFO(mode)
        if not stat.S_ISREG(mode) and not (pipes and is_pipe):
            raise _no_regular_file(mode)
        content = b""
        while len(content) < most_bytes:
            if is_pipe and not select.select([descriptor], [], [], PIPE_S)[0]:
                raise TimeoutError(errno.ETIMEDOUT, f"nothing has come through this pipe for {PIPE_S:g} s")
            more = os.read(descriptor, most_bytes - len(content))
            if not more:
                break
            content += more
        return content
    finally:
        os.close(descriptor)


def _no_regular_file(mode: int) -> OSError:
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return OSError(errno.EINVAL, "it is not a regular file")
