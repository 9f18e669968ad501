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
from parleyd.agents.provider import Agent
from parleyd.config.schema import ElevenLabs

SECRET = "sk_0123456789abcdef"


@dataclass(frozen=True)
class Kit:
    """agent: makes it, with SECRET as its secret if it has one. begin: the messages after which a session is ready.
    answer: those of one whole answer with a text and a second of sound. interruption: those of a person's speech over
    an answer. samples: one message of each kind, for mutations."""

    name: str
    agent: Callable[[], Agent]
    begin: Sequence[str]
    answer: Callable[[str, bytes], Sequence[str]]
    interruption: Sequence[str]
    samples: Sequence[str]


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
)

KITS = [ELEVENLABS, OPPOSITE]
