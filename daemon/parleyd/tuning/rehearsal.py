"""Runs the ears over a recording, faster than real time, to see what the gate of this configuration would have done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.measure import VoiceMeasure
from parleyd.audio.gate.vad import Detector
from parleyd.audio.gate.why_held_back import Why
from parleyd.audio.pcm import (
    FRAME_BYTES,
    FRAME_MS,
    PIPELINE_RATE_HZ,
    SILENCE_DBFS,
    Frame,
    Samples,
    level_dbfs,
    samples_of,
)
from parleyd.audio.resample import Resampler

Levels = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rehearsal:
    """All arrays have one value per frame, except `samples`, the recording itself at rate_hz.

    level_dbfs: of the whole band. voice_dbfs: of the band of speech. floor_dbfs: the noise floor of the gate.
    bar_dbfs: the level that a syllable had to reach.
    opened: the frame opened the gate. sent: the frame would have been sent.
    held_back_ms: sound like speech that would not have been sent, for each reason.
    """

    samples: Samples
    rate_hz: int
    level_dbfs: Levels
    voice_dbfs: Levels
    floor_dbfs: Levels
    bar_dbfs: Levels
    voiced: Flags
    pitched: Flags
    opened: Flags
    sent: Flags
    held_back_ms: dict[Why, int]

    @property
    def seconds(self) -> float:
        return len(self.level_dbfs) * FRAME_MS / 1000


def rehearse(pcm: bytes, rate_hz: int, detector: Detector, gate: Gate) -> Rehearsal:
    """pcm: mono at rate_hz, any length. detector, gate: new objects."""
    resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)
    at_16_khz = resampler.process(pcm) + resampler.flush()
    count = len(at_16_khz) // FRAME_BYTES
    levels = np.zeros((4, count))
    flags = np.zeros((4, count), bool)
    measure = VoiceMeasure()
    for number in range(count):
        frame = Frame(at_16_khz[number * FRAME_BYTES : (number + 1) * FRAME_BYTES], number * FRAME_MS / 1000)
        voiced, measured = detector.voiced(frame), measure.step(frame)
        verdict = gate.step(frame, voiced=voiced, level_dbfs=measured.level_dbfs, pitch=measured.pitch)
        levels[:, number] = level_dbfs(frame.pcm), measured.level_dbfs, gate.floor.dbfs, gate.bar_dbfs
        flags[:3, number] = voiced, measured.pitch >= gate.pitch_least, verdict.opened
        for passed in verdict.passed:
            flags[3, round(passed.frame.start_s * 1000 / FRAME_MS)] = passed.speech
    # Silence at the end lets the gate release its last frames.
    silence = Frame.silence(count * FRAME_MS / 1000)
    for _ in range(gate.most_held_frames):
        gate.step(silence, voiced=False, level_dbfs=SILENCE_DBFS)
    return Rehearsal(
        samples=samples_of(pcm),
        rate_hz=rate_hz,
        level_dbfs=levels[0],
        voice_dbfs=levels[1],
        floor_dbfs=levels[2],
        bar_dbfs=levels[3],
        voiced=flags[0],
        pitched=flags[1],
        opened=flags[2],
        sent=flags[3],
        held_back_ms=dict(gate.held_back.ms),
    )
