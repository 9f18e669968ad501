"""Which way of living with the echo is taken, and when another has to be: between the microphone and the gate."""

from __future__ import annotations

import logging
import threading
import time
from typing import Literal

import numpy as np

from parleyd.audio.echo.canceller import EchoCanceller, EchoCancellerMissingError, HalfDuplex
from parleyd.audio.echo.far_end import FarEnd
from parleyd.audio.echo.self_echo import SelfEcho
from parleyd.audio.pcm import SILENCE_DBFS, SILENT_FRAME, Frame
from parleyd.audio.playback.playback import Playback
from parleyd.core import events
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)

Mode = Literal["auto", "aec", "half_duplex", "off"]

# What made the canceller fail may have passed: it gets another chance after so long, and each time after twice as long,
# but for one that has done well for a day.
SECOND_CHANCE_S = 3600.0
_LAST_CHANCE_S = 7 * 24 * 3600.0
DID_WELL_S = 24 * 3600.0


class EchoControl:
    """hear() and judge() on the ears thread, for every frame in order.

    mode: what is done now: `aec`, `half_duplex` or `off`. Where the canceller is missing, `auto` says so and takes half
    duplex, `aec` raises EchoCancellerMissingError. When the daemon turns out to hear itself it says so, and in
    `status`, and is half duplex until the canceller gets another chance, unless echo is left to the hardware (`off`).

    faint: of the last frame, as the canceller has it.
    """

    def __init__(
        self,
        mode: Mode,
        tail_ms: int,
        playback: Playback,
        far_end: FarEnd,
        bus: events.Bus,
    ) -> None:
        self._playback = playback
        self._far_end = far_end
        self._bus = bus
        self._half_duplex = HalfDuplex(tail_ms)
        # Ears bring levels to it, the session's receiver words; only one of them falls back.
        self._lock = threading.Lock()
        self._self_echo = SelfEcho()
        self._canceller: EchoCanceller | None = None
        self._far_dbfs = SILENCE_DBFS
        self._patience_s = SECOND_CHANCE_S
        self._since_s, self._again_s = time.monotonic(), float("inf")
        self.faint = False
        self.mode: Literal["aec", "half_duplex", "off"] = "half_duplex" if mode == "half_duplex" else "off"
        if mode in ("auto", "aec"):
            try:
                self._canceller = EchoCanceller()
                self.mode = "aec"
            except EchoCancellerMissingError as error:
                if mode == "aec":
                    raise
                log.warning("%s; the microphone counts as silent while the agent speaks; %s", error, error.hint)
                self.mode = "half_duplex"
        bus.subscribe(self._listen)

    def hear(self, frame: Frame) -> tuple[Frame, bool]:
        """A frame of the microphone → what goes on to the gate, and whether it may be speech."""
        self.faint = False
        now_s = time.monotonic()
        audible = self._playback.audible_until(now_s)

        def is_deaf_to(until_s: float) -> bool:
            return self._half_duplex.deaf(frame.start_s, audible=now_s < until_s, silent_from_s=until_s)

        earcon, announced = is_deaf_to(audible.earcon_until_s), is_deaf_to(audible.announcement_until_s)
        if self.mode == "half_duplex":
            self._far_end.forget()
            if now_s >= max(self._again_s, audible.voice_until_s):
                self._try_again()
            if earcon or announced or is_deaf_to(audible.voice_until_s):
                return Frame(SILENT_FRAME, frame.start_s), False
            return frame, True
        far = self._far_end.frame(frame.start_s)
        self._far_dbfs = SILENCE_DBFS
        if far is not None:
            power = float(np.dot(far, far)) / len(far)
            self._far_dbfs = 10.0 * float(np.log10(power)) if power > 0.0 else SILENCE_DBFS
        if self.mode == "aec" and self._canceller is not None:
            step = self._far_end
            pcm = self._canceller.process(frame.pcm, far, in_step=step.in_step, later=step.later)
            step.follow(self._canceller.slip)
            if self._canceller.jump:
                step.move(self._canceller.jump)
            frame = Frame(pcm, frame.start_s)
            self.faint = self._canceller.faint and not earcon
            return frame, self._canceller.person and not earcon
        if announced:
            # Nothing takes it out of what the microphone hears, and the agent is not to hear it.
            return Frame(SILENT_FRAME, frame.start_s), False
        # Whoever begins to speak over an earcon opens the gate a moment later, and the pre-roll has all of it.
        return frame, not earcon

    @property
    def far_end_silent(self) -> bool:
        """Of the last frame: nothing of the speaker can have been in it."""
        return self._far_dbfs == SILENCE_DBFS

    def judge(self, level_dbfs: float, *, talk: bool) -> None:
        """The level of the frame that was passed on, and whether the gate takes it for talk."""
        if self.mode == "half_duplex":
            return
        with self._lock:
            certain = self._self_echo.levels(level_dbfs, self._far_dbfs, talk=talk)
        if certain:
            self._fall_back("what is heard goes up and down with the agent's voice")

    def _listen(self, event: events.Event) -> None:
        if self.mode == "half_duplex":
            return
        certain = False
        with self._lock:
            if isinstance(event, events.AnswerText):
                self._self_echo.agent_said(event.text, event.at_s)
            elif isinstance(event, events.Heard) and event.final:
                certain = self._self_echo.person_said(event.text, event.at_s)
        if certain:
            self._fall_back("the agent's own words come back as the person's")

    def _try_again(self) -> None:
        log.info("the echo canceller gets another chance")
        canceller = EchoCanceller()
        with self._lock:
            self._since_s, self._again_s = time.monotonic(), float("inf")
            self._canceller, self._self_echo = canceller, SelfEcho()
            self.mode = "aec"
        self._bus.publish(events.TroubleOver(at_s=time.monotonic(), part="echo"))

    def _fall_back(self, why: str) -> None:
        if self.mode == "off":
            text = f"the microphone hears the speaker: {why}"
            hint = "set audio.echo.mode to auto"
        else:
            now_s = time.monotonic()
            with self._lock:
                if now_s - self._since_s > DID_WELL_S:
                    self._patience_s = SECOND_CHANCE_S
                hours = round(self._patience_s / 3600)
                self._again_s = now_s + self._patience_s
                self._patience_s = min(2 * self._patience_s, _LAST_CHANCE_S)
                self.mode = "half_duplex"
            text = f"the microphone hears the speaker in spite of the echo canceller: {why}; for {hours} h the "
            text += "microphone counts as silent while the agent speaks"
            hint = "turn the speaker down or move it away from the microphone; a new start tries at once"
        log.warning("%s; %s", text, hint, extra=fields(hint=hint))
        self._bus.publish(events.Trouble(at_s=time.monotonic(), text=text, hint=hint, part="echo"))
