"""Why sound like speech is not sent, and those reasons in words. Pure.

Apart from held_back.py, because `parleyd status` and `parleyd events` need the words and nothing that counts sound.
"""

from __future__ import annotations

import enum


class Why(enum.StrEnum):
    """background: not louder than the background. penalty: not loud enough during a false-wake penalty. known_noise:
    recognised as a noise that caused a false wake. too_long: talk that had not ended for minutes. no_pitch: voiced for
    the detector, but without the pitch that all vowels have, as in a whisper."""

    BACKGROUND = "background"
    PENALTY = "doubt"
    KNOWN_NOISE = "known_noise"
    TOO_LONG = "too_long"
    NO_PITCH = "no_pitch"


WORDS: dict[str, str] = {
    Why.BACKGROUND: "no louder than the other sounds of the room",
    Why.PENALTY: "too soft during the penalty after false wakes",
    Why.KNOWN_NOISE: "a noise that caused a false wake before",
    Why.TOO_LONG: "talk that had not ended for minutes",
    Why.NO_PITCH: "without a pitch, as in a whisper",
}


def in_words(held_ms: dict[str, int]) -> str:
    """The durations in words, such as "3.0 s no louder than the other sounds of the room, 0.2 s without a pitch, as in
    a whisper"."""
    most_first = sorted(held_ms.items(), key=lambda each: -each[1])
    return ", ".join(f"{ms / 1000:.1f} s {WORDS.get(why, why)}" for why, ms in most_first if ms)
