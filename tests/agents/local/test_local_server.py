"""The rules of the protocol, over real sockets."""

from __future__ import annotations

import gc
import json
import socket
import time
import urllib.error
import urllib.request
import warnings

import pytest
from local_client import Client, Start, spoken
from websockets.exceptions import InvalidStatus

from parleyd.audio.pcm import level_dbfs
from parleyd.embedded import server
from parleyd.embedded.server import LocalAgent

FORMATS = ("pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000")
SILENT = "agent: {first_message: ''"


def get(agent: LocalAgent, path: str, key: str | None = "k") -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(agent.base_url + path, headers={"xi-api-key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


# ---------------------------------------------------------------- handshake, who may


def test_the_sub_protocol_is_echoed_only_when_offered(start: Start) -> None:
    agent = start(SILENT + "}")
    with Client(agent, subprotocols=["bearer.x", "convai"]) as client:
        assert client.socket.subprotocol == "convai"
    with Client(agent) as client:
        assert client.socket.subprotocol is None
    with Client(agent, subprotocols=["other"]) as client:
        assert client.socket.subprotocol is None


def test_a_signed_url_leads_to_a_conversation(start: Start) -> None:
    agent = start("agent: {require_auth: true, api_key: right, first_message: ''}")
    path = "/v1/convai/conversation/get-signed-url?agent_id=a&environment=staging"
    assert get(agent, path, "wrong")[0] == 401
    assert get(agent, path, None)[0] == 401
    assert get(agent, "/v1/convai/conversation/get-signed-url", "right")[0] == 422
    status, answer = get(agent, path, "right")
    url = str(answer["signed_url"])
    assert status == 200
    assert url.startswith(f"ws://127.0.0.1:{agent.port}/v1/convai/conversation?agent_id=a&environment=staging&")
    with Client(agent, query=url.partition("?")[2] + "&source=python_sdk&version=1") as client:
        client.until("conversation_initiation_metadata")
    assert "conversation_signature=***" in agent.wait_connection().path


@pytest.mark.parametrize(
    ("settings", "query", "reason"),
    [
        ("{}", "", "does not exist"),
        ("{agent_id: one}", "agent_id=two", "does not exist"),
        ("{require_auth: true}", "agent_id=a", "Could not authorize"),
        ("{}", "agent_id=a&conversation_signature=stale", "Could not authorize"),
        ("{branches: [main]}", "agent_id=a&branch_id=agtbrch_9", "Request error"),
        ("{environments: [production]}", "agent_id=a&environment=staging", "Request error"),
    ],
)
def test_who_may_not_is_told_and_closed_with_3000(start: Start, settings: str, query: str, reason: str) -> None:
    with Client(start(f"agent: {settings}"), None, query) as client:
        code, text = client.until_closed()
        assert code == 3000
        assert reason in text
        # The codes and types of error events, by the contract, have none for this.
        assert client.types() == []


def test_a_branch_in_the_first_message_is_judged_as_well(start: Start) -> None:
    agent = start("agent: {branches: [main], first_message: ''}")
    first = {"type": "conversation_initiation_client_data", "branch_id": "other", "user_id": 7}
    with Client(agent, first) as client:
        assert client.until_closed()[0] == 3000
        assert client.types() == []
    record = agent.wait_connection()
    assert record.deviations == ["conversation_initiation_client_data.user_id is not text"]
    assert [one.fields["text"] for one in record.of_kind("deviation")] == record.deviations


def test_a_key_that_may_only_read_gets_no_signed_url(start: Start) -> None:
    agent = start("agent: {api_key: right, require_auth: true, key_permissions: [convai_read]}")
    status, answer = get(agent, "/v1/convai/conversation/get-signed-url?agent_id=a", "right")
    assert status == 401
    assert "missing the permission convai_write" in str(answer["detail"])


def test_a_key_in_the_header_of_the_socket_will_do(start: Start) -> None:
    agent = start("agent: {require_auth: true, api_key: right, first_message: ''}")
    with Client(agent, additional_headers={"xi-api-key": "right"}) as client:
        client.until("conversation_initiation_metadata")
    assert "right" not in repr(agent.wait_connection())


def test_a_web_page_of_elsewhere_may_not_talk_to_it(start: Start) -> None:
    agent = start("agent: {ears: none}\n")
    for origin in ("http://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused:
            Client(agent, origin=origin)
        assert refused.value.response.status_code == 403
    with Client(agent, origin="http://localhost:3000") as client:
        client.until("audio")
    # A name that was rebound to this machine: no origin is told with a plain request.
    request = urllib.request.Request(f"{agent.base_url}/v1/convai/agents/x", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as status:
        urllib.request.urlopen(request, timeout=60)
    assert status.value.code == 403


def test_a_client_that_never_ends_its_handshake_is_dropped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_S", 0.2)
    agent = start("agent: {ears: none}\n")
    with socket.create_connection((agent.host, agent.port), timeout=60) as silent:
        silent.sendall(b"GET /v1/convai/conversation HTTP/1.1\r\n")
        while silent.recv(4096):
            pass


def test_other_paths_are_not_found(start: Start) -> None:
    agent = start()
    assert get(agent, "/v1/elsewhere")[0] == 404
    with pytest.raises(InvalidStatus):
        Client(LocalPath(agent))  # type: ignore[arg-type]


class LocalPath:
    def __init__(self, agent: LocalAgent) -> None:
        self.url = f"{agent.url}/elsewhere/"[:-1] + "?x="
        self.settings = agent.settings


# ---------------------------------------------------------------- the beginning


def test_metadata_come_first_and_once_and_then_the_greeting(start: Start) -> None:
    agent = start()
    with Client(agent) as client:
        client.until("audio")
        first = client.messages[0]
        assert first["type"] == "conversation_initiation_metadata"
        event = first["conversation_initiation_metadata_event"]
        assert event["conversation_id"].startswith("conv_")
        assert event["agent_output_audio_format"] == event["user_input_audio_format"] == "pcm_16000"
        assert client.types().count("conversation_initiation_metadata") == 1
        response = next(message for message in client.messages if message["type"] == "agent_response")
        assert response["agent_response_event"]["event_id"] == client.audio[0][0] >= 1


def test_without_an_initiation_frame_metadata_come_all_the_same(start: Start) -> None:
    agent = start("agent: {opening_timeout_s: 0.3, first_message: ''}")
    began_s = time.monotonic()
    with Client(agent, None) as client:
        client.until("conversation_initiation_metadata")
        assert time.monotonic() - began_s > 0.25


def test_the_first_message_can_be_overridden(start: Start) -> None:
    agent = start()
    override = {"agent": {"first_message": "Hi {{who}}."}, "tts": {"voice_id": "v", "speed": 1.1}}
    opening = {
        "type": "conversation_initiation_client_data",
        "conversation_config_override": override,
        "dynamic_variables": {"who": "Ada"},
    }
    with Client(agent, opening) as client:
        assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Hi Ada."
    assert agent.wait_connection().opening == opening


def test_an_empty_first_message_keeps_the_agent_silent(start: Start) -> None:
    agent = start("agent: {ping_interval_s: 0.2}")
    override = {"agent": {"first_message": ""}}
    opening = {"type": "conversation_initiation_client_data", "conversation_config_override": override}
    with Client(agent, opening) as client:
        for _ in range(3):
            client.until("ping")
        assert client.types() == ["conversation_initiation_metadata"]


def test_a_refused_override_is_an_error_event_and_then_the_close(start: Start) -> None:
    opening = {
        "type": "conversation_initiation_client_data",
        "conversation_config_override": {"agent": {"first_message": "x"}},
    }
    with Client(start("agent: {allowed_overrides: [prompt]}"), opening) as client:
        text = "Override for field 'first_message' is not allowed by config."
        assert client.until_closed() == (1008, text)
        assert client.messages[-1]["error_event"] == {"error_type": "override_error", "code": 1008, "message": text}


def test_a_missing_variable_is_an_error_event_and_then_the_close(start: Start) -> None:
    with Client(start("agent: {first_message: 'Hi {{user_name}}'}")) as client:
        code, reason = client.until_closed()
        assert (code, reason) == (1008, "Missing required dynamic variables in first message: {'user_name'}")
        assert client.messages[-1]["error_event"]["error_type"] == "missing_dynamic_variable"


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[1]",
        "[" * 100_000,
        '{"no": "type"}',
        b"\x00",
        '{"user_audio_chunk": "?"}',
        '{"user_audio_chunk": "ü"}',
        '{"user_audio_chunk": "AAAA"}',
    ],
)
def test_what_is_no_message_ends_the_conversation(start: Start, frame: str | bytes) -> None:
    with Client(start(SILENT + "}")) as client:
        client.until("conversation_initiation_metadata")
        client.socket.send(frame)
        code, reason = client.until_closed()
        assert code == 1008
        assert reason.startswith("Invalid message received: ")
        errors = [message["error_event"]["error_type"] for message in client.messages if message["type"] == "error"]
        assert errors == ["invalid_message"]


def test_messages_of_all_types_are_accepted(start: Start) -> None:
    agent = start(SILENT + ", ping_interval_s: 0.1}")
    with Client(agent) as client:
        client.until("conversation_initiation_metadata")
        client.send({"type": "feedback", "event_id": 1, "score": "like"})
        client.send({"type": "user_activity"})
        client.send({"type": "mcp_tool_approval_result", "tool_call_id": "c", "is_approved": True})
        client.send({"type": "client_tool_result", "tool_call_id": "unknown", "result": {"a": [1]}, "is_error": False})
        client.send({"type": "rainbow"})
        record = agent.wait_connection()
        record.wait_event("rainbow")
        client.until("ping")
        assert record.deviations == ["client_tool_result.result is not text", "unknown type 'rainbow'"]


# ---------------------------------------------------------------- pings and limits


def test_pings_carry_the_round_trip_of_the_one_before(start: Start) -> None:
    with Client(start(SILENT + ", ping_interval_s: 0.1}")) as client:
        first, second = client.until("ping"), client.until("ping")
        third = client.until("ping")
        assert first["ping_event"]["ping_ms"] is None
        assert third["ping_event"]["ping_ms"] >= 0
        assert first["ping_event"]["event_id"] < second["ping_event"]["event_id"]


def test_missing_pongs_end_it_only_if_the_scenario_wants_that(start: Start) -> None:
    with Client(start(SILENT + ", ping_interval_s: 0.1, pong_timeout_s: 0.3}")) as client:
        client.answers_pings = False
        assert client.until_closed()[0] == 1002


def test_a_client_without_input_is_timed_out(start: Start) -> None:
    with Client(start(SILENT + ", receive_timeout_s: 0.4, ping_interval_s: 0.1}")) as client:
        code, _ = client.until_closed()
        assert code == 1002
        assert client.messages[-1]["error_event"]["error_type"] == "transport_receive_timeout"


def test_the_longest_conversation_ends_properly(start: Start) -> None:
    with Client(start(SILENT + ", max_duration_s: 0.4}")) as client:
        assert client.until_closed()[0] == 1000
        assert client.messages[-1]["error_event"]["error_type"] == "max_duration_exceeded"


def test_silence_is_asked_about_and_then_ends_the_call(start: Start) -> None:
    text = SILENT + ", turn_timeout_s: 0.2, turn_timeout_message: 'Hey?', silence_end_call_s: 1.2}"
    with Client(start(text)) as client:
        assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Hey?"
        assert client.until_closed()[0] == 1000


# ---------------------------------------------------------------- turns


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_question_in_every_format(start: Start, fmt: str) -> None:
    agent = start(
        f"agent: {{first_message: '', input_format: {fmt}, output_format: {fmt}, stream_speed: 0, "
        "more_client_events: [agent_response_complete]}"
    )
    with Client(agent) as client:
        event = client.until("conversation_initiation_metadata")["conversation_initiation_metadata_event"]
        assert event["agent_output_audio_format"] == event["user_input_audio_format"] == fmt
        rate_hz = client.input_format.rate_hz
        client.say(spoken("What time is it?", rate_hz))
        assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "What time is it?"
        client.until("agent_response_complete")
        assert client.types()[1:] == ["user_transcript", "agent_response", "audio", "agent_response_complete"]
        pcm = b"".join(data for _, data in client.audio)
        assert level_dbfs(pcm) > -35
        assert 0.8 < len(pcm) / 2 / rate_hz < 3.0
    record = agent.wait_connection()
    assert record.received_audio_ms == pytest.approx(len(spoken("What time is it?", rate_hz)) / 2 / rate_hz * 1000)
    record.wait_closed()
    assert record.sent_audio == pcm


def test_an_answer_is_one_id_in_chunks_faster_than_real_time(start: Start) -> None:
    text = SILENT + ", chunk_ms: 200, stream_speed: 50, more_client_events: [agent_response_complete]}"
    agent = start(text)

    def part_of_its_length() -> float:
        """How long the answer took to come, as a part of the time in which it is played."""
        with Client(agent) as client:
            client.send({"type": "user_message", "text": "count to ten"})
            client.until("audio")
            began_s = time.monotonic()
            client.until("agent_response_complete")
            took_s = time.monotonic() - began_s
            sizes = [len(data) for _, data in client.audio]
            assert len({event_id for event_id, _ in client.audio}) == 1
            assert set(sizes[:-1]) == {6400}
            first_id = client.audio[0][0]
            client.send({"type": "user_activity"})
            client.send({"type": "user_message", "text": "hello"})
            client.until("agent_response")
            assert client.until("audio")["audio_event"]["event_id"] > first_id
            return took_s / (sum(sizes) / 32_000)

    # A busy machine only ever adds; an agent that spoke in real time would do so each time.
    assert any(part_of_its_length() < 1 for _ in range(10))


def test_speech_interrupts_what_the_client_still_plays(start: Start) -> None:
    agent = start(SILENT + ", stream_speed: 0, more_client_events: [agent_response_complete]}")
    with Client(agent) as client:
        client.say(spoken("Tell me a story."))
        asked_s = time.monotonic()
        # All is sent; by the clock the client has only begun to play it.
        client.until("agent_response_complete")
        story_id = client.audio[-1][0]
        began_s = time.monotonic()
        while time.monotonic() - began_s < 1.5:
            client.send({"type": "user_activity"})
            time.sleep(0.05)  # A client that plays in real time.
        client.say(spoken("Stop."))
        assert client.until("interruption")["interruption_event"]["event_id"] == story_id
        played_s = time.monotonic() - asked_s
        correction = client.until("agent_response_correction")["agent_response_correction_event"]
        assert correction["event_id"] == story_id
        assert correction["original_agent_response"].startswith(correction["corrected_agent_response"])
        words = len(correction["corrected_agent_response"].split())
        story_s = sum(len(data) for event_id, data in client.audio if event_id == story_id) / 32_000
        assert 2 <= words <= len(correction["original_agent_response"].split()) * played_s / story_s + 2
        assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "Stop."
        assert client.until("agent_response")["agent_response_event"]["agent_response"] == "All right."
        assert client.until("audio")["audio_event"]["event_id"] > story_id


def test_an_interruption_stops_the_stream(start: Start) -> None:
    with Client(start(SILENT + ", stream_speed: 2}")) as client:
        client.send({"type": "user_message", "text": "tell me a story"})
        story_id = client.until("audio")["audio_event"]["event_id"]
        client.send({"type": "user_message", "text": "stop"})
        client.until("interruption")
        before = len(client.audio)
        client.until("audio", lambda message: message["audio_event"]["event_id"] > story_id)
        assert all(event_id > story_id for event_id, _ in client.audio[before:])


def test_an_interruption_stops_the_answer_that_another_one_waits_for(start: Start) -> None:
    """What the agent says of its own accord waits until the answer before it is sent."""
    says = "connections: [{steps: [{on: speaking, do: say, text: Tick.}]}]"
    text = f"{SILENT}, ears: none, stream_speed: 4, ping_interval_s: 0.3}}\n{says}"
    with Client(start(text)) as client:
        client.until("conversation_initiation_metadata")
        client.send({"type": "user_message", "text": "Tell me a story."})
        client.until("audio")
        client.send({"type": "user_message", "text": "What time is it?"})
        client.until("interruption")
        count = len(client.audio)
        client.until("agent_response", lambda one: one["agent_response_event"]["agent_response"].startswith("It is"))
        client.until("audio")
        # Several chunks of the first answer would have been due.
        client.until("ping")
        client.until("ping")
        assert {event_id for event_id, _ in client.audio[count:]} == {client.audio[-1][0]}
        assert client.audio[-1][0] != client.audio[0][0]


def test_without_the_event_an_agent_cannot_be_interrupted(start: Start) -> None:
    events = "client_events: [audio, agent_response, agent_response_complete]"
    with Client(start(f"agent: {{first_message: '', stream_speed: 0, {events}}}")) as client:
        first_s = time.monotonic()
        client.send({"type": "user_message", "text": "stop"})
        client.until("audio")
        client.send({"type": "user_message", "text": "hello"})
        client.until("agent_response_complete")
        length_s = sum(len(data) for _, data in client.audio) / 32_000
        client.until("agent_response")
        assert time.monotonic() - first_s > length_s * 0.8
        assert "interruption" not in client.types()


def test_events_that_are_not_enabled_are_not_sent(start: Start) -> None:
    with Client(start("agent: {client_events: [audio], first_message: '', ping_interval_s: 0.1}")) as client:
        client.say(spoken("What time is it?"))
        client.until("audio")
        client.until("ping")
        assert client.types() == ["conversation_initiation_metadata", "audio"]


def test_tentative_transcripts_come_before_the_final_one(start: Start) -> None:
    with Client(start(SILENT + ", tentative_every_ms: 300}")) as client:
        client.say(spoken("Turn on the kitchen light."))
        final = client.until("user_transcript")["user_transcription_event"]
        tentative = [
            message["tentative_user_transcription_event"]
            for message in client.messages
            if message["type"] == "tentative_user_transcript"
        ]
        assert tentative
        assert {event["event_id"] for event in tentative} == {final["event_id"]}


def test_noise_is_a_transcript_of_dots(start: Start) -> None:
    with Client(start(SILENT + "}")) as client:
        client.say(spoken("The quick brown fox jumps over the lazy dog."))
        assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "..."
        response = client.until("agent_response")["agent_response_event"]["agent_response"]
        assert response == "Sorry, I did not understand."


def test_context_is_remembered_and_neither_answered_nor_an_interruption(start: Start) -> None:
    with Client(start("agent: {first_message: Good morning., ping_interval_s: 0.1}")) as client:
        client.until("audio")
        client.send({"type": "contextual_update", "text": "Ada asked for the time."})
        for _ in range(3):
            client.until("ping")
        assert client.types().count("agent_response") == 1
        client.send({"type": "user_message", "text": "What did I say before?"})
        client.until("interruption")
        text = client.until("agent_response")["agent_response_event"]["agent_response"]
        assert text == "I was told: Ada asked for the time."


def test_orders_that_overtake_each_other_leave_one_answer_and_no_complaint(start: Start) -> None:
    """An answer may be given up before it has begun."""
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        with Client(start(SILENT + "}")) as client:
            for _ in range(30):
                client.send({"type": "user_message", "text": "Please tell me the time."})
            client.send({"type": "user_message", "text": "Goodbye!"})
            assert client.until_closed() == (1000, "")
        gc.collect()
    assert not [str(one.message) for one in complaints if one.category is RuntimeWarning]


def test_goodbye_hangs_up_when_the_goodbye_is_sent(start: Start) -> None:
    agent = start(SILENT + "}")

    def heard_of_it() -> float:
        """How much of the goodbye could have been played when the agent hung up."""
        with Client(agent) as client:
            client.send({"type": "user_message", "text": "Goodbye!"})
            client.until("audio")
            began_s = time.monotonic()
            assert client.until_closed() == (1000, "")
            took_s = time.monotonic() - began_s
            assert client.messages[-1]["agent_tool_response"]["tool_name"] == "end_call"
            return took_s / (sum(len(data) for _, data in client.audio) / 32_000)

    # A busy machine only ever adds; an agent that waited until all was played would do so each time.
    assert any(heard_of_it() < 0.5 for _ in range(10))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"result": "The light is on.", "is_error": False}, "The light is on."),
        ({"result": "no such lamp", "is_error": True}, "I could not do that: no such lamp"),
    ],
)
def test_a_tool_is_called_and_its_result_said(start: Start, result: dict[str, object], said: str) -> None:
    with Client(start(SILENT + "}")) as client:
        client.send({"type": "user_message", "text": "Turn on the light."})
        call = client.until("client_tool_call")["client_tool_call"]
        assert call["tool_name"] == "set_light"
        assert call["parameters"] == {"light": "light", "on": True}
        assert call["expects_response"] is True
        client.send({"type": "client_tool_result", "tool_call_id": call["tool_call_id"], **result})
        assert client.until("agent_response")["agent_response_event"]["agent_response"] == said


