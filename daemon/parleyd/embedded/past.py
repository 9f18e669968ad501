"""A conversation that has ended, as the service describes it: `GET /v1/convai/conversations/{id}`. Pure.

Source: GetConversationResponseModel and ConversationSummaryResponseModel of the official Python SDK (elevenlabs 2.78).
Nothing is billed here, so the cost is 0; the latencies are those of this server's own parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from parleyd.core.text import bounded
from parleyd.embedded.record import Activity

# Hundreds of conversations are remembered, and a client may type 16 MB at once.
MOST_TEXT_CHARS = 20_000
_ROLES = {"heard": "user", "says": "agent"}


def as_conversation(
    conversation_id: str,
    agent_id: str,
    began_unix_s: float,
    began_s: float,
    duration_s: float,
    activities: Iterable[Activity],
    ended: str,
    user_id: str = "",
) -> dict[str, Any]:
    """began_s: the monotonic time of the beginning, as that of the activities. ended: the reason in words. user_id: as
    the client named it."""
    transcript: list[dict[str, Any]] = []
    heard_s: float | None = None
    for activity in activities:
        role = _ROLES.get(activity.kind)
        if role is None:
            if activity.kind == "interrupted" and transcript and transcript[-1]["role"] == "agent":
                transcript[-1]["interrupted"] = True
            continue
        entry: dict[str, Any] = {
            "role": role,
            "message": bounded(str(activity.fields.get("text", "")), MOST_TEXT_CHARS),
            "time_in_call_secs": round(activity.at_s - began_s),
            "interrupted": False,
        }
        if role == "user":
            heard_s = activity.at_s
        elif heard_s is not None:
            elapsed = {"elapsed_time": round(activity.at_s - heard_s, 3)}
            entry["conversation_turn_metrics"] = {"metrics": {"convai_llm_service_ttfb": elapsed}}
            heard_s = None
        transcript.append(entry)
    return {
        "conversation_id": conversation_id,
        "agent_id": agent_id,
        "user_id": user_id or None,
        "status": "done",
        "has_audio": False,
        "has_user_audio": False,
        "has_response_audio": False,
        "has_auxiliary_audio": False,
        "metadata": {
            "start_time_unix_secs": int(began_unix_s),
            "call_duration_secs": round(duration_s),
            "cost": 0,
            "termination_reason": ended,
        },
        "transcript": transcript,
    }


def as_summary(conversation: Mapping[str, Any]) -> dict[str, Any]:
    metadata = conversation["metadata"]
    return {
        "conversation_id": conversation["conversation_id"],
        "agent_id": conversation["agent_id"],
        "start_time_unix_secs": metadata["start_time_unix_secs"],
        "call_duration_secs": metadata["call_duration_secs"],
        "cost": metadata["cost"],
        "message_count": len(conversation["transcript"]),
        "status": conversation["status"],
        "termination_reason": metadata["termination_reason"],
        "call_successful": "unknown",
    }
