"""Chooses how the echo is dealt with, and changes that when it fails: between the microphone and the gate."""

from __future__ import annotations

import logging
import threading
import time
from typing import Literal, NamedTuple

from parleyd.audio.echo.canceller import EchoCancellerMissingError, EchoPath, HalfDuplex
from parleyd.audio.echo.far_end import FarEnd
from parleyd.audio.echo.self_echo import SelfEcho
from parleyd.audio.pcm import SILENCE_DBFS, Frame, level_dbfs
from parleyd.audio.playback.mix import Audible
from parleyd.audio.playback.playback import Playback
from parleyd.core import events
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)

Mode = Literal["auto", "aec", "half_duplex", "off"]

# After falling back to half duplex, the canceller is tried again after this delay, which doubles each time.
SECOND_CHANCE_S = 3600.0
# The delay does not grow beyond this.
_LAST_CHANCE_S = 7 * 24 * 3600.0
# When the canceller has worked for this long, the delay starts again with its first value.
DID_WELL_S = 24 * 3600.0


class NearFrame(NamedTuple):
    """A frame of the microphone on its way to the gate."""

    frame: Frame
    may_be_speech: bool
    """False if the frame is the speaker's sound, or silence in its place."""
    weak_near_end: bool = False
    """True if the frame may be the first sound of a word that follows."""
    far_dbfs: float = SILENCE_DBFS
    """The level of the far end that belongs to the frame."""

    @property
    def far_end_silent(self) -> bool:
        """True if nothing of the speaker's sound can be in the frame."""
        return self.far_dbfs == SILENCE_DBFS


