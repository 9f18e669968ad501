"""Scenario files: what they may hold, and every fault they can cause, seen from the client."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from local_client import Client, Start, spoken
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from parleyd.config.problem import ConfigError
from parleyd.embedded import scenario
from parleyd.embedded.scenario import ConnectionScript, Scenario

EXAMPLES = sorted((Path(__file__).parents[3] / "config" / "scenarios").glob("*.yaml"))
DOCUMENTATION = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text(encoding="utf-8")
DOCUMENTED = [block.partition("```")[0] for block in DOCUMENTATION.split("```yaml\n")[1:]]
QUIET = "agent: {first_message: '', ears: none, stream_speed: 0}\n"


def steps(*lines: str, agent: str = QUIET) -> str:
    return agent + "connections:\n- steps:\n" + "".join(f"  - {{{line}}}\n" for line in lines) + "- {}\n"


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_can_be_loaded(path: Path) -> None:
    assert scenario.load(path) != Scenario()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("text", DOCUMENTED)
def test_the_examples_in_the_documentation_can_be_loaded(text: str) -> None:
    assert scenario.parse(text, "scenarios.md") != Scenario()


def test_an_empty_file_is_a_scenario() -> None:
    assert scenario.parse("", "x.yaml") == Scenario()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("agent:\n  first_mesage: x\n", 2, ["agent.first_mesage", "unknown key"]),
        ("agent:\n  chunk_ms: many\n", 2, ["agent.chunk_ms", "int"]),
        ("connections:\n- steps:\n  - on: ready\n    do: explode\n", 4, ["explode"]),
        ("connections:\n- steps:\n  - {on: ready, do: close, code: 9}\n", 3, ["code"]),
        ("connections:\n- steps:\n  - {on: ready, do: drop, code: 1}\n", 3, ["unknown key"]),
        ("connections:\n- steps:\n  - do: drop\n", 3, ["on"]),
        ("agent:\n  replies:\n  - {heard: '('}\n", 3, ["regular expression"]),
        ("agent: {\n", 2, ["not valid YAML"]),
        ("- a\n", 1, ["object"]),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, line: int, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        scenario.parse(text, "test.yaml")
    told = str(error.value)
    assert told.startswith(f"test.yaml:{line}:"), told
    assert all(word in told for word in words), told
    assert "\n" not in told


def test_after_the_last_connection_comes_the_default_or_the_last_again() -> None:
    first, last = ConnectionScript(converse=False), ConnectionScript(transcripts=("x",))
    assert Scenario(connections=(first, last)).script_for(5) == last
    assert Scenario(connections=(first, last), default=first).script_for(5) == first
    assert Scenario(connections=(first, last), default=first).script_for(1) == last
    assert Scenario().script_for(0) == ConnectionScript()


# ---------------------------------------------------------------- handshake


def test_refused_at_the_handshake_and_then_not(start: Start) -> None:
    agent = start(QUIET + "connections: [{handshake: {status: 503, body: busy}}, {}]")
    with pytest.raises(InvalidStatus) as refused:
        Client(agent)
    assert refused.value.response.status_code == 503
    assert refused.value.response.body == b"busy"
    with Client(agent) as client:
        client.until("conversation_initiation_metadata")


@pytest.mark.parametrize("fault", [r'garbage: "SSH-2.0-OpenSSH\r\n\r\n"', "drop: true"])
def test_what_is_no_handshake(start: Start, fault: str) -> None:
    agent = start(QUIET + f"connections: [{{handshake: {{{fault}}}}}]")
    with pytest.raises((InvalidHandshake, InvalidMessage, EOFError, ConnectionError, ConnectionClosed)):
        Client(agent)


def test_a_slow_handshake_and_late_metadata(start: Start) -> None:
    agent = start(QUIET + "connections: [{handshake: {delay_s: 0.2}, metadata: {delay_s: 0.2}}]")
    began_s = time.monotonic()
    with Client(agent) as client:
        connected_s = time.monotonic()
        client.until("conversation_initiation_metadata")
        assert connected_s - began_s >= 0.2
        assert time.monotonic() - began_s >= 0.4


def test_an_agent_that_says_nothing(start: Start) -> None:
    agent = start(QUIET + "connections: [{metadata: {send: false}}]")
    with Client(agent) as client:
        agent.wait_connection().wait_event("conversation_initiation_client_data")
        with pytest.raises(TimeoutError):
            client.receive(0.4)


def test_signed_urls_fail_as_told(start: Start) -> None:
    agent = start(QUIET + 'signed_url: [{status: 429, body: \'{"detail": "slow down"}\'}, {}]')
    request = urllib.request.Request(
        f"{agent.base_url}/v1/convai/conversation/get-signed-url?agent_id=a", headers={"xi-api-key": "k"}
    )
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(request, timeout=60)
    assert failed.value.code == 429
    assert json.load(failed.value) == {"detail": "slow down"}
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert "signed_url" in json.load(answer)


# ---------------------------------------------------------------- the line


def test_drop_is_an_end_without_a_close_frame_and_the_next_connection_is_well(start: Start) -> None:
    agent = start(steps("on: ready, do: drop"))
    with Client(agent) as client:
        assert client.until_closed() == (1006, "")
    assert agent.wait_connection().wait_closed().code == 1006
    with Client(agent) as client:
        client.send({"type": "user_message", "text": "hello"})
        client.until("audio")


def test_reset_is_a_reset(start: Start) -> None:
    agent = start(steps("on: message, type: user_activity, do: reset"))
    with Client(agent) as client:
        # Nothing is written after the reset: a pong into it would close the socket, and nobody would read the reset.
        client.answers_pings = False
        client.until("conversation_initiation_metadata")
        client.send({"type": "user_activity"})
        assert client.until_closed()[0] == 1006
        assert isinstance(reset_of(client), ConnectionResetError)


def reset_of(client: Client) -> BaseException | None:
    """What ended the connection, below the WebSocket."""
    try:
        client.socket.recv(timeout=1)
    except ConnectionClosed as error:
        return error.__cause__
    return None


def test_a_stall_is_over_after_its_time(start: Start) -> None:
    agent = start(steps("on: message, type: user_activity, do: stall, seconds: 0.6"))
    with Client(agent) as client:
        client.until("conversation_initiation_metadata")
        began_s = time.monotonic()
        client.send({"type": "user_activity"})
        agent.wait_connection().wait_event("user_activity")
        client.send({"type": "user_message", "text": "hello"})
        client.until("agent_response")
        assert time.monotonic() - began_s >= 0.6


def test_what_a_client_sent_before_it_closed_is_recorded(start: Start) -> None:
    """Its messages and its close frame come at once, after a stall, so that none of them can be answered."""
    loud = "agent: {first_message: Good morning to all of you., ears: none, stream_speed: 0}\n"
    agent = start(
        steps(
            "on: message, type: user_activity, do: stall, seconds: 1",
            "on: message, type: user_message, do: send, messages: [{type: unheard}]",
            agent=loud,
        )
    )
    with Client(agent) as client:
        client.until("audio")
        client.send({"type": "user_activity"})
        record = agent.wait_connection()
        record.wait_event("user_activity")
        client.send({"type": "user_message", "text": "Stop."})
        client.send({"type": "contextual_update", "text": "it rains"})
        client.send({"type": "client_tool_result", "tool_call_id": "x", "result": "on", "is_error": False})
        client.say(bytes(3_200))
    assert record.wait_closed().by == "client"
    assert record.transcripts == ["Stop."]
    assert [one.fields["text"] for one in record.of_kind("message")] == ["it rains"]
    assert [one.fields["text"] for one in record.of_kind("tool_result")] == ["on"]
    assert record.received_audio == bytes(3_200)


@pytest.mark.parametrize(("code", "reason"), [(1002, "Quota exceeded."), (1011, ""), (3008, "x")])
def test_any_close(start: Start, code: int, reason: str) -> None:
    agent = start(steps(f"on: ready, do: close, code: {code}, reason: '{reason}'"))
    with Client(agent) as client:
        assert client.until_closed() == (code, reason)
    closed = agent.wait_connection().wait_closed()
    assert (closed.code, closed.reason, closed.by) == (code, reason, "agent")


def test_the_nth_time_and_audio_time(start: Start) -> None:
    agent = start(steps("on: speech, nth: 2, after_audio_ms: 400, do: drop"))
    with Client(agent) as client:
        client.until("conversation_initiation_metadata")
        client.say(spoken("Good morning."))
        client.until("user_transcript")
        # The line is gone when the agent has heard 400 ms of it, which may be before the rest is sent.
        with suppress(ConnectionClosed):
            client.say(spoken("Good morning."))
        assert client.until_closed()[0] == 1006
    record = agent.wait_connection()
    assert record.triggers.count("speech") == 2
    assert len(record.transcripts) == 1
    faults = [activity.fields["do"] for activity in record.of_kind("fault")]
    assert faults == ["drop"]


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("event", {"type": "error", "error_event": {"error_type": "llm_timeout", "code": 1002, "message": "late"}}),
        (
            "client",
            {"type": "client_error", "error_event": {"error_name": "llm_timeout", "code": 1002, "message": "late"}},
        ),
        ("flat", {"type": "error", "message": "late"}),
    ],
)
def test_errors_of_every_shape(start: Start, shape: str, expected: dict[str, object]) -> None:
    error = f"on: ready, do: error, shape: {shape}, error_type: llm_timeout, code: 1002, message: late"
    with Client(start(steps(error, "on: ready, do: close, code: 1002"))) as client:
        assert client.until_closed()[0] == 1002
        assert client.messages[-1] == expected


@pytest.mark.parametrize(
    "kind", ["bad_json", "not_object", "missing_type", "missing_fields", "wrong_types", "bad_base64", "binary"]
)
def test_malformed_frames(start: Start, kind: str) -> None:
    with Client(start(steps(f"on: ready, do: malformed, kind: {kind}", "on: ready, do: close"))) as client:
        client.until("conversation_initiation_metadata")
        frame = client.socket.recv(timeout=60)
        assert frame == scenario_frame(kind)
        assert client.until_closed()[0] == 1000


def scenario_frame(kind: str) -> str | bytes:
    from parleyd.embedded.convai_steps import MALFORMED

    return MALFORMED[kind]


def test_an_oversized_frame(start: Start) -> None:
    with Client(start(steps("on: ready, do: oversized, mebibytes: 2"))) as client:
        client.until("conversation_initiation_metadata")
        frame = client.socket.recv(timeout=60)
        assert 2 * 1024 * 1024 <= len(frame) < 2 * 1024 * 1024 + 200
        assert json.loads(frame)["type"] == "audio"


def test_metadata_twice_an_unknown_event_and_the_queue(start: Start) -> None:
    text = steps(
        "on: ready, do: duplicate_metadata",
        "on: ready, do: unknown_event, name: rainbow",
        "on: ready, do: queue_status, status: waiting",
        "on: ready, do: close",
    )
    with Client(start(text)) as client:
        client.until_closed()
        kind = "conversation_initiation_metadata"
        assert client.types() == [kind, kind, "rainbow", "queue_status"]
        assert client.messages[0] == next(m for m in client.messages[1:] if m["type"] == kind)


def test_stale_sound_after_an_interruption(start: Start) -> None:
    agent = start(steps("on: interruption, do: stale_audio, duration_ms: 100"))
    with Client(agent) as client:
        client.send({"type": "user_message", "text": "tell me a story"})
        client.until("audio")
        client.send({"type": "user_message", "text": "stop"})
        floor = client.until("interruption")["interruption_event"]["event_id"]
        stale = client.until("audio")["audio_event"]
        assert stale["event_id"] == floor - 1
        assert len(client.audio[-1][1]) == 3200
        assert client.until("audio")["audio_event"]["event_id"] > floor


def test_an_interruption_with_the_id_of_the_reply(start: Start) -> None:
    agent = start(QUIET.replace("{", "{interruption_id: reply, ", 1))
    with Client(agent) as client:
        client.send({"type": "user_message", "text": "tell me a story"})
        first = client.until("audio")["audio_event"]["event_id"]
        client.send({"type": "user_message", "text": "stop"})
        floor = client.until("interruption")["interruption_event"]["event_id"]
        assert floor > first
        client.until("agent_response")
        assert client.until("audio")["audio_event"]["event_id"] == floor


def test_an_exact_exchange_without_ears_or_answers(start: Start) -> None:
    text = (
        QUIET
        + """
