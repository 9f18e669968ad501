"""WAV files as the sound of announcements."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from parleyd.announce import sound_file
from parleyd.announce.sound_file import MOST_SOUND_S, SoundFile, SoundFileError
from parleyd.audio.pcm import AudioFormat, samples_of
from parleyd.core.endings import DialError
from parleyd.host.handed_over import of_this_process
from waiting import until

BELL = of_this_process("bell")


def written(path: Path, pcm: bytes, rate_hz: int = 22050, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate_hz, 0, "NONE", ""))
        file.writeframes(pcm)
    return path


def opened(path: Path) -> SoundFile:
    return SoundFile(os.open(path, os.O_RDONLY), of_this_process(path.name))


def test_the_samples_come_whole_and_again_for_another_try(tmp_path: Path) -> None:
    pcm = np.arange(30_000).astype("<i2").tobytes()
    sound = opened(written(tmp_path / "a.wav", pcm))
    assert sound.output_format == AudioFormat("pcm", 22050)
    assert b"".join(sound.stream("", 1.0)) == pcm
    assert b"".join(sound.stream("", 1.0)) == pcm


def test_two_channels_become_one(tmp_path: Path) -> None:
    both = np.repeat(np.array([[100, 300]], dtype="<i2"), 16_000, axis=0)
    sound = opened(written(tmp_path / "a.wav", both.tobytes(), 16_000, channels=2))
    mono = samples_of(b"".join(sound.stream("", 1.0)))
    assert len(mono) == 16_000
    assert set(mono.tolist()) == {200}


def test_where_the_descriptor_stands_is_the_senders_own(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", bytes(1000))
    with path.open("rb") as theirs:
        theirs.seek(17)
        sound = SoundFile(os.dup(theirs.fileno()), BELL)
        assert len(b"".join(sound.stream("", 1.0))) == 1000
        assert os.lseek(theirs.fileno(), 0, os.SEEK_CUR) == 17


def test_the_descriptor_is_closed_with_the_last_one_who_reads(tmp_path: Path) -> None:
    descriptor = os.open(written(tmp_path / "a.wav", bytes(100_000)), os.O_RDONLY)
    reading = SoundFile(descriptor, BELL).stream("", 1.0)
    assert next(reading)
    os.fstat(descriptor)
    del reading
    until("it is not closed", lambda: not Path(f"/proc/self/fd/{descriptor}").exists())


def test_a_file_that_becomes_shorter_ends_early(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", bytes(200_000))
    sound = opened(path)
    os.truncate(path, 44 + 1001)
    assert len(b"".join(sound.stream("", 1.0))) == 1000
    os.truncate(path, 0)
    with pytest.raises(DialError) as refusal:
        list(sound.stream("", 1.0))
    assert "no WAV file" in refusal.value.ending.reason or "not a WAV file" in refusal.value.ending.reason


def test_a_file_that_cannot_be_read_on_is_an_end_too(tmp_path: Path) -> None:
    """The announcer would wait for the next piece for ever, and so would all that comes after it."""
    descriptor = os.open(written(tmp_path / "a.wav", bytes(200_000)), os.O_RDONLY)
    pieces = SoundFile(descriptor, BELL).stream("", 1.0)
    assert next(pieces)
    # A regular file, which answers EIO there: the first page of a process is never its own.
    unreadable = os.open("/proc/self/mem", os.O_RDONLY)
    os.dup2(unreadable, descriptor)
    os.close(unreadable)
    with pytest.raises(DialError) as refusal:
        list(pieces)
    assert refusal.value.ending.reason == "the sound file could not be read on: [Errno 5] Input/output error"
    assert refusal.value.ending.hint


def stream_head(path: Path) -> Path:
    """As programs write it that do not know the length: the head promises 4 GiB."""
    pcm = bytes(44_100)
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 2**32 - 1, b"WAVE", b"fmt ", 16, 1, 1, 22050, 44100, 2, 16,
                       b"data", 2**32 - 1)  # fmt: skip
    path.write_bytes(head + pcm)
    return path


def test_the_length_of_a_stream_is_told_by_its_bytes(tmp_path: Path) -> None:
    path = stream_head(tmp_path / "a.wav")
    pcm_bytes = int((MOST_SOUND_S - 10.0) * 44_100)
    os.truncate(path, 44 + pcm_bytes)
    assert sum(len(piece) for piece in opened(path).stream("", 1.0)) == pcm_bytes
    os.truncate(path, 44 + pcm_bytes + 20 * 44_100)
    with pytest.raises(SoundFileError, match="130 s long"):
        opened(path)


def test_a_head_that_promises_more_than_there_is(tmp_path: Path) -> None:
    assert len(b"".join(opened(stream_head(tmp_path / "a.wav")).stream("", 1.0))) == 44_100


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a WAV file"),
        (b"RIFF", "not a WAV file"),
        (b"RIFF\x04\x00\x00\x00WAVE", "not a WAV file"),
        (b"ID3 and some music" * 10, "not a WAV file"),
        (os.urandom(500), "not a WAV file"),
    ],
    ids=["empty", "cut", "no chunks", "mp3", "noise"],
)
def test_what_is_no_sound_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    descriptor = os.open(tmp_path / "a.wav", os.O_RDONLY)
    with pytest.raises(SoundFileError, match=why) as refusal:
        SoundFile(descriptor, BELL)
    assert refusal.value.hint
    del refusal


def test_what_is_too_much_is_refused(tmp_path: Path) -> None:
    long = written(tmp_path / "long.wav", bytes(int(MOST_SOUND_S * 8000 + 8000) * 2), 8000)
    with pytest.raises(SoundFileError, match="121 s long, an announcement at most 120 s"):
        opened(long)
    with (tmp_path / "huge.wav").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(SoundFileError, match="1024 MiB"):
        opened(tmp_path / "huge.wav")


@pytest.mark.parametrize(
    ("rate_hz", "channels", "width", "why"),
    [(7000, 1, 2, "7000 Hz"), (96_000, 1, 2, "96000 Hz"), (16_000, 4, 2, "two channels"), (16_000, 1, 1, "16 bit")],
)
def test_other_kinds_of_sound_are_refused(rate_hz: int, channels: int, width: int, why: str, tmp_path: Path) -> None:
    with pytest.raises(SoundFileError, match=why):
        opened(written(tmp_path / "a.wav", bytes(1600), rate_hz, channels, width))
    with pytest.raises(SoundFileError, match="no sound in the file"):
        opened(written(tmp_path / "b.wav", b""))


def test_a_pipe_is_refused() -> None:
    reading, writing = os.pipe()
    with pytest.raises(SoundFileError, match="not a file"):
        SoundFile(reading, BELL)
    os.close(writing)


def test_what_is_refused_is_closed_although_somebody_keeps_the_error() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(SoundFileError, match="not a file") as refusal:
        sound_file.opened(reading, BELL)
    until("it is not closed", lambda: not Path(f"/proc/self/fd/{reading}").exists())
    assert refusal.value.hint
