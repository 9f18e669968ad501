"""`parleyd tools` as a user calls it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from parleyd.cli.main import main

CONFIG = """
provider: local
tools:
  built_in: [get_time, set_timer]
  command:
    say_back:
      description: Says it again.
      parameters: {properties: {text: {type: string}}, required: [text]}
      run: [echo, "{text}"]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PARLEYD_SOCKET", str(tmp_path / "nobody"))
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return str(path)


def test_the_list_and_what_the_agents_page_needs(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "-c", config]) == 0
    listed = capsys.readouterr().out
    assert "say_back   command   (text)  at most 10 s\n" in listed
    # Nobody is sent to the page of an agent that has none.
    assert "ElevenLabs" not in listed
    assert "Nothing has to be set up elsewhere." in listed
    assert main(["tools", "-c", config, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [tool["tool_config"]["name"] for tool in printed] == ["get_time", "set_timer", "say_back"]


def test_one_is_tried_by_hand_and_audited(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "run", "-c", config, "say_back", '{"text": "hi  $HOME"}']) == 0
    assert capsys.readouterr().out == "hi  $HOME\n"
    assert main(["tools", "-c", config, "run", "say_back", '{"text": "--help"}']) == 1
    assert "must not begin with a dash" in capsys.readouterr().err
    log = [json.loads(line) for line in (tmp_path / "parleyd" / "audit.jsonl").read_text().splitlines()]
    assert [line.get("outcome") for line in log] == [None, "done", None, "bad parameters"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["say_bakc"], os.EX_USAGE, "there is no tool 'say_bakc' here; there are: get_time, set_timer, say_back"),
        (["say_back", "{text}"], os.EX_DATAERR, "the parameters are not JSON"),
        (["say_back", "[]"], os.EX_DATAERR, "not a JSON object"),
        (["say_back", '{"text": NaN}'], os.EX_DATAERR, "the parameters are not JSON: it knows no NaN;"),
        (["say_back", "[" * 100_000], os.EX_DATAERR, "the parameters are not JSON: nested too deeply;"),
        (["set_timer"], os.EX_UNAVAILABLE, "parleyd is not running"),
    ],
)
def test_what_cannot_be_done(
    config: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert main(["tools", "run", "-c", config, *arguments]) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
