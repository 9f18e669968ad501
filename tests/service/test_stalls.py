"""Each thread of the daemon in turn stops dead: the watchdog gets no more food, or where a restart would be no help,
STATUS= says so."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Daemon, spoken
from scripted_server import WAIT_S, Line, ScriptedServer
from test_run import read_until, write_wav
from test_service_manager import Manager, manager

import parleyd
from parleyd.checks.configuration import parse
from parleyd.control.client import Client, places
from parleyd.core import events
from parleyd.core.health import NORMS, Grade
from parleyd.core.states import State
from vcard import VirtualCard

__all__ = ["manager"]

Process = subprocess.Popen[str]

CONFIG = """
provider: local
local: {scenario: scenario.yaml}
wake: {mode: manual}
audio: {input: {device: "wav:in.wav"}, output: {device: "null"}}
transcript: {enabled: true}
debug: {record: true}
metrics: {textfile: parleyd.prom}
tools: {built_in: [set_timer]}
"""
SCENARIO = "agent: {ears: none, first_message: ''}\n"
# Longer than a starved watchdog's silence is watched, and than a look at a busy machine takes.
STARVED_S = 3.0
LOOKS = 10


def nothing(_process: Process) -> None:
    pass


def ask(do: str, **fields: object) -> Callable[[Process], None]:
    def ask_it(_process: Process) -> None:
        with Client() as client:
            client.ask(do, **fields)

    return ask_it


def a_session(_process: Process) -> None:
    with Client() as client:
        client.ask("events")
        client.ask("wake")
        next(event for event in client.events(60) if event["event"] == "session_opened")
        client.ask("sleep")


def a_request_that_is_not_answered(_process: Process) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(places()[0]))
        connection.recv(4096)
        connection.sendall(b'{"do": "status"}\n')


def a_reload(process: Process) -> None:
    process.send_signal(signal.SIGHUP)


SAY_TIMER = ask("say", text="set a timer for one second")

# part: where it stops, and what gives it work.
STALLS: dict[str, tuple[str, Callable[[Process], None]]] = {
    "ears": ("parleyd.audio.gate.gate:Gate.step", nothing),
    "playback": ("parleyd.audio.playback.pipeline:Job.run", ask("say", text="What time is it?")),
    "supervisor": ("parleyd.conversation.supervisor.supervisor:Supervisor._take", ask("wake")),
    "session receiver": ("parleyd.conversation.dialogue.dialogue:Dialogue.agent_event", ask("say", text="hello")),
    "session sender": ("parleyd.conversation.session.wire_audio:WireEncoder.encode", ask("wake")),
    # The person of the file talks over the story.
    "orders": ("parleyd.audio.gate.order_words:OrderWords.heard", ask("say", text="tell me a story")),
    "announcer": ("parleyd.audio.playback.announcements:Announcements.feed", ask("announce", text="Dinner.")),
    "devices": ("parleyd.audio.recovery:Recovery._look", nothing),
    "control": ("parleyd.control.commands:Commands.__call__", a_request_that_is_not_answered),
    "profiles": ("parleyd.profiles.profiles:Profiles._look", nothing),
    "settings": ("parleyd.app.probation:Probation.look", ask("put_config", changes={"gate.hangover_ms": 700})),
    "signals": ("parleyd.app.reloader:Reloader.__call__", a_reload),
    "timers": ("parleyd.tools.device_tools:DeviceTools._timer_goes_off", SAY_TIMER),
    "usage": ("parleyd.usage.store:Store.save", a_session),
    "transcript": ("parleyd.transcript.files:Files.append", ask("say", text="hello")),
    "recorder": ("parleyd.audio.recorder:Recorder._write", nothing),
    "tools-audit": ("parleyd.tools.audit:Audit._write", SAY_TIMER),
    "metrics": ("parleyd.app.prometheus:Exporter._write_once", nothing),
}


def is_starved(manager: Manager) -> bool:
    """No food arrives any more."""
    manager.socket.settimeout(STARVED_S)
    for _ in range(LOOKS * 10):
        try:
            manager.next_with("WATCHDOG")
        except TimeoutError:
            return True
    return False


@pytest.mark.parametrize("part", NORMS)
def test_a_thread_that_stops_dead_is_noticed(
    part: str, manager: Manager, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    target, work = STALLS[part]
    config = CONFIG
    if part == "devices":
        # Only cards are watched over.
        card: VirtualCard = request.getfixturevalue("vcard")
        assert card
        config = config.replace('audio: {input: {device: "wav:in.wav"}, output: {device: "null"}}', "")
    if part == "orders":
        config += "barge_in: {words: on}\n"
    if part == "profiles":
        # Without one nobody looks at the clock.
        config += "profiles: {party: {settings: {gate: {aggressiveness: 3}}}}\n"
    (tmp_path / "parleyd.yaml").write_text(config)
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    write_wav(tmp_path / "in.wav", (bytes(64_000) + spoken("Is anybody there?")) * 20)
    script = Path(__file__).with_name("stalling.py")
    with subprocess.Popen(
        [sys.executable, script, part, target, "run", "-c", "parleyd.yaml"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            read_until(process, "runs; ")
            manager.next_with("WATCHDOG")
            (tmp_path / "armed").touch()
            work(process)
            told = f"{part}: no progress for "
            if NORMS[part].grade is Grade.TROUBLE:
                while told not in manager.next_with("STATUS")["STATUS"]:
                    pass
                manager.drain()
                manager.socket.settimeout(STARVED_S)
                manager.next_with("WATCHDOG")
            else:
                assert is_starved(manager)
                if part != "signals":
                    # The main thread can end it.
                    read_until(process, told)
                    assert process.wait(60) == os.EX_SOFTWARE
        finally:
            process.kill()


# Those that the comment at NORMS names, the one that looks, and those that live for a moment under somebody's eyes.
NOT_WATCHED = {
    "logs", "health", "hooks", "tool", "upload", "control-worker", "devices reopening", "dynamic variable", "mixer",
    "session closer", "gain", "mute-switch", "metrics port", "microphone",
    "announcement", "tools-preparing",
    # It waits for the process that it holds; whoever wants that one waits for a bounded time.
    "fallback",
    # It asks a server within the timeout of a connection; the supervisor goes on meanwhile.
    "agent-probe",
    # Whoever has handed a file over waits for it for a bounded time.
    "handed-over file",
    # Of commands that ask a person, and of `parleyd wyoming`; the daemon's main thread waits for signals itself.
    "interruptible",
}  # fmt: skip
# What runs elsewhere than in the daemon.
ELSEWHERE = {"embedded", "chat", "cli", "demo", "doctor", "mqtt", "tuning", "wyoming", "audio/devices"}


def test_every_thread_of_the_daemon_has_a_norm() -> None:
    package = Path(parleyd.__file__).parent
    found: set[str] = set()
    for source in package.rglob("*.py"):
        if not any(source.is_relative_to(package / folder) for folder in ELSEWHERE):
            # Of tool-1 and its likes, what comes before the number.
            names = re.findall(r"Thread\([^\n]*name=f?\"([a-z -]+?)-?[\"{]", source.read_text())
            found |= {name.replace("session-", "session ") for name in names}
    assert found - NOT_WATCHED == NORMS.keys() - {"signals"}
    assert STALLS.keys() == NORMS.keys()


def test_a_daemon_that_is_quiet_is_never_stuck(tmp_path: Path) -> None:
    """Whoever does not rest when there is nothing to do would be found stuck after a while; some beat on for ever."""
    beating = {"ears", "devices"}

    def script(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("what time is it")
        line.says("It is noon.", 0.2)
        line.over.wait(WAIT_S)

    def resting(part: str) -> bool:
        far_s = time.monotonic() + 1e6
        return any(
            pulse.part == part and (pulse.stuck_s(far_s), pulse.stuck_s(far_s)) == (None, None)
            for pulse in daemon.service._pulses()
        )

    def all_come_to_rest(expected: set[str]) -> None:
        parts = {pulse.part for pulse in daemon.service._pulses()}
        assert parts >= expected
        until_s = time.monotonic() + WAIT_S
        for part in parts - beating:
            while not resting(part):
                assert time.monotonic() < until_s, f"{part} has nothing to do and does not rest"

    with ScriptedServer(script) as server:
        config = parse(
            f"elevenlabs: {{agent_id: a, base_url: '{server.base_url}'}}\ntranscript: {{enabled: true}}\n"
            "debug: {record: true}\n",
            "p",
        ).config
        with Daemon(config, state_directory=tmp_path) as daemon:
            all_come_to_rest({"ears", "playback", "supervisor", "usage", "transcript", "recorder", "timers"})
            daemon.say("What time is it now?")
            daemon.expect(events.AnswerEnded)
            all_come_to_rest({"session receiver", "session sender"})
            daemon.service.sleep()
            daemon.expect_state(State.ASLEEP)
            all_come_to_rest({"supervisor"})
            # And those go on.
            before = daemon.service.sound.ears.frames if daemon.service.sound else 0
            while daemon.service.sound and daemon.service.sound.ears.frames < before + 50:
                assert daemon.service.status().health == "well"
