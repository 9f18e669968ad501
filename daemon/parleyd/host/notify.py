"""Tells systemd how the service is doing (sd_notify(3)); does nothing where systemd did not start it."""

from __future__ import annotations

import contextlib
import os
import socket
import time

# How a status text begins that tells the reason of an end.
FAILED = "failed: "
# One line that a terminal still shows; the log has the whole text.
_MOST_STATUS_CHARS = 500

# Open from its first use on: the watchdog has to be fed when no handle is left, too.
_to: socket.socket | None = None


def starting(status: str, extend_s: float) -> None:
    """The start goes on, and may take that much longer."""
    _notify(f"STATUS={status}\nEXTEND_TIMEOUT_USEC={round(extend_s * 1e6)}")


def ready(status: str) -> None:
    _notify(f"READY=1\nSTATUS={status}")


def status(text: str) -> None:
    _notify_at_once(f"STATUS={text}")


def failed(why: str) -> None:
    """The start has failed, or the service has. systemd keeps the text until the next start: `systemctl status` and
    `parleyd status` show it to users who may not read the journal."""
    _notify_at_once(f"STATUS={FAILED}{' '.join(why.split())[:_MOST_STATUS_CHARS]}")


def reloading() -> None:
    """ready() has to follow. The stamp tells systemd which of several reloads that was."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}\nSTATUS=reloading")


def stopping() -> None:
    _notify("STOPPING=1\nSTATUS=stopping")


def watchdog() -> None:
    _notify_at_once("WATCHDOG=1")


def watchdog_s() -> float | None:
    """How often at least watchdog() has to be called; None where nobody waits for it (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 1e6
    except (KeyError, ValueError):
        return None


def _notify(message: str) -> None:
    # Imported here because the doctor, which has to start without any package, reads FAILED.
    import systemd.daemon

    # The library raises when the socket that systemd promised has gone.
    with contextlib.suppress(OSError):
        systemd.daemon.notify(message)


def _notify_at_once(message: str) -> None:
    """For what is said at intervals. The library waits for a manager that does not read, and holds the interpreter lock
    meanwhile, so that every thread stops; here it is rather not said."""
    global _to
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError):
        if _to is None:
            _to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            _to.setblocking(False)
        _to.sendto(message.encode("utf-8", "replace"), address)
