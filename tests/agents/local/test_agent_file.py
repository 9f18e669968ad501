"""Agents from files, as the platform exports them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from elevenlabs.types import GetAgentResponseModel
from local_client import Client
from websockets.exceptions import ConnectionClosed

from parleyd.core.errors import UserError
from parleyd.embedded import agent_file
from parleyd.embedded.platform import Platform
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
    assert unknown == ["platform_settings.widget"]
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
