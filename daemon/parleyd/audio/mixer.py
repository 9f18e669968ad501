"""The volume, with or without a sound card's own mixer, which is controlled through `amixer` of alsa-utils.

amixer -M uses the scale of alsamixer: equal steps sound equal. A card that hangs delays a caller by TIMEOUT_S at most.
"""

from __future__ import annotations

import logging
import re
import threading

from parleyd.audio.devices import alsa
from parleyd.audio.playback.playback import Playback
from parleyd.config.schema import Mixer
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.host import subprocesses
from parleyd.host.remembered import RememberedVolume

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0


class MixerError(UserError):
    """The mixer cannot be used. hint: what to do about it."""


class AlsaMixer:
    """control: its name in alsamixer. card: its number or name, or any device of ALSA's configuration."""

    def __init__(self, control: str, card: str) -> None:
        self._control = control
        self._card = card
        self._has_switch = False

    def open(self) -> float:
        """Opens the control. Returns its level, 0 to 1. Raises MixerError, also for a control that is not for
        playback."""
        shown = self._run("sget", self._control)
        capabilities = set(shown.partition("Capabilities:")[2].partition("\n")[0].split())
        if not capabilities & {"pvolume", "pvolume-joined", "volume", "volume-joined"}:
            raise MixerError(f"the mixer control '{self._control}' has no playback volume", self._choices())
        self._has_switch = bool(capabilities & {"pswitch", "pswitch-joined", "switch", "switch-joined"})
        return _level(shown)

    def set(self, volume: float) -> float:
        """Sets the level, 0 to 1; 0 also mutes if there is a switch, because the lowest step of some cards is not
        silent. Returns the resulting level: the nearest of the card's steps."""
        switch = [] if not self._has_switch else ["mute" if volume == 0 else "unmute"]
        return _level(self._run("sset", self._control, "playback", f"{round(volume * 100)}%", *switch))

    def _run(self, *words: str) -> str:
        is_card = self._card.isdigit() or self._card in alsa.cards().values()
        device = f"hw:{self._card}" if is_card else self._card
        try:
            command = ["amixer", "-D", device, "-M", *words]
            done = subprocesses.ask(command, timeout_s=TIMEOUT_S, environment={"LC_ALL": "C"})
        except FileNotFoundError:
            text = "audio.output.mixer needs the program amixer, which is not there"
            raise MixerError(text, "apt install alsa-utils, or remove audio.output.mixer") from None
        except subprocesses.LateError:
            text = f"the mixer of card '{self._card}' does not answer within {TIMEOUT_S:g} s"
            raise MixerError(text, "see whether the sound server or the card hangs") from None
        except OSError as error:
            raise MixerError(f"amixer does not run: {error.strerror}", "check its permissions") from error
        if done.status == 0:
            return done.output
        if "Unable to find simple control" in done.errors:
            raise MixerError(f"card '{self._card}' has no mixer control '{self._control}'", self._choices())
        if "Mixer attach" in done.errors or "Invalid card number" in done.errors:
            raise MixerError(f"there is no card '{self._card}' with a mixer", _cards())
        why = (done.last_words() or "no reason given").removeprefix("amixer: ")
        raise MixerError(f"amixer could not use '{self._control}' of card '{self._card}': {why}", "try alsamixer")

    def _choices(self) -> str:
        names = re.findall(r"Simple mixer control '(.*)',\d+\n.*Capabilities:(.*)", self._run("scontents"))
        playing = [f"'{name}'" for name, what in names if re.search(r"\bp?volume\b", what)]
        found = f"choose one of {', '.join(playing)}" if playing else "this card has none that plays; remove the key"
        return f"audio.output.mixer.control: {found}"


def _level(shown: str) -> float:
    """The level of the loudest channel, from amixer's `[45%] [on]`; a channel that is off is silent."""
    channels = re.findall(r"\[(\d+)%\](?: \[[^\]]*dB\])?(?: \[(on|off)\])?", re.sub(r"Capture.*", "", shown))
    return max((int(percent) / 100 for percent, switch in channels if switch != "off"), default=0.0)


def _cards() -> str:
    listed = alsa.cards().values()
    names = f"the cards are {', '.join(listed)}" if listed else "ALSA sees no card at all (aplay -l)"
    return f"audio.output.mixer.card: {names}; `default` is the system's own"


class Volume:
    """The volume of the speaker: the mixer's volume if one is configured, otherwise a factor on the sound.

    configured: audio.output.volume; None: no change. value: 0 to 1, the level that was set or read last.
    The value of set() is used again after a restart, unless the configuration has another volume by then; a mixer
    without a configured volume keeps its own.
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
        self._stands = self.value  # the level in the card's own steps
        self._found = False  # the level was read from the mixer, and not set here since

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
        """A subscriber of the bus: a card that has come back has a volume of its own."""
        if self._mixer is None or not isinstance(event, events.DeviceBack) or event.which != "speaker":
            return
        # A level that was only read is not restored, because buttons may have changed it since.
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
        """Reads the mixer, which buttons on the speaker or alsamixer may have changed. Raises MixerError."""
        if self._mixer is None:
            return
        with self._lock:
            found = self._mixer.open()
            if found != self._stands:
                self._see(found)

    def set(self, volume: float) -> None:
        """Sets the volume by hand. Raises ValueError outside 0 to 1, and MixerError; then nothing has changed."""
        if not 0.0 <= volume <= 1.0:
            raise ValueError(f"a volume is from 0 to 1, not {volume:g}")
        with self._lock:
            self._move(volume)
            self.value = volume
            if not self._as_it_stands:
                self._remembered.remember(volume, self._configured)

    def configure(self, volume: float | None) -> None:
        """Uses a new audio.output.volume, from the file or a profile; only a changed value has an effect. Raises
        MixerError; then nothing has changed."""
        with self._lock:
            if volume == self._configured:
                return
            if volume is not None:
                self._move(volume)
                self.value = volume
                if self._configured is not None:
                    self._remembered.forget()
            elif self._mixer is None and self._remembered.under(self._configured) is not None:
                # A volume set by hand stays, also after the next start.
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
