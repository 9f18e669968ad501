"""systemd is told how the service is doing, and never waited for, even when it reads nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd.host import notify
from waiting import until


class Manager:
    """systemd's end of the socket. Its queue takes a handful of messages that nobody reads."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(60)

    def fill(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
            other.setblocking(False)
            for _ in range(100_000):
                other.sendto(b"STATUS=x", str(path))

    def read(self) -> list[str]:
        self.socket.setblocking(False)
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self.socket.recv(4096).decode())
        return messages


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> Path:
    path = Path(os.environ["XDG_RUNTIME_DIR"]) / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    return path


@pytest.fixture
def manager(path: Path) -> Iterator[Manager]:
    manager = Manager(path)
    yield manager
    manager.socket.close()


def test_each_message_comes_as_systemd_has_it(manager: Manager) -> None:
    notify.starting("starting", 90.0)
    notify.ready("asleep")
    notify.status("live")
    notify.reloading()
    notify.failed("no  room\non the disk")
    notify.watchdog()
    notify.stopping()
    starting, ready, status, reloading, failed, watchdog, stopping = manager.read()
    assert starting == "STATUS=starting\nEXTEND_TIMEOUT_USEC=90000000"
    assert (ready, status) == ("READY=1\nSTATUS=asleep", "STATUS=live")
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert (failed, watchdog) == ("STATUS=failed: no room on the disk", "WATCHDOG=1")
    assert stopping == "STOPPING=1\nSTATUS=stopping"


def test_a_manager_that_reads_nothing_holds_up_no_thread_and_the_end_is_told_once_it_reads(
    manager: Manager, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "MOST_WAIT_S", 60.0)
    manager.fill(path)
    notify.status("dropped")
    notify.watchdog()
    ending = threading.Thread(target=notify.stopping, daemon=True)
    ending.start()
    ending.join(0.1)
    assert ending.is_alive(), "it waits for its place"
    messages: list[str] = []

    def is_told() -> bool:
        messages.extend(manager.read())
        return "STOPPING=1\nSTATUS=stopping" in messages

    until("the end is not told", is_told)
    ending.join(60)
    assert not ending.is_alive()
    assert not {"STATUS=dropped", "WATCHDOG=1"} & set(messages)


def test_a_manager_that_never_reads_is_given_up(manager: Manager, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "MOST_WAIT_S", 0.1)
    manager.fill(path)
    ending = threading.Thread(target=notify.stopping, daemon=True)
    ending.start()
    ending.join(60)
    assert not ending.is_alive()
    assert not any("STOPPING" in message for message in manager.read())


@pytest.mark.usefixtures("path")
def test_where_nobody_listens_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    notify.stopping()
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify.stopping()
    assert waited == []


@pytest.fixture
def library() -> Iterator[None]:
    notify._of_the_library.cache_clear()
    yield
    notify._of_the_library.cache_clear()


@pytest.mark.usefixtures("library")
def test_the_messages_go_by_systemds_library(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr("systemd.daemon.notify", sent.append)
    notify.ready("a \ud800 \0b")
    assert sent == ["READY=1\nSTATUS=a ? b"]
    assert manager.read() == []


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("fault", ["no package", "no handle"])
def test_without_the_library_the_messages_go_all_the_same(
    fault: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_handles(_text: str) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    if fault == "no package":
        monkeypatch.setitem(sys.modules, "systemd", None)
    else:
        monkeypatch.setattr("systemd.daemon.notify", out_of_handles)
    notify.watchdog()
    assert manager.read() == ["WATCHDOG=1"]


def test_a_manager_that_has_begun_anew_is_found(manager: Manager, path: Path) -> None:
    notify.status("one")
    manager.socket.close()
    path.unlink()
    notify.status("two")
    again = Manager(path)
    notify.status("three")
    assert again.read() == ["STATUS=three"]
    again.socket.close()


def test_a_handle_of_a_high_number_is_none_the_worse(manager: Manager) -> None:
    """A service with a raised LimitNOFILE may have more than 1024."""
    notify.status("before")
    assert notify._line is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    low = notify._line
    try:
        notify._line = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 2000))
        low.close()
        notify.status("after")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert manager.read() == ["STATUS=before", "STATUS=after"]
