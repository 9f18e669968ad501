"""Tells systemd how the service is doing (sd_notify(3)); does nothing where systemd did not start it."""

from __future__ import annotations

import contextlib
import os
import time

import systemd.daemon


def starting(status: str, extend_s: float) -> None:
    """The start goes on, and may take that much longer."""
    _notify(f"STATUS={status}\nEXTEND_TIMEOUT_USEC={round(extend_s * 1e6)}")


def ready(status: str) -> None:
    _notify(f"READY=1\nSTATUS={status}")


def status(text: str) -> None:
    _notify(f"STATUS={text}")


def reloading() -> None:
    """ready() has to follow. The stamp tells systemd which of several reloads that was."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}\nSTATUS=reloading")


def stopping() -> None:
    _notify("STOPPING=1\nSTATUS=stopping")


def watchdog() -> None:
    _notify("WATCHDOG=1")


def watchdog_s() -> float | None:
    """How often at least watchdog() has to be called; None where nobody waits for it (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 1e6
    except (KeyError, ValueError):
        return None


def _notify(message: str) -> None:
    # The library raises when the socket that systemd promised has gone.
    with contextlib.suppress(OSError):
        systemd.daemon.notify(message)
