"""What holds for every message, however strange."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from elevenlabs_samples import FROM_SERVER, from_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parleyd.agents import events as common
from parleyd.agents.commands import Know, Say, ToolDone
from parleyd.agents.elevenlabs.codec import ElevenLabsCodec
from parleyd.agents.elevenlabs.formats import FORMATS
from parleyd.agents.elevenlabs.server_messages import MESSAGES
from parleyd.agents.provider import SessionWish
from parleyd.config.schema import ElevenLabs

# Whole numbers that are too large for a float.
vast = st.sampled_from((10**400, -(10**400), "9" * 400))
# NaN and infinities are not JSON, although Python writes them.
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | vast | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def relaxed(examples: int) -> settings:
    """A busy machine is no failure."""
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def fresh(output: str = "pcm_16000") -> ElevenLabsCodec:
    codec = ElevenLabsCodec(ElevenLabs(agent_id="a"), SessionWish())
    payload = {"conversation_id": "c", "agent_output_audio_format": output}
    message = {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": payload}
    [ready] = codec.receive(json.dumps(message), 0.0).events
    assert isinstance(ready, common.Ready)
    return codec


def check(message: str | bytes) -> None:
    codec = fresh()
    received = codec.receive(message, 0.0)
    bad = sum(isinstance(event, common.Malformed) for event in received.events)
    unknown = sum(isinstance(event, common.Unknown) for event in received.events)
    assert (codec.malformed + codec.refused_calls, codec.unknown) == (bad, unknown)
    for event in received.events:
        if isinstance(event, common.AgentAudio):
            assert event.data
    for reply in received.replies:
        assert json.loads(reply)["type"] in ("pong", "client_tool_result", "mcp_tool_approval_result")
    # Nothing that a message does keeps the next one from being understood.
    [alive] = codec.receive('{"type": "vad_score", "vad_score_event": {"vad_score": 0.5}}', 0.0).events
    assert isinstance(alive, common.Notice)


@relaxed(100)
@given(st.binary(max_size=300) | st.text(st.characters(), max_size=300))
def test_garbage(message: bytes | str) -> None:
    check(message)


@relaxed(100)
@given(json_values)
def test_any_json(value: object) -> None:
    check(json.dumps(value))


@pytest.mark.parametrize("kind", sorted(FROM_SERVER))
@relaxed(25)
@given(data=st.data())
def test_a_known_message_with_one_part_replaced_by_anything(kind: str, data: st.DataObject) -> None:
    message: dict[str, Any] = from_server(kind)
    keys = [key for key in message if key != "type"]
    if not keys:
        message["anything"] = data.draw(json_values)
    else:
        payload = dict(message[keys[0]])
        in_payload = data.draw(st.booleans()) if payload else False
        if in_payload:
            name = data.draw(st.sampled_from(sorted(payload)))
            payload[name] = data.draw(json_values)
            message[keys[0]] = payload
        else:
            message[keys[0]] = data.draw(json_values)
    check(json.dumps(message))


@pytest.mark.parametrize("kind", sorted(FROM_SERVER))
@relaxed(15)
@given(data=st.data())
def test_a_known_message_cut_off_or_with_a_wrong_byte(kind: str, data: st.DataObject) -> None:
    message = bytearray(json.dumps(from_server(kind)).encode())
    at = data.draw(st.integers(0, len(message) - 1))
    if data.draw(st.booleans()):
        message = message[:at]
    else:
        message[at] = data.draw(st.integers(0, 255))
    check(bytes(message))


@relaxed(100)
@given(st.text(max_size=40).filter(lambda kind: kind not in MESSAGES.types), json_values)
def test_any_other_type_is_unknown(kind: str, payload: object) -> None:
    [event] = fresh().receive(json.dumps({"type": kind, "payload": payload}), 0.0).events
    assert event == common.Unknown(kind)


@relaxed(100)
@given(st.binary(min_size=1, max_size=400), st.sampled_from(sorted(FORMATS)), st.integers())
def test_sound_arrives_as_it_was_sent(data: bytes, output: str, event_id: int) -> None:
    payload = {"audio_base_64": base64.b64encode(data).decode(), "event_id": abs(event_id)}
    received = fresh(output).receive(json.dumps({"audio_event": payload, "type": "audio"}), 0.0)
    heard = b"".join(event.data for event in received.events if isinstance(event, common.AgentAudio))
    assert heard == data


@relaxed(100)
@given(st.binary(max_size=400))
def test_sound_is_sent_as_it_is(data: bytes) -> None:
    sent = json.loads(fresh().audio(data))
    assert list(sent) == ["user_audio_chunk"]
    assert base64.b64decode(sent["user_audio_chunk"], validate=True) == data


@relaxed(100)
@given(st.text(st.characters(), max_size=60), st.text(st.characters(), max_size=60))
def test_any_text_can_be_sent(text: str, other: str) -> None:
    codec = fresh()
    for command in (Say(text), Know(other)):
        (message,) = codec.send(command, 0.0)
        json.loads(message.decode())
    (message,) = codec.send(ToolDone("c", text), 0.0)
    result = json.loads(message)
    assert isinstance(result["result"], str)


steps = st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=40)


@relaxed(100)
@given(steps)
def test_the_floor_is_the_highest_interruption_so_far(sequence: list[tuple[bool, int]]) -> None:
    codec, floor = fresh(), 0
    for is_audio, event_id in sequence:
        if is_audio:
            payload = {"audio_base_64": "AAAA", "event_id": event_id}
            received = codec.receive(json.dumps({"type": "audio", "audio_event": payload}), 0.0)
            assert bool(received.events) == (event_id >= floor)
        else:
            payload = {"event_id": event_id}
            codec.receive(json.dumps({"type": "interruption", "interruption_event": payload}), 0.0)
            floor = max(floor, event_id)
