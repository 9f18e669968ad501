"""What the start of the daemon leaves out. No clock judges: seen in the classes and modules of a process."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import parleyd
from parleyd.agents.elevenlabs import server_messages as elevenlabs
from parleyd.agents.openai import server_messages as openai
from parleyd.app.agents import Agents
from parleyd.checks.configuration import parse
from parleyd.config.schema import Config
from parleyd.control.messages import AnyRequest
from programs import Program, until

KINDS: dict[str, Any] = {
    "configuration": Config,
    "requests": AnyRequest,
    "ElevenLabs": elevenlabs.ServerMessage,
    "OpenAI": openai.ServerMessage,
}
# What few daemons need, or none before somebody speaks.
LATER = {
    *("difflib", "email", "fractions", "http.client", "importlib.metadata", "mimetypes", "samplerate", "statistics"),
    *(
        "parleyd.app.fallback",
        "parleyd.app.prometheus",
        "parleyd.agents.elevenlabs.examination",
        "parleyd.agents.openai",
        "parleyd.control.client",
        "parleyd.core.findings",
    ),
    # The rules of sections that few configurations have.
    *(f"parleyd.checks.{section}_rules" for section in ("hook", "mqtt", "openai", "tool", "wyoming")),
    *("parleyd.tools.command", "parleyd.tools.template", "parleyd.transcript.reading", "parleyd.transcript.redaction"),
    *("parleyd.doctor", "parleyd.embedded.child", "parleyd.host.requests", "parleyd.platform", "parleyd.tools.http"),
    *("parleyd.agents.openai", "parleyd.transcript.writer", "parleyd.tuning"),
    # The daemon is ready without these, and they follow at once.
    *("hashlib", "ssl", "websocket", "parleyd.agents.elevenlabs.address", "parleyd.agents.elevenlabs.endings"),
    *("parleyd.agents.elevenlabs.codec", "parleyd.agents.elevenlabs.server_messages", "parleyd.host.proxies"),
    *("parleyd.conversation.session.session", "parleyd.conversation.session.speech_line", "parleyd.host.reaching"),
}
# What is imported while the sound devices open.
MEANWHILE = {
    *("numpy", "webrtcvad", "parleyd.agents.elevenlabs", "parleyd.announce", "parleyd.audio.pcm"),
    *("parleyd.app.service", "parleyd.audio.echo", "parleyd.audio.gate", "parleyd.audio.playback"),
    *("parleyd.control", "parleyd.conversation", "parleyd.hooks"),
}
BEFORE_THE_LIST = """
import parleyd.cli.main, parleyd.cli.run, parleyd.audio.devices.ahead, parleyd.config.first_look, sys
print(*sys.modules)
"""
BEFORE_THE_DEVICES = "import parleyd.cli.main, parleyd.cli.run, parleyd.cli.running, sys; print(*sys.modules)"
# numpy: how many threads there are, and who knows of the variable: this program, and two that it starts.
NUMPY = """
import os
from parleyd.host import openblas
openblas.start_no_threads()
import numpy
from parleyd.host.subprocesses import ask
threads, known = len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS")
tell = ["sh", "-c", "printf %s ${OPENBLAS_NUM_THREADS-None}"]
print(threads, known, *(ask(tell, timeout_s=60, environment=more).output for more in (None, {"A": "b"})))
"""
IMPORTED = (
    "import parleyd.cli.main, parleyd.cli.run, parleyd.cli.running, parleyd.cli.serving, sys; print(*sys.modules)"
)
DATACLASSES = """
import sys
import parleyd.cli.main, parleyd.cli.run, parleyd.cli.running, parleyd.cli.serving
for name, module in list(sys.modules.items()):
    for one in vars(module).values() if name.startswith("parleyd.") else ():
        if isinstance(one, type) and one.__module__ == name and "__dataclass_fields__" in vars(one):
            print(name, one.__name__)
"""


def printed(program: str) -> str:
    # A test that runs the daemon in this process has set a variable that Python does not know.
    return subprocess.run(
        [sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def structs(hint: Any, seen: set[type]) -> Iterator[type[msgspec.Struct]]:
    """The classes in a type, and those of their fields."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        if hint in seen:
            return
        seen.add(hint)
        yield hint
        for one in hint.__mro__:
            for inner in vars(one).get("__annotations__", {}).values():
                yield from structs(inner, seen)
    for inner in get_args(hint):
        yield from structs(inner, seen)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="annotations are code there, and no text")
@pytest.mark.parametrize("of", KINDS.values(), ids=KINDS)
def test_types_that_are_read_at_the_start_are_no_text_to_compile(of: Any) -> None:
    found = list(structs(of, set()))
    assert len(found) > 10
    for one in found:
        texts = [name for name, hint in vars(one).get("__annotations__", {}).items() if isinstance(hint, str)]
        assert not texts, f"{one.__module__} has `from __future__ import annotations`"


def test_the_daemon_imports_nothing_that_it_needs_later() -> None:
    imported = printed(IMPORTED).split()
    assert "parleyd.app.service" in imported
    early = {later for later in LATER for one in imported if one == later or one.startswith(f"{later}.")}
    assert not early


def test_portaudio_lists_the_devices_while_the_configuration_is_read() -> None:
    imported = printed(BEFORE_THE_LIST).split()
    assert "parleyd.audio.devices.portaudio_host" in imported
    early = {later for later in MEANWHILE for one in imported if one == later or one.startswith(f"{later}.")}
    assert not early
    assert not [one for one in imported if one.startswith(("parleyd.checks", "parleyd.config.schema", "parleyd.app"))]


def test_the_devices_open_while_the_rest_is_imported() -> None:
    imported = printed(BEFORE_THE_DEVICES).split()
    assert "parleyd.checks.configuration" in imported
    early = {later for later in MEANWHILE for one in imported if one == later or one.startswith(f"{later}.")}
    assert not early


