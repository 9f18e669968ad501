"""The providers that the contract is held against: how each is made, and a few of its messages.

A new provider gets a Kit here, and passes tests/agents/test_contract.py as it is.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# The samples of a provider are beside its own tests.
sys.path.append(str(Path(__file__).parent / "elevenlabs"))

from elevenlabs_samples import FROM_SERVER, from_server

from opposite import OppositeAgent
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.agents.provider import Agent
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import ElevenLabs

SECRET = "sk_0123456789abcdef"


@dataclass(frozen=True)
class Kit:
    """agent: makes it, with SECRET as its secret if it has one. begin: the messages after which a session is ready.
    answer: those of one whole answer with a text and a second of sound. interruption: those of a person's speech over
    an answer. samples: one message of each kind, for mutations. resumes: its sessions can continue an older one."""

    name: str
    agent: Callable[[], Agent]
    begin: Sequence[str]
    answer: Callable[[str, bytes], Sequence[str]]
    interruption: Sequence[str]
    samples: Sequence[str]
    resumes: bool = False


def _elevenlabs_answer(text: str, sound: bytes) -> list[str]:
    payload = {"audio_base_64": base64.b64encode(sound).decode(), "event_id": 1}
    return [
        json.dumps({"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": 1}}),
        json.dumps({"type": "audio", "audio_event": payload}),
        json.dumps({"type": "agent_response_complete", "agent_response_complete_event": {"event_id": 1}}),
    ]


ELEVENLABS = Kit(
    "elevenlabs",
    lambda: ElevenLabsAgent(ElevenLabs(agent_id="a", api_key=SECRET, base_url="http://127.0.0.1:9"), SECRET),
    begin=[json.dumps(from_server("conversation_initiation_metadata"))],
    answer=_elevenlabs_answer,
    interruption=[json.dumps({"type": "interruption", "interruption_event": {"event_id": 2}})],
    samples=[json.dumps(from_server(kind)) for kind in FROM_SERVER],
)


def _opposite_answer(text: str, sound: bytes) -> list[str]:
    data = base64.b64encode(sound).decode()
    return [
        json.dumps({"begin": "a1"}),
        json.dumps({"sound": {"answer": "a1", "data": data}}),
        json.dumps({"text": {"answer": "a1", "text": text, "final": True}}),
        json.dumps({"end": "a1"}),
    ]


OPPOSITE = Kit(
    "opposite",
    lambda: OppositeAgent(9),
    begin=[json.dumps({"ready": {"id": "c1", "ends_in_s": 600}})],
    answer=_opposite_answer,
    interruption=[json.dumps({"interrupted": "a1"})],
    samples=[
        json.dumps({"ready": {"id": "c1"}}),
        *_opposite_answer("Yes.", bytes(100)),
        json.dumps({"interrupted": "a1"}),
        json.dumps({"taken": 1200}),
        json.dumps({"heard": {"utterance": "u1", "text": "hello", "final": True}}),
        json.dumps({"call": {"name": "t", "id": "k", "parameters": {}}}),
        json.dumps({"cancelled": ["k"]}),
        json.dumps({"failed": {"reason": "r", "retry_after_s": 1.0}}),
        json.dumps({"handle": "h"}),
        json.dumps({"ends": 10.0}),
        json.dumps({"tokens": {"text_in": 3}}),
        json.dumps({"novelty": 1}),
    ],
    resumes=True,
)


def _realtime(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, "event_id": "event_1", **fields})


def _openai_answer(text: str, sound: bytes) -> list[str]:
    ids = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
    return [
        _realtime("response.created", response={"id": "resp_1", "status": "in_progress"}),
        _realtime("response.output_audio.delta", delta=base64.b64encode(sound).decode(), **ids),
        _realtime("response.output_audio_transcript.delta", delta=text, **ids),
        _realtime("response.output_audio_transcript.done", transcript=text, **ids),
        _realtime("response.output_audio.done", **ids),
        _realtime("response.done", response={"id": "resp_1", "status": "completed", "output": []}),
    ]


_SESSION = {
    "type": "realtime",
    "id": "sess_1",
    "model": "gpt-realtime-2.1",
    "audio": {
        "input": {"format": {"type": "audio/pcm", "rate": 24000}},
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
    },
}
_CALL = {"id": "fc_1", "type": "function_call", "name": "t", "call_id": "k", "arguments": "{}", "status": "completed"}
_ASKED = {"id": "mcpr_1", "type": "mcp_approval_request", "server_label": "s", "name": "t", "arguments": "{}"}

OPENAI = Kit(
    "openai",
    lambda: OpenAIAgent(OpenAI(base_url="http://127.0.0.1:9/v1", api_key=SECRET, model="m"), SECRET),
    begin=[_realtime("session.created", session=_SESSION), _realtime("session.updated", session=_SESSION)],
    answer=_openai_answer,
    interruption=[_realtime("input_audio_buffer.speech_started", audio_start_ms=0, item_id="user_2")],
    samples=[
        _realtime("session.updated", session=_SESSION),
        *_openai_answer("Yes.", bytes(100)),
        _realtime("input_audio_buffer.speech_started", audio_start_ms=100, item_id="user_1"),
        _realtime("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="user_1"),
        _realtime("input_audio_buffer.committed", item_id="user_1", previous_item_id=None),
        _realtime("conversation.item.added", item={"id": "user_1", "type": "message", "role": "user", "content": []}),
        _realtime("conversation.item.done", item=_ASKED),
        _realtime("conversation.item.input_audio_transcription.delta", item_id="user_1", delta="hel"),
        _realtime("conversation.item.input_audio_transcription.completed", item_id="user_1", transcript="hello"),
        _realtime("conversation.item.input_audio_transcription.failed", item_id="user_1", error={"message": "no"}),
        _realtime("response.output_item.done", response_id="resp_1", item=_CALL),
        _realtime("response.function_call_arguments.done", response_id="resp_1", call_id="k", arguments="{}"),
        _realtime("response.mcp_call.completed", item_id="mcp_1"),
        _realtime("rate_limits.updated", rate_limits=[{"name": "tokens", "reset_seconds": 1.5}]),
        _realtime("error", error={"type": "invalid_request_error", "code": "x", "message": "no", "event_id": None}),
        _realtime("response.output_text.delta", response_id="resp_2", item_id="item_2", content_index=0, delta="I"),
        _realtime("response.done", response={"id": "resp_2", "status": "failed", "usage": {"input_tokens": 3}}),
        _realtime("novelty"),
    ],
)

KITS = [ELEVENLABS, OPENAI, OPPOSITE]
