"""One example of every message, as the protocol writes it, both directions; what optional parts may be left out."""

from __future__ import annotations

import base64
from typing import Any

SOUND = b"\x01\x00\xff\x7f"

FROM_SERVER: dict[str, dict[str, Any]] = {
    "conversation_initiation_metadata": {
        "conversation_initiation_metadata_event": {
            "conversation_id": "conv_1",
            "agent_output_audio_format": "pcm_24000",
            "user_input_audio_format": "pcm_16000",
        }
    },
    "asr_initiation_metadata": {"asr_initiation_metadata_event": {"model": "scribe", "extra": [1]}},
    "ping": {"ping_event": {"event_id": 77, "ping_ms": 42}},
    "audio": {
        "audio_event": {
            "audio_base_64": base64.b64encode(SOUND).decode(),
            "event_id": 12,
            "alignment": {"chars": ["H", "i"], "char_start_times_ms": [0, 50], "char_durations_ms": [50, 40]},
            "is_final": False,
        }
    },
    "interruption": {"interruption_event": {"event_id": 12}},
    "user_transcript": {"user_transcription_event": {"user_transcript": "Turn on the light.", "event_id": 13}},
    "tentative_user_transcript": {"tentative_user_transcription_event": {"user_transcript": "Turn on", "event_id": 13}},
    "agent_response": {
        "agent_response_event": {
            "agent_response": "Done.",
            "event_id": 14,
            "response_id": "r1",
            "attachments": [{"url": "https://example.com/a", "name": "a"}],
        }
    },
    "agent_response_correction": {
        "agent_response_correction_event": {
            "original_agent_response": "One two three.",
            "corrected_agent_response": "One two",
            "event_id": 14,
        }
    },
    "agent_chat_response_part": {"text_response_part": {"text": "Hel", "type": "delta", "event_id": 14}},
    "agent_reasoning_response_part": {"reasoning_response_part": {"text": "", "type": "start", "event_id": "evt_1"}},
    "agent_response_complete": {"agent_response_complete_event": {"event_id": 14}},
    "agent_response_metadata": {"agent_response_metadata_event": {"metadata": {"cost": 1.5}, "event_id": 14}},
    "client_tool_call": {
        "client_tool_call": {
            "tool_name": "get_time",
            "tool_call_id": "call_1",
            "parameters": {"tz": "UTC"},
            "event_id": 15,
            "expects_response": True,
        }
    },
    "agent_tool_request": {
        "agent_tool_request": {
            "tool_name": "lookup",
            "tool_call_id": "c2",
            "tool_type": "webhook",
            "event_id": 15,
            "expects_response": True,
            "disable_interruptions": False,
            "response_timeout_secs": 20,
            "execution_mode": "immediate",
        }
    },
    "agent_tool_response": {
        "agent_tool_response": {
            "tool_name": "lookup",
            "tool_call_id": "c3",
            "tool_type": "system",
            "is_error": False,
            "is_called": True,
            "event_id": 16,
        }
    },
    "agent_tool_response_full_payload": {
        "agent_tool_response_full_payload": {
            "tool_name": "lookup",
            "tool_call_id": "c3",
            "tool_type": "webhook",
            "is_error": False,
            "is_called": True,
            "event_id": 16,
            "full_tool_result": "{}",
            "truncated": False,
        }
    },
    "mcp_tool_call": {
        "mcp_tool_call": {
            "service_id": "s",
            "tool_call_id": "c",
            "tool_name": "write",
            "tool_description": "writes",
            "parameters": {"path": "a"},
            "timestamp": "2026-01-01T00:00:00+00:00",
            "state": "success",
            "result": [{"type": "text", "text": "ok"}],
        }
    },
    "mcp_connection_status": {
        "mcp_connection_status": {
            "integrations": [
                {"integration_id": "i", "integration_type": "mcp_server", "is_connected": True, "tool_count": 3}
            ]
        }
    },
    "vad_score": {"vad_score_event": {"vad_score": 0.95}},
    "context_usage": {
        "context_usage_event": {
            "event_id": 14,
            "model": "m",
            "context_tokens": 1200,
            "context_limit_tokens": 128000,
        }
    },
    "guardrail_triggered": {"guardrail_triggered_event": {"guardrail_name": "politeness"}},
    "error": {
        "error_event": {
            "code": 1008,
            "message": "m",
            "error_type": "missing_dynamic_variable",
            "reason": "r",
            "debug_message": "d",
            "details": {},
        }
    },
    "client_error": {"error_event": {"code": 1008, "error_name": "invalid_api_key", "message": "Invalid API key"}},
    "queue_status": {"queue_status_event": {"status": "waiting"}},
    "internal_tentative_agent_response": {
        "tentative_agent_response_internal_event": {"tentative_agent_response": "Perhaps"}
    },
    "internal_turn_probability": {"turn_probability_internal_event": {"turn_probability": 0.7}},
    "agent_typing": {"agent_typing_event": {"is_typing": True, "duration_ms": 3000}},
    "external_agent_connected": {"external_agent_connected_event": {}},
    "external_agent_disconnected": {"external_agent_disconnected_event": {}},
    "rich_content": {"rich_content": {"rich_content_id": "x", "component": "card", "props": {"a": 1}, "event_id": 1}},
    "dtmf_request": {},
}

