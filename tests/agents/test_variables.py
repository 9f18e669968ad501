"""Dynamic variables: found anew for each session, never waited for without end, and what is missing is said."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from parleyd.agents import variables as variables_module
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.provider import SessionWish
from parleyd.agents.variables import MOST_BYTES, NotFoundError, Variables, find
from parleyd.config.schema import ElevenLabs, Scalar, Variable
from parleyd.core.endings import EndingKind
from parleyd.core.log_fields import NOTICE
from waiting import until_ended


def looked_up(variables: Variables) -> dict[str, Scalar]:
    variables.refresh()
    return variables.values()


def test_each_source_is_asked_anew_for_each_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "news"
    path.write_text("  sunny \n")
    monkeypatch.setenv("ROOM", "kitchen")
    variables = Variables(
        {
            "visits": 3,
            "room": Variable(env="ROOM"),
            "news": Variable(file=str(path)),
            "day": Variable(command=["cat", str(path)]),
        }
    )
    assert looked_up(variables) == {"visits": 3, "room": "kitchen", "news": "sunny", "day": "sunny"}
    path.write_text("rain")
    assert looked_up(variables) == {"visits": 3, "room": "kitchen", "news": "rain", "day": "rain"}


def test_what_cannot_be_found_keeps_its_last_value_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(NOTICE)
    path = tmp_path / "news"
    variables = Variables({"news": Variable(file=str(path)), "mood": Variable(file=str(path), default="good")})
    assert looked_up(variables) == {"mood": "good"}
    path.write_text("sunny")
    assert looked_up(variables)["news"] == "sunny"
    path.unlink()
    for _ in range(3):
        assert looked_up(variables) == {"news": "sunny", "mood": "sunny"}
    told = [record.getMessage() for record in caplog.records if "variable news" in record.getMessage()]
    assert ["left out" in told[0], "found again" in told[1], "last value" in told[2]] == [True] * 3
    assert len(told) == 3


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (Variable(env="PARLEYD_UNSET"), "is not set"),
        (Variable(file="/"), "cannot be read: Is a directory"),
        (Variable(file="/dev/zero"), f"more than {MOST_BYTES} bytes"),
        (Variable(command=["/nowhere/at all"]), "at all does not exist on this device"),
        (Variable(command=["a\0b"]), "cannot be given these arguments"),
        (Variable(command=["sh", "-c", "echo secret; exit 3"]), "ended with exit code 3"),
        (Variable(command=["sh", "-c", "kill -9 $$"]), "ended with signal 9"),
        (Variable(command=["yes"]), f"more than {MOST_BYTES} bytes"),
        (Variable(command=["sh", "-c", "sleep 60 & sleep 60"]), "took longer"),
        (Variable(command=["sh", "-c", "exec >&-; sleep 60"]), "took longer"),
    ],
)
def test_why_there_is_no_value(source: Variable, why: str) -> None:
    with pytest.raises(NotFoundError, match=why) as caught:
        find(source, 0.3 if why == "took longer" else 30.0)
    assert "secret" not in str(caught.value)


def test_a_command_is_run_without_a_shell_and_without_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_very_secret")
    assert "sk_very" not in find(Variable(command=["env"]), 2.0)
    assert find(Variable(command=["echo", "$HOME; rm -rf *"]), 2.0) == "$HOME; rm -rf *"


def test_a_command_leaves_nothing_behind(tmp_path: Path) -> None:
    script = f"sleep 600 > /dev/null & echo $! > {tmp_path}/pid; echo done"
    assert find(Variable(command=["sh", "-c", script]), 5.0) == "done"
    until_ended(int((tmp_path / "pid").read_text()))


def test_a_session_does_not_wait_for_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variables_module, "LONGEST_S", 0.2)
    go_on = threading.Event()
    monkeypatch.setattr(variables_module, "_read", lambda _path: b"late" if go_on.wait(60) else b"")
    variables = Variables({"slow": Variable(file="/mnt/away"), "quick": Variable(command=["echo", "here"])})
    assert looked_up(variables)["quick"] == "here"
    assert looked_up(variables)["quick"] == "here"
    # Had one of them waited for it, it would have come to its end.
    assert "slow" in variables.failures
    assert [thread.name for thread in threading.enumerate()].count("dynamic variable") == 1, "one at a time"
    go_on.set()
    until_s = time.monotonic() + 30
    while "slow" not in variables.values() and time.monotonic() < until_s:
        threading.Event().wait(0.01)
    assert variables.values()["slow"] == "late"


def test_the_opening_holds_them_and_an_agent_that_misses_one_is_answered_with_its_hint(tmp_path: Path) -> None:
    path = tmp_path / "name"
    section = ElevenLabs(
        agent_id="agent_x",
        base_url="http://127.0.0.1:1",
        dynamic_variables={"name": Variable(file=str(path)), "visits": 3},
    )
    agent = ElevenLabsAgent(section, None)
    path.write_bytes(b"Ada \xff")
    agent.dial(1.0)
    assert json.loads(agent.session(SessionWish()).opening()[0])["dynamic_variables"] == {
        "name": "Ada \ufffd",
        "visits": 3,
    }
    path.unlink()
    again = ElevenLabsAgent(section, None)
    again.dial(1.0)
    assert json.loads(again.session(SessionWish()).opening()[0])["dynamic_variables"] == {"visits": 3}
    ending = again.judge_close(1008, "Missing required dynamic variables in first message: {'name'}", None)
    assert ending.kind is EndingKind.FINAL
    assert ending.hint is not None
    assert ending.hint.startswith(
        f"correct where elevenlabs.dynamic_variables finds name: {path} cannot be read: No such"
    )
