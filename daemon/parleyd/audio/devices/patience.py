"""Calls into PortAudio that may never return: a sound server or a driver hangs, and nothing here can end them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.portaudio_host import host

T = TypeVar("T")

# A call that takes longer never returns, as far as anybody can tell.
HANG_S = 10.0
# Who is to give up waits so long for what is nearly done, for what is left behind is not undone.
GIVE_UP_S = 1.0
_LOOK_S = 0.1


class GivenUpError(Exception):
    """It was to be given up, and did not end at once. Nothing is wrong with it as far as anybody knows."""


def hang() -> DeviceError | None:
    """What to say of a call that does not return; None while there is none."""
    call = host.oldest_call()
    if call is None or time.monotonic() - call[1] < HANG_S:
        return None
    return DeviceError(
        f"PortAudio does not return from {call[0]}",
        "only a new start helps, which systemd gives; if it happens again, see whether the sound server hangs",
    )


def in_time(work: Callable[[], T], what: str, give_up: Callable[[], bool] = lambda: False) -> T:
    """On a thread of its own, which is left behind when a call hangs, or when it is to be given up. Many calls, each of
    which returns, may take as long as they take: a slow sound server is none that hangs.

    Raises what work does, DeviceError as hang(), and GivenUpError.
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