# The whole payload may be absent.
PAYLOAD_OPTIONAL = frozenset(
    (
        "agent_response_complete",
        "asr_initiation_metadata",
        "client_error",
        "dtmf_request",
        "error",
        "external_agent_connected",
        "external_agent_disconnected",
        "guardrail_triggered",
    )
)

FROM_CLIENT: dict[str, dict[str, Any]] = {
    "user_audio_chunk": {"user_audio_chunk": base64.b64encode(SOUND).decode()},
    "conversation_initiation_client_data": {
        "type": "conversation_initiation_client_data",
        "conversation_config_override": {
            "agent": {
                "prompt": {"prompt": "You are terse.", "llm": "gemini-2.5-flash"},
                "first_message": "Hi Ada.",
                "language": "en",
            },
            "asr": {"keywords": ["Anna", "pantry"]},
            "tts": {
                "model_id": "eleven_flash_v2_5",
                "voice_id": "VOICE",
                "stability": 0.5,
                "speed": 1.0,
                "similarity_boost": 0.8,
            },
        },
        "custom_llm_extra_body": {"temperature": 0.2, "max_tokens": 150, "nothing": None},
        "dynamic_variables": {"user_name": "Ada", "visits": 3, "vip": True},
        "user_id": "kitchen",
        "branch_id": "agtbrch_1",
        "environment": "staging",
    },
    "pong": {"type": "pong", "event_id": 12345},
    "user_message": {"type": "user_message", "text": "What's the weather?"},
    "user_activity": {"type": "user_activity"},
    "contextual_update": {
        "type": "contextual_update",
        "text": "The kitchen light is now on.",
        "context_id": "lights",
    },
    "client_tool_result": {
        "type": "client_tool_result",
        "tool_call_id": "call_1",
        "result": "21 °C",
        "is_error": True,
        "error_type": "client_timeout",
    },
    "mcp_tool_approval_result": {
        "type": "mcp_tool_approval_result",
        "tool_call_id": "call_1",
        "is_approved": True,
    },
    "feedback": {"type": "feedback", "event_id": 43, "score": "like"},
    "multimodal_message": {
        "type": "multimodal_message",
        "text": {"type": "user_message", "text": "What is this?"},
        "files": [{"type": "file_input", "file_id": "file_1"}],
        "file": {"type": "file_input", "file_id": "file_1"},
    },
}


def from_server(kind: str) -> dict[str, Any]:
    return {"type": kind, **FROM_SERVER[kind]}