connections:
- converse: false
  transcripts: [Turn on the radio., Thanks.]
  steps:
  - {on: transcript, do: send, messages: [{type: agent_response, agent_response_event: {agent_response: One.}}]}
  - {on: transcript, nth: 2, do: send, messages: ["not json", {type: vad_score, vad_score_event: {vad_score: 0.5}}]}
"""
    )
    agent = start(text)
    with Client(agent) as client:
        client.say(spoken("Good morning."))
        transcript = client.until("user_transcript")["user_transcription_event"]["user_transcript"]
        assert transcript == "Turn on the radio."
        assert client.until("agent_response")["agent_response_event"]["agent_response"] == "One."
        client.say(spoken("Good morning."))
        assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "Thanks."
        assert client.socket.recv(timeout=60) == "not json"
        assert client.receive()["vad_score_event"] == {"vad_score": 0.5}
    assert agent.wait_connection().wait_transcript(2) == "Thanks."


def test_a_tool_call_out_of_nothing(start: Start) -> None:
    agent = start(steps("on: ready, do: tool_call, name: beep, parameters: {times: 2}, expects_response: false"))
    with Client(agent) as client:
        call = client.until("client_tool_call")["client_tool_call"]
        assert (call["tool_name"], call["parameters"], call["expects_response"]) == ("beep", {"times": 2}, False)


def test_it_speaks_unasked_and_hangs_up(start: Start) -> None:
    agent = start(steps("on: ready, do: say, text: One.", "on: spoken, do: end_call, text: Goodbye."))
    with Client(agent) as client:
        assert client.until("agent_response")["agent_response_event"]["agent_response"] == "One."
        assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Goodbye."
        assert client.until_closed()[0] == 1000


def test_fields_can_be_left_out(start: Start) -> None:
    text = "agent: {first_message: Hi, ping_interval_s: 1, omit_fields: [ping_ms, user_input_audio_format, event_id]}"
    with Client(start(text)) as client:
        client.answers_pings = False
        metadata = client.receive()["conversation_initiation_metadata_event"]
        assert set(metadata) == {"conversation_id", "agent_output_audio_format"}
        assert client.until("ping")["ping_event"] == {}
        assert set(client.until("agent_response")["agent_response_event"]) == {"agent_response"}


def test_own_replies_with_a_tool(start: Start) -> None:
    text = """
agent:
  first_message: ''
  replies:
  - {heard: 'how warm', say: 'It is {result}.', tool: {name: thermometer}}
  - {heard: 'leave', say: 'As you like.', end_call: true}
"""
    with Client(start(text)) as client:
        client.send({"type": "user_message", "text": "How warm is it?"})
        call = client.until("client_tool_call")["client_tool_call"]
        result = {"type": "client_tool_result", "tool_call_id": call["tool_call_id"], "result": "21 degrees"}
        client.send({**result, "is_error": False})
        assert client.until("agent_response")["agent_response_event"]["agent_response"] == "It is 21 degrees."
        client.send({"type": "user_message", "text": "leave me"})
        assert client.until_closed()[0] == 1000


@pytest.mark.parametrize("fault", ["steps: [{on: ready, do: stall, seconds: 60}]", "metadata: {delay_s: 60}"])
def test_it_can_be_stopped_in_the_middle_of_a_fault(start: Start, fault: str) -> None:
    agent = start(QUIET + f"connections: [{{{fault}}}]")
    with Client(agent):
        agent.wait_connection().wait_trigger("opening")
        began_s = time.monotonic()
        agent.stop()
        assert time.monotonic() - began_s < 30, "half of what the fault would have taken"
