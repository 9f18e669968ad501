"""What ALSA and the kernel know of sound cards now; PortAudio knows only what there was when it made its list."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

_ASOUND = Path("/proc/asound")
_NODES = Path("/dev/snd")
# "0 [Audio          ]: USB-Audio - Some headset"; the line after it tells the port, which may be another next time.
_CARD = re.compile(r"^ *(\d+) \[(.*)$", re.MULTILINE)


def cards() -> dict[int, str]:
    """Number and names of each card that may be used; a new one is the kernel's for a moment before it is also ours."""
    try:
        listed = _CARD.findall((_ASOUND / "cards").read_text(errors="replace"))
    except OSError:
        return {}
    return {int(number): names for number, names in listed if _may_use(number)}


def _may_use(number: str) -> bool:
    nodes = [*_NODES.glob(f"controlC{number}"), *_NODES.glob(f"pcmC{number}D*")]
    return bool(nodes) and all(os.access(node, os.R_OK | os.W_OK) for node in nodes)


@dataclass(frozen=True, slots=True)
class Place:
    """A card's number, and whose it was when this was made."""

    number: int
    names: str

    @property
    def is_empty(self) -> bool:
        """Quick enough to be asked ten times a second."""
        return not (_ASOUND / f"card{self.number}").exists()

    @property
    def has_the_same_card(self) -> bool:
        return cards().get(self.number) == self.names


def place(device_name: str) -> Place | None:
    """Of a device as PortAudio names it, such as "Some headset: USB Audio (hw:0,0)"; None: no hardware of its own."""
    hardware = re.search(r"\(hw:(\d+),\d+\)$", device_name)
    if hardware is None:
        return None
    names = cards().get(int(hardware[1]))
    return None if names is None else Place(int(hardware[1]), names)


def pcm_name(device_name: str) -> str:
    """What ALSA calls it."""
    hardware = re.search(r"\((hw:\d+,\d+)\)$", device_name)
    return device_name if hardware is None else hardware[1]


def opens(name: str, *, recording: bool) -> bool:
    """Whether the PCM of this name can be opened now; disturbs no other stream.

    alsa-lib, pcm.c: snd_pcm_open(pcm, name, stream, mode); stream 0 plays, 1 records; mode 1 does not wait.
    """
    alsa = ctypes.CDLL("libasound.so.2")
    handle = ctypes.c_void_p()
    if alsa.snd_pcm_open(ctypes.byref(handle), ctypes.c_char_p(name.encode()), int(recording), 1) < 0:
        return False
    alsa.snd_pcm_close(handle)
    return True
