"""Asks ALSA and the kernel about the present sound cards; PortAudio knows only the cards from the time of its list."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

# Not /proc/asound, which a hardened unit does not see (ProcSubset=pid).
_CARDS = Path("/sys/class/sound")
_NODES = Path("/dev/snd")
# The deviation that PortAudio accepts for a rate (RATE_MAX_DEVIATE_RATIO): some cards divide a clock and reach no rate
# exactly.
_RATE_OFF = 0.01


def cards() -> dict[int, str]:
    """Number and id of each card that this process may use; a new card is not accessible for a moment.

    The kernel makes the id from the card's name, such as Headset; a second card of this kind gets Headset_1.
    """
    found: dict[int, str] = {}
    folders: list[Path] = []
    with contextlib.suppress(OSError):
        folders = list(_CARDS.glob("card[0-9]*"))
    for folder in folders:
        with contextlib.suppress(OSError):
            number = folder.name.removeprefix("card")
            if number.isdigit() and _may_use(number):
                found[int(number)] = (folder / "id").read_text().strip()
    return found


def _may_use(number: str) -> bool:
    nodes = [*_NODES.glob(f"controlC{number}"), *_NODES.glob(f"pcmC{number}D*")]
    return bool(nodes) and all(os.access(node, os.R_OK | os.W_OK) for node in nodes)


class Place(Struct, frozen=True):
    """A card's number, and the id that it had when this object was made."""

    number: int
    """The card's number, as in hw:NUMBER."""
    card_id: str
    """The id that the card with this number had."""

    @property
    def is_empty(self) -> bool:
        """Whether the place is empty; quick enough to be called ten times a second."""
        return not (_CARDS / f"card{self.number}").exists()

    @property
    def has_the_same_card(self) -> bool:
        return cards().get(self.number) == self.card_id


def place(device_name: str) -> Place | None:
    """The place of a device with PortAudio's name for it, such as "Some headset: USB Audio (hw:0,0)"; None: the device
    has no hardware of its own."""
    hardware = re.search(r"\(hw:(\d+),\d+\)$", device_name)
    if hardware is None:
        return None
    card_id = cards().get(int(hardware[1]))
    return None if card_id is None else Place(int(hardware[1]), card_id)


def unlisted(device_names: Iterable[str]) -> list[str]:
    """Cards without a device in PortAudio's list: usually another program holds them."""
    listed = {found.number for name in device_names if (found := place(name)) is not None}
    return [f"the card '{card_id}'" for number, card_id in sorted(cards().items()) if number not in listed]


def pcm_name(device_name: str) -> str:
    """ALSA's name of the device."""
    hardware = re.search(r"\((hw:\d+,\d+)\)$", device_name)
    return device_name if hardware is None else hardware[1]


def opens(name: str, *, recording: bool, rate_hz: int) -> bool:
    """Whether the PCM of this name can be opened now, at this rate, and made ready; disturbs no other stream.

    A sound server's PCM can be opened although the device behind it is lost; it fails when it is prepared, which is the
    last step of snd_pcm_hw_params. alsa-lib, pcm.c: snd_pcm_open(pcm, name, stream, mode); stream 0 plays, 1 records;
    mode 1 does not wait.
    """
    alsa = ctypes.CDLL("libasound.so.2")
    pcm, choice, rate = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint(rate_hz)
    if alsa.snd_pcm_open(ctypes.byref(pcm), ctypes.c_char_p(name.encode()), int(recording), 1) < 0:
        return False
    try:
        alsa.snd_pcm_hw_params_malloc(ctypes.byref(choice))
        is_ready: bool = (
            alsa.snd_pcm_hw_params_any(pcm, choice) >= 0
            and alsa.snd_pcm_hw_params_set_rate_near(pcm, choice, ctypes.byref(rate), None) >= 0
            and abs(rate.value - rate_hz) <= rate_hz * _RATE_OFF
            and alsa.snd_pcm_hw_params(pcm, choice) >= 0
        )
        return is_ready
    finally:
        alsa.snd_pcm_hw_params_free(choice)
        alsa.snd_pcm_close(pcm)


def unload_unused() -> None:
    """Unloads the plugins that no open device uses, with the libraries beneath them.

    For the list of devices each plugin of ALSA's is loaded, and stays: that for AC-3 brings a video codec and some
    forty libraries along, 11 MiB (docs/measurements/light.md). ALSA forgets its configuration as well, and reads it
    again when the next device is opened, in some milliseconds. alsa-lib, conf.c: snd_config_update_free_global(), which
    PortAudio calls whenever it is terminated.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libasound.so.2", mode=os.RTLD_NOLOAD | os.RTLD_NOW).snd_config_update_free_global()


def has_capture_volume(device_name: str) -> bool:
    """Whether alsamixer can make this microphone louder: its card, or the sound server, has a control for that.

    alsa-lib, mixer.h. A plugin's mixer has the plugin's name, or is the system's default mixer."""
    alsa = ctypes.CDLL("libasound.so.2")
    for name in ("snd_mixer_first_elem", "snd_mixer_elem_next"):
        getattr(alsa, name).restype = ctypes.c_void_p
    card = re.search(r"\((hw:\d+),\d+\)$", device_name)
    for ctl in (card[1],) if card is not None else (device_name, "default"):
        mixer = ctypes.c_void_p()
        if alsa.snd_mixer_open(ctypes.byref(mixer), 0) < 0:
            return False
        try:
            if (
                alsa.snd_mixer_attach(mixer, ctl.encode()) < 0
                or alsa.snd_mixer_selem_register(mixer, None, None) < 0
                or alsa.snd_mixer_load(mixer) < 0
            ):
                continue
            control = alsa.snd_mixer_first_elem(mixer)
            while control:
                if alsa.snd_mixer_selem_has_capture_volume(ctypes.c_void_p(control)):
                    return True
                control = alsa.snd_mixer_elem_next(ctypes.c_void_p(control))
        finally:
            alsa.snd_mixer_close(mixer)
    return False
