"""Tools in a conversation with the embedded agent: over a real WebSocket, with real processes and a real microphone."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from harness import Daemon

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app.settings import SettingsKeeper
from parleyd.checks.configuration import parse
from parleyd.cli import status as status_command
from parleyd.cli.status import page
from parleyd.config.changes import Changes
from parleyd.config.retention import QuietHours
from parleyd.config.schema import Config
from parleyd.control import messages
from parleyd.control.commands import Commands
from parleyd.control.messages import RequestError
from parleyd.control.roles import ROLES, Caller
from parleyd.core import events
from parleyd.core.plain import plain
from parleyd.core.states import State
from parleyd.embedded import scenario
from parleyd.embedded.recognise import NoEars
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.voice import Voice
from parleyd.profiles.profiles import Profiles
from parleyd.tools.asking import Answerer
from parleyd.tools.audit import FILE_NAME, REFUSED_NAME
from waiting import until

TOOLS = """
provider: local
wake: {mode: MODE}
session: {idle_timeout_s: 60, false_wake_s: 60}
reconnect: {initial_s: 0.1, max_s: 1}
elevenlabs: {agent_id: local, base_url: "URL"}
tools:
  command:
    thermometer:
      description: d
      parameters: {properties: {room: {enum: [kitchen]}}, required: [room]}
      run: [/bin/sh, -c, 'test "$1" = kitchen && echo 21 degrees', sh, "{room}"]
    hang: {description: d, timeout_s: 1, at_once: 2, run: [/bin/sh, -c, "echo $$ > FOLDER/pid; sleep 1000 & wait"]}
    wait: {description: d, timeout_s: 100, run: [/bin/sh, -c, "echo $$ > FOLDER/pid; sleep 1000"]}
    soft: {description: d, timeout_s: 100, cancel_on_speech: true, run: [sleep, 1000]}
    touch: {description: d, run: [touch, FOLDER/touched]}
    say: {description: d, parameters: {properties: {x: {}}, required: [x]}, run: [echo, "{x}"]}
    door:
      description: d
      confirm: true
      parameters: {properties: {who: {type: string, maxLength: 50}, level: {type: integer, default: 7}}}
      run: [touch, FOLDER/opened]
  confirm_built_in: [mute]
  confirm_s: 60
  built_in: [get_time, set_volume, end_conversation, set_timer, list_timers, cancel_timer, device_status, mute]
  mcp:
    rules: [{tool: "read_*", decision: allow}, {tool: "pay_*", decision: ask}]
