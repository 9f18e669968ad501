"""The faults of a scenario on the Realtime front."""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress

import pytest
from local_client import WAIT_S, Start, spoken
from realtime_client import RATE_HZ, RealtimeClient, words
from websockets.exceptions import ConnectionClosed, InvalidStatus

TRANSCRIBE = {"input": {"transcription": {"model": "gpt-transcribe"}}}
COMPLETED = "conversation.item.input_audio_transcription.completed"


def steps(*lines: str, more: str = "", agent: str = "agent: {ears: none}\n") -> str:
    listed = "\n".join(f"  - {{{line}}}" for line in lines)
    return f"{agent}connections:\n- {more or 'metadata: {}'}\n  steps:\n{listed}\n"


def question(text: str = "What time is it?") -> bytes:
    return spoken(text, RATE_HZ, 800)


# ---------------------------------------------------------------- the line


@pytest.mark.parametrize(
    ("step", "code"),
    [("do: drop", 1006), ("do: reset", 1006), ("do: close, code: 1011, reason: internal error", 1011)],
)
def test_the_line_goes_in_the_middle_of_an_answer(start: Start, step: str, code: int) -> None:
    agent = start(steps(f"on: speaking, {step}"))
    with RealtimeClient(agent) as client:
        client.write("Tell me a story.")
        assert client.until_closed()[0] == code
        assert "response.done" not in client.types()
    closed = agent.wait_connection().wait_closed()
    assert closed.code == code


def test_the_line_goes_before_the_answer(start: Start) -> None:
    agent = start(steps("on: transcript, do: drop", agent=""))
    with RealtimeClient(agent) as client:
        with suppress(ConnectionClosed):
            client.say(question())
        assert client.until_closed()[0] == 1006
        assert "response.output_item.added" not in client.types()
    assert agent.wait_connection().transcripts == ["What time is it?"]


def test_after_so_much_of_the_persons_sound(start: Start) -> None:
    agent = start(steps("on: speech, nth: 2, after_audio_ms: 300, do: drop", agent=""))
    with RealtimeClient(agent) as client:
        client.say(question())
        client.answer()
        with suppress(ConnectionClosed):
            client.say(question("Tell me a story."))
        assert client.until_closed()[0] == 1006
        assert client.types().count("response.created") == 1
    record = agent.wait_connection()
    record.wait_closed()
    assert record.received_audio_ms < (len(question()) + len(question("Tell me a story."))) / RATE_HZ / 2 * 1000 + 1


def test_a_stalled_agent_goes_on_later(start: Start) -> None:
    with RealtimeClient(start(steps("on: ready, do: stall, seconds: 0.7"))) as client:
        client.until("session.created")
        began_s = time.monotonic()
        client.write("Hello.")
        client.answer()
        assert time.monotonic() - began_s > 0.5


def test_refused_handshakes(start: Start) -> None:
    agent = start("connections: [{handshake: {status: 503}}, {handshake: {status: 403}}, {}]")
    for status in (503, 403):
        with pytest.raises(InvalidStatus) as refused:
            RealtimeClient(agent)
        assert refused.value.response.status_code == status
    with RealtimeClient(agent) as client:
        client.until("session.created")


def test_an_agent_that_says_nothing(start: Start) -> None:
    agent = start("connections: [{metadata: {send: false}}, {metadata: {delay_s: 0.4}}]")
    with RealtimeClient(agent) as client:
        client.send("session.update", session={"type": "realtime"})
        agent.wait_connection().wait_event("session.update")
        with pytest.raises(TimeoutError):
            client.receive(0.3)
    with RealtimeClient(agent) as client:
        # The session is created as it was before the update.
        client.send("session.update", session={"type": "realtime", "instructions": "New."})
        assert client.receive()["session"]["instructions"] == ""
        assert client.receive()["session"]["instructions"] == "New."


def test_a_full_server(start: Start) -> None:
    error = "on: connect, do: error, error_type: session_limit_reached, message: Full., shape: flat"
    with RealtimeClient(start(steps(error, "on: connect, do: close, code: 1008, reason: Full."))) as client:
        assert client.until_closed() == (1008, "Full.")
        (told,) = client.messages
        assert told["error"] == {"type": "session_limit_reached", "message": "Full."}


