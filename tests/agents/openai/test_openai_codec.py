"""The meaning of each message for the codec, and the messages that it writes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from realtime_session import CLIENT, FORMAT, OWN, SECOND, Session, session, texts, truncations

from parleyd.agents import events, pictures
from parleyd.agents.commands import (
    Approve,
    Busy,
    EndOfTurn,
    KeepAlive,
    Know,
    Offer,
    Prepared,
    Rate,
    Say,
    SkipGreeting,
    SpeakNow,
    ToolDone,
)
from parleyd.agents.events import Token, Why
from parleyd.agents.provider import Interrupts, Said, SessionWish, ToolSpec
from parleyd.audio.pcm import AudioFormat
from parleyd.config.openai_section import McpServer, OpenAI, Transcription, Truncation, TurnDetection

# ---------------------------------------------------------------- the session


def wanted(config: OpenAI, wish: SessionWish | None = None) -> dict[str, Any]:
    found = Session(config, wish, ready=False).opening[0]
    assert found["type"] == "session.update"
    asked: dict[str, Any] = found["session"]
    return asked


def test_nothing_that_is_not_configured_is_asked_for() -> None:
    assert wanted(OpenAI(base_url=OWN)) == {"type": "realtime", "instructions": "Be brief."}


def test_at_openai_its_transcription_is_asked_for() -> None:
    asked = wanted(OpenAI(language="de"))
    assert asked["audio"] == {"input": {"transcription": {"model": "gpt-transcribe", "language": "de"}}}
    assert "code de" in asked["instructions"]


def test_everything_that_is_set_is_in_its_place() -> None:
    config = OpenAI(
        base_url=OWN,
        model="m",
        model_in="session",
        voice="marin",
        speed=1.1,
        transcription=Transcription(model="t", prompt="parleyd"),
        turn_detection=TurnDetection(
            type="server", threshold=0.4, prefix_padding_ms=200, silence_duration_ms=600, eagerness="low"
        ),
        noise_reduction="far_field",
        reasoning_effort="low",
        max_output_tokens=500,
        truncation=Truncation(token_limit=8000),
        audio_format="pcmu",
        mcp={"home": McpServer(url="https://home/mcp", allowed_tools=["light"], without_approval=["look"])},
    )
    tools = [ToolSpec("get_time", "The time.", {}, 10.0)]
    assert wanted(config, SessionWish(interrupts=Interrupts.CLIENT, tools=tools)) == {
        "type": "realtime",
        "model": "m",
        "instructions": "Be brief.",
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.4,
                    "prefix_padding_ms": 200,
                    "silence_duration_ms": 600,
                    "interrupt_response": False,
                },
                "noise_reduction": {"type": "far_field"},
                "transcription": {"model": "t", "prompt": "parleyd"},
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.1},
        },
        "tools": [
            {
                "type": "function",
                "name": "get_time",
                "description": "The time.",
                "parameters": {"type": "object", "properties": {}},
            },
            {
                "type": "mcp",
                "server_label": "home",
                "server_url": "https://home/mcp",
                "allowed_tools": ["light"],
                "require_approval": {"never": {"tool_names": ["look"]}},
            },
        ],
        "reasoning": {"effort": "low"},
        "max_output_tokens": 500,
        "truncation": {
            "type": "retention_ratio",
            "retention_ratio": 0.8,
            "token_limits": {"post_instructions": 8000},
        },
    }


@pytest.mark.parametrize(
    ("detection", "interrupts", "expected"),
    [
        (TurnDetection(), Interrupts.SERVER, "nothing"),
        (TurnDetection(), Interrupts.CLIENT, {"type": "server_vad", "interrupt_response": False}),
        (TurnDetection(), Interrupts.NEVER, {"type": "server_vad", "interrupt_response": False}),
        (TurnDetection(type="server"), Interrupts.SERVER, {"type": "server_vad"}),
        (
            TurnDetection(type="semantic", eagerness="high", threshold=0.5),
            Interrupts.CLIENT,
            {"type": "semantic_vad", "eagerness": "high", "interrupt_response": False},
        ),
        (TurnDetection(type="manual"), Interrupts.CLIENT, None),
    ],
)
def test_interruptions_follow_the_wish(detection: TurnDetection, interrupts: Interrupts, expected: object) -> None:
    asked = wanted(OpenAI(base_url=OWN, turn_detection=detection), SessionWish(interrupts=interrupts))
    assert asked.get("audio", {}).get("input", {}).get("turn_detection", "nothing") == expected


def test_what_is_to_be_off_is_null() -> None:
    config = OpenAI(noise_reduction="off", transcription=Transcription(mode="off"))
    assert wanted(config)["audio"]["input"] == {"noise_reduction": None, "transcription": None}


def test_a_session_in_writing() -> None:
    assert wanted(OpenAI(base_url=OWN), SessionWish(text_only=True))["output_modalities"] == ["text"]


def test_a_flat_session() -> None:
    config = OpenAI(base_url=OWN, flat_session=True, voice="eve", turn_detection=TurnDetection(type="server"))
    asked = wanted(config)
    assert (asked["voice"], asked["turn_detection"]) == ("eve", {"type": "server_vad"})
    assert "audio" not in asked


def test_the_conversation_so_far_becomes_items() -> None:
    history = [Said("person", "Hi.", 20), Said("agent", "Once upon a", 10, is_cut=True)]
    items = [message["item"] for message in Session(wish=SessionWish(history=history)).opening[1:]]
    assert [(item["role"], item["content"]) for item in items] == [
        ("user", [{"type": "input_text", "text": "Hi."}]),
        ("assistant", [{"type": "output_text", "text": "Once upon a …"}]),
    ]
    assert all(len(item["id"]) <= 32 for item in items)
    assert len({item["id"] for item in items}) == 2


def test_ready_with_the_session_that_is_in_force() -> None:
    found = Session(ready=False, unix_s=1000.0)
    found.receive("session.created", session={"id": "sess_1"})
    assert not found.of(events.Ready)
    found.receive("session.updated", session=session(expires_at=4600))
    pcm = AudioFormat("pcm", 24_000)
    assert found.of(events.Ready) == [events.Ready("sess_1", pcm, pcm, 3600.0)]
    found.receive("session.updated", session=session())
    assert len(found.of(events.Ready)) == 1


@pytest.mark.parametrize(
    ("told", "configured", "expected"),
    [
        (None, "pcmu", AudioFormat("ulaw", 8_000)),
        ({"type": "audio/pcm", "rate": 24000}, None, AudioFormat("pcm", 24_000)),
        ({"type": "audio/pcm", "rate": None}, None, AudioFormat("pcm", 24_000)),
        ({"type": "audio/pcm", "rate": "16000"}, None, AudioFormat("pcm", 16_000)),
        ({"type": "audio/pcmu"}, None, AudioFormat("ulaw", 8_000)),
        ({"type": "audio/pcma"}, None, AudioFormat("alaw", 8_000)),
        ("pcm16", None, AudioFormat("pcm", 24_000)),
        ("g711_alaw", None, AudioFormat("alaw", 8_000)),
        ({"type": "audio/opus"}, None, None),
        ({"type": "audio/pcm", "rate": 1}, None, None),
    ],
)
def test_formats_of_every_dialect(told: object, configured: Any, expected: AudioFormat | None) -> None:
    found = Session(OpenAI(base_url=OWN, audio_format=configured), ready=False)
    part = {"format": told}
    found.receive("session.updated", session={"audio": {"input": part, "output": part}})
    if expected is None:
        [error] = found.of(events.AgentError)
        assert (error.hopeless, error.kind) == (True, "unsupported_format")
    else:
        [ready] = found.of(events.Ready)
        assert (ready.input_format, ready.output_format) == (expected, expected)


FORMATS = {"input": {"format": FORMAT}, "output": {"format": FORMAT}}


@pytest.mark.parametrize(
    "answer",
    [
        ("session.updated", {"session": {"id": "sess_1", "audio": {}}}),
        ("session.updated", {"session": {"id": "sess_1", "audio": FORMATS}}),
        ("error", {"error": {"message": "Unknown parameter", "event_id": "update-2"}}),
        ("error", {"error": {"message": "Unknown parameter"}}),
    ],
)
def test_a_server_that_tells_no_formats_is_asked_for_them_and_may_refuse(answer: tuple[str, dict[str, Any]]) -> None:
    found = Session(ready=False)
    found.receive("session.created", session={"id": "sess_1"})
    found.receive("session.updated", session={"id": "sess_1", "expires_at": None})
    assert not found.of(events.Ready), "its sound could have any rate"
    _, [asked] = found.take()
    assert asked == {
        "type": "session.update",
        "event_id": "update-2",
        "session": {"type": "realtime", "audio": FORMATS},
    }
    found.receive(answer[0], **answer[1])
    pcm = AudioFormat("pcm", 24_000)
    assert found.of(events.Ready) == [events.Ready("sess_1", pcm, pcm, None)]
    assert not found.of(events.AgentError)
    found.receive("session.updated", session={"id": "sess_1"})
    assert len(found.of(events.Ready)) == 1
    assert not found.sent


def test_a_server_that_closes_while_it_is_asked_for_formats_is_judged_by_that() -> None:
    found = Session(ready=False)
    found.receive("session.updated", session={"id": "sess_1"})
    found.error("session_limit_reached", "All slots are in use")
    assert not found.of(events.Ready)
    assert [error.kind for error in found.of(events.AgentError)] == ["session_limit_reached"]


# ---------------------------------------------------------------- what the server did not take


def in_force(**changes: object) -> dict[str, object]:
    audio: dict[str, object] = {
        "input": {
            "format": FORMAT,
            "turn_detection": {"type": "server_vad", "interrupt_response": False},
            "transcription": {"model": "t"},
            "noise_reduction": {"type": "near_field"},
        },
        "output": {"format": FORMAT, "voice": "marin", "speed": 1.25},
    }
    whole: dict[str, object] = {"id": "s", "model": "m-2026", "instructions": "Be brief.", "audio": audio}
    whole["tools"] = [{"name": "t"}]
    for path, value in changes.items():
        place: Any = whole
        *parents, name = path.split("__")
        for parent in parents:
            place = place[parent]
        place[name] = value
    return whole


@pytest.mark.parametrize(
    ("changes", "wanted", "expected"),
    [
        ({}, {}, []),
        # What is not told may have been taken.
        ({"audio__input": {"format": FORMAT}, "audio__output": {"format": FORMAT}, "tools": None}, {}, []),
        ({"model": "other"}, {}, [("openai.model", "m", "other")]),
        ({"audio__output__voice": "cedar"}, {}, [("openai.voice", "marin", "cedar")]),
        ({"audio__output__voice": {"id": "cedar"}}, {}, [("openai.voice", "marin", "cedar")]),
        ({"audio__output__speed": 1.0}, {}, [("openai.speed", "1.25", "1")]),
        (
            {"audio__input__turn_detection": {"type": "semantic_vad", "interrupt_response": True}},
            {},
            [
                ("openai.turn_detection", "server_vad", "semantic_vad"),
                ("barge_in.mode", "no interruption by the server", "the server interrupts"),
            ],
        ),
        ({"audio__input__turn_detection": {"type": "none"}}, {"turn_detection": TurnDetection(type="manual")}, []),
        (
            {},
            {"turn_detection": TurnDetection(type="manual")},
            [("openai.turn_detection", "manual", "server_vad")],
        ),
        ({"audio__input__transcription": {"model": "u"}}, {}, [("openai.transcription.model", "t", "u")]),
        ({"audio__input__noise_reduction": {"type": "x"}}, {}, [("openai.noise_reduction", "near_field", "x")]),
        ({"instructions": ""}, {}, [("openai.instructions", "the configured text", "none")]),
        ({"tools": []}, {}, [("tools", "t", "0 of 1 tools")]),
        ({"tools": ["odd", {"name": "t"}]}, {}, []),
        # The flat form.
        (
            {"voice": "cedar", "audio__output": {"format": FORMAT}},
            {"flat_session": True},
            [("openai.voice", "marin", "cedar")],
        ),
    ],
)
def test_the_session_in_force_is_compared_with_the_one_that_was_asked_for(
    changes: dict[str, object], wanted: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    fields: dict[str, Any] = {
        "model": "m",
        "voice": "marin",
        "speed": 1.25,
        "turn_detection": TurnDetection(type="server"),
        "transcription": Transcription(model="t"),
        "noise_reduction": "near_field",
        "model_in": "session",
    }
    tool = ToolSpec("t", "Does it.", {}, 1.0)
    config = OpenAI(base_url=OWN, **{**fields, **wanted})
    found = Session(config, SessionWish(greet=False, interrupts=Interrupts.CLIENT, tools=[tool]), ready=False)
    found.receive("session.updated", session=in_force(**changes))
    assert [type(event) for event in found.events[:1]] == [events.Ready]
    assert [(event.key, event.wanted, event.got) for event in found.of(events.NotTaken)] == expected


def test_changed_tools_are_told_in_the_session() -> None:
    found = Session(OpenAI(base_url=OWN, mcp={"home": McpServer(url="https://h/mcp")}))
    [update] = found.send(Offer((ToolSpec("t", "Does it.", {}, 1.0),)))
    assert update["type"] == "session.update"
    assert [tool.get("name") or tool["server_label"] for tool in update["session"]["tools"]] == ["t", "home"]
    assert set(update["session"]) == {"type", "tools"}
    found.error("invalid_value", "no such tool", update["event_id"])
    [refused] = found.of(events.NotTaken)
    assert (refused.key, "no such tool" in refused.got) == ("tools", True)
    assert not found.of(events.AgentError), "it must not explain a later close"
    found = Session()
    [update] = found.send(Offer(()))
    assert update["session"]["tools"] == [], "a session without tools has to be told so"


def test_the_picture_of_a_tool_follows_its_result() -> None:
    found = Session()
    found.created()
    found.call()
    found.done()
    picture = Prepared("camera.jpg", "image/jpeg", data=b"\xff\xd8\xff")
    sent = found.send(ToolDone("call_1", "It is shown.", attachments=(picture,)))
    assert [message["type"] for message in sent] == ["conversation.item.create"] * 2 + ["response.create"]
    result, shown, _ = sent
    assert result["item"]["type"] == "function_call_output"
    assert [part["type"] for part in shown["item"]["content"]] == ["input_image"]
    assert shown["item"]["content"][0]["image_url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("expires_at", [None, "soon", 0, -5, 10**15, float("1e308")])
def test_an_end_that_cannot_be_is_no_end(expires_at: object) -> None:
    found = Session(ready=False, unix_s=1000.0)
    found.receive("session.updated", session=session(expires_at=expires_at))
    assert found.of(events.Ready)[0].ends_in_s is None


def test_a_clock_that_is_not_set_knows_no_end() -> None:
    found = Session(ready=False, unix_s=0.0)
    found.receive("session.updated", session=session(expires_at=4600))
    assert found.of(events.Ready)[0].ends_in_s is None


# ---------------------------------------------------------------- answers


def test_an_answer_from_its_beginning_to_its_end() -> None:
    found = Session()
    found.answer()
    assert [type(event) for event in found.events] == [
        events.AnswerBegins,
        events.AgentAudio,
        events.AnswerText,
        events.AnswerText,
        events.AnswerTextEnds,
        events.AnswerEnds,
    ]
    assert texts(found.events) == ["One two three four."]
    assert found.of(events.AgentAudio)[0].data == SECOND
    assert {getattr(event, "answer", None) for event in found.events} == {"resp_1"}
    assert found.sent == []


def test_beta_names_are_read() -> None:
    found = Session()
    found.created()
    ids = {"response_id": "resp_1", "item_id": "item_1"}
    found.receive("response.audio.delta", delta=base64.b64encode(SECOND).decode(), **ids)
    found.receive("response.audio_transcript.delta", delta="Hi", **ids)
    found.receive("response.audio_transcript.done", transcript="Hi there.", **ids)
    found.receive("response.audio.done", **ids)
    found.done()
    assert texts(found.events) == ["Hi there."]
    assert len(found.of(events.AgentAudio)) == 1
    assert found.codec.unknown == found.codec.malformed == 0


def test_an_answer_in_writing() -> None:
    found = Session(wish=SessionWish(text_only=True))
    found.created()
    for piece in ("It is ", "noon."):
        found.receive("response.output_text.delta", response_id="resp_1", item_id="i", delta=piece)
    found.receive("response.output_text.done", response_id="resp_1", item_id="i", text="It is noon.")
    found.done()
    assert [(event.text, event.final) for event in found.of(events.AnswerText)] == [
        ("It is ", False),
        ("noon.", False),
        ("It is noon.", True),
    ]


def test_a_text_whose_end_is_not_told_ends_with_its_answer() -> None:
    found = Session()
    found.created()
    found.receive("response.output_audio_transcript.delta", response_id="resp_1", item_id="i", delta="It is")
    found.receive("response.output_audio_transcript.delta", response_id="resp_1", item_id="i", delta=" noon.")
    found.done()
    assert texts(found.events) == ["It is noon."]


def test_a_text_that_is_told_only_with_the_end() -> None:
    found = Session()
    found.created()
    content = [{"type": "output_audio", "transcript": "It is noon."}]
    found.done(output=[{"id": "i", "type": "message", "content": content}])
    assert texts(found.events) == ["It is noon."]


def test_a_response_that_was_not_announced_begins_with_its_first_message() -> None:
    found = Session()
    found.audio("resp_9")
    assert found.of(events.AnswerBegins) == [events.AnswerBegins("resp_9")]
    found.done("resp_9")
    found.send(Say("Hi."))
    assert found.types() == ["conversation.item.create", "response.create"]


def test_responses_without_ids() -> None:
    found = Session()
    for _ in range(2):
        found.receive("response.created", response={})
        found.receive("response.output_audio.delta", delta=base64.b64encode(SECOND).decode())
        found.receive("response.done", response={})
    assert len({event.answer for event in found.of(events.AnswerBegins)}) == 2
    assert len(found.of(events.AnswerEnds)) == 2


@pytest.mark.parametrize(
    ("status", "why"), [("completed", Why.COMPLETE), ("incomplete", Why.INCOMPLETE), ("cancelled", Why.CANCELLED)]
)
def test_how_an_answer_ended(status: str, why: Why) -> None:
    found = Session(wish=CLIENT)
    found.created()
    found.done(status=status, status_details={"type": status, "reason": "max_output_tokens"})
    assert found.of(events.AnswerEnds) == [events.AnswerEnds("resp_1", why)]


@pytest.mark.parametrize(
    ("error", "retry_after_s", "word"),
    [
        (None, 5.0, "no reason"),
        ({"code": "insufficient_quota", "message": "You exceeded your current quota."}, None, "credit"),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 1.5s."}, 1.5, "limit"),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 250ms."}, 0.25, "limit"),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 9m."}, 60.0, "limit"),
        ({"code": "rate_limit_exceeded", "message": "Too much."}, 7.0, "limit"),
        ({"type": "server_error", "message": "Something broke with sk-secret-key."}, 5.0, "broke"),
    ],
)
def test_an_answer_that_failed_is_told(error: object, retry_after_s: float | None, word: str) -> None:
    found = Session(secrets=["sk-secret-key"])
    found.receive("rate_limits.updated", rate_limits=[{"name": "tokens", "reset_seconds": 7}])
    found.created()
    found.done(status="failed", status_details={"type": "failed", "error": error})
    [failed] = found.of(events.AnswerFailed)
    assert (failed.answer, failed.retry_after_s) == ("resp_1", retry_after_s)
    assert word in failed.reason
    assert "secret" not in failed.reason
    assert not found.of(events.AnswerEnds)


# ---------------------------------------------------------------- the person


def test_positions_of_the_persons_speech() -> None:
    found = Session()
    found.hear(3)
    found.speech(start_ms=200)
    found.spoke(end_ms=900)
    assert found.events == [events.PersonHeard(200), events.PersonPaused(900), events.WordsExpected("user_1")]
    found.created()
    assert not found.of(events.SpeechTaken), "with the line the answer would be lost, and the question with it"
    found.audio()
    found.done()
    assert found.of(events.SpeechTaken) == [events.SpeechTaken(900)]


def test_an_utterance_that_comes_later_is_not_taken_with_the_first() -> None:
    found = Session()
    found.hear(1)
    found.speech()
    found.receive("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="user_1")
    found.hear(2)
    found.receive("input_audio_buffer.committed", item_id="user_1")
    found.answer()
    assert found.of(events.SpeechTaken) == [events.SpeechTaken(900)]


@pytest.mark.parametrize("told", [None, 10**9, "x", -3])
def test_a_position_outside_of_the_sound_is_not_believed(told: object) -> None:
    found = Session()
    found.hear(1)
    found.receive("input_audio_buffer.speech_stopped", audio_end_ms=told, item_id="u")
    found.receive("input_audio_buffer.committed", item_id="u")
    found.answer()
    [taken] = found.of(events.SpeechTaken)
    assert 0 <= taken.until_ms <= 1000


def test_what_was_taken_is_never_given_back() -> None:
    found = Session()
    found.hear(3)
    found.spoke("user_1", end_ms=2000)
    found.answer("resp_1")
    found.spoke("user_2", end_ms=1000)
    found.answer("resp_2")
    assert [event.until_ms for event in found.of(events.SpeechTaken)] == [2000, 2000]


def test_transcripts_belong_to_their_utterances() -> None:
    found = Session()
    name = "conversation.item.input_audio_transcription"
    found.receive(f"{name}.delta", item_id="u2", delta="And ")
    found.receive(f"{name}.delta", item_id="u2", delta="tomorrow?")
    found.receive(f"{name}.completed", item_id="u2", transcript="And tomorrow?")
    found.receive(f"{name}.completed", item_id="u1", transcript="What is the weather?")
    found.receive(f"{name}.updated", item_id="u3", transcript="Than")
    found.receive(f"{name}.failed", item_id="u4", error={"message": "too short"})
    assert found.of(events.UserTranscript) == [
        events.UserTranscript("u2", "And", final=False),
        events.UserTranscript("u2", "And tomorrow?", final=False),
        events.UserTranscript("u2", "And tomorrow?", final=True),
        events.UserTranscript("u1", "What is the weather?", final=True),
        events.UserTranscript("u3", "Than", final=False),
    ]
    assert found.of(events.NotTranscribed) == [events.NotTranscribed("u4", "too short")]


_WORDS = "conversation.item.input_audio_transcription"
_DELTA = (f"{_WORDS}.delta", {"delta": "What"})
_UPDATED = (f"{_WORDS}.updated", {"transcript": "What is"})
_DONE = (f"{_WORDS}.completed", {"transcript": "What is it?"})
_EMPTY = (f"{_WORDS}.completed", {"transcript": ""})
_FAILED = (f"{_WORDS}.failed", {"error": {"message": "noise"}})
_COMMITTED: tuple[str, dict[str, object]] = ("input_audio_buffer.committed", {})
_EXPECTED, _MISSING = events.WordsExpected("u"), events.NotTranscribed("u", "noise")
_PIECE = events.UserTranscript("u", "What", final=False)
_WHOLE = events.UserTranscript("u", "What is it?", final=True)
_NO_WORDS = events.UserTranscript("u", "", final=True)


@pytest.mark.parametrize(
    ("came", "meant"),
    [
        ([_COMMITTED, _DELTA, _DONE], [_EXPECTED, _PIECE, _WHOLE]),
        # Late pieces of words that are told already.
        ([_COMMITTED, _DONE, _DELTA, _UPDATED], [_EXPECTED, _WHOLE]),
        # Told twice, and told to be missing after that.
        ([_COMMITTED, _DONE, _DONE, _FAILED], [_EXPECTED, _WHOLE]),
        # Missing, and then there after all, once.
        ([_COMMITTED, _FAILED, _FAILED, _DONE, _FAILED, _DONE], [_EXPECTED, _MISSING, _WHOLE]),
        ([_COMMITTED, _DELTA, _FAILED, _DELTA], [_EXPECTED, _PIECE, _MISSING]),
        # Before the server tells that it has taken the utterance.
        ([_DELTA, _DONE, _COMMITTED], [_PIECE, _WHOLE]),
        ([_FAILED, _COMMITTED, _DONE], [_MISSING, _WHOLE]),
        ([_COMMITTED, _EMPTY, _DONE], [_EXPECTED, _NO_WORDS]),
        ([_COMMITTED], [_EXPECTED]),
    ],
)
def test_words_that_come_in_any_order_are_told_once(
    came: list[tuple[str, dict[str, object]]], meant: list[events.AgentEvent]
) -> None:
    found = Session()
    for kind, fields in came:
        found.receive(kind, item_id="u", **fields)
    kinds = (events.WordsExpected, events.UserTranscript, events.NotTranscribed)
    assert [event for event in found.events if isinstance(event, kinds)] == meant


def test_what_an_utterance_has_cost_counts_each_time() -> None:
    found = Session()
    used = {"type": "duration", "seconds": 1.0}
    for _ in range(2):
        found.receive(f"{_WORDS}.completed", item_id="u", transcript="Hi", usage=used)
    assert len(found.of(events.Spent)) == 2


def test_where_nothing_is_transcribed_no_words_are_expected() -> None:
    found = Session(OpenAI(base_url=OWN, transcription=Transcription(mode="off")))
    found.receive("input_audio_buffer.committed", item_id="u")
    assert not found.of(events.WordsExpected)


def test_the_memory_of_transcripts_is_bounded() -> None:
    found = Session()
    for number in range(200):
        found.receive(f"{_WORDS}.completed", item_id=f"u{number}", transcript="Hi")
    found.receive(f"{_WORDS}.completed", item_id="u199", transcript="Hi")
    assert len(found.of(events.UserTranscript)) == 200


def test_texts_that_recognisers_invent_prove_nothing() -> None:
    found = Session()
    name = "conversation.item.input_audio_transcription.completed"
    found.receive(name, item_id="u1", transcript=" Thank you for watching! ")
    found.receive(name, item_id="u2", transcript="Thank you.")
    assert [event.is_understood for event in found.of(events.UserTranscript)] == [False, True]


# ---------------------------------------------------------------- interruptions


def test_the_server_interrupts() -> None:
    """It cancels by itself; we only tell what was heard. Sound that still comes is dropped, the text is not."""
    found = Session()
    found.created()
    found.audio()
    found.speech()
    assert found.of(events.Interrupted) == [events.Interrupted("resp_1")]
    assert truncations(found.cut(("resp_1", 400))) == [("item_1", 400)]
    found.take()
    found.audio()
    found.text("One two")
    found.done(status="cancelled", status_details={"reason": "turn_detected"})
    assert not found.of(events.AgentAudio)
    assert not found.of(events.Interrupted)
    assert texts(found.events) == ["One two"]
    assert found.of(events.AnswerEnds) == [events.AnswerEnds("resp_1", Why.CANCELLED)]
    assert found.sent == []


def test_this_side_interrupts() -> None:
    found = Session(wish=CLIENT)
    found.created()
    found.audio()
    found.speech()
    assert not found.of(events.Interrupted)
    messages = found.cut(("resp_1", 400), by="local")
    assert truncations(messages) == [("item_1", 400)]
    assert [m["response_id"] for m in messages if m["type"] == "response.cancel"] == ["resp_1"]
    found.take()
    found.audio()
    assert not found.of(events.AgentAudio)
    assert found.cut(by="local") == []


def test_an_answer_that_was_over_is_not_cancelled() -> None:
    found = Session(wish=CLIENT)
    found.answer()
    messages = found.cut(("resp_1", 400), by="local")
    assert [message["type"] for message in messages] == ["conversation.item.truncate"]


def test_every_queued_answer_is_truncated() -> None:
    found = Session()
    found.answer("resp_1", "item_1", seconds=2)
    found.answer("resp_2", "item_2")
    found.speech()
    messages = found.cut(("resp_1", 700), ("resp_2", 0))
    assert truncations(messages) == [("item_1", 700), ("item_2", 0)]


def test_every_item_of_an_answer_is_truncated_by_itself() -> None:
    found = Session()
    found.created()
    found.audio(item="item_1")
    found.receive("response.output_audio.done", response_id="resp_1", item_id="item_1")
    found.audio(item="item_2")
    found.audio(item="item_3")
    found.done()
    assert truncations(found.cut(("resp_1", 1250), total_ms=3000)) == [("item_2", 250), ("item_3", 0)]


@pytest.mark.parametrize(("heard_ms", "expected"), [(1000, []), (5000, []), (999, [("item_1", 999)])])
def test_what_was_wholly_heard_is_not_truncated(heard_ms: int, expected: list[tuple[str, int]]) -> None:
    found = Session()
    found.answer()
    assert truncations(found.cut(("resp_1", heard_ms))) == expected


def test_what_was_heard_is_clamped_to_what_was_received() -> None:
    """The answer still runs, and the server may have made more of it."""
    found = Session()
    found.created()
    found.audio()
    assert truncations(found.cut(("resp_1", 5000))) == [("item_1", 1000)]


def test_an_answer_without_sound_is_not_truncated() -> None:
    found = Session()
    found.created()
    found.receive("response.output_item.added", response_id="resp_1", item={"id": "item_1", "type": "message"})
    assert truncations(found.cut(("resp_1", 0))) == []


def test_nobody_is_interrupted_when_nothing_is_heard() -> None:
    found = Session()
    found.answer()
    found.now_s += 60.0
    found.speech()
    assert not found.of(events.Interrupted)


def test_an_answer_that_still_waits_for_the_speaker_is_interrupted() -> None:
    """It came faster than real time."""
    found = Session()
    found.answer(seconds=30)
    found.now_s += 25.0
    found.speech()
    assert found.of(events.Interrupted) == [events.Interrupted("resp_1")]


def test_a_server_that_tells_an_interruption_only_by_the_end() -> None:
    found = Session()
    found.created()
    found.audio()
    found.done(status="cancelled", status_details={"reason": "turn_detected"})
    assert found.of(events.Interrupted) == [events.Interrupted("resp_1")]


def test_sound_of_another_answer_is_not_dropped() -> None:
    found = Session()
    found.created("resp_1")
    found.audio("resp_1")
    found.speech()
    found.cut(("resp_1", 100))
    found.done("resp_1", status="cancelled")
    found.spoke()
    found.created("resp_2")
    found.take()
    found.audio("resp_1")
    found.audio("resp_2", "item_2")
    assert [event.answer for event in found.of(events.AgentAudio)] == ["resp_2"]


# ---------------------------------------------------------------- requests for responses


def test_a_typed_text_waits_for_the_end_of_the_answer() -> None:
    found = Session()
    found.created()
    found.audio()
    found.cut(("resp_1", 300), by="local")
    found.take()
    found.send(Say("Stop. What time is it?"))
    assert found.types() == ["conversation.item.create"]
    found.done(status="cancelled", status_details={"reason": "client_cancelled"})
    assert found.types() == ["conversation.item.create", "response.create"]
    [item, create] = found.sent
    assert item["item"]["content"] == [{"type": "input_text", "text": "Stop. What time is it?"}]
    assert create["event_id"]
    assert not found.of(events.Interrupted)


def test_a_typed_text_interrupts_an_answer_without_sound() -> None:
    found = Session(wish=SessionWish(text_only=True))
    found.created()
    assert [m["type"] for m in found.send(Say("Stop."))] == ["response.cancel", "conversation.item.create"]
    found.done(status="cancelled")
    assert found.types()[-1] == "response.create"


def test_one_request_at_a_time() -> None:
    found = Session()
    found.send(Say("One."))
    found.send(Say("Two."))
    assert found.types().count("response.create") == 1
    found.created()
    found.done()
    assert found.types().count("response.create") == 2
    found.created("resp_2")
    found.done("resp_2")
    assert found.types().count("response.create") == 2


def test_every_request_has_an_id_of_its_own() -> None:
    found = Session()
    for number in range(3):
        found.send(Say("Hi."))
        found.created(f"r{number}")
        found.done(f"r{number}")
    ids = [message["event_id"] for message in found.sent if message["type"] == "response.create"]
    assert len(ids) == len(set(ids)) == 3


@pytest.mark.parametrize("quotes", [True, False])
def test_a_refused_request_is_made_again(quotes: bool) -> None:
    """The server had begun a response of its own, which does not answer the text: it came later."""
    found = Session()
    found.send(Say("Hi."))
    create = found.sent[-1]
    found.created("resp_own")
    code = "conversation_already_has_active_response"
    found.error(
        code if quotes else None, f"{code}: already has an active response", create["event_id"] * quotes or None
    )
    assert not found.of(events.AgentError)
    found.done("resp_own")
    assert found.types().count("response.create") == 2


def test_a_refused_request_that_was_answered_is_not_made_again() -> None:
    """The server had taken the text before it began a response of its own."""
    found = Session()
    found.send(Say("Hi."))
    item, create = found.sent
    found.acknowledge(item["item"]["id"])
    found.created("resp_own")
    found.error("conversation_already_has_active_response", event_id=create["event_id"])
    found.done("resp_own")
    assert found.types().count("response.create") == 1


def test_a_refusal_before_the_response_is_told() -> None:
    found = Session()
    found.send(Say("Hi."))
    found.error("conversation_already_has_active_response", event_id=found.sent[-1]["event_id"])
    found.created("resp_own")
    found.done("resp_own")
    assert found.types().count("response.create") == 2


def test_a_request_that_fails_for_another_reason_is_told() -> None:
    found = Session()
    found.send(Say("Hi."))
    found.error("insufficient_quota", "No quota.", found.sent[-1]["event_id"])
    [failed] = found.of(events.AnswerFailed)
    assert (failed.answer, failed.retry_after_s) == (None, None)
    found.send(Say("Hi."))
    assert found.types().count("response.create") == 2


def test_nothing_is_asked_for_while_the_person_speaks() -> None:
    found = Session()
    found.speech()
    found.send(Say("Hi."))
    assert "response.create" not in found.types()
    found.spoke()
    assert "response.create" in found.types()


def test_a_waiting_request_that_another_response_answers_is_not_made() -> None:
    found = Session()
    found.speech()
    found.send(Say("Hi."))
    found.acknowledge(found.sent[-1]["item"]["id"])
    found.created("resp_own")
    found.done("resp_own")
    assert found.types() == ["conversation.item.create"]


def test_the_greeting_is_asked_for() -> None:
    found = Session(wish=SessionWish(greet=True))
    found.send(SpeakNow(is_greeting=True))
    [create] = found.sent
    assert create["response"]["instructions"].startswith("Be brief.\n\n")
    assert "greet" in create["response"]["instructions"]
    found.created()
    assert found.of(events.AnswerBegins) == [events.AnswerBegins("resp_1", is_greeting=True)]


def test_a_greeting_that_crossed_the_servers_own_response_is_none() -> None:
    found = Session()
    found.send(SpeakNow(is_greeting=True))
    found.created("resp_own")
    found.error("conversation_already_has_active_response", event_id=found.sent[-1]["event_id"])
    assert [event.is_greeting for event in found.of(events.AnswerBegins)] == [True, False]


def test_speaking_of_its_own_accord_is_told_with_the_sessions_instructions() -> None:
    found = Session()
    [create] = found.send(SpeakNow("The timer rang."))
    assert create["response"] == {"instructions": "Be brief.\n\nThe timer rang."}
    found.created()
    found.done()
    [plain] = found.send(SpeakNow())
    assert "response" not in plain


def test_where_the_server_must_not_interrupt_its_answer_is_asked_for() -> None:
    """Its own request fails while a response runs."""
    found = Session(wish=CLIENT)
    found.created()
    found.speech()
    found.spoke()
    assert found.types() == []
    found.done()
    assert found.types() == ["response.create"]


# ---------------------------------------------------------------- tools


def test_results_of_one_answer_are_asked_for_once() -> None:
    found = Session()
    found.created()
    found.call("call_1")
    found.call("call_2")
    assert [call.call_id for call in found.of(events.ToolCall)] == ["call_1", "call_2"]
    [output] = found.send(ToolDone("call_1", "noon"))
    assert output["item"] | {"id": ""} == {
        "type": "function_call_output",
        "id": "",
        "call_id": "call_1",
        "output": "noon",
    }
    found.done()
    assert "response.create" not in found.types()
    found.send(ToolDone("call_2", "warm"))
    assert found.types() == ["conversation.item.create", "conversation.item.create", "response.create"]


def test_a_result_waits_for_the_end_of_the_answer() -> None:
    found = Session()
    found.created()
    found.call()
    found.send(ToolDone("call_1", "noon"))
    assert "response.create" not in found.types()
    found.done()
    assert found.types()[-1] == "response.create"


def test_a_call_is_made_once_however_often_it_is_told() -> None:
    found = Session()
    found.created()
    found.receive(
        "response.function_call_arguments.done",
        response_id="resp_1",
        item_id="fc_call_1",
        call_id="call_1",
        name="get_time",
        arguments="{}",
    )
    assert not found.of(events.ToolCall)
    found.call()
    output = [{"id": "fc_call_1", "type": "function_call", "name": "get_time", "call_id": "call_1", "arguments": "{}"}]
    found.done(output=output)
    assert len(found.of(events.ToolCall)) == 1


@pytest.mark.parametrize("told", ["arguments", "output"])
def test_a_call_that_is_told_only_one_way_is_made(told: str) -> None:
    found = Session()
    found.created()
    fields = {"call_id": "call_1", "name": "get_time", "arguments": '{"a": 1}'}
    if told == "arguments":
        found.receive("response.function_call_arguments.done", response_id="resp_1", item_id="x", **fields)
        found.done()
    else:
        found.done(output=[{"id": "x", "type": "function_call", **fields}])
    assert found.of(events.ToolCall) == [events.ToolCall("get_time", "call_1", {"a": 1})]


def test_an_incomplete_call_of_a_cancelled_answer_is_not_made() -> None:
    found = Session()
    found.created()
    found.audio()
    found.speech()
    fields = {"call_id": "call_1", "name": "get_time", "arguments": '{"a'}
    found.receive("response.function_call_arguments.done", response_id="resp_1", item_id="x", **fields)
    item = {"id": "x", "type": "function_call", "status": "incomplete", **fields}
    found.receive("response.output_item.done", response_id="resp_1", item=item)
    found.done(status="cancelled", output=[item])
    assert not found.of(events.ToolCall)
    assert "conversation.item.create" not in found.types()


@pytest.mark.parametrize("arguments", ["{", "[1]", "1", '"x"', None])
def test_a_call_that_cannot_be_understood_is_answered(arguments: str | None) -> None:
    found = Session()
    found.created()
    item: dict[str, object] = {"id": "x", "type": "function_call", "call_id": "call_1", "arguments": arguments}
    item["name"] = "get_time" if arguments is not None else None
    found.receive("response.output_item.done", response_id="resp_1", item=item)
    assert not found.of(events.ToolCall)
    assert found.codec.refused_calls == 1
    found.done()
    assert found.types() == ["conversation.item.create", "response.create"]


def test_arguments_as_an_object() -> None:
    found = Session()
    found.created()
    item = {"id": "x", "type": "function_call", "name": "f", "call_id": "c", "arguments": {"a": 1}}
    found.receive("response.output_item.done", response_id="resp_1", item=item)
    assert found.of(events.ToolCall) == [events.ToolCall("f", "c", {"a": 1})]


def asked(found: Session) -> None:
    item = {
        "id": "mcpr_1",
        "type": "mcp_approval_request",
        "server_label": "home",
        "name": "light",
        "arguments": '{"on": true}',
    }
    found.receive("conversation.item.added", item=item)
    found.receive("conversation.item.done", item=item)


def test_an_mcp_call_is_allowed_and_its_result_asked_for() -> None:
    found = Session()
    found.created()
    asked(found)
    assert found.of(events.ApprovalAsked) == [events.ApprovalAsked("mcpr_1", "home", "light", "", {"on": True}, None)]
    [given] = found.send(Approve("mcpr_1", is_allowed=True))
    assert given["item"] | {"id": ""} == {
        "type": "mcp_approval_response",
        "id": "",
        "approval_request_id": "mcpr_1",
        "approve": True,
    }
    found.receive("response.mcp_call.in_progress", item_id="mcp_1", output_index=0)
    found.receive("response.mcp_call.completed", item_id="mcp_1", output_index=0)
    assert "response.create" not in found.types()
    found.done()
    assert found.types()[-1] == "response.create"


def test_an_mcp_call_that_is_denied_is_talked_about() -> None:
    found = Session()
    found.created()
    asked(found)
    found.done()
    found.send(Approve("mcpr_1", is_allowed=False))
    assert found.types() == ["conversation.item.create", "response.create"]
    assert found.sent[0]["item"]["approve"] is False


# ---------------------------------------------------------------- other commands


def test_a_picture_goes_into_the_message() -> None:
    found = Session()
    picture = Prepared("a.png", "image/png", data=b"\x89PNG")
    found.send(Say("What is this?", (picture,)))
    url = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    assert found.sent[0]["item"]["content"] == [
        {"type": "input_image", "image_url": url},
        {"type": "input_text", "text": "What is this?"},
    ]
    assert found.types() == ["conversation.item.create", "response.create"]


def test_a_picture_that_the_server_refuses_is_told() -> None:
    found = Session()
    found.send(Say("", (Prepared("a.png", "image/png", data=b"\x89PNG"),)))
    found.error("invalid_image", "The image is broken.", found.sent[0]["event_id"])
    [failed] = found.of(events.AnswerFailed)
    assert "broken" in failed.reason


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", None),
        (b"%PDF-", None),
        (b"", None),
    ],
)
def test_pictures_are_known_by_their_first_bytes(beginning: bytes, expected: str | None) -> None:
    assert pictures.media_type(beginning) == expected


def test_what_the_agent_is_told_is_replaced_by_what_is_newer() -> None:
    found = Session()
    [first] = found.send(Know("It rains.", key="weather"))
    assert first["item"]["role"] == "system"
    gone, second = found.send(Know("It is dry.", key="weather"))
    assert (gone["type"], gone["item_id"]) == ("conversation.item.delete", first["item"]["id"])
    assert second["item"]["content"] == [{"type": "input_text", "text": "It is dry."}]
    assert [m["type"] for m in found.send(Know("The door is open."))] == ["conversation.item.create"]


def test_turns_that_this_side_ends() -> None:
    found = Session(OpenAI(base_url=OWN, turn_detection=TurnDetection(type="manual")), CLIENT)
    assert found.send(EndOfTurn()) == []
    found.hear(1.5)
    assert [m["type"] for m in found.send(EndOfTurn())] == ["input_audio_buffer.commit", "response.create"]
    found.hear(1)
    found.receive("input_audio_buffer.committed", item_id="u")
    found.answer()
    assert found.of(events.SpeechTaken) == [events.SpeechTaken(1500)]


def test_commands_that_the_protocol_does_not_know() -> None:
    found = Session()
    for command in (Rate("resp_1", "like"), Busy(), SkipGreeting()):
        assert found.send(command) == []


def test_a_connection_is_kept_alive_with_an_empty_piece_of_sound() -> None:
    assert Session().send(KeepAlive()) == [{"type": "input_audio_buffer.append", "audio": ""}]


def test_sound_is_sent_as_it_is() -> None:
    message = json.loads(Session().codec.audio(b"\1\2\3\4"))
    assert message == {"type": "input_audio_buffer.append", "audio": base64.b64encode(b"\1\2\3\4").decode()}


def test_texts_that_are_no_unicode_are_sent() -> None:
    found = Session()
    found.send(Say("\ud83d!"))
    assert found.sent[0]["item"]["content"][0]["text"] == "?!"


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("response_cancel_not_active", "Cancellation failed: no active response found"),
        ("input_audio_buffer_commit_empty", "buffer too small"),
        ("invalid_value", "Audio content of 1000ms is already shorter than 1200ms"),
        ("unsupported_content_type", "Only model output audio messages can be truncated"),
        (None, "Conversation already has an active response"),
    ],
)
def test_errors_that_harm_nothing_explain_no_close(code: str | None, message: str) -> None:
    found = Session()
    found.error(code, message)
    assert not found.of(events.AgentError)
    assert [event.type for event in found.of(events.Notice)] == ["error"]


def test_an_error_that_quotes_a_truncation_harms_nothing() -> None:
    found = Session()
    found.answer()
    [message] = found.cut(("resp_1", 400))
    found.error("something_new", "whatever", message["event_id"])
    assert not found.of(events.AgentError)


def test_other_errors_are_told() -> None:
    found = Session(secrets=["sk-1234567890"])
    found.error("server_error", "It broke: sk-1234567890")
    [error] = found.of(events.AgentError)
    assert (error.kind, error.hopeless) == ("server_error", False)
    assert "sk-1" not in error.message


@pytest.mark.parametrize("quotes", [True, False])
def test_a_session_that_is_refused_cannot_go_on(quotes: bool) -> None:
    found = Session(ready=False)
    found.receive("session.created", session={})
    event_id = found.opening[0]["event_id"] if quotes else None
    found.error("unknown_parameter", "Unknown parameter: 'session.foo'.", event_id, param="session.foo")
    [error] = found.of(events.AgentError)
    assert error.hopeless
    assert "session.foo" in error.message


@pytest.mark.parametrize("code", ["session_limit_reached", "beta_api_shape_disabled", "invalid_api_key"])
def test_an_error_that_a_close_follows_is_judged_with_it(code: str) -> None:
    found = Session(ready=False)
    found.error(None, "no", None, type=code)
    [error] = found.of(events.AgentError)
    assert (error.kind, error.hopeless) == (code, False)


@pytest.mark.parametrize("told", ["It broke.", None, {"message": None}, {}])
def test_errors_in_every_shape(told: object) -> None:
    found = Session()
    found.receive("error", error=told)
    assert len(found.of(events.AgentError)) == 1


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "null", "1", '{"type": 1}', '{"type":"response.done","response":7}', b"\xff\xfe", "[" * 100_000],
)
def test_what_cannot_be_read_is_counted(message: str | bytes) -> None:
    found = Session()
    found.raw(message)
    assert [type(event) for event in found.events] == [events.Malformed]
    assert found.codec.malformed == 1


def test_unknown_messages_are_counted() -> None:
    found = Session()
    found.receive("response.hologram.delta", x=1)
    assert found.events == [events.Unknown("response.hologram.delta")]
    assert found.codec.unknown == 1


def test_sound_before_the_session_is_not_played() -> None:
    found = Session(ready=False)
    found.audio()
    assert [type(event) for event in found.events] == [events.Malformed]


@pytest.mark.parametrize(
    "kind",
    [
        "session.created",
        "conversation.created",
        "rate_limits.updated",
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.dtmf_event_received",
        "conversation.item.input_audio_transcription.segment",
        "conversation.item.retrieved",
        "conversation.item.truncated",
        "conversation.item.deleted",
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "output_audio_buffer.cleared",
        "ping",
    ],
)
def test_everything_else_is_a_notice(kind: str) -> None:
    found = Session()
    found.receive(kind, item_id="item_1", text="words", delta="words")
    [notice] = found.of(events.Notice)
    assert notice.type == kind
    assert "words" not in notice.fields.values()
    assert found.sent == []


def test_the_buffer_that_was_cleared_holds_nobody_up() -> None:
    found = Session()
    found.speech()
    found.send(Say("Hi."))
    found.receive("input_audio_buffer.cleared")
    assert found.types()[-1] == "response.create"


def test_a_cancelled_response_as_an_event_of_its_own() -> None:
    found = Session(wish=CLIENT)
    found.created()
    found.receive("response.cancelled", response={"id": "resp_1", "status": "cancelled"})
    found.done(status="cancelled")
    assert found.of(events.AnswerEnds) == [events.AnswerEnds("resp_1", Why.CANCELLED)]


def test_an_item_is_acknowledged_by_servers_that_say_created() -> None:
    found = Session()
    found.send(Say("Hi."))
    item, create = found.sent
    found.receive("conversation.item.created", item={"id": item["item"]["id"], "type": "message"})
    found.created("resp_own")
    found.error("conversation_already_has_active_response", event_id=create["event_id"])
    found.done("resp_own")
    assert found.types().count("response.create") == 1


def test_an_answer_in_writing_with_beta_names() -> None:
    found = Session(wish=SessionWish(text_only=True))
    found.created()
    found.receive("response.text.delta", response_id="resp_1", item_id="i", delta="Noon.")
    found.receive("response.text.done", response_id="resp_1", item_id="i", text="Noon.")
    found.done()
    assert texts(found.events) == ["Noon."]


def test_an_mcp_call_that_failed_is_talked_about() -> None:
    found = Session()
    found.created()
    found.receive("response.mcp_call.failed", item_id="mcp_1")
    found.done()
    assert found.types() == ["response.create"]


# ---------------------------------------------------------------- costs


def usage(**fields: object) -> dict[str, object]:
    return {"total_tokens": 0, **fields}


def test_tokens_by_kind() -> None:
    found = Session()
    found.created()
    found.done(
        usage=usage(
            input_tokens=1000,
            output_tokens=300,
            input_token_details={
                "text_tokens": 400,
                "audio_tokens": 500,
                "image_tokens": 100,
                "cached_tokens": 500,
                "cached_tokens_details": {"text_tokens": 300, "audio_tokens": 200, "image_tokens": 0},
            },
            output_token_details={"text_tokens": 100, "audio_tokens": 200, "reasoning_tokens": 60},
        )
    )
    assert found.of(events.Spent) == [
        events.Spent(
            "gpt-realtime-2.1",
            {
                Token.TEXT_IN: 100,
                Token.CACHED_TEXT_IN: 300,
                Token.AUDIO_IN: 300,
                Token.CACHED_AUDIO_IN: 200,
                Token.IMAGE_IN: 100,
                Token.AUDIO_OUT: 200,
                Token.TEXT_OUT: 100,
            },
        )
    ]


def test_tokens_without_details_are_text() -> None:
    found = Session()
    found.created()
    found.done(usage=usage(input_tokens=7, output_tokens=3))
    assert found.of(events.Spent)[0].tokens == {Token.TEXT_IN: 7, Token.TEXT_OUT: 3}


@pytest.mark.parametrize(
    "told",
    [None, {}, usage(input_tokens=0), usage(input_tokens=-5), usage(input_tokens=10**12), usage(input_tokens="x")],
)
def test_missing_tokens_are_no_error(told: object) -> None:
    found = Session()
    found.created()
    found.done(usage=told)
    assert not found.of(events.Spent)
    assert found.codec.malformed == 0


def test_transcriptions_by_seconds_and_by_tokens() -> None:
    found = Session(OpenAI(base_url=OWN, transcription=Transcription(model="t")))
    name = "conversation.item.input_audio_transcription.completed"
    found.receive(name, item_id="u", transcript="Hi", usage={"type": "duration", "seconds": 1.5})
    tokens = {"type": "tokens", "input_tokens": 20, "output_tokens": 4, "input_token_details": {"audio_tokens": 20}}
    found.receive(name, item_id="v", transcript="Hi", usage=tokens)
    assert found.of(events.Spent) == [
        events.Spent("t", seconds=1.5),
        events.Spent("t", {Token.AUDIO_IN: 20, Token.TEXT_OUT: 4}),
    ]