"""
AGENT = "agent: {ears: none, first_message: '', ping_interval_s: 0.1, stream_speed: 0}\n"
WAIT_S = 60.0
ANN = Answerer(1001, 77, "approve")


@pytest.fixture(scope="module")
def voice() -> Iterator[Voice]:
    with Voice("slt") as voice:
        yield voice


class Scene:
    def __init__(self, agent: LocalAgent, daemon: Daemon, folder: Path, state: Path, config: Config) -> None:
        """folder: where the tools write. state: the daemon's, which they do not reach."""
        self.agent = agent
        self.config = config
        self.daemon = daemon
        self.folder = folder
        self.state = state

    def line(self, number: int = 1) -> ConnectionRecord:
        return self.agent.wait_connection(number)

    def result(self, count: int = 1, line: int = 1) -> Mapping[str, Any]:
        return self.line(line).wait_event("client_tool_result", count)

    def audit(self) -> list[dict[str, Any]]:
        self.daemon.service.stop()
        files = [file for name in (FILE_NAME, REFUSED_NAME) if (file := self.state / name).exists()]
        return [json.loads(text) for file in files for text in file.read_text().splitlines()]

    def pid(self) -> int:
        path = self.folder / "pid"
        until("nobody has begun", lambda: path.exists() and path.read_text().strip())
        return int(path.read_text())


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture
def play(voice: Voice, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    folder, state = tmp_path / "out", tmp_path / "state"
    folder.mkdir()
    state.mkdir()
    with ExitStack() as stack:

        def begin(script: str, *, mode: str = "manual", agent: str = AGENT) -> Scene:
            parsed = scenario.parse(agent + script, "test.yaml")
            local = stack.enter_context(LocalAgent(parsed.agent, parsed, ears=NoEars(), voice=voice))
            text = TOOLS.replace("URL", local.base_url).replace("FOLDER", str(folder)).replace("MODE", mode)
            config: Config = parse(text, "tools.yaml").config
            daemon = stack.enter_context(Daemon(config, state_directory=state))
            if mode == "manual":
                daemon.service.wake()
            return Scene(local, daemon, folder, state, config)

        yield begin


def steps(*texts: str, then: str = "") -> str:
    return "connections:\n- steps:\n" + "".join(f"  - {{{text}}}\n" for text in texts) + then


def test_the_agent_gets_its_answer_and_says_it(play: Callable[..., Scene]) -> None:
    scene = play("", agent="""\
agent:
  ears: none
  first_message: ""
  replies:
  - {heard: how warm, tool: {name: thermometer, parameters: {room: kitchen}}, say: "It is {result}."}
  - {heard: how cold, tool: {name: thermometer, parameters: {room: attic}}, say: "{result}"}
""")  # fmt: skip
    scene.daemon.service.say("how warm is it")
    assert scene.result() == {
        "type": "client_tool_result", "tool_call_id": "call_1", "result": "21 degrees", "is_error": False,
    }  # fmt: skip
    scene.daemon.expect(events.AnswerText, lambda event: event.text == "It is 21 degrees.")
    scene.daemon.service.say("how cold is it")
    wrong = scene.result(2)
    assert (wrong["is_error"], wrong["error_type"]) == (True, "external_client")
    assert wrong["result"].startswith(
        "The parameters are wrong: room: 'attic' is not one of ['kitchen']; room takes \"kitchen\". Nothing was done."
    )
    assert scene.line().deviations == []


def test_a_tool_that_hangs_holds_up_neither_the_line_nor_other_tools(play: Callable[..., Scene]) -> None:
    scene = play(steps(
        "on: ready, do: tool_call, name: hang",
        "on: ready, do: tool_call, name: wait",
        "on: ready, do: tool_call, name: wait",
        "on: ready, do: tool_call, name: nothing",
        "on: ready, do: tool_call, name: get_time",
    ))  # fmt: skip
    line = scene.line()
    line.wait_event("client_tool_result", 4)
    results = {result["tool_call_id"]: result for result in line.events_of("client_tool_result")}
    assert "tool wait is busy" in results["call_3"]["result"]
    assert "There is no tool 'nothing'" in results["call_4"]["result"]
    assert results["call_5"]["is_error"] is False
    assert results["call_1"]["error_type"] == "client_timeout"
    # Two of the tools still hang.
    line.wait_event("pong", len(line.events_of("pong")) + 3)
    assert len(line.events_of("client_tool_result")) == 4
    assert line.closed is None


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ('{"x": "--flag"}', "must not begin with a dash"),
        ('{"x": "\\u2212\\u2212flag"}', "must not begin with a dash"),
        ('{"x": "a\\u0000b"}', "NUL"),
        ('{"x": "' + "y" * 1024 * 1024 + '"}', "too long"),
        ('{"x": ' + "[" * 200 + "]" * 200 + "}", "nested too deeply"),
        ('{"х": "Cyrillic"}', "was unexpected"),
        ('{"x": "a", "y": 1}', "'y' was unexpected"),
        ("[1]", "must be an object"),
        ('{"x": "a\\n--b; $(id)"}', None),
    ],
    ids=["option", "look-alike", "NUL", "1 MiB", "deep", "name", "extra", "list", "newline"],
)
def test_hostile_parameters_over_the_line(play: Callable[..., Scene], parameters: str, words: str | None) -> None:
    call = f'{{"tool_name": "say", "tool_call_id": "h", "parameters": {parameters}, "expects_response": true}}'
    message = json.dumps(f'{{"type": "client_tool_call", "client_tool_call": {call}}}')
    scene = play(steps(f"on: ready, do: send, messages: [{message}]", "on: ready, do: tool_call, name: get_time"))
    line = scene.line()
    line.wait_event("client_tool_result", 2)
    (result,) = (one for one in line.events_of("client_tool_result") if one["tool_call_id"] == "h")
    if words is None:
        assert (result["result"], result["is_error"]) == ("a\n--b; $(id)", False)
    else:
        assert words in result["result"]
        assert result["is_error"] is True
    assert line.closed is None


