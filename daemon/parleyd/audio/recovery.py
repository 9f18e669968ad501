"""Recovers lost sound devices: pure decisions about what is lost, what to do and when, and the thread that does it.

Input and output are recovered together on purpose: PortAudio's list of devices belongs to the process, and can only be
renewed while no stream is open. To avoid disturbing a healthy device, ALSA is asked first whether the lost one can be
opened; and a device that is back in its old place is opened without a new list.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from parleyd.audio.capture.capture import Capture
from parleyd.audio.devices import alsa
from parleyd.audio.devices.deadlines import hang
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.native_output import portaudio_muted
from parleyd.audio.devices.portaudio import Card
from parleyd.audio.devices.portaudio_host import host
from parleyd.audio.playback.playback import Playback
from parleyd.core import events
from parleyd.core.health import Pulse
from parleyd.core.log_fields import NOTICE, fields

log = logging.getLogger(__name__)

Which = Literal["microphone", "speaker"]

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 2.0
# How long a stream must have ended before it counts as lost; a sharp cut ends a stream for some milliseconds.
ENDED_S = 0.5
# How often a microphone that delivers only zeros is reopened; after that it is assumed to be muted.
SILENT_TRIES = 2
# How long waiting sound is kept for a lost speaker.
KEEP_ANSWER_S = 5.0

# The interval of the checks while a device is lost, or its sound is late; while all is well, and checks only cost; and
# while the microphone rests, behind a sound server whose stream outlives the card, and the speaker is closed.
_LOOK_S, _CALM_LOOK_S, _RESTING_LOOK_S = 0.1, 0.25, 1.0
# From this delay of periods PortAudio may be printing messages.
_SUSPECT_S = 0.2
# A device that is being reopened gives no sign; if that takes longer than this, its loss is reported.
_LONG_S = 3.0


# ---------------------------------------------------------------- the decisions


class Sign(Struct, frozen=True):
    """The observations of a device."""

    last_period_s: float
    """Monotonic time of the last period."""
    last_sound_s: float | None
    """Monotonic time of the last period that was not digital silence; None for a speaker, whose zeros have no
    meaning."""
    active: bool
    """False if the device certainly delivers nothing any more; True is no proof that it does."""


class Lost(Struct, frozen=True):
    """The report that a device is lost or muted."""

    since_s: float
    """Monotonic time of the last sign of life."""
    muted: bool
    """True if it delivers periods, but only of digital silence."""


class Back(Struct, frozen=True):
    """The report that a device is back."""

    away_s: float
    """The duration for which it was lost or muted, in seconds."""


class Health:
    """The health of one device, open since opened_s. Pure."""

    def __init__(self, stall_s: float, opened_s: float) -> None:
        self._stall_s = stall_s
        self._opened_s = opened_s
        self._open = True
        self._lost: Lost | None = None
        self._tries = 0
        self._delay_s = FIRST_DELAY_S
        self._next_try_s = 0.0
        self._often_muted = False  # zeros are normal for this microphone
        self._silence_told = False  # and there was no sound since

    @property
    def lost(self) -> bool:
        """Whether the device is lost; False if it is only muted."""
        return self._lost is not None and not self._lost.muted

    @property
    def gently(self) -> bool:
        """Whether the next try reopens only this device, if possible. For a microphone that may be muted the second try
        reopens all devices."""
        return self.lost or self._tries == 0

    def look(self, now_s: float, sign: Sign) -> Lost | Back | None:
        """Call it often. Returns each report once."""
        alive_s = max(sign.last_period_s, self._opened_s)
        quiet_s = now_s - alive_s
        if self._open and (quiet_s >= self._stall_s or (quiet_s >= ENDED_S and not sign.active)):
            self._open = False
            if self.lost:
                return None
            return self._lose(Lost(alive_s, muted=False), now_s)
        if sign.last_sound_s is not None and sign.last_sound_s > self._opened_s:
            self._silence_told = False
        if self._lost is None:
            if sign.last_sound_s is None or self._often_muted:
                return None
            sounded_s = max(sign.last_sound_s, self._opened_s)
            return self._lose(Lost(sounded_s, muted=True), now_s) if now_s - sounded_s >= self._stall_s else None
        if self._lost.muted:
            sounds = sign.last_sound_s is not None and sign.last_sound_s > self._lost.since_s
        else:
            sounds = self._open and sign.last_period_s > self._opened_s
        return self._hint(now_s) if sounds else None

    def _lose(self, lost: Lost, now_s: float) -> Lost | None:
        was, self._lost = self._lost, lost
        self._next_try_s = now_s
        self._tries = 0
        self._delay_s = FIRST_DELAY_S
        if lost.muted:
            told, self._silence_told = self._silence_told, True
            return None if told else lost
        return lost if was is None or was.muted else None

    def _hint(self, now_s: float) -> Back:
        assert self._lost is not None
        if self._lost.muted and now_s - self._opened_s >= self._stall_s:
            self._often_muted = True
        since_s = self._lost.since_s
        self._lost = None
        return Back(now_s - since_s)

    def wants_reopening(self, now_s: float, *, quiet: bool) -> bool:
        """Whether to reopen the device now. quiet: nothing is being played, so the speaker may be interrupted for a
        microphone that may be muted."""
        if self._lost is None or now_s < self._next_try_s:
            return False
        if self._lost.muted:
            return quiet and self._tries < SILENT_TRIES and now_s - self._opened_s >= self._stall_s
        return not self._open

    def hurry(self, now_s: float) -> None:
        """A device was plugged in or out: try now."""
        if self.lost:
            self._next_try_s = now_s
            self._delay_s = FIRST_DELAY_S

    def reopened(self, now_s: float, *, success: bool) -> Lost | None:
        """Takes the result of a try, also for a healthy device. Returns the reports."""
        self._tries += 1
        self._open = success
        told = None
        if success:
            self._opened_s = now_s
        elif not self.lost:
            told = self._lose(Lost(now_s, muted=False), now_s)
        self._next_try_s = now_s + self._delay_s
        self._delay_s = min(2 * self._delay_s, LONGEST_DELAY_S)
        return told


# ---------------------------------------------------------------- the thread


class _Patient(Struct, eq=False):
    which: Which
    card: Card[Any]
    health: Health
    sign: Callable[[], Sign]
    release: Callable[[], None]
    regain: Callable[[], object]


class Recovery:
    """Watches the sound cards of capture and playback, once both are open, and reopens lost ones.

    on_failure(what, error): PortAudio hangs, or the thread has died; the service cannot go on. Files and null devices
    are not touched.
    """

    def __init__(
        self,
        stall_s: float,
        capture: Capture,
        playback: Playback,
        bus: events.Bus,
        on_failure: Callable[[str, BaseException], None],
    ) -> None:
        self._stall_s = stall_s
        self._capture = capture
        self._playback = playback
        self._bus = bus
        self._on_failure = on_failure
        self._patients: list[_Patient] = []
        self._speaker_lost_s: float | None = None  # when the loss was noticed
        self._muted = False
        self._cards: dict[int, str] = {}
        self._helper: threading.Thread | None = None
        self._helper_since_s = 0.0
        self._outcome: dict[Which, bool] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self.pulse = Pulse("devices")

    @property
    def watches_speaker(self) -> bool:
        return isinstance(self._playback.device, Card)

    @property
    def lost(self) -> tuple[str, ...]:
        """The lost devices, of microphone and speaker."""
        return tuple(patient.which for patient in self._patients if patient.health.lost)

    def start(self) -> None:
        now_s = time.monotonic()
        microphone, speaker = self._capture.device, self._playback.device
        if isinstance(microphone, Card):
            capture = self._capture
            self._patients.append(
                _Patient(
                    "microphone",
                    microphone,
                    Health(self._stall_s, now_s),
                    lambda: Sign(capture.last_period_s, capture.last_sound_s, microphone.active),
                    capture.stop,
                    capture.start,
                )
            )
        if isinstance(speaker, Card):
            playback, card = self._playback, speaker

            def sign() -> Sign:
                if not playback.rests:
                    return Sign(playback.last_period_s, None, card.active)
                # It takes nothing, on purpose. Only a card that is unplugged shows itself.
                last_s = time.monotonic() if card.is_there else playback.last_period_s
                return Sign(last_s, None, card.is_there)

            self._patients.append(
                _Patient(
                    "speaker",
                    speaker,
                    Health(self._stall_s, now_s),
                    sign,
                    playback.release,
                    playback.regain,
                )
            )
        if self._patients:
            self._thread.start()

    def stop(self) -> None:
        """No device is touched after the return. If PortAudio hangs, it waits a second at most."""
        self._stopping.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(0.5)
        helper = self._helper
        if helper is not None:
            helper.join(1.0)

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as muted:
                while not self._stopping.wait(self._next_look_s):
                    self.pulse.beat()
                    self._mute(muted)
                    if not self._look(time.monotonic()):
                        return
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_failure("the watch over the sound devices", error)

    @property
    def _next_look_s(self) -> float:
        if self._muted or self._helper:
            return _LOOK_S
        is_closed = self._playback.rests or not self.watches_speaker
        return _RESTING_LOOK_S if is_closed and self._capture.rests else _CALM_LOOK_S

    def _mute(self, muted: contextlib.ExitStack) -> None:
        """Mutes PortAudio, which prints messages about a lost device in an endless loop until it is closed."""
        now_s = time.monotonic()
        ill = any(p.health.lost or now_s - p.sign().last_period_s > _SUSPECT_S for p in self._patients)
        if not ill:
            muted.close()
        elif not self._muted:
            muted.enter_context(portaudio_muted(keep_others=False))
        self._muted = ill

    def _look(self, now_s: float) -> bool:
        """Makes one check. Returns whether to go on."""
        if (hangs := hang()) is not None:
            self._on_failure("sound", hangs)
            return False
        if self._helper is not None and not self._helper.is_alive():
            self._helper = None
            for patient in self._patients:
                if patient.which in self._outcome:
                    success = self._outcome[patient.which]
                    self._tell(patient, patient.health.reopened(now_s, success=success))
        if self._helper is not None and now_s - self._helper_since_s < _LONG_S:
            return True
        for patient in self._patients:
            self._tell(patient, patient.health.look(now_s, patient.sign()))
        if self._speaker_lost_s is not None and now_s - self._speaker_lost_s >= KEEP_ANSWER_S:
            self._playback.forsake(True)
        if self._helper is not None:
            return True
        any_lost = any(patient.health.lost for patient in self._patients)
        if any_lost and (cards := alsa.cards()) != self._cards:
            self._cards = cards
            for patient in self._patients:
                patient.health.hurry(now_s)
        # A microphone that may only be muted waits until nothing is more urgent.
        quiet = not any_lost and not self._playback.audible(now_s)
        ill = [p for p in self._patients if p.health.wants_reopening(now_s, quiet=quiet)]
        if ill:
            self._outcome = {}
            self._helper_since_s = now_s
            helper = threading.Thread(target=self._reopen, args=(ill,), name="devices reopening", daemon=True)
            try:
                helper.start()
                self._helper = helper
            except RuntimeError as error:
                # The next look tries again.
                log.debug("no thread to reopen a device: %s", error)
        return True

    # ------------------------------------------------------------ the helper

    def _reopen(self, ill: list[_Patient]) -> None:
        """Reopens devices. Any call here may hang; the thread `devices` watches the time."""
        outcome: dict[Which, bool] = dict.fromkeys((p.which for p in ill), False)
        self._outcome = outcome
        gone = [p for p in self._patients if p in ill or p.health.lost]
        well = [p for p in self._patients if p not in gone]
        for patient in gone:
            patient.release()
        prospects = {p.which: p.card.prospect() for p in gone}
        log.debug("prospects: %s", ", ".join(f"{which} {prospect}" for which, prospect in prospects.items()))
        # PortAudio is not asked to open a device that will fail, because that may crash while another stream runs
        # (portaudio.py).
        hopeful = [p for p in gone if prospects[p.which] != "none"]
        if not any(p in ill for p in hopeful):
            return
        # A device in its old place needs no new list, and the healthy one is not disturbed.
        as_listed = "new list" not in prospects.values() and all(p.health.gently for p in ill)
        if well and as_listed and self._regain(hopeful, outcome):
            return
        for patient in well:
            patient.release()
            outcome[patient.which] = False
        if not host.refresh():
            # A stream is still being closed.
            return
        self._regain(hopeful + well, outcome)
        host.unload_unused()

    def _regain(self, patients: list[_Patient], outcome: dict[Which, bool]) -> bool:
        """Reopens the devices with a new list. Returns whether all are open."""
        for patient in patients:
            if self._stopping.is_set():
                break
            try:
                patient.regain()
                outcome[patient.which] = True
            except (DeviceError, MemoryError) as error:
                outcome[patient.which] = False
                log.debug("the %s: %s", patient.which, error, extra=fields(device=patient.card.name))
        return all(outcome.get(patient.which) for patient in patients)

    # ------------------------------------------------------------ telling

    def _tell(self, patient: _Patient, what: Lost | Back | None) -> None:
        which, name = patient.which, patient.card.name
        now_s = time.monotonic()
        if isinstance(what, Lost):
            if which == "speaker":
                self._speaker_lost_s = now_s
            if what.muted:
                text = f"the microphone '{name}' delivers digital silence"
                hint = (
                    "see that its mute switch is off and its capture volume is up (alsamixer, pavucontrol); if it has "
                    "several channels, they may cancel each other: set audio.input.channel to 1"
                )
            else:
                text = f"the {which} '{name}' is gone; it is looked for until it is back"
                hint = "check its plug and its cable, and whether the sound server runs"
            log.warning("%s; %s", text, hint, extra=fields(device=name, hint=hint))
            cause = "digital silence" if what.muted else "no sound"
            self._bus.publish(events.DeviceLost(at_s=what.since_s, which=which, name=name, cause=cause, hint=hint))
            self._bus.publish(events.Trouble(at_s=now_s, text=text, hint=hint))
        elif isinstance(what, Back):
            if which == "speaker":
                self._speaker_lost_s = None
                self._playback.forsake(False)
            away_s = round(what.away_s, 1)
            about = fields(device=name, away_s=away_s)
            log.log(NOTICE, "the %s '%s' is back after %.1f s", which, name, away_s, extra=about)
            self._bus.publish(events.DeviceBack(at_s=now_s, which=which, name=name, away_s=what.away_s))
