"""Agents from files, as the platform exports them."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from elevenlabs.types import GetAgentResponseModel
from local_client import Client
from model_servers import Odd
from model_servers import words as chunk
from realtime_client import RealtimeClient, words
from websockets.exceptions import ConnectionClosed

from parleyd.core.errors import UserError
from parleyd.embedded import agent_file
from parleyd.embedded.platform import Platform, whole_agent
from parleyd.embedded.recognise import NoEars
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings, MindSettings
from parleyd.embedded.voice import Voice

EXPORT: dict[str, Any] = {
    "agent_id": "agent_kitchen",
    "name": "Kitchen",
    "conversation_config": {
        "asr": {"quality": "high", "user_input_audio_format": "pcm_16000"},
        "turn": {"silence_end_call_timeout": -1.0, "turn_eagerness": "normal"},
        "tts": {"model_id": "eleven_flash_v2", "agent_output_audio_format": "pcm_22050"},
        "conversation": {"client_events": ["audio", "agent_response", "client_tool_call"], "max_duration_seconds": 300},
        "agent": {
            "first_message": "Kitchen here.",
            "language": "en",
            "prompt": {
                "prompt": "You are the kitchen.",
                "llm": "custom-llm",
                "custom_llm": {"url": "http://127.0.0.1:9/v1", "model_id": "tiny"},
                "knowledge_base": [{"id": "kb_1", "type": "text", "name": "house"}],
                "tools": [
                    {
                        "type": "client",
                        "name": "get_light",
                        "description": "Tells whether a light is on.",
                        "expects_response": True,
                        "parameters": {
                            "type": "object",
                            "required": ["room"],
                            "properties": {"room": {"type": "string", "dynamic_variable": "", "enum": None}},
                        },
                    },
                    {"type": "webhook", "name": "elsewhere", "description": "x"},
                ],
            },
        },
    },
    "platform_settings": {
        "auth": {"enable_auth": False},
        "overrides": {"conversation_config_override": {"agent": {"first_message": True}}},
        "widget": {"variant": "compact"},
    },
}


def written(tmp_path: Path, agent: dict[str, Any], name: str = "agent.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(agent))
    return path


def test_an_export_is_the_definition(tmp_path: Path) -> None:
    agent, unknown = agent_file.load(written(tmp_path, EXPORT))
    assert unknown == [
        "conversation_config.agent.language",
        "conversation_config.agent.prompt.knowledge_base",
        "conversation_config.asr.quality",
        "conversation_config.tts.model_id",
        "conversation_config.turn.turn_eagerness",
        "platform_settings.widget",
    ]
    settings = Platform(AgentSettings(), agents=[agent]).settings_of("agent_kitchen")
    assert settings.prompt == "You are the kitchen."
    assert settings.mind == MindSettings(base_url="http://127.0.0.1:9/v1", model="tiny")
    assert [tool.name for tool in settings.tools] == ["get_light"]
    assert settings.tools[0].parameters == {
        "type": "object", "required": ["room"], "properties": {"room": {"type": "string"}},
    }  # fmt: skip
    assert settings.max_duration_s == 300
    assert settings.silence_end_call_s is None
    assert settings.allowed_overrides == ("first_message",)


def test_an_export_of_the_official_types_loads_unchanged(tmp_path: Path) -> None:
    """As `elevenlabs agents pull` writes it: the SDK's own model, with all its defaults."""
    exported = copy.deepcopy(EXPORT)
    del exported["conversation_config"]["agent"]["prompt"]["tools"][1]
    model = GetAgentResponseModel.model_validate(
        {
            **exported,
            "metadata": {"created_at_unix_secs": 1, "updated_at_unix_secs": 2},
            "platform_settings": {"auth": {"enable_auth": False}},
        }
    )
    path = tmp_path / "pulled.json"
    path.write_text(model.model_dump_json())
    agent, _ = agent_file.load(path)
    settings = Platform(AgentSettings(), agents=[agent]).settings_of("agent_kitchen")
    assert settings.first_message == "Kitchen here."
    assert [tool.name for tool in settings.tools] == ["get_light"]


def test_several_agents_by_their_ids(tmp_path: Path) -> None:
    files = []
    for name in ("kitchen", "garden"):
        prompt = EXPORT["conversation_config"]["agent"] | {"first_message": f"{name} here.", "prompt": {"prompt": ""}}
        files.append(
            written(
                tmp_path,
                {"agent_id": f"agent_{name}", "conversation_config": {"agent": prompt}},
                f"{name}.json",
            )
        )
    agents = [agent_file.load(path)[0] for path in files]
    with Voice("slt") as voice, LocalAgent(ears=NoEars(), voice=voice, agents=agents) as server:
        for name in ("kitchen", "garden"):
            with Client(server, query=f"agent_id=agent_{name}") as client:
                client.until("conversation_initiation_metadata")
        with pytest.raises(ConnectionClosed), Client(server, query="agent_id=agent_cellar") as client:
            client.until("conversation_initiation_metadata")


