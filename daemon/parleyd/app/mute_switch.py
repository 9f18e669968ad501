"""The microphone's switch: everything that happens on `mute` and `unmute`. docs/mute.md describes the guarantees."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from parleyd.app.ears import Ears
from parleyd.audio.recorder import Recorder
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.conversation.session.in_flight import Lines
from parleyd.conversation.session.outbox import Outbox
from parleyd.core import events
from parleyd.host.remembered import RememberedMute, beside

log = logging.getLogger(__name__)


class MuteSwitch:
    """attach() once, before any sound is heard; then set() from any thread.

    state_directory: the switch is stored there; None: it is not stored.
    """

    def __init__(self, state_directory: Path | None, recorder: Recorder | None, bus: events.Bus) -> None:
        self._recorder = recorder
        self._bus = bus
        self._remembered = RememberedMute(state_directory, beside(state_directory), self._stored)
        self._trouble_told: str | None = None
        self._lock = threading.Lock()
        self._ears: Ears
        self._outbox: Outbox
        self._lines: Lines
        self._dialogue: Dialogue

    def attach(self, ears: Ears, outbox: Outbox, lines: Lines, dialogue: Dialogue) -> None:
        """Names the parts that have to be silent, and mutes them if the switch was on before the start."""
        self._ears, self._outbox, self._lines, self._dialogue = ears, outbox, lines, dialogue
        if self._remembered.on:
            ears.mute(True, time.monotonic())
            outbox.mute(True, time.monotonic())
            dialogue.mute(True)
            # The state directory may be writable again.
            self._remembered.remember(True)

    def set(self, on: bool) -> str | None:
        """While on, everything behind the microphone hears zeros, and no picture of the camera is sent.

        Returns why it will not survive a restart; None if it will. Blocks for about half a second if the disk is slow.
        """
        with self._lock:
            if on == self._ears.muted:
                return self._remembered.remember(on) if self.trouble is not None else None
            now_s = time.monotonic()
            # In the order of the sound's path, so that no sound can follow into an emptied part.
            self._ears.mute(on, now_s)
            self._outbox.mute(on, now_s)
            if on and self._recorder is not None:
                self._recorder.forget()
            if on and (reset := self._lines.mute()):
                log.warning("%d line was reset: speech from before the muting was still on it", reset)
            self._dialogue.mute(on)
            log.info("the microphone is muted" if on else "the microphone is heard again")
            warning = self._remembered.remember(on)
            self._bus.publish(events.Muted(at_s=time.monotonic(), on=on, warning=warning))
            return warning

    @property
    def trouble(self) -> str | None:
        """Why the present state of the switch will not survive a restart; None if it will."""
        return self._remembered.trouble

    def _stored(self, trouble: str | None) -> None:
        """Any thread."""
        before, self._trouble_told = self._trouble_told, trouble
        if trouble is not None:
            hint = "see the disk (df, dmesg), then give the order again"
            log.warning("the mute switch: %s; %s", trouble, hint)
            self._bus.publish(events.Trouble(at_s=time.monotonic(), text=trouble, hint=hint, part="mute switch"))
        elif before is not None:
            log.info("the mute switch is stored")
            self._bus.publish(events.TroubleOver(at_s=time.monotonic(), part="mute switch"))
