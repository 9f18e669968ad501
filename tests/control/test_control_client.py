"""The client of the control socket, against a daemon that is not as it should be."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from no_daemon import listening
from test_control_server import daemon, parleyd, socket_path

from parleyd.cli import orders
from parleyd.cli.main import main
from parleyd.control import client as client_module
from parleyd.control import messages
from parleyd.control.client import Client, NotRunningError, StuckError
from parleyd.core import events

OTHERS_GREETING = messages.greeting("9").replace(b'"protocol":2', b'"protocol":3')


def test_stop_returns_when_the_process_has_ended(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        stopped = parleyd("stop")
        assert (stopped.returncode, stopped.stdout, stopped.stderr) == (os.EX_OK, "stopped\n", "")
        assert running.poll() == os.EX_OK
        assert not socket_path().exists()


def test_two_may_say_stop(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: parleyd("stop"), range(2)))
        assert running.poll() == os.EX_OK
    # Who comes too late is told so.
    assert {one.returncode for one in both} <= {os.EX_OK, os.EX_UNAVAILABLE}
    assert os.EX_OK in {one.returncode for one in both}


def test_stop_says_when_the_daemon_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(orders, "STOP_S", 0.2)
    done = threading.Event()

    def play(connection: socket.socket) -> None:
        connection.sendall(messages.greeting("1") + messages.answer(1, {}))
        done.wait(10)

    with listening(tmp_path, play) as path:
        assert main(["stop", "--socket", str(path)]) == os.EX_TEMPFAIL
        done.set()
    assert capsys.readouterr().err == (
        "parleyd: the daemon was told to end, and has not within 0.2 s; see its log: "
        "sudo journalctl -u parleyd -n 30 --no-pager\n"
    )


def test_without_a_descriptor_of_the_process_the_end_of_the_connection_has_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.ENOSYS, "no such call")

    monkeypatch.setattr(os, "pidfd_open", refuse)

    def play(connection: socket.socket) -> None:
        connection.sendall(messages.greeting("1") + messages.answer(1, {}))
        connection.recv(4096)

    with listening(tmp_path, play) as path, Client(path) as client:
        assert client.stop(10)


def test_a_daemon_that_hangs_is_told_from_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_S", 0.5)
    with daemon(tmp_path) as running:
        running.send_signal(signal.SIGSTOP)
        os.waitpid(running.pid, os.WUNTRACED)
        with pytest.raises(StuckError):
            Client()
        # With so many at the door that the kernel lets nobody else wait there.
        crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)]
        while crowd[-1].connect_ex(str(socket_path())) == 0:
            crowd.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        with pytest.raises(StuckError):
            Client()
        for one in crowd:
            one.close()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"SSH-2.0-whatever\r\n", "what listens there is not parleyd; "),
        (b"[]\n", "what listens there is not parleyd; "),
        (b'{"hello": 1}\n', "what listens there is not parleyd; "),
        (OTHERS_GREETING, "the daemon is parleyd 9, and speaks another protocol than this program; "),
    ],
)
def test_a_socket_of_another_program_is_told_apart(said: bytes, told: str, tmp_path: Path) -> None:
    with listening(tmp_path, lambda connection: connection.sendall(said)) as path:
        ended = parleyd("status", "--socket", str(path))
    assert ended.returncode == os.EX_UNAVAILABLE
    assert ended.stderr.startswith(f"parleyd: {told}")
    assert ended.stderr.count("\n") == 1


def test_chat_talks_past_nobody_who_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would open a session of its own, which costs money."""
    folder = tmp_path / "parleyd"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with listening(folder, lambda connection: connection.sendall(OTHERS_GREETING)):
        chatted = subprocess.run(
            [sys.executable, "-m", "parleyd", "chat"], input="hello\n", capture_output=True, text=True, timeout=80
        )
    assert chatted.returncode == os.EX_UNAVAILABLE
    assert not chatted.stdout
    assert "speaks another protocol" in chatted.stderr


def test_a_time_for_the_kernel_is_as_long_as_its_option_says() -> None:
    assert struct.unpack("@ll", client_module.timeval(2.5, 21)) == (2, 500_000)
    assert struct.unpack("@qq", client_module.timeval(2.5, 67)) == (2, 500_000)
    with socket.socket(socket.AF_UNIX) as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, client_module.timeval(2.5))


def test_a_client_that_is_dropped_in_the_middle_of_a_line_is_told_so(tmp_path: Path) -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(messages.greeting("1") + b'{"event": "ans')

    with (
        listening(tmp_path, play) as path,
        Client(path) as client,
        pytest.raises(NotRunningError, match="dropped this connection"),
    ):
        next(client.events(60))


def test_who_watches_a_daemon_that_ends_is_told_so(tmp_path: Path) -> None:
    for command in (["status", "--watch"], ["events", "--follow"]):
        with daemon(tmp_path):
            watching = subprocess.Popen(
                [sys.executable, "-m", "parleyd", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            assert watching.stdout is not None
            assert watching.stdout.readline()
            assert parleyd("stop").returncode == os.EX_OK
            _, errors = watching.communicate(timeout=60)
            assert watching.returncode == os.EX_UNAVAILABLE
            assert errors.startswith("parleyd: the daemon has ended, or dropped this connection; ")


def test_an_answer_to_somebody_else_is_none_to_us(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It comes after we follow the events, and before the daemon has our words."""
    to_another = messages.event(events.AnswerText(at_s=1.0, text="To another."))
    ours = messages.event(events.Typed(at_s=2.0, text="Hello"))
    to_us = messages.event(events.AnswerText(at_s=3.0, text="To us."))

    def play(connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        connection.sendall(messages.greeting("1"))
        lines.readline()
        connection.sendall(messages.answer(1, {}) + to_another)
        lines.readline()
        connection.sendall(ours + messages.answer(2, {}) + to_us)
        lines.readline()

    with listening(tmp_path, play) as path:
        assert main(["say", "--wait", "--socket", str(path), "Hello"]) == os.EX_OK
    assert capsys.readouterr().out == "To us.\n"


def test_a_program_without_a_file_handle_is_told_so() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(NotRunningError, match="cannot talk to the daemon: Too many open files"):
            Client(Path("/none.sock"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
