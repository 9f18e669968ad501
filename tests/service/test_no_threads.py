"""A system that has no thread left (TasksMax=): what needs one is tried again or told, and nobody dies of it."""

from __future__ import annotations

import json
import os
import threading
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Daemon
from plays import QUESTION, answering, config
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.agents.variables import Variables
from parleyd.audio.devices.clock import RealTimeClock
from parleyd.audio.devices.deadlines import in_time
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.portaudio_host import Host
from parleyd.config.schema import Variable
from parleyd.core import events
from parleyd.core.states import State
from parleyd.tools.audit import FILE_NAME, Audit

NoThreads = Callable[..., None]


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> NoThreads:
    """Threads of this name, or of any, do not start; so many times, or from now on."""

    def refuse(name: str = "", times: int = 10**9) -> None:
        start, left = threading.Thread.start, [times]

        def refused(thread: threading.Thread) -> None:
            kind = type(thread).__name__ if isinstance(thread, threading.Timer) else thread.name
            if left[0] and name in kind:
                left[0] -= 1
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refused)

    return refuse


@pytest.mark.parametrize("name", ["session-receiver", "session-sender", "Timer"])
def test_a_session_that_gets_no_thread_is_tried_again(no_threads: NoThreads, name: str) -> None:
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        no_threads(name, 1)
        daemon.say(QUESTION)
        failed = daemon.expect(events.StateChanged, lambda e: e.after == "backing off")
        assert "no thread left" in failed.reason
        assert daemon.expect(events.AnswerEnded).finished, "what was said is answered in the end"
        assert daemon.service.failure is None


@pytest.mark.parametrize("name", ["session-closer", "Timer"])
def test_a_session_that_is_given_up_before_it_is_live_is_closed_without_a_thread(
    no_threads: NoThreads, name: str
) -> None:
    connected = threading.Event()

    def never_ready(line: Line) -> None:
        connected.set()
        line.over.wait(WAIT_S)

    with ScriptedServer(never_ready) as server, Daemon(config(server)) as daemon:
        daemon.service.wake()
        assert connected.wait(WAIT_S)
        no_threads(name)
        daemon.service.sleep()
        daemon.expect_state(State.ASLEEP)
        assert server.lines[0].over.wait(WAIT_S), "the server is left alone on the line"
        assert daemon.service.failure is None


def test_an_announcement_that_gets_no_thread_is_told_as_not_heard(no_threads: NoThreads) -> None:
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        no_threads("announcement")
        descriptor = os.memfd_create("chime")
        with open(descriptor, "wb", closefd=False) as file, wave.open(file, "wb") as sound:
            sound.setparams((1, 2, 16_000, 0, "NONE", ""))
            sound.writeframes(bytes(3200))
        number = daemon.service.announce_sound(descriptor, "chime", now=True)
        ended = daemon.expect(events.AnnouncementEnded)
        assert (ended.announcement, ended.finished) == (number, False)
        assert "no thread left" in str(ended.reason)
        assert daemon.service.failure is None


def test_the_audit_log_waits_for_a_thread(
    no_threads: NoThreads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(tmp_path, 100_000)
    no_threads("tools-audit")
    audit.add(what="first")
    audit.add(what="second")
    assert [record.levelname for record in caplog.records] == ["WARNING"], "told once"
    monkeypatch.undo()
    audit.add(what="third")
    audit.close()
    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert [json.loads(line)["what"] for line in lines] == ["first", "second", "third"]


def test_a_variable_that_nobody_can_look_for_has_its_default(no_threads: NoThreads) -> None:
    variables = Variables({"day": Variable(command=["date"], default="some day")})
    no_threads("dynamic variable")
    variables.refresh()
    assert variables.values() == {"day": "some day"}
    assert "no thread left" in variables.failures["day"]


def test_devices_say_so_or_do_without(no_threads: NoThreads) -> None:
    class Stream:
        closed = False

        def close(self) -> None:
            self.closed = True

    no_threads()
    with pytest.raises(DeviceError, match="no thread left"):
        RealTimeClock("null output", 0.01, lambda _at_s: None, start_s=0.0)
    with pytest.raises(DeviceError, match="no thread left"):
        in_time(lambda: None, "opening a device")
    stream = Stream()
    assert Host().close(stream)
    assert stream.closed
