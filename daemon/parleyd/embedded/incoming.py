"""The messages that a client sends, checked. Pure."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import msgspec

from parleyd.audio.pcm import AudioFormat

KNOWN_TYPES = frozenset(
    {
        "conversation_initiation_client_data",
        "pong",
        "user_message",
        "user_activity",
        "contextual_update",
        "client_tool_result",
        "mcp_tool_approval_result",
        "feedback",
        "multimodal_message",
    }
)
AUDIO_KEY = "user_audio_chunk"


class InvalidMessageError(Exception):
    """The client sent something that ends the conversation (1008)."""


def parse(message: str | bytes) -> dict[str, Any]:
    """One JSON object with a type, or with audio. Raises InvalidMessageError."""
    if isinstance(message, bytes):
        raise InvalidMessageError("binary frame")
    try:
        parsed = msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidMessageError(str(error)) from None
    if not isinstance(parsed, dict):
        raise InvalidMessageError("not an object")
    if AUDIO_KEY not in parsed and not isinstance(parsed.get("type"), str):
        raise InvalidMessageError("type is missing")
    return parsed


def audio(message: dict[str, Any], fmt: AudioFormat) -> bytes:
    """The sound of a user_audio_chunk, still in the input format. Raises InvalidMessageError."""
    chunk = message[AUDIO_KEY]
    if not isinstance(chunk, str):
        raise InvalidMessageError("user_audio_chunk is not text")
    try:
        data = b64decode(chunk, validate=True)
    except ValueError:
        # Also signs that are not ASCII.
        raise InvalidMessageError("user_audio_chunk is not base64") from None
    if len(data) % fmt.sample_bytes:
        raise InvalidMessageError("user_audio_chunk has half a sample")
    return data


def deviation(message: dict[str, Any]) -> str | None:
    """How the message violates the protocol in a way that the real service accepts."""
    kind = message.get("type")
    if AUDIO_KEY in message:
        return "user_audio_chunk with other fields" if len(message) > 1 else None
    if kind not in KNOWN_TYPES:
        return f"unknown type {kind!r}"
    if kind == "client_tool_result":
        if not isinstance(message.get("result"), str):
            return "client_tool_result.result is not text"
        if not isinstance(message.get("is_error"), bool):
            return "client_tool_result.is_error is missing"
    if kind == "conversation_initiation_client_data":
        for name in ("user_id", "branch_id", "environment"):
            if not isinstance(message.get(name, ""), str):
                return f"conversation_initiation_client_data.{name} is not text"
    if kind == "pong" and not isinstance(message.get("event_id"), int):
        return "pong without event_id"
    if kind == "contextual_update" and not isinstance(message.get("text"), str):
        return "contextual_update without text"
    return None