# ---------------------------------------------------------------- messages that a client must survive


@pytest.mark.parametrize(
    "kind", ["bad_json", "not_object", "missing_type", "missing_fields", "wrong_types", "bad_base64", "binary"]
)
def test_malformed_frames(start: Start, kind: str) -> None:
    agent = start(steps(f"on: ready, do: malformed, kind: {kind}", "on: ready, do: close"))
    with RealtimeClient(agent) as client:
        client.until("session.created")
        frame = client.socket.recv(timeout=WAIT_S)
        assert isinstance(frame, bytes) == (kind == "binary")
        if kind != "binary":
            with pytest.raises((ValueError, TypeError, KeyError)):
                client_reads(frame)
        assert client.until_closed()[0] == 1000


def client_reads(frame: str | bytes) -> bytes:
    """Reads a frame as a trusting client does."""
    message = json.loads(frame)
    if message["type"] == "response.done":
        return bytes(message["response"]["id"])
    return base64.b64decode(message["delta"], validate=True) + str(message["item_id"]).encode()


def test_strange_messages(start: Start) -> None:
    agent = start(
        steps(
            "on: ready, do: oversized, mebibytes: 2",
            "on: ready, do: duplicate_metadata",
            "on: ready, do: unknown_event, name: rainbow",
            "on: ready, do: send, times: 500, messages: [{type: rainbow, event_id: same}]",
        )
    )
    with RealtimeClient(agent, check=False) as client:
        client.until("session.created")
        assert len(client.receive()["delta"]) >= 2 * 1024 * 1024
        assert client.receive()["type"] == "session.created"
        assert client.receive()["event_id"].startswith("event_")
        for _ in range(500):
            assert client.receive() == {"type": "rainbow", "event_id": "same"}
        client.write("Thank you.")
        assert words(client.answer()) == "You are welcome."


def test_sound_of_a_cancelled_response(start: Start) -> None:
    agent = start(steps("on: interruption, do: stale_audio, duration_ms: 300", agent="agent: {stream_speed: 2}\n"))
    with RealtimeClient(agent) as client:
        client.write("Tell me a story.")
        first = client.until("response.output_audio.delta")
        client.say(question("Stop."))
        client.answer()
        before = len(client.audio[first["item_id"]])
        stale = client.until("response.output_audio.delta")
        assert (stale["response_id"], stale["item_id"]) == (first["response_id"], first["item_id"])
        assert len(client.audio[first["item_id"]]) - before == 300 * 48


def test_an_interruption_without_a_cause(start: Start) -> None:
    agent = start(steps("on: speaking, do: interrupt", agent="agent: {ears: none, stream_speed: 2}\n"))
    with RealtimeClient(agent) as client:
        client.write("Tell me a story.")
        client.until("input_audio_buffer.speech_started")
        assert client.answer()["status_details"]["reason"] == "turn_detected"


@pytest.mark.parametrize(("shape", "code"), [("event", "server_error"), ("flat", None)])
def test_errors(start: Start, shape: str, code: str | None) -> None:
    step = f"on: transcript, do: error, shape: {shape}, error_type: server_error, message: Too late."
    with RealtimeClient(start(steps(step))) as client:
        client.write("Hello.")
        error = client.error()
        assert (error.get("code"), error["message"]) == (code, "Too late.")
        assert client.answer()["status"] == "completed"


# ---------------------------------------------------------------- transcripts and responses


def transcription(how: str) -> str:
    return f"connections: [{{transcripts: [First., Second.], transcription: [{how}]}}]"


def test_a_late_transcript(start: Start) -> None:
    with RealtimeClient(start(transcription("{come: after_answer}"))) as client:
        client.update(audio=TRANSCRIBE)
        client.say(question())
        assert words(client.answer()) == "You said: First."
        assert client.receive()["type"].endswith("transcription.delta")
        assert client.receive()["transcript"] == "First."
    with RealtimeClient(start(transcription("{delay_s: 0.3}"))) as client:
        client.update(audio=TRANSCRIBE)
        client.say(question())
        assert client.until(COMPLETED)["transcript"] == "First."


