"""The local voice of announcements: flite or espeak-ng on this machine, which costs nothing and needs no network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from parleyd.audio.pcm import AudioFormat
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.embedded import synthesisers

if TYPE_CHECKING:
    from parleyd.embedded.voice import Voice

_RATE_HZ = 16_000
# Half a second, so that a long text begins to play before all of it has been handed over.
_PIECE_BYTES = _RATE_HZ


class LocalSpeech:
    """Implements agents.speech.StreamedSpeech. name: see Voice. The synthesiser is tried with the first text."""

    hint_endless = "choose another announce.local_voice"

    def __init__(self, name: str | None) -> None:
        self.output_format = AudioFormat("pcm", _RATE_HZ)
        self._name = name
        self._lock = threading.Lock()
        self._voice: Voice | None = None

    def stream(self, text: str, timeout_s: float) -> Iterator[bytes]:
        # Imported with the first text, because most devices never say one by themselves.
        from parleyd.embedded.voice import Voice, VoiceError

        try:
            with self._lock:
                if self._voice is None:
                    self._voice = Voice(self._name)
                voice = self._voice
            sound = voice.say(text, _RATE_HZ)
        except VoiceError as error:
            raise DialError(Ending(EndingKind.FINAL, str(error), error.hint)) from error
        for at in range(0, len(sound), _PIECE_BYTES):
            yield sound[at : at + _PIECE_BYTES]


def local_speech(wanted: str) -> LocalSpeech | None:
    """wanted: announce.local_voice. None: it is off, or no synthesiser is installed."""
    has_voice = wanted != "off" and synthesisers.is_one_installed()
    return LocalSpeech(None if wanted == "auto" else wanted) if has_voice else None
