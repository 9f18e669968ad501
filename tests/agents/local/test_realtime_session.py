"""The Realtime front: who may enter, the settings of a session, refusals, models and speech over HTTP."""

from __future__ import annotations

import http.client
import io
import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
import wave
from contextlib import suppress
from typing import Any

import pytest
from local_client import Start
from realtime_client import RATE_HZ, RealtimeClient, words
from websockets.exceptions import ConnectionClosed, InvalidStatus

from parleyd.audio.pcm import level_dbfs
from parleyd.embedded.realtime import protocol
from parleyd.embedded.realtime.front import MOST_WAITING, Front
from parleyd.embedded.record import MOST_DEVIATION_CHARS, MOST_DEVIATIONS
from parleyd.embedded.server import LocalAgent

KEYED = "agent: {api_key: right, require_auth: true}"


def ask(agent: LocalAgent, path: str, body: object = None, key: str = "right", **headers: str) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    more = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    request = urllib.request.Request(agent.base_url + path, data, more)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


# ---------------------------------------------------------------- who may enter


@pytest.mark.parametrize("options", [{"key": "wrong"}, {"key": None}])
def test_a_wrong_key_passes_the_handshake_and_is_closed_with_3000(start: Start, options: dict[str, Any]) -> None:
    with RealtimeClient(start(KEYED), **options) as client:
        assert client.until_closed() == (3000, "invalid_request_error.invalid_api_key")
        assert client.messages == []


@pytest.mark.parametrize(
    "options",
    [
        {"key": "right"},
        {"key": None, "additional_headers": {"api-key": "right"}},
        {"key": None, "subprotocols": ["realtime", "openai-insecure-api-key.right"]},
    ],
)
def test_the_right_key_in_every_place_where_clients_send_it(start: Start, options: dict[str, Any]) -> None:
    agent = start(KEYED)
    with RealtimeClient(agent, **options) as client:
        client.until("session.created")
        assert client.socket.subprotocol == ("realtime" if "subprotocols" in options else None)
    assert "right" not in repr(agent.wait_connection())


def test_the_beta_is_over(start: Start) -> None:
    with RealtimeClient(start(), additional_headers={"OpenAI-Beta": "realtime=v1"}) as client:
        assert client.until_closed() == (4000, "invalid_request_error.beta_api_shape_disabled")
        (error,) = client.messages
        assert error["error"]["code"] == "beta_api_shape_disabled"
        assert (error["error"]["param"], error["error"]["event_id"]) == (None, None)


def test_a_model_that_does_not_exist(start: Start) -> None:
    agent = start()
    with RealtimeClient(agent, "gpt-live-1") as client:
        assert client.until_closed() == (4000, "invalid_request_error.model_not_found")
        assert "gpt-live-1" in client.messages[0]["error"]["message"]
    with RealtimeClient(agent, None) as client:
        client.until("session.created")
        client.send("session.update", session={"type": "realtime", "model": "gpt-live-1"})
        assert (client.error()["code"], client.messages[-1]["error"]["param"]) == ("model_not_found", "session.model")
        assert client.update(model="gpt-realtime-1.5")["model"] == "gpt-realtime-1.5"
        client.send("session.update", session={"type": "realtime", "model": "gpt-realtime-2.1"})
        assert client.error()["param"] == "session.model"


def test_a_web_page_of_elsewhere_may_not_talk_to_it(start: Start) -> None:
    agent = start()
    with pytest.raises(InvalidStatus) as refused:
        RealtimeClient(agent, origin="http://evil.example")
    assert refused.value.response.status_code == 403
    body = {"model": "m", "input": "Hello.", "voice": "marin", "response_format": "pcm"}
    assert ask(agent, "/v1/audio/speech", body, Origin="http://evil.example")[0] == 403
    assert ask(agent, "/v1/audio/speech", body, Host="evil.example")[0] == 403


# ---------------------------------------------------------------- the session