def test_missing_and_failed_transcripts(start: Start) -> None:
    with RealtimeClient(start(transcription("{come: missing}, {come: failed}"))) as client:
        client.update(audio=TRANSCRIBE)
        client.say(question())
        assert words(client.answer()) == "You said: First."
        client.say(question())
        failed = client.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["message"]
        assert words(client.answer()) == "You said: Second."
        assert COMPLETED not in client.types()


def test_transcripts_in_the_wrong_order(start: Start) -> None:
    with RealtimeClient(start(transcription("{come: after_next}"))) as client:
        client.update(audio=TRANSCRIBE)
        client.say(question())
        client.answer()
        client.say(question())
        client.answer()
        told = [one["transcript"] for one in client.messages if one["type"] == COMPLETED]
        assert told == ["Second.", "First."]
        committed = [one["item_id"] for one in client.messages if one["type"].endswith("committed")]
        assert [one["item_id"] for one in client.messages if one["type"] == COMPLETED] == committed[::-1]


def test_responses_that_fail(start: Start) -> None:
    failures = "{status: failed}, {status: failed, code: insufficient_quota, message: Gone., after_audio_ms: 400}"
    with RealtimeClient(start(f"connections: [{{responses: [{failures}]}}]")) as client:
        client.write("Tell me a story.")
        response = client.answer()
        assert (response["status"], response["output"]) == ("failed", [])
        assert response["status_details"]["error"]["code"] == "rate_limit_exceeded"
        client.write("Tell me a story.")
        response = client.answer()
        assert response["status_details"]["error"]["code"] == "insufficient_quota"
        assert response["output"][0]["status"] == "incomplete"
        assert len(client.audio[response["output"][0]["id"]]) == 400 * 48
        assert "error" not in client.types()
        client.write("Thank you.")
        assert client.answer()["status"] == "completed"


def test_responses_that_are_incomplete(start: Start) -> None:
    ends = "{status: incomplete, after_audio_ms: 300}, {status: incomplete, reason: max_output_tokens}"
    with RealtimeClient(start(f"connections: [{{responses: [{ends}]}}]")) as client:
        for reason in ("content_filter", "max_output_tokens"):
            client.write("Tell me a story.")
            response = client.answer()
            assert response["status_details"] == {"type": "incomplete", "reason": reason}


# ---------------------------------------------------------------- of its own accord


def test_it_speaks_of_its_own_accord_and_hangs_up(start: Start) -> None:
    with RealtimeClient(start(steps("on: ready, do: say, text: Dinner is ready."))) as client:
        assert words(client.answer()) == "Dinner is ready."
    with RealtimeClient(start(steps("on: ready, do: end_call, text: Goodbye."))) as client:
        assert words(client.answer()) == "Goodbye."
        assert client.until_closed()[0] == 1000


def test_a_goodbye_calls_the_clients_tool_for_hanging_up(start: Start) -> None:
    with RealtimeClient(start()) as client:
        client.update(tools=[{"type": "function", "name": "end_conversation", "parameters": {"type": "object"}}])
        client.write("Goodbye.")
        message, call = client.answer()["output"]
        assert message["content"][0]["transcript"] == "Goodbye. It was nice to talk to you."
        assert (call["type"], call["name"]) == ("function_call", "end_conversation")


def test_a_tool_call_of_the_scenario(start: Start) -> None:
    with RealtimeClient(start(steps("on: ready, do: tool_call, name: beep, parameters: {times: 2}"))) as client:
        (call,) = client.answer()["output"]
        assert (call["name"], json.loads(call["arguments"])) == ("beep", {"times": 2})
        client.item("function_call_output", call_id=call["call_id"], output="Beeped.")
        client.send("response.create")
        assert words(client.answer()) == "Beeped."


