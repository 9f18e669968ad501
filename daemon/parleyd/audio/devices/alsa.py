"""What ALSA and the kernel know of sound cards now; PortAudio knows only what there was when it made its list."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

_ASOUND = Path("/proc/asound")
# "0 [Audio          ]: USB-Audio - Some headset"; the line after it tells the port, which may be another next time.
_CARD = re.compile(r"^ *(\d+) \[(.*)$", re.MULTILINE)


def cards() -> dict[int, str]:
    """Each card's number and names."""
    try:
        return {int(number): names for number, names in _CARD.findall((_ASOUND / "cards").read_text(errors="replace"))}
    except OSError:
        return {}


def has_card(number: int) -> bool:
    """Quick enough to be asked ten times a second."""
    return (_ASOUND / f"card{number}").exists()


def card_number(device_name: str) -> int | None:
    """Of a device as PortAudio names it, such as "Some headset: USB Audio (hw:0,0)"; None: no hardware of its own."""
    hardware = re.search(r"\(hw:(\d+),\d+\)$", device_name)
    return None if hardware is None else int(hardware[1])


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
