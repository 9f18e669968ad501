"""`parleyd platform` against the embedded agent's platform over HTTP, with the official SDK as a second reader."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from elevenlabs import ElevenLabs
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from parleyd.cli.main import main
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings
from parleyd.host.directories import state_directory
from parleyd.platform.rest import Rest
from waiting import until

KEY = "sk_0123456789"
LAMP = """
tools:
  built_in: []
  command:
    lamp:
      description: Switches the lamp.
      parameters: {type: object, properties: {on: {type: boolean}}, required: [on]}
      run: [echo, "{on}"]
"""


@pytest.fixture
def agent() -> Iterator[LocalAgent]:
    with LocalAgent(AgentSettings(api_key=KEY, ears="none", client_events=("audio", "vad_score"))) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, agent: LocalAgent) -> Path:
    path = tmp_path / "parleyd.yaml"
    path.write_text(
        f"# The kitchen.\nelevenlabs:\n  agent_id: kitchen\n  api_key: {KEY}\n  base_url: {agent.base_url}\n{LAMP}"
    )
    return path


def facts(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["platform", *map(str, arguments), "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


def sdk(agent: LocalAgent) -> ElevenLabs:
    return ElevenLabs(api_key=KEY, base_url=agent.base_url)


def test_apply_fits_the_agent_and_a_second_run_only_reads(
    agent: LocalAgent, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert facts(capsys, "plan", "-c", file)[0] == 1
    code, told = facts(capsys, "apply", "--yes", "-c", file)
    assert (code, told["applied"]) == (0, True)
    described = sdk(agent).conversational_ai.agents.get("kitchen")
    conversation = described.conversation_config.conversation
    assert conversation is not None
    assert conversation.client_events is not None
    assert {"vad_score", "audio", "client_tool_call"} <= set(conversation.client_events)
    (tool,) = sdk(agent).conversational_ai.tools.list().tools
    assert described.conversation_config.agent is not None
    assert described.conversation_config.agent.prompt is not None
    assert described.conversation_config.agent.prompt.tool_ids == [tool.id]
    version = described.version_id
    code, told = facts(capsys, "apply", "--yes", "-c", file)
    assert (code, told["in_step"]) == (0, True)
    assert sdk(agent).conversational_ai.agents.get("kitchen").version_id == version


def test_a_change_in_the_dashboard_is_shown_and_stays(
    agent: LocalAgent, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text().replace("elevenlabs:\n", "elevenlabs:\n  agent: {first_message: Mine}\n"))
    first = "conversation_config.agent.first_message"
    assert facts(capsys, "apply", "--yes", "-c", file)[0] == 1  # the greeting was there before
    assert facts(capsys, "apply", "--yes", "--take", first, "-c", file)[0] == 0
    sdk(agent).conversational_ai.agents.update(
        "kitchen",
        conversation_config={"agent": {"first_message": "Theirs"}},
    )
    code, told = facts(capsys, "apply", "--yes", "-c", file)
    assert code == 1
    assert told["conflicts"] == [
        {"path": first, "wanted": "Mine", "there": "Theirs", "written": "Mine", "why": "elevenlabs.agent.first_message"}
    ]
    assert main(["platform", "plan", "-c", str(file)]) == 1
    assert f"--take {first} writes it" in capsys.readouterr().out


def test_a_conversation_follows_what_was_applied(agent: LocalAgent, file: Path) -> None:
    assert main(["platform", "apply", "--yes", "-c", str(file)]) == 0
    changed = agent._api._platform.settings_of("kitchen")
    assert "client_tool_call" in changed.client_events
    assert changed.allowed_overrides is not None
    assert "first_message" in changed.allowed_overrides


def test_create_makes_an_agent_that_fits_and_writes_its_id(
    agent: LocalAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(
        f"# The kitchen.\nelevenlabs:\n  # Ours.\n  api_key: {KEY}\n  base_url: {agent.base_url}\n"
        f"  agent: {{language: de, prompt: {{file: {tmp_path / 'prompt.txt'}}}}}\n{LAMP}"
    )
    (tmp_path / "prompt.txt").write_text("Du bist eine Küche.\n", encoding="utf-8")
    code, told = facts(capsys, "create", "Kitchen", "--write", "-c", file)
    assert code == 0
    lines = file.read_text().splitlines()
    assert lines[:3] == ["# The kitchen.", "elevenlabs:", "  # Ours."]
    assert f"  agent_id: {told['agent']}" in lines
    assert facts(capsys, "plan", "-c", file)[0] == 0
    described = sdk(agent).conversational_ai.agents.get(told["agent"])
    assert described.name == "Kitchen"
    assert described.conversation_config.agent is not None
    assert described.conversation_config.tts is not None
    assert described.conversation_config.agent.language == "de"
    assert described.conversation_config.tts.model_id == "eleven_flash_v2_5"
    assert described.conversation_config.agent.prompt is not None
    assert described.conversation_config.agent.prompt.prompt == "Du bist eine Küche."


@pytest.mark.usefixtures("agent")
def test_a_field_that_the_server_does_not_know_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = file.read_text().replace(
        "elevenlabs:\n", "elevenlabs:\n  agent: {extra: {conversation_config: {trun: 1}}}\n"
    )
    file.write_text(text)
    assert main(["platform", "apply", "--yes", "-c", str(file)]) == 70
    assert "did not keep conversation_config.trun" in capsys.readouterr().err


def test_what_was_written_before_a_kill_is_found_again(
    agent: LocalAgent, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real process is ended by SIGKILL between the new tool and the change of the agent."""
    program = (
        "import os, signal, sys\n"
        "from parleyd.platform.rest import Rest\n"
        "Rest.patch_agent = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from parleyd.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, "platform", "apply", "--yes", "-c", str(file)], capture_output=True, check=False
    )
    assert killed.returncode == -9
    assert len(sdk(agent).conversational_ai.tools.list().tools) == 1
    # Not even the record has survived.
    (state_directory() / "platform.json").unlink()
    assert facts(capsys, "apply", "--yes", "-c", file)[0] == 0
    assert len(sdk(agent).conversational_ai.tools.list().tools) == 1
    assert facts(capsys, "plan", "-c", file)[0] == 0


