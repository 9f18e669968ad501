"""Runs a program: bounded output, and nothing of it is left when it is to be over.

The program gets a session of its own, so that one signal reaches all that it starts. What leaves that session on
purpose (a daemon of its own) is not followed, but nobody waits for it either: the output ends when the program does.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from parleyd.tools.result import Fault, ToolError
from parleyd.tools.stopping import Stop

MAX_OUTPUT_BYTES = 256 * 1024
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PIECE_BYTES = 64 * 1024
_PAUSE_S = 0.02
# Of the kernel's -1000 to 1000, see proc_pid_oom_score_adj(5): when memory is short it is to end this, not the daemon.
_OOM_SCORE_ADJ = 500


@dataclass(frozen=True, slots=True)
class Ran:
    """status: the exit code, or the negative number of the signal that ended it. Output beyond the limit is gone."""

    status: int
    output: str
    errors: str


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the daemon's own: its environment may hold its key."""
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        home = "/"
    environment = {"PATH": _PATH, "HOME": home, "LANG": "C.UTF-8"}
    if zone := os.environ.get("TZ"):
        environment["TZ"] = zone
    return environment | dict(more)


def run(arguments: Sequence[str], *, directory: str, environment: Mapping[str, str], stdin: bytes, stop: Stop) -> Ran:
    """Blocks until it is over; stop ends it with SIGKILL. Raises ToolError when it cannot be started."""
    name = Path(arguments[0]).name
    try:
        process = subprocess.Popen(
            [os.fsencode(argument) for argument in arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
            bufsize=0,
        )
    except FileNotFoundError as error:
        missing = directory if error.filename in (directory, os.fsencode(directory)) else name
        raise ToolError(Fault.FAILED, f"{missing} does not exist on this device.") from None
    except PermissionError:
        raise ToolError(Fault.FAILED, f"{name} may not be run by this user.") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it cannot be given these arguments"
        raise ToolError(Fault.FAILED, f"{name} could not be started: {why}.") from None
    group = process.pid
    with contextlib.suppress(OSError):
        Path(f"/proc/{group}/oom_score_adj").write_text(str(_OOM_SCORE_ADJ), encoding="ascii")
    try:
        stop.at(lambda: _kill(group))
        output, errors = _converse(process, stdin)
        # Not reaped yet, so the group's number is still ours: what it left behind goes with it.
        stop.at(None)
        _kill(group)
        return Ran(process.wait(), output.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))
    finally:
        stop.at(None)
        if process.returncode is None:
            _kill(group)
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _converse(process: subprocess.Popen[bytes], stdin: bytes) -> tuple[bytes, bytes]:
    """Feeds and reads until the program ends; who else holds the pipes open is not waited for."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    collected: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    waiting = memoryview(stdin)
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            for pipe in collected:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
            over = False
            while not over:
                for key, _ in selector.select():
                    if key.fileobj is process.stdin:
                        waiting = _feed(process.stdin, waiting)
                        if not waiting:
                            selector.unregister(process.stdin)
                            process.stdin.close()
                    elif key.fd == ended:
                        over = True
                    elif not _read(key.fd, collected[key.fileobj]):  # type: ignore[index]
                        selector.unregister(key.fileobj)
                    elif len(collected[key.fileobj]) == MAX_OUTPUT_BYTES:  # type: ignore[index]
                        # Who writes without end must not keep this process busy with throwing it away.
                        time.sleep(_PAUSE_S)
        for pipe, data in collected.items():
            for _ in range(MAX_OUTPUT_BYTES // _PIECE_BYTES):
                if not _read(pipe.fileno(), data):
                    break
    finally:
        os.close(ended)
    return bytes(collected[process.stdout]), bytes(collected[process.stderr])


def _feed(pipe: IO[bytes], waiting: memoryview) -> memoryview:
    """What is left to write; nothing when nobody reads."""
    if not waiting:
        return waiting
    try:
        return waiting[os.write(pipe.fileno(), waiting[:_PIECE_BYTES]) :]
    except BlockingIOError:
        return waiting
    except OSError:
        return waiting[:0]


def _read(descriptor: int, data: bytearray) -> bool:
    """Takes what is there, keeps it up to the limit. False: at its end, or nothing more right now."""
    try:
        piece = os.read(descriptor, _PIECE_BYTES)
    except OSError:
        return False
    data += piece[: MAX_OUTPUT_BYTES - len(data)]
    return bool(piece)
