"""What becomes of the learnt gain of the microphone: what the agent understood teaches it, and a restart keeps it."""

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

# A smaller change is heard by nobody, and no news.
TOLD_DB = 1.0


def remembered_gain(section: AudioInput, remembered: RememberedGain) -> InputGain:
    """The gain with which the microphone starts: the configured one, and what was learnt before the last restart."""
    if section.auto_gain == "off":
        return InputGain(section.gain_db)
    return InputGain(section.gain_db, AutoGain(remembered.under(section.device, section.gain_db) or 0.0))


class GainKeeper:
    """On the bus. Tells AutoGain what came of the talk that it measured, and others when the gain has moved, be it
    learnt or configured."""

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
                # Not here: the ears wait for no disk.
                # Without a free thread the next utterance tries again.
                with contextlib.suppress(RuntimeError):
                    threading.Thread(target=self.keep, name="gain", daemon=True).start()
            case _:
                pass

    @property
    def _has_moved(self) -> bool:
        return abs(self._gain.db - self._told_db) >= TOLD_DB

    def keep(self) -> None:
        """What was learnt outlives a restart. Tells a change once it can be heard."""
        with self._lock:
            auto, gain_db = self._gain.auto, self._gain.db
            if not self._has_moved:
                return
            self._told_db = gain_db
            if auto is not None:
                self._remembered.remember(self._device, self._gain.configured_db, auto.db)
        log.info("the microphone's gain is %.0f dB now", gain_db)
        self._bus.publish(events.InputGainChanged(at_s=time.monotonic(), gain_db=round(gain_db, 1)))
