"""Short sounds that tell what the daemon does: made here, spoken, or read from WAV files. Pure except for files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from parleyd.audio import pcm as sound
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.wav import read_wav
from parleyd.core.errors import UserError

Earcon = Literal["listening", "sleeping", "error", "muted", "unmuted", "timer", "budget", "confirm"]
NAMES: tuple[Earcon, ...] = get_args(Earcon)

RATE_HZ = 48_000
# The peak of an earcon, 15 to 20 dB below that of a voice.
PEAK_DBFS = -22.0
# The longest file of a user: a spoken sentence, not a song.
LONGEST_S = 10.0

_ATTACK_S, _RELEASE_S = 0.010, 0.035


class _Note(Struct, frozen=True):
    """decay_s: the time in which it falls to a third."""

    begins_s: float
    lasts_s: float
    hz: float
    decay_s: float = 0.08


# Three quick notes, which can be heard in the next room.
_RING = tuple(_Note(0.13 * beep, 0.12, hz, 0.05) for beep, hz in enumerate((1046.5, 1046.5, 1396.9)))
# How often an earcon sounds, and how long after its last beginning, if not once.
_TIMES: dict[Earcon, tuple[int, float]] = {"timer": (4, 0.7)}
# Rising notes: present; falling notes: gone; the same low note twice: it does not work. Muting is a knock, not a chord.
_NOTES: dict[Earcon, tuple[_Note, ...]] = {
    "listening": (_Note(0.0, 0.11, 659.3), _Note(0.07, 0.17, 880.0)),
    "sleeping": (_Note(0.0, 0.14, 880.0), _Note(0.09, 0.20, 587.3)),
    "error": (_Note(0.0, 0.12, 349.2, 0.2), _Note(0.16, 0.14, 349.2, 0.2)),
    "muted": (_Note(0.0, 0.07, 392.0, 0.04),),
    "timer": _RING,
    # Falling in small steps: something runs out.
    "budget": (_Note(0.0, 0.09, 784.0, 0.05), _Note(0.09, 0.09, 740.0, 0.05), _Note(0.18, 0.12, 698.5, 0.06)),
    # Three up, the last one longer: a question.
    "confirm": (_Note(0.0, 0.08, 587.3, 0.06), _Note(0.09, 0.08, 740.0, 0.06), _Note(0.18, 0.12, 1174.7, 0.1)),
    "unmuted": (_Note(0.0, 0.06, 392.0, 0.04), _Note(0.055, 0.09, 784.0, 0.04)),
}
# Overtones make it sound softer than a whistle, and audible on speakers without bass.
_OVERTONES = ((1.0, 1.0), (2.0, 0.25), (3.0, 0.12))

# The words of each earcon if it is spoken.
WORDS: dict[Earcon, str] = {
    "listening": "Yes?",
    "sleeping": "Goodbye.",
    "error": "Sorry, I cannot connect right now.",
    "muted": "Microphone off.",
    "unmuted": "Microphone on.",
    "timer": "Your timer has gone off.",
    "budget": "The talking time is used up, or nearly so.",
    "confirm": "The agent asks for your permission.",
}


class Sound(Struct, frozen=True):
    """The sound of an earcon."""

    pcm: bytes
    """Signed 16 bit, little-endian, mono."""
    rate_hz: int
    """The rate of `pcm`."""

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / sound.BYTES_PER_SAMPLE / self.rate_hz


def made(name: Earcon) -> Sound:
    """The program's own sound for an earcon."""
    notes = _NOTES[name]
    mix = np.zeros(round(max(note.begins_s + note.lasts_s for note in notes) * RATE_HZ), np.float32)
    # The timer has a note twice.
    tones = {(note.lasts_s, note.hz, note.decay_s): note for note in notes}
    shaped = {tone: _played(note) for tone, note in tones.items()}
    for note in notes:
        begin = round(note.begins_s * RATE_HZ)
        played = shaped[note.lasts_s, note.hz, note.decay_s]
        mix[begin : begin + len(played)] += played
    peak = 32768.0 * 10.0 ** (PEAK_DBFS / 20.0)
    once = sound.to_pcm(mix * (peak / np.abs(mix).max()))
    times, after_s = _TIMES.get(name, (1, 0.0))
    return Sound(once.ljust(round(after_s * RATE_HZ) * sound.BYTES_PER_SAMPLE, b"\0") * (times - 1) + once, RATE_HZ)


def _played(note: _Note) -> npt.NDArray[np.float32]:
    # Single precision takes a third of the time; it errs by less than a step of 16 bits.
    at_s = np.arange(round(note.lasts_s * RATE_HZ), dtype=np.float32) / np.float32(RATE_HZ)
    phase = at_s * np.float32(2.0 * np.pi * note.hz)
    tone: npt.NDArray[np.float32] = np.zeros_like(at_s)
    for times, share in _OVERTONES:
        tone += np.float32(share) * np.sin(phase * np.float32(times))
    attack, release = slice(round(_ATTACK_S * RATE_HZ) + 1), slice(-round(_RELEASE_S * RATE_HZ) - 1, None)
    tone[attack] *= 0.5 - 0.5 * np.cos(np.pi * np.clip(at_s[attack] / _ATTACK_S, 0.0, 1.0))
    tone[release] *= 0.5 - 0.5 * np.cos(np.pi * np.clip((note.lasts_s - at_s[release]) / _RELEASE_S, 0.0, 1.0))
    tone *= np.exp(at_s * np.float32(-1.0 / note.decay_s))
    return tone


def from_file(path: Path) -> Sound:
    """Reads a file. Raises UserError if it is missing, not a WAV file, empty, or longer than LONGEST_S."""
    if path.exists() and not path.is_file():
        # Opening a pipe would block until it has a writer.
        raise UserError(f"{path}: not a regular file", "name a WAV file")
    try:
        pcm, rate_hz = read_wav(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "check the path; `on` takes the built-in sound") from error
    except DeviceError as error:
        raise UserError(str(error).removeprefix("wav:"), error.hint or "convert it") from error
    read = Sound(pcm, rate_hz)
    if not pcm:
        raise UserError(f"{path}: there is no sound in it", "record it again; `off` is silence")
    if read.duration_s > LONGEST_S:
        text = f"{path}: it lasts {read.duration_s:.1f} s, an earcon at most {LONGEST_S:g}"
        raise UserError(text, "cut it, for example: sox LONG.wav SHORT.wav trim 0 2")
    return read


def chosen(name: Earcon, choice: str, speak: Callable[[str], Sound]) -> Sound | None:
    """The sound for a choice; None: off. choice: `on`, `off`, `spoken`, or the path of a WAV file. Raises UserError,
    like speak."""
    match choice:
        case "off":
            return None
        case "on":
            return made(name)
        case "spoken":
            return speak(WORDS[name])
        case _:
            return from_file(Path(choice))


def all_chosen(choices: Mapping[Earcon, str], level_db: float, speak: Callable[[str], Sound]) -> dict[Earcon, Sound]:
    """The sounds that are on, with the level changed. Raises UserError, like speak."""
    factor = 10.0 ** (level_db / 20.0)
    found = {name: chosen(name, choice, speak) for name, choice in choices.items()}
    return {name: Sound(sound.gain(it.pcm, factor, factor), it.rate_hz) for name, it in found.items() if it is not None}
