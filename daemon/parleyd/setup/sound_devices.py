"""The microphones and speakers to choose from, by the names that people know. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from parleyd.audio.devices.portaudio_host import CardDevice, Direction
from parleyd.audio.devices.server_devices import ServerDevice, is_hdmi

# Entries of alsa-lib and its plugins, which lead to the same hardware, or to the sound server.
_STOCK = re.compile(
    r"default|pulse|pipewire|sysdefault|front|rear|center_lfe|side|surround\d\d|iec958|spdif|hdmi|dmix|dsnoop|dsp|"
    r"lavrate|samplerate|speexrate|speex|a52|upmix|vdownmix|oss|jack|stiff"
)
_HARDWARE = re.compile(r" \(hw:\d+,\d+\)$")


@dataclass(frozen=True)
class SoundDevice:
    """spec: for audio.input.device or audio.output.device. server_name: the sound server's name, if it has to become
    the server's default. is_default: of the server."""

    label: str
    spec: str
    detail: str = ""
    server_name: str | None = None
    is_default: bool = False

    @property
    def key(self) -> str:
        return self.server_name or self.spec


def sound_devices(
    devices: Sequence[CardDevice],
    direction: Direction,
    server: Sequence[ServerDevice] | None,
    through: str | None,
) -> list[SoundDevice]:
    """server: the sound server's devices; None: no server answers. through: the device of ALSA that leads to it.

    With a server, cards are not listed: the server holds them. HDMI comes last."""
    found: list[SoundDevice] = []
    if server is not None and through is not None:
        found = [SoundDevice(one.description, through, "", one.name, one.is_default) for one in server]
    names = [device.name for device in devices if device.channels(direction)]
    for name in names:
        if _HARDWARE.search(name):
            if not found or server is None:
                # The number of a card changes when another is plugged in; its name does not.
                stable = _HARDWARE.sub("", name)
                is_alone = sum(other.startswith(stable) for other in names) == 1
                found.append(SoundDevice(stable, stable if is_alone else name))
        elif not _STOCK.fullmatch(name) and name not in {one.server_name for one in found}:
            found.append(SoundDevice(name, name, "of ALSA's configuration"))
    if server is None and "default" in names:
        found.append(SoundDevice("default", "default", "what ALSA takes by itself"))
    labels = [one.label for one in found]
    found = [
        replace(one, detail=one.server_name) if one.server_name and labels.count(one.label) > 1 else one
        for one in found
    ]
    return sorted(found, key=lambda one: is_hdmi(f"{one.label} {one.server_name or ''}"))


def preferred(choices: Sequence[SoundDevice], configured: str) -> SoundDevice | None:
    """Returns the device that is proposed: that of the configuration, unless it is only a default; then the default of
    the server, or the first card that is no HDMI output."""
    for one in choices:
        if is_configured(one, configured):
            return one
    return next((one for one in choices if one.is_default), choices[0] if choices else None)


def is_configured(one: SoundDevice, configured: str) -> bool:
    """Whether the configuration names this very device, by a part of its name."""
    return one.server_name is None and configured != "default" and configured.casefold() in one.spec.casefold()


def standard_of(choices: Sequence[SoundDevice]) -> SoundDevice | None:
    """The device for the answer `default`: ALSA's own default where it is a choice, otherwise the sound server's."""
    by_alsa = next((one for one in choices if one.key == "default"), None)
    return by_alsa or next((one for one in choices if one.is_default), None)


def only_hdmi(choices: Sequence[SoundDevice]) -> bool:
    real = [one for one in choices if one.spec != "default" or one.server_name]
    return bool(real) and all(is_hdmi(f"{one.label} {one.server_name or ''}") for one in real)