def test_tools_are_found_on_every_page(agent: LocalAgent, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(130):
        config = {"type": "client", "name": f"other{number}", "description": "-"}
        sdk(agent).conversational_ai.tools.create(request={"tool_config": config})
    assert facts(capsys, "apply", "--yes", "-c", file)[0] == 0
    agent._api._platform.agents["kitchen"]["conversation_config"]["agent"]["prompt"]["tool_ids"] = []
    (state_directory() / "platform.json").unlink()
    assert facts(capsys, "apply", "--yes", "-c", file)[0] == 0
    names = [config["name"] for config in agent._api._platform.tools.values()]
    assert names.count("lamp") == 1


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"api_key": "sk_another_1"}, 77, "the key may not be used"),
        ({"key_permissions": ("convai_read",)}, 77, "lacks the permission convai_write"),
        ({"agent_id": "garage"}, 78, "the agent kitchen does not exist"),
    ],
)
def test_refusals_have_their_exit_codes(
    change: dict[str, Any], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = msgspec.structs.replace(AgentSettings(api_key=KEY, ears="none", client_events=("audio",)), **change)
    with LocalAgent(settings) as agent:
        file = tmp_path / "parleyd.yaml"
        file.write_text(f"elevenlabs: {{agent_id: kitchen, api_key: {KEY}, base_url: {agent.base_url}}}\n")
        assert main(["platform", "apply", "--yes", "-c", str(file)]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert KEY not in said.err + said.out


def test_nobody_at_the_address_is_69(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LocalAgent(AgentSettings(ears="none")) as agent:
        url = agent.base_url
    file = tmp_path / "parleyd.yaml"
    file.write_text(f"elevenlabs: {{agent_id: kitchen, api_key: {KEY}, base_url: {url}}}\n")
    assert main(["platform", "plan", "-c", str(file)]) == 69
    assert "nothing listens" in capsys.readouterr().err


def test_without_a_terminal_nothing_is_written_unasked(
    agent: LocalAgent, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["platform", "apply", "-c", str(file)]) == 1
    assert "--yes writes it" in capsys.readouterr().err
    assert not agent._api._platform.agents


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("elevenlabs: {api_key: sk_1234}\n", "no agent is named"),
        ("elevenlabs: {agent_id: kitchen}\n", "without a key"),
        ("elevenlabs: {agent_id: kitchen, api_key: sk_1, agent: {langage: de}}\n", "did you mean language?"),
        ("elevenlabs: {agent_id: kitchen, agent: {prompt: {file: /nowhere}}, api_key: sk_1}\n", "/nowhere cannot be"),
    ],
)
def test_a_configuration_that_cannot_work_is_78(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "parleyd.yaml"
    file.write_text(text)
    assert main(["platform", "plan", "-c", str(file)]) == os.EX_CONFIG
    assert words in capsys.readouterr().err


# ---------------------------------------------------------------- what is sent


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    body: Any


@pytest.fixture
def asked(agent: LocalAgent, monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """The requests that reach the server's platform, which answers them as always."""
    told: list[Asked] = []
    answer = agent._api._platform.answer

    def answered(method: str, target: str, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        told.append(Asked(method, parts.path, dict(parse_qsl(parts.query)), json.loads(body) if body else None))
        return answer(method, target, body)

    monkeypatch.setattr(agent._api._platform, "answer", answered)
    return told


def test_one_request_changes_the_agent_and_a_second_run_sends_gets_only(asked: list[Asked], file: Path) -> None:
    assert main(["platform", "apply", "--yes", "-c", str(file)]) == 0
    assert [one.method for one in asked if one.method != "GET"] == ["POST", "PATCH"]
    asked.clear()
    assert main(["platform", "apply", "--yes", "-c", str(file)]) == 0
    assert asked
    assert {one.method for one in asked} == {"GET"}


def test_the_version_is_described_by_the_name_of_the_device(asked: list[Asked], file: Path) -> None:
    assert main(["platform", "apply", "--yes", "-c", str(file)]) == 0
    (change,) = [one for one in asked if one.method == "PATCH"]
    assert change.body["version_description"] == f"parleyd, {socket.gethostname()}"


@pytest.mark.parametrize(
    ("configured", "arguments", "branch"),
    [
        (None, (), None),
        ("agtbrch_1", (), "agtbrch_1"),
        ("agtbrch_1", ("--branch", "agtbrch_2"), "agtbrch_2"),
        (None, ("--branch", "agtbrch_2"), "agtbrch_2"),
        ("agtbrch_1", ("--agent", "kitchen"), None),
    ],
)
def test_a_branch_is_named_in_every_request_for_the_agent(
    configured: str | None,
    arguments: tuple[str, ...],
    branch: str | None,
    asked: list[Asked],
    file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if configured:
        file.write_text(file.read_text().replace("elevenlabs:\n", f"elevenlabs:\n  branch_id: {configured}\n"))
    code, told = facts(capsys, "apply", "--yes", *arguments, "-c", file)
    assert (code, told["branch"]) == (0, branch)
    of_the_agent = [one for one in asked if one.path.endswith("/agents/kitchen")]
    assert {"GET", "PATCH"} == {one.method for one in of_the_agent}
    assert {one.query.get("branch_id") for one in of_the_agent} == {branch}
    written = json.loads((state_directory() / "platform.json").read_text())
    assert list(written["agents"]) == [f"kitchen@{branch}" if branch else "kitchen"]
    assert main(["platform", "plan", *arguments, "-c", str(file)]) == 0
    assert (f"kitchen, branch {branch} is in step" if branch else "kitchen is in step") in capsys.readouterr().out


def test_the_key_may_stand_in_a_file(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text().replace(f"  api_key: {KEY}\n", ""))
    assert main(["platform", "plan", "-c", str(file)]) == 78
    assert "--key-file FILE" in capsys.readouterr().err
    key = tmp_path / "key"
    key.write_text(f"{KEY}\nnot a part of it\n")
    key.chmod(0o600)
    assert facts(capsys, "apply", "--yes", "--key-file", key, "-c", file)[0] == 0
    # The file is preferred to the key of the configuration.
    key.write_text("sk_another_1\n")
    file.write_text(file.read_text().replace("elevenlabs:\n", f"elevenlabs:\n  api_key: {KEY}\n"))
    assert facts(capsys, "plan", "-c", file)[0] == 0
    assert main(["platform", "plan", "--key-file", str(key), "-c", str(file)]) == 77
    assert "sk_another_1" not in capsys.readouterr().err


def test_no_secret_stands_in_the_record_of_what_was_written(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAMP_TOKEN", "token_9876543210")
    file.write_text(
        file.read_text().replace("elevenlabs:\n", "elevenlabs:\n  agent: {timezone: Europe/Berlin}\n")
        + """
  http:
    heater:
      description: Switches the heater.
      url: http://127.0.0.1/heater
      headers: {Authorization: "Bearer {secret:token}"}
      secrets: {token: {env: LAMP_TOKEN}}
"""
    )
    assert main(["platform", "apply", "--yes", "-c", str(file)]) == 0
    path = state_directory() / "platform.json"
    written = path.read_text()
    assert "Europe/Berlin" in written
    assert "heater" in written
    said = capsys.readouterr()
    for secret in (KEY, "token_9876543210", "LAMP_TOKEN"):
        assert secret not in written + said.out + said.err


def test_a_prompt_is_shown_as_a_comparison_of_its_lines(
    agent: LocalAgent, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sdk(agent).conversational_ai.agents.update(
        "kitchen", conversation_config={"agent": {"prompt": {"prompt": "You are a kitchen.\nBe long.\nBe kind."}}}
    )
    prompt = file.with_name("prompt.txt")
    prompt.write_text("You are a kitchen.\nBe brief.\nBe kind.\n")
    file.write_text(
        file.read_text().replace("elevenlabs:\n", f"elevenlabs:\n  agent: {{prompt: {{file: {prompt}}}}}\n")
    )
    take = "conversation_config.agent.prompt.prompt"
    assert main(["platform", "plan", "--take", take, "-c", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index(f"~ {take} (elevenlabs.agent.prompt):")
    assert [line.removeprefix("    ") for line in lines[begin + 1 : begin + 8]] == [
        *("--- now", "+++ then", "@@ -1,3 +1,3 @@"),
        *(" You are a kitchen.", "-Be long.", "+Be brief.", " Be kind."),
    ]


# ---------------------------------------------------------------- past conversations


def answers(socket: Connection, count: int) -> None:
    """Waits for so many texts of the agent."""
    for message in socket:
        count -= json.loads(message)["type"] == "agent_response"
        if not count:
            return


def converse(agent: LocalAgent, text: str) -> None:
    """A conversation in writing, with a client that is not ours."""
    with connect(f"{agent.url}/v1/convai/conversation?agent_id=kitchen") as socket:
        socket.send(json.dumps({"type": "conversation_initiation_client_data"}))
        answers(socket, 1)
        socket.send(json.dumps({"type": "user_message", "text": text}))
        answers(socket, 1)
    agent.wait_connection(len(agent.connections)).wait_closed()


def test_past_conversations_are_listed_and_shown(
    agent: LocalAgent, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["platform", "apply", "--yes", "-c", str(file)]) == 0  # for the events with the agent's words
    capsys.readouterr()
    converse(agent, "what time is it")
    converse(agent, "goodbye")
    # The server describes it after the client has seen its end.
    until("it is not described", lambda: len(agent._api._platform.conversations) >= 2)
    assert main(["conversations", "-c", str(file), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["messages"] > 0 for one in listed] == [True, True]
    official = sdk(agent).conversational_ai.conversations.list(agent_id="kitchen").conversations
    assert [one["conversation_id"] for one in listed] == [one.conversation_id for one in official]
    name = listed[1]["conversation_id"]
    assert main(["conversations", name, "-c", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "you    what time is it" in shown
    assert "This device has no transcript of it" in shown
    assert main(["conversations", "conv_none", "-c", str(file)]) == 78
    assert "does not exist on the platform" in capsys.readouterr().err


CONVERSATION: dict[str, Any] = {
    "conversation_id": "conv_1",
    "agent_id": "kitchen",
    "user_id": None,
    "status": "done",
    "metadata": {
        "start_time_unix_secs": 1_800_000_000,
        "call_duration_secs": 61,
        "cost": 120,
        "termination_reason": "an error",
        "error": {"code": 1011, "reason": "The language model gave up."},
    },
    "analysis": {
        "call_successful": "failure",
        "transcript_summary": "A person asked for light.",
        "evaluation_criteria_results": {
            "light": {"criteria_id": "light", "result": "failure", "rationale": "It stayed dark."}
        },
        "data_collection_results": {"room": {"data_collection_id": "room", "value": "pantry", "rationale": "-"}},
    },
    "transcript": [],
}


def test_the_judgement_and_the_error_of_a_conversation_are_shown(
    agent: LocalAgent, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent._api._platform.remember(CONVERSATION)
    assert main(["conversations", "conv_1", "-c", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("conv_1  ")
    assert lines[0].endswith("  1 min 1 s")
    assert lines[1 : lines.index("")] == [
        "cost: 120 credits",
        "ended: an error",
        "error: 1011 The language model gave up.",
        "judged: failure; A person asked for light.",
        "criterion: light: failure; It stayed dark.",
        "collected: room: pantry",
    ]


@pytest.mark.parametrize("odd", [None, "text", [], ["text"], {"light": None}, {"light": "yes"}])
def test_a_judgement_may_have_another_form(
    odd: object, agent: LocalAgent, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analysis = {"call_successful": None, "evaluation_criteria_results": odd, "data_collection_results": odd}
    agent._api._platform.remember({**CONVERSATION, "analysis": analysis})
    assert main(["conversations", "conv_1", "-c", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "judged: None;" in shown
    assert ("collected: light: " in shown) == isinstance(odd, dict)


# ---------------------------------------------------------------- a folder of the official tool


def test_a_folder_is_planned_written_and_waits_for_the_push(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "project"
    (project / "agent_configs").mkdir(parents=True)
    config = project / "agent_configs" / "Kitchen.json"
    config.write_text(json.dumps({"name": "Kitchen", "conversation_config": {"theirs": 1}, "platform_settings": {}}))
    entry = {"config": "agent_configs/Kitchen.json", "id": "kitchen"}
    (project / "agents.json").write_text(json.dumps({"agents": [entry]}))
    assert facts(capsys, "plan", "-c", file, "--project", project)[0] == 1
    assert main(["platform", "apply", "--yes", "-c", str(file), "--project", str(project)]) == 0
    assert "elevenlabs tools push" in capsys.readouterr().out
    written = json.loads(config.read_text())
    assert written["conversation_config"]["theirs"] == 1
    assert "client_tool_call" in written["conversation_config"]["conversation"]["client_events"]
    listed = json.loads((project / "tools.json").read_text())
    assert listed == {"tools": [{"type": "client", "config": "tool_configs/lamp.json"}]}
    # The push gives the tool its id; then it is attached.
    listed["tools"][0]["id"] = "tool_1"
    (project / "tools.json").write_text(json.dumps(listed))
    assert facts(capsys, "apply", "--yes", "-c", file, "--project", project)[0] == 0
    assert json.loads(config.read_text())["conversation_config"]["agent"]["prompt"]["tool_ids"] == ["tool_1"]
    assert facts(capsys, "plan", "-c", file, "--project", project)[0] == 0


def team_folder(path: Path, tool_ids: list[str], tools: list[dict[str, str]]) -> Path:
    """A folder of the official tool with the agent `kitchen`. tools: the entries of tools.json; each gets a file."""
    (path / "agent_configs").mkdir(parents=True)
    (path / "tool_configs").mkdir()
    agent = {"name": "Kitchen", "conversation_config": {"agent": {"prompt": {"tool_ids": tool_ids}}}}
    (path / "agent_configs/Kitchen.json").write_text(json.dumps(agent))
    entry = {"config": "agent_configs/Kitchen.json", "id": "kitchen"}
    (path / "agents.json").write_text(json.dumps({"agents": [entry]}))
    (path / "tools.json").write_text(json.dumps({"tools": tools}))
    for tool in tools:
        name = Path(tool["config"]).stem
        (path / tool["config"]).write_text(json.dumps({"type": tool["type"], "name": name, "description": "Theirs."}))
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


@pytest.mark.parametrize(
    "tools", [[], [{"type": "client", "config": "tool_configs/lamp.json"}]], ids=["unlisted", "waits for a push"]
)
def test_a_tool_of_the_platform_comes_into_the_folder_with_its_id(
    tools: list[dict[str, str]], agent: LocalAgent, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = main(["platform", "apply", "--yes", "-c", str(file)])
    (tool,) = sdk(agent).conversational_ai.tools.list().tools
    # Fields of others survive a push, which replaces the whole config.
    rest = Rest(agent.base_url, KEY, "kitchen", None)
    more = {**rest.tools()[0].config, "pre_tool_speech": "force"}
    rest.update_tool(tool.id, more)
    project = team_folder(tmp_path / "project", [tool.id], tools)
    code, told = facts(capsys, "plan", "-c", file, "--project", project)
    taken = [change for change in told["changes"] if change["path"] == "tools.lamp.id"]
    assert (made, code, [change["new"] for change in taken], told["doubt"]) == (0, 1, [tool.id], None)
    assert main(["platform", "apply", "--yes", "-c", str(file), "--project", str(project)]) == 0
    listed = json.loads((project / "tools.json").read_text())
    assert listed == {"tools": [{"type": "client", "config": "tool_configs/lamp.json", "id": tool.id}]}
    assert json.loads((project / "tool_configs/lamp.json").read_text()) == more
    assert facts(capsys, "plan", "-c", file, "--project", project)[0] == 0


@pytest.mark.parametrize(
    "words", [("platform", "plan"), ("platform", "create", "Kitchen"), ("conversations",)], ids=" ".join
)
@pytest.mark.parametrize("provider", ["local", "openai"])
def test_another_provider_s_configuration_is_not_sent_for_a_key(
    words: tuple[str, ...], provider: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "parleyd.yaml"
    file.write_text(f"provider: {provider}\nelevenlabs: {{agent_id: kitchen}}\n")
    assert main([*words, "-c", str(file)]) == os.EX_CONFIG
    told = " ".join(capsys.readouterr().err.split())
    assert f"only ElevenLabs has a platform, and the configuration says provider: {provider}; " in told


@pytest.mark.parametrize("gone", ["no key", "a key of another machine"])
def test_without_a_key_nothing_is_written_that_would_double_a_tool(
    gone: str, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = f"api_key: {KEY}"
    file.write_text(file.read_text().replace(there, "" if gone == "no key" else "api_key: {env: PARLEYD_NO_SUCH}"))
    project = team_folder(tmp_path / "project", ["tool_7"], [])
    before = content(project)
    code, told = facts(capsys, "plan", "-c", file, "--project", project)
    assert (code, told["doubt"]["forbids"]) == (1, True)
    assert main(["platform", "plan", "-c", str(file), "--project", str(project)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "`elevenlabs tools pull --all`" in shown
    assert "refuses to write it" in shown
    assert main(["platform", "apply", "--yes", "-c", str(file), "--project", str(project)]) == 78
    told_why = " ".join(capsys.readouterr().err.split())
    assert "(tool_7)" in told_why
    assert "`elevenlabs tools pull --all`" in told_why
    assert content(project) == before
    # After the pull the folder knows every tool that the agent has; whether another has this one stays a note.
    project = team_folder(tmp_path / "pulled", ["tool_7"], [{"type": "client", "config": "tool_configs/bell.json"}])
    (project / "tools.json").write_text(
        (project / "tools.json").read_text().replace('.json"', '.json", "id": "tool_7"')
    )
    code, told = facts(capsys, "apply", "--yes", "-c", file, "--project", project)
    assert (code, told["doubt"]["forbids"]) == (0, False)
    assert "without a key" in told["doubt"]["text"]
    assert len(json.loads((project / "tools.json").read_text())["tools"]) == 2


def test_a_platform_that_cannot_be_asked_leaves_the_folder_as_it_is(
    agent: LocalAgent, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = team_folder(tmp_path / "project", [], [])
    before = content(project)
    agent.stop()
    assert main(["platform", "apply", "--yes", "-c", str(file), "--project", str(project)]) == 69
    assert "nothing listens at" in capsys.readouterr().err
    assert content(project) == before


def test_a_key_file_that_was_named_and_is_not_there_is_told(tmp_path: Path, file: Path) -> None:
    project = team_folder(tmp_path / "project", [], [])
    missing = ["--key-file", str(tmp_path / "none")]
    assert main(["platform", "plan", "-c", str(file), "--project", str(project), *missing]) == 78


def test_a_new_tool_overwrites_the_file_of_no_other(tmp_path: Path, file: Path) -> None:
    tools = [
        {"type": "webhook", "config": "tool_configs/lamp.json", "id": "tool_1"},
        {"type": "client", "config": "tool_configs/lamp-2.json", "id": "tool_2"},
    ]
    project = team_folder(tmp_path / "project", [], tools)
    # What somebody works on, and has not listed yet.
    (project / "tool_configs/lamp-3.json").write_text('{"name": "lamp", "description": "A draft."}')
    before = content(project)
    assert main(["platform", "apply", "--yes", "-c", str(file), "--project", str(project)]) == 0
    after = content(project)
    assert {name: after[name] for name in before if name.startswith("tool_configs")} == {
        name: before[name] for name in before if name.startswith("tool_configs")
    }
    assert json.loads(after["tools.json"])["tools"][2] == {"type": "client", "config": "tool_configs/lamp-4.json"}


def test_a_tool_that_was_renamed_in_the_folder_keeps_its_id(
    agent: LocalAgent, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["platform", "apply", "--yes", "-c", str(file)]) == 0
    (tool,) = sdk(agent).conversational_ai.tools.list().tools
    entry = {"type": "client", "config": "tool_configs/torch.json", "id": tool.id}
    project = team_folder(tmp_path / "project", [tool.id], [entry])
    assert facts(capsys, "apply", "--yes", "-c", file, "--project", project)[0] == 0
    new = {"type": "client", "config": "tool_configs/lamp.json"}
    assert json.loads((project / "tools.json").read_text())["tools"] == [entry, new]


def test_a_private_file_of_the_folder_stays_private(tmp_path: Path, file: Path) -> None:
    project = team_folder(tmp_path / "project", [], [])
    (project / "agent_configs/Kitchen.json").chmod(0o600)
    assert main(["platform", "apply", "--yes", "-c", str(file), "--project", str(project)]) == 0
    assert (project / "agent_configs/Kitchen.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "agents.json cannot be read"),
        ("{", "is not JSON, line 1"),
        ('{"agents": []}', "has no agent kitchen"),
        ('{"agents": [{"config": "../../etc/passwd", "id": "kitchen"}]}', "a file outside itself"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told(
    content: str | None, words: str, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    if content is not None:
        (project / "agents.json").write_text(content)
    assert main(["platform", "plan", "-c", str(file), "--project", str(project)]) == 78
    assert words in capsys.readouterr().err
