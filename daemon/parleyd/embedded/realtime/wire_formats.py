"""The protocol's names of the formats, and the sound in them. Pure."""

from __future__ import annotations

from parleyd.audio import pcm as sound
from parleyd.audio.pcm import AudioFormat

_FORMATS = {
    "audio/pcm": AudioFormat("pcm", 24_000),
    "audio/pcmu": AudioFormat("ulaw", 8_000),
    "audio/pcma": AudioFormat("alaw", 8_000),
}
RATE_HZ = {name: fmt.rate_hz for name, fmt in _FORMATS.items()}


def decode(format_type: str, data: bytes) -> bytes:
    """PCM at the format's own rate. format_type: a key of RATE_HZ; for audio/pcm the length must be even."""
    return sound.decode(_FORMATS[format_type], data)


def encode(format_type: str, pcm: bytes) -> bytes:
    """The sound in the format; pcm: at the format's own rate."""
    return sound.encode(_FORMATS[format_type], pcm)
