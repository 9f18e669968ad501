"""Tells systemd how the service is doing (sd_notify(3)); does nothing where systemd did not start it.

The messages go by systemd's own library (the package systemd-python). Where systemd's queue is full, the library waits
without an end, with the interpreter's lock held: with a manager that read nothing for 1.4 s, no thread ran for 1.4 s,
also none of the sound. Therefore a socket of this module looks first whether there is room, and nothing waits longer
than MOST_WAIT_S. A status and the watchdog's ping are sent again soon, and are dropped at once where there is none; a
message that is sent once (the start, the end, a reload) waits for its place.

That socket sends the message itself where the library cannot: when no file handle is left, or without the package.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from functools import cache

# The prefix of a status text with the reason of a failure.
FAILED = "failed: "
# The longest time that a message waits for a manager that does not read, and the pause between two tries.
MOST_WAIT_S = 1.0
_LOOK_S = 0.02
# The longest status text: one line on a terminal. The log has the whole text.
_MOST_STATUS_CHARS = 500

# Stays open after the first use, because the watchdog must be fed even when no file handle is left.
_line: socket.socket | None = None


def starting(status: str, extend_s: float) -> None:
    """Extends the time limit of the start."""
    _notify(f"STATUS={status}\nEXTEND_TIMEOUT_USEC={round(extend_s * 1e6)}")


def ready(status: str) -> None:
    _notify(f"READY=1\nSTATUS={status}")


def status(text: str) -> None:
    _notify_at_once(f"STATUS={text}")


def failed(why: str) -> None:
    """The start, or the service, has failed. systemd keeps the text until the next start: `systemctl status` and
    `parleyd status` show it to users who may not read the journal."""
    _notify_at_once(f"STATUS={FAILED}{' '.join(why.split())[:_MOST_STATUS_CHARS]}")


def reloading() -> None:
    """Reports a reload; ready() has to follow. The time stamp identifies the reload for systemd."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}\nSTATUS=reloading")


def stopping() -> None:
    _notify("STOPPING=1\nSTATUS=stopping")


def watchdog() -> None:
    _notify_at_once("WATCHDOG=1")


def watchdog_s() -> float | None:
    """The longest interval between calls of watchdog(); None if there is no watchdog (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 1e6
    except (KeyError, ValueError):
        return None


def _notify(message: str) -> None:
    """Sends a message that comes once, and waits for a manager that does not read: MOST_WAIT_S, during which other
    threads run. After that it is dropped: the manager has limits of its own for the start and the end of a service."""
    until_s = time.monotonic() + MOST_WAIT_S
    while not _notify_at_once(message) and time.monotonic() < until_s:
        time.sleep(_LOOK_S)


def _notify_at_once(message: str) -> bool:
    """Sends a message, or drops it if the manager does not read. Returns whether the same would not help later."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return True
    # The library would refuse half characters and zeros, which a name or an error's text may hold.
    text = message.replace("\0", "").encode("utf-8", "replace").decode()
    try:
        line = _connected("\0" + path[1:] if path.startswith("@") else path)
        if not _has_room(line):
            return False
        _send(text, line)
    except BlockingIOError:
        return False
    except OSError:
        # The manager's socket no longer exists, or there is no handle for ours.
        pass
    return True


def _connected(address: str) -> socket.socket:
    """A socket that never blocks; it is connected each time, for a manager that has begun anew. Raises OSError."""
    global _line
    if _line is None:
        _line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        _line.setblocking(False)
    _line.connect(address)
    return _line


def _has_room(line: socket.socket) -> bool:
    # Not select(), which knows no handle above 1023. An error, which counts as an answer here, is that of sending.
    poll = select.poll()
    poll.register(line, select.POLLOUT)
    return bool(poll.poll(0))


def _send(text: str, line: socket.socket) -> None:
    """Raises OSError."""
    if (send := _of_the_library()) is not None:
        with contextlib.suppress(OSError):
            send(text)
            return
    line.send(text.encode())


@cache
def _of_the_library() -> Callable[[str], object] | None:
    try:
        import systemd.daemon
    except ImportError:
        return None
    send: Callable[[str], object] = systemd.daemon.notify
    return send
