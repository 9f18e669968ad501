"""Reads an agent's settings with its owner's key: its name, its formats, its client events.

Source: `GET /v1/convai/agents/{agent_id}` in the official Python SDK (elevenlabs 2.78, agents/raw_client.py and
types/get_agent_response_model.py). A session does not need them; they are for the doctor's advice.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from parleyd.agents.elevenlabs.address import get
from parleyd.core.endings import DialError, Ending, EndingKind

AGENTS_PATH = "/v1/convai/agents"
# The limit for the answer; a prompt may be long.
_MOST_BYTES = 4 * 2**20


class AgentSettings(Struct, frozen=True):
    """None: the server does not say. client_events: the names of the events."""

    name: str | None = None
    client_events: frozenset[str] | None = None
    input_format: str | None = None
    output_format: str | None = None


class _Asr(Struct):
    user_input_audio_format: str | None = None


class _Tts(Struct):
    agent_output_audio_format: str | None = None


class _Conversation(Struct):
    client_events: list[Any] | None = None


class _ConversationConfig(Struct):
    asr: _Asr | None = None
    tts: _Tts | None = None
    conversation: _Conversation | None = None


class _Described(Struct):
    conversation_config: _ConversationConfig
    name: str | None = None


def read_settings(base_url: str, agent_id: str, branch_id: str | None, api_key: str, timeout_s: float) -> AgentSettings:
    """Blocks. Raises DialError, also for a key that may start sessions but not read agents."""
    branch = f"?branch_id={quote(branch_id, safe='')}" if branch_id else ""
    path = f"{AGENTS_PATH}/{quote(agent_id, safe='')}{branch}"
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
    config = described.conversation_config
    events = config.conversation.client_events if config.conversation else None
    return AgentSettings(
        name=described.name,
        client_events=None if events is None else frozenset(event for event in events if isinstance(event, str)),
        input_format=config.asr.user_input_audio_format if config.asr else None,
        output_format=config.tts.agent_output_audio_format if config.tts else None,
    )
