"""Runs in network and mount namespaces of its own: python name_server.py MODE PROGRAM. One name server, at 127.0.0.1.

MODE: silent (it never answers), unknown (no name exists), failing (it cannot find out), refused (nobody is there).
PROGRAM: Python text, run with the name server there; what it prints is printed.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

_NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
# SIOCSIFFLAGS, with IFF_UP and IFF_RUNNING (netdevice(7)).
_SET_FLAGS, _UP = 0x8914, 0x41
_RCODES = {"unknown": 3, "failing": 2}


def missing() -> str:
    """Why it cannot be done on this machine; "" where it can."""
    if shutil.which("unshare") is None:
        return "unshare is missing"
    ran = subprocess.run([*_NAMESPACES, "true"], check=False, capture_output=True)
    return "this machine allows no namespaces" if ran.returncode else ""


def run_with(mode: str, program: str) -> str:
    """What the program printed."""
    command = [*_NAMESPACES, sys.executable, __file__, mode, program]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=80)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _answer(server: socket.socket, code: int) -> None:
    while True:
        question, sender = server.recvfrom(4096)
        # RFC 1035, section 4.1.1: an answer, recursion available, with that code; the question again.
        server.sendto(
            question[:2] + struct.pack("!H", 0x8180 | code) + question[4:6] + bytes(6) + question[12:], sender
        )


def main(mode: str, program: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
    # As slow to give up as the C library can be: who does not wait for it by itself is not kept.
    lines = "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n" if mode != "refused" else "nameserver 127.0.0.1\n"
    for place, text in (("/etc/resolv.conf", lines), ("/etc/nsswitch.conf", "hosts: files dns\n")):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write(text)
            file.flush()
            subprocess.run(["mount", "--bind", file.name, str(Path(place).resolve())], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        if mode != "refused":
            server.bind(("127.0.0.1", 53))
        if mode in _RCODES:
            threading.Thread(target=_answer, args=(server, _RCODES[mode]), daemon=True).start()
        with contextlib.redirect_stderr(sys.stdout):
            exec(compile(program, "program", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
