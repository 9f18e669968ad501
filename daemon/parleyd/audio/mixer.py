"""The volume of a sound card's own mixer, through `amixer` of alsa-utils; and what the volume is, with or without one.

amixer -M counts as alsamixer does: equal steps sound equal. A card that hangs holds up nobody for more than TIMEOUT_S.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import threading

from parleyd.audio.devices import alsa
from parleyd.audio.playback.playback import Playback
from parleyd.config.schema import Mixer
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.host.remembered import RememberedVolume

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0


class MixerError(UserError):
    """The mixer cannot be used. hint: what to do about it."""


class AlsaMixer:
    """control: as alsamixer names it. card: its number or name, or any device that ALSA's configuration knows."""

    def __init__(self, control: str, card: str) -> None:
        self._control = control
        self._card = card
        self._has_switch = False

    def open(self) -> float:
        """→ where it stands, 0 to 1. Raises MixerError, also for a control that does not play."""
        shown = self._run("sget", self._control)
        capabilities = set(shown.partition("Capabilities:")[2].partition("\n")[0].split())
        if not capabilities & {"pvolume", "pvolume-joined", "volume", "volume-joined"}:
            raise MixerError(f"the mixer control '{self._control}' has no playback volume", self._choices())
        self._has_switch = bool(capabilities & {"pswitch", "pswitch-joined", "switch", "switch-joined"})
        return _level(shown)

    def set(self, volume: float) -> float:
        """0 to 1; 0 also mutes where there is a switch, for the lowest step of some cards is not silence. → where it
        stands then: the nearest of the card's steps."""
        switch = [] if not self._has_switch else ["mute" if volume == 0 else "unmute"]
        return _level(self._run("sset", self._control, "playback", f"{round(volume * 100)}%", *switch))

    def _run(self, *words: str) -> str:
        is_card = self._card.isdigit() or self._card in alsa.cards().values()
        device = f"hw:{self._card}" if is_card else self._card
        try:
            done = subprocess.run(
                ["amixer", "-D", device, "-M", *words],
                env=os.environ | {"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            text = "audio.output.mixer needs the program amixer, which is not there"
            raise MixerError(text, "apt install alsa-utils, or remove audio.output.mixer") from None
        except OSError as error:
            raise MixerError(f"amixer does not run: {error.strerror}", "check its permissions") from error
        except subprocess.TimeoutExpired:
            text = f"the mixer of card '{self._card}' does not answer within {TIMEOUT_S:g} s"
            raise MixerError(text, "see whether the sound server or the card hangs") from None
        if done.returncode == 0:
            return done.stdout
        if "Unable to find simple control" in done.stderr:
            raise MixerError(f"card '{self._card}' has no mixer control '{self._control}'", self._choices())
        if "Mixer attach" in done.stderr or "Invalid card number" in done.stderr:
            raise MixerError(f"there is no card '{self._card}' with a mixer", _cards())
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1].removeprefix("amixer: ")
        raise MixerError(f"amixer could not use '{self._control}' of card '{self._card}': {why}", "try alsamixer")

    def _choices(self) -> str:
        names = re.findall(r"Simple mixer control '(.*)',\d+\n.*Capabilities:(.*)", self._run("scontents"))
        playing = [f"'{name}'" for name, what in names if re.search(r"\bp?volume\b", what)]
        found = f"choose one of {', '.join(playing)}" if playing else "this card has none that plays; remove the key"
        return f"audio.output.mixer.control: {found}"


def _level(shown: str) -> float:
    """The loudest of its channels, by amixer's `[45%] [on]`; what is switched off is silent."""
    channels = re.findall(r"\[(\d+)%\](?: \[[^\]]*dB\])?(?: \[(on|off)\])?", re.sub(r"Capture.*", "", shown))
    return max((int(percent) / 100 for percent, switch in channels if switch != "off"), default=0.0)


def _cards() -> str:
    listed = alsa.cards().values()
    names = f"the cards are {', '.join(listed)}" if listed else "ALSA sees no card at all (aplay -l)"
    return f"audio.output.mixer.card: {names}; `default` is the system's own"


class Volume:
    """How loud the speaker is: the mixer's volume if one is configured, else that of the sound that is played.

    configured: audio.output.volume; None leaves things as they are. value: 0 to 1, as it was set or found here last.
    What set() has set comes back with the next start, unless the configuration names another volume by then; a mixer
    that is left as it stands keeps its own.
    """

    def __init__(
        self, playback: Playback, mixer: Mixer, configured: float | None, remembered: RememberedVolume
    ) -> None:
        self._playback = playback
        self._mixer = None if mixer.control is None else AlsaMixer(mixer.control, mixer.card)
        self._configured = configured
        self._remembered = remembered
        self._lock = threading.Lock()
        self.value = 1.0 if configured is None else configured
        self._stands = self.value  # by the card's own steps
        self._found = False  # so, and not moved here since

    @property
    def _as_it_stands(self) -> bool:
        return self._mixer is not None and self._configured is None

    def start(self) -> None:
        """Raises MixerError."""
        with self._lock:
            found = None if self._mixer is None else self._mixer.open()
            if found is not None and self._as_it_stands:
                self._see(found)
                return
            last = self._remembered.under(self._configured)
            if last is not None and last != self.value:
                words = "the volume is %d%%, as it was set last, and not the configuration's %d%%"
                log.info(words, round(last * 100), round(self.value * 100))
                self.value = last
            self._move(self.value)

    def __call__(self, event: events.Event) -> None:
        """On the bus: a card that was away has come back with a volume of its own."""
        if self._mixer is None or not isinstance(event, events.DeviceBack) or event.which != "speaker":
            return
        # Buttons may have moved since what was found, and nobody has asked for that here.
        if not (self._as_it_stands and self._found):
            try:
                threading.Thread(target=self._restore, name="mixer", daemon=True).start()
            except RuntimeError as error:
                log.warning("the volume is not what it was before the speaker was away: %s; set it again", error)

    def _restore(self) -> None:
        try:
            with self._lock:
                self._move(self.value)
        except MixerError as error:
            log.warning("the volume is not what it was before the speaker was away: %s; %s", error, error.hint)

    def look(self) -> None:
        """Somebody else may have moved the mixer: buttons on the speaker, alsamixer. Raises MixerError."""
        if self._mixer is None:
            return
        with self._lock:
            found = self._mixer.open()
            if found != self._stands:
                self._see(found)

    def set(self, volume: float) -> None:
        """By hand. Raises ValueError outside 0 to 1, and MixerError; then nothing has changed."""
        if not 0.0 <= volume <= 1.0:
            raise ValueError(f"a volume is from 0 to 1, not {volume:g}")
        with self._lock:
            self._move(volume)
            self.value = volume
            if not self._as_it_stands:
                self._remembered.remember(volume, self._configured)

    def configure(self, volume: float | None) -> None:
        """What audio.output.volume is now, by the file or by a profile; only another one than before moves anything.
        Raises MixerError; then nothing has changed."""
        with self._lock:
            if volume == self._configured:
                return
            if volume is not None:
                self._move(volume)
                self.value = volume
                if self._configured is not None:
                    self._remembered.forget()
            elif self._mixer is None and self._remembered.under(self._configured) is not None:
                # What was set by hand stays as it is, after the next start, too.
                self._remembered.remember(self.value, None)
            self._configured = volume

    def _see(self, found: float) -> None:
        self.value = self._stands = found
        self._found = True

    def _move(self, volume: float) -> None:
        if self._mixer is None:
            self._playback.set_volume(volume)
        else:
            self._stands = self._mixer.set(volume)
        self._found = False
