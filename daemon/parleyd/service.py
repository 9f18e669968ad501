"""Builds the parts from the configuration, starts them in order, stops them in reverse, and knows why it ended."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from parleyd import events
from parleyd.agents.agent import Agent, UploadError
from parleyd.agents.speech import Speech
from parleyd.announce.announcer import Announcer
from parleyd.audio.capture import Capture
from parleyd.audio.devices.device import DeviceError, InputDevice, OutputDevice
from parleyd.audio.devices.portaudio import PortAudioInput, PortAudioOutput
from parleyd.audio.earcon_bell import EarconBell, earcons_of
from parleyd.audio.earcon_cues import EarconCues
from parleyd.audio.ears import Ears
from parleyd.audio.echo_control import EchoControl
from parleyd.audio.echo_control import Mode as EchoMode
from parleyd.audio.far_end import FarEnd
from parleyd.audio.gate import Gate
from parleyd.audio.mixer import MixerError, Volume
from parleyd.audio.pcm import FRAME_MS
from parleyd.audio.playback import Playback
from parleyd.audio.playback_announcement import AnnouncementTrack
from parleyd.audio.playback_earcons import EarconTrack
from parleyd.audio.recorder import DIRECTORY_NAME as RECORDINGS
from parleyd.audio.recorder import Recorder
from parleyd.audio.recovery import Recovery
from parleyd.audio.vad import Detector, detector
from parleyd.audio.wakeword import WakeWord
from parleyd.config.changes import Changes, changes, in_force
from parleyd.config.schema import Config
from parleyd.conversation.dialogue import Dialogue
from parleyd.conversation.outbox import Outbox
from parleyd.conversation.session import Traffic
from parleyd.conversation.supervisor import Supervisor
from parleyd.conversation.uplink import Uplink, UplinkCounters
from parleyd.conversation.uploads import Uploads
from parleyd.health import Pulse
from parleyd.hooks.hooks import Hooks
from parleyd.host import notify
from parleyd.host.remembered import RememberedMute
from parleyd.host.watch import Watch
from parleyd.log_fields import fields
from parleyd.status import Reporter, Status, told_to_agent
from parleyd.tools.device_tools import DeviceTools, Host
from parleyd.tools.result import Fault, ToolError
from parleyd.transcript.files import DIRECTORY_NAME
from parleyd.transcript.writer import TranscriptWriter
from parleyd.usage.allowance import Refusal
from parleyd.usage.ledger import Amount
from parleyd.usage.meter import UsageMeter
from parleyd.usage.store import Store
from parleyd.usage.warden import Usage, Warden

log = logging.getLogger(__name__)

# The first sound from a microphone takes this long at most; later it is not one that works.
MICROPHONE_S = 5.0


class ServiceError(Exception):
    """The service could not go on. mend: what to do about it."""

    def __init__(self, text: str, mend: str | None = None) -> None:
        super().__init__(text)
        self.mend = mend


class Service:
    """start(), then stop(). Raises DeviceError, VadUnavailableError, WakeWordUnavailableError, ServiceError,
    EchoCancellerMissingError, EarconFileError, MixerError, SecretError (of a tool).

    on_failure: called, from any thread, when the service cannot go on by itself; `failure` then tells why.
    give_up: asked while the start waits for the microphone; True makes start() return early.
    state_directory: for what outlives the process: the mute switch, the usage, the transcript, timers, the audit log
        of tools; None keeps nothing.
    speech_for: the voice of announcements, None where there is none; raises what the maker of agents does.
    """

    def __init__(
        self,
        config: Config,
        agent: Agent,
        microphone: InputDevice,
        speaker: OutputDevice,
        bus: events.Bus,
        on_failure: Callable[[], None] = lambda: None,
        give_up: Callable[[], bool] = lambda: False,
        state_directory: Path | None = None,
        speech_for: Callable[[Config], Speech | None] = lambda _config: None,
    ) -> None:
        gate, output = config.gate, config.audio.output
        self._config = config
        # Without sound its parts are made, for others to look at, and never started.
        self._has_sound = config.audio.mode == "on"
        self._bus = bus
        self._on_failure = on_failure
        self._give_up = give_up
        self._stopping = False
        self.failure: ServiceError | None = None
        self._outbox = Outbox(
            Uplink(
                gate.uplink,
                pre_roll_ms=gate.pre_roll_ms if self._has_sound else 0,
                capacity_ms=round(config.session.buffer_s * 1000),
            )
        )
        far_end = FarEnd()
        announcements = AnnouncementTrack(config.barge_in.duck_db)
        self._playback = Playback(
            speaker,
            volume=output.software_volume,
            duck_db=config.barge_in.duck_db,
            cut=config.barge_in.cut,
            on_started=lambda answer, at_s: self._dialogue.answer_started(answer, at_s),
            on_finished=lambda heard: self._dialogue.answer_ended(heard),
            on_failure=self._speaker_failed,
            far_end=far_end,
            earcons=EarconTrack(earcons_of(config.earcons)),
            announcements=announcements,
        )
        self._speech_for = speech_for
        self._announcer = Announcer(
            speech_for(config),
            config.announce,
            announcements,
            bus,
            timeout_s=config.session.connect_timeout_s,
            on_death=self.fail,
        )
        self._volume = Volume(self._playback, output.mixer, output.volume)
        bus.subscribe(self._volume)
        self._cues = EarconCues(always=config.wake.mode == "always", after_speech=config.earcons.after_speech == "on")
        if self._has_sound:
            bus.subscribe(EarconBell(self._cues, self._playback))
        self.tools = DeviceTools(
            config.tools,
            Host(
                set_volume=self._set_volume_for_agent,
                mute=self._mute_for_agent,
                end_conversation=lambda: self._supervisor.end_soon(),
                status=lambda: told_to_agent(self.status()),
                tell=self._tell,
            ),
            bus,
            state_directory,
        )
        self._dialogue = Dialogue(
            self._playback,
            self._outbox,
            bus,
            config.barge_in,
            config.continuity,
            self.tools,
            text_only=not self._has_sound,
        )
        ear = Gate(gate.pre_roll_ms, gate.hangover_ms)
        self._hooks = Hooks(config.hooks, bus)
        self._traffic = Traffic()
        self._meter = UsageMeter(Store(state_directory), self._used)
        bus.subscribe(self._meter)
        self._warden = Warden(config, self._meter, bus)
        self._supervisor = Supervisor(
            config,
            agent,
            self._outbox,
            self._dialogue,
            bus,
            self._warden,
            self._traffic,
            raise_gate=ear.be_harder_of_hearing,
            on_death=self.fail,
        )
        self._uploads = Uploads(agent, self._dialogue, bus)
        self._capture = Capture(microphone)
        echo_mode = _echo_mode(config, microphone, speaker)
        echo = EchoControl(echo_mode, config.audio.echo.tail_ms, self._playback, far_end, bus, announcements)
        self._recorder = self._recorder_of_utterances(state_directory)
        self._ears = Ears(
            self._capture,
            echo,
            _detector(config),
            ear,
            self._outbox,
            self._dialogue,
            self._supervisor,
            bus,
            hold_back=gate.uplink != "open",
            wake_on_speech=_wakes_on_speech(config),
            on_death=self.fail,
            wake_word=_wake_word(config),
            recorder=self._recorder,
        )
        self._transcript = self._transcript_writer(state_directory)
        if self._transcript is not None:
            bus.subscribe(self._transcript)
        self._remembered_mute = RememberedMute(state_directory)
        self._ears.muted = self._remembered_mute.on
        self._recovery = Recovery(config.audio.stall_s, self._capture, self._playback, bus, self.fail)
        self._watch = Watch(self._pulses, bus, self.fail)
        self._reporter = Reporter(self._capture, self._ears, echo, self._playback, self._recovery, self._watch, bus)

    def start(self) -> None:
        """Speaker, microphone, ears, supervisor, recovery, watch; on the first trouble everything is closed again."""
        try:
            self._hooks.start()
            latency_ms = self._start_sound() if self._has_sound else 0
            self._meter.start()
            if self._transcript is not None:
                self._transcript.start()
            self._supervisor.start()
            if self._has_sound:
                self._recovery.start()
            self.tools.start()
            self._watch.start()
        except BaseException:
            self.stop()
            raise
        if self._has_sound:
            self._tell_started(latency_ms)
        else:
            log.info("no sound (audio.mode: off): the conversation is in writing")
            self._bus.publish(
                events.Started(at_s=time.monotonic(), microphone=None, speaker=None, output_latency_ms=0)
            )
        notify.ready(self._watch.status)

    def _start_sound(self) -> int:
        """→ the speaker's latency in ms."""
        self._volume.start()
        speaker = self._playback.start()
        self._capture.start()
        self._ears.start()
        if self._recorder is not None:
            self._recorder.start()
        if self._config.wake.mode != "manual":
            self._await_microphone()
        return round(speaker.latency_s * 1000)

    def _tell_started(self, latency_ms: int) -> None:
        log.info(
            "listening on %s, speaking on %s (%d ms of latency)",
            self._capture.device.name,
            self._playback.device.name,
            latency_ms,
            extra=fields(state=self._supervisor.state.value),
        )
        self._bus.publish(
            events.Started(
                at_s=time.monotonic(),
                microphone=self._capture.device.name,
                speaker=self._playback.device.name,
                output_latency_ms=latency_ms,
            )
        )
        if self._ears.muted:
            log.warning("the microphone is muted, as it was left; `parleyd unmute` lets it hear")

    def _await_microphone(self) -> None:
        until_s = time.monotonic() + MICROPHONE_S
        while not self._ears.first_frame.wait(0.05) and not self._give_up():
            if time.monotonic() >= until_s:
                raise ServiceError(
                    f"the microphone {self._capture.device.name!r} opened but delivers no sound",
                    "see that no other program holds it, or choose another with audio.input.device",
                )

    def stop(self) -> None:
        """The session is closed with 1000, then the devices; at most two seconds."""
        self._stopping = True
        notify.stopping()
        self._hooks.begin_stop()
        self._watch.stop()
        self._recovery.stop()
        self._uploads.stop()
        self._announcer.stop()
        self.tools.close()
        self._supervisor.stop()
        self._ears.stop()
        self._capture.stop()
        self._playback.stop()
        self._meter.stop()
        if self._recorder is not None:
            self._recorder.stop()
        if self._transcript is not None:
            self._transcript.stop()
        self._hooks.end_stop()

    def wake(self, *, anyway: bool = False) -> Refusal | None:
        """anyway: although a budget is spent. → why not, if not."""
        refusal = None if anyway else self._warden.refusal(of_its_own=False)
        self._supervisor.wake(by_speech=False, anyway=anyway)
        return refusal

    def sleep(self) -> None:
        self._supervisor.sleep()

    def _set_volume_for_agent(self, volume: float) -> None:
        self._need_sound_for_agent()
        try:
            self.set_volume(volume)
        except MixerError as error:
            raise ToolError(Fault.FAILED, f"The volume could not be set: {error}.") from error

    def _mute_for_agent(self, on: bool) -> None:
        self._need_sound_for_agent()
        self.mute(on)

    def _need_sound_for_agent(self) -> None:
        if not self._has_sound:
            raise ToolError(Fault.FAILED, "This device has neither a microphone nor a speaker.")

    def _tell(self, text: str) -> None:
        """Makes the agent know something, in a session that is opened for it if need be."""
        self._dialogue.tell(text)
        self._supervisor.wake(by_speech=False)

    def usage(self) -> Usage:
        """What sessions cost, today and this month."""
        return self._warden.usage()

    def _transcript_writer(self, state: Path | None) -> TranscriptWriter | None:
        settings = self._config.transcript
        if not settings.enabled:
            return None
        directory = Path(settings.directory) if settings.directory else state and state / DIRECTORY_NAME
        if directory is None:
            log.warning("no transcript: there is no directory for it; set transcript.directory")
            return None
        return TranscriptWriter(settings, directory)

    def _recorder_of_utterances(self, state: Path | None) -> Recorder | None:
        if not self._config.debug.record:
            return None
        if state is None:
            log.warning("no recordings: there is no state directory for them")
            return None
        return Recorder(self._config.debug, state / RECORDINGS)

    def _used(self) -> Amount:
        frame_s = FRAME_MS / 1000
        return Amount(
            sent_bytes=self._traffic.sent_bytes,
            received_bytes=self._traffic.received_bytes,
            heard_s=self._ears.heard_frames * frame_s,
            left_s=self._outbox.counters.sound * frame_s,
        )

    def say(self, text: str) -> Refusal | None:
        """To the agent, as if the person had said it; wakes if asleep. → why not, if not."""
        self._dialogue.say(text)
        return self.wake() if self._supervisor.asleep else None

    def announce(self, text: str, *, now: bool) -> int:
        """See Announcer.announce."""
        return self._announcer.announce(text, now=now)

    def context(self, text: str, context_id: str | None = None) -> bool:
        """See Dialogue.context."""
        return self._dialogue.context(text, context_id)

    def user_active(self) -> bool:
        """See Dialogue.user_active."""
        return self._dialogue.user_active()

    def send_file(self, descriptor: int, name: str, text: str | None) -> int:
        """See Uploads.send; wakes if asleep. UploadError also when a budget is spent."""
        refusal = self._warden.refusal(of_its_own=False) if self._supervisor.asleep else None
        if refusal is not None:
            os.close(descriptor)
            raise UploadError(refusal.text, refusal.mend)
        number = self._uploads.send(descriptor, name, text)
        if self._supervisor.asleep:
            self.wake()
        return number

    def feedback(self, score: Literal["like", "dislike"] | None) -> bool:
        """See Dialogue.feedback."""
        return self._dialogue.feedback(score)

    @property
    def has_sound(self) -> bool:
        """Whether there is a microphone and a speaker; mute and volume mean nothing otherwise."""
        return self._has_sound

    @property
    def muted(self) -> bool:
        return self._ears.muted

    def mute(self, on: bool) -> None:
        """While on, everything behind the microphone hears zeros; what was said and not answered is forgotten."""
        if on == self._ears.muted:
            return
        self._ears.muted = on
        self._remembered_mute.remember(on)
        if on:
            self._outbox.forget()
        log.info("the microphone is muted" if on else "the microphone is heard again")
        self._bus.publish(events.Muted(at_s=time.monotonic(), on=on))

    @property
    def volume(self) -> float:
        """0 to 1, of the sound or of the mixer."""
        return self._volume.value

    def set_volume(self, volume: float) -> None:
        """0 to 1; moves within milliseconds, without a click. Raises ValueError, and MixerError after two seconds at
        most; then nothing has changed."""
        self._volume.set(volume)
        self._bus.publish(events.VolumeChanged(at_s=time.monotonic(), volume=volume))

    def status(self) -> Status:
        return self._reporter.status(self._config, self._volume.value, self.usage(), self._hooks.counts)

    @property
    def health(self) -> str:
        """A few words: what it does, and what is wrong."""
        return self._watch.status

    def reconfigure(self, config: Config, agent_for: Callable[[Config], Agent]) -> Changes:
        """What can change without a new start does; the rest is told. Nothing has changed when it raises what agent_for
        does, or VadUnavailableError or WakeWordUnavailableError; all but the volume has when it raises MixerError."""
        changed = changes(self._config, config)
        config = in_force(self._config, config)
        agent, speech = agent_for(config), self._speech_for(config)
        vad, word = _detector(config), _wake_word(config)
        self._ears.reconfigure(
            vad, config.gate.hangover_ms, wake_on_speech=_wakes_on_speech(config), wake_word=word
        )
        self._dialogue.reconfigure(config.barge_in, config.continuity)
        self._warden.reconfigure(config)
        self._cues.always = config.wake.mode == "always"
        self._hooks.reconfigure(config.hooks)
        self._uploads.agent = agent
        self._supervisor.reconfigure(config, agent)
        self._announcer.reconfigure(speech, config.announce, config.session.connect_timeout_s)
        self._config = config
        volume = config.audio.output.volume
        if "audio.output.volume" in changed.now and volume is not None and self._has_sound:
            self.set_volume(volume)
        return changed

    def _pulses(self) -> tuple[Pulse, ...]:
        of_sound = (self._ears, self._playback, self._recovery) if self._has_sound else ()
        return (*(part.pulse for part in (*of_sound, self._announcer)), *self._supervisor.pulses)

    @property
    def counters(self) -> UplinkCounters:
        return self._outbox.counters

    def _speaker_failed(self, error: Exception) -> None:
        if isinstance(error, DeviceError) and self._recovery.watches_speaker:
            log.debug("the speaker was not reopened: %s", error)
        else:
            self.fail("speaker", error)

    def fail(self, what: str, error: BaseException) -> None:
        """A thread has died: so does the service, with the reason."""
        if self._stopping:
            return
        log.debug("%s", what, exc_info=error)
        self.failure = ServiceError(f"{what} failed: {error}", getattr(error, "mend", None))
        self._on_failure()


def _detector(config: Config) -> Detector:
    # Where nothing is heard, none of the large ones is loaded.
    return detector(config.gate.vad if config.audio.mode == "on" else "webrtcvad", config.gate.aggressiveness)


def _echo_mode(config: Config, microphone: InputDevice, speaker: OutputDevice) -> EchoMode:
    if config.audio.mode == "off":
        return "off"
    if config.barge_in.mode == "off":
        # Who may not interrupt need not be heard meanwhile.
        return "half_duplex"
    mode = config.audio.echo.mode
    in_one_room = isinstance(microphone, PortAudioInput) and isinstance(speaker, PortAudioOutput)
    # A file hears nothing of the speaker.
    return "off" if mode == "auto" and not in_one_room else mode


def _wakes_on_speech(config: Config) -> bool:
    return config.wake.mode in ("speech", "always")


def _wake_word(config: Config) -> WakeWord | None:
    wanted = config.wake.mode == "word" and config.audio.mode == "on"
    return WakeWord(config.wake.word) if wanted else None
