"""Every message that a client sends to an ElevenLabs agent, as types. Pure. Fields that are not set are left out.

The sources are those of the server's messages.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

# The reasons of a failed call.
ToolErrorType = Literal[
    "user_rejected", "external_server", "external_client", "customer_auth", "client_timeout", "unknown"
]


class _Part(Struct, kw_only=True, omit_defaults=True):
    """An object inside a message."""


class _ToServer(Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """A message; its `type` is the tag."""


class UserAudioChunk(Struct):
    """The only message without a type."""

    user_audio_chunk: bytes


class PromptOverride(_Part):
    prompt: str | None = None
    llm: str | None = None


class AgentOverride(_Part):
    prompt: PromptOverride | None = None
    first_message: str | None = None  # empty: the agent waits for the person
    language: str | None = None


class AsrOverride(_Part):
    keywords: list[str] | None = None


class TtsOverride(_Part):
    model_id: str | None = None
    voice_id: str | None = None
    stability: float | None = None
    speed: float | None = None
    similarity_boost: float | None = None


class ConversationOverride(_Part):
    text_only: bool | None = None


class ConfigOverride(_Part):
    """The overrides that this program offers; there are more."""

    agent: AgentOverride | None = None
    asr: AsrOverride | None = None
    tts: TtsOverride | None = None
    conversation: ConversationOverride | None = None


class ConversationInitiationClientData(_ToServer, tag="conversation_initiation_client_data"):
    """The first message, sent even if it is empty.

    source_info is left out, because it names the official SDKs. user_id: a name for the history; the device's.
    """

    conversation_config_override: ConfigOverride | None = None
    custom_llm_extra_body: dict[str, Any] | None = None
    dynamic_variables: dict[str, Any] | None = None
    user_id: str | None = None
    branch_id: str | None = None
    environment: str | None = None


class Pong(_ToServer, tag="pong"):
    event_id: int | float | str | None = None  # as it came in the ping


class UserMessage(_ToServer, tag="user_message"):
    """A text that counts as spoken by the person."""

    text: str


class UserActivity(_ToServer, tag="user_activity"):
    """Tells the agent that the person is busy with the device, so that it does not speak into the pause."""


class ContextualUpdate(_ToServer, tag="contextual_update"):
    text: str
    context_id: str | None = None  # a newer update with the same id replaces the older


class ClientToolResult(_ToServer, tag="client_tool_result"):
    tool_call_id: str
    result: str
    is_error: bool
    error_type: ToolErrorType | None = None


class McpToolApprovalResult(_ToServer, tag="mcp_tool_approval_result"):
    tool_call_id: str
    is_approved: bool


class Feedback(_ToServer, tag="feedback"):
    """A rating of an agent response; None takes an earlier score back."""

    event_id: int
    score: Literal["like", "dislike"] | None


class FileInput(_ToServer, tag="file_input"):
    file_id: str


class MultimodalMessage(_ToServer, tag="multimodal_message"):
    text: UserMessage | None = None
    files: list[FileInput] | None = None
    file: FileInput | None = None  # the older form of files; the official clients send both


ClientMessage = (
    UserAudioChunk
    | ConversationInitiationClientData
    | Pong
    | UserMessage
    | UserActivity
    | ContextualUpdate
    | ClientToolResult
    | McpToolApprovalResult
    | Feedback
    | MultimodalMessage
)


def encode(message: ClientMessage) -> bytes:
    """UTF-8 JSON. Raises TypeError or UnicodeEncodeError for free-form values that JSON cannot represent."""
    return msgspec.json.encode(message)
