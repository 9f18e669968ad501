"""Opens the sound cards before the parts that use them exist: while the rest of the daemon is imported and built.

PortAudio, a sound server and the microphone's first period take time in which this process has nothing to do.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from parleyd.audio.devices.device import InputDevice, OutputDevice
from parleyd.audio.devices.portaudio import Card
from parleyd.audio.devices.portaudio_host import host

# How long the end waits for an opening that is under way. One that hangs is left behind.
SETTLE_S = 0.5


@contextlib.contextmanager
def listed_ahead() -> Iterator[None]:
    """Has PortAudio list the devices on a thread of its own, which takes as long as reading the configuration. Where it
    fails, the opening tries again, and tells why."""

    def run() -> None:
        with contextlib.suppress(OSError):
            host.devices()

    thread = threading.Thread(target=run, name="list of devices", daemon=True)
    # Without a thread, the first opening does it.
    with contextlib.suppress(RuntimeError):
        thread.start()
    try:
        yield
    finally:
        if thread.is_alive():
            thread.join(SETTLE_S)


@contextlib.contextmanager
def opened_ahead(speaker: OutputDevice, microphone: InputDevice) -> Iterator[None]:
    """Opens both on a thread of its own, the speaker first, as it is without this; only sound cards, for a WAV file
    begins when it is opened. Their open() then returns, or raises, what came of it. At the end both are closed."""
    cards = [device for device in (speaker, microphone) if isinstance(device, Card)]
    is_over = threading.Event()

    def run() -> None:
        for card in cards:
            if is_over.is_set() or not card.open_ahead():
                return

    thread = threading.Thread(target=run, name="devices ahead", daemon=True)
    # Without a thread, open() does it all.
    with contextlib.suppress(RuntimeError):
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        if thread.is_alive():
            thread.join(SETTLE_S)
        for card in cards:
            card.close()
