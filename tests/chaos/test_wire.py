from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from chaos import convai, voices
from chaos.wire import BINARY, TEXT, Heard, Line, Server, frame


def masked(opcode: int, payload: bytes) -> bytes:
    """As a client sends it."""
    key = os.urandom(4)
    body = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes([0x80 | opcode]) + length + key + body


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535])
def test_what_a_client_sends_is_read_however_it_is_cut(size: int) -> None:
    payload = os.urandom(size)
    line = Line.__new__(Line)
    line._buffer = bytearray()
    for byte in masked(BINARY, payload) + masked(TEXT, b"next"):
        assert line._parse() is None or size
        line._buffer.append(byte)
        if (found := line._parse()) is not None:
            break
    assert found == (BINARY, payload)


@pytest.mark.parametrize(("size", "head"), [(5, b"\x81\x05"), (300, b"\x81\x7e\x01\x2c"), (70000, b"\x81\x7f")])
def test_frames_have_the_shortest_length(size: int, head: bytes) -> None:
    assert frame(TEXT, bytes(size)).startswith(head)


def test_every_20_ms_of_all_that_is_said_is_unique() -> None:
    line = voices.Voices(voices.synthesise()).short[0]
    pieces = [
        sound[at : at + voices.FRAME_SAMPLES].tobytes()
        for sound in (voices.unique(line.pcm, number) for number in range(20))
        for at in range(0, len(sound), voices.FRAME_SAMPLES)
    ]
    assert len(set(pieces)) == len(pieces)


def test_tones_are_told_apart_in_what_the_speaker_played(tmp_path: Path) -> None:
    played = [np.frombuffer(voices.tone(number, 0.6), "<i2") for number in (1, 2, 40)]
    sound = np.repeat(np.concatenate([np.zeros(8000, np.int16), *played]), 3)
    header = b"RIFF" + bytes(4) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 48_000, 96_000, 2, 16)
    (tmp_path / "speaker.wav").write_bytes(header + b"data" + bytes(4) + sound.tobytes())
    heard = voices.tones_heard(tmp_path / "speaker.wav")
    assert {number for number, seconds in heard.items() if seconds > 0.5} == {1, 2, 40}


def test_a_server_that_was_refusing_listens_again() -> None:
    server = Server(Heard(), convai.PROVIDER)
    try:
        port = server.port
        server.refuse()
        server.accept_again()
        assert server.port == port
    finally:
        server.stop()
