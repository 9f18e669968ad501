"""Whose descendant a process is, with real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd.control.own_programs import OwnPrograms
from parleyd.host.descent import GoneError, line_of

# Connects, and stays until its standard input ends; with a process in between, and without a parent, where it is told.
CLIENT = """
import os, socket, sys
for _ in range(int(sys.argv[2])):
    if os.fork():
        os.wait()
        os._exit(0)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
sys.stdin.read()
"""

# The same, once its parent has ended.
STRANGER = """
import os, socket, sys, time
while os.getppid() == int(sys.argv[2]):
    time.sleep(0.01)  # Nothing tells a process that it was adopted.
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.recv(1)
"""


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[socket.socket, Path]]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        server.settimeout(60)
        yield server, tmp_path / "s"


def client(path: Path, generations: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CLIENT, str(path), str(generations)], stdin=subprocess.PIPE)


def test_the_line_leads_to_this_process_or_past_it() -> None:
    assert line_of(os.getpid()) == (os.getpid(),)
    with subprocess.Popen(["sleep", "600"]) as child:
        assert line_of(child.pid) == (child.pid, os.getpid())
        child.kill()
    assert line_of(os.getppid())[-1] != os.getpid()
    with pytest.raises(GoneError):
        line_of(child.pid)


def test_one_that_has_ended_is_gone_though_its_number_may_be_anothers() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        held = os.pidfd_open(child.pid)
        assert line_of(child.pid, held)
        child.kill()
        child.wait()
    try:
        with pytest.raises(GoneError):
            # As if the number were this process's by now.
            line_of(os.getpid(), held)
    finally:
        os.close(held)


@pytest.mark.parametrize("generations", [0, 2])
def test_what_this_process_has_started_is_sent_away(
    generations: int, listening: tuple[socket.socket, Path], caplog: pytest.LogCaptureFixture
) -> None:
    server, path = listening
    now_s = [0.0]
    programs = OwnPrograms(trusted=lambda: (), clock_s=lambda: now_s[0])
    with client(path, generations) as process:
        connection, _ = server.accept()
        with connection:
            assert "started by the daemon itself" in (programs.refused(connection) or "")
            programs.refused(connection)
            assert len(caplog.records) == 1, "a flood is one line"
            now_s[0] = 61.0
            programs.refused(connection)
            assert "(1 more since the last time)" in caplog.records[1].getMessage()
            # But for what the configuration trusts, and all that this has started.
            assert OwnPrograms(trusted=lambda: (process.pid,)).refused(connection) is None
        process.communicate(b"")


def test_this_process_and_those_of_others_are_let_in(listening: tuple[socket.socket, Path]) -> None:
    server, path = listening
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(str(path))
        connection, _ = server.accept()
        with connection:
            assert OwnPrograms().refused(connection) is None
    # One whose parent has ended has another one, above this process.
    orphan = ["sh", "-c", '"$@" $$ &', "sh", sys.executable, "-c", STRANGER, str(path)]
    subprocess.run(orphan, check=True)
    connection, _ = server.accept()
    with connection:
        assert OwnPrograms().refused(connection) is None
        connection.sendall(b"x")


def test_one_that_has_connected_and_ended_is_sent_away(listening: tuple[socket.socket, Path]) -> None:
    """Nobody can say any more whose descendant it was."""
    server, path = listening
    with client(path, 0) as process:
        connection, _ = server.accept()
        process.communicate(b"")
    with connection:
        assert "is gone" in (OwnPrograms().refused(connection) or "")
