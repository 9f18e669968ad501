"""Puts the right profile in force: by the wall clock, or as a person has chosen.

The clock is read every second, not only at the times of the schedule: the clock of a board without a battery jumps when
the network sets it, and a suspended board may have missed a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from parleyd.audio.mixer import MixerError
from parleyd.config import suggest
from parleyd.config.changes import Changes
from parleyd.config.overlay import overlay
from parleyd.config.profile_sections import AUTO, NONE
from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.health import Pulse
from parleyd.core.log_fields import fields
from parleyd.core.wall_clock import EARLIEST_S
from parleyd.profiles.decision import profile_at

log = logging.getLogger(__name__)

TICK_S = 1.0
# The delay before a profile that could not be put in force is tried again.
RETRY_S = 60.0


class ApplyError(UserError):
    """A configuration that cannot be put in force. hint: what to do about it."""


class UnknownProfileError(UserError):
    """The profile does not exist. hint: the existing profiles."""


class Loud(Protocol):
    """The volume of the daemon, if it has sound. set_volume raises MixerError."""

    @property
    def has_sound(self) -> bool: ...

    @property
    def volume(self) -> float: ...

    def set_volume(self, volume: float) -> None: ...


class Profiles:
    """Use first_config() for the first configuration, start() when the daemon runs with it, and stop(). Thread-safe.

    wall: seconds since 1970.
    """

    def __init__(
        self,
        config: Config,
        bus: events.Bus,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._file = config
        self._bus = bus
        self._wall = wall
        self._lock = threading.Lock()
        self._loud: Loud | None = None
        self._chosen = AUTO
        self._current: str | None = None
        self._in_force = config
        self._volume_before: float | None = None
        self._failed: tuple[str | None, float] | None = None
        self._stopping = False
        self._nudged = threading.Event()
        self._thread = threading.Thread(target=self._run, name="profiles", daemon=True)
        self.pulse = Pulse("profiles")

    def first_config(self) -> Config:
        """The configuration with the profile of the present hours, but with the file's volume, which returns after the
        profile."""
        config = self._with(self._wanted())
        plain = overlay(config, {"audio": {"output": {"volume": self._file.audio.output.volume}}})
        self._in_force = plain
        return plain

    def start(
        self, loud: Loud, apply: Callable[[Config], Changes], on_death: Callable[[str, BaseException], None]
    ) -> None:
        """apply: puts a configuration in force without ending a session; raises ApplyError.

        on_death: told when the thread ends by an error.
        """
        self._apply = apply
        self._on_death = on_death
        with self._lock:
            self._loud = loud
            self._look()
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join(0.3)

    @property
    def current(self) -> str | None:
        """The profile in force."""
        return self._current

    @property
    def chosen(self) -> str:
        """AUTO, NONE, or the name of a profile."""
        return self._chosen

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._file.profiles)

    def choose(self, name: str) -> None:
        """Chooses AUTO, NONE, or the name of a profile, until the next choice or the end of the daemon.

        Raises UnknownProfileError and ApplyError; then nothing has changed.
        """
        with self._lock:
            if name not in (AUTO, NONE, *self._file.profiles):
                near = suggest.choice(name, (AUTO, NONE, *self._file.profiles))
                there = ", ".join((*self._file.profiles, NONE, AUTO))
                hint = f"did you mean {near}?" if near else f"choose one of: {there}"
                raise UnknownProfileError("there is no profile of this name", hint)
            before, self._chosen = self._chosen, name
            try:
                self._switch(self._wanted(), "command")
            except ApplyError:
                self._chosen = before
                raise

    def rebase(self, config: Config) -> Changes:
        """Uses a new configuration, after the file was read again. Raises ApplyError; then nothing has changed."""
        with self._lock:
            before = self._file, self._chosen
            self._file = config
            self._nudged.set()
            if self._chosen not in (AUTO, NONE, *config.profiles):
                self._chosen = AUTO
            try:
                changed = self._switch(self._wanted(), "reload", even_so=True)
            except ApplyError:
                self._file, self._chosen = before
                raise
            if before[1] != self._chosen:
                log.warning("the profile %s, which was chosen, is gone; the schedule decides again", before[1])
            return changed

    def _run(self) -> None:
        try:
            while not self._stopping:
                self.pulse.beat()
                with self._lock:
                    self._look()
                if not self._file.profiles:
                    # Without a profile the hour changes nothing, until the file is read again.
                    self.pulse.rest()
                self._nudged.wait(TICK_S if self._file.profiles else None)
                self._nudged.clear()
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_death("profiles", error)

    # ------------------------------------------------------------ under the lock

    def _look(self) -> None:
        wanted, now_s = self._wanted(), time.monotonic()
        if wanted == self._current:
            self._failed = None
            return
        is_told = self._failed is not None and self._failed[0] == wanted
        if is_told and self._failed is not None and now_s < self._failed[1] + RETRY_S:
            return
        try:
            self._switch(wanted, "schedule")
        except ApplyError as error:
            self._failed = wanted, now_s
            level = logging.DEBUG if is_told else logging.ERROR
            log.log(level, "the profile %s cannot be put in force: %s", wanted or NONE, error,
                    extra=fields(reason=str(error), hint=error.hint))  # fmt: skip

    def _wanted(self) -> str | None:
        wall_s = self._wall()
        # A board without a clock battery starts in 1970; without a set clock there is no schedule.
        local = datetime.fromtimestamp(wall_s) if wall_s >= EARLIEST_S else None
        return profile_at(self._file.profiles, self._chosen, local)

    def _with(self, name: str | None) -> Config:
        return self._file if name is None else overlay(self._file, self._file.profiles[name].settings)

    def _switch(self, name: str | None, by: str, *, even_so: bool = False) -> Changes:
        """even_so: also if the same profile stays in force. Raises ApplyError; then nothing has changed."""
        before, config = self._in_force, self._with(name)
        if not even_so and name == self._current and config == before:
            return Changes()
        if self._loud is None:
            raise ApplyError("the daemon is starting", "try again in a moment")
        volume = self._loud.volume
        # The mixer first, because it may fail alone; the other changes succeed or fail together.
        moved = self._bring_volume_back(self._loud, before, config)
        try:
            changed = self._apply(config)
        except ApplyError:
            if moved:
                self._undo_volume(self._loud, volume)
            raise
        self._mind_volume(before, config, volume)
        self._in_force, self._failed = config, None
        if name != self._current:
            self._current = name
            done = Changes(changed.now, changed.next_session).in_words()
            log.info("profile: %s, by %s; %s", name or NONE, by, done)
            self._bus.publish(events.ProfileChanged(at_s=time.monotonic(), profile=name, by=by))
        return changed

    def _bring_volume_back(self, loud: Loud, before: Config, after: Config) -> bool:
        """If the file names no volume, the volume from before a profile returns when the profile ends. Returns whether
        the volume was changed. Raises ApplyError."""
        was_set, is_set = (config.audio.output.volume is not None for config in (before, after))
        if not was_set or is_set or self._volume_before is None or not loud.has_sound:
            return False
        try:
            loud.set_volume(self._volume_before)
        except MixerError as error:
            raise ApplyError(str(error), error.hint) from error
        return True

    def _undo_volume(self, loud: Loud, volume: float) -> None:
        try:
            loud.set_volume(volume)
        except MixerError as error:
            log.warning("the profile stays, but not its volume: %s; %s", error, error.hint,
                        extra=fields(reason=str(error), hint=error.hint))  # fmt: skip

    def _mind_volume(self, before: Config, after: Config, volume: float) -> None:
        was_set, is_set = (config.audio.output.volume is not None for config in (before, after))
        if is_set and not was_set:
            self._volume_before = volume
        elif was_set and not is_set:
            self._volume_before = None
