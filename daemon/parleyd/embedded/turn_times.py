"""The delay of a spoken turn, and its parts. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TurnTimes:
    """Monotonic times. voiced_s: the last voiced sound has come. ended_s: its silence was long enough. words_s: the
    recogniser has answered. piece_s: the first words of the answer are there."""

    voiced_s: float
    ended_s: float
    words_s: float | None = None
    piece_s: float | None = None

    def parts_s(self, sound_s: float) -> dict[str, float] | None:
        """silence, ears, mind, voice and their sum, first_sound, in seconds. Work that was done before the silence was
        long enough has cost nothing. None: times are missing. sound_s: the first sound of the answer leaves."""
        if self.words_s is None or self.piece_s is None:
            return None
        words_s = max(self.ended_s, self.words_s)
        piece_s = max(words_s, self.piece_s)
        return {
            "silence": self.ended_s - self.voiced_s,
            "ears": words_s - self.ended_s,
            "mind": piece_s - words_s,
            "voice": sound_s - piece_s,
            "first_sound": sound_s - self.voiced_s,
        }
