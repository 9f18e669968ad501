"""A-law, ITU-T G.711, for `audio/pcma`. Pure. (µ-law, which ElevenLabs has too, is in audio/pcm.py.)"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parleyd.audio import pcm as sound
from parleyd.audio.pcm import AudioFormat, Samples

_ULAW = AudioFormat("ulaw", 8_000)
RATE_HZ = {"audio/pcm": 24_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}


def _alaw_to_linear() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, (mantissa << 4) + 264 << np.maximum(exponent - 1, 0))
    return np.where(code & 128, magnitude, -magnitude).astype(np.int16)


def _linear_to_alaw() -> npt.NDArray[np.uint8]:
    """Indexed by the sample as an unsigned 16-bit number: the code whose value is nearest."""
    values = _ALAW_TO_LINEAR.astype(np.int32)
    order = np.argsort(values)
    middles = (values[order][1:] + values[order][:-1]) / 2
    linear = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32)
    table: npt.NDArray[np.uint8] = order[np.searchsorted(middles, linear)].astype(np.uint8)
    return table


_ALAW_TO_LINEAR = _alaw_to_linear()
_LINEAR_TO_ALAW = _linear_to_alaw()


def decode(format_type: str, data: bytes) -> bytes:
    """PCM at the format's own rate. format_type: a key of RATE_HZ; for audio/pcm the length must be even."""
    if format_type == "audio/pcma":
        return _ALAW_TO_LINEAR[np.frombuffer(data, dtype=np.uint8)].tobytes()
    return sound.decode(_ULAW, data) if format_type == "audio/pcmu" else data


def encode(format_type: str, pcm: bytes) -> bytes:
    """The sound in the format; pcm: at the format's own rate."""
    if format_type == "audio/pcma":
        coded: bytes = _LINEAR_TO_ALAW[np.frombuffer(pcm, dtype="<u2")].tobytes()
        return coded
    return sound.encode(_ULAW, pcm) if format_type == "audio/pcmu" else pcm
