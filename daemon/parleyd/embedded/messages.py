"""The messages that the embedded agent sends, as plain objects. Pure. Their shapes: AsyncAPI of ElevenLabs Agents."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

Message = dict[str, Any]

# Types that are sent independently of the agent's list of client events.
ALWAYS_SENT = frozenset({"conversation_initiation_metadata", "ping", "error", "client_error", "queue_status"})


def metadata(conversation_id: str, output_format: str, input_format: str) -> Message:
    kind = "conversation_initiation_metadata"
    return {
        "type": kind,
        f"{kind}_event": {
            "conversation_id": conversation_id,
            "agent_output_audio_format": output_format,
            "user_input_audio_format": input_format,
        },
    }


def audio(data: bytes, event_id: int) -> Message:
    """The message with sound. data: in the agent's output format."""
    return {
        "type": "audio",
        "audio_event": {"audio_base_64": b2a_base64(data, newline=False).decode(), "event_id": event_id},
    }


def interruption(event_id: int) -> Message:
    return {"type": "interruption", "interruption_event": {"event_id": event_id}}


def ping(event_id: int, ping_ms: int | None) -> Message:
    return {"type": "ping", "ping_event": {"event_id": event_id, "ping_ms": ping_ms}}


def user_transcript(text: str, event_id: int) -> Message:
    return {"type": "user_transcript", "user_transcription_event": {"user_transcript": text, "event_id": event_id}}


def tentative_user_transcript(text: str, event_id: int) -> Message:
    event = {"user_transcript": text, "event_id": event_id}
    return {"type": "tentative_user_transcript", "tentative_user_transcription_event": event}


def agent_response(text: str, event_id: int) -> Message:
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def agent_chat_response_part(kind: str, text: str, event_id: int) -> Message:
    return {
        "type": "agent_chat_response_part",
        "text_response_part": {"text": text, "type": kind, "event_id": event_id},
    }


def agent_response_correction(original: str, corrected: str, event_id: int) -> Message:
    return {
        "type": "agent_response_correction",
        "agent_response_correction_event": {
            "original_agent_response": original,
            "corrected_agent_response": corrected,
            "event_id": event_id,
        },
    }


def agent_response_complete(event_id: int) -> Message:
    return {"type": "agent_response_complete", "agent_response_complete_event": {"event_id": event_id}}


def client_tool_call(
    name: str, call_id: str, parameters: Mapping[str, Any], event_id: int, *, expects_response: bool
) -> Message:
    return {
        "type": "client_tool_call",
        "client_tool_call": {
            "tool_name": name,
            "tool_call_id": call_id,
            "parameters": dict(parameters),
            "event_id": event_id,
            "expects_response": expects_response,
        },
    }


def mcp_tool_call(
    name: str, call_id: str, service: str, parameters: Mapping[str, Any], approval_timeout_s: int
) -> Message:
    return {
        "type": "mcp_tool_call",
        "mcp_tool_call": {
            "service_id": service,
            "tool_call_id": call_id,
            "tool_name": name,
            "tool_description": None,
            "parameters": dict(parameters),
            "timestamp": datetime.now(UTC).isoformat(),
            "state": "awaiting_approval",
            "approval_timeout_secs": approval_timeout_s,
        },
    }


def end_call(call_id: str, event_id: int) -> Message:
    return {
        "type": "agent_tool_response",
        "agent_tool_response": {
            "tool_name": "end_call",
            "tool_call_id": call_id,
            "tool_type": "system",
            "is_error": False,
            "is_called": True,
            "event_id": event_id,
        },
    }


def queue_status(status: str) -> Message:
    return {"type": "queue_status", "queue_status_event": {"status": status}}


def error(error_type: str, code: int, message: str) -> Message:
    return {"type": "error", "error_event": {"error_type": error_type, "code": code, "message": message}}


def client_error(error_name: str, code: int, message: str) -> Message:
    return {"type": "client_error", "error_event": {"error_name": error_name, "code": code, "message": message}}


def flat_error(message: str) -> Message:
    return {"type": "error", "message": message}


def as_text(value: object) -> str:
    """The value as JSON, if it is not text."""
    return msgspec.json.encode(value).decode()


def without(message: Any, fields: frozenset[str]) -> Any:
    """The message without these keys, at any depth."""
    if isinstance(message, dict):
        return {key: without(value, fields) for key, value in message.items() if key not in fields}
    return [without(value, fields) for value in message] if isinstance(message, list) else message
