"""A WAV file as the sound of an announcement.

The caller hands over an open file, never a path: the daemon may read other files than the person may.
"""

from __future__ import annotations

import io
import os
import stat
import wave
import weakref
from collections.abc import Iterator
from typing import Any

from parleyd.audio.pcm import BYTES_PER_SAMPLE, AudioFormat, mix_down
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.core.errors import UserError
from parleyd.host import handed_over
from parleyd.host.handed_over import Whose

# The longest sound. Its mono samples are in memory while it waits for a pause.
MOST_SOUND_S = 120.0
_LOWEST_HZ, _HIGHEST_HZ = 8_000, 48_000
_MOST_CHANNELS = 2
# Beside the samples, a file may have texts and pictures, which nobody needs here.
_MOST_BYTES = int(MOST_SOUND_S * _HIGHEST_HZ * _MOST_CHANNELS * BYTES_PER_SAMPLE) + 2**20
_PIECE_S = 0.5
_HINT = "make it one: ffmpeg -i FILE -ac 1 -ar 22050 -sample_fmt s16 SOUND.wav"


class SoundFileError(UserError):
    """The file cannot be played."""


class SoundFile:
    """Implements agents.speech.StreamedSpeech. Takes the descriptor over, also where it refuses. Blocks while it reads
    the head of the file, which may be for ever: use opened(). whose: tells people which file it is, if it hangs. Raises
    SoundFileError.

    The descriptor is closed with the last one who holds this object: the thread that reads it may outlive the
    announcement.
    """

    hint_endless = "announce a shorter one"

    def __init__(self, descriptor: int, whose: Whose) -> None:
        self._whose = whose
        closing = weakref.finalize(self, handed_over.close, descriptor)
        try:
            self._begin(descriptor)
        except BaseException:
            # The error would hold this object for as long as somebody has it.
            closing()
            raise

    def _begin(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SoundFileError("this is not a file", f"announce a regular file: a WAV file; {_HINT}")
        if found.st_size > _MOST_BYTES:
            text = f"the file has {found.st_size / 2**20:.0f} MiB, the sound of an announcement at most"
            raise SoundFileError(f"{text} {_MOST_BYTES // 2**20}", "announce a shorter one")
        self._descriptor = descriptor
        with self._opened() as sound:
            rate_hz, frames, channels = sound.getframerate(), sound.getnframes(), sound.getnchannels()
            if sound.getsampwidth() != BYTES_PER_SAMPLE or channels > _MOST_CHANNELS:
                raise SoundFileError("the sound is not 16 bit with one or two channels", _HINT)
            if not _LOWEST_HZ <= rate_hz <= _HIGHEST_HZ:
                raise SoundFileError(f"the rate of the sound is {rate_hz} Hz, not {_LOWEST_HZ} to {_HIGHEST_HZ}", _HINT)
        if not frames:
            raise SoundFileError("there is no sound in the file", "announce another one")
        # The head of a file that was written as a stream may promise hours.
        length_s = min(frames, found.st_size // (channels * BYTES_PER_SAMPLE)) / rate_hz
        if length_s > MOST_SOUND_S:
            text = f"the sound is {length_s:.0f} s long, an announcement at most {MOST_SOUND_S:g} s"
            raise SoundFileError(text, "announce a shorter one")
        self.output_format = AudioFormat("pcm", rate_hz)

    def stream(self, text: str, timeout_s: float) -> Iterator[bytes]:
        """Neither the text nor the time counts: the file is here."""
        try:
            with handed_over.in_time(self._opened, self._whose, handed_over.PIECE_S) as sound:
                channels, at_once = sound.getnchannels(), int(_PIECE_S * sound.getframerate())
                left = int(MOST_SOUND_S * sound.getframerate())
                while left > 0 and (piece := self._frames(sound, min(at_once, left))):
                    left -= at_once
                    whole = len(piece) - len(piece) % (channels * BYTES_PER_SAMPLE)
                    yield mix_down(piece[:whole], channels)
        except SoundFileError as error:
            raise DialError(Ending(EndingKind.FINAL, str(error), error.hint)) from error
        except handed_over.BusyError as error:
            why = "other files hang, and this one was not read"
            raise DialError(Ending(EndingKind.FINAL, why, handed_over.HINT)) from error
        except handed_over.HangsError as error:
            why = f"the sound file does not answer within {handed_over.PIECE_S:g} s"
            raise DialError(Ending(EndingKind.FINAL, why, handed_over.HINT)) from error
        except (wave.Error, EOFError, OSError) as error:
            # The stick may have been pulled out. The announcer waits for an end of whatever kind.
            why = f"the sound file could not be read on: {error}"
            raise DialError(Ending(EndingKind.FINAL, why, "see whether its disk or network is there")) from error

    def _frames(self, sound: wave.Wave_read, count: int) -> bytes:
        """Raises HangsError, and the errors of readframes()."""

        def read() -> bytes:
            # While it hangs, it holds this object, so that the descriptor's number is nobody else's.
            assert self._descriptor >= 0
            return sound.readframes(count)

        return handed_over.in_time(read, self._whose, handed_over.PIECE_S)

    def _opened(self) -> wave.Wave_read:
        """Raises SoundFileError. To be closed."""
        try:
            # Not where the descriptor stands: it may be shared with the one who handed it over.
            return wave.open(io.BufferedReader(_InPlace(self._descriptor)), "rb")
        except (wave.Error, EOFError, OSError, RuntimeError) as error:
            raise SoundFileError("this is not a WAV file with PCM", _HINT) from error


def opened(descriptor: int, whose: Whose) -> SoundFile:
    """Takes the descriptor over, also where it refuses. Raises SoundFileError, also if the file does not answer."""
    try:
        return handed_over.in_time(lambda: SoundFile(descriptor, whose), whose)
    except handed_over.BusyError as error:
        handed_over.close(descriptor)
        raise SoundFileError("other files hang, and this one was not looked at", handed_over.HINT) from error
    except handed_over.HangsError as error:
        text = f"the file does not answer within {handed_over.ANSWER_S:g} s"
        raise SoundFileError(text, handed_over.HINT) from error


class _InPlace(io.RawIOBase):
    """The file from its beginning, whatever others do with the descriptor, which stays open."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._at_bytes = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at_bytes}.get(whence)
        if start is None:
            start = os.fstat(self._descriptor).st_size
        self._at_bytes = max(0, start + offset)
        return self._at_bytes

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._descriptor, len(buffer), self._at_bytes)
        buffer[: len(data)] = data
        self._at_bytes += len(data)
        return len(data)
