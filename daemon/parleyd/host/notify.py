"""Tells systemd how the service is doing (sd_notify(3)); does nothing where systemd did not start it.

systemd's queue may be full, and nothing here waits for it for longer than MOST_WAIT_S. A status and the watchdog's ping
are sent again soon, and are dropped at once. A message that is sent once (the start, the end, a reload) waits for its
place that long. systemd's own library would wait without an end, with the interpreter's lock held, so that every thread
stops.
"""

from __future__ import annotations

import os
import socket
import time

# The prefix of a status text with the reason of a failure.
FAILED = "failed: "
# The longest time that a message waits for a manager that does not read, and the pause between two tries.
MOST_WAIT_S = 1.0
_LOOK_S = 0.02
# The longest status text: one line on a terminal. The log has the whole text.
_MOST_STATUS_CHARS = 500

# Stays open after the first use, because the watchdog must be fed even when no file handle is left.
_to: socket.socket | None = None


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
    global _to
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return True
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        if _to is None:
            _to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            _to.setblocking(False)
        _to.sendto(message.encode("utf-8", "replace"), address)
    except BlockingIOError:
        return False
    except OSError:
        # The manager's socket no longer exists, or there is no handle for ours.
        pass
    return True