def test_an_answer_goes_into_its_own_session_or_nowhere(play: Callable[..., Scene]) -> None:
    scene = play(steps(
        "on: ready, do: tool_call, name: wait",
        "on: ready, after_s: 0.5, do: drop",
        then="- steps: [{on: ready, do: tool_call, name: get_time}]\n",
    ))  # fmt: skip
    pid = scene.pid()
    scene.result(line=2)
    until("it still runs", lambda: gone(pid))
    assert [result["tool_call_id"] for result in scene.line(2).events_of("client_tool_result")] == ["call_1"]
    assert scene.line().events_of("client_tool_result") == []
    dropped = [line for line in scene.audit() if line["what"] == "dropped"]
    assert [(line["tool"], line["why"]) for line in dropped] == [("wait", "the session ended")]


def test_a_call_that_wants_no_answer_is_done_without(play: Callable[..., Scene]) -> None:
    scene = play(steps("on: ready, do: tool_call, name: touch, expects_response: false"))
    until("it was not run", (scene.folder / "touched").exists)
    scene.daemon.expect(events.ToolEnded)
    assert [line.get("answered") for line in scene.audit()] == [None, "not wanted"]
    assert scene.line().events_of("client_tool_result") == []


def test_speech_stops_a_tool_that_is_declared_so(play: Callable[..., Scene]) -> None:
    scene = play(steps("on: speech, do: tool_call, name: soft"), mode="speech")
    scene.daemon.say("What time is it now?")
    scene.line().wait("the call", lambda line: line.of_kind("tool_call"))
    scene.daemon.expect(events.TalkStopped)
    scene.daemon.say("Oh, never mind.")
    assert "because the person spoke" in scene.result()["result"]


def test_a_daemon_that_stops_kills_what_runs(play: Callable[..., Scene]) -> None:
    scene = play(steps("on: ready, do: tool_call, name: wait"))
    pid = scene.pid()
    scene.daemon.service.stop()
    assert gone(pid)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("tool", "timers"))]


# ---------------------------------------------------------------- approvals


def test_approvals_by_rule_and_by_a_person(play: Callable[..., Scene]) -> None:
    scene = play(steps(
        "on: ready, do: mcp_tool_call, name: read_mail",
        "on: ready, do: mcp_tool_call, name: drop_tables",
        "on: ready, do: mcp_tool_call, name: pay_rent, parameters: {amount: 700}",
        "on: ready, do: mcp_tool_call, name: pay_all",
    ))  # fmt: skip
    tools = scene.daemon.service.tools
    rent = scene.daemon.expect(events.ApprovalWanted)
    assert (rent.name, rent.parameters) == ("pay_rent", {"amount": 700})
    other = scene.daemon.expect(events.ApprovalWanted)
    assert tools.approve(rent.approval, allow=True, who=ANN)
    assert tools.approve(other.approval, allow=False, who=ANN)
    assert not tools.approve(other.approval, allow=True, who=ANN)
    line = scene.line()
    line.wait_event("mcp_tool_approval_result", 4)
    answers = {answer["tool_call_id"]: answer["is_approved"] for answer in line.events_of("mcp_tool_approval_result")}
    assert answers == {"call_1": True, "call_2": False, "call_3": True, "call_4": False}
    assert len(line.events_of("mcp_tool_approval_result")) == 4
    assert [(one["tool"], one["outcome"], one["by"]) for one in scene.audit()] == [
        ("read_mail", "allowed", "rule"), ("pay_rent", "allowed", "person"), ("pay_all", "denied", "person"),
        ("drop_tables", "denied", "rule"),
    ]  # fmt: skip


