"""Files that clients hand over, in a file system that hangs: nobody else waits for them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import wave
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_control_server import daemon

from hanging_files import HangingFiles
from parleyd.agents.provider import UploadError
from parleyd.announce import sound_file
from parleyd.cli.serving import _troubles_of_settings
from parleyd.config.schema import Control
from parleyd.control.client import Client, RefusedError
from parleyd.control.commands import takes_time
from parleyd.control.messages import AnyRequest
from parleyd.control.roles import Caller, roles_of
from parleyd.control.server import ControlServer
from parleyd.conversation.dialogue import uploads
from parleyd.core import events
from parleyd.core.endings import DialError
from parleyd.core.health import FILES, Grade, Trouble
from parleyd.core.log_fields import NOTICE
from parleyd.host import handed_over
from parleyd.host.handed_over import (
    MOST_CLOSERS,
    MOST_CLOSING,
    MOST_OF_ONE,
    MOST_WAITING,
    BusyError,
    HangsError,
    Whose,
    of_this_process,
)
from waiting import until

WAIT_S = 60.0
BELL = of_this_process("bell")


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
    with daemon(tmp_path) as process, contextlib.closing(files), contextlib.ExitStack() as entered:
        other, *clients = (entered.enter_context(Client()) for _ in range(MOST_OF_ONE + 2))
        descriptors = [files.opened(index) for _ in clients]
        files.hang(hangs)
        for client, descriptor in zip(clients, descriptors, strict=True):
            hand_over(client, request_, descriptor)
            assert other.ask("status")["health"] == "well"
        assert other.ask("volume", to=0.25) == {"volume": 0.25}
        errors = [client._read_answer()["error"] for client in clients]
        told = [error["text"] for error in errors]
        assert told[:-1] == ["the file does not answer within 3 s"] * MOST_OF_ONE
        assert told[-1] == "other files hang, and this one was not looked at"
        assert {error["kind"] for error in errors} == {"bad_file"}
        assert all(error["hint"] for error in errors)
        # Not only the client knows.
        name = "bell" if request_ is ANNOUNCE else "a.png"
        assert handed_over.HINT in logged(process, f"a file does not answer: {name} of the user 0")
        until("the status does not tell", lambda: name in hanging_of(other.ask("status")))
        # When the file system has come back, or is given up, files are looked at again.
        files.close()
        until("the places are not free", lambda: is_looked_at(other, tmp_path))
        logged(process, f"a file hangs no longer: {name} of the user 0, after ")
        until("the status tells still", lambda: not hanging_of(other.ask("status")))


def logged(process: subprocess.Popen[str], text: str) -> str:
    """The next line of the log with it."""
    assert process.stderr is not None
    return next(line for line in process.stderr if text in line)


def hanging_of(status: dict[str, Any]) -> str:
    """The trouble's text; empty if there is none."""
    return next((one["text"] for one in status["troubles"] if one["part"] == FILES), "")


def test_one_user_cannot_have_all_places(caplog: pytest.LogCaptureFixture) -> None:
    over = threading.Event()
    with caplog.at_level(NOTICE):
        for number in range(MOST_OF_ONE):
            with pytest.raises(HangsError):
                handed_over.in_time(over.wait, Whose(f"{number}.wav", 1000), 0.01)
        with pytest.raises(BusyError):
            handed_over.in_time(lambda: 1, Whose("more.wav", 1000), WAIT_S)
        assert handed_over.in_time(lambda: 1, Whose("theirs.wav", 1001), WAIT_S) == 1
        assert len(handed_over.hanging()) == MOST_OF_ONE
        assert "theirs.wav" not in caplog.text
        over.set()
        until("the places are not free", lambda: not handed_over.hanging())
        assert handed_over.in_time(lambda: 1, Whose("more.wav", 1000), WAIT_S) == 1
        told = [record.getMessage() for record in caplog.records if "0.wav" in record.getMessage()]
        assert told[0].startswith("a file does not answer: 0.wav of the user 1000; of the places for files that hang 7")
        assert told[1].startswith("a file hangs no longer: 0.wav of the user 1000, after ")


def test_a_file_that_hangs_takes_no_settings_back() -> None:
    """It is no doing of a setting."""
    ill = (Trouble(FILES, Grade.TROUBLE, "bell.wav hangs"), Trouble("agent", Grade.TROUBLE, "it refuses"))
    service: Any = SimpleNamespace(status=lambda: SimpleNamespace(troubles=ill))
    assert [one.part for one in _troubles_of_settings(service)] == ["agent"]


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
    first = [files.opened() for _ in range(MOST_CLOSERS)]
    others = [files.opened() for _ in range(MOST_CLOSING)]
    files.hang("close")
    for descriptor in first:
        closer.close(descriptor)
    until("the first ones are not being closed", lambda: not closer._waiting)
    for descriptor in others:
        assert closer.has_room
        closer.close(descriptor)
    assert not closer.has_room
    files.close()
    until("they are not closed", lambda: not closer._waiting and not closer._threads)


