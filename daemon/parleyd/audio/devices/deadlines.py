"""Deadlines for calls into PortAudio, which may never return if a sound server or a driver hangs, and cannot be
ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.portaudio_host import host

T = TypeVar("T")

# A call that takes longer is assumed to hang for ever.
HANG_S = 10.0
# The grace period before giving up, because an abandoned call cannot be undone.
GIVE_UP_S = 1.0
_LOOK_S = 0.1


class GivenUpError(Exception):
    """The work was given up because it did not end at once. It need not be faulty."""


def hang() -> DeviceError | None:
    """The error for a call that does not return; None if there is none."""
    call = host.oldest_call()
    if call is None or time.monotonic() - call[1] < HANG_S:
        return None
    return DeviceError(
        f"PortAudio does not return from {call[0]}",
        "only a new start helps, which systemd gives; if it happens again, see whether the sound server hangs",
    )


def in_time(work: Callable[[], T], what: str, give_up: Callable[[], bool] = lambda: False) -> T:
    """Runs the work on a separate thread, which is abandoned if a call hangs, or if the work is given up. The limit is
    for a single call: a slow sound server does not hang.

    Raises the errors of the work, DeviceError as hang(), and GivenUpError.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            outcome.set_exception(error)

    try:
        threading.Thread(target=run, name=what, daemon=True).start()
    except RuntimeError as error:
        raise DeviceError(f"{what}: the system has no thread left", "see TasksMax= of the unit") from error
    while not wait([outcome], _LOOK_S).done:
        if (hangs := hang()) is not None:
            raise hangs
        if give_up() and not wait([outcome], GIVE_UP_S).done:
            raise GivenUpError(what)
    return outcome.result()
