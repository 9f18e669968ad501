"""The official clients openai and openai-agents hold a spoken conversation with the embedded agent."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from agents.realtime import RealtimeAgent, RealtimePlaybackTracker, RealtimeRunner, RealtimeSession
from agents.realtime.events import RealtimeSessionEvent
from local_client import WAIT_S, Start, spoken
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from realtime_client import RATE_HZ

from agents import function_tool
from parleyd.audio.pcm import level_dbfs
from parleyd.embedded import server
from parleyd.embedded.server import LocalAgent

CHUNK_BYTES = RATE_HZ // 10 * 2


@pytest.fixture(autouse=True)
def no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """openai-agents would tell its maker of every conversation."""
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def sound(text: str) -> bytes:
    return spoken(text, RATE_HZ, 1200)


# ---------------------------------------------------------------- openai


def say(connection: RealtimeConnection, text: str) -> None:
    pcm = sound(text)
    for start in range(0, len(pcm), CHUNK_BYTES):
        data = base64.b64encode(pcm[start : start + CHUNK_BYTES]).decode()
        connection.input_audio_buffer.append(audio=data)


def until(connection: RealtimeConnection, type_: str) -> tuple[Any, list[RealtimeServerEvent]]:
    """The next event of a type, and those before it."""
    before: list[RealtimeServerEvent] = []
    for event in connection:
        if event.type == type_:
            return event, before
        assert event.type != "error", event
        before.append(event)
    raise AssertionError(f"no {type_}")


def test_openai_holds_a_conversation(start: Start) -> None:
    agent = start("agent: {api_key: opensesame, require_auth: true, stream_speed: 4}")
    client = OpenAI(api_key="opensesame", base_url=f"{agent.base_url}/v1")
    assert client.models.retrieve("gpt-realtime").shutdown_date == "2027-01-20"
    with client.realtime.connect(model="gpt-realtime-2.1") as connection:
        until(connection, "session.created")
        tool: Any = {"type": "function", "name": "set_light", "parameters": {"type": "object", "properties": {}}}
        transcription: Any = {"model": "gpt-transcribe", "language": "en"}
        audio: Any = {"input": {"transcription": transcription}, "output": {"voice": "marin"}}
        connection.session.update(session={"type": "realtime", "audio": audio, "tools": [tool]})
        until(connection, "session.updated")

        # A spoken turn.
        say(connection, "What time is it?")
        done, before = until(connection, "response.done")
        heard = [one for one in before if one.type == "conversation.item.input_audio_transcription.completed"]
        assert [one.transcript for one in heard] == ["What time is it?"]
        pcm = b"".join(base64.b64decode(one.delta) for one in before if one.type == "response.output_audio.delta")
        assert level_dbfs(pcm) > -40
        assert done.response.output[0].content[0].transcript.startswith("It is ")
        assert done.response.usage.output_token_details.audio_tokens > 0

        # A tool.
        connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Turn on the lamp."}]}
        )
        connection.response.create()
        call, _ = until(connection, "response.function_call_arguments.done")
        assert call.name == "set_light"
        until(connection, "response.done")
        connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "The lamp is on."}
        )
        connection.response.create(response={"output_modalities": ["text"]})
        done, _ = until(connection, "response.done")
        assert done.response.output[0].content[0].text == "The lamp is on."

        # An answer that is cut, by a person and then by the client.
        say(connection, "Tell me a story.")
        delta, _ = until(connection, "response.output_audio.delta")
        say(connection, "Stop.")
        done, _ = until(connection, "response.done")
        assert done.response.status_details.reason == "turn_detected"
        connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=200)
        until(connection, "conversation.item.truncated")
        until(connection, "response.done")
        say(connection, "Tell me a story.")
        delta, _ = until(connection, "response.output_audio.delta")
        connection.response.cancel(response_id=delta.response_id)
        done, _ = until(connection, "response.done")
        assert done.response.status_details.reason == "client_cancelled"
    record = agent.wait_connection()
    assert record.wait_closed().by == "client"
    assert record.deviations == []
    assert [one.fields["reason"] for one in record.of_kind("cancelled")] == ["turn_detected", "client_cancelled"]
    assert record.of_kind("truncated")[0].fields["audio_end_ms"] == 200
    assert "opensesame" not in repr(record)


def test_openai_speaks_a_text(start: Start) -> None:
    client = OpenAI(api_key="k", base_url=f"{start().base_url}/v1")
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="cedar", input="Dinner is ready.", response_format="pcm"
    ) as answer:
        pcm = answer.read()
    assert level_dbfs(pcm) > -40
    assert len(pcm) > RATE_HZ


def test_a_speech_may_take_longer_than_a_handshake(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_S", 0.3)
    base_url = start("agent: {stream_speed: 2, chunk_ms: 100}").base_url
    client = OpenAI(api_key="k", base_url=f"{base_url}/v1", max_retries=0)
    text = "The kettle is on, and it will boil soon."
    pcm = client.audio.speech.create(model="tts-1", voice="cedar", input=text, response_format="pcm").read()
    assert len(pcm) / 2 / RATE_HZ > 1, "more than a second of sound, at twice its speed"


# ---------------------------------------------------------------- openai-agents


@function_tool
def set_light(light: str, on: bool) -> str:
    """Switches a lamp."""
    return f"The {light} is {'on' if on else 'off'}."


async def wait_for(
    events: AsyncIterator[RealtimeSessionEvent], test: Callable[[RealtimeSessionEvent], object]
) -> list[RealtimeSessionEvent]:
    """All events up to one that passes the test."""
    seen: list[RealtimeSessionEvent] = []
    async with asyncio.timeout(WAIT_S):
        async for event in events:
            assert event.type != "error", event
            seen.append(event)
            if test(event):
                return seen
    raise AssertionError("the session has ended")


def is_turn_end(event: RealtimeSessionEvent) -> bool:
    return event.type == "raw_model_event" and event.data.type == "turn_ended"


async def send(session: RealtimeSession, text: str) -> None:
    pcm = sound(text)
    for start in range(0, len(pcm), CHUNK_BYTES):
        await session.send_audio(pcm[start : start + CHUNK_BYTES])


async def converse(agent: LocalAgent) -> None:
    person = RealtimeAgent(name="Ada", instructions="Be brief.", tools=[set_light])
    playback = RealtimePlaybackTracker()
    runner = RealtimeRunner(person)
    url = f"{agent.url}/v1/realtime?model=gpt-realtime-2.1"
    config: Any = {"url": url, "headers": {"Authorization": "Bearer k"}, "playback_tracker": playback}
    async with await runner.run(model_config=config) as session:
        events = aiter(session)

        # A spoken turn.
        await send(session, "What time is it?")
        seen = await wait_for(events, is_turn_end)
        pcm = b"".join(one.audio.data for one in seen if one.type == "audio")
        assert level_dbfs(pcm) > -40
        assert "What time is it?" in repr(session._history)
        assert "It is " in repr(session._history)

        # A tool, by typed words.
        await session.send_message("Turn on the lamp.")
        seen = await wait_for(events, lambda one: one.type == "tool_end")
        assert seen[-1].type == "tool_end"
        assert seen[-1].output == "The lamp is on."
        await wait_for(events, lambda one: one.type == "audio_end")
        assert "The lamp is on." in repr(session._history)

        # A person cuts the answer, 200 ms of which have been played.
        await session.send_message("Tell me a story.")
        seen = await wait_for(events, lambda one: one.type == "audio")
        audio = seen[-1]
        assert audio.type == "audio"
        playback.on_play_ms(audio.item_id, 0, 200)
        await send(session, "Stop.")
        await wait_for(events, lambda one: one.type == "audio_interrupted")
        await wait_for(events, is_turn_end)


def test_openai_agents_holds_a_conversation(start: Start) -> None:
    agent = start("agent: {stream_speed: 4}")
    asyncio.run(converse(agent))
    record = agent.wait_connection()
    record.wait_closed()
    assert record.deviations == []
    assert record.transcripts[:2] == ["What time is it?", "Turn on the lamp."]
    assert record.of_kind("tool_result")[0].fields["text"] == "The lamp is on."
    assert record.of_kind("truncated")[0].fields["audio_end_ms"] == 200
    assert record.events_of("session.update")[0]["session"]["instructions"] == "Be brief."
