"""The audio formats of ElevenLabs, by its names for them. Pure."""

from __future__ import annotations

from parleyd.audio.pcm import AudioFormat

# All formats to which an agent of theirs can be set.
FORMATS = {
    "pcm_8000": AudioFormat("pcm", 8_000),
    "pcm_16000": AudioFormat("pcm", 16_000),
    "pcm_22050": AudioFormat("pcm", 22_050),
    "pcm_24000": AudioFormat("pcm", 24_000),
    "pcm_44100": AudioFormat("pcm", 44_100),
    "pcm_48000": AudioFormat("pcm", 48_000),
    "ulaw_8000": AudioFormat("ulaw", 8_000),
}


def parse_format(name: str) -> AudioFormat:
    """The format with a name in FORMATS. Raises ValueError for any other name."""
    if name not in FORMATS:
        raise ValueError(f"unknown audio format {name!r}; known are {', '.join(FORMATS)}")
    return FORMATS[name]
