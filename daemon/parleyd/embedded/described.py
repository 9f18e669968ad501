"""The embedded agent's settings as the service describes an agent: `GET /v1/convai/agents/{agent_id}`. Pure.

Source: `GetAgentResponseModel` of the official Python SDK (elevenlabs 2.78, types/get_agent_response_model.py); of its
hundreds of fields, only the fields with a meaning for this agent.
"""

from __future__ import annotations

from typing import Any

from parleyd.embedded.settings import AgentSettings

_AGENT_OVERRIDES = ("first_message", "language")
_PROMPT_OVERRIDES = ("prompt", "llm")
_VOICE_OVERRIDES = ("voice_id", "stability", "speed", "similarity_boost")


def as_agent(settings: AgentSettings, agent_id: str) -> dict[str, Any]:
    def allowed(names: tuple[str, ...]) -> dict[str, bool]:
        return {name: settings.allowed_overrides is None or name in settings.allowed_overrides for name in names}

    return {
        "agent_id": agent_id,
        "name": "parleyd's embedded agent",
        "conversation_config": {
            "asr": {"user_input_audio_format": settings.input_format},
            "tts": {"agent_output_audio_format": settings.output_format},
            "conversation": {
                "client_events": [*settings.client_events, *settings.more_client_events],
                "max_duration_seconds": int(settings.max_duration_s),
            },
            "agent": {"first_message": settings.first_message, "prompt": {"prompt": settings.prompt}},
        },
        "metadata": {"created_at_unix_secs": 0, "updated_at_unix_secs": 0},
        "platform_settings": {
            "auth": {"enable_auth": settings.require_auth},
            "overrides": {
                "conversation_config_override": {
                    "agent": {**allowed(_AGENT_OVERRIDES), "prompt": allowed(_PROMPT_OVERRIDES)},
                    "tts": allowed(_VOICE_OVERRIDES),
                    "conversation": allowed(("text_only",)),
                },
                "custom_llm_extra_body": True,
            },
        },
    }
