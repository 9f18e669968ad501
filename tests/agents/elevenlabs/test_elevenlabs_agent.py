"""The provider as the rest of the program sees it."""

from __future__ import annotations

import json
import socket

import pytest

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.events import AgentError
from parleyd.agents.provider import Agent, Codec, SessionWish
from parleyd.config.schema import ElevenLabs, Overrides
from parleyd.core.endings import DialError, EndingKind

KEY = "sk_0123456789abcdef"
PUBLIC = ElevenLabs(agent_id="agent_1", base_url="http://127.0.0.1:9")


def test_it_is_an_agent_with_a_fresh_codec_for_each_session() -> None:
    agent: Agent = ElevenLabsAgent(PUBLIC, None)
    assert agent.name == "elevenlabs"
    first: Codec = agent.session(SessionWish())
    second = agent.session(SessionWish(greet=False))
    assert first is not second
    assert json.loads(first.opening()[0]) == {
        "type": "conversation_initiation_client_data",
        "user_id": socket.gethostname(),
    }
    assert json.loads(second.opening()[0])["conversation_config_override"] == {"agent": {"first_message": ""}}


def test_a_public_agent_is_dialled_without_asking_anybody() -> None:
    assert ElevenLabsAgent(PUBLIC, None).dial(1.0).url == "ws://127.0.0.1:9/v1/convai/conversation?agent_id=agent_1"


def test_with_a_key_the_server_is_asked() -> None:
    with pytest.raises(DialError) as caught:
        ElevenLabsAgent(PUBLIC, KEY).dial(1.0)
    assert caught.value.ending.kind is EndingKind.RETRY


def test_without_an_agent_id_there_is_nothing_to_dial() -> None:
    with pytest.raises(DialError) as caught:
        ElevenLabsAgent(ElevenLabs(), None).dial(1.0)
    assert caught.value.ending.kind is EndingKind.FINAL
    assert caught.value.ending.hint == "set elevenlabs.agent_id"


def test_the_key_is_shown_nowhere() -> None:
    agent = ElevenLabsAgent(ElevenLabs(agent_id="agent_1", api_key=KEY), KEY)
    endings = (
        agent.judge_close(3000, f"no {KEY}", None),
        agent.judge_close(1008, "", AgentError(f"no {KEY}")),
        agent.judge_close(1008, "x" * 190 + KEY, None),
        agent.judge_refusal(401, json.dumps({"detail": f"no {KEY}"})),
    )
    for shown in (repr(agent), str(agent), *map(repr, endings)):
        assert KEY not in shown
        assert KEY[:8] not in shown


def test_a_refused_override_of_our_own_is_told_from_a_configured_one() -> None:
    text = "Override for field 'first_message' is not allowed by config."
    ours = ElevenLabsAgent(PUBLIC, None).judge_close(1008, text, None)
    assert (ours.hint or "").endswith("or set wake.greeting: play")
    config = ElevenLabs(agent_id="a", overrides=Overrides(first_message="Hi."))
    theirs = ElevenLabsAgent(config, None).judge_close(1008, text, None)
    assert (theirs.hint or "").endswith("or remove elevenlabs.overrides.first_message")
    assert ours.greeting_refused
    assert not theirs.greeting_refused, "a first message that the user has set is the user's to fix"


@pytest.mark.parametrize("value", [{"a": object()}, {"a": {None: 1}}, {"a": "\ud800"}])
def test_a_value_without_json_is_refused_at_once(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="custom_llm_extra_body"):
        ElevenLabsAgent(ElevenLabs(agent_id="a", custom_llm_extra_body=value), None)
