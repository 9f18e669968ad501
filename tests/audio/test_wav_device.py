"""Files and nothing as microphone and speaker, in real time."""

from __future__ import annotations

import os
import queue
import re
import struct
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playback_room import Room, samples, tone

from parleyd.audio.devices import wav as wav_device
from parleyd.audio.devices.clock import Tick
from parleyd.audio.devices.device import DeviceError, InputDevice, OutputDevice
from parleyd.audio.devices.names import device_pair, input_device, output_device
from parleyd.audio.devices.portaudio import PortAudioInput, PortAudioOutput
from parleyd.audio.devices.wav import WavInput, WavOutput
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback import playback, speaker


def wav(fmt: bytes, data: bytes, *, data_bytes: int | None = None) -> bytes:
    """A whole file; fmt without its head."""
    length = len(data) if data_bytes is None else data_bytes
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"LIST\3\0\0\0abc\0" + b"data" + struct.pack("<I", length)
    return b"RIFF" + struct.pack("<I", len(body) + len(data)) + body + data


def fmt(coding: int, channels: int, rate_hz: int, bits: int) -> bytes:
    block = channels * bits // 8
    return struct.pack("<HHIIHH", coding, channels, rate_hz, rate_hz * block, block, bits)


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (48_000, 1, 2)
        return samples(file.readframes(file.getnframes()))