def test_one_file_that_hangs_keeps_no_other_one_open(files: HangingFiles) -> None:
    closer = handed_over._Closer()
    hanging = files.opened()
    files.hang("close")
    for descriptor in (hanging, *(os.open("/", os.O_RDONLY) for _ in range(MOST_CLOSING + 1))):
        closer.close(descriptor)
    until("the others stay open", lambda: not closer._waiting)
    files.close()


def test_a_place_is_free_when_the_result_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the result may ask for the next file at once, and all other places may hang."""
    free: list[int] = []

    class Outcome(Future[Any]):
        def set_result(self, result: object) -> None:
            free.append(handed_over._places.free)
            super().set_result(result)

        def set_exception(self, exception: BaseException | None) -> None:
            free.append(handed_over._places.free)
            super().set_exception(exception)

    monkeypatch.setattr(handed_over, "Future", Outcome)
    before = handed_over._places.free
    assert handed_over.in_time(lambda: 1, BELL, WAIT_S) == 1
    with pytest.raises(OSError, match="closed"):
        handed_over.in_time(closed_file, BELL, WAIT_S)
    assert free == [before] * 2


def closed_file() -> None:
    raise OSError("closed")


def test_who_hands_over_a_file_where_none_is_accepted_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed_over, "may_come", lambda: False)

    def handle(_request: AnyRequest, descriptor: int | None, _caller: Caller) -> object:
        assert descriptor is None
        return {}

    path = tmp_path / "s.sock"
    deaths: list[BaseException] = []
    server = ControlServer(
        path, handle, dict, events.Bus(), lambda _what, error: deaths.append(error), roles_of(Control()), takes_time
    )
    server.start()
    try:
        with Client(path) as client, Path(__file__).open("rb") as files:
            for do in ("announce_sound", "send_file"):
                with pytest.raises(RefusedError) as caught:
                    client._ask(do, {"name": "a.png"}, [files.fileno()])
                assert caught.value.kind == "bad_file"
                assert "other files hang" in str(caught.value)
                assert caught.value.hint
            # It is said once for each file.
            assert client.ask("send_file", name="a.png") == {}
    finally:
        server.stop()
    assert not deaths


def test_a_sound_that_hangs_in_the_middle_ends_and_holds_no_thread_without_a_bound(
    files: HangingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed_over, "PIECE_S", 0.2)
    with contextlib.closing(files):
        sounds = [sound_file.opened(files.opened(), BELL) for _ in range(MOST_OF_ONE + 1)]
        files.hang("read")
        told = []
        for sound in sounds:
            with pytest.raises(DialError) as refusal:
                list(sound.stream("", 1.0))
            told.append(refusal.value.ending.reason)
            assert refusal.value.ending.hint
        assert told[:-1] == ["the sound file does not answer within 0.2 s"] * MOST_OF_ONE
        assert told[-1] == "other files hang, and this one was not read"
        files.close()
        until("the places are not free", lambda: handed_over._places.free == MOST_WAITING)


def test_a_file_that_hangs_while_it_is_sent_is_given_up(files: HangingFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise no other one could be sent until the daemon ends."""
    monkeypatch.setattr(handed_over, "PIECE_S", 0.2)
    with contextlib.closing(files):
        descriptor = files.opened(1)
        reader = uploads._Reader(descriptor, "a.png", BELL, lambda: None)
        files.hang("read")
        with pytest.raises(UploadError, match=r"a\.png does not answer within 0\.2 s") as refusal:
            reader.read(4)
        assert refusal.value.hint
        files.close()
        until("the places are not free", lambda: handed_over._places.free == MOST_WAITING)
        handed_over.close(descriptor)


def test_a_finalizer_may_close_a_file_wherever_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may run where `threading` holds a lock that each new thread wants before Thread.start() returns."""

    def refused(_: threading.Thread) -> None:
        raise AssertionError("Thread.start() waits")

    monkeypatch.setattr(threading.Thread, "start", refused)
    reading, writing = os.pipe()
    handed_over.close(writing)
    assert os.read(reading, 1) == b"", "it is closed"
    os.close(reading)
