"""WAV files as microphone and speaker, in real time."""

from __future__ import annotations

import logging
import os
import struct
import threading
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np
from msgspec import Struct

from parleyd.audio import pcm as sound
from parleyd.audio.devices.clock import RealTimeClock
from parleyd.audio.devices.device import Deliver, DeviceError, Fill, StreamInfo, too_few_channels
from parleyd.audio.devices.safe_callbacks import SafeCallbacks
from parleyd.audio.pcm import BYTES_PER_SAMPLE
from parleyd.core.log_fields import fields
from parleyd.host.files import open_regular

log = logging.getLogger(__name__)

# RIFF/WAVE, "Multimedia Programming Interface and Data Specifications 1.0" (1991), and WAVEFORMATEXTENSIBLE.
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_HEADER_BYTES = 44
_MOST_DATA_BYTES = 0xFFFFFFFF - _HEADER_BYTES


# ---------------------------------------------------------------- reading


class WavHeader(Struct, frozen=True):
    """The header of a file."""

    coding: int
    """The format of a sample: 1 integer PCM, 3 float."""
    channels: int
    """The number of channels, whose samples alternate."""
    rate_hz: int
    """The number of samples of one channel in a second."""
    bits: int
    """The size of one sample of one channel."""
    data_offset: int
    """The place of the first byte of sound, from the beginning of the file."""
    data_bytes: int
    """The number of bytes of sound, from data_offset on."""

    @property
    def block_bytes(self) -> int:
        return self.channels * self.bits // 8


def read_header(file: BinaryIO, path: Path) -> WavHeader:
    """Reads the header. Raises DeviceError if it is not a WAV file, or if its format is not supported."""
    name = f"wav:{path}"
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise DeviceError(f"{name}: not a WAV file", f"convert it, for example: sox {path} -b 16 out.wav")
    fmt: tuple[int, int, int, int] | None = None
    while len(chunk := file.read(8)) == 8:
        tag, length = struct.unpack("<4sI", chunk)
        if tag == b"fmt ":
            body = file.read(length)
            if len(body) < 16:
                break
            coding, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body)
            if coding == _EXTENSIBLE and len(body) >= 26:
                (coding,) = struct.unpack_from("<H", body, 24)
            fmt = coding, channels, rate_hz, bits
            file.seek(length % 2, os.SEEK_CUR)
        elif tag == b"data":
            if fmt is None:
                break
            offset = file.tell()
            # A program that writes into a pipe does not know the length, and writes 0 or the largest number.
            data_bytes = size - offset if length in (0, 0xFFFFFFFF, 0x7FFFFFFF) else min(length, size - offset)
            return _usable(WavHeader(*fmt, offset, data_bytes), path)
        else:
            file.seek(length + length % 2, os.SEEK_CUR)
    raise DeviceError(f"{name}: a WAV file without sound, or damaged", "record or convert it again")


def _usable(header: WavHeader, path: Path) -> WavHeader:
    integer = header.coding == _PCM and header.bits in (8, 16, 24, 32)
    known = integer or (header.coding == _FLOAT and header.bits == 32)
    if not known or header.channels < 1 or not 4_000 <= header.rate_hz <= 384_000:
        coding = {_PCM: "integer PCM", _FLOAT: "float"}.get(header.coding, f"coding 0x{header.coding:x}")
        raise DeviceError(
            f"wav:{path}: {header.bits} bit {coding}, {header.channels} channels at {header.rate_hz} Hz cannot be read",
            f"convert it, for example: sox {path} -b 16 out.wav",
        )
    return header


def to_mono(header: WavHeader, data: bytes, channel: int | None = None) -> bytes:
    """Turns complete blocks of the file into mono 16-bit PCM: the given channel, counted from 1, or the mean of all."""
    if header.coding == _FLOAT:
        values = np.frombuffer(data, "<f4") * np.float32(32768.0)
    elif header.bits == 16:
        return sound.to_mono(data, header.channels, channel)
    elif header.bits == 8:
        values = (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) * 256.0
    elif header.bits == 24:
        triples = np.frombuffer(data, np.uint8).reshape(-1, 3)
        whole = np.zeros((len(triples), 4), np.uint8)
        whole[:, 1:] = triples
        values = whole.view("<i4").ravel().astype(np.float32) / 65536.0
    else:
        values = np.frombuffer(data, "<i4").astype(np.float32) / 65536.0
    channels = values.reshape(-1, header.channels)
    return sound.to_pcm(np.nan_to_num(channels.mean(axis=1) if channel is None else channels[:, channel - 1]))


def read_wav(path: Path, channel: int | None = None) -> tuple[bytes, int]:
    """Reads a whole file: mono 16-bit PCM, and its rate. Raises OSError, or DeviceError if the format cannot be read.

    channel: the number of the channel, from 1; None: the mean of all channels."""
    with os.fdopen(open_regular(path), "rb") as file:
        header = read_header(file, path)
        if channel is not None and channel > header.channels:
            raise too_few_channels(str(path), header.channels, channel)
        file.seek(header.data_offset)
        data = file.read(header.data_bytes)
    data = data[: len(data) - len(data) % header.block_bytes]
    return (to_mono(header, data, channel) if data else b""), header.rate_hz


