"""Files that clients hand over, in a file system that hangs: nobody else waits for them."""

from __future__ import annotations

import contextlib
import os
import socket
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_control_server import daemon

from hanging_files import HangingFiles
from parleyd.control.client import Client, RefusedError
from parleyd.host import handed_over
from parleyd.host.handed_over import MOST_CLOSING, MOST_WAITING
from waiting import until


@pytest.fixture
def files(tmp_path: Path) -> Iterator[HangingFiles]:
    sound, picture = tmp_path / "bell.wav", tmp_path / "a.png"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 22_050, 0, "NONE", ""))
        file.writeframes(bytes(22_050))
    picture.write_bytes(b"\x89PNG")
    with HangingFiles(tmp_path / "hanging", sound, picture) as one:
        yield one


ANNOUNCE = b'{"do": "announce_sound", "name": "bell"}\n'
SEND = b'{"do": "send_file", "name": "a.png"}\n'


def hand_over(client: Client, request: bytes, descriptor: int) -> None:
    """Does not wait for the answer."""
    socket.send_fds(client._connection, [request], [descriptor])
    os.close(descriptor)


@pytest.mark.parametrize(
    ("request_", "index", "hangs"),
    [(ANNOUNCE, 0, "read"), (ANNOUNCE, 0, "fstat"), (SEND, 1, "fstat")],
    ids=["announce-read", "announce-fstat", "send-fstat"],
)
def test_a_file_that_hangs_is_refused_and_holds_nobody_up(
    request_: bytes, index: int, hangs: str, files: HangingFiles, tmp_path: Path
) -> None:
    with daemon(tmp_path), contextlib.closing(files), contextlib.ExitStack() as entered:
        other, *clients = (entered.enter_context(Client()) for _ in range(MOST_WAITING + 2))
        descriptors = [files.opened(index) for _ in clients]
        files.hang(hangs)
        for client, descriptor in zip(clients, descriptors, strict=True):
            hand_over(client, request_, descriptor)
            assert other.ask("status")["health"] == "well"
        assert other.ask("volume", to=0.25) == {"volume": 0.25}
        errors = [client._read_answer()["error"] for client in clients]
        told = [error["text"] for error in errors]
        assert told[:-1] == ["the file does not answer within 3 s"] * MOST_WAITING
        assert told[-1] == "other files hang, and this one was not looked at"
        assert {error["kind"] for error in errors} == {"bad_file"}
        assert all(error["hint"] for error in errors)
        # When the file system has come back, or is given up, files are looked at again.
        files.close()
        until("the places are not free", lambda: is_looked_at(other, tmp_path))


def is_looked_at(client: Client, folder: Path) -> bool:
    with (folder / "bell.wav").open("rb") as sound, contextlib.suppress(RefusedError):
        return bool(client.announce_sound(sound.fileno(), "bell"))
    return False


def test_a_file_that_hangs_while_it_is_closed_holds_nobody_up(files: HangingFiles, tmp_path: Path) -> None:
    """Each close(2) of such a file waits for its file system; and any client may pass a file, and leave."""
    with daemon(tmp_path), contextlib.closing(files), Client() as other, contextlib.ExitStack() as entered:
        clients = [entered.enter_context(Client()) for _ in range(10)]
        for client in clients:
            hand_over(client, b'{"do": "status"}\n', files.opened(1))
            assert client._read_answer()["ok"]
        files.hang("close")
        entered.close()
        assert other.ask("status")["health"] == "well"
        assert other.ask("volume", to=0.25) == {"volume": 0.25}


def test_of_files_that_wait_to_be_closed_there_are_so_many_at_most(files: HangingFiles) -> None:
    closer = handed_over._Closer()
    first, *others = (files.opened() for _ in range(MOST_CLOSING + 1))
    files.hang("close")
    closer.close(first)
    until("the first one is not being closed", lambda: not closer._waiting)
    for descriptor in others:
        assert closer.has_room
        closer.close(descriptor)
    assert not closer.has_room
    files.close()
    until("they are not closed", lambda: not closer._waiting)