def test_a_session_has_defaults_and_an_end(start: Start) -> None:
    agent = start()
    with RealtimeClient(agent) as client:
        session = client.until("session.created")["session"]
        assert (session["type"], session["model"]) == ("realtime", "gpt-realtime-2.1")
        assert 3500 < session["expires_at"] - time.time() <= 3600
        assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
        assert session["audio"]["input"]["turn_detection"]["idle_timeout_ms"] is None
        told = client.update(instructions="Be brief.", tracing="auto", audio={"output": {"voice": "ash"}})
        assert (told["instructions"], told["tracing"]) == ("Be brief.", "auto")
        assert told["audio"]["input"] == session["audio"]["input"]
        assert told["audio"]["output"]["format"] == session["audio"]["output"]["format"]
        detection = {"type": "server_vad", "silence_duration_ms": 900}
        told = client.update(audio={"input": {"turn_detection": detection}})
        assert told["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 900
        assert told["audio"]["input"]["turn_detection"]["interrupt_response"] is True
        assert client.update(audio={"input": {"turn_detection": None}})["audio"]["input"]["turn_detection"] is None
        assert client.update(instructions="")["audio"]["output"]["voice"] == "ash"
    opening = agent.wait_connection().opening
    assert opening is not None
    assert opening["session"]["tracing"] == "auto"


SESSION_FAULTS = [
    ({"temperature": 1}, "unknown_parameter", "session.temperature"),
    ({"audio": {"input": {"format": "pcm16"}}}, "invalid_value", "session.audio.input.format"),
    ({"audio": {"input": {"sample_rate": 16000}}}, "unknown_parameter", "session.audio.input.sample_rate"),
    ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "invalid_value", "session.audio.input"),
    ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
    ({"audio": {"output": {"voice": "slt"}}}, "invalid_value", "session.audio.output.voice"),
    ({"tools": [{"type": "function", "function": {}}]}, "unknown_parameter", "session.tools[0]"),
    ({"tracing": {"group_id": "g"}}, "invalid_value", "session.tracing"),
    ({"audio": {"input": {"transcription": {"model": "none"}}}}, "invalid_value", "session.audio.input.transcription"),
]


@pytest.mark.parametrize(("wrong", "code", "param"), SESSION_FAULTS)
def test_one_wrong_field_refuses_the_whole_update(start: Start, wrong: dict[str, Any], code: str, param: str) -> None:
    agent = start()
    with RealtimeClient(agent) as client:
        client.update(tracing="auto")
        session = {"type": "realtime", "instructions": "New.", **wrong}
        client.send("session.update", event_id="mine", session=session)
        error = client.error()
        assert (error["code"], error["event_id"]) == (code, "mine")
        assert error["param"].startswith(param)
        assert client.update()["instructions"] == ""
    assert len(agent.wait_connection().deviations) == 1


def test_a_session_without_its_type(start: Start) -> None:
    with RealtimeClient(start()) as client:
        client.send("session.update", session={"instructions": "New."})
        assert (client.error()["code"], client.messages[-1]["error"]["param"]) == (
            "missing_required_parameter",
            "session.type",
        )


def test_reasoning_is_for_models_that_reason(start: Start) -> None:
    agent = start()
    with RealtimeClient(agent) as client:
        assert client.update(reasoning={"effort": "low"})["reasoning"] == {"effort": "low"}
    with RealtimeClient(agent, "gpt-realtime-1.5") as client:
        client.send("session.update", session={"type": "realtime", "reasoning": {"effort": "low"}})
        assert client.error()["param"] == "session.reasoning"


def test_the_voice_is_fixed_after_the_first_sound(start: Start) -> None:
    with RealtimeClient(start()) as client:
        client.write("Hello.")
        assert client.answer()["audio"]["output"]["voice"] == "marin"
        client.send("session.update", session={"type": "realtime", "audio": {"output": {"voice": "ash"}}})
        assert client.error()["code"] == "cannot_update_voice"
        assert client.update(audio={"output": {"voice": "marin"}})


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_json"),
        ("[1]", "invalid_type"),
        ("[" * 100_000, "invalid_json"),
        (b"\x00\x01", "invalid_message"),
        ("{}", "missing_required_parameter"),
        ('{"type": "input_audio_buffer.dance"}', "invalid_value"),
        ('{"type": 5}', "invalid_value"),
        ('{"type": {}}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "@@"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "AAAA", "rate": 5}', "unknown_parameter"),
        ('{"type": "conversation.item.delete", "item_id": "none"}', "item_not_found"),
        ('{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0}', "missing_required_parameter"),
        ('{"type": "response.create", "response": {"modalities": ["text"]}}', "unknown_parameter"),
    ],
)
def test_what_is_wrong_is_told_and_the_session_goes_on(start: Start, frame: str | bytes, code: str) -> None:
    agent = start()
    with RealtimeClient(agent) as client:
        client.socket.send(frame)
        assert client.error()["code"] == code
        client.write("Hello.")
        assert client.answer()["status"] == "completed"
    assert len(agent.wait_connection().deviations) == 1