def test_a_tool_without_an_answer_is_given_up(start: Start) -> None:
    with Client(start(SILENT + ", tool_timeout_s: 0.2}")) as client:
        client.send({"type": "user_message", "text": "Turn on the light."})
        response = client.until("agent_response")["agent_response_event"]["agent_response"]
        assert response == "I could not do that: no answer in time"


def test_text_only_conversations_have_no_sound(start: Start) -> None:
    opening = {
        "type": "conversation_initiation_client_data",
        "conversation_config_override": {"conversation": {"text_only": True}},
    }
    with Client(start("agent: {more_client_events: [agent_response_complete]}"), opening) as client:
        client.until("agent_response_complete")
        client.send({"type": "user_message", "text": "hello"})
        client.until("agent_response_complete")
        assert "audio" not in client.types()
        kinds = [m["text_response_part"]["type"] for m in client.messages if m["type"] == "agent_chat_response_part"]
        assert (kinds[0], kinds[-1]) == ("start", "stop")


def test_two_conversations_at_once(start: Start) -> None:
    agent = start(SILENT + "}")
    with Client(agent) as one, Client(agent) as two:
        one.say(spoken("What time is it?"))
        two.say(spoken("Count to ten."))
        assert one.until("user_transcript")["user_transcription_event"]["user_transcript"] == "What time is it?"
        assert two.until("user_transcript")["user_transcription_event"]["user_transcript"] == "Count to ten."
        one.until("audio")
        two.until("audio")


def test_stopping_closes_with_1001(start: Start) -> None:
    agent = start()
    with Client(agent) as client:
        client.until("conversation_initiation_metadata")
        agent.stop()
        assert client.until_closed()[0] == 1001


def test_the_record_says_who_closed(start: Start) -> None:
    agent = start(SILENT + "}")
    with Client(agent) as client:
        client.until("conversation_initiation_metadata")
        client.socket.close(1000, "User ended conversation")
    closed = agent.wait_connection().wait_closed()
    assert (closed.code, closed.reason, closed.by) == (1000, "User ended conversation", "client")


@pytest.mark.parametrize("event_id", ["{}", "[1]", '"1"', "null"])
def test_a_pong_whose_number_is_none_is_a_deviation_and_ends_nothing(start: Start, event_id: str) -> None:
    agent = start(SILENT + ", ping_interval_s: 60}")
    with Client(agent) as client:
        client.answers_pings = False
        client.until("ping")
        client.socket.send(f'{{"type": "pong", "event_id": {event_id}}}')
        client.send({"type": "user_message", "text": "Hello."})
        client.until("agent_response")
    assert "pong without event_id" in agent.wait_connection().deviations
