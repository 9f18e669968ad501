"""A tool that somebody has taken over: tries to reach what is the daemon's, and prints what of it succeeded as JSON.

python3 taken_over.py DAEMON_PID SOCKET PLACE...: PLACE is a folder or a file of the daemon's. Standard library alone:
it runs in a clean Debian, too (scripts/test-service).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


def memory_of(pid: int) -> bytes:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        begin, end = (int(number, 16) for number in line.split()[0].split("-"))
        if "[heap]" in line or "rw-p" in line:
            with Path(f"/proc/{pid}/mem").open("rb") as memory:
                memory.seek(begin)
                return memory.read(min(4096, end - begin))
    raise OSError("no memory of it is to be seen")


def trace(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    attach, detach = 16, 17
    if libc.ptrace(attach, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(pid, 0)
    libc.ptrace(detach, pid, None, None)


def unmute(path: str) -> None:
    order(path, b'{"do": "unmute", "id": 1}\n')


def approve(path: str) -> None:
    """Of a call that does not wait: whoever may approve is told that."""
    order(path, b'{"do": "approve", "approval": "abcdef", "id": 1}\n')


def order(path: str, line: bytes) -> None:
    """Raises PermissionError when the daemon sends it away."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(path)
        connection.sendall(line)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(4096):
                answer += piece
                if b'"id":1' in answer.replace(b" ", b""):
                    break
    if b"not_allowed" in answer or b'"id":1' not in answer.replace(b" ", b""):
        raise PermissionError(answer.decode())


def ask_for_another() -> None:
    """A further program of the unit, by the daemon's way."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/run/parleyd-tools.socket")


def unmute_orphaned(path: str) -> None:
    """As a process whose parents have ended."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while os.getppid() == os.getsid(0):
                pass
            try:
                unmute(path)
            except OSError as error:
                os.write(writer, str(error).encode() or b"refused")
            else:
                os.write(writer, b"done")
        os._exit(0)
    os.close(writer)
    answer = b""
    while piece := os.read(reader, 4096):
        answer += piece
    if answer != b"done":
        raise PermissionError(answer.decode())


def open_sound() -> None:
    """Any device of ALSA's. Without a card behind it, it could still be opened."""
    devices = [place for place in Path("/dev/snd").iterdir() if place.is_char_device()]
    for device in devices:
        for how in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            try:
                os.close(os.open(device, how | os.O_NONBLOCK))
            except PermissionError:
                continue
            except OSError as error:
                if error.errno not in (errno.ENXIO, errno.ENODEV, errno.EBUSY):
                    raise
            return
    raise PermissionError(f"none of {len(devices)} sound devices")


def read(place: Path) -> None:
    if not place.is_dir():
        place.read_bytes()
    elif not list(place.iterdir()):
        raise FileNotFoundError(place)


def change(place: Path) -> None:
    if place.is_dir():
        (place / "planted").write_text("planted")
    else:
        with place.open("a") as file:
            file.write("planted")


def take(place: Path) -> None:
    """Out of its folder, by another name."""
    place.replace(f"{place}.taken")


def link(place: Path) -> None:
    target = Path(f"/tmp/link-{os.getpid()}")
    os.link(place, target)
    target.unlink()


def main(pid: int, control: str, places: list[str]) -> int:
    tries: dict[str, Callable[[], object]] = {
        "environment": lambda: environment_of(pid),
        "memory": lambda: memory_of(pid),
        "trace": lambda: trace(pid),
        "signal": lambda: os.kill(pid, signal.SIGCONT),
        "descriptors": lambda: Path(f"/proc/{pid}/fd/0").readlink(),
        "root": lambda: Path(f"/proc/{pid}/root/etc").stat(),
        "a further unit": ask_for_another,
        "unmute": lambda: unmute(control),
        "unmute orphaned": lambda: unmute_orphaned(control),
        "approve": lambda: approve(control),
        "a sound device": open_sound,
    }
    for what in (read, change, link, take):
        # What is in a folder before the folder.
        for place in map(Path, reversed(places)):
            tries[f"{what.__name__} {place}"] = lambda what=what, place=place: what(place)  # type: ignore[misc]
    succeeded, failed = [], {}
    for name, attempt in tries.items():
        try:
            attempt()
        except OSError as error:
            failed[name] = f"{type(error).__name__}: {error}"
        else:
            succeeded.append(name)
    print(json.dumps({"uid": os.getuid(), "succeeded": succeeded, "failed": failed}))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
