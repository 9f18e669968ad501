"""The audio formats of the embedded agent, by the names that its settings and its protocol use. Pure."""

from __future__ import annotations

import re

from parleyd.audio.pcm import AudioFormat

_NAME = re.compile(r"pcm_(?P<rate>8000|16000|22050|24000|44100|48000)|(?P<ulaw>ulaw)_8000")


def parse_format(name: str) -> AudioFormat:
    """The format with a name such as pcm_16000. Raises ValueError for any other name."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"unknown audio format {name!r}")
    return AudioFormat("ulaw", 8_000) if found["ulaw"] else AudioFormat("pcm", int(found["rate"]))