def test_what_an_agent_asks_forges_no_line_of_the_status_and_no_command(
    play: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = play(steps("on: ready, do: mcp_tool_call, name: pay_rent"))
    scene.daemon.expect(events.ApprovalWanted)
    told = plain(scene.daemon.service.status())
    told["approvals"][0] |= {"name": "x\nhealth      well", "approval": "1; id #"}
    monkeypatch.setattr(
        status_command, "connected", lambda _args: nullcontext(SimpleNamespace(ask=lambda _do, **_: told))
    )
    status_command.run(argparse.Namespace(json=False, watch=False, all=False))
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert sum(line.startswith("health") for line in shown) == 1
    assert 'may it call "x\\nhealth      well" of' in " ".join(shown)
    (asks,) = (number for number, line in enumerate(shown) if "may it call" in line)
    assert shown[asks + 1] == "-> parleyd approve '1; id #', or deny"


def test_a_person_answers_by_the_control_socket(play: Callable[..., Scene]) -> None:
    scene = play(steps(
        "on: ready, do: mcp_tool_call, name: pay_rent, service: mcp, parameters: {amount: 700}",
        "on: ready, do: mcp_tool_call, name: pay_all",
    ))  # fmt: skip
    commands = by_hand(scene)
    first, second = (scene.daemon.expect(events.ApprovalWanted).approval for _ in range(2))
    shown = [line for line in page(plain(scene.daemon.service.status())) if "may it call" in line.text]
    assert shown[0][:2] == ("asks", 'may it call pay_rent of mcp with {"amount": 700}?')
    assert shown[0].hint == f"parleyd approve {first}, or deny"
    assert len(shown) == 2
    for unnamed in (messages.Approve(), messages.Deny()):
        with pytest.raises(RequestError, match=rf"there wait: {first} \(pay_rent\), {second} \(pay_all\)") as caught:
            commands(unnamed)
        assert caught.value.kind == "no_id"
    assert commands(messages.Deny(approval=first)) == {"approval": first, "call_id": "call_1", "name": "pay_rent"}
    with pytest.raises(RequestError, match="there wait"):
        commands(messages.Approve())
    assert commands(messages.Approve(approval=second))["call_id"] == "call_2"
    with pytest.raises(RequestError, match="no call waits for a person"):
        commands(messages.Approve())
    for request in (messages.Deny(approval=first), messages.Approve(approval="call_1")):
        with pytest.raises(RequestError, match="no call waits for this approval"):
            commands(request)
    line = scene.line()
    line.wait_event("mcp_tool_approval_result", 2)
    assert [answer["is_approved"] for answer in line.events_of("mcp_tool_approval_result")] == [False, True]


def test_a_name_of_an_agents_own_choice_is_no_further_entry_of_what_waits(play: Callable[..., Scene]) -> None:
    scene = play(steps('on: ready, do: mcp_tool_call, name: "pay_x), 4f2a1c (get_time"'))
    (waits,) = (scene.daemon.expect(events.ApprovalWanted).approval,)
    with pytest.raises(RequestError) as caught:
        by_hand(scene)(messages.Approve())
    assert str(caught.value).endswith(f'there wait: {waits} ("pay_x), 4f2a1c (get_time")')


# ---------------------------------------------------------------- confirmed by a person

DOOR = 'on: ready, do: tool_call, name: door, parameters: {who: "x\u202e; y\\n00:00:00 ok", level: "3"}'


def test_a_tool_that_is_to_be_confirmed_waits_for_the_person(play: Callable[..., Scene]) -> None:
    scene = play(
        steps(DOOR, "on: transcript, do: tool_call, name: mute", "on: transcript, do: tool_call, name: get_time")
    )
    wanted = scene.daemon.expect(events.ConfirmationWanted)
    # What somebody says or writes to the agent answers nothing.
    scene.daemon.service.say("Yes, do it. I allow it.")
    line = scene.line()
    line.wait_event("client_tool_result", 2)
    results = {result["tool_call_id"]: result for result in line.events_of("client_tool_result")}
    assert results["call_2"]["result"].startswith(
        "Another call waits for the person's answer; mute can be called again"
    )
    assert not results["call_3"]["is_error"], "what needs nobody goes on"
    assert [one.approval for one in scene.daemon.service.tools.waiting_confirmations] == [wanted.approval]
    assert wanted.parameters == {"who": "x\u202e; y\n00:00:00 ok", "level": 3}
    assert not (scene.folder / "opened").exists()
    shown = [one for one in page(plain(scene.daemon.service.status())) if "may it run here" in one.text]
    (asks,) = shown
    assert asks.text == 'may it run here door with {"level": 3, "who": "x\\u202e; y\\n00:00:00 ok"}?'
    commands = by_hand(scene)
    with pytest.raises(RequestError, match=rf"there wait: {wanted.approval} \(door\)"):
        commands(messages.Approve())
    assert commands(messages.Approve(approval=wanted.approval)) == {
        "approval": wanted.approval, "call_id": "call_1", "name": "door",
    }  # fmt: skip
    line.wait_event("client_tool_result", 3)
    assert (scene.folder / "opened").exists()
    about = [entry for entry in scene.audit() if entry["tool"] == "door"]
    assert [entry["what"] for entry in about] == ["confirmation", "began", "ended"]
    assert (about[0]["by"], about[0]["uid"], about[0]["pid"], about[0]["role"]) == ("person", 1001, 77, "approve")


def test_a_built_in_tool_can_be_one_of_them_and_a_no_is_a_no(play: Callable[..., Scene]) -> None:
    scene = play(steps("on: ready, do: tool_call, name: mute"))
    wanted = scene.daemon.expect(events.ConfirmationWanted)
    by_hand(scene)(messages.Deny(approval=wanted.approval))
    result = scene.result()
    assert (result["error_type"], result["result"].startswith("The person at the device did not allow")) == (
        "user_rejected", True,
    )  # fmt: skip
    assert not scene.daemon.service.muted


def test_muted_or_with_another_configuration_a_call_goes_on_waiting(play: Callable[..., Scene]) -> None:
    scene = play(steps(DOOR))
    wanted = scene.daemon.expect(events.ConfirmationWanted)
    scene.daemon.service.mute(True)
    service = scene.daemon.service
    quiet: list[QuietHours] = [QuietHours(from_="00:00", to="23:59"), QuietHours(from_="23:59", to="00:00")]
    config = msgspec.structs.replace(scene.config, quiet_hours=quiet)
    agent = ElevenLabsAgent(config.elevenlabs, None)
    assert service.reconfigure(config, lambda _config: agent).now == ("quiet_hours",)
    assert [one.approval for one in service.tools.waiting_confirmations] == [wanted.approval]
    by_hand(scene)(messages.Approve(approval=wanted.approval))
    assert not scene.result()["is_error"]


def test_what_waits_when_the_line_breaks_is_not_done_and_no_answer_counts_in_the_next_session(
    play: Callable[..., Scene],
) -> None:
    scene = play(steps(DOOR, "on: ready, after_s: 0.5, do: drop", then="- {}\n"))
    wanted = scene.daemon.expect(events.ConfirmationWanted)
    settled = scene.daemon.expect(events.ConfirmationSettled)
    assert (settled.approval, settled.allowed, settled.by) == (wanted.approval, False, "the call was over")
    with pytest.raises(RequestError, match="no call waits"):
        by_hand(scene)(messages.Approve(approval=wanted.approval))
    assert not (scene.folder / "opened").exists()


# ---------------------------------------------------------------- built in


def by_hand(scene: Scene) -> Callable[[messages.AnyRequest], Any]:
    bus = events.Bus()
    settings = SettingsKeeper(Path("/nowhere"), None, bus)
    commands = Commands(scene.daemon.service, Changes, lambda: None, Profiles(Config(), bus), settings)
    ann = Caller(1001, 77, frozenset(ROLES), "approve")
    return lambda request: commands(request, None, ann)


def test_parleyds_own_tools_can_be_called_by_hand(play: Callable[..., Scene]) -> None:
    scene = play("")
    commands = by_hand(scene)
    assert commands(messages.RunTool(name="set_timer", parameters={"minutes": 5, "label": "tea"})) == {
        "result": "Timer 1 (tea) rings in 5 minutes.", "fault": None,
    }  # fmt: skip
    assert commands(messages.RunTool(name="set_volume", parameters={"percent": 20}))
    assert scene.daemon.service.volume == 0.2
    wrong = commands(messages.RunTool(name="cancel_timer", parameters={"timer": "the first"}))
    assert isinstance(wrong, dict)
    assert (wrong["fault"], wrong["result"][:25]) == ("bad parameters", "The parameters are wrong:")
    # Not what runs programs: who may talk to the daemon need not be the user who runs them. Not what is switched off.
    for name in ("touch", "door", "nothing"):
        with pytest.raises(RequestError, match=f"no tool '{name}' of its own"):
            commands(messages.RunTool(name=name))
    assert not (scene.folder / "touched").exists()
    scene.line()
    assert [line["what"] for line in scene.audit() if line["call_id"] == "by hand" and line["what"] != "ended"] == [
        "began", "began", "refused",
    ]  # fmt: skip


def test_the_agent_says_goodbye_before_the_line_ends(play: Callable[..., Scene]) -> None:
    scene = play("", agent="""\
agent:
  ears: none
  first_message: ""
  replies: [{heard: bye, tool: {name: end_conversation}, say: "Bye."}]
""")  # fmt: skip
    scene.daemon.service.say("bye")
    ended = scene.daemon.expect(events.AnswerEnded)
    assert ended.finished
    asleep = scene.daemon.expect_state(State.ASLEEP)
    assert asleep.reason == "the agent ended the conversation"
    assert asleep.at_s > ended.at_s
    line = scene.line()
    line.wait("the close", lambda record: record.closed)
    assert line.closed is not None
    assert (line.closed.code, line.closed.by) == (1000, "client")


def test_a_timer_wakes_the_agent_which_says_so(play: Callable[..., Scene]) -> None:
    # One call after the other, for tools run at the same time; the timer rings when the session is over.
    scene = play(steps(
        "on: ready, do: tool_call, name: set_timer, parameters: {seconds: 6, label: \"te\\ea\"}",
        "on: message, type: client_tool_result, nth: 1, do: tool_call, name: list_timers",
        "on: message, type: client_tool_result, nth: 2, do: tool_call, name: set_volume, parameters: {percent: 30}",
        "on: message, type: client_tool_result, nth: 3, do: tool_call, name: device_status",
        then="- {}\n",
    ), agent="""\
agent:
  ears: none
  first_message: "Hello, how can I help you?"
  replies: [{heard: message of the device, say: "Your tea is ready."}]
""")  # fmt: skip
    line = scene.line()
    line.wait_event("client_tool_result", 4)
    results = {result["tool_call_id"]: result["result"] for result in line.events_of("client_tool_result")}
    scene.daemon.service.sleep()
    scene.daemon.expect_state(State.ASLEEP)
    assert results["call_1"] == "Timer 1 (tea) rings in 6 seconds."
    assert scene.daemon.service.volume == 0.3
    assert results["call_2"].startswith("Timer 1 (tea) has ")
    # Noise on the machine may be a trouble, and no test waits for it.
    assert results["call_4"].startswith("This device is ")
    assert "The volume is 30 percent." in results["call_4"]
    told = scene.line(2).wait_event("contextual_update")
    assert told["text"] == "Tea is ready: the timer has gone off. Tell the person."
    scene.line(2).wait_event("user_message")
    said = scene.daemon.expect(events.AnswerText, lambda event: event.text != "Hello, how can I help you?")
    assert said.text == "Your tea is ready.", "not the greeting first, and once"
    assert scene.daemon.of(events.Typed) == [], "the person has said nothing"
    assert scene.daemon.of(events.TimerWentOff)[0].label == "tea"
    assert [line["what"] for line in scene.audit()].count("timer") == 1


@pytest.mark.parametrize("talking", [True, False])
def test_a_timer_in_a_conversation_makes_the_agent_speak_unless_somebody_talks(
    play: Callable[..., Scene], talking: bool
) -> None:
    story = " ".join(["One. Two. Three. Four. Five. Six. Seven. Eight. Nine."] * 4)
    scene = play(steps(f'on: ready, do: say, text: "{story}"') if talking else "")
    scene.daemon.expect(events.AnswerStarted if talking else events.SessionOpened)
    by_hand(scene)(messages.RunTool(name="set_timer", parameters={"seconds": 2}))
    line = scene.line()
    told = line.wait_event("contextual_update")
    assert told["text"] == "The timer has gone off. Tell the person."
    scene.daemon.service.context("what is sent after it")
    line.wait_event("contextual_update", 2)
    assert len(line.events_of("user_message")) == (0 if talking else 1)
