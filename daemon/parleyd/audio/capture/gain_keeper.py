"""Teaches the automatic gain with the words that the agent understood, and keeps the learnt gain over a restart."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from parleyd.audio.capture.input_gain import AutoGain, InputGain
from parleyd.config.schema import AudioInput
from parleyd.core import events
from parleyd.core.states import Trigger
from parleyd.host.remembered import RememberedGain

log = logging.getLogger(__name__)

# The least change that is reported; a smaller one is inaudible.
TOLD_DB = 1.0


def remembered_gain(section: AudioInput, remembered: RememberedGain) -> InputGain:
    """The gain with which the microphone starts: the configured one plus the gain learnt before the last restart."""
    if section.auto_gain == "off":
        return InputGain(section.gain_db)
    return InputGain(section.gain_db, AutoGain(remembered.under(section.device, section.gain_db) or 0.0))


class GainKeeper:
    """A subscriber of the bus. Tells AutoGain whether the agent understood the measured speech, and reports changes of
    the learnt or configured gain."""

    def __init__(self, gain: InputGain, section: AudioInput, remembered: RememberedGain, bus: events.Bus) -> None:
        self._gain = gain
        self._device = section.device
        self._remembered = remembered
        self._bus = bus
        self._told_db = gain.db
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        auto = self._gain.auto
        match event:
            case events.Heard(text=text, final=True) if auto and any(sign.isalnum() for sign in text):
                auto.understood()
            case events.StateChanged(trigger=Trigger.FALSE_WAKE.value) if auto:
                auto.nothing()
            case events.UtteranceEnded() if self._has_moved:
                # On another thread, because the ears must not wait for the disk. If no thread can be started, the next
                # utterance tries again.
                with contextlib.suppress(RuntimeError):
                    threading.Thread(target=self.keep, name="gain", daemon=True).start()
            case _:
                pass

    @property
    def _has_moved(self) -> bool:
        return abs(self._gain.db - self._told_db) >= TOLD_DB

    def keep(self) -> None:
        """Stores the learnt gain, and reports a change once it is audible."""
        with self._lock:
            auto, gain_db = self._gain.auto, self._gain.db
            if not self._has_moved:
                return
            self._told_db = gain_db
            if auto is not None:
                self._remembered.remember(self._device, self._gain.configured_db, auto.db)
        log.info("the microphone's gain is %.0f dB now", gain_db)
        self._bus.publish(events.InputGainChanged(at_s=time.monotonic(), gain_db=round(gain_db, 1)))
