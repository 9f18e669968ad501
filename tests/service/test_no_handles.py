"""A daemon without a free file handle: it goes on, says so, and is well when there are some again."""

from __future__ import annotations

import errno
import importlib
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from harness import Daemon
from plays import QUESTION, answering, silent
from plays import config as config_of
from scripted_server import ScriptedServer

from parleyd.agents.variables import Variables
from parleyd.audio.devices import alsa
from parleyd.audio.devices.native_output import _Mute
from parleyd.config.schema import Variable
from parleyd.control.client import Client
from parleyd.core import events
from parleyd.host import authorities, notify, resources
from parleyd.tools import timers

WAIT_S = 60.0

CONFIG = """
elevenlabs: {{agent_id: agent_test, base_url: "{url}"}}
audio: {{input: {{device: "null"}}, output: {{device: "null"}}}}
reconnect: {{initial_s: 0.1, max_s: 1}}
session: {{idle_timeout_s: 600}}
wake: {{mode: {wake}}}
transcript: {{enabled: true}}
hooks: [{{on: [connecting, live, backing_off], command: ["true"]}}]
control: {{socket: "{folder}/c.sock"}}
"""


@contextmanager
def daemon(folder: Path, url: str, wake: str) -> Iterator[subprocess.Popen[str]]:
    config = folder / "parleyd.yaml"
    config.write_text(CONFIG.format(url=url, folder=folder, wake=wake))
    command = [sys.executable, "-m", "parleyd", "run", "-c", str(config)]
    log = folder / "log"
    with log.open("w") as to:
        running = subprocess.Popen(
            command, stderr=to, stdin=subprocess.DEVNULL, text=True,
            env=os.environ | {"STATE_DIRECTORY": str(folder)},
        )  # fmt: skip
    try:
        until("it runs", lambda: "runs;" in log.read_text())
        yield running
    finally:
        running.kill()
        running.wait()


def until(what: str, true: object) -> None:
    end_s, pause = time.monotonic() + WAIT_S, threading.Event()
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end_s, what
        pause.wait(0.1)


@contextmanager
def without_handles(pid: int) -> Iterator[None]:
    """Of this process; what is open stays open."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("wake", ["always", "manual"])
def test_the_daemon_goes_on_and_is_well_afterwards(tmp_path: Path, wake: str) -> None:
    with ScriptedServer(silent) as server, daemon(tmp_path, server.base_url, wake) as running:
        with Client(tmp_path / "c.sock") as client:

            def troubles() -> list[str]:
                return [trouble["part"] for trouble in client.ask("status")["troubles"]]

            if wake == "always":
                line = server.next_line()
                until("it is live", lambda: client.ask("status")["state"] == "live")
            with without_handles(running.pid):
                until("it says so", lambda: "file handles" in troubles())
                if wake == "always":
                    line.drop()
                    until("the line is lost", lambda: client.ask("status")["state"] == "backing off")
                else:
                    client.ask("wake")
                    until("it cannot connect", lambda: client.ask("status")["metrics"]["failed_tries"] > 1)
                looked = client.ask("status")["uptime_s"]
                # More than one look of the health thread; nothing else tells that it has looked.
                until("health looks again", lambda: client.ask("status")["uptime_s"] > looked + 10)
                assert running.poll() is None
            server.next_line()
            until("it is live again", lambda: client.ask("status")["state"] == "live")
            until("it is well", lambda: troubles() == [])
        assert running.poll() is None


LATER = """
import resource, sys
from urllib.parse import urlsplit
from parleyd.agents.elevenlabs import address
from parleyd.audio.echo import self_echo
from parleyd.core.endings import DialError
from parleyd.host.unreachable import trouble

early = {"http.client", "difflib"} & set(sys.modules)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
print(early, trouble(OSError(24, "Too many open files"), "a.example"))
try:
    address._ask("GET", urlsplit("https://127.0.0.1:9"), "/", "", {}, None, 1.0, 100)
except DialError as error:
    print(error.ending.reason)
print(self_echo._repeats(["we"], ["we"]))
"""


def test_what_is_imported_later_ends_no_thread() -> None:
    told = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert told.returncode == 0, told.stderr
    first, second, third = told.stdout.splitlines()
    assert first.startswith("set() Trouble(reason='cannot connect to a.example: too many open files'")
    assert second == "cannot connect to 127.0.0.1:9: too many open files"
    assert third == "False"


def test_figures_are_the_last_that_were_read() -> None:
    before = resources.load()
    assert before.memory_bytes > 10_000_000
    assert before.threads >= 1
    with without_handles(os.getpid()):
        there = resources.load()
    assert there.handles == 3
    assert there.handles_limit == 3
    assert there.memory_bytes > 10_000_000
    assert there.threads == before.threads
    assert there.tasks_limit == before.tasks_limit
    assert resources.load().handles == before.handles


def test_the_watchdog_is_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(60)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    notify.watchdog()
    assert manager.recv(100) == b"WATCHDOG=1"
    with without_handles(os.getpid()):
        notify.watchdog()
    assert manager.recv(100) == b"WATCHDOG=1"
    manager.close()


def test_nobody_keeps_an_empty_list_of_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(ssl.SSLSocket):
        pass

    file = tmp_path / "authorities.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with without_handles(os.getpid()):
        assert authorities.context(Own).cert_store_stats()["x509_ca"] == 0
    assert authorities.context(Own).cert_store_stats()["x509_ca"] > 0


def test_what_looks_now_and_then_does_without() -> None:
    boot = timers.now().boot
    variables = Variables({"day": Variable(command=["echo", "Monday"], default="some day")})
    mute = _Mute()
    with without_handles(os.getpid()):
        assert alsa.cards() == {}
        assert timers.now().boot == boot
        variables.refresh()
        assert variables.values() == {"day": "some day"}
        with pytest.raises(OSError, match="open files"):
            mute.begin(keep_others=False)
    assert variables.failures["day"]
    stderr = os.fstat(2)
    mute.begin(keep_others=False)
    mute.end()
    assert os.fstat(2).st_ino == stderr.st_ino, "standard error is what it was"


@pytest.mark.parametrize(
    ("times", "module"),
    [
        (1, "conversation.session.session"),
        (2, "conversation.session.session"),
        *((1, f"agents.elevenlabs.{module}") for module in ("address", "codec", "endings")),
    ],
)
def test_a_session_whose_modules_cannot_be_loaded_is_tried_again(
    times: int, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are imported right after READY, or, if there was no handle then, by the first session."""
    module, left = f"parleyd.{module}", [times]

    class Lacking:
        def find_spec(self, name: str, *_: object) -> None:
            if name == module and left[0]:
                left[0] -= 1
                raise OSError(errno.EMFILE, "Too many open files")

    package, _, name = module.rpartition(".")
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr(importlib.import_module(package), name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Lacking(), *sys.meta_path])
    with ScriptedServer(answering) as server, Daemon(config_of(server)) as running:
        running.say(QUESTION)
        for _ in range(times):
            failed = running.expect(events.StateChanged, lambda e: e.after == "backing off")
            assert failed.reason == "what a session needs cannot be loaded: [Errno 24] Too many open files"
        assert running.expect(events.AnswerEnded).finished, "what was said is answered in the end"
        assert running.service.failure is None