@pytest.mark.parametrize("approve", [True, False])
def test_a_tool_of_an_mcp_server_waits_for_approval(start: Start, approve: bool) -> None:
    agent = start(steps("on: opening, do: mcp_tool_call, name: calendar_read, service: home, parameters: {day: 1}"))
    server = {
        "type": "mcp",
        "server_label": "home",
        "server_url": "http://127.0.0.1:1",
        "allowed_tools": ["calendar_read"],
    }
    with RealtimeClient(agent) as client:
        client.send("session.update", session={"type": "realtime", "tools": [server]})
        (request,) = client.answer()["output"]
        assert (request["type"], request["server_label"], request["name"]) == (
            "mcp_approval_request",
            "home",
            "calendar_read",
        )
        client.until("mcp_list_tools.completed")
        listed = client.until("conversation.item.done")["item"]
        assert [tool["name"] for tool in listed["tools"]] == ["calendar_read"]
        client.item("mcp_approval_response", id="x", approval_request_id="other", approve=approve)
        assert client.error()["param"] == "item.approval_request_id"
        client.item("mcp_approval_response", id="a1", approval_request_id=request["id"], approve=approve)
        if approve:
            client.until("response.mcp_call.completed")
            call = client.until("conversation.item.done")["item"]
            assert call["approval_request_id"] == request["id"]
        client.send("response.create")
        said = "calendar_read answered: calendar_read is done." if approve else "You did not allow it."
        assert words(client.answer()) == said
    fields = agent.wait_connection().of_kind("message")[0].fields
    assert fields["text"] == ("allowed" if approve else "denied")


# ---------------------------------------------------------------- dialects


def dialect(text: str) -> str:
    return f"agent: {{stream_speed: 4, realtime: {{dialect: {{{text}}}}}}}"


def test_a_server_that_tells_less(start: Start) -> None:
    agent = start(
        dialect("null_formats: true, item_events: created, truncated: false, expires_at: false, usage: false")
    )
    with RealtimeClient(agent) as client:
        session = client.until("session.created")["session"]
        assert session["audio"]["output"]["voice"] is session["audio"]["input"]["format"] is None
        assert "expires_at" not in session
        client.write("Tell me a story.")
        item_id = client.until("response.output_audio.delta")["item_id"]
        client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
        assert client.answer()["usage"] is None
        types = client.types()
        assert "conversation.item.created" in types
        assert not {"conversation.item.added", "conversation.item.done", "conversation.item.truncated"} & set(types)
    assert agent.wait_connection().of_kind("truncated")[0].fields["audio_end_ms"] == 100


def test_errors_without_a_code(start: Start) -> None:
    with RealtimeClient(start(dialect("error_codes: false"))) as client:
        client.send("response.cancel", event_id="mine")
        error = client.error()
        assert error["message"].startswith("Cancellation failed")
        assert error.keys() == {"type", "message"}


def test_a_server_with_one_kind_of_turns(start: Start) -> None:
    with RealtimeClient(start(dialect("turn_detection: [semantic_vad]"))) as client:
        session = client.until("session.created")["session"]
        assert session["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
        for detection in ({"type": "server_vad"}, None):
            update = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
            client.send("session.update", session=update)
            assert client.error()["param"] == "session.audio.input.turn_detection.type"


def test_what_a_client_sent_before_it_closed_is_recorded(start: Start) -> None:
    """Its messages and its close frame come at once, after a stall, so that none of them can be answered."""
    agent = start(steps("on: message, type: input_audio_buffer.clear, do: stall, seconds: 1"))
    with RealtimeClient(agent) as client:
        client.until("session.created")
        client.write("Tell me a story.")
        item_id = client.until("response.output_audio.delta")["item_id"]
        client.answer()
        client.send("input_audio_buffer.clear")
        record = agent.wait_connection()
        record.wait_event("input_audio_buffer.clear")
        client.item(role="user", content=[{"type": "input_text", "text": "Thank you."}])
        client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=200)
        client.item("function_call_output", call_id="call_of_nobody", output="x")
        client.say(bytes(4_800))
    assert record.wait_closed().by == "client"
    assert record.transcripts == ["Tell me a story.", "Thank you."]
    assert [one.fields["audio_end_ms"] for one in record.of_kind("truncated")] == [200]
    assert record.received_audio == bytes(4_800)
