"""What the codec makes of messages, and what it writes."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

import pytest
from elevenlabs.conversational_ai import conversation as sdk
from elevenlabs.types.conversation_config_client_override_input import ConversationConfigClientOverrideInput
from elevenlabs_samples import FROM_CLIENT, FROM_SERVER, SOUND, from_server

from parleyd.agents import events as common
from parleyd.agents.commands import (
    Approve,
    Busy,
    Command,
    Cut,
    EndOfTurn,
    KeepAlive,
    Know,
    Prepared,
    Rate,
    Say,
    SkipGreeting,
    SpeakNow,
    ToolDone,
)
from parleyd.agents.elevenlabs import meaning
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.elevenlabs.codec import ElevenLabsCodec
from parleyd.agents.elevenlabs.formats import FORMATS
from parleyd.agents.elevenlabs.reader import (
    MOST_ID_CHARS,
    MOST_STALE_S,
    MOST_TEXT_CHARS,
    UNSUPPORTED_FORMAT,
    Reader,
)
from parleyd.agents.provider import Said, SessionWish
from parleyd.audio.pcm import AudioFormat
from parleyd.config.schema import ElevenLabs, Overrides
from parleyd.config.variable_sections import Variable
from parleyd.core.faults import Fault

ALL_OVERRIDES = Overrides(
    prompt="You are terse.",
    first_message="Hi Ada.",
    language="en",
    llm="gemini-2.5-flash",
    voice_id="VOICE",
    stability=0.5,
    speed=1.0,
    similarity_boost=0.8,
    model_id="eleven_flash_v2_5",
    keywords=["Anna", "pantry"],
)


def metadata(**payload: object) -> str:
    return json.dumps({"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": payload})


def audio(event_id: object, data: bytes = SOUND, **more: object) -> str:
    payload = {"audio_base_64": base64.b64encode(data).decode(), "event_id": event_id, **more}
    return json.dumps({"type": "audio", "audio_event": payload})


def interruption(**payload: object) -> str:
    return json.dumps({"type": "interruption", "interruption_event": payload})


def answer(text: str, event_id: object) -> str:
    payload = {"agent_response": text, "event_id": event_id}
    return json.dumps({"type": "agent_response", "agent_response_event": payload})


def part(text: str, event_id: object) -> str:
    payload = {"text": text, "type": "delta", "event_id": event_id}
    return json.dumps({"type": "agent_chat_response_part", "text_response_part": payload})


def ready_codec(output: str = "pcm_16000") -> Reader:
    codec = Reader()
    codec.receive(metadata(conversation_id="c", agent_output_audio_format=output))
    return codec


def events(codec: Reader, message: str | bytes) -> list[meaning.Meaning]:
    return list(codec.receive(message).meanings)


def opening(config: ElevenLabs, *, suppress_greeting: bool = False, user_id: str | None = None) -> Any:
    wish = SessionWish(greet=not suppress_greeting)
    variables = {name: it for name, it in config.dynamic_variables.items() if not isinstance(it, Variable)}
    (message,) = ElevenLabsCodec(config, wish, variables, user_id=user_id).opening()
    return json.loads(message)


# ---------------------------------------------------------------- the opening


def test_the_opening_of_a_bare_configuration_is_bare() -> None:
    assert opening(ElevenLabs(agent_id="a")) == {"type": "conversation_initiation_client_data"}


def test_everything_that_is_set_is_in_its_place() -> None:
    config = ElevenLabs(
        agent_id="a",
        overrides=ALL_OVERRIDES,
        branch_id="agtbrch_1",
        environment="staging",
        dynamic_variables={"user_name": "Ada", "visits": 3, "vip": True},
        custom_llm_extra_body={"temperature": 0.2, "max_tokens": 150, "nothing": None},
    )
    assert opening(config, user_id="kitchen") == FROM_CLIENT["conversation_initiation_client_data"]


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (Overrides(prompt="p"), {"agent": {"prompt": {"prompt": "p"}}}),
        (Overrides(llm="m"), {"agent": {"prompt": {"llm": "m"}}}),
        (Overrides(first_message="hi"), {"agent": {"first_message": "hi"}}),
        (Overrides(first_message=""), {"agent": {"first_message": ""}}),
        (Overrides(language="de"), {"agent": {"language": "de"}}),
        (Overrides(model_id="m"), {"tts": {"model_id": "m"}}),
        (Overrides(keywords=["Anna"]), {"asr": {"keywords": ["Anna"]}}),
        (Overrides(voice_id="v"), {"tts": {"voice_id": "v"}}),
        (Overrides(stability=0.0), {"tts": {"stability": 0.0}}),
        (Overrides(speed=1.1), {"tts": {"speed": 1.1}}),
        (Overrides(similarity_boost=1.0), {"tts": {"similarity_boost": 1.0}}),
    ],
)
def test_one_override_sends_nothing_else(overrides: Overrides, wanted: object) -> None:
    assert opening(ElevenLabs(agent_id="a", overrides=overrides)) == {
        "type": "conversation_initiation_client_data",
        "conversation_config_override": wanted,
    }


def test_a_suppressed_greeting_is_an_empty_first_message_whatever_is_configured() -> None:
    for overrides in (Overrides(), Overrides(first_message="Hi.")):
        sent = opening(ElevenLabs(agent_id="a", overrides=overrides), suppress_greeting=True)
        assert sent["conversation_config_override"] == {"agent": {"first_message": ""}}


def test_the_official_sdk_knows_every_override_and_opens_with_the_same() -> None:
    config = ElevenLabs(
        agent_id="a", overrides=ALL_OVERRIDES, dynamic_variables={"n": 1}, custom_llm_extra_body={"t": 0}
    )
    ours = opening(config, user_id="kitchen")
    overrides = ours["conversation_config_override"]
    typed = ConversationConfigClientOverrideInput.model_validate(overrides)
    assert typed.agent is not None
    for part in (typed, typed.agent, typed.agent.prompt, typed.asr, typed.tts):
        assert part is not None
        assert not part.model_extra, "a field that the SDK's contract does not have"
    assert json.loads(typed.model_dump_json(exclude_none=True)) == overrides

    conversation = sdk.Conversation.__new__(sdk.Conversation)
    conversation.user_id = "kitchen"
    conversation.config = sdk.ConversationInitiationData(
        extra_body={"t": 0},
        conversation_config_override=typed.model_dump(exclude_none=True),
        dynamic_variables={"n": 1},
    )
    theirs = json.loads(conversation._create_initiation_message())
    del theirs["source_info"]  # the SDK names itself
    assert ours == theirs


# ---------------------------------------------------------------- metadata


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_all_seven_formats_both_ways(name: str) -> None:
    encoding, rate = name.split("_")
    wanted = AudioFormat("ulaw" if encoding == "ulaw" else "pcm", int(rate))
    codec = Reader()
    message = metadata(conversation_id="conv_1", user_input_audio_format=name, agent_output_audio_format="pcm_16000")
    assert events(codec, message) == [common.Ready("conv_1", wanted, AudioFormat("pcm", 16_000))]
    codec = Reader()
    message = metadata(conversation_id="conv_1", user_input_audio_format="pcm_16000", agent_output_audio_format=name)
    assert events(codec, message) == [common.Ready("conv_1", AudioFormat("pcm", 16_000), wanted)]


def test_there_are_seven_formats() -> None:
    assert len(FORMATS) == 7


@pytest.mark.parametrize("missing", [{}, {"user_input_audio_format": None}, {"user_input_audio_format": ""}])
def test_a_missing_input_format_is_16_khz(missing: dict[str, object]) -> None:
    codec = Reader()
    [ready] = events(codec, metadata(conversation_id="c", agent_output_audio_format="ulaw_8000", **missing))
    assert ready == common.Ready("c", AudioFormat("pcm", 16_000), AudioFormat("ulaw", 8_000))


@pytest.mark.parametrize("key", ["user_input_audio_format", "agent_output_audio_format"])
def test_an_unknown_format_is_an_error_that_names_it(key: str) -> None:
    codec = Reader()
    [error] = events(codec, metadata(conversation_id="c", **{key: "mp3_44100"}))
    assert isinstance(error, common.AgentError)
    assert error.kind == UNSUPPORTED_FORMAT
    assert "'mp3_44100'" in error.message
    [after] = events(codec, audio(1))
    assert isinstance(after, common.Malformed)


def test_a_second_metadata_changes_nothing() -> None:
    codec = ready_codec("ulaw_8000")
    [second] = events(codec, metadata(conversation_id="d", agent_output_audio_format="pcm_48000"))
    assert isinstance(second, common.Malformed)
    assert codec.malformed == 1
    # An odd number of bytes is whole in µ-law and not in PCM.
    assert events(codec, audio(1, b"abc")) == [meaning.Audio(1, b"abc")]


# ---------------------------------------------------------------- audio and interruption


def test_audio() -> None:
    assert events(ready_codec(), json.dumps(from_server("audio"))) == [meaning.Audio(12, SOUND)]


def test_audio_before_the_metadata_has_no_format_and_is_dropped() -> None:
    codec = Reader()
    [event] = events(codec, audio(1))
    assert isinstance(event, common.Malformed)
    assert codec.malformed == 1


@pytest.mark.parametrize(
    ("payload", "malformed"),
    [
        ({"audio_base_64": "", "event_id": 3}, 0),
        ({"audio_base_64": "", "event_id": 3, "is_final": True}, 0),
        ({"event_id": 3, "is_final": True}, 0),
        ({"audio_base_64": None, "event_id": 3, "is_final": True}, 0),
        ({"event_id": 3}, 1),
        ({"audio_base_64": "@@@@", "event_id": 3}, 1),
        ({"audio_base_64": "AAA", "event_id": 3}, 1),
        ({"audio_base_64": 5, "event_id": 3}, 1),
    ],
)
def test_audio_without_sound(payload: dict[str, object], malformed: int) -> None:
    codec = ready_codec()
    happened = events(codec, json.dumps({"type": "audio", "audio_event": payload}))
    assert not any(isinstance(event, meaning.Audio) for event in happened)
    assert codec.malformed == malformed


def test_half_a_sample_is_passed_on_for_the_next_chunk_to_complete() -> None:
    codec = ready_codec()
    assert events(codec, audio(1, b"abcde")) == [meaning.Audio(1, b"abcde")]
    assert events(codec, audio(1, b"f")) == [meaning.Audio(1, b"f")]
    assert codec.malformed == 0


def test_after_an_interruption_only_strictly_older_audio_is_dropped() -> None:
    codec = ready_codec()
    assert events(codec, audio(5)) == [meaning.Audio(5, SOUND)]
    assert events(codec, interruption(event_id=6)) == [meaning.Interruption(6)]
    assert events(codec, audio(5)) == []
    assert events(codec, audio(6)) == [meaning.Audio(6, SOUND)]
    assert events(codec, audio(7)) == [meaning.Audio(7, SOUND)]


def test_the_floor_never_sinks() -> None:
    codec = ready_codec()
    events(codec, interruption(event_id=9))
    assert events(codec, interruption(event_id=4)) == [meaning.Interruption(4)]
    assert events(codec, audio(8)) == []
    assert events(codec, audio(9)) == [meaning.Audio(9, SOUND)]


def test_an_interruption_without_an_id_is_at_the_latest_audio() -> None:
    codec = ready_codec()
    events(codec, audio(5))
    assert events(codec, interruption()) == [meaning.Interruption(5)]
    assert events(codec, audio(4)) == []
    assert events(codec, audio(5)) == [meaning.Audio(5, SOUND)]


def test_audio_without_an_id_is_never_stale() -> None:
    codec = ready_codec()
    events(codec, interruption(event_id=9))
    assert events(codec, audio(None)) == [meaning.Audio(9, SOUND)]


# Ids that no server means, or that are far from all that was seen.
ABSURD = [1e300, 2**62, 2**63, 10**400, "9" * 400, -1, -(10**400), 5 + 10_001]


@pytest.mark.parametrize("absurd", ABSURD)
@pytest.mark.parametrize("after", [0, 5])
def test_an_absurd_id_of_an_interruption_silences_nobody(absurd: object, after: int) -> None:
    codec = ready_codec()
    for event_id in range(1, after + 1):
        events(codec, audio(event_id))
    events(codec, interruption(event_id=absurd))
    for event_id in range(after + 1, after + 4):
        # As the first id of a session, a large one may be meant; then the text of the next answer tells.
        events(codec, answer("It is noon.", event_id))
        assert events(codec, audio(event_id)) == [meaning.Audio(event_id, SOUND)]


@pytest.mark.parametrize("absurd", ABSURD)
def test_an_absurd_id_of_audio_does_not_make_the_next_interruption_absurd(absurd: object) -> None:
    codec = ready_codec()
    events(codec, audio(5))
    assert events(codec, audio(absurd)) == [meaning.Audio(5, SOUND)], "it is heard all the same"
    assert events(codec, interruption()) == [meaning.Interruption(5)]
    assert events(codec, audio(6)) == [meaning.Audio(6, SOUND)]


def test_ids_may_begin_anywhere() -> None:
    codec = ready_codec()
    first = 1_790_000_000_000
    assert events(codec, audio(first)) == [meaning.Audio(first, SOUND)]
    events(codec, interruption(event_id=first + 2))
    assert events(codec, audio(first + 1)) == []
    assert events(codec, audio(first + 2)) == [meaning.Audio(first + 2, SOUND)]


def test_the_text_of_a_new_answer_shows_that_an_interruption_had_an_id_of_another_kind() -> None:
    codec = ready_codec()
    events(codec, answer("One.", 3))
    events(codec, audio(3))
    events(codec, interruption(event_id=900))
    assert events(codec, audio(3)) == [], "what still comes of the old one"
    events(codec, answer("One.", 3))
    assert events(codec, audio(3)) == [], "its text again is not a new one"
    events(codec, answer("Two.", 4))
    assert events(codec, audio(3)) == []
    assert events(codec, audio(4)) == [meaning.Audio(4, SOUND)]


def test_without_texts_an_answer_is_heard_after_what_an_interrupted_one_can_still_hold() -> None:
    codec = ready_codec()
    second = bytes(range(1, 101)) * 320
    events(codec, audio(3))
    events(codec, interruption(event_id=900))
    for _ in range(round(MOST_STALE_S)):
        assert events(codec, audio(4, second)) == []
    assert events(codec, audio(4, second)) == [meaning.Audio(4, second)]
    assert events(codec, audio(5)) == [meaning.Audio(5, SOUND)]


@pytest.mark.parametrize("absurd", [1e300, 10**400, "9" * 400, -1, -(10**400)])
def test_no_absurd_id_is_handed_on(absurd: object) -> None:
    """It would be sent back with the feedback on an answer, and no JSON holds it."""
    codec = ready_codec()
    for message in (answer("x", absurd), part("x", absurd)):
        [event] = events(codec, message)
        assert isinstance(event, (meaning.Response, meaning.ResponsePart))
        assert event.event_id is None or isinstance(event.event_id, str)
        assert len(str(event.event_id)) <= MOST_ID_CHARS


def test_texts_and_ids_are_bounded() -> None:
    codec = Reader()
    payload = {"conversation_id": "c" * 10**6}
    [ready] = events(codec, metadata(**payload))
    assert isinstance(ready, common.Ready)
    assert ready.conversation_id == "c" * MOST_ID_CHARS
    long = "x" * 10**6
    [answered] = events(codec, answer(long, 1))
    assert isinstance(answered, meaning.Response)
    assert len(answered.text) == MOST_TEXT_CHARS
    corrected = {"original_agent_response": "x", "corrected_agent_response": long, "event_id": 10**400}
    message = {"type": "agent_response_correction", "agent_response_correction_event": corrected}
    [event] = events(codec, json.dumps(message))
    assert isinstance(event, meaning.ResponseCorrection)
    assert (len(event.corrected), event.event_id) == (MOST_TEXT_CHARS, None)


@pytest.mark.parametrize("event_id", [3.0, "3"])
def test_ids_in_other_clothes(event_id: object) -> None:
    assert events(ready_codec(), audio(event_id)) == [meaning.Audio(3, SOUND)]


# ---------------------------------------------------------------- ping


@pytest.mark.parametrize("event_id", [77, "evt_1", 2**70, 0])
@pytest.mark.parametrize("more", [{"ping_ms": 42}, {"ping_ms": None}, {}, {"ping_ms": "?"}])
def test_a_ping_is_answered_with_its_own_id(event_id: object, more: dict[str, object]) -> None:
    codec = Reader()
    received = codec.receive(json.dumps({"type": "ping", "ping_event": {"event_id": event_id, **more}}))
    assert [json.loads(reply) for reply in received.replies] == [{"type": "pong", "event_id": event_id}]
    assert all(isinstance(event, common.Notice) for event in received.meanings)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("user_transcript", meaning.Transcript("Turn on the light.", True, 13)),
        ("tentative_user_transcript", meaning.Transcript("Turn on", False, 13)),
        ("agent_response", meaning.Response("Done.", 14)),
        ("agent_response_correction", meaning.ResponseCorrection("One two three.", "One two", 14)),
        ("agent_chat_response_part", meaning.ResponsePart("delta", "Hel", 14)),
        ("agent_response_complete", meaning.ResponseComplete(14)),
        ("client_tool_call", common.ToolCall("get_time", "call_1", {"tz": "UTC"}, True)),
        ("interruption", meaning.Interruption(12)),
        ("client_error", common.AgentError("Invalid API key", "invalid_api_key", 1008)),
        ("error", common.AgentError("m", "missing_dynamic_variable", 1008)),
    ],
)
def test_events_in_common_terms(kind: str, wanted: object) -> None:
    assert events(ready_codec(), json.dumps(from_server(kind))) == [wanted]


INFORMATIONAL = sorted(
    set(FROM_SERVER)
    - {
        "agent_chat_response_part",
        "agent_response",
        "agent_response_complete",
        "agent_response_correction",
        "audio",
        "client_error",
        "client_tool_call",
        "conversation_initiation_metadata",
        "error",
        "interruption",
        "ping",
        "tentative_user_transcript",
        "user_transcript",
    }
)


@pytest.mark.parametrize("kind", INFORMATIONAL)
def test_everything_else_is_a_notice_with_its_fields(kind: str) -> None:
    codec = ready_codec()
    received = codec.receive(json.dumps(from_server(kind)))
    payload: dict[str, object] = next(iter(FROM_SERVER[kind].values()), {})
    assert list(received.meanings) == [common.Notice(kind, payload)]
    assert not received.replies
    assert (codec.malformed, codec.unknown) == (0, 0)


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ({"text": "", "type": "start", "event_id": "evt_1"}, meaning.ResponsePart("start", "", "evt_1")),
        ({"text": " lo", "type": "delta", "event_id": 14.0}, meaning.ResponsePart("delta", " lo", 14)),
        ({"type": "stop"}, meaning.ResponsePart("stop", "", None)),
        ({"text": "x", "type": "novel"}, meaning.ResponsePart("delta", "x", None)),
    ],
)
def test_parts_of_a_response(part: dict[str, object], wanted: object) -> None:
    message = {"type": "agent_chat_response_part", "text_response_part": part}
    assert events(ready_codec(), json.dumps(message)) == [wanted]


def test_texts_may_lack_everything() -> None:
    codec = ready_codec()
    messages = {
        "user_transcript": ("user_transcription_event", meaning.Transcript("", True)),
        "agent_response": ("agent_response_event", meaning.Response("")),
        "agent_response_correction": (
            "agent_response_correction_event",
            meaning.ResponseCorrection("", ""),
        ),
        "agent_response_complete": ("agent_response_complete_event", meaning.ResponseComplete()),
    }
    for kind, (key, wanted) in messages.items():
        assert events(codec, json.dumps({"type": kind, key: {}})) == [wanted]


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (
            {"type": "error", "message": "received 1002 (protocol error) This request exceeds your quota limit."},
            common.AgentError("This request exceeds your quota limit.", None, 1002),
        ),
        ({"type": "error", "error_event": {"code": 1011}}, common.AgentError("an error without words", None, 1011)),
        (
            {"type": "error", "error_event": {"code": 1000.0, "error_type": "max_duration_exceeded"}},
            common.AgentError("max_duration_exceeded", "max_duration_exceeded", 1000),
        ),
        ({"type": "error", "error_event": {"reason": "one\ntwo"}}, common.AgentError("one two")),
        ({"type": "client_error", "message": "flat"}, common.AgentError("flat")),
        ({"type": "error"}, common.AgentError("an error without words")),
    ],
)
def test_errors_in_every_shape(message: object, wanted: object) -> None:
    assert events(ready_codec(), json.dumps(message)) == [wanted]


# ---------------------------------------------------------------- tools


@pytest.mark.parametrize(
    ("expects", "wanted"), [({}, True), ({"expects_response": None}, True), ({"expects_response": False}, False)]
)
def test_a_tool_call_is_answered_unless_it_says_otherwise(expects: dict[str, object], wanted: bool) -> None:
    call = {"tool_name": "t", "tool_call_id": "c", **expects}
    [event] = events(ready_codec(), json.dumps({"type": "client_tool_call", "client_tool_call": call}))
    assert event == common.ToolCall("t", "c", {}, wanted)


def test_half_a_surrogate_pair_does_not_make_a_message_unreadable() -> None:
    call = {"tool_name": "t", "tool_call_id": "c", "parameters": {"a": "x\ud83d", "b": "\U0001f600"}}
    codec = ready_codec()
    [event] = events(codec, json.dumps({"type": "client_tool_call", "client_tool_call": call}))
    assert event == common.ToolCall("t", "c", {"a": "x?", "b": "\U0001f600"}, True)
    response = {"type": "agent_response", "agent_response_event": {"agent_response": "a \udc00", "event_id": 1}}
    assert events(codec, json.dumps(response).encode()) == [meaning.Response("a ?", 1)]
    assert codec.malformed == 0
    cases = (r'{"type": "agent_response", "\ud800', r'{"type": "audio", "audio_event": "\\ud800"}', r'["\ud800"]')
    for broken in cases:
        assert [type(event) for event in events(codec, broken)] == [common.Malformed]


@pytest.mark.parametrize(
    "call",
    [
        {"tool_call_id": "c"},
        {"tool_call_id": "c", "tool_name": "t", "parameters": ["a"]},
        {"tool_call_id": "c", "tool_name": "t", "parameters": "a"},
        {"tool_call_id": "c", "tool_name": "t", "parameters": "[1]"},
    ],
)
def test_a_call_that_cannot_be_understood_is_answered_with_an_error(call: dict[str, object]) -> None:
    codec = ready_codec()
    received = codec.receive(json.dumps({"type": "client_tool_call", "client_tool_call": call}))
    assert [type(event) for event in received.meanings] == [common.Malformed]
    [reply] = [json.loads(reply) for reply in received.replies]
    assert (reply["type"], reply["tool_call_id"], reply["is_error"]) == ("client_tool_result", "c", True)
    assert reply["error_type"] == "external_client"
    # It could be read: it was no call.
    assert (codec.malformed, codec.refused_calls) == (0, 1)
    unwanted = {"type": "client_tool_call", "client_tool_call": {**call, "expects_response": False}}
    assert codec.receive(json.dumps(unwanted)).replies == ()


def test_parameters_as_the_text_of_an_object_are_that_object() -> None:
    codec = ready_codec()
    call = {"tool_call_id": "c", "tool_name": "t", "parameters": '{"a": 1}'}
    [event] = events(codec, json.dumps({"type": "client_tool_call", "client_tool_call": call}))
    assert event == common.ToolCall("t", "c", {"a": 1}, True)
    assert codec.refused_calls == 0


def test_a_call_without_an_id_has_no_answer() -> None:
    codec = ready_codec()
    received = codec.receive(json.dumps({"type": "client_tool_call", "client_tool_call": {"tool_name": "t"}}))
    assert [type(event) for event in received.meanings] == [common.Malformed]
    assert not received.replies


@pytest.mark.parametrize("kind", ["agent_tool_response", "agent_tool_response_full_payload"])
@pytest.mark.parametrize(
    ("more", "hangs_up"),
    [
        ({"tool_name": "end_call"}, True),
        ({"tool_name": "end_call", "is_error": False, "is_called": True}, True),
        ({"tool_name": "end_call", "is_error": True}, False),
        ({"tool_name": "end_call", "is_called": False}, False),
        ({"tool_name": "end_call", "is_blocked": True}, False),
        ({"tool_name": "skip_turn"}, False),
    ],
)
def test_the_agent_hangs_up_with_end_call(kind: str, more: dict[str, object], hangs_up: bool) -> None:
    notice, *rest = events(ready_codec(), json.dumps({"type": kind, kind: more}))
    assert notice == common.Notice(kind, more)
    assert rest == ([common.AgentHangsUp()] if hangs_up else [])


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        ("awaiting_approval", [common.ApprovalAsked("c", "s", "write", "", {"a": 1}, 30.0)]),
        ("loading", []),
        ("success", []),
        ("failure", []),
    ],
)
def test_what_needs_approval_is_asked(state: str, asked: list[object]) -> None:
    call: dict[str, object] = {"service_id": "s", "tool_call_id": "c", "tool_name": "write", "state": state}
    call |= {"parameters": {"a": 1}, "approval_timeout_secs": 30}
    received = ready_codec().receive(json.dumps({"type": "mcp_tool_call", "mcp_tool_call": call}))
    assert received.replies == ()
    assert list(received.meanings) == [common.Notice("mcp_tool_call", call), *asked]


@pytest.mark.parametrize(
    ("asked", "taken"),
    [(None, 300), (0, 300), ("12", 12), (-7, 0), (10**400, 86400), (-(10**400), 0), ("9" * 400, 86400), ("soon", 300)],
)
def test_any_time_for_an_approval_is_taken(asked: object, taken: int) -> None:
    call = {"tool_call_id": "c", "tool_name": "write", "state": "awaiting_approval", "approval_timeout_secs": asked}
    received = ready_codec().receive(json.dumps({"type": "mcp_tool_call", "mcp_tool_call": call}))
    [approval] = [event for event in received.meanings if isinstance(event, common.ApprovalAsked)]
    assert approval.timeout_s == taken


@pytest.mark.parametrize("fault", [{"tool_name": None}, {"tool_name": ""}, {"parameters": [1]}])
def test_what_cannot_be_named_is_refused_at_once(fault: dict[str, object]) -> None:
    call = {"tool_call_id": "c", "tool_name": "write", "state": "awaiting_approval", **fault}
    received = ready_codec().receive(json.dumps({"type": "mcp_tool_call", "mcp_tool_call": call}))
    expected = {"type": "mcp_tool_approval_result", "tool_call_id": "c", "is_approved": False}
    assert [json.loads(reply) for reply in received.replies] == [expected]
    assert isinstance(received.meanings[0], common.Malformed)


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "[]",
        "5",
        '"audio"',
        "{}",
        "{",
        '{"type": 5}',
        '{"type": null}',
        '{"type": "audio"}',
        '{"type": "audio", "audio_event": null}',
        '{"type": "audio", "audio_event": []}',
        '{"type": "ping", "ping_event": {"event_id": true}}',
        '{"type": "ping", "ping_event": {"event_id": 1e999}}',
        '{"type": "interruption", "interruption_event": {"event_id": {}}}',
        '{"type": "user_transcript", "user_transcription_event": {"user_transcript": 5}}',
        '{"type": "\ud800"}',
        '{"type": "secret", "type": "ping"}',
        '{"type": "vad_score", "vad_score_event": {"vad_score": NaN}}',
        b"\xff\xfe\x00",
        b'{"type": "au\xffdio"}',
        b'{"type": "user_transcript", "user_transcription_event": {"user_transcript": "\xff"}}',
        b"\x00" * 100_000,
        "[" * 200_000,
        '{"type": "audio", "x": ' + "[" * 200_000,
        '{"type": "asr_initiation_metadata", "asr_initiation_metadata_event": ' + '{"a":' * 200_000,
        '{"type": "nobody knows", "x": ' + '{"a":' * 200_000,
    ],
)
def test_a_malformed_message_is_counted_and_survived(message: str | bytes) -> None:
    codec = ready_codec()
    [event] = events(codec, message)
    assert isinstance(event, common.Malformed)
    assert "\n" not in event.why
    assert "secret" not in event.why
    assert codec.malformed == 1
    assert events(codec, audio(1)) == [meaning.Audio(1, SOUND)]


def test_the_reason_holds_nothing_of_the_message() -> None:
    message = {"type": "audio", "audio_event": {"audio_base_64": "sk_secret sk_secret"}}
    [event] = events(ready_codec(), json.dumps(message))
    assert isinstance(event, common.Malformed)
    assert "secret" not in event.why
    assert event.why.startswith("audio: ")


def test_an_unknown_type_is_not_malformed() -> None:
    codec = ready_codec()
    assert events(codec, '{"type": "novelty", "novelty_event": {}}') == [common.Unknown("novelty")]
    [long] = events(codec, json.dumps({"type": "x" * 10_000}))
    assert isinstance(long, common.Unknown)
    assert len(long.type) < 100
    assert (codec.unknown, codec.malformed) == (2, 0)


def test_a_huge_message_is_read() -> None:
    data = bytes(20 * 1024 * 1024)
    [event] = events(ready_codec(), audio(1, data))
    assert isinstance(event, meaning.Audio)
    assert event.data == data


# ---------------------------------------------------------------- what is sent


def fresh() -> ElevenLabsCodec:
    return ElevenLabsCodec(ElevenLabs(agent_id="a"), SessionWish())


def sent(command: Command, codec: ElevenLabsCodec | None = None) -> Any:
    (message,) = (codec or fresh()).send(command, 0.0)
    return json.loads(message)


def test_every_client_message() -> None:
    codec = fresh()
    codec.receive(answer("It will rain.", 43), 0.0)
    file = Prepared("a.png", "image/png", "file_1")
    ping = {"type": "ping", "ping_event": {"event_id": 12345}}
    told = {
        "user_audio_chunk": json.loads(codec.audio(SOUND)),
        "pong": json.loads(codec.receive(json.dumps(ping), 0.0).replies[0]),
        "user_message": sent(Say("What's the weather?")),
        "user_activity": sent(Busy()),
        "contextual_update": sent(Know("The kitchen light is now on.", "lights")),
        "client_tool_result": sent(ToolDone("call_1", "21 °C", Fault.TIMEOUT)),
        "mcp_tool_approval_result": sent(Approve("call_1", True)),
        "feedback": sent(Rate("1", "like"), codec),
        "multimodal_message": sent(Say("What is this?", (file,))),
    }
    assert told == {
        kind: message for kind, message in FROM_CLIENT.items() if kind != "conversation_initiation_client_data"
    }


def test_optional_parts_of_client_messages_are_left_out() -> None:
    assert sent(Know("x")) == {"type": "contextual_update", "text": "x"}
    codec = fresh()
    codec.receive(answer("x", 1), 0.0)
    assert sent(Rate("1", None), codec) == {"type": "feedback", "event_id": 1, "score": None}


def test_the_official_sdk_writes_the_same_messages() -> None:
    files = Prepared("a", "image/png", "a"), Prepared("b", "image/png", "b")
    pairs: list[tuple[Command, Any]] = [
        (Say("hi"), sdk.UserMessageClientToOrchestratorEvent("hi")),
        (Busy(), sdk.UserActivityClientToOrchestratorEvent()),
        (Know("hi"), sdk.ContextualUpdateClientToOrchestratorEvent("hi")),
        (Say("hi", files), sdk.MultimodalMessageClientToOrchestratorEvent(text="hi", file_ids=["a", "b"])),
    ]
    for ours, theirs in pairs:
        assert sent(ours) == json.loads(json.dumps(theirs.to_dict()))


def test_half_a_surrogate_pair_does_not_stop_a_message() -> None:
    assert sent(Say("a\ud800b"))["text"] == "a?b"
    assert sent(ToolDone("c", "\udcff"))["result"] == "?"


@pytest.mark.parametrize(
    ("fault", "error_type"),
    [
        (Fault.TIMEOUT, "client_timeout"),
        (Fault.CANCELLED, "user_rejected"),
        (Fault.DENIED, "user_rejected"),
        (Fault.SERVER, "external_server"),
        (Fault.NOT_AUTHORISED, "customer_auth"),
        (Fault.FAILED, "external_client"),
        (Fault.BUSY, "external_client"),
    ],
)
def test_a_failed_call_has_the_servers_word_for_its_reason(fault: Fault, error_type: str) -> None:
    told = sent(ToolDone("c", "no", fault))
    assert (told["is_error"], told["error_type"]) == (True, error_type)
    assert sent(ToolDone("c", "21 °C")) == {
        "type": "client_tool_result",
        "tool_call_id": "c",
        "result": "21 °C",
        "is_error": False,
    }


def test_the_agent_speaks_of_what_the_device_tells_it_by_a_message_that_is_not_the_persons() -> None:
    told = sent(SpeakNow("Tell the person."))
    assert told == {
        "type": "user_message",
        "text": "(This is a message of the device, not of the person. Tell the person.)",
    }


@pytest.mark.parametrize(
    "command", [Cut((), "server"), Cut((), "local"), SkipGreeting(), EndOfTurn(), KeepAlive(), Rate("1", "like")]
)
def test_what_the_protocol_does_not_know_is_no_message(command: Command) -> None:
    assert list(fresh().send(command, 0.0)) == []


def test_the_conversation_so_far_is_told_right_after_the_metadata() -> None:
    history = [Said("person", "And tomorrow?", 70.0), Said("agent", "It will rain", 65.0, is_cut=True)]
    codec = ElevenLabsCodec(ElevenLabs(agent_id="a"), SessionWish(history=history))
    received = codec.receive(metadata(conversation_id="c"), 0.0)
    (update,) = map(json.loads, received.replies)
    assert update["type"] == "contextual_update"
    assert "65 seconds ago" in update["text"].splitlines()[0]
    assert update["text"].splitlines()[1:] == ["user: And tomorrow?", "agent: It will rain … (interrupted)"]
    assert list(codec.receive(metadata(conversation_id="d"), 0.0).replies) == []


@pytest.mark.parametrize(
    ("configured", "sent"), [("auto", socket.gethostname()), ("off", None), ("kitchen", "kitchen")]
)
def test_the_device_names_itself(configured: str, sent: str | None) -> None:
    (message,) = ElevenLabsAgent(ElevenLabs(agent_id="a", user_id=configured), None).session(SessionWish()).opening()
    assert json.loads(message).get("user_id") == sent
