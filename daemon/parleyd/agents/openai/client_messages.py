"""Every message to a server of the OpenAI Realtime protocol, as types. Pure.

Fields that are None are left out: a server refuses a whole session.update for one field that it does not know, so only
what is meant is sent.
"""

from __future__ import annotations

import base64
from typing import Any, Literal

import msgspec
from msgspec import Struct


class _Part(Struct, kw_only=True, omit_defaults=True):
    """An object inside a message."""


class _ToServer(Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """A message; its `type` is the tag. event_id: a server quotes it in the error that the message causes."""

    event_id: str | None = None


# ---------------------------------------------------------------- the session


class Format(_Part):
    type: str
    rate: int | None = None


class InputAudio(_Part):
    """turn_detection: UNSET leaves it to the server, null turns it off. Likewise noise_reduction and transcription."""

    format: Format | None = None
    turn_detection: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    noise_reduction: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    transcription: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


class OutputAudio(_Part):
    format: Format | None = None
    voice: str | None = None
    speed: float | None = None


class SessionAudio(_Part):
    input: InputAudio | None = None
    output: OutputAudio | None = None


class Session(_Part, tag_field="type", tag="realtime"):
    model: str | None = None
    output_modalities: list[str] | None = None
    instructions: str | None = None
    audio: SessionAudio | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | None = None
    reasoning: dict[str, str] | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    truncation: str | dict[str, Any] | None = None
    # xAI has these two at the top level.
    voice: str | None = None
    turn_detection: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


class SessionUpdate(_ToServer, tag="session.update"):
    session: Session


# ---------------------------------------------------------------- the person's sound


class Append(_ToServer, tag="input_audio_buffer.append"):
    """audio: base64. Written by append(), without this type."""

    audio: str = ""


class Commit(_ToServer, tag="input_audio_buffer.commit"):
    """The person's turn is over, where the server does not detect it."""


_APPEND = b'{"type":"input_audio_buffer.append","audio":"%b"}'


def append(data: bytes) -> bytes:
    """The message with a piece of sound."""
    return _APPEND % base64.b64encode(data)


# ---------------------------------------------------------------- items


class Content(_Part):
    """type: input_text, output_text or input_image."""

    type: str
    text: str | None = None
    image_url: str | None = None


class Message(_Part, tag_field="type", tag="message"):
    id: str
    role: Literal["user", "assistant", "system"]
    content: list[Content]


class FunctionCallOutput(_Part, tag_field="type", tag="function_call_output"):
    id: str
    call_id: str
    output: str


class McpApprovalResponse(_Part, tag_field="type", tag="mcp_approval_response"):
    id: str
    approval_request_id: str
    approve: bool


class ItemCreate(_ToServer, tag="conversation.item.create"):
    item: Message | FunctionCallOutput | McpApprovalResponse


class ItemTruncate(_ToServer, tag="conversation.item.truncate"):
    item_id: str
    content_index: int
    audio_end_ms: int


class ItemDelete(_ToServer, tag="conversation.item.delete"):
    item_id: str


# ---------------------------------------------------------------- responses


class ResponseWish(_Part):
    instructions: str | None = None


class ResponseCreate(_ToServer, tag="response.create"):
    response: ResponseWish | None = None


class ResponseCancel(_ToServer, tag="response.cancel"):
    response_id: str | None = None


ClientMessage = (
    SessionUpdate | Append | Commit | ItemCreate | ItemTruncate | ItemDelete | ResponseCreate | ResponseCancel
)


def encode(message: ClientMessage) -> bytes:
    """The message as UTF-8 JSON. Raises UnicodeEncodeError for unpaired surrogates."""
    return msgspec.json.encode(message)
