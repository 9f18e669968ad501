"""Calls into PortAudio that may never return: a sound server or a driver hangs, and nothing here can end them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from parleyd.audio.devices.device import DeviceError

T = TypeVar("T")

# What takes longer never returns, as far as anybody can tell.
HANG_S = 10.0
_LOOK_S = 0.1


def hang(what: str) -> DeviceError:
    """what: as Host.oldest_call has it."""
    return DeviceError(
        f"PortAudio does not return from {what}",
        "only a new start helps, which systemd gives; if it happens again, see whether the sound server hangs",
    )


def in_time(work: Callable[[], T], what: str, give_up: Callable[[], bool] = lambda: False) -> T:
    """On a thread of its own, which is left behind after HANG_S, or when it is to be given up.

    Raises what work does, and DeviceError as hang().
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            outcome.set_exception(error)

    threading.Thread(target=run, name=what, daemon=True).start()
    until_s = time.monotonic() + HANG_S
    while not wait([outcome], _LOOK_S).done:
        if give_up() or time.monotonic() >= until_s:
            raise hang(what)
    return outcome.result()
