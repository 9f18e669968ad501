"""The agent's voice: flite, or espeak-ng, as a child process."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
import wave
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from parleyd.audio.resample import Resampler
from parleyd.core.errors import UserError
from parleyd.host import subprocesses

FLITE_VOICES = ("slt", "rms", "awb", "kal", "kal16", "awb_time")
DEFAULT_FLITE_VOICE = "slt"
DEFAULT_ESPEAK_VOICE = "en-us"
CACHE_BYTES = 16 * 1024 * 1024
# The time limit for one sentence. It takes a tenth of a second on a desktop; a busy small board may need a hundred
# times as long.
TIMEOUT_S = 30.0
# The most sound of one sentence: ten minutes of the highest rate are 26 MB.
MOST_SOUND_BYTES = 64 * 2**20


class Speaking(Protocol):
    """A voice. Used from several threads."""

    def say(self, text: str, rate_hz: int) -> bytes:
        """Mono signed 16-bit PCM at rate_hz; empty if the text contains nothing to pronounce. Raises VoiceError."""

    def close(self) -> None: ...


class VoiceError(UserError):
    """There is no synthesiser, or it does not work."""


class Voice:
    """A synthesiser by the name of its voice. Safe to use from several threads.

    name: one of FLITE_VOICES, or any voice of espeak-ng (`en-gb`, `en+f3`); None: the best one installed.
    Raises VoiceError.
    """

    def __init__(self, name: str | None = None) -> None:
        self._flite = shutil.which("flite")
        self._espeak = shutil.which("espeak-ng")
        if self._flite is None and self._espeak is None:
            raise VoiceError("no speech synthesiser is installed", "apt install flite (or espeak-ng)")
        if name is None:
            name = DEFAULT_FLITE_VOICE if self._flite else DEFAULT_ESPEAK_VOICE
        self.name = name
        self._uses_flite = name in FLITE_VOICES
        if self._uses_flite and self._flite is None:
            raise VoiceError(f"the voice {name} needs flite", "apt install flite, or use --voice en-us")
        if not self._uses_flite and self._espeak is None:
            raise VoiceError(f"the voice {name} needs espeak-ng", "apt install espeak-ng, or use --voice slt")
        self._folder = tempfile.TemporaryDirectory(prefix="parleyd-voice-")
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._cached_bytes = 0
        try:
            # A misspelt name of a voice must be noticed now, not during a conversation.
            self.say("Hello.", 16_000)
        except VoiceError:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Voice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._folder.cleanup()

    def say(self, text: str, rate_hz: int) -> bytes:
        """Mono signed 16-bit PCM at rate_hz; empty if the text contains nothing to pronounce. Blocking."""
        text = "".join(sign if sign.isprintable() else " " for sign in text).strip()
        if not any(sign.isalnum() for sign in text):
            return b""
        pcm, native_hz = self._native(text)
        resampler = Resampler(native_hz, rate_hz)
        return resampler.process(pcm) + resampler.flush()

    def _native(self, text: str) -> tuple[bytes, int]:
        with self._lock:
            if text in self._cache:
                self._cache.move_to_end(text)
                return self._cache[text]
            spoken = _samples(self._flite_wav(text) if self._uses_flite else self._espeak_wav(text), self.name)
            self._cache[text] = spoken
            self._cached_bytes += len(spoken[0])
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1][0])
            return spoken

    def _flite_wav(self, text: str) -> bytes:
        # It leaves out signs that are not ASCII.
        text = text.replace("×", " times ")
        # Not through a pipe: flite seeks back to write the header, and hangs or leaves it empty.
        path = Path(self._folder.name) / "sentence.wav"
        self._run([str(self._flite).encode(), b"-voice", self.name.encode(), b"-t", text.encode(), b"-o", bytes(path)])
        return path.read_bytes()

    def _espeak_wav(self, text: str) -> bytes:
        return self._run([str(self._espeak), "-v", self.name, "--stdin", "--stdout"], text)

    def _run(self, command: Sequence[str | bytes], text: str = "") -> bytes:
        try:
            done = subprocesses.ask(command, stdin=text.encode(), timeout_s=TIMEOUT_S, most_bytes=MOST_SOUND_BYTES)
        except OSError as error:
            reason = f"the synthesiser does not work: {error.strerror}"
            raise VoiceError(reason, "reinstall flite or espeak-ng") from error
        if done.is_cut:
            raise VoiceError(f"the voice {self.name} does not come to an end", _HINT)
        if done.status:
            reason = done.last_words() or "no reason given"
            raise VoiceError(f"the voice {self.name} does not speak: {reason}", _HINT)
        return done.data


_HINT = f"use another voice: {', '.join(FLITE_VOICES)}, or one that `espeak-ng --voices` lists"


def _samples(content: bytes, name: str) -> tuple[bytes, int]:
    try:
        with wave.open(io.BytesIO(content)) as file:
            rate_hz = file.getframerate()
            # espeak-ng does not know the length in advance, so the length in its header is far too large.
            return file.readframes(len(content) // 2), rate_hz
    except (wave.Error, EOFError) as error:
        raise VoiceError(f"the voice {name} does not speak: {error}", _HINT) from error
