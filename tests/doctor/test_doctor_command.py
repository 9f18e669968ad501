"""The command as its user runs it: the embedded agent over real HTTP and WebSockets, the virtual card, bad worlds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elevenlabs.client import ElevenLabs

from as_nobody import prefix_as_nobody
from parleyd.control import client
from parleyd.core.findings import Finding, Severity, good
from parleyd.doctor import configuration as doctor_configuration
from parleyd.doctor import daemon, installation, report
from parleyd.doctor.examination import Examination
from parleyd.doctor.run import Check, Outcome, examine
from parleyd.embedded.recognise import NoEars
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings
from vcard import VirtualCard

KEY = "sk_0123456789abcdef"


def doctor(*words: str | Path, environment: dict[str, str] | None = None, prefix: tuple[str, ...] = ()) -> Any:
    command = [*prefix, sys.executable, "-m", "parleyd", "doctor", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}), timeout=60)


def as_json(*words: str | Path, **more: Any) -> tuple[dict[str, list[dict[str, str]]], int]:
    """check → its findings; the exit code."""
    done = doctor(*words, "--json", **more)
    assert not done.stderr, done.stderr
    facts = json.loads(done.stdout)
    assert facts["exit_code"] == done.returncode
    return {check["name"]: check["findings"] for check in facts["checks"]}, done.returncode


def severities(findings: list[dict[str, str]]) -> list[str]:
    return [one["severity"] for one in findings]


@pytest.fixture(scope="module")
def agent() -> Iterator[LocalAgent]:
    """As the templates of the official command line make one: hardly any client events."""
    settings = AgentSettings(
        agent_id="agent_1",
        api_key=KEY,
        require_auth=True,
        client_events=("audio",),
        allowed_overrides=("language", "first_message"),
    )
    with LocalAgent(settings, ears=NoEars()) as running:
        yield running


def write(tmp_path: Path, agent: LocalAgent, more: str = "", *, key: str = KEY, agent_id: str = "agent_1") -> Path:
    (tmp_path / "key").write_text(key)
    (tmp_path / "key").chmod(0o600)
    path = tmp_path / "parleyd.yaml"
    path.write_text(
        f"elevenlabs:\n  agent_id: {agent_id}\n  base_url: {agent.base_url}\n"
        f"  api_key: {{file: {tmp_path / 'key'}}}\n{more}"
    )
    return path


def test_a_whole_examination(vcard: VirtualCard, agent: LocalAgent, tmp_path: Path) -> None:
    before = len(agent.connections)
    # For longer than an examination takes on a machine that has other things to do.
    noise = vcard.play(os.urandom(2 * 16_000 * 180), rate_hz=16_000)
    try:
        found, code = as_json("-c", write(tmp_path, agent, "  overrides: {language: de}\n"))
    finally:
        noise.kill()
        noise.wait(10)
    assert severities(found["packages"]) == ["good"]
    assert severities(found["sound devices"]) == ["good", "good"]
    assert "16/24/44.1/48 kHz" in found["sound devices"][0]["text"]
    # Noise at full scale: anything but silence.
    assert severities(found["microphone level"])[0] == "warning"
    assert severities(found["TCP"]) == severities(found["key"]) == ["good"]
    assert severities(found["agent's settings"]) == ["good"]
    fit = found["agent's fit"]
    assert "its client events lack interruption" in fit[0]["text"]
    assert {one["hint"] for one in fit if one["severity"] in ("error", "warning")} == {"parleyd platform apply"}
    # The session of the next check begins all the same: this server has every language.
    error = next(one["text"] for one in fit if one["severity"] == "error")
    assert error.startswith("it does not have the language de")
    assert severities(found["conversation"]) == ["good"]
    assert code == os.EX_CONFIG
    assert len(agent.connections) == before + 1


def test_a_refused_override_and_the_exit_code_of_a_configuration(agent: LocalAgent, tmp_path: Path) -> None:
    found, code = as_json("-c", write(tmp_path, agent, "  overrides: {speed: 1.1}\naudio: {input: {device: null}}\n"))
    assert any("override speed" in one["text"] for one in found["agent's fit"])
    assert "overrides.speed" in found["conversation"][0]["hint"]
    assert severities(found["microphone level"]) == ["skipped"]
    assert code == os.EX_CONFIG


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"key": "sk_wrongwrong"}, "API key is not accepted"), ({"agent_id": "agent_2"}, "no such agent")],
)
def test_a_wrong_key_and_a_wrong_agent(agent: LocalAgent, tmp_path: Path, changes: dict[str, str], words: str) -> None:
    devices = "audio: {input: {device: null}, output: {device: null}}\n"
    done = doctor("-c", write(tmp_path, agent, devices, **changes))
    assert done.returncode == os.EX_CONFIG
    assert words in done.stdout
    assert "fix first: key (also skipped: agent's fit, conversation)" in done.stdout
    assert "sk_" not in done.stdout + done.stderr
    assert "\033" not in done.stdout


def test_without_sound_no_sound_card_is_missed(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("provider: local\naudio: off\n")
    found, _ = as_json("-c", tmp_path / "c.yaml")
    for check in ("device files", "device holders", "sound devices", "microphone level"):
        assert severities(found[check]) == ["skipped"], check


def test_where_there_is_no_file_yet_the_set_up_is_named_that_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_configuration, "config_path", lambda: tmp_path / "none.yaml")
    (found,) = doctor_configuration.configuration(Examination(None))
    assert found.severity is Severity.WARNING
    assert found.hint == "parleyd setup makes one; -c FILE names another"


def test_a_file_that_cannot_be_used_yet_hides_nothing_of_the_sound(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    example = Path(__file__).parents[2] / "config" / "parleyd.yaml"
    found, code = as_json("-c", example, environment={"ALSA_CONFIG_PATH": str(tmp_path / "empty")})
    assert severities(found["configuration"]) == ["error"]
    (devices,) = found["sound devices"]
    assert devices["severity"] == "warning"
    assert devices["text"].startswith("with the defaults: PortAudio ended the process")
    assert severities(found["server's name"]) == ["skipped"]
    assert code == os.EX_CONFIG


def test_the_official_sdk_reads_the_embedded_agent_s_settings(agent: LocalAgent) -> None:
    described = ElevenLabs(api_key=KEY, base_url=agent.base_url).conversational_ai.agents.get("agent_1")
    assert described.conversation_config.conversation.client_events == ["audio"]
    override = described.platform_settings.overrides.conversation_config_override
    assert (override.agent.language, override.agent.prompt.llm, override.tts.speed) == (True, False, False)
    assert described.platform_settings.auth.enable_auth is True


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """That every user may look into; pytest's own are for their owner."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def as_nobody(tmp_path: Path) -> tuple[str, ...]:
    """The beginning of a command that is run as nobody."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes somebody else")
    return prefix_as_nobody(tmp_path)


def test_without_network_as_an_ordinary_user_with_a_key_it_may_not_read(
    agent: LocalAgent, open_directory: Path, as_nobody: tuple[str, ...]
) -> None:
    path = write(open_directory, agent)
    found, code = as_json("-c", path, prefix=as_nobody, environment={"HOME": "/nonexistent"})
    assert "may not be read by this user" in found["key"][0]["text"]
    assert severities(found["conversation"]) == ["skipped"]
    assert code == os.EX_CONFIG

    path.write_text("elevenlabs: {agent_id: agent_1, base_url: 'https://agent.example'}\n")
    offline, code = as_json("-c", path, prefix=("unshare", "-n", *as_nobody), environment={"HOME": "/nonexistent"})
    assert "no network" in offline["server's name"][0]["text"]
    assert offline["conversation"] == [{"severity": "skipped", "text": "fix first: server's name", "hint": None}]
    assert code == os.EX_UNAVAILABLE


def test_what_lies_in_the_working_directory_is_not_run(tmp_path: Path) -> None:
    """`sudo parleyd doctor` in a folder of somebody else's."""
    for module in ("numpy", "websockets", "json", "parleyd"):
        (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')")
    path = tmp_path / "c.yaml"
    path.write_text("provider: local\naudio: {input: {device: null}, output: {device: 'wav:out.wav'}}\n")
    command = [str(Path(sys.executable).parent / "parleyd"), "doctor", "--json", "-c", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    found = {check["name"]: check["findings"] for check in json.loads(done.stdout)["checks"]}
    assert not (tmp_path / "was-run").exists()
    assert severities(found["packages"]) == ["good"], found["packages"]
    assert severities(found["extra packages"]) == ["good"], found["extra packages"]
    assert severities(found["sound devices"]) == ["good", "good"]
    assert severities(found["conversation"]) == ["good"]


def test_broken_packages_are_found_and_do_not_end_the_doctor(tmp_path: Path) -> None:
    """One is missing, one is the old webrtcvad, one was built for another CPU."""
    (tmp_path / "msgspec.py").write_text("raise ImportError('No module named msgspec._core')")
    (tmp_path / "webrtcvad.py").write_text("import pkg_resources_of_old")
    (tmp_path / "numpy.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    here = Path(__file__).parents[2] / "daemon"
    found, code = as_json(environment={"PYTHONPATH": f"{tmp_path}:{here}"})
    said = " ".join(one["text"] for one in found["packages"])
    assert "numpy cannot be imported: the import was killed by SIGILL" in said
    assert "msgspec._core" in said
    assert "webrtcvad-wheels cannot be imported" in said
    assert severities(found["configuration"]) == ["failed"]
    assert severities(found["TLS"]) == ["skipped"]
    assert "memory" in found
    assert code == os.EX_UNAVAILABLE


def test_a_package_whose_import_hangs_is_the_only_one_that_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was imported before it is not late, and what comes after it is tried."""
    (tmp_path / "hangs.py").write_text("import threading; threading.Event().wait()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = installation.import_each(["json", "hangs", "colorsys"], timeout_s=5.0)
    assert found == {"json": None, "hangs": "no result within 5 s", "colorsys": None}


def test_a_sound_system_that_ends_the_process(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("provider: local\naudio: {output: {device: null}}\n")
    (tmp_path / "empty").touch()
    found, _ = as_json("-c", path, environment={"ALSA_CONFIG_PATH": str(tmp_path / "empty")})
    assert "PortAudio ended the process" in found["sound devices"][0]["text"]
    assert "ALSA_CONFIG_PATH" in found["sound devices"][0]["hint"]
    # The embedded agent, and a real session with it.
    assert severities(found["conversation"]) == ["good"]


def test_the_running_daemon_tells_how_it_is(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    devices = "audio: {input: {device: null}, output: {device: null}}\n"
    agent = "elevenlabs: {agent_id: agent_1, base_url: 'http://127.0.0.1:9'}\n"
    path.write_text(f"{agent}{devices}wake: {{mode: manual}}\n")
    environment = {"PARLEYD_SOCKET": "", "XDG_RUNTIME_DIR": str(tmp_path), "RUNTIME_DIRECTORY": str(tmp_path)}
    command = [sys.executable, "-m", "parleyd", "run", "-c", str(path)]
    running = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr is not None
        assert "listening on null" in running.stderr.readline()
        found, _ = as_json("-c", path, environment=environment)
        assert found["running daemon"] == [{"severity": "good", "text": "asleep, well", "hint": None}]
    finally:
        running.terminate()
        running.communicate(timeout=60)
    found, _ = as_json("-c", path, environment=environment)
    assert severities(found["running daemon"]) == ["skipped"]


def test_a_daemon_that_is_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEYD_SOCKET", str(tmp_path / "s"))
    monkeypatch.setattr(client, "ANSWER_S", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        (only,) = daemon.daemon(Examination())
    assert only.severity is Severity.ERROR
    assert "stuck" in only.text


# ---------------------------------------------------------------- the runner and the page


def test_a_check_that_fails_or_hangs_is_reported_and_the_next_is_made() -> None:
    def faulty(_: Examination) -> list[Finding]:
        raise KeyError("surprise")

    over = threading.Event()

    def hangs(_: Examination) -> list[Finding]:
        over.wait()
        return []

    checks = [
        Check("one", faulty),
        Check("two", hangs, deadline_s=0.05),
        Check("three", lambda _: [good("fine \x1b[31m" + KEY)]),
        Check("four", lambda _: [good("never made")], needs=("one",)),
        Check("five", lambda _: [good("never made")], needs=("four",)),
    ]
    try:
        one, two, three, four, five = examine(checks, Examination(key=KEY))
    finally:
        over.set()
    assert one.severity is two.severity is Severity.FAILED
    assert "KeyError: 'surprise' (test_doctor_command.py:" in one.findings[0].text
    assert "no result within 0.05 s" in two.findings[0].text
    assert three.findings[0].text == "fine \\x1b[31m***"
    assert four.findings[0].text == five.findings[0].text == "fix first: one"


def test_the_page() -> None:
    lines: list[str] = []
    page = report.Page(lines.append, width=70)
    outcomes = [
        Outcome("first", (good("fine"),)),
        Outcome("second", (Finding(Severity.ERROR, "broken in many words " * 4, "fix it"),)),
        Outcome("third", (Finding(Severity.SKIPPED, "no card"),)),
        Outcome("fourth", (Finding(Severity.SKIPPED, "no card"),)),
        Outcome("fifth", (Finding(Severity.WARNING, "for the same reason", "fix it"),)),
    ]
    for outcome in outcomes:
        page.add(outcome)
    page.end(outcomes)
    assert lines == [
        "ok    first                fine",
        "FAIL  second               broken in many words broken in many words",
        "                           broken in many words broken in many words",
        "                           -> fix it",
        "skip  third                no card (also skipped: fourth)",
        "warn  fifth                for the same reason",
        "                           -> as above: second",
        "",
        "1 error, 1 warning, 2 skipped",
        "",
        "to fix:",
        "  second: broken in many words broken in many words broken in many",
        "  words broken in many words",
        "  -> fix it",
    ]


def test_the_page_fits_a_narrow_terminal() -> None:
    lines: list[str] = []
    page = report.Page(lines.append, width=40)
    outcome = Outcome("agent's settings", (Finding(Severity.ERROR, "broken in many words " * 4, "fix it " * 9),))
    page.add(outcome)
    page.end([outcome])
    assert lines[:2] == ["FAIL  agent's settings", "      broken in many words broken in"]
    assert max(map(len, lines)) < 40


def test_the_failures_stand_at_the_end_each_hint_once_and_the_first_thing_to_do_last() -> None:
    def failing(name: str, *hints: str, explains: str = "") -> Outcome:
        return Outcome(name, tuple(Finding(Severity.ERROR, f"no {hint}", hint) for hint in hints), explains=explains)

    lines: list[str] = []
    outcomes = [
        failing("packages", "install it"),
        Outcome("clock", (Finding(Severity.WARNING, "late", "wait"),)),
        failing("sound devices", "plug in a microphone", "plug in a speaker"),
        # It has found the cause of the failure of an earlier check.
        failing("device files", "plug in a card", explains="sound devices"),
        failing("key", "store it"),
        failing("agent", "store it"),
    ]
    report.Page(lines.append, width=80).end(outcomes)
    assert lines[2:] == [
        "",
        "to fix, the first thing last:",
        "  key: no store it (also: agent)",
        "  -> store it",
        "  device files: no plug in a card (also: sound devices)",
        "  -> plug in a card",
        "  packages: no install it",
        "  -> install it",
    ]
    lines.clear()
    report.Page(lines.append, width=80).end([outcomes[3]])
    assert lines[2:] == ["", "to fix:", "  device files: no plug in a card", "  -> plug in a card"]


@pytest.mark.parametrize(
    ("key", "more", "check", "words"),
    [
        ("sk-wrongwrongwrong", "", "key", "openai.api_key"),
        (KEY, "  model: gpt-nothing\n", "conversation", "openai.model"),
    ],
    ids=["a wrong key", "a wrong model"],
)
def test_the_second_provider(agent: LocalAgent, tmp_path: Path, key: str, more: str, check: str, words: str) -> None:
    (tmp_path / "key").write_text(key)
    (tmp_path / "key").chmod(0o600)
    path = tmp_path / "parleyd.yaml"
    path.write_text(
        f"provider: openai\nopenai:\n  base_url: http://127.0.0.1:{agent.port}/v1\n  instructions: Be brief.\n"
        f"  api_key: {{file: {tmp_path / 'key'}}}\n{more}audio: {{input: {{device: null}}, output: {{device: null}}}}\n"
    )
    found, code = as_json("-c", path)
    assert code == os.EX_CONFIG
    [fault] = [one for one in found[check] if one["severity"] == "error"]
    assert words in fault["hint"]
    assert key not in json.dumps(found)