def test_only_sound_of_the_agent_can_be_truncated(start: Start) -> None:
    with RealtimeClient(start()) as client:
        client.item(id="mine", role="user", content=[{"type": "input_text", "text": "Hello."}])
        client.send("conversation.item.truncate", item_id="mine", content_index=0, audio_end_ms=0)
        error = client.error()
        assert error["code"] == "unsupported_content_type"
        assert error["message"] == "Only model output audio messages can be truncated"


def test_a_session_ends_at_its_longest_duration(start: Start) -> None:
    with RealtimeClient(start("agent: {realtime: {max_session_s: 0.6}}")) as client:
        text = "Your session hit the maximum duration of 0.01 minutes."
        assert client.until_closed() == (1001, text)
        assert client.messages[-1]["error"]["code"] == "session_expired"


def test_a_closed_session_takes_nothing_more(start: Start) -> None:
    agent = start("agent: {realtime: {max_session_s: 0.2}}")
    with RealtimeClient(agent) as client:
        client.until_closed()
        with pytest.raises(ConnectionClosed):
            client.send("response.create")
    assert agent.wait_connection().wait_closed().by == "agent"


# ---------------------------------------------------------------- HTTP


def test_the_models_and_their_last_day(start: Start) -> None:
    agent = start(KEYED)
    assert ask(agent, "/v1/models", key="wrong")[0] == 401
    status, body = ask(agent, "/v1/models")
    models = {one["id"]: one for one in json.loads(body)["data"]}
    assert status == 200
    assert models["gpt-realtime"]["shutdown_date"] == "2027-01-20"
    assert models["gpt-realtime-2.1"]["shutdown_date"] is None
    assert json.loads(ask(agent, "/v1/models/gpt-realtime")[1]) == models["gpt-realtime"]
    status, body = ask(agent, "/v1/models/gpt-live-1")
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")


def test_a_server_without_models(start: Start) -> None:
    assert ask(start("agent: {realtime: {dialect: {models: false}}}"), "/v1/models")[0] == 404


def test_speech_over_http(start: Start) -> None:
    agent = start(KEYED)
    body = {"model": "gpt-4o-mini-tts", "input": "Dinner is ready.", "voice": "marin", "response_format": "pcm"}
    status, pcm = ask(agent, "/v1/audio/speech", body)
    assert status == 200
    assert level_dbfs(pcm) > -40
    status, content = ask(agent, "/v1/audio/speech", {**body, "response_format": "wav"})
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
    assert content[44:] == pcm
    assert struct.unpack_from("<I", content, 40) == (0xFFFFFFFF,)
    assert [one.texts for one in agent.speeches] == [["Dinner is ready."]] * 2
    assert agent.speeches[0].voice_id == "marin"


def test_speech_over_http_knows_the_voices_that_sessions_do_not_have(start: Start) -> None:
    agent = start("agent: {realtime: {voices: [marin]}}")
    body = {"model": "tts-1", "input": "Hello.", "response_format": "pcm"}
    statuses = {
        voice: ask(agent, "/v1/audio/speech", {**body, "voice": voice})[0]
        for voice in ("marin", "fable", "nova", "onyx")
    }
    assert statuses == {"marin": 200, "fable": 200, "nova": 200, "onyx": 200}
    assert ask(agent, "/v1/audio/speech", {**body, "voice": "cedar"})[0] == 400


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"response_format": "mp3"}, 400, "response_format"),
        ({"voice": "slt"}, 400, "voice"),
        ({"input": ""}, 400, "input"),
        ({"input": "x" * 5000}, 400, "input"),
        ({"colour": "red"}, 400, None),
    ],
)
def test_wrong_speech_over_http(start: Start, change: dict[str, Any], status: int, param: str | None) -> None:
    body = {"model": "m", "input": "Hello.", "voice": "marin", "response_format": "pcm", **change}
    got, content = ask(start(), "/v1/audio/speech", body)
    assert (got, json.loads(content)["error"]["param"]) == (status, param)


