"""The sound half of the daemon: microphone, ears, speaker, and their recovery.

It does not exist with `audio.mode: off`. docs/architecture.md describes the path of the sound through these parts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from parleyd.app.earcon_bell import EarconBell, earcons_of
from parleyd.app.ears import Ears
from parleyd.app.mute_switch import MuteSwitch
from parleyd.audio.capture.capture import Capture
from parleyd.audio.capture.gain_keeper import GainKeeper, remembered_gain
from parleyd.audio.devices.deadlines import in_time
from parleyd.audio.devices.device import DeviceError, InputDevice, OutputDevice, StreamInfo
from parleyd.audio.devices.portaudio import PortAudioInput, PortAudioOutput
from parleyd.audio.devices.portaudio_host import host
from parleyd.audio.earcons.cues import EarconCues
from parleyd.audio.earcons.sounds import RATE_HZ, Sound
from parleyd.audio.echo.control import EchoControl
from parleyd.audio.echo.control import Mode as EchoMode
from parleyd.audio.echo.far_end import FarEnd
from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.vad import Detector, detector
from parleyd.audio.gate.wakeword import WakeWord
from parleyd.audio.mixer import Volume
from parleyd.audio.pcm import FRAME_MS
from parleyd.audio.playback.playback import Playback
from parleyd.audio.recorder import DIRECTORY_NAME as RECORDINGS
from parleyd.audio.recorder import Recorder
from parleyd.audio.recovery import Recovery
from parleyd.config.schema import Config
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.conversation.session.in_flight import Lines
from parleyd.conversation.session.outbox import Outbox
from parleyd.conversation.supervisor.supervisor import Supervisor
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.health import Pulse
from parleyd.host.remembered import RememberedGain, RememberedVolume

log = logging.getLogger(__name__)

# The time limit for the first sound of a microphone at the start.
MICROPHONE_S = 5.0


class SoundSystem:
    """attach(), start(), then stop(). Raises UserError.

    Its parts may be read from outside; only this object starts and stops them.
    fail: called if one of them cannot go on.
    give_up: called while the start waits for a device; True makes it return early, or raise GivenUpError.
    state_directory: for the mute switch, the volume and recordings; None: nothing is stored.
    """

    def __init__(
        self,
        config: Config,
        microphone: InputDevice,
        speaker: OutputDevice,
        bus: events.Bus,
        state_directory: Path | None,
        fail: Callable[[str, BaseException], None],
        give_up: Callable[[], bool],
    ) -> None:
        self._config = config
        self._bus = bus
        self._fail = fail
        self._give_up = give_up
        self._dialogue: Dialogue
        self._supervisor: Supervisor
        self._outbox: Outbox
        self._lines: Lines
        self.ears: Ears
        output, self.far_end = config.audio.output, FarEnd()
        self.playback = Playback(
            speaker,
            volume=output.software_volume,
            duck_db=config.barge_in.duck_db,
            cut=config.barge_in.cut,
            on_started=lambda answer, at_s: self._dialogue.answer_started(answer, at_s),
            on_finished=lambda heard: self._dialogue.answer_ended(heard),
            on_failure=self._speaker_failed,
            far_end=self.far_end,
            earcons=earcons_of(config.earcons, _speak),
            may_rest=_may_rest(output.keep_open, speaker),
            lead_in_ms=output.lead_in_ms,
        )
        bus.subscribe(self._expect)
        self._volume = Volume(self.playback, output.mixer, output.volume, RememberedVolume(state_directory))
        bus.subscribe(self._volume)
        self._cues = EarconCues(
            always=config.wake.mode == "always",
            after_speech=config.earcons.after_speech == "on",
            has_fallback=config.has_fallback,
        )
        bus.subscribe(EarconBell(self._cues, self.playback))
        remembered = RememberedGain(state_directory)
        gain = remembered_gain(config.audio.input, remembered)
        self.capture = Capture(microphone, gain)
        self._gain_keeper = GainKeeper(gain, config.audio.input, remembered, bus)
        bus.subscribe(self._gain_keeper)
        self.echo = EchoControl(
            _echo_mode(config, microphone, speaker),
            config.audio.echo.tail_ms,
            self.playback,
            self.far_end,
            bus,
        )
        self._gate = Gate(config.gate.pre_roll_ms, config.gate.hangover_ms)
        self._recorder = _recorder(config, state_directory)
        self.mute_switch = MuteSwitch(state_directory, self._recorder, bus)
        self.recovery = Recovery(config.audio.stall_s, self.capture, self.playback, bus, fail)
        self.latency_ms = 0

    def attach(
        self,
        dialogue: Dialogue,
        outbox: Outbox,
        supervisor: Supervisor,
        lines: Lines,
        orders: Callable[[bytes], None] | None = None,
    ) -> None:
        """Connects the ears with the conversation. lines: the connections on which sound is sent. orders: see Ears.
        Raises UserError."""
        config = self._config
        self._dialogue = dialogue
        self._supervisor = supervisor
        self._outbox = outbox
        self._lines = lines
        self.ears = Ears(
            self.capture,
            self.echo,
            _detector(config),
            self._gate,
            outbox,
            dialogue,
            supervisor,
            self._bus,
            hold_back=config.gate.uplink != "open",
            wake_on_speech=_wakes_on_speech(config),
            on_death=self._fail,
            wake_word=_wake_word(config),
            recorder=self._recorder,
            orders=orders,
        )
        self.mute_switch.attach(self.ears, outbox, lines, dialogue)

    def start(self) -> None:
        """Raises UserError (DeviceError, MixerError) and GivenUpError; then call stop()."""
        self._volume.start()
        self.latency_ms = round(self._opened(self.playback.start).latency_s * 1000)
        if self._recorder is not None:
            self._recorder.start()
        self._opened(self.capture.start)
        self.ears.start()
        if self._config.wake.mode != "manual":
            self._await_microphone()
        self.recovery.start()

    def stop(self) -> None:
        """Stops all parts, also after an incomplete start."""
        self.recovery.stop()
        self.ears.stop()
        self.capture.stop()
        self._gain_keeper.keep()
        if self._recorder is not None:
            self._recorder.stop()
        self.playback.stop()

    def _opened(self, open_device: Callable[[], StreamInfo]) -> StreamInfo:
        """Raises DeviceError and GivenUpError, and another UserError when PortAudio hangs: nobody watches it yet."""
        try:
            return in_time(open_device, "opening a device", self._give_up)
        except DeviceError as error:
            if host.oldest_call() is None:
                raise
            raise UserError(f"sound failed: {error}", error.hint, os.EX_SOFTWARE) from error

    def _await_microphone(self) -> None:
        until_s = time.monotonic() + MICROPHONE_S
        while not self.ears.first_frame.wait(0.05) and not self._give_up():
            if time.monotonic() >= until_s:
                raise UserError(
                    f"the microphone {self.capture.device.name!r} opened but delivers no sound",
                    "see that no other program holds it, or choose another with audio.input.device",
                    os.EX_SOFTWARE,
                )

    def reconfigure(self, config: Config) -> None:
        """Puts new settings in force. Raises the errors of attach(), and MixerError like set_volume(); then nothing has
        changed."""
        vad, word = _detector(config), _wake_word(config)
        with self._telling_volume():
            self._volume.configure(config.audio.output.volume)
        self.ears.reconfigure(vad, config.gate.hangover_ms, wake_on_speech=_wakes_on_speech(config), wake_word=word)
        self.capture.gain.configured_db = config.audio.input.gain_db
        self._gain_keeper.keep()
        self._cues.always = config.wake.mode == "always"

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        of_recorder = (self._recorder.pulse,) if self._recorder is not None else ()
        return self.ears.pulse, self.playback.pulse, self.recovery.pulse, *of_recorder

    @property
    def heard_s(self) -> float:
        """The duration of the captured sound so far."""
        return self.ears.heard_frames * FRAME_MS / 1000

    def false_wake(self) -> None:
        """See Ears.false_wake."""
        self.ears.false_wake()

    @property
    def volume(self) -> float:
        """The volume, 0 to 1, of the sound or of the mixer."""
        return self._volume.value

    def set_volume(self, volume: float) -> None:
        """Sets the volume by hand, 0 to 1, within milliseconds and without a click. Raises ValueError, and MixerError
        after two seconds at most; then nothing has changed."""
        with self._telling_volume():
            self._volume.set(volume)

    def look_at_volume(self) -> None:
        """Updates `volume` from a mixer that another program may have changed. Raises MixerError like set_volume()."""
        with self._telling_volume():
            self._volume.look()

    @contextlib.contextmanager
    def _telling_volume(self) -> Iterator[None]:
        before = self._volume.value
        yield
        if self._volume.value != before:
            self._bus.publish(events.VolumeChanged(at_s=time.monotonic(), volume=self._volume.value))

    def _expect(self, event: events.Event) -> None:
        """A subscriber of the bus: an answer may follow, or the greeting; the speaker is opened ahead of it."""
        match event:
            case events.StateChanged(after="connecting") | events.SessionOpened():
                self.playback.expect()
            case events.TalkStopped() if not self._supervisor.asleep:
                self.playback.expect()
            case _:
                pass

    def _speaker_failed(self, error: Exception) -> None:
        if isinstance(error, DeviceError) and self.recovery.watches_speaker:
            log.debug("the speaker was not reopened: %s", error)
        else:
            self._fail("speaker", error)


def _detector(config: Config) -> Detector:
    return detector(config.gate.vad, config.gate.aggressiveness)


def _wakes_on_speech(config: Config) -> bool:
    return config.wake.mode in ("speech", "always")


def _wake_word(config: Config) -> WakeWord | None:
    return WakeWord(config.wake.word) if config.wake.mode == "word" else None


def _may_rest(keep_open: Literal["auto", "on", "off"], speaker: OutputDevice) -> Callable[[], bool]:
    if keep_open == "on" or not isinstance(speaker, PortAudioOutput):
        return lambda: False
    return speaker.begins_at_once if keep_open == "auto" else lambda: True


def _echo_mode(config: Config, microphone: InputDevice, speaker: OutputDevice) -> EchoMode:
    if config.barge_in.mode == "off":
        # Without barge-in the microphone is not needed while the agent speaks.
        return "half_duplex"
    mode = config.audio.echo.mode
    in_one_room = isinstance(microphone, PortAudioInput) and isinstance(speaker, PortAudioOutput)
    # A file as microphone contains no echo.
    return "off" if mode == "auto" and not in_one_room else mode


def _speak(text: str) -> Sound:
    """Speaks with the embedded agent's voice, which needs no network. Raises UserError."""
    from parleyd.embedded.voice import Voice, VoiceError

    try:
        with Voice() as voice:
            return Sound(voice.say(text, RATE_HZ), RATE_HZ)
    except VoiceError as error:
        raise UserError(f"an earcon is to be spoken, but {error}", error.hint) from error


def _recorder(config: Config, state_directory: Path | None) -> Recorder | None:
    if not config.debug.record:
        return None
    if state_directory is None:
        log.warning("no recordings: there is no state directory for them")
        return None
    return Recorder(config.debug, state_directory / RECORDINGS)
