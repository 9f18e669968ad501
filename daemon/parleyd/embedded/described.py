"""The embedded agent's settings as the service describes an agent: `GET /v1/convai/agents/{agent_id}`. Pure.

Source: `GetAgentResponseModel` of the official Python SDK (elevenlabs 2.78, types/get_agent_response_model.py); of its
hundreds of fields, only the fields with a meaning for this agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from parleyd.embedded import part_url
from parleyd.embedded.settings import AgentSettings

_AGENT_OVERRIDES = ("first_message", "language")
_PROMPT_OVERRIDES = ("prompt", "llm")
# An answer that takes longer than so many time-outs does not come.
_MOST_FILLERS = 20
_VOICE_OVERRIDES = ("model_id", "voice_id", "stability", "speed", "similarity_boost")


def as_settings(
    agent: Mapping[str, Any], settings: AgentSettings, registered: Mapping[str, Mapping[str, Any]]
) -> AgentSettings:
    """The settings with those fields of a described agent that this server can follow. A value of another type than
    the service has is ignored. registered: the configs of all tools by their ids."""
    config, platform = agent["conversation_config"], agent["platform_settings"]
    conversation, spoken, turn = config.get("conversation", {}), config.get("agent", {}), config.get("turn", {})
    allowed = platform.get("overrides", {}).get("conversation_config_override", {})
    names = [*_named(allowed.get("agent", {})), *_named(allowed.get("agent", {}).get("prompt", {}))]
    names += _named(allowed.get("turn", {}).get("soft_timeout_config", {}))
    names += [name for part in ("asr", "tts", "conversation") for name in _named(allowed.get(part, {}))]
    wanted = {
        "agent_id": agent.get("agent_id"),
        "client_events": conversation.get("client_events"),
        "more_client_events": [],
        "max_duration_s": conversation.get("max_duration_seconds"),
        "first_message": spoken.get("first_message"),
        "prompt": spoken.get("prompt", {}).get("prompt"),
        "input_format": config.get("asr", {}).get("user_input_audio_format"),
        "output_format": config.get("tts", {}).get("agent_output_audio_format"),
        # A server that demands a key demands it for each of its agents.
        "require_auth": settings.require_auth or platform.get("auth", {}).get("enable_auth"),
        "allowed_overrides": names,
        "tools": _tools(spoken.get("prompt", {}), registered) or msgspec.to_builtins(settings.tools),
        "silence_end_call_s": _positive(turn.get("silence_end_call_timeout")),
    }
    if (terms := turn.get("interruption_ignore_terms")) is not None:
        wanted["interruption_ignore_terms"] = terms
    if isinstance(soft := turn.get("soft_timeout_config"), Mapping):
        wanted["soft_timeout_s"] = _positive(soft.get("timeout_seconds"))
        wanted["soft_timeout_messages"] = _fillers(soft, settings.soft_timeout_messages)
    custom = spoken.get("prompt", {}).get("custom_llm")
    if settings.mind is None and isinstance(custom, Mapping) and part_url.is_address(str(custom.get("url"))):
        wanted["mind"] = {"base_url": str(custom["url"]), "model": str(custom.get("model_id") or "default")}
    plain = msgspec.to_builtins(settings)
    for name, value in wanted.items():
        try:
            msgspec.convert({**plain, name: value}, AgentSettings)
        except msgspec.ValidationError:
            continue
        plain[name] = value
    return msgspec.convert(plain, AgentSettings)


def _tools(prompt: Mapping[str, Any], registered: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The client tools of an agent: those in its own description, and those that it names by their ids."""
    inline, ids = prompt.get("tools"), prompt.get("tool_ids")
    configs = [*(inline if isinstance(inline, list) else ())]
    configs += [registered.get(str(one)) for one in (ids if isinstance(ids, list) else ())]
    return [
        {
            "name": str(config["name"]),
            "description": str(config.get("description") or ""),
            "parameters": _schema(config.get("parameters")),
            "expects_response": bool(config.get("expects_response", True)),
        }
        for config in configs
        if isinstance(config, Mapping) and config.get("type") == "client" and config.get("name")
    ]


def _schema(parameters: object) -> dict[str, Any]:
    """The platform's form of a JSON Schema, without the keys that are its own."""
    if not isinstance(parameters, Mapping):
        return {}
    known = ("type", "description", "enum", "required", "items", "minimum", "maximum")
    schema = {name: value for name, value in parameters.items() if name in known and value not in (None, [], "")}
    if isinstance(properties := parameters.get("properties"), Mapping):
        schema["properties"] = {name: _schema(value) for name, value in properties.items()}
    if isinstance(items := parameters.get("items"), Mapping):
        schema["items"] = _schema(items)
    return schema


def _fillers(soft: Mapping[str, Any], usual: Sequence[str]) -> list[Any]:
    """The messages for the soft time-outs of an answer, in order. The last message is repeated; there is one time-out
    if their number is not given."""
    more = soft.get("additional_soft_timeout_messages")
    messages = [soft.get("message") or usual[0], *(more if isinstance(more, list) else ())]
    most = soft.get("max_soft_timeouts_per_generation")
    count = min(most, _MOST_FILLERS) if isinstance(most, int) and most > 0 else 1
    return [*messages, *messages[-1:] * count][:count]


def _positive(value: object) -> float | None:
    """-1 means never."""
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _named(allowed: Mapping[str, Any]) -> list[str]:
    return [name for name, value in allowed.items() if value is True]


def as_agent(settings: AgentSettings, agent_id: str) -> dict[str, Any]:
    def allowed(names: tuple[str, ...]) -> dict[str, bool]:
        return {name: settings.allowed_overrides is None or name in settings.allowed_overrides for name in names}

    return {
        "agent_id": agent_id,
        "name": "parleyd's embedded agent",
        "tags": [],
        "conversation_config": {
            "asr": {"user_input_audio_format": settings.input_format, "keywords": []},
            "tts": {"agent_output_audio_format": settings.output_format, "model_id": "eleven_flash_v2"},
            "turn": {"turn_eagerness": "normal"},
            "conversation": {
                "client_events": [*settings.client_events, *settings.more_client_events],
                "max_duration_seconds": int(settings.max_duration_s),
                "file_input": {"enabled": True},
            },
            "agent": {
                "first_message": settings.first_message,
                "prompt": {"prompt": settings.prompt, "tool_ids": []},
            },
        },
        "metadata": {"created_at_unix_secs": 0, "updated_at_unix_secs": 0},
        "platform_settings": {
            "auth": {"enable_auth": settings.require_auth},
            "overrides": {
                "conversation_config_override": {
                    "agent": {**allowed(_AGENT_OVERRIDES), "prompt": allowed(_PROMPT_OVERRIDES)},
                    "asr": allowed(("keywords",)),
                    "tts": allowed(_VOICE_OVERRIDES),
                    "conversation": allowed(("text_only",)),
                },
                "custom_llm_extra_body": True,
            },
        },
    }
