"""Tells systemd how the service is doing; does nothing where systemd did not start it."""

from __future__ import annotations

import contextlib

import systemd.daemon


def ready(status: str) -> None:
    _notify(f"READY=1\nSTATUS={status}")


def status(text: str) -> None:
    _notify(f"STATUS={text}")


def stopping() -> None:
    _notify("STOPPING=1")


def _notify(message: str) -> None:
    # The library raises when the socket that systemd promised has gone.
    with contextlib.suppress(OSError):
        systemd.daemon.notify(message)