class WavInput:
    """A recording instead of a microphone: 20 ms periods in real time, at the file's rate, and silence after its end.

    After it was closed and opened again, it goes on at the same place. `ended` is set after the end of the recording
    was delivered. channel: the number of the channel, from 1; None: the mean of all channels.
    """

    def __init__(self, path: Path, channel: int | None = None) -> None:
        self.name = f"wav:{path}"
        self.overflows = 0
        self.ended = threading.Event()
        self._path = path
        self._channel = channel
        self._position = 0  # bytes of the data delivered so far
        self._file: BinaryIO | None = None
        self._clock: RealTimeClock | None = None

    def open(self, deliver: Deliver) -> StreamInfo:
        """Raises DeviceError for a file that does not exist or cannot be read."""
        if self._path.exists() and not self._path.is_file():
            raise DeviceError(f"{self.name}: not a regular file", "check the path of audio.input.device")
        try:
            file = os.fdopen(open_regular(self._path), "rb")
        except OSError as error:
            raise DeviceError(f"{self.name}: {error.strerror}", "check the path of audio.input.device") from error
        try:
            header = read_header(file, self._path)
            if self._channel is not None and self._channel > header.channels:
                raise too_few_channels(self.name, header.channels, self._channel)
        except BaseException:
            file.close()
            raise
        safe = SafeCallbacks(self.name).deliver(deliver)
        period_samples = header.rate_hz // 50
        period_s = period_samples / header.rate_hz
        silence = bytes(period_samples * BYTES_PER_SAMPLE)

        def tick(at_s: float) -> None:
            pcm = b"" if self.ended.is_set() else self._read(file, header, period_samples)
            safe(pcm + silence[len(pcm) :], at_s - period_s)

        self._file = file
        self._clock = RealTimeClock("wav input", period_s, tick, start_s=time.monotonic() + period_s)
        return StreamInfo(header.rate_hz, header.channels, period_samples, period_s)

    def _read(self, file: BinaryIO, header: WavHeader, samples: int) -> bytes:
        wanted = min(samples * header.block_bytes, header.data_bytes - self._position)
        wanted -= wanted % header.block_bytes
        data = b""
        try:
            file.seek(header.data_offset + self._position)
            data = file.read(wanted)
        except OSError as error:
            log.error("%s: %s; silence from here on", self.name, error.strerror, extra=fields(device=self.name))
        data = data[: len(data) - len(data) % header.block_bytes]
        self._position += len(data)
        if len(data) < samples * header.block_bytes:
            self.ended.set()
        return to_mono(header, data, self._channel) if data else b""

    def close(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.stop()
        file, self._file = self._file, None
        if file is not None:
            file.close()


# ---------------------------------------------------------------- writing


class WavOutput:
    """A recording instead of a speaker: 48 kHz mono 16 bit, exactly as a speaker would have played it.

    Time in the file is time in the room: the file begins with the first open(), silence is written like all sound, and
    the time between close() and open() is filled with silence. Sound that is requested at a moment is at the place of
    that moment in the file: the latency is zero. began_s is the monotonic time of the first sample. The header is
    updated with every period, so that the file is valid however the program ends.
    """

    RATE_HZ = 48_000
    PERIOD_SAMPLES = RATE_HZ // 100

    def __init__(self, path: Path) -> None:
        self.name = f"wav:{path}"
        self.underruns = 0
        self._path = path
        self.began_s: float | None = None
        self._fd: int | None = None
        self._samples = 0  # in the file
        self._failed = False
        self._clock: RealTimeClock | None = None

    def open(self, fill: Fill) -> StreamInfo:
        """Raises DeviceError when the file cannot be written."""
        try:
            fresh = os.O_CREAT | os.O_TRUNC if self.began_s is None else 0
            self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | fresh, 0o644)
            now_s = time.monotonic()
            if self.began_s is None:
                self.began_s = now_s
            self._samples = max(self._samples, round((now_s - self.began_s) * self.RATE_HZ))
            # The skipped part reads as zeros and takes no space.
            os.ftruncate(self._fd, _HEADER_BYTES + self._samples * BYTES_PER_SAMPLE)
            self._write_header()
        except OSError as error:
            self.close()
            raise DeviceError(
                f"{self.name}: {error.strerror}", "check the path of audio.output.device and its permissions"
            ) from error
        safe = SafeCallbacks(self.name).fill(fill)
        self._clock = RealTimeClock(
            "wav output",
            self.PERIOD_SAMPLES / self.RATE_HZ,
            lambda _at_s: self._write(safe(self.PERIOD_SAMPLES)),
            start_s=self.began_s + self._samples / self.RATE_HZ,
        )
        return StreamInfo(self.RATE_HZ, 1, self.PERIOD_SAMPLES, 0.0)

    def _write(self, pcm: bytes) -> None:
        if self._fd is None or self._failed:
            return
        try:
            if (self._samples * BYTES_PER_SAMPLE) + len(pcm) > _MOST_DATA_BYTES:
                raise OSError(0, "a WAV file ends at 4 GiB")
            os.pwrite(self._fd, pcm, _HEADER_BYTES + self._samples * BYTES_PER_SAMPLE)
            self._samples += len(pcm) // BYTES_PER_SAMPLE
            self._write_header()
        except OSError as error:
            # A full disk silences the speaker, but does not stop the conversation.
            self._failed = True
            words = error.strerror or error
            log.error("%s: %s; nothing is written from here on", self.name, words, extra=fields(device=self.name))

    def _write_header(self) -> None:
        assert self._fd is not None
        data_bytes = min(self._samples * BYTES_PER_SAMPLE, _MOST_DATA_BYTES)
        header = b"RIFF" + struct.pack("<I", data_bytes + _HEADER_BYTES - 8) + b"WAVEfmt "
        bytes_per_s = self.RATE_HZ * BYTES_PER_SAMPLE
        header += struct.pack("<IHHIIHH", 16, _PCM, 1, self.RATE_HZ, bytes_per_s, BYTES_PER_SAMPLE, 16)
        os.pwrite(self._fd, header + b"data" + struct.pack("<I", data_bytes), 0)

    def close(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.stop()
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