def test_speech_over_http_has_the_faults_of_the_scenario(start: Start) -> None:
    agent = start(
        "agent: {api_key: right}\n"
        "speech:\n"
        '- handshake: {status: 429, body: \'{"error": {"code": "insufficient_quota"}}\'}\n'
        "- end: {after_chunks: 1, drop: true}\n"
    )
    body = {"model": "m", "input": "Dinner is ready.", "voice": "marin", "response_format": "pcm"}
    assert ask(agent, "/v1/audio/speech", body, key="wrong")[0] == 401
    status, content = ask(agent, "/v1/audio/speech", body)
    assert (status, json.loads(content)["error"]["code"]) == (429, "insufficient_quota")
    with pytest.raises(http.client.IncompleteRead):
        ask(agent, "/v1/audio/speech", body)
    assert ask(agent, "/v1/audio/speech", body)[0] == 200


def test_a_slow_voice_and_a_client_that_goes_away(start: Start) -> None:
    agent = start("speech: [{delay_s: 30}]")
    body = json.dumps({"model": "m", "input": "Hello.", "voice": "marin", "response_format": "pcm"}).encode()
    request = urllib.request.Request(agent.base_url + "/v1/audio/speech", body)
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(request, timeout=1)
    with RealtimeClient(agent) as client:
        client.write("Thank you.")
        assert words(client.answer()) == "You are welcome."


def test_a_client_that_sends_and_never_reads_is_not_read_without_end(start: Start) -> None:
    """What it sends would wait in memory until it reads."""
    agent = start("agent: {ears: none}")
    with RealtimeClient(agent) as client:
        client.until("session.created")
        session = next(iter(agent._sessions))
        assert isinstance(session, Front)
        # Each is answered with the whole session; the answers fill the client's buffers.
        update = json.dumps({
            "type": "session.update", "session": {"type": "realtime", "instructions": "x" * 100_000},
        })  # fmt: skip
        most = 0

        def send() -> None:
            with suppress(ConnectionClosed):
                for _ in range(600):
                    client.socket.send(update)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        for _ in range(50):
            most = max(most, session._actions.qsize())
            sender.join(0.02)
        client.socket.socket.shutdown(socket.SHUT_RDWR)
        sender.join(60)
        agent.wait_connection().wait_closed()
    assert most <= MOST_WAITING + 10, "a message has a few actions"


def test_what_a_client_has_sent_before_it_is_gone_is_noted_also_when_nothing_could_be_sent(start: Start) -> None:
    agent = start("agent: {ears: none}\nconnections: [{metadata: {delay_s: 0.3}}]")
    with RealtimeClient(agent) as client:
        for number in range(3 * MOST_WAITING):
            client.send("conversation.item.delete", item_id=f"x{number}")
        client.socket.socket.shutdown(socket.SHUT_RDWR)
    record = agent.wait_connection()
    record.wait_closed()
    assert len(record.deviations) >= MOST_WAITING


def test_the_sound_of_one_turn_is_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST_BUFFER_S", 1)
    with RealtimeClient(start("agent: {ears: none}")) as client:
        client.until("session.created")
        client.update(audio={"input": {"turn_detection": None}})
        client.say(bytes(RATE_HZ * 2))
        client.send("input_audio_buffer.append", audio="AAAA" * 2)
        assert client.error()["param"] == "audio"
        client.send("input_audio_buffer.clear")
        client.say(bytes(RATE_HZ * 2))
        client.send("input_audio_buffer.commit")
        client.until("input_audio_buffer.committed")


def test_deviations_are_bounded(start: Start) -> None:
    agent = start("agent: {ears: none}")
    with RealtimeClient(agent) as client:
        client.until("session.created")
        for number in range(MOST_DEVIATIONS + 5):
            client.send(f"{number}" + "x" * 1000)
        for _ in range(MOST_DEVIATIONS + 5):
            client.error()
    told = agent.wait_connection().deviations
    assert len(told) == MOST_DEVIATIONS
    assert max(map(len, told)) <= MOST_DEVIATION_CHARS
