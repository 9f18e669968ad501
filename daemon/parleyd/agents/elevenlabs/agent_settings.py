"""Reads an agent's settings with its owner's key: formats, client events, allowed overrides.

Source: `GET /v1/convai/agents/{agent_id}` in the official Python SDK (elevenlabs 2.78, agents/raw_client.py and
types/get_agent_response_model.py). A session does not need them; they are for the doctor's advice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from parleyd.agents.elevenlabs.address import get
from parleyd.core.endings import DialError, Ending, EndingKind

AGENTS_PATH = "/v1/convai/agents"
# The limit for the answer; a prompt may be long.
_MOST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class AgentSettings:
    """None: the server does not say. client_events: the names of the events. allowed_overrides: names as in the
    configuration, and text_only. languages: its own, and the additional ones. max_duration_s: of a conversation."""

    name: str | None = None
    client_events: frozenset[str] | None = None
    input_format: str | None = None
    output_format: str | None = None
    allowed_overrides: frozenset[str] | None = None
    is_private: bool | None = None
    languages: frozenset[str] | None = None
    max_duration_s: float | None = None


class _Asr(Struct):
    user_input_audio_format: str | None = None


class _Tts(Struct):
    agent_output_audio_format: str | None = None


class _Conversation(Struct):
    client_events: list[Any] | None = None
    max_duration_seconds: Any = None


class _Agent(Struct):
    language: Any = None


class _ConversationConfig(Struct):
    agent: _Agent | None = None
    language_presets: Any = None
    asr: _Asr | None = None
    tts: _Tts | None = None
    conversation: _Conversation | None = None


class _Overrides(Struct):
    conversation_config_override: dict[str, Any] | None = None
    custom_llm_extra_body: bool | None = None


class _Auth(Struct):
    enable_auth: bool | None = None


class _Platform(Struct):
    overrides: _Overrides | None = None
    auth: _Auth | None = None


class _Described(Struct):
    conversation_config: _ConversationConfig
    name: str | None = None
    platform_settings: _Platform | None = None


def read_settings(base_url: str, agent_id: str, api_key: str, timeout_s: float) -> AgentSettings:
    """Blocks. Raises DialError, also for a key that may start sessions but not read agents."""
    path = f"{AGENTS_PATH}/{quote(agent_id, safe='')}"
    body = get(base_url, path, api_key, timeout_s, most_bytes=_MOST_BYTES)
    try:
        return understand(body)
    except ValueError:
        raise DialError(
            Ending(EndingKind.RETRY, "the server describes the agent in a form that is not known", None)
        ) from None


def understand(body: str | bytes) -> AgentSettings:
    """The settings in a description. Raises ValueError if it is not the description of an agent."""
    try:
        described = msgspec.json.decode(body, type=_Described)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
        raise ValueError("not an agent") from problem
    config, platform = described.conversation_config, described.platform_settings or _Platform()
    events = config.conversation.client_events if config.conversation else None
    longest_s = config.conversation.max_duration_seconds if config.conversation else None
    language = config.agent.language if config.agent else None
    presets = config.language_presets if isinstance(config.language_presets, dict) else {}
    overrides = platform.overrides
    allowed: frozenset[str] | None = None
    if overrides is not None:
        allowed = frozenset(_allowed(overrides.conversation_config_override or {}))
        if overrides.custom_llm_extra_body:
            allowed |= {"custom_llm_extra_body"}
    return AgentSettings(
        name=described.name,
        client_events=None if events is None else frozenset(event for event in events if isinstance(event, str)),
        input_format=config.asr.user_input_audio_format if config.asr else None,
        output_format=config.tts.agent_output_audio_format if config.tts else None,
        allowed_overrides=allowed,
        is_private=platform.auth.enable_auth if platform.auth else None,
        languages=frozenset((language, *presets)) if isinstance(language, str) else None,
        max_duration_s=float(longest_s) if isinstance(longest_s, int | float) and longest_s > 0 else None,
    )


def _allowed(section: Mapping[str, Any]) -> Iterator[str]:
    """The names of the allowed overrides. The sections have the form of the overrides themselves, with true and false
    as values."""
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _allowed(value)
        elif value is True:
            yield name
