"""The session that the codec asks for, and the one that is in force."""

from __future__ import annotations

from typing import Any

import pytest
from realtime_session import FORMAT, OWN, Session, session

from parleyd.agents import events
from parleyd.agents.commands import Offer, Prepared, ToolDone
from parleyd.agents.provider import Interrupts, Said, SessionWish, ToolSpec
from parleyd.audio.pcm import AudioFormat
from parleyd.config.openai_section import McpServer, OpenAI, Transcription, Truncation, TurnDetection


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


@pytest.mark.parametrize("expires_at", [None, "soon", 0, -5, 10**15, 10**400, float("1e308"), 999, 1000.5, 1059])
def test_an_end_that_cannot_be_is_no_end(expires_at: object) -> None:
    found = Session(ready=False, unix_s=1000.0)
    found.receive("session.updated", session=session(expires_at=expires_at))
    assert found.of(events.Ready)[0].ends_in_s is None


def test_the_shortest_end_that_is_believed() -> None:
    found = Session(ready=False, unix_s=1000.0)
    found.receive("session.updated", session=session(expires_at=1060))
    assert found.of(events.Ready)[0].ends_in_s == 60.0


def test_a_clock_that_is_not_set_knows_no_end() -> None:
    found = Session(ready=False, unix_s=0.0)
    found.receive("session.updated", session=session(expires_at=4600))
    assert found.of(events.Ready)[0].ends_in_s is None


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
