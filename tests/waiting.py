"""How tests wait for what no event tells: the end of another process, a file, a count. A pause that stands for
something in the world says so beside it; test_waiting.py holds that."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO

# A busy machine is no failure.
WAIT_S = 60.0
_EACH_S = 0.01


def until(what: str, test: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    """Until the test holds. what: says what did not come about."""
    never, give_up_s = threading.Event(), time.monotonic() + timeout_s
    while not test():
        assert time.monotonic() < give_up_s, what
        never.wait(_EACH_S)


def until_ended(pid: int, timeout_s: float = WAIT_S) -> None:
    """Until this process has ended, whoever's child it is; a zombie has."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], timeout_s)[0], f"process {pid} still runs"
    finally:
        os.close(process)


def rest_of(process: subprocess.Popen[str], timeout_s: float = WAIT_S) -> tuple[str, str]:
    """Waits for the end of a process, and returns the rest of its standard output and error.

    Where a line was read before, communicate() loses what the same read had taken out of the pipe with it. Raises
    subprocess.TimeoutExpired.
    """
    rest = ["", ""]

    def read(number: int, stream: IO[str]) -> None:
        rest[number] = stream.read()

    readers = [
        threading.Thread(target=read, args=(number, stream), daemon=True)
        for number, stream in enumerate((process.stdout, process.stderr))
        if stream is not None
    ]
    for reader in readers:
        reader.start()
    process.wait(timeout_s)
    for reader in readers:
        reader.join(timeout_s)
        assert not reader.is_alive(), "a child of the process still holds its output open"
    return rest[0], rest[1]