class Ear:
    """Collects what a microphone delivers."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, float, float]] = []
        self.changed = threading.Condition()

    def __call__(self, pcm: bytes, start_s: float) -> None:
        with self.changed:
            self.got.append((pcm, start_s, time.monotonic()))
            self.changed.notify_all()

    def wait(self, periods: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.got) >= periods, 60)

    @property
    def pcm(self) -> bytes:
        return b"".join(pcm for pcm, _, _ in self.got)


def hear(device: InputDevice, periods: int) -> Ear:
    ear = Ear()
    device.open(ear)
    ear.wait(periods)
    device.close()
    return ear


RAMP = [0, 1000, -1000, 32767, -32768, 7]


@pytest.mark.parametrize(
    ("header", "data", "tolerance"),
    [
        (fmt(1, 1, 16_000, 16), struct.pack("<6h", *RAMP), 0),
        (fmt(1, 2, 16_000, 16), struct.pack("<12h", *(v for value in RAMP for v in (value, value))), 0),
        (fmt(1, 1, 16_000, 24), b"".join(struct.pack("<i", value * 256)[:3] for value in RAMP), 0),
        (fmt(1, 1, 16_000, 32), struct.pack("<6i", *(value * 65536 for value in RAMP)), 0),
        (fmt(1, 1, 16_000, 8), bytes((value >> 8) + 128 for value in RAMP), 256),
        (fmt(3, 1, 16_000, 32), struct.pack("<6f", *(value / 32768 for value in RAMP)), 0),
        (fmt(0xFFFE, 1, 16_000, 16) + struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14), struct.pack("<6h", *RAMP), 0),
    ],
    ids=["16 bit", "stereo", "24 bit", "32 bit", "8 bit", "float", "extensible"],
)
def test_input_reads_pcm_of_all_kinds(tmp_path: Path, header: bytes, data: bytes, tolerance: int) -> None:
    (tmp_path / "in.wav").write_bytes(wav(header, data))
    ear = hear(WavInput(tmp_path / "in.wav"), 2)
    heard = samples(ear.pcm)
    assert np.max(np.abs(heard[:6] - np.array(RAMP))) <= tolerance
    assert not heard[6:].any()


def test_input_is_paced_in_real_time_and_becomes_silence(tmp_path: Path) -> None:
    voice = tone(0.21, rate_hz=44_100)
    (tmp_path / "in.wav").write_bytes(wav(fmt(1, 1, 44_100, 16), voice))
    device = WavInput(tmp_path / "in.wav")
    ear = Ear()
    opened_s = time.monotonic()
    info = device.open(ear)
    ear.wait(25)
    device.close()
    after = len(ear.got)
    assert (info.rate_hz, info.period_samples) == (44_100, 882)
    assert ear.pcm == (voice + bytes(len(ear.pcm)))[: len(ear.pcm)]
    assert device.ended.is_set()
    first_s = ear.got[0][1]
    assert first_s >= opened_s
    for number, (_, start_s, at_s) in enumerate(ear.got):
        assert start_s == pytest.approx(first_s + 0.02 * number, abs=1e-6)
        assert at_s >= start_s + 0.02 - 1e-6
    threading.Event().wait(0.05)
    assert len(ear.got) == after


def test_input_goes_on_where_it_was(tmp_path: Path) -> None:
    voice = tone(0.5, rate_hz=16_000)
    (tmp_path / "in.wav").write_bytes(wav(fmt(1, 1, 16_000, 16), voice))
    device = WavInput(tmp_path / "in.wav")
    pcm = hear(device, 5).pcm + hear(device, 5).pcm
    assert pcm == voice[: len(pcm)]


def test_input_of_a_stream_of_unknown_length(tmp_path: Path) -> None:
    voice = tone(0.05, rate_hz=16_000)
    (tmp_path / "in.wav").write_bytes(wav(fmt(1, 1, 16_000, 16), voice, data_bytes=0xFFFFFFFF))
    assert hear(WavInput(tmp_path / "in.wav"), 4).pcm[: len(voice)] == voice


@pytest.mark.parametrize(
    ("content", "text", "hint"),
    [
        (None, "No such file", "audio.input.device"),
        (b"", "not a WAV file", "sox"),
        (b"OggS" + bytes(100), "not a WAV file", "sox"),
        (wav(fmt(6, 1, 8_000, 8), b"x"), "8 bit coding 0x6, 1 channels at 8000 Hz", "sox .* -b 16"),
        (wav(fmt(3, 2, 48_000, 64), b"x"), "64 bit float, 2 channels", "sox"),
        (wav(fmt(1, 0, 48_000, 16), b"x"), "0 channels", "sox"),
        (b"RIFF\0\0\0\0WAVE", "without sound, or damaged", "again"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "without sound, or damaged", "again"),
        (b"RIFF\0\0\0\0WAVEfmt \2\0\0\0ab", "without sound, or damaged", "again"),
    ],
)
def test_input_refuses_in_words(tmp_path: Path, content: bytes | None, text: str, hint: str) -> None:
    path = tmp_path / "in.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DeviceError, match=text) as refused:
        WavInput(path).open(Ear())
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert re.search(hint, refused.value.hint)


class Mouth:
    """A fill that counts: sample n of the sound has the value n modulo 30000."""

    def __init__(self) -> None:
        self.given = 0
        self.changed = threading.Condition()

    def __call__(self, count: int) -> bytes:
        with self.changed:
            values = np.arange(self.given, self.given + count) % 30_000
            self.given += count
            self.changed.notify_all()
        return values.astype("<i2").tobytes()

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.given >= count, 60)


def test_output_writes_what_a_speaker_would_play(tmp_path: Path) -> None:
    device = WavOutput(tmp_path / "out.wav")
    mouth = Mouth()
    began_s = time.monotonic()
    info = device.open(mouth)
    mouth.wait(9_600)
    device.close()
    took_s = time.monotonic() - began_s
    written = read(tmp_path / "out.wav")
    assert (info.rate_hz, info.channels, info.period_samples, info.latency_s) == (48_000, 1, 480, 0.0)
    assert np.array_equal(written, np.arange(len(written)) % 30_000)
    assert len(written) == mouth.given
    assert 9_600 <= len(written) <= took_s * 48_000 + 480


def test_output_opened_again_has_silence_for_the_gap(tmp_path: Path) -> None:
    device = WavOutput(tmp_path / "out.wav")
    first, second = Mouth(), Mouth()
    device.open(first)
    first.wait(4_800)
    device.close()
    threading.Event().wait(0.2)
    closed_s = time.monotonic()
    device.open(second)
    opened_s = time.monotonic()
    second.wait(4_800)
    device.close()
    written = read(tmp_path / "out.wav")
    begins = len(written) - second.given
    assert np.array_equal(written[: first.given], np.arange(first.given))
    assert not written[first.given : begins].any()
    assert np.array_equal(written[begins:], np.arange(second.given))
    assert device.began_s is not None
    assert closed_s - 1e-4 <= device.began_s + begins / 48_000 <= opened_s + 1e-4


def test_output_overwrites_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"x" * 1_000_000)
    device = output_device(f"wav:{path}")
    mouth = Mouth()
    device.open(mouth)
    mouth.wait(480)
    device.close()
    assert len(read(path)) < 100_000


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "out.wav", tmp_path):
        with pytest.raises(DeviceError, match=r"No such file|Is a directory") as refused:
            WavOutput(path).open(Mouth())
        assert "audio.output.device" in refused.value.hint


def test_a_full_disk_is_said_once_and_the_clock_goes_on(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    device = WavOutput(tmp_path / "out.wav")
    mouth = Mouth()
    device.open(mouth)
    mouth.wait(480)
    assert device._fd is not None
    os.close(device._fd)
    device._fd = os.open("/dev/full", os.O_RDWR)
    mouth.wait(mouth.given + 4_800)
    device.close()
    assert len([record for record in caplog.records if "nothing is written" in record.message]) == 1


def test_output_is_valid_after_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    program = (
        "import sys, threading; from pathlib import Path; from parleyd.audio.devices.wav import WavOutput\n"
        "told = threading.Event(); count = 0\n"
        "def fill(n):\n"
        "    global count; count += n\n"
        "    if count == 24000: told.set()\n"
        "    return b'\\1\\1' * n\n"
        "WavOutput(Path(sys.argv[1])).open(fill); told.wait(); print('half a second', flush=True)\n"
        "threading.Event().wait()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half a second\n"
    finally:
        child.kill()
        child.wait(5)
    written = read(path)
    assert len(written) >= 24_000 - 4_800
    assert np.all(written == 257)
    # The header knows of everything but what was being written.
    assert 0 <= path.stat().st_size - 44 - 2 * len(written) <= 960


@pytest.mark.parametrize("spec", ["null", "wav"])
def test_a_failing_user_is_silence_and_said_once(spec: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    device: OutputDevice = output_device("null" if spec == "null" else f"wav:{tmp_path / 'out.wav'}")
    calls = threading.Semaphore(0)

    def fail(_count: int) -> bytes:
        calls.release()
        raise RuntimeError("boom")

    device.open(fail)
    for _ in range(5):
        assert calls.acquire(timeout=60)
    device.close()
    assert len([record for record in caplog.records if "could not be handled" in record.message]) == 1
    if spec == "wav":
        assert len(read(tmp_path / "out.wav")) >= 4 * 480


def test_null() -> None:
    opened_s = time.monotonic()
    ear = hear(input_device("null"), 5)
    assert ear.pcm == bytes(len(ear.pcm))
    assert len(ear.got[0][0]) == 640
    assert ear.got[4][2] - opened_s >= 0.1
    mouth = Mouth()
    speaker = output_device("null")
    began_s = time.monotonic()
    info = speaker.open(mouth)
    mouth.wait(4_800)
    assert time.monotonic() - began_s >= 0.089
    speaker.close()
    speaker.close()
    assert info.rate_hz == 48_000


def test_names(tmp_path: Path) -> None:
    assert isinstance(input_device("default"), PortAudioInput)
    assert isinstance(output_device("USB Audio"), PortAudioOutput)
    assert isinstance(input_device(f"wav:{tmp_path}/a.wav"), WavInput)
    for bad in ("wav:", "  "):
        with pytest.raises(DeviceError):
            input_device(bad)
        with pytest.raises(DeviceError):
            output_device(bad)


def test_one_file_cannot_be_both(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="both the microphone and the speaker"):
        device_pair(f"wav:{tmp_path}/a.wav", f"wav:{tmp_path}/../{tmp_path.name}/a.wav")
    device_pair("null", "null")


class SteppedTime:
    """Stands still, but for the ticks that the test asks for. Takes the place of `time` and of the device's clock."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._clocks = queue.SimpleQueue[Clock]()

    def monotonic(self) -> float:
        return self.now_s

    def clock(self, _name: str, period_s: float, tick: Tick, *, start_s: float) -> Clock:
        clock = Clock(self, period_s, tick, start_s)
        self._clocks.put(clock)
        return clock

    def opened(self) -> Clock:
        """The clock of the device, once it has been opened: a sharp cut opens it again, on a thread of its own."""
        return self._clocks.get(timeout=60)