class EchoControl:
    """hear() and then judge() on the ears thread, for every frame in order.

    If the canceller is missing, `auto` logs that and uses half duplex, and `aec` raises EchoCancellerMissingError. If
    the daemon turns out to hear itself, that is logged and shown in `status`, and half duplex is used until the
    canceller is tried again. With `off` the echo is left to the hardware, and nothing changes.
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
        self.speaker_sounds = False
        """Something was to be heard with the last frame, or was about to be. For the ears thread."""
        self.agent_sounds = False
        """The agent's voice was, and not only an earcon or an announcement. Likewise."""
        # The ears report levels to SelfEcho, the session's receiver reports words. Only one of them may fall back.
        self._lock = threading.Lock()
        self._self_echo = SelfEcho()
        self._path: EchoPath | None = None
        self._far_dbfs = SILENCE_DBFS  # of the last frame that was not half duplex
        self._retry_delay_s = SECOND_CHANCE_S
        self._since_s, self._again_s = time.monotonic(), float("inf")
        self.mode: Literal["aec", "half_duplex", "off"] = "half_duplex" if mode == "half_duplex" else "off"
        """The mode in force now. Any thread may read it."""
        if mode in ("auto", "aec"):
            try:
                self._path = EchoPath(far_end)
                self.mode = "aec"
            except EchoCancellerMissingError as error:
                if mode == "aec":
                    raise
                log.warning("%s; the microphone counts as silent while the agent speaks; %s", error, error.hint)
                self.mode = "half_duplex"
        bus.subscribe(self._listen)

    def hear(self, frame: Frame) -> NearFrame:
        """Returns the frame for the gate. frame: of the microphone."""
        now_s = time.monotonic()
        audible = self._playback.audible_until(now_s)
        last_s = max(audible.voice_until_s, audible.earcon_until_s, audible.announcement_until_s)
        self.agent_sounds = now_s < audible.voice_until_s
        heard = self._hear(frame, now_s, audible)
        self.speaker_sounds = now_s < last_s or not heard.far_end_silent
        return heard

    def passes(self, start_s: float, frames: int) -> bool:
        """Whether the next frames contain nothing of the speaker's sound: they then pass unchanged, and need neither
        hear() nor judge(). start_s: monotonic time at which the first of them begins. False: nothing has changed."""
        now_s = time.monotonic()
        audible = self._playback.audible_until(now_s)
        last_s = max(audible.voice_until_s, audible.earcon_until_s, audible.announcement_until_s)
        if self._half_duplex.deaf(start_s, audible=now_s < last_s, silent_from_s=last_s):
            return False
        mode, path = self.mode, self._path
        is_at_rest = path is None or path.rests if mode == "aec" else mode == "off" or now_s < self._again_s
        if not (is_at_rest and self._far_end.is_gone(start_s)):
            return False
        self.agent_sounds = self.speaker_sounds = False
        self._far_dbfs = SILENCE_DBFS
        with self._lock:
            self._self_echo.pass_by(frames)
        return True

    @property
    def speaker_rests(self) -> bool:
        """The speaker is closed because nothing sounds. Any thread may read it."""
        return self._playback.rests

    def _hear(self, frame: Frame, now_s: float, audible: Audible) -> NearFrame:
        def is_deaf_to(until_s: float) -> bool:
            return self._half_duplex.deaf(frame.start_s, audible=now_s < until_s, silent_from_s=until_s)

        earcon = is_deaf_to(audible.earcon_until_s)
        # Read once, because the session's receiver may fall back at any time, and a frame must be treated in one way.
        mode, path = self.mode, self._path
        if mode == "half_duplex":
            self._far_end.forget()
            if now_s >= max(self._again_s, audible.voice_until_s):
                self._try_again()
            if earcon or is_deaf_to(audible.announcement_until_s) or is_deaf_to(audible.voice_until_s):
                return NearFrame(Frame.silence(frame.start_s), False, far_dbfs=self._far_dbfs)
            return NearFrame(frame, True, far_dbfs=self._far_dbfs)
        if mode == "aec" and path is not None:
            cancelled, far = path.step(frame)
            self._far_dbfs = far.dbfs
            person, weak = cancelled.may_be_speech and not earcon, cancelled.weak_near_end and not earcon
            return NearFrame(cancelled.frame, person, weak, self._far_dbfs)
        self._far_dbfs = self._far_end.frame(frame.start_s).dbfs
        if is_deaf_to(audible.announcement_until_s):
            # Nothing removes the speaker's sound from the frame, and the agent must not hear it.
            return NearFrame(Frame.silence(frame.start_s), False, far_dbfs=self._far_dbfs)
        # A person who begins to speak over an earcon opens the gate a moment later, and the pre-roll has the beginning.
        return NearFrame(frame, not earcon, far_dbfs=self._far_dbfs)

    def judge(self, heard: NearFrame, *, talk: bool) -> None:
        """heard: the frame that hear() returned. talk: the gate takes it for talk."""
        if self.mode == "half_duplex":
            return
        # Only talk is compared with the far end.
        near_dbfs = level_dbfs(heard.frame.pcm) if talk else SILENCE_DBFS
        with self._lock:
            certain = self._self_echo.levels(near_dbfs, heard.far_dbfs, talk=talk)
        if certain:
            self._fall_back("its sound rises and falls with the agent's voice")

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
        log.info("the echo canceller is tried again")
        path = EchoPath(self._far_end)
        with self._lock:
            self._since_s, self._again_s = time.monotonic(), float("inf")
            self._path, self._self_echo = path, SelfEcho()
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
                    self._retry_delay_s = SECOND_CHANCE_S
                hours = round(self._retry_delay_s / 3600)
                self._again_s = now_s + self._retry_delay_s
                self._retry_delay_s = min(2 * self._retry_delay_s, _LAST_CHANCE_S)
                self.mode = "half_duplex"
            text = f"the microphone hears the speaker in spite of the echo canceller: {why}; for {hours} h the "
            text += "microphone counts as silent while the agent speaks"
            hint = "turn the speaker down or move it away from the microphone; a new start tries at once"
        log.warning("%s; %s", text, hint, extra=fields(hint=hint))
        self._bus.publish(events.Trouble(at_s=time.monotonic(), text=text, hint=hint, part="echo"))
