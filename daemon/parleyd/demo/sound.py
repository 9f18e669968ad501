"""Writes the conversation as one file: the person on the left, the agent on the right."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from parleyd.audio.pcm import samples_of, to_pcm
from parleyd.audio.resample import Resampler
from parleyd.demo.facts import Recording


def write_stereo(path: Path, left: Recording, right: Recording) -> None:
    """Writes the file at the rate of the right recording; each recording begins at its own time. Raises OSError."""
    rate_hz = right.rate_hz
    resampler = Resampler(left.rate_hz, rate_hz)
    person = samples_of(resampler.process(to_pcm(left.samples * 32768)) + resampler.flush())
    agent = samples_of(to_pcm(right.samples * 32768))
    zero_s = min(left.began_s, right.began_s)
    places = [round((each.began_s - zero_s) * rate_hz) for each in (left, right)]
    both = np.zeros((max(places[0] + len(person), places[1] + len(agent)), 2), "<i2")
    for channel, (at, sound) in enumerate(zip(places, (person, agent), strict=True)):
        both[at : at + len(sound), channel] = sound
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(both.tobytes())