@dataclass
class Clock:
    time: SteppedTime
    period_s: float
    on_tick: Tick
    at_s: float

    def tick(self) -> None:
        self.time.now_s = max(self.time.now_s, self.at_s)
        self.on_tick(self.at_s)
        self.at_s += self.period_s

    def stop(self) -> None:
        """Nothing ticks unless it is told to."""


@pytest.mark.parametrize("cut", ["fade", "sharp"])
def test_a_cleared_answer_in_the_file(
    room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cut: str
) -> None:
    """The speaker's file shows the whole truth: where the sound ended, how much was heard, and no click."""
    stepped = SteppedTime()
    for module in (wav_device, playback, speaker):
        monkeypatch.setattr(module, "time", stepped)
    monkeypatch.setattr(wav_device, "RealTimeClock", stepped.clock)
    its: Room = room(WavOutput(tmp_path / "out.wav"), cut=cut)
    clock = stepped.opened()

    def periods(count: int) -> None:
        for _ in range(count):
            its.settle()
            clock.tick()

    its.playback.set_format(AudioFormat("pcm", 24_000))
    its.playback.enqueue(1, tone(3.0))
    periods(31)
    cleared = len(read(tmp_path / "out.wav"))
    (heard,) = its.playback.clear()
    if cut == "sharp":
        clock = stepped.opened()
    periods(10)
    its.playback.enqueue(2, tone(0.1))
    its.playback.end_answer(2)
    periods(15)
    its.playback.stop()
    written = read(tmp_path / "out.wav")
    loud = np.nonzero(np.abs(written) > 100)[0]
    gaps = np.nonzero(np.diff(loud) > 48 * 30)[0]
    assert len(gaps) == 1
    ended, resumed = int(loud[gaps[0]]), int(loud[gaps[0] + 1])
    assert ended <= cleared + 48 * 20  # the design's bound
    assert not written[ended + 50 : resumed - 100].any()
    sounded_ms = (ended - loud[0]) / 48
    assert heard.heard_ms - 2 <= sounded_ms <= heard.heard_ms + (6 if cut == "fade" else 12)
    if cut == "fade":
        steps = np.abs(np.diff(written[loud[0] + 100 : resumed - 100]))
        assert steps.max() < 2 * np.pi * 500 / 48_000 * 10_000 + 80
    assert [heard.heard_ms for heard in its.finished] == [heard.heard_ms, 100]


@pytest.mark.parametrize(("coding", "bits", "kind"), [(1, 16, "<i2"), (1, 32, "<i4"), (3, 32, "<f4")])
def test_a_channel_of_a_recording_is_chosen(tmp_path: Path, coding: int, bits: int, kind: str) -> None:
    full = 1.0 if coding == 3 else 2.0 ** (bits - 1)
    data = (np.tile([0.1, 0.2, 0.3], 16_000) * full).astype(kind).tobytes()
    (tmp_path / "three.wav").write_bytes(wav(fmt(coding, 3, 16_000, bits), data))
    ear = Ear()
    device = input_device(f"wav:{tmp_path}/three.wav", 3)
    device.open(ear)
    ear.wait(1)
    device.close()
    assert set(samples(ear.got[0][0])) <= {9830, 9831}


def test_a_channel_that_the_recording_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "two.wav").write_bytes(wav(fmt(1, 2, 16_000, 16), bytes(64)))
    with pytest.raises(DeviceError, match=r"has 2 channels, and audio\.input\.channel asks for number 3") as refused:
        input_device(f"wav:{tmp_path}/two.wav", 3).open(lambda *_: None)
    assert "up to 2" in refused.value.hint
