"""The embedded agent as the daemon's child."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from parleyd.embedded.child import AgentChild, AgentChildError
from waiting import until


def listens(base_url: str) -> bool:
    host, port = base_url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_it_listens_comes_back_after_a_crash_and_ends() -> None:
    with AgentChild(None) as child:
        first = child._process.pid
        assert listens(child.base_url)
        address = child.base_url
        os.kill(first, signal.SIGKILL)
        until("no new process comes", lambda: child._process.pid != first)
        until("it listens at another address", lambda: listens(address))
        last = child._process
    assert last.returncode is not None
    assert not listens(address)


def test_one_that_hangs_is_ended_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parleyd.embedded.child.ASK_EVERY_S", 0.1)
    monkeypatch.setattr("parleyd.embedded.child.ANSWER_S", 1.0)
    with AgentChild(None) as child:
        first = child._process
        os.kill(first.pid, signal.SIGSTOP)
        until("no new process comes", lambda: child._process is not first)
        until("it listens at another address", lambda: listens(child.base_url))
    assert first.returncode == -signal.SIGKILL


def test_nothing_stays_when_it_ends_while_a_new_process_does_not_get_ready() -> None:
    with AgentChild(None) as child:
        first = child._process.pid
        os.kill(first, signal.SIGKILL)
        until("no new process comes", lambda: child._process.pid != first)
        last = child._process
        os.kill(last.pid, signal.SIGSTOP)
    assert last.returncode == -signal.SIGKILL


def test_a_bad_scenario_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(AgentChildError, match=r"no\.yaml"), AgentChild(tmp_path / "no.yaml"):
        pass


def test_one_that_nobody_can_watch_over_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        if self.name == "agent-child":
            raise RuntimeError("can't start new thread")
        plain(self)

    plain = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", refuse)
    child = AgentChild(None)
    with pytest.raises(AgentChildError, match="no thread left"), child:
        pass
    assert child._process.poll() is not None
