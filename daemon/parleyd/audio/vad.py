"""The voice activity detector: webrtcvad on 20 ms frames at 16 kHz."""

from __future__ import annotations

from parleyd.audio.pcm import PIPELINE_RATE_HZ, SILENT_FRAME, Frame


class VadUnavailableError(Exception):
    """The detector is missing or broken. Nothing replaces it silently."""

    mend = (
        "install the package webrtcvad-wheels (pip install webrtcvad-wheels) and remove the package webrtcvad, "
        "which needs a pkg_resources that current setuptools no longer has"
    )


class Vad:
    """aggressiveness: 0 to 3; higher takes less for speech. Raises VadUnavailableError when it cannot work."""

    def __init__(self, aggressiveness: int) -> None:
        try:
            import webrtcvad

            self._vad = webrtcvad.Vad(aggressiveness)
            hears_silence = self._vad.is_speech(SILENT_FRAME, PIPELINE_RATE_HZ)
        except ImportError as error:
            raise VadUnavailableError(f"the voice activity detector cannot be imported: {error}") from error
        except Exception as error:  # a broken extension may raise anything; all of it means the same
            raise VadUnavailableError(f"the voice activity detector does not work: {error}") from error
        if hears_silence:
            raise VadUnavailableError("the voice activity detector takes digital silence for speech")

    def voiced(self, frame: Frame) -> bool:
        return bool(self._vad.is_speech(frame.pcm, PIPELINE_RATE_HZ))
