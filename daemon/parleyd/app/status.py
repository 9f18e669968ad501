"""The value behind `parleyd status`, made from the running service. docs/control.md lists its fields."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Mapping

from msgspec import Struct

import parleyd
from parleyd.app.last_words import LastWords, Words
from parleyd.app.metrics import Metrics, MetricsCollector
from parleyd.app.settings import SettingsReport
from parleyd.app.sound_system import SoundSystem
from parleyd.app.watch import Watch
from parleyd.audio.gate.why_held_back import Why
from parleyd.audio.pcm import FRAME_MS
from parleyd.audio.sample_clock import SampleClock
from parleyd.config.programs import runs_programs
from parleyd.config.schema import Config
from parleyd.conversation.session.traffic import Traffic
from parleyd.core import events, health
from parleyd.core.health import Load, Trouble
from parleyd.hooks.hooks import HookCounts
from parleyd.host import resources
from parleyd.host.apart import Ways
from parleyd.usage.limits import Usage

# The state until READY. The supervisor has no such state, because it does not run yet.
STARTING = "starting"


class Device(Struct, frozen=True):
    """present: the device delivers or takes sound."""

    name: str
    present: bool


class Microphone(Device, frozen=True):
    """Levels in dBFS. muted: by command. mute_lasts: mute will survive a restart.
    doubts_for_s: the rest of the false-wake penalty, during which speech has to be louder.
    overflows: how often sound was lost, in the device or because the ears were too slow.
    gain_db: the gain that the levels include; learnt_db: the part of it from audio.input.auto_gain.
    held_back_ms: sound like speech that did not pass the gate since the start, for each reason; held_back_times: the
    number of these sounds; held_back_lately_ms: of the last hour. clock_ppm: by how much the device's clock is faster
    than nominal, in millionths; clock_jumps: how often it jumped, which is sound that was lost unseen. Both since the
    device was opened."""

    muted: bool
    mute_lasts: bool
    level_dbfs: float
    floor_dbfs: float
    somebody_speaks: bool
    doubts_for_s: int
    overflows: int
    gain_db: float
    learnt_db: float
    held_back_ms: dict[str, int]
    held_back_times: dict[str, int]
    held_back_lately_ms: dict[str, int]
    clock_ppm: float
    clock_jumps: int


class Speaker(Device, frozen=True):
    """dropped_ms: the duration of answers dropped so far because the agent was too far ahead. clock_ppm, clock_jumps:
    as of the microphone, where the echo is cancelled. late_frames: frames of the microphone that were there before the
    sound whose echo is in them, so that none was cancelled."""

    volume: float
    latency_ms: int
    underruns: int
    queued_ms: int
    dropped_ms: int
    clock_ppm: float
    clock_jumps: int
    late_frames: int


class Programs(Struct, frozen=True):
    """How tools, hooks and commands of dynamic variables run. way: unit (of systemd's), landlock or none; landlock_abi:
    0 where the kernel has no Landlock. text: the same in words; weaker: what is less than it could be."""

    way: str
    landlock_abi: int
    text: str
    weaker: tuple[str, ...]


class RunningTimer(Struct, frozen=True):
    """label: what it is for, or "". left_s: until it goes off."""

    number: int
    label: str
    left_s: int


class StatusReport(Struct, frozen=True):
    """health: well, starting, trouble or sick. state: one of the supervisor's, or starting. state_s: how long it has
    been in this state. started_s, uptime_s: wall-clock time of the start, and the time since. microphone, speaker: None
    without sound (audio.mode: off). approvals, confirmations: calls of MCP tools, and of this device's, that
    wait for `parleyd approve` or `deny`.
    transcript: the folder in which it is written; None: it is switched off. programs: None where nothing runs one.
    settings: None in a daemon without them. words: what was said last; None: nobody asked for it.
    timers: the next one first. fallback: why the fallback answers instead of the agent; None: it does not."""

    version: str
    started_s: float
    uptime_s: float
    health: str
    troubles: tuple[Trouble, ...]
    state: str
    reason: str
    state_s: float
    provider: str
    conversation_id: str | None
    wake_mode: str
    echo_mode: str
    microphone: Microphone | None
    speaker: Speaker | None
    load: Load
    metrics: Metrics
    usage: Usage
    profile: str | None
    hooks: HookCounts
    approvals: tuple[events.ApprovalWanted, ...]
    confirmations: tuple[events.ConfirmationWanted, ...]
    transcript: str | None = None
    programs: Programs | None = None
    settings: SettingsReport | None = None
    words: Words | None = None
    timers: tuple[RunningTimer, ...] = ()
    fallback: str | None = None


def told_to_agent(status: StatusReport) -> str:
    """The part of the status that an agent can explain to the person, in sentences that can be spoken."""
    told = ["This device is well." if not status.troubles else "This device is in trouble."]
    told += [f"{trouble.text[:1].upper()}{trouble.text[1:].rstrip('.')}." for trouble in status.troubles]
    if status.microphone is not None:
        told.append(_works(status.microphone, "microphone"))
        held_s = round(sum(status.microphone.held_back_lately_ms.values()) / 1000)
        if held_s:
            told.append(f"In the last hour {held_s} seconds of sound like speech were not taken for speech.")
    if status.speaker is not None:
        told.append(_works(status.speaker, "speaker"))
        told.append(f"The volume is {round(status.speaker.volume * 100)} percent.")
    minutes = round(status.uptime_s / 60)
    on_for = f"{minutes} minute{'' if minutes == 1 else 's'}"
    if minutes >= 120:
        on_for = f"{minutes // 60} hours" if minutes < 2880 else f"{minutes // 1440} days"
    told.append(f"It has been running for {on_for}, with version {status.version}.")
    return " ".join(told)


def _works(device: Device, what: str) -> str:
    return f"The {what} {device.name} {'works' if device.present else 'is not there'}."


class Reporter:
    """Follows the bus, and makes a StatusReport from the parts on request."""

    def __init__(self, sound: SoundSystem | None, watch: Watch, traffic: Traffic, bus: events.Bus) -> None:
        self._sound = sound
        self._traffic = traffic
        self._watch = watch
        self._started_s = time.monotonic()
        self._lock = threading.Lock()
        self._collector = MetricsCollector()
        self._last_words = LastWords()
        self._state = STARTING
        self._reason = "the sound devices are being opened" if sound is not None else "the parts are being started"
        self._state_since_s = self._started_s
        self._before_ready: tuple[str, str, float] | None = None
        self._conversation_id: str | None = None
        self._profile: str | None = None
        self._fallback: str | None = None
        self._latency_ms = 0
        bus.subscribe(self._take)

    def _take(self, event: events.Event) -> None:
        with self._lock:
            self._collector.take(event)
            self._last_words.take(event)
            match event:
                case events.Started(output_latency_ms=latency_ms, at_s=at_s):
                    self._latency_ms = latency_ms
                    if self._state == STARTING:
                        now = self._before_ready or ("asleep", "started", at_s)
                        self._state, self._reason, self._state_since_s = now
                case events.StateChanged(after=after, reason=reason, at_s=at_s) if self._state == STARTING:
                    # The supervisor starts before the last parts; its moves are not reported until all parts run.
                    self._before_ready = after, reason, at_s
                case events.StateChanged(after=after, reason=reason, at_s=at_s):
                    self._state, self._reason, self._state_since_s = after, reason, at_s
                    if after != "live":
                        self._conversation_id = None
                case events.ProfileChanged(profile=profile):
                    self._profile = profile
                case events.FallbackBegan(reason=reason):
                    self._fallback = reason
                case events.FallbackOver():
                    self._fallback = None
                case events.SessionOpened(conversation_id=conversation_id):
                    self._conversation_id = conversation_id
                case _:
                    pass

    def status(
        self,
        config: Config,
        usage: Usage,
        hooks: HookCounts,
        approvals: tuple[events.ApprovalWanted, ...],
        confirmations: tuple[events.ConfirmationWanted, ...],
        transcript: str | None = None,
        ways: Ways | None = None,
        settings: SettingsReport | None = None,
        timers: tuple[RunningTimer, ...] = (),
        *,
        words: bool = False,
    ) -> StatusReport:
        """ways: how programs are kept apart from the daemon. words: also tell what was said last."""
        now_s = time.monotonic()
        troubles, load, sound = self._watch.troubles, resources.load(), self._sound
        with self._lock:
            metrics = copy.deepcopy(self._collector.metrics)
            metrics.session_s = round(self._collector.session_s(now_s), 1)
            metrics.heard_s = round(sound.ears.frames * FRAME_MS / 1000, 2) if sound else 0.0
            metrics.speech_s = round(sound.ears.speech_frames * FRAME_MS / 1000, 2) if sound else 0.0
            metrics.sent_bytes, metrics.received_bytes = self._traffic.sent_bytes, self._traffic.received_bytes
            return StatusReport(
                version=parleyd.__version__,
                started_s=round(time.time() - (now_s - self._started_s), 1),
                uptime_s=round(now_s - self._started_s, 1),
                health=health.grade(troubles, is_ready=self._state != STARTING).value,
                troubles=troubles,
                state=self._state,
                reason=self._reason,
                state_s=round(now_s - self._state_since_s, 1),
                provider=config.provider,
                conversation_id=self._conversation_id,
                # Without sound nobody can wake it by speech.
                wake_mode="always" if config.wake.mode == "always" else config.wake.mode if sound else "manual",
                echo_mode=sound.echo.mode if sound else "off",
                microphone=_microphone(sound) if sound else None,
                speaker=_speaker(sound, self._latency_ms) if sound else None,
                load=load,
                metrics=metrics,
                usage=usage,
                profile=self._profile,
                hooks=hooks,
                approvals=approvals,
                confirmations=confirmations,
                transcript=transcript,
                programs=_programs(ways) if ways is not None and runs_programs(config) else None,
                settings=settings,
                words=self._last_words.words(now_s) if words else None,
                timers=timers,
                fallback=self._fallback,
            )


def _programs(ways: Ways) -> Programs:
    return Programs(ways.way.value, ways.abi, ways.in_words(), ways.weaker())


def _microphone(sound: SoundSystem) -> Microphone:
    ears, device, gain = sound.ears, sound.capture.device, sound.capture.gain
    return Microphone(
        name=device.name,
        present="microphone" not in sound.recovery.lost,
        muted=ears.muted,
        mute_lasts=sound.mute_switch.trouble is None,
        level_dbfs=round(ears.level_dbfs, 1),
        floor_dbfs=round(ears.gate.floor.dbfs, 1),
        somebody_speaks=ears.gate.talk_since_s is not None,
        doubts_for_s=ears.gate.penalty.raised_ms // 1000,
        overflows=device.overflows + sound.capture.dropped_periods,
        gain_db=round(gain.db, 1),
        learnt_db=round(gain.auto.db, 1) if gain.auto is not None else 0.0,
        held_back_ms=_by_name(ears.gate.held_back.ms),
        held_back_times=_by_name(ears.gate.held_back.times),
        held_back_lately_ms=_by_name(ears.gate.held_back.lately_ms()),
        clock_ppm=_ppm(sound.capture.clock),
        clock_jumps=sound.capture.clock.resyncs if sound.capture.clock is not None else 0,
    )


def _by_name(counts: Mapping[Why, int]) -> dict[str, int]:
    return {str(why): count for why, count in tuple(counts.items())}


def _speaker(sound: SoundSystem, latency_ms: int) -> Speaker:
    playback = sound.playback
    return Speaker(
        name=playback.device.name,
        present="speaker" not in sound.recovery.lost,
        volume=sound.volume,
        latency_ms=latency_ms,
        underruns=playback.underruns,
        queued_ms=playback.queued_ms,
        dropped_ms=playback.dropped_ms,
        clock_ppm=_ppm(sound.far_end.clock),
        clock_jumps=sound.far_end.clock.resyncs,
        late_frames=sound.far_end.starved,
    )


def _ppm(clock: SampleClock | None) -> float:
    return 0.0 if clock is None else round(clock.drift * 1e6, 1)
