"""Catches errors of a device's callback: PortAudio would end the stream and raise in the main thread."""

from __future__ import annotations

import contextlib
import logging

from parleyd.audio.devices.device import Deliver, Fill
from parleyd.audio.pcm import BYTES_PER_SAMPLE, spread
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)


class SafeCallbacks:
    """Makes callbacks safe. `failure` is their first error, which is logged; later errors are not."""

    def __init__(self, name: str) -> None:
        self.failure: Exception | None = None
        self._name = name

    def fill(self, fill: Fill, channels: int = 1) -> Fill:
        """Returns the sound on all channels, and silence instead of an error or a wrong number of bytes."""
        silence = b""  # kept, because the error may be that there is no memory

        def safe(samples: int) -> bytes:
            nonlocal silence
            wanted = samples * BYTES_PER_SAMPLE
            if len(silence) != wanted * channels:
                silence = bytes(wanted * channels)
            try:
                pcm = fill(samples)
                if len(pcm) != wanted:
                    raise ValueError(f"{len(pcm)} bytes of sound instead of {wanted}")
                return spread(pcm, channels)
            except Exception as error:  # noqa: BLE001 — see the module
                self._note(error)
                return silence

        return safe

    def deliver(self, deliver: Deliver) -> Deliver:
        """Drops the sound if the callback fails."""

        def safe(pcm: bytes, start_s: float) -> None:
            try:
                deliver(pcm, start_s)
            except Exception as error:  # noqa: BLE001 — see the module
                self._note(error)

        return safe

    def _note(self, error: Exception) -> None:
        if self.failure is None:
            # Without memory for the line, the next error is told.
            with contextlib.suppress(MemoryError):
                words = "%s: its sound could not be handled; silence instead"
                log.error(words, self._name, exc_info=error, extra=fields(device=self._name))
                self.failure = error
