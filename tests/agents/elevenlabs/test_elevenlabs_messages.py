"""Every message of the protocol, as its type reads and writes it."""

from __future__ import annotations

import copy
import json
from typing import get_args

import msgspec
import pytest
from elevenlabs.conversational_ai import conversation as sdk
from elevenlabs.types.client_event import ClientEvent
from elevenlabs_samples import FROM_CLIENT, FROM_SERVER, PAYLOAD_OPTIONAL, SOUND, from_server

from parleyd.agents.elevenlabs import client_messages as client
from parleyd.agents.elevenlabs import server_messages as server
from parleyd.agents.wire import UNREADABLE

# The message with sound is the only one that names no type.
CLIENT_TYPES = {str(message.__struct_config__.tag or "user_audio_chunk") for message in get_args(client.ClientMessage)}


def test_there_is_an_example_of_every_message() -> None:
    assert set(FROM_SERVER) == server.MESSAGES.types
    assert set(FROM_CLIENT) == CLIENT_TYPES


def test_all_names_of_the_official_sdk_are_known() -> None:
    literal, _anything = get_args(ClientEvent)
    assert set(get_args(literal)) <= server.MESSAGES.types
    assert {event.value for event in sdk.ClientToOrchestratorEvent} <= CLIENT_TYPES


@pytest.mark.parametrize("kind", sorted(FROM_SERVER))
def test_no_field_of_a_server_message_is_lost(kind: str) -> None:
    message = from_server(kind)
    if kind == "audio":
        sound = server.MESSAGES.decode(json.dumps(message))
        assert isinstance(sound, server.Audio)
        assert sound.audio_event.audio_base_64 == SOUND
        del message["audio_event"]["alignment"]  # left undecoded on purpose
    assert json.loads(msgspec.json.encode(server.MESSAGES.decode(json.dumps(message)))) == message


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", sorted(FROM_SERVER))
def test_the_type_may_be_before_or_behind_the_payload(kind: str, first: bool) -> None:
    body = FROM_SERVER[kind]
    message = {"type": kind, **body} if first else {**body, "type": kind}
    assert server.MESSAGES.decode(json.dumps(message)) == server.MESSAGES.decode(json.dumps(message).encode())


@pytest.mark.parametrize("kind", sorted(FROM_SERVER))
def test_unknown_fields_are_skipped_and_known_ones_may_be_null_or_missing(kind: str) -> None:
    message = copy.deepcopy(from_server(kind))
    message["surprise"] = {"deep": [1, None]}
    for key, payload in message.items():
        if key in ("type", "surprise"):
            continue
        for name in list(payload):
            without = copy.deepcopy(message)
            without[key] = {other: value for other, value in payload.items() if other != name}
            without[key]["surprise"] = [[]]
            server.MESSAGES.decode(json.dumps(without))
            without[key][name] = None
            server.MESSAGES.decode(json.dumps(without))


@pytest.mark.parametrize("kind", sorted(FROM_SERVER))
def test_a_missing_payload(kind: str) -> None:
    bare = json.dumps({"type": kind})
    if kind in PAYLOAD_OPTIONAL:
        server.MESSAGES.decode(bare)
    else:
        with pytest.raises(UNREADABLE):
            server.MESSAGES.decode(bare)


@pytest.mark.parametrize(
    ("value", "meant"),
    [(12, 12), (12.0, 12), ("12", 12), (None, None), ("evt_1", None), (2**70, 2**70), ("9" * 5000, None), (-1, -1)],
)
def test_ids_come_as_whole_numbers_floats_or_texts(value: object, meant: int | None) -> None:
    message = {"type": "interruption", "interruption_event": {"event_id": value}}
    interruption = server.MESSAGES.decode(json.dumps(message))
    assert isinstance(interruption, server.Interruption)
    assert server.number(interruption.interruption_event.event_id) == meant


@pytest.mark.parametrize("kind", sorted(FROM_CLIENT))
def test_every_client_message_is_written_as_the_protocol_has_it(kind: str) -> None:
    types = {
        str(message.__struct_config__.tag or "user_audio_chunk"): message for message in get_args(client.ClientMessage)
    }
    wanted = FROM_CLIENT[kind]
    assert json.loads(client.encode(msgspec.convert(wanted, types[kind]))) == wanted


def test_what_is_not_set_is_left_out() -> None:
    assert json.loads(client.encode(client.ConversationInitiationClientData())) == {
        "type": "conversation_initiation_client_data"
    }
    result = client.ClientToolResult(tool_call_id="c", result="", is_error=False)
    assert json.loads(client.encode(result)) == {
        "type": "client_tool_result",
        "tool_call_id": "c",
        "result": "",
        "is_error": False,
    }
    # Taking a score back is saying null.
    assert json.loads(client.encode(client.Feedback(event_id=1, score=None)))["score"] is None
