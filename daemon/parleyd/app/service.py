"""Builds the parts from the configuration, starts them in order, stops them in reverse order, and knows why it
ended."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from parleyd.agents.provider import Agent, UploadError
from parleyd.agents.speech import Speech, StreamedSpeech
from parleyd.announce import sound_file
from parleyd.announce.announcer import AnnouncementRefusedError, Announcer
from parleyd.announce.budget_notice import BudgetNotice
from parleyd.announce.confirmation_notice import ConfirmationNotice
from parleyd.announce.fallback_notice import FallbackNotice
from parleyd.app.agent_actions import AgentActions
from parleyd.app.device_camera import DeviceCamera
from parleyd.app.out_of_reach import apart_for, places
from parleyd.app.settings import SettingsReport
from parleyd.app.sound_system import SoundSystem
from parleyd.app.spoken_orders import Actions, SpokenOrders
from parleyd.app.status import Reporter, RunningTimer, StatusReport
from parleyd.app.watch import Watch
from parleyd.audio.devices.deadlines import GivenUpError
from parleyd.audio.devices.device import InputDevice, OutputDevice
from parleyd.audio.pcm import FRAME_MS
from parleyd.config.camera_section import Camera as CameraSection
from parleyd.config.changes import Changes, changes, in_force
from parleyd.config.schema import Config
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.conversation.dialogue.uploads import Uploads, takes_pictures
from parleyd.conversation.session.in_flight import Lines
from parleyd.conversation.session.outbox import Outbox
from parleyd.conversation.session.traffic import Traffic
from parleyd.conversation.session.uplink import Uplink, UplinkCounters
from parleyd.conversation.supervisor.fallback import Fallback
from parleyd.conversation.supervisor.supervisor import Supervisor
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.health import Pulse
from parleyd.core.log_fields import fields
from parleyd.core.text import name_text
from parleyd.hooks.hooks import Hooks
from parleyd.host import handed_over, notify
from parleyd.host.apart import Apart
from parleyd.tools.camera import CameraError
from parleyd.tools.confirmations import BY_BUTTON, BY_COMMAND
from parleyd.tools.device_tools import DeviceTools
from parleyd.usage.allowance import Refusal
from parleyd.usage.ledger import Amount
from parleyd.usage.limits import Usage, UsageLimits
from parleyd.usage.meter import UsageMeter
from parleyd.usage.statement import Statement
from parleyd.usage.store import Store

if TYPE_CHECKING:
    from parleyd.transcript.writer import TranscriptWriter

log = logging.getLogger(__name__)


class Service:
    """start(), then stop(). Raises GivenUpError and UserError, also as DeviceError, MixerError, SecretError.

    on_failure: called, from any thread, if the service cannot go on; `failure` then contains the reason.
    give_up: called while the start waits for a device; True makes start() return early, or raise GivenUpError.
    state_directory: for data that survive the process: mute switch, volume, usage, the transcript, timers, the audit
    log of tools; None: nothing is stored.
    speech_for: makes the voice of announcements, or None; raises the same errors as the maker of agents.
    local_speech_for: likewise of this machine's own. apart: how
    tools and hooks are kept apart from this process; None: as this machine can. fallback: answers while the agent
    cannot.
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
        local_speech_for: Callable[[Config], StreamedSpeech | None] = lambda _config: None,
        apart: Apart | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        self._fallback = fallback
        if fallback is None:
            # Also for a chat of its own and the demo, which have none.
            config = msgspec.structs.replace(config, fallback="off")
        self._config = config
        self._apart = apart or apart_for(config, None, state_directory)
        self._bus = bus
        self._on_failure = on_failure
        self._speech_for = speech_for
        self._local_speech_for = local_speech_for
        self._stops = contextlib.ExitStack()
        self._stopping = False
        self._settings: Callable[[], SettingsReport | None] = lambda: None
        self.failure: UserError | None = None
        has_sound = config.audio.mode == "on"
        self.sound = (
            SoundSystem(
                config,
                microphone,
                speaker,
                bus,
                state_directory,
                self.fail,
                give_up=lambda: give_up() or self.failure is not None,
            )
            if has_sound
            else None
        )
        self._outbox = Outbox(
            Uplink(
                config.gate.uplink,
                pre_roll_ms=config.gate.pre_roll_ms if has_sound else 0,
                capacity_ms=round(config.session.buffer_s * 1000),
            ),
            lost=lambda loss: self._supervisor.tell_loss(loss),
        )
        self._announcer = self._make_announcer(self.sound) if self.sound is not None else None
        self._orders: SpokenOrders | None = None
        self._agent_actions = AgentActions(self, self._announcer)
        self.tools = DeviceTools(
            config.tools,
            self._agent_actions.functions(),
            bus,
            state_directory,
            BY_BUTTON if config.button.is_there and config.button.confirms else BY_COMMAND,
            self._apart,
            _camera_for(agent, config),
        )
        self._dialogue = Dialogue(
            self.sound.playback if self.sound is not None else None,
            self._outbox,
            bus,
            config.barge_in,
            config.continuity,
            self.tools,
        )
        self._hooks = Hooks(config.hooks, bus, self._apart)
        self._traffic = Traffic()
        lines = Lines()
        self._meter = UsageMeter(Store(state_directory), self._used)
        bus.subscribe(self._meter)
        self._usage_limits = UsageLimits(config, self._meter, bus)
        self._budget_notice = BudgetNotice(config, self._announcer, self._dialogue)
        bus.subscribe(self._budget_notice)
        if self._announcer is not None:
            bus.subscribe(ConfirmationNotice(config.tools.confirm_text, self._announcer))
        self._supervisor = Supervisor(
            config,
            agent,
            self._outbox,
            self._dialogue,
            self._usage_limits,
            self._traffic,
            lines,
            woken_for_nothing=self.sound.false_wake if self.sound is not None else lambda: None,
            on_death=self.fail,
            fallback=fallback,
        )
        self._fallback_notice = FallbackNotice(config, self._announcer)
        bus.subscribe(self._fallback_notice)
        self._camera = DeviceCamera(config.camera, self._apart, lambda: self.muted)
        self._uploads = Uploads(
            agent,
            self._dialogue,
            bus,
            self._camera.take,
            self._camera.check,
            None if fallback is None else fallback.agent,
        )
        bus.subscribe(self._watch_pictures)
        self._agent_actions.attach(self._dialogue, self._supervisor, self._uploads)
        bus.subscribe(self._agent_actions.follow)
        if self.sound is not None:
            self._orders = self._make_orders()
            self.sound.attach(
                self._dialogue,
                self._outbox,
                self._supervisor,
                lines,
                None if self._orders is None else self._orders.take,
            )
        self._transcript = _transcript(config, state_directory)
        if self._transcript is not None:
            bus.subscribe(self._transcript)
        self._beside: tuple[Pulse, ...] = ()
        self._watch = Watch(self._pulses, bus, self.fail)
        self._reporter = Reporter(self.sound, self._watch, self._traffic, bus)

    def start(self) -> None:
        """Starts each part and registers its stop; if a part fails, everything is closed again."""
        try:
            self._begin(self._hooks.start, self._hooks.end_stop)
            self._begin(self._meter.start, self._meter.stop)
            if self._transcript is not None:
                self._begin(self._transcript.start, self._transcript.stop)
            if self._orders is not None:
                self._begin(self._orders.start, self._orders.stop)
            if self.sound is not None:
                self._begin(self.sound.start, self.sound.stop)
            self._begin(self._supervisor.start, self._supervisor.stop)
            self._begin(self.tools.start, self.tools.close)
            # These two have threads only while they have work.
            if self._announcer is not None:
                self._stops.callback(self._announcer.stop)
            self._stops.callback(self._uploads.stop)
            self._begin(self._watch.start, self._watch.stop)
        except GivenUpError:
            self.stop()
            if self.failure is not None:
                raise self.failure from None
            raise
        except BaseException:
            self.stop()
            raise
        self._tell_started()
        notify.ready(self._watch.status)

    def _begin(self, start: Callable[[], None], stop: Callable[[], None]) -> None:
        # An incomplete start has to be undone, too.
        self._stops.callback(stop)
        start()
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Stops the parts in reverse order, whatever errors they raise: the session is closed with 1000, then the
        devices; takes about two seconds at most."""
        self._stopping = True
        notify.stopping()
        self._hooks.begin_stop()
        self._stops.close()

    def _tell_started(self) -> None:
        sound = self.sound
        if sound is None:
            log.info("no sound (audio.mode: off): the conversation is in writing")
            self._bus.publish(events.Started(at_s=time.monotonic(), microphone=None, speaker=None, output_latency_ms=0))
            return
        microphone, speaker = sound.capture.device.name, sound.playback.device.name
        log.info(
            "listening on %s, speaking on %s (%d ms of latency)",
            microphone,
            speaker,
            sound.latency_ms,
            extra=fields(state=self._supervisor.state.value),
        )
        self._bus.publish(
            events.Started(
                at_s=time.monotonic(),
                microphone=microphone,
                speaker=speaker,
                output_latency_ms=sound.latency_ms,
            )
        )
        if sound.ears.muted:
            log.warning("the microphone is muted, as it was left; `parleyd unmute` lets it hear")

    def wake(self, *, anyway: bool = False) -> Refusal | None:
        """anyway: ignore a spent budget. Returns the refusal, or None."""
        refusal = None if anyway else self._usage_limits.refusal(of_its_own=False)
        self._supervisor.wake(by_speech=False, anyway=anyway)
        return refusal

    def sleep(self) -> None:
        self._supervisor.sleep()

    def usage(self) -> Usage:
        """The use of sessions, today and this month."""
        return self._usage_limits.usage()

    def usage_by_day(self, days: int) -> Statement:
        """See usage.statement."""
        return self._usage_limits.statement(days)

    def _make_announcer(self, sound: SoundSystem) -> Announcer:
        config = self._config
        return Announcer(
            self._speech_for(config),
            config.announce,
            sound.playback.announcements,
            self._bus,
            timeout_s=config.session.connect_timeout_s,
            on_death=self.fail,
            local=self._local_speech_for(config),
        )

    def _make_orders(self) -> SpokenOrders | None:
        if self._config.barge_in.words == "off":
            return None
        actions = Actions(
            silence=self._dialogue.silence,
            volume=lambda: self.volume,
            set_volume=self.set_volume,
            repeat=self._repeat,
            tell_agent=lambda text: self._dialogue.context(text, None, by_person=False),
        )
        return SpokenOrders(actions, self._bus, self.fail)

    def _repeat(self, text: str) -> bool:
        try:
            self.announce(text[: self._config.announce.max_chars], now=True)
        except AnnouncementRefusedError:
            return False
        return True

    def _used(self) -> Amount:
        return Amount(
            sent_bytes=self._traffic.sent_bytes,
            received_bytes=self._traffic.received_bytes,
            heard_s=self.sound.heard_s if self.sound is not None else 0.0,
            left_s=self._outbox.counters.sound * FRAME_MS / 1000,
        )

    def say(self, text: str) -> Refusal | None:
        """Sends a text to the agent, as if the person had said it; wakes the daemon if it is asleep. Returns the
        refusal, or None."""
        self._dialogue.say(text)
        return self.wake() if self._supervisor.asleep else None

    def announce(self, text: str, *, now: bool) -> int:
        """See Announcer.announce."""
        if self._announcer is None:
            raise AnnouncementRefusedError("no_sound", "this daemon has no sound", "set audio.mode: on, and restart it")
        return self._announcer.announce(text, now=now)

    def announce_sound(self, descriptor: int, name: str, *, now: bool, uid: int | None = None) -> int:
        """See Announcer.announce_sound. descriptor: of an open WAV file; it is taken over, also where it is refused.
        uid: of the user who hands it over; None: the daemon's own.
        Blocks while the head of the file is read, for handed_over.ANSWER_S at most. Raises AnnouncementRefusedError,
        SoundFileError."""
        whose = handed_over.Whose(name_text(name), os.geteuid() if uid is None else uid)
        sound = sound_file.opened(descriptor, whose)
        if self._announcer is None:
            raise AnnouncementRefusedError("no_sound", "this daemon has no sound", "set audio.mode: on, and restart it")
        return self._announcer.announce_sound(sound, name, now=now)

    def context(self, text: str, context_id: str | None = None) -> bool:
        """See AgentInput.context."""
        return self._dialogue.context(text, context_id)

    def user_active(self) -> bool:
        """See AgentInput.user_active."""
        return self._dialogue.user_active()

    def send_file(self, descriptor: int, name: str, text: str | None, uid: int | None = None) -> int:
        """See Uploads.send; wakes the daemon if it is asleep. Blocks like it. Raises UploadError also if a budget is
        spent."""
        refusal = self._usage_limits.refusal(of_its_own=False) if self._supervisor.asleep else None
        if refusal is not None:
            handed_over.close(descriptor)
            raise UploadError(refusal.text, refusal.hint)
        number = self._uploads.send(descriptor, name, text, uid)
        if self._supervisor.asleep:
            self.wake()
        return number

    def look(self, text: str | None) -> int:
        """Takes a picture with the camera and sends it, with a text about it, like send_file. Raises UploadError."""
        try:
            self._camera.check()
        except CameraError as error:
            raise UploadError(str(error), error.hint) from error
        refusal = self._usage_limits.refusal(of_its_own=False) if self._supervisor.asleep else None
        if refusal is not None:
            raise UploadError(refusal.text, refusal.hint)
        number = self._uploads.look(text)
        if self._supervisor.asleep:
            self.wake()
        return number

    def _watch_pictures(self, event: events.Event) -> None:
        if isinstance(event, events.FileWaits):
            self._supervisor.look_again()

    def feedback(self, score: Literal["like", "dislike"] | None) -> bool:
        """See AgentInput.feedback."""
        return self._dialogue.feedback(score)

    @property
    def has_sound(self) -> bool:
        """Whether there is a microphone and a speaker; without them mute and volume have no meaning."""
        return self.sound is not None

    @property
    def muted(self) -> bool:
        return self.sound is not None and self.sound.ears.muted

    def mute(self, on: bool) -> str | None:
        """See MuteSwitch.set."""
        return None if self.sound is None else self.sound.mute_switch.set(on)

    @property
    def volume(self) -> float:
        """The volume, 0 to 1, of the sound or of the mixer."""
        return self.sound.volume if self.sound is not None else 1.0

    def set_volume(self, volume: float) -> None:
        """See SoundSystem.set_volume."""
        if self.sound is not None:
            self.sound.set_volume(volume)

    def look_at_volume(self) -> None:
        """See SoundSystem.look_at_volume."""
        if self.sound is not None:
            self.sound.look_at_volume()

    @property
    def transcript_directory(self) -> Path | None:
        """The folder in which the transcript is written; None: it is switched off."""
        return None if self._transcript is None else self._transcript.directory.absolute()

    def status(self, *, words: bool = False) -> StatusReport:
        """words: also tell what was said last."""
        directory = self.transcript_directory
        return self._reporter.status(
            self._config,
            self.usage(),
            self._hooks.counts,
            self.tools.waiting_approvals,
            self.tools.waiting_confirmations,
            None if directory is None else str(directory),
            self._apart.ways,
            self._settings(),
            tuple(
                RunningTimer(timer.number, timer.label, round(left_s)) for timer, left_s in self.tools.alarm_clock.all()
            ),
            words=words,
        )

    def report_settings(self, report: Callable[[], SettingsReport | None]) -> None:
        """Includes the settings, which are not the service's own, in its status."""
        self._settings = report

    @property
    def health(self) -> str:
        """The state and the troubles, in a few words."""
        return self._watch.status

    def reconfigure(self, config: Config, agent_for: Callable[[Config], Agent]) -> Changes:
        """Puts all changes in force that need no restart. Raises the errors of agent_for, and UserError; then nothing
        has changed."""
        changed = changes(self._config, config)
        config = in_force(self._config, config)
        agent, speech = agent_for(config), self._speech_for(config)
        tools = self.tools.made(config.tools, _camera_for(agent, config))
        # The last two steps that may fail, for they take effect at once.
        if self._fallback is not None:
            self._fallback.reconfigure(config)
        try:
            if self.sound is not None:
                self.sound.reconfigure(config)
        except UserError:
            if self._fallback is not None:
                with contextlib.suppress(UserError):
                    self._fallback.reconfigure(self._config)
            raise
        self._dialogue.reconfigure(config.barge_in, config.continuity)
        self._usage_limits.reconfigure(config)
        self.tools.reconfigure(config.tools, tools)
        self._dialogue.offer(self.tools.tools, self.tools.specs)
        self._apart.hide(places(config))
        self._hooks.reconfigure(config.hooks)
        self._uploads.configured = agent
        self._supervisor.reconfigure(config, agent)
        if self._announcer is not None:
            timeout_s = config.session.connect_timeout_s
            self._announcer.reconfigure(speech, config.announce, timeout_s, self._local_speech_for(config))
        self._camera.config = config.camera
        self._budget_notice.config = self._fallback_notice.config = self._config = config
        return changed

    def watch(self, *pulses: Pulse) -> None:
        """Includes these threads, which are not the service's own, in its health."""
        self._beside += pulses

    def _pulses(self) -> tuple[Pulse, ...]:
        of_sound = self.sound.pulses if self.sound is not None else ()
        of_announcer = (self._announcer.pulse,) if self._announcer is not None else ()
        of_transcript = (self._transcript.pulse,) if self._transcript is not None else ()
        of_orders = (self._orders.pulse,) if self._orders is not None else ()
        of_files = self._meter.pulse, *of_transcript, *self.tools.pulses
        return *of_sound, *of_orders, *of_announcer, *self._supervisor.pulses, *of_files, *self._beside

    @property
    def counters(self) -> UplinkCounters:
        return self._outbox.counters

    def fail(self, what: str, error: BaseException) -> None:
        """A thread has died: ends the service with the reason."""
        log.debug("%s", what, exc_info=error)
        if self._stopping or self.failure is not None:
            # Only the first failure is the reason; later ones follow from it.
            return
        self.failure = UserError(f"{what} failed: {error}", getattr(error, "hint", None), os.EX_SOFTWARE)
        self._on_failure()


def _camera_for(agent: Agent, config: Config) -> CameraSection | None:
    """None: the agent takes no pictures."""
    return config.camera if takes_pictures(agent.capabilities) else None


def _transcript(config: Config, state_directory: Path | None) -> TranscriptWriter | None:
    if not config.transcript.enabled:
        return None
    # Imported here, because most devices write none.
    from parleyd.transcript.writer import transcript_writer

    return transcript_writer(config.transcript, state_directory)