# ---------------------------------------------------------------- the same agents in both protocols


def serving(settings: AgentSettings, *agents: dict[str, Any]) -> AbstractContextManager[LocalAgent]:
    """A context manager that gives the server with these agents."""

    @contextmanager
    def served() -> Iterator[LocalAgent]:
        with Voice("slt") as voice:
            whole = [whole_agent(str(agent["agent_id"]), agent) for agent in agents]
            with LocalAgent(settings, ears=NoEars(), voice=voice, agents=whole) as server:
                yield server

    return served()


def named(name: str, **more: Any) -> dict[str, Any]:
    agent = {"first_message": f"{name} here.", "prompt": {"prompt": f"You are the {name}. It is {{{{system__time}}}}."}}
    return {"agent_id": f"agent_{name}", "conversation_config": {"agent": agent}, **more}


def greeting(server: LocalAgent, query: str) -> str:
    with RealtimeClient(server, query) as client:
        client.until("session.created")
        client.update(output_modalities=["text"])
        client.send("response.create")
        return words(client.answer())


def test_clients_of_the_realtime_protocol_have_the_agent_that_they_name_or_the_first() -> None:
    with serving(AgentSettings(), named("kitchen"), named("garden")) as server:
        assert greeting(server, "gpt-realtime-2.1") == "kitchen here."
        assert greeting(server, "gpt-realtime-2.1&agent_id=agent_garden") == "garden here."
        with RealtimeClient(server, "gpt-realtime-2.1&agent_id=agent_cellar") as client:
            error = client.error()
            assert (error["code"], error["param"]) == ("agent_not_found", "agent_id")
            assert client.until_closed() == (4000, "invalid_request_error.agent_not_found")


def test_prompt_and_fillers_of_a_file_count_in_the_realtime_protocol() -> None:
    pytest.importorskip("openai")
    thought = threading.Event()
    turn = {"soft_timeout_config": {"timeout_seconds": 0.05, "message": "Of {{system__agent_id}}: {{else}}."}}
    kitchen = named("kitchen")
    kitchen["conversation_config"]["turn"] = turn
    with Odd([thought, chunk("Noon."), {"finish": "stop"}]) as model:
        mind = MindSettings(base_url=model.base_url)
        with serving(AgentSettings(mind=mind), kitchen) as server, RealtimeClient(server) as client:
            client.until("session.created")
            client.update(output_modalities=["text"])
            client.write("What time is it?")
            assert client.until("response.output_text.done")["text"] == "Of agent_kitchen: {{else}}."
            thought.set()
            client.answer()
        prompt = model.asked[0]["messages"][0]["content"]
        assert prompt.startswith("You are the kitchen. It is ")
        assert "{{" not in prompt


PRIVATE = {"platform_settings": {"auth": {"enable_auth": True}}}


@pytest.mark.parametrize(
    ("settings", "agent"),
    [(AgentSettings(), named("kitchen", **PRIVATE)), (AgentSettings(require_auth=True), named("kitchen"))],
)
def test_an_agent_of_a_file_that_demands_a_key_or_its_server_does(
    settings: AgentSettings, agent: dict[str, Any]
) -> None:
    with serving(settings, agent) as server:
        with Client(server, None, "agent_id=agent_kitchen") as client:
            assert client.until_closed() == (3000, "Could not authorize the conversation.")
        with Client(server, query="agent_id=agent_kitchen", additional_headers={"xi-api-key": "k"}) as client:
            client.until("conversation_initiation_metadata")
        with RealtimeClient(server, key=None) as client:
            assert client.until_closed() == (3000, "invalid_request_error.invalid_api_key")
        assert greeting(server, "gpt-realtime-2.1") == "kitchen here."


def test_sound_is_recorded_in_the_formats_of_the_file() -> None:
    kitchen = named("kitchen")
    kitchen["conversation_config"] |= {
        "asr": {"user_input_audio_format": "pcm_8000"},
        "tts": {"agent_output_audio_format": "pcm_22050"},
    }
    with serving(AgentSettings(), kitchen) as server, Client(server, query="agent_id=agent_kitchen") as client:
        client.until("conversation_initiation_metadata")
        record = server.wait_connection()
        assert (record.input_rate_hz, record.output_rate_hz) == (8_000, 22_050)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "agent.json:1"),
        ('{"name": "x"}', "it has no conversation_config"),
        ("[]", "it has no conversation_config"),
        ("", "it has no conversation_config"),
    ],
)
def test_no_agent(content: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text(content)
    with pytest.raises(UserError, match=told):
        agent_file.load(path)
    with pytest.raises(UserError, match="cannot read"):
        agent_file.load(tmp_path / "nowhere.json")
