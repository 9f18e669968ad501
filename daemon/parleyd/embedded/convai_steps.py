"""The steps of a scenario that are messages of the ElevenLabs protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from parleyd.embedded import messages, scenario
from parleyd.embedded.line import ConvaiLine
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.scenario import ProtocolStep

MALFORMED: Mapping[str, str | bytes] = {
    "bad_json": '{"type": "audio", "audio_event": {',
    "not_object": '["audio"]',
    "missing_type": '{"audio_event": {"audio_base_64": "AAAA", "event_id": 1}}',
    "missing_fields": '{"type": "audio", "audio_event": {}}',
    "wrong_types": '{"type": "agent_response", "agent_response_event": {"agent_response": 5, "event_id": "x"}}',
    "bad_base64": '{"type": "audio", "audio_event": {"audio_base_64": "@@@", "event_id": 1}}',
    "binary": b"\x00\x01\x02\xff",
}


class Speaker(Protocol):
    """The part of the conversation that these steps use."""

    line: ConvaiLine
    record: ConnectionRecord
    output_rate_hz: int

    def current_id(self) -> int:
        """The id of the last answer, or of the last interruption."""

    def reserve_reply_id(self) -> int:
        """The id that the next answer will have."""

    def new_call_id(self) -> str: ...

    def metadata_message(self) -> messages.Message: ...


async def perform(step: ProtocolStep, speaker: Speaker) -> None:
    """Does the step. Raises LineClosedError."""
    line = speaker.line
    match step:
        case scenario.Error():
            await line.send(_error(step))
        case scenario.Malformed():
            await line.send_raw(MALFORMED[step.kind], {"type": "(malformed)", "kind": step.kind})
        case scenario.Oversized():
            await line.send_audio(bytes(step.samples * 2), speaker.current_id())
        case scenario.DuplicateMetadata():
            await line.send(speaker.metadata_message())
        case scenario.StaleAudio():
            samples = step.duration_ms * speaker.output_rate_hz // 1000
            await line.send_audio(scenario.TONE * (samples // 2), speaker.current_id() - step.below)
        case scenario.UnknownEvent():
            content = {"type": step.name, f"{step.name}_event": {"event_id": 1}}
            await line.send_raw(messages.as_text(content), content)
        case scenario.QueueStatus():
            await line.send(messages.queue_status(step.status))
        case scenario.Interrupt():
            await line.send(messages.interruption(_interrupted_id(step, speaker)))
        case scenario.ToolCall() | scenario.McpToolCall():
            speaker.record.tell("tool_call", name=step.name, parameters=step.parameters)
            await line.send(_call(step, speaker))


def _interrupted_id(step: scenario.Interrupt, speaker: Speaker) -> int:
    if step.id == "reply":
        return speaker.reserve_reply_id()
    return speaker.current_id() if step.id == "turn" else step.id


def _call(step: scenario.ToolCall | scenario.McpToolCall, speaker: Speaker) -> messages.Message:
    call_id = speaker.new_call_id()
    if isinstance(step, scenario.McpToolCall):
        return messages.mcp_tool_call(step.name, call_id, step.service, step.parameters, step.approval_timeout_s)
    return messages.client_tool_call(
        step.name, call_id, step.parameters, speaker.current_id(), expects_response=step.expects_response
    )


def _error(step: scenario.Error) -> messages.Message:
    if step.shape == "flat":
        return messages.flat_error(step.message)
    make = messages.error if step.shape == "event" else messages.client_error
    return make(step.error_type, step.code, step.message)
