"""A file system (FUSE) of a process of its own, whose files hang when they are told to; for tests that run as root.

    python hanging_files.py SOCKET_DESCRIPTOR PLACE FILE...

Has copies of the FILEs. A message through the socket has an open descriptor of one passed back, or makes an operation
hang. PLACE is an empty folder: the file system is mounted there in a mount namespace of its own, so that nobody else
comes across it. When the process ends, whoever hangs gets an error.
"""

from __future__ import annotations

import ctypes
import enum
import os
import selectors
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import pytest


class _Op(enum.IntEnum):
    """From linux/fuse.h."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    RELEASE = 18
    FLUSH = 25
    INIT = 26
    INTERRUPT = 36
    BATCH_FORGET = 42


_HANG = {"fstat": _Op.GETATTR, "read": _Op.READ, "close": _Op.FLUSH}
_NO_ANSWER = (_Op.FORGET, _Op.INTERRUPT, _Op.BATCH_FORGET)
_ENOSYS, _ENOENT = 38, 2
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 1 << 18
_FOPEN_DIRECT_IO = 1
_MOST_BYTES = 1 << 20


class HangingFiles:
    """A context manager. place: a new folder. paths: the files that it has. Skips the test where there is no FUSE."""

    def __init__(self, place: Path, *paths: Path) -> None:
        if os.geteuid() != 0 or not Path("/dev/fuse").exists():
            pytest.skip("a file system that hangs takes root and /dev/fuse")
        self._place, self._paths = place, paths

    def __enter__(self) -> HangingFiles:
        self._place.mkdir()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(20.0)
        command = [sys.executable, __file__, str(theirs.fileno()), str(self._place), *map(str, self._paths)]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        if self._line.recv(100) != b"mounted":
            self.__exit__(None, None, None)
            pytest.skip("no FUSE may be mounted here")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._line.close()

    def close(self) -> None:
        """Whoever hangs gets an error. A process that hangs in close(2) does not end before."""
        self._process.kill()
        self._process.wait()

    def opened(self, index: int = 0) -> int:
        """Returns a new descriptor of the file."""
        self._line.send(f"open {index}".encode())
        _, (descriptor,), _, _ = socket.recv_fds(self._line, 100, 1)
        return descriptor

    def hang(self, *operations: str) -> None:
        """From now on these never return: fstat, read, close."""
        for operation in operations:
            self._line.send(operation.encode())
            assert self._line.recv(100) == b"hangs"


def _mounted(place: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no mount namespace")
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"hanging", bytes(place), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "no mount")
    return device


def _attributes(node: int, files: list[bytes]) -> bytes:
    is_root = node == 1
    size = 0 if is_root else len(files[node - 2])
    mode = stat.S_IFDIR | 0o755 if is_root else stat.S_IFREG | 0o644
    return struct.pack("<6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 512, 0)


def _answer(operation: int, node: int, body: bytes, files: list[bytes]) -> bytes | int:
    """The answer, or an error."""
    match operation:
        case _Op.INIT:
            return struct.pack("<4I2H2I2HI7I", 7, 31, 0, 0, 8, 6, 65536, 1, 0, 0, 0, *[0] * 7)
        case _Op.LOOKUP:
            name = body.rstrip(b"\0").decode()
            if not name.isdigit() or int(name) >= len(files):
                return _ENOENT
            found = int(name) + 2
            return struct.pack("<4Q2I", found, 0, 0, 0, 0, 0) + _attributes(found, files)
        case _Op.GETATTR:
            return struct.pack("<Q2I", 0, 0, 0) + _attributes(node, files)
        case _Op.OPEN:
            return struct.pack("<Q2I", 0, _FOPEN_DIRECT_IO, 0)
        case _Op.READ:
            _, offset, size = struct.unpack_from("<2QI", body)
            return files[node - 2][offset : offset + size]
        case _Op.RELEASE | _Op.FLUSH:
            return b""
    return _ENOSYS


def _pass_on(place: Path, line: socket.socket, index: int) -> None:
    """Opens and passes a file, in a process of its own: this one has to answer meanwhile."""
    if os.fork() == 0:
        descriptor = os.open(place / str(index), os.O_RDONLY)
        socket.send_fds(line, [b"file"], [descriptor])
        os._exit(0)


def main(line: socket.socket, place: Path, files: list[bytes]) -> None:
    device = _mounted(place)
    line.send(b"mounted")
    hanging: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(device, selectors.EVENT_READ)
        selector.register(line, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is line:
                    words = line.recv(100).decode().split()
                    if not words:
                        return
                    if words[0] == "open":
                        _pass_on(place, line, int(words[1]))
                    else:
                        hanging.add(_HANG[words[0]])
                        line.send(b"hangs")
                    continue
                request = os.read(device, _MOST_BYTES)
                _, operation, unique, node = struct.unpack_from("<2I2Q", request)
                if operation in _NO_ANSWER or operation in hanging:
                    continue
                told = _answer(operation, node, request[40:], files)
                body, error = (b"", told) if isinstance(told, int) else (told, 0)
                os.write(device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)


if __name__ == "__main__":
    own = socket.socket(fileno=int(sys.argv[1]))
    contents = [Path(name).read_bytes() for name in sys.argv[3:]]
    try:
        main(own, Path(sys.argv[2]), contents)
    except OSError as problem:
        own.send(str(problem).encode()[:90])
