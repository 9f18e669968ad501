"""What a command that only asks the daemon loads: it is started for every order, and a small board starts it slowly.

Seen in the modules of the process that carries the command out, against a real daemon; no clock judges.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd.cli.commands import COMMANDS

CONFIG = """
elevenlabs: {agent_id: agent_test, base_url: "http://127.0.0.1:9"}
audio: off
reconnect: {initial_s: 30, max_s: 60}
transcript: {enabled: true}
"""

# Packages of others that cost milliseconds and megabytes, and the parts of parleyd that load them or as much again.
HEAVY = {
    *("asyncio", "dataclasses", "email", "evdev", "gpiod", "http", "inspect", "jsonschema", "logging", "msgspec"),
    *("multiprocessing", "numpy", "prompt_toolkit", "pyaudio", "regex", "samplerate", "ssl", "subprocess", "systemd"),
    *("traceback", "typing_extensions", "urllib", "webrtcvad", "websocket", "websockets", "yaml"),
    *("parleyd.agents", "parleyd.app", "parleyd.checks", "parleyd.config.schema", "parleyd.conversation"),
    *("parleyd.core.events", "parleyd.doctor"),
}

# Every command that asks the daemon, and which of the above it may load.
CLIENTS: dict[tuple[str, ...], set[str]] = {
    ("status",): set(),
    ("status", "--all", "--json"): set(),
    ("events",): set(),
    ("usage",): set(),
    ("reload",): {"dataclasses", "inspect"},
    ("wake",): set(),
    ("sleep",): set(),
    ("mute",): set(),
    ("unmute",): set(),
    ("volume", "40"): set(),
    ("profile",): set(),
    ("settings",): set(),
    ("set", "log.level", "debug"): set(),
    ("unset", "log.level"): set(),
    ("announce", "Dinner"): set(),
    ("announce", "--sound", "bell.wav"): set(),
    ("say", "Hello"): set(),
    # Through a pipe; at a terminal prompt_toolkit draws the prompt.
    ("chat",): {"dataclasses", "inspect"},
    ("context", "It rains"): set(),
    ("send-file", "a.pdf"): set(),
    ("look", "What", "is", "this?"): set(),
    ("activity",): set(),
    ("feedback", "like"): set(),
    ("approve", "1"): set(),
    ("deny", "1"): set(),
    # It reads the lines of the files.
    ("transcript",): {"inspect", "msgspec", "typing_extensions"},
    # It asks systemd which unit it is.
    ("stop",): {"dataclasses", "inspect", "parleyd.doctor", "subprocess"},
}
# They read the configuration, or are more than a question to the daemon.
OTHERS = {
    "run",
    "button",
    "mqtt",
    "wyoming",
    "bench",
    "devices",
    "secret",
    "check",
    "doctor",
    "report",
    "tune",
    "tools",
    "platform",
    "setup",
    "conversations",
    "demo",
    "agent",
}
WITHOUT_DAEMON: dict[tuple[str, ...], set[str]] = {
    ("--help",): set(),
    ("--version",): set(),
    ("help",): set(),
    ("help", "status"): set(),
    ("statsu",): set(),
    # It asks systemd why none runs.
    ("status",): {"dataclasses", "inspect", "parleyd.doctor", "subprocess"},
}

# argparse's own import of a module, and what the interpreter's start has loaded (sites differ), are not counted; nor is
# urllib.parse, which pathlib of Python 3.11 loads.
PROGRAM = """
import json, os, pathlib, sys
before = set(sys.modules)
from parleyd.cli.main import main
code = main(sys.argv[2:])
os.write(int(sys.argv[1]), json.dumps([code, sorted(set(sys.modules) - before)]).encode())
"""


def loaded(folder: Path, *arguments: str) -> tuple[int, set[str]]:
    """→ the exit code, and which of HEAVY the process had loaded at its end."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as told:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(writing), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=[writing],
            cwd=folder,
            timeout=60,
        )
        os.close(writing)
        text = told.read()
    assert text, done.stderr
    code, modules = json.loads(text)
    return code, {heavy for heavy in HEAVY if any(one == heavy or one.startswith(f"{heavy}.") for one in modules)}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """→ a folder with a file to send."""
    config = tmp_path / "parleyd.yaml"
    config.write_text(CONFIG)
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with subprocess.Popen(
        [sys.executable, "-m", "parleyd", "run", "-c", str(config)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr)
        assert any("runs; provider" in line for line in lines), "the daemon did not start"
        yield tmp_path
        process.terminate()
        # So that it is never stuck at a full pipe.
        list(lines)


def test_a_client_loads_nothing_heavy(daemon: Path) -> None:
    unlisted = COMMANDS.keys() - OTHERS - {arguments[0] for arguments in CLIENTS}
    assert not unlisted, f"what may they load? {unlisted}"
    for arguments, may in CLIENTS.items():
        code, heavy = loaded(daemon, *arguments)
        # Refusals count, too; but without a daemon nothing would be shown.
        assert code != os.EX_UNAVAILABLE or arguments[0] not in ("status", "events", "reload", "stop"), arguments
        assert heavy <= may, f"parleyd {' '.join(arguments)}"


@pytest.mark.parametrize("arguments", WITHOUT_DAEMON, ids=" ".join)
def test_the_help_and_an_error_load_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    _, heavy = loaded(tmp_path, *arguments)
    assert heavy <= WITHOUT_DAEMON[arguments]


@pytest.mark.parametrize("command", ["button", "mqtt", "wyoming"])
def test_what_stays_loads_the_configuration_and_no_sound(command: str, tmp_path: Path) -> None:
    """Its memory is what it has loaded. The device's own package, or that for MQTT, comes on top."""
    (tmp_path / "none.yaml").write_text("provider: local\n")
    code, heavy = loaded(tmp_path, command, "-c", "none.yaml")
    assert code == os.EX_CONFIG
    assert not heavy & {"numpy", "pyaudio", "websocket", "ssl", "jsonschema", "regex", "parleyd.agents", "parleyd.app"}


def test_the_bridge_loads_no_dnspython_which_paho_would_where_it_is_installed(tmp_path: Path) -> None:
    """A package of that name stands in for it: the tests do not need the real one."""
    (tmp_path / "dns").mkdir()
    for name in ("__init__", "resolver"):
        (tmp_path / "dns" / f"{name}.py").touch()
    program = "import sys, parleyd.mqtt.bridge; import dns; print(*sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, env=env
    )
    loaded = done.stdout.split()
    assert {"paho.mqtt.client", "dns"} <= set(loaded)
    assert "dns.resolver" not in loaded
