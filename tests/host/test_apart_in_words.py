"""How tools and hooks run here, as check, the doctor and status say it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from parleyd.app.out_of_reach import apart_for, places
from parleyd.checks.apart import look
from parleyd.checks.configuration import parse
from parleyd.config.programs import programs
from parleyd.config.schema import Config
from parleyd.core.findings import Severity
from parleyd.doctor.programs import judge_programs
from parleyd.host import apart, directories
from parleyd.host.apart import Way, Ways

UNIT, LANDLOCK, NONE = Ways(Way.UNIT, 7), Ways(Way.LANDLOCK, 3), Ways(Way.NONE, 0)
TOOL = "description: d, run: [/bin/true]"


def config(text: str) -> Config:
    return parse(f"provider: local\n{text}", "parleyd.yaml").config


def test_every_program_of_a_configuration_is_named() -> None:
    found = config(
        f"""
hooks: [{{on: [muted], command: ["true"]}}, {{on: [muted], command: ["true"], run_as: daemon}}]
tools: {{command: {{lamp: {{{TOOL}}}}}, python: {{dice: {{description: d, run_as: daemon}}}}}}
elevenlabs: {{dynamic_variables: {{day: {{command: [date]}}, room: kitchen, news: {{file: /x}}}}}}
"""
    )
    assert dict(programs(found)) == {
        "hooks.1": "apart",
        "hooks.2": "daemon",
        "tools.command.lamp": "apart",
        "tools.python.dice": "daemon",
        "elevenlabs.dynamic_variables.day": "apart",
    }


def test_check_warns_of_what_runs_as_the_daemon_and_of_a_machine_that_keeps_nothing_apart() -> None:
    apart_, as_daemon = (
        config(f"tools: {{command: {{lamp: {{{TOOL}}}}}}}"),
        config(f"tools: {{command: {{lamp: {{{TOOL}, run_as: daemon}}}}}}"),
    )
    for ways in (UNIT, LANDLOCK):
        assert not list(look(apart_, ways))
        assert [finding.key for finding in look(as_daemon, ways)] == ["tools.command.lamp.run_as"]
    (finding,) = look(apart_, NONE)
    assert finding.is_warning
    assert "not apart" in finding.text
    (finding,) = look(config(f"tools: {{apart: required, command: {{lamp: {{{TOOL}}}}}}}"), NONE)
    assert "none of them is run" in finding.text
    assert not list(look(Config(), NONE)), "nothing runs a program"


@pytest.mark.parametrize(
    ("ways", "is_required", "is_of_system", "severity", "words"),
    [
        (UNIT, True, True, Severity.GOOD, "each call as a unit"),
        (LANDLOCK, False, False, Severity.NOTE, "signals can end the daemon"),
        (LANDLOCK, False, True, Severity.WARNING, "parleyd-tools.socket does not listen"),
        (NONE, False, False, Severity.WARNING, "not apart"),
        (NONE, True, False, Severity.ERROR, "none of them is run"),
    ],
)
def test_what_the_doctor_says(
    ways: Ways, is_required: bool, is_of_system: bool, severity: Severity, words: str
) -> None:
    runs = [("hooks.1", "apart")]
    (finding,) = judge_programs(runs, ways, is_required=is_required, is_of_system=is_of_system)
    assert finding.severity is severity
    assert words in finding.text
    assert finding.hint or severity is Severity.GOOD
    first, _ = judge_programs([*runs, ("hooks.2", "daemon")], ways, is_required=is_required, is_of_system=is_of_system)
    assert "hooks.2" in first.text


def test_the_services_file_is_run_by_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SOCKET", tmp_path / "s")
    monkeypatch.setattr(directories, "SYSTEM_CONFIG", tmp_path / "parleyd.yaml")
    assert apart.ways_of(tmp_path / "parleyd.yaml").way is not Way.UNIT
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        (tmp_path / "s").chmod(0)
        assert apart.ways_of(tmp_path / "parleyd.yaml").way is Way.UNIT


def test_what_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("state", "runtime", "credentials"):
        monkeypatch.setenv(f"{name.upper()}_DIRECTORY", f"/{name}")
    made = config(
        f"""
elevenlabs: {{api_key: {{file: /secret/key}}}}
control: {{socket: /c/sock}}
transcript: {{enabled: true, directory: /t}}
tools:
  command: {{lamp: {{{TOOL}, secrets: {{A: {{file: /secret/a}}, B: {{env: B}}}}}}}}
"""
    )
    named = {"/secret/key", "/secret/a", "/c/sock", "/t"}
    assert {str(place) for place in places(made)} == named
    hidden = {place.decode() for place in apart_for(made, Path("/etc/p.yaml"), Path("/other")).hidden}
    assert hidden == named | {"/etc/p.yaml", "/other", "/state", "/runtime", "/credentials"}
