"""A call that waits for a person, with a real daemon, its embedded agent, real commands and the button's own loop.

The button itself, of which there is none here, is a stand-in.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parleyd.button import watch as watching
from parleyd.button.presses import Press
from parleyd.button.watch import Orders, meaning
from parleyd.config.button import Order
from parleyd.control.client import Client
from waiting import until

CONFIG = """
provider: local
local: {scenario: FOLDER/scenario.yaml}
audio: {input: {device: "null"}, output: {device: "null"}}
session: {idle_timeout_s: 3600, false_wake_s: 3600}
wake: {mode: manual}
button: {device: none of this name}
tools:
  confirm_s: 60
  command:
    door_open:
      description: Opens the door.
      confirm: true
      parameters: {properties: {code: {type: string}}}
      # One folder deeper: no tool makes a file beside the configuration.
      run: [touch, FOLDER/out/opened]
"""
SCENARIO = """
agent: {ears: none, first_message: ""}
connections:
- steps:
  - {on: transcript, do: tool_call, name: door_open, parameters: {code: "x\\u202e\\n00:00:00  trouble: forged"}}
  - {on: transcript, nth: 2, do: tool_call, name: door_open, parameters: {code: "2"}}
  - {on: transcript, nth: 3, do: tool_call, name: door_open, parameters: {code: "3"}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "out").mkdir()
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    config = tmp_path / "parleyd.yaml"
    config.write_text(CONFIG.replace("FOLDER", str(tmp_path)))
    process = subprocess.Popen(
        [sys.executable, "-m", "parleyd", "run", "-c", str(config)],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    assert any("runs;" in line for line in process.stderr), "the daemon did not start"
    yield tmp_path
    process.terminate()
    process.communicate()


def parleyd(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "parleyd", *arguments]
    environment = {**os.environ, "COLUMNS": "1000"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


class Watcher:
    """Follows the events."""

    def __init__(self, client: Client) -> None:
        client.ask("events")
        self._events = client.events(60)

    def until(self, name: str) -> dict[str, Any]:
        return next(event for event in self._events if event["event"] == name)


def test_approve_and_the_button_answer_and_the_audit_says_who(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    with Client() as client:
        watcher = Watcher(client)
        assert parleyd("say", "open the door").returncode == 0
        wanted = watcher.until("confirmation_wanted")
        assert not (folder / "out" / "opened").exists()
        # It is shown whole, in every command; nothing in it begins a line or turns one around.
        shown = 'door_open with {"code": "x\\u202e\\n00:00:00  trouble: forged"}'
        status = parleyd("status").stdout
        assert f"may it run here {shown}?" in status
        assert f"parleyd approve {wanted['approval']}, or deny" in status
        named = parleyd("approve")
        assert named.returncode == os.EX_USAGE
        assert f"there wait: {wanted['approval']} (door_open)" in named.stderr
        assert parleyd("approve", wanted["call_id"]).returncode == os.EX_UNAVAILABLE
        assert parleyd("approve", wanted["approval"]).stdout == "allowed: door_open\n"
        assert watcher.until("confirmation_settled")["allowed"] is True
        assert watcher.until("tool_ended")["fault"] is None
        assert (folder / "out" / "opened").exists()

        # The button, which answers at once here, before the question could have been heard.
        monkeypatch.setattr(watching, "HEARD_S", 0.0)
        orders = Orders(None)
        parleyd("say", "again")
        watcher.until("confirmation_wanted")
        orders.give("short", "wake_or_sleep")
        assert watcher.until("confirmation_settled")["allowed"] is True
        parleyd("say", "and again")
        watcher.until("confirmation_wanted")
        orders.give("long", "mute_or_unmute")
        assert watcher.until("confirmation_settled")["allowed"] is False
        assert client.ask("status")["microphone"]["muted"], "a press that would mute does so in any case"
        assert client.ask("status")["state"] == "live"
        assert [record.message for record in caplog.records] == ["approve door_open", "mute, deny door_open"]
    audit = Path(os.environ["XDG_STATE_HOME"]) / "parleyd" / "audit.jsonl"
    until("not all of them are written", lambda: audit.read_text().count("confirmation") >= 3)
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    answers = [line for line in lines if line["what"] == "confirmation"]
    assert [(line["outcome"], line["by"], line["uid"]) for line in answers] == [
        ("allowed", "person", os.geteuid()),
        ("allowed", "person", os.geteuid()),
        ("denied", "person", os.geteuid()),
    ]
    assert answers[1]["pid"] == os.getpid()
    assert answers[1]["role"] == ("root" if os.geteuid() == 0 else "daemon")


ASKED = {"approval": "1f00ba", "at_s": 100.0}


@pytest.mark.parametrize(
    ("press", "order", "waiting", "muted", "pressed_s", "meant"),
    [
        ("short", "wake_or_sleep", [ASKED], False, 101.0, ("1f00ba", True)),
        ("long", "mute_or_unmute", [ASKED], False, 101.0, ("1f00ba", False)),
        ("long", "mute_or_unmute", [ASKED], True, 101.0, ("1f00ba", False)),
        ("short", "mute_or_unmute", [ASKED], False, 101.0, ("1f00ba", False)),
        ("short", "mute_or_unmute", [ASKED], True, 101.0, ("1f00ba", True)),
        ("short", "wake", [ASKED], None, 101.0, ("1f00ba", True)),
        ("short", "wake_or_sleep", [ASKED], False, 100.6, (None, False)),
        ("short", "wake_or_sleep", [ASKED], False, 99.0, (None, False)),
        ("short", "wake_or_sleep", [], False, 101.0, (None, False)),
        ("short", "none", [ASKED, {**ASKED, "approval": "2"}], False, 101.0, (None, False)),
    ],
)
def test_what_a_press_means(
    press: Press, order: Order, waiting: list[dict[str, Any]], muted: bool | None, pressed_s: float, meant: object
) -> None:
    microphone = None if muted is None else {"muted": muted}
    status = {"confirmations": waiting, "microphone": microphone, "state": "live"}
    assert meaning(press, order, status, pressed_s) == meant