@pytest.mark.parametrize(("chosen", "left"), [(None, "1 None None None"), ("1", "1 1 1 1")])
def test_numpy_starts_no_threads(chosen: str | None, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait busily. Programs that the daemon starts may use theirs; whoever has chosen a number keeps it."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", chosen)
    assert printed(NUMPY).strip() == left


@pytest.mark.parametrize("starter", ["embedded/child.py", "host/subprocesses.py"])
def test_programs_get_an_environment_that_python_knows(starter: str) -> None:
    """That of the process, which they would inherit, has the number of threads that is meant for this one."""
    tree = ast.parse((Path(parleyd.__file__).parent / starter).read_text())
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "subprocess.Popen"
    ]
    assert calls
    assert all("env" in {one.arg for one in call.keywords} for call in calls)


def test_the_daemon_makes_no_dataclasses_at_its_start() -> None:
    """Each takes half a millisecond, a struct a fiftieth, and the module for them takes another one."""
    assert printed(DATACLASSES) == ""


def test_nothing_that_the_daemon_imports_at_its_start_makes_dataclasses() -> None:
    imported = set(printed(IMPORTED).split())
    assert {"msgspec", "numpy", "parleyd.app.service"} <= imported
    assert "dataclasses" not in imported


LOADED = """
import sys
import parleyd.cli.main, parleyd.cli.run, parleyd.cli.running, parleyd.cli.serving
from parleyd.checks.configuration import parse
from parleyd.tools.device_tools import declared_tools
declared_tools(parse(sys.argv[1], "parleyd.yaml").config.tools)
print(*sys.modules)
"""
RULES = {f"parleyd.checks.{section}_rules" for section in ("hook", "mqtt", "openai", "tool", "wyoming")}


@pytest.mark.parametrize(
    ("more", "rules"),
    [
        ("", ""),
        ("hooks: [{on: [live], command: [a]}]", "hook"),
        ("mqtt: {host: a}", "mqtt"),
        ("wyoming: {allow: [192.168.1.1]}", "wyoming"),
        ("openai: {model: a}", "openai"),
        ("tools: {command: {a: {description: a, run: [a]}}}", "tool"),
    ],
)
def test_the_rules_of_a_section_are_imported_where_it_is_used(more: str, rules: str) -> None:
    config = f"elevenlabs: {{agent_id: a}}\n{more}\n"
    done = subprocess.run([sys.executable, "-c", LOADED, config], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert loaded & RULES == ({f"parleyd.checks.{rules}_rules"} if rules else set())
    assert ("parleyd.tools.command" in loaded) == (rules == "tool")


LOADED_AHEAD = """
import sys
import parleyd.cli.main, parleyd.cli.run, parleyd.cli.running, parleyd.cli.serving
from parleyd.app.agents import Agents, provider_of
from parleyd.checks.configuration import parse
config = parse(sys.argv[1], "parleyd.yaml").config
agents, provider = Agents(config), provider_of(config)
before = set(sys.modules)
agents.load_ahead(config)
print(*set(sys.modules) - before)
"""
ELEVENLABS = "elevenlabs: {agent_id: a"
KEY = "api_key: {env: KEY}"


@pytest.mark.parametrize(
    ("config", "proxy", "wanted"),
    [
        ("provider: local\n", "", set()),
        ("provider: local\nlocal: {protocol: openai}\n", "", {"samplerate"}),
        (f"{ELEVENLABS}}}\n", "", set()),
        (f"{ELEVENLABS}, {KEY}}}\n", "", {"http.client", "parleyd.host.requests"}),
        (f"{ELEVENLABS}}}\n", "http://proxy.example.com:3128", {"http.client", "parleyd.host.requests"}),
        (f"{ELEVENLABS}}}\n", "nonsense://", set()),
        (f"provider: openai\nopenai: {{{KEY}}}\n", "", {"samplerate"}),
    ],
)
def test_what_the_first_session_needs_is_loaded_after_the_start_and_no_more(
    config: str, proxy: str, wanted: set[str]
) -> None:
    """Otherwise the first words wait for it: 60 ms, on a small board many times as much."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", LOADED_AHEAD, config],
        env=environment | ({"https_proxy": proxy} if proxy else {}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "stringprep" in loaded, "names are looked up with it"
    assert {"websocket", "parleyd.conversation.session.session"} <= loaded
    assert ("parleyd.agents.elevenlabs.codec" in loaded) == ("openai" not in config)
    assert loaded & {"http.client", "parleyd.host.requests", "samplerate"} == wanted


def test_the_daemon_loads_it_when_it_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    # Python tells of each import on standard error.
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    config = tmp_path / "parleyd.yaml"
    sound = 'audio: {input: {device: "null"}, output: {device: "null"}}'
    config.write_text(f"{ELEVENLABS}, {KEY}, base_url: 'http://127.0.0.1:9'}}\n{sound}\nwake: {{mode: manual}}\n")
    with Program("run", "-c", config) as daemon:
        daemon.says("provider: elevenlabs, wake: manual")
        until(lambda: any(one.endswith("| http.client") for one in daemon.lines), "it is not loaded")
        assert daemon.end() == os.EX_OK


def test_what_sessions_need_is_tried_again_by_the_first_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_name: str) -> None:
        raise OSError(24, "Too many open files")

    config = parse("elevenlabs: {agent_id: a}\n", "parleyd.yaml").config
    with Agents(config) as agents:
        monkeypatch.setattr(importlib, "import_module", fail)
        agents.load_ahead(config)
    assert "a module that sessions need cannot be loaded: [Errno 24] Too many open files" in caplog.messages
