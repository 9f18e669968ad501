from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.agents.elevenlabs.formats import parse_format
from parleyd.audio import pcm
from parleyd.audio.pcm import AudioFormat

ULAW = AudioFormat("ulaw", 8_000)
ALAW = AudioFormat("alaw", 8_000)


def of(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


def values(data: bytes) -> list[int]:
    return [int(value) for value in np.frombuffer(data, "<i2")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pcm_8000", AudioFormat("pcm", 8_000)),
        ("pcm_16000", AudioFormat("pcm", 16_000)),
        ("pcm_22050", AudioFormat("pcm", 22_050)),
        ("pcm_24000", AudioFormat("pcm", 24_000)),
        ("pcm_44100", AudioFormat("pcm", 44_100)),
        ("pcm_48000", AudioFormat("pcm", 48_000)),
        ("ulaw_8000", ULAW),
    ],
)
def test_format_names(name: str, expected: AudioFormat) -> None:
    assert parse_format(name) == expected


@pytest.mark.parametrize("name", ["", "pcm", "ulaw_16000", "pcm_11025", "PCM_16000", "mp3_44100", "pcm_16000 "])
def test_other_formats_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown audio format"):
        parse_format(name)


def test_ulaw_reference_values() -> None:
    """From the tables of ITU-T G.711, scaled to 16 bits."""
    assert values(pcm.decode(ULAW, bytes([0x00, 0x80, 0x7F, 0xFF, 0x8F, 0xF0]))) == [-32124, 32124, 0, 0, 16764, 120]
    assert pcm.encode(ULAW, of(0, 32767, -32768, 32124, -32124)) == bytes([0xFF, 0x80, 0x00, 0x80, 0x00])


def test_every_ulaw_code_survives_the_way_back() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)  # 0x7F is minus zero, which becomes zero
    assert pcm.encode(ULAW, pcm.decode(ULAW, codes)) == codes


def test_ulaw_error_is_within_half_a_step() -> None:
    linear = np.arange(-32635, 32636, dtype=np.int32)
    back = np.frombuffer(pcm.decode(ULAW, pcm.encode(ULAW, linear.astype("<i2").tobytes())), "<i2").astype(np.int32)
    step = 8 << np.maximum(0, np.floor(np.log2(np.abs(linear) + 132)).astype(int) - 7)
    assert np.all(np.abs(back - linear) <= step // 2)


def test_alaw_reference_values() -> None:
    """From the tables of ITU-T G.711, scaled to 16 bits."""
    assert values(pcm.decode(ALAW, bytes([0xD5, 0x55, 0xAA, 0x2A, 0xC5, 0x85]))) == [8, -8, 32256, -32256, 264, 4224]
    assert pcm.encode(ALAW, of(0, 32767, -32768, 32256, -32256, 8)) == bytes([0xD5, 0xAA, 0x2A, 0xAA, 0x2A, 0xD5])


def test_every_alaw_code_survives_the_way_back() -> None:
    codes = bytes(range(256))
    assert pcm.encode(ALAW, pcm.decode(ALAW, codes)) == codes


def test_pcm_passes_unchanged() -> None:
    fmt = AudioFormat("pcm", 16_000)
    assert pcm.decode(fmt, b"\1\2") == pcm.encode(fmt, b"\1\2") == b"\1\2"


@pytest.mark.parametrize(
    ("sound", "dbfs"),
    [
        (of(-32768, 32767) * 100, 0.0),
        (of(3277) * 100, -20.0),
        (of(1) * 100, -90.3),
        (bytes(640), -120.0),
        (b"", -120.0),
    ],
)
def test_level(sound: bytes, dbfs: float) -> None:
    assert pcm.level_dbfs(sound) == pytest.approx(dbfs, abs=0.05)


def test_gain_ramps_and_saturates() -> None:
    assert values(pcm.gain(of(1000, 1000, 1000, 1000), 0.0, 1.0)) == [250, 500, 750, 1000]
    assert values(pcm.gain(of(30000, -30000), 2.0, 2.0)) == [32767, -32768]
    assert pcm.gain(b"", 0.0, 1.0) == b""


def test_fade_out() -> None:
    faded = values(pcm.fade_out(of(*[10000] * 100), 40))
    assert len(faded) == 40
    assert faded[-1] == 0
    assert faded == sorted(faded, reverse=True)
    assert values(pcm.fade_out(of(8000, 8000), 4)) == values(pcm.fade_out(of(*[8000] * 4), 4))
    assert values(pcm.fade_out(b"", 2, last=-8000)) == [-4000, 0]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_the_median_is_that_of_the_module_statistics(values: list[float]) -> None:
    assert pcm.median(values) == statistics.median(values)


def test_channels() -> None:
    assert values(pcm.mix_down(of(100, 300, 32767, 32767), 2)) == [200, 32767]
    assert values(pcm.spread(of(1, 2), 3)) == [1, 1, 1, 2, 2, 2]
    assert values(pcm.to_mono(of(1, 2, 3, 4, 5, 6), 3, 2)) == [2, 5]
    assert values(pcm.to_mono(of(1, 2, 3, 4, 5, 6), 3, None)) == [2, 5]
    assert values(pcm.to_mono(of(1, 2, 9, 4, 5, 9), 3, 3)) == [9, 9]
    assert values(pcm.to_mono(of(1, 2), 1, 1)) == [1, 2]
