"""Other commands, errors, notices, and messages that cannot be read."""

from __future__ import annotations

import base64
import json

import pytest
from realtime_session import CLIENT, OWN, Session, texts

from parleyd.agents import events, pictures
from parleyd.agents.commands import (
    Busy,
    EndOfTurn,
    KeepAlive,
    Know,
    Prepared,
    Rate,
    Say,
    SkipGreeting,
)
from parleyd.agents.events import Why
from parleyd.agents.openai.errors import RETRY_S
from parleyd.agents.provider import SessionWish
from parleyd.config.openai_section import OpenAI, TurnDetection

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
    assert [end.why for end in found.of(events.AnswerEnds)] == [Why.INCOMPLETE], "nobody here has cancelled it"


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


@pytest.mark.parametrize("number", [10**400, "1e400", "nan", -1, "soon", None])
def test_a_number_that_is_none_is_passed_over(number: object) -> None:
    """A codec that raises ends the daemon."""
    found = Session()
    found.receive("rate_limits.updated", rate_limits=[{"name": "tokens", "reset_seconds": number}])
    found.receive("response.created", response={"id": "r1"})
    error = {"code": "rate_limit_exceeded", "message": "Rate limit reached."}
    found.receive("response.done", response={"id": "r1", "status": "failed", "status_details": {"error": error}})
    assert [failed.retry_after_s for failed in found.of(events.AnswerFailed)] == [RETRY_S]
    name = "conversation.item.input_audio_transcription.completed"
    found.receive(name, item_id="u1", transcript="Hi", usage={"type": "duration", "seconds": number})
    assert not found.of(events.Spent)
