from __future__ import annotations

import errno
import os
import stat
import wave
from pathlib import Path

import pytest

from parleyd.audio.gate.gate import Passed
from parleyd.audio.pcm import FRAME_BYTES, Frame
from parleyd.audio.recorder import Recorder
from parleyd.config.retention import Debug


def passed(sound: bytes, *, speech: bool = True) -> Passed:
    return Passed(Frame(sound, 0.0), speech)


def record(recorder: Recorder, sounds: list[bytes]) -> None:
    recorder.start()
    for sound in sounds:
        recorder.take([passed(b"\x09" * FRAME_BYTES, speech=False), passed(sound)], closed=False)
        recorder.take([passed(sound)], closed=True)
        recorder.take([], closed=True)
        # One at a time: what comes faster than the disk takes it is dropped.
        while recorder._waiting.qsize():
            recorder._thread.join(0.01)
    recorder.stop()


def test_the_newest_utterances_are_kept_and_they_are_what_passed_the_gate(tmp_path: Path) -> None:
    directory = tmp_path / "r"
    sounds = [bytes([number]) * FRAME_BYTES for number in range(1, 6)]
    record(Recorder(Debug(record=True, record_files=2), directory), sounds)
    found = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len(found) == 2
    for path, sound in zip(found, sounds[-2:], strict=True):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with wave.open(str(path)) as file:
            assert file.getframerate() == 16_000
            assert file.readframes(file.getnframes()) == 2 * sound


def test_their_size_is_bounded_too_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_bytes(bytes(5000))
    record(Recorder(Debug(record=True, record_mb=0.003), tmp_path), [bytes(FRAME_BYTES)] * 5)
    ours = [path for path in tmp_path.iterdir() if path.name != "notes.wav"]
    assert len(ours) == 2
    assert (tmp_path / "notes.wav").exists()


def test_of_a_recording_for_which_there_is_no_room_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their number and size are bounded on a full disk, too, and what is to be forgotten is in no part of a file."""

    def full(recording: wave.Wave_write, sound: bytes) -> None:
        recording.writeframesraw(sound[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "20260101T000000-001.wav").write_bytes(bytes(44))
    (tmp_path / "20260101T000000-002.wav").write_bytes(bytes(44))
    with monkeypatch.context() as patched:
        patched.setattr(wave.Wave_write, "writeframes", full)
        record(Recorder(Debug(record=True, record_files=1), tmp_path), [bytes(FRAME_BYTES)] * 3)
    assert len(list(tmp_path.iterdir())) == 1, "the newest of those that were there"


def test_what_is_to_be_forgotten_is_in_no_file(tmp_path: Path) -> None:
    """Half of an utterance, one that waits for the disk, and one that is just being written."""
    recorder = Recorder(Debug(record=True), tmp_path)
    written = recorder._write

    def write(name: str, sound: bytes) -> None:
        written(name, sound)
        if sound == b"\x01" * FRAME_BYTES:
            # The order comes in the middle of it.
            recorder.forget()

    recorder._write = write  # type: ignore[method-assign]
    recorder.take([passed(b"\x01" * FRAME_BYTES)], closed=True)
    recorder.take([passed(b"\x02" * FRAME_BYTES)], closed=True)
    recorder.take([passed(b"\x03" * FRAME_BYTES)], closed=False)
    recorder.start()
    while recorder._waiting.qsize() or not recorder._forgotten:
        recorder._thread.join(0.01)
    recorder.take([passed(b"\x04" * FRAME_BYTES)], closed=True)
    recorder.stop()
    recorder._thread.join()
    sounds = []
    for path in tmp_path.iterdir():
        with wave.open(str(path)) as file:
            sounds.append(file.readframes(file.getnframes()))
    assert sounds == [b"\x04" * FRAME_BYTES]
