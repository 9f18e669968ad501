"""The Realtime front over real sockets: turns, cuts, items, tools. Each event is checked against openai's types."""

from __future__ import annotations

import base64

import pytest
from local_client import Start, spoken
from realtime_client import RATE_HZ, RealtimeClient, words

from parleyd.audio.pcm import level_dbfs
from parleyd.embedded.realtime import wire_formats

TRANSCRIBE = {"input": {"transcription": {"model": "gpt-transcribe"}}}
SOUND_MS_PER_BYTE = 1000 / RATE_HZ / 2
# The smallest PNG that there is, with one pixel.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")


def question(text: str = "What time is it?", silence_ms: int = 800) -> bytes:
    return spoken(text, RATE_HZ, silence_ms)


def test_a_spoken_turn_in_the_order_of_the_protocol(start: Start) -> None:
    agent = start()
    with RealtimeClient(agent) as client:
        client.until("session.created")
        client.update(audio=TRANSCRIBE)
        client.messages.clear()
        sound = question()
        client.say(sound)
        response = client.answer()
        assert client.types() == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        started, stopped, committed = client.messages[:3]
        assert started["audio_start_ms"] < 400
        assert started["audio_start_ms"] < stopped["audio_end_ms"] <= len(sound) * SOUND_MS_PER_BYTE
        assert started["item_id"] == stopped["item_id"] == committed["item_id"]
        heard = next(one for one in client.messages if one["type"].endswith("transcription.completed"))
        assert heard["transcript"] == "What time is it?"
        assert response["status"] == "completed"
        assert words(response).startswith("It is ")
        (audio,) = client.audio.values()
        assert level_dbfs(audio) > -40
        usage = response["usage"]
        spoken_ms = len(audio) * SOUND_MS_PER_BYTE
        assert usage["output_token_details"]["audio_tokens"] == -(-spoken_ms // 50)
        committed_ms = stopped["audio_end_ms"] - started["audio_start_ms"]
        assert abs(usage["input_token_details"]["audio_tokens"] - committed_ms / 100) < 4
        assert usage["input_token_details"]["cached_tokens"] == 0
        client.say(question("What did I just say?"))
        again = client.answer()
        assert words(again) == "You said: What time is it?"
        assert again["usage"]["input_token_details"]["cached_tokens"] >= usage["input_token_details"]["audio_tokens"]
    record = agent.wait_connection()
    assert record.received_audio == sound + question("What did I just say?")
    assert record.sent_audio == b"".join(client.audio.values())
    assert record.transcripts == ["What time is it?", "What did I just say?"]
    assert record.deviations == []


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_g711_in_and_out(start: Start, kind: str) -> None:
    agent = start()
    with RealtimeClient(agent) as client:
        audio = {"input": {"format": {"type": kind}, **TRANSCRIBE["input"]}, "output": {"format": {"type": kind}}}
        told = client.update(audio=audio)
        assert told["audio"]["output"]["format"] == {"type": kind}
        client.say(spoken("What time is it?", 8_000, 800), format_type=kind)
        response = client.answer()
        assert words(response).startswith("It is ")
        assert response["audio"]["output"]["format"] == {"type": kind}
        (data,) = client.audio.values()
        pcm = wire_formats.decode(kind, data)
        assert level_dbfs(pcm) > -40
        audio_tokens = response["usage"]["output_token_details"]["audio_tokens"]
        # A token is 50 ms, and each piece of the answer is rounded by itself.
        assert abs(len(data) / 8 / 50 - audio_tokens) <= 2
    assert len(agent.wait_connection().sent_audio) * SOUND_MS_PER_BYTE > 500


def test_speech_cuts_the_response_and_the_client_tells_what_was_heard(start: Start) -> None:
    agent = start("agent: {stream_speed: 2}")
    with RealtimeClient(agent) as client:
        detection = {"type": "server_vad", "create_response": False}
        client.update(audio={"input": {"turn_detection": detection}})
        client.write("Tell me a story.")
        for _ in range(8):
            delta = client.until("response.output_audio.delta")
        client.say(question("Stop."))
        response = client.answer()
        assert response["status"] == "cancelled"
        assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        item = response["output"][0]
        assert (item["id"], item["status"]) == (delta["item_id"], "incomplete")
        sent_ms = len(client.audio[item["id"]]) * SOUND_MS_PER_BYTE
        client.send("conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=int(sent_ms) + 9)
        refused = client.error()
        assert "is already shorter than" in refused["message"]
        client.send("conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=700)
        assert client.until("conversation.item.truncated")["audio_end_ms"] == 700
        client.send("conversation.item.retrieve", item_id=item["id"])
        assert client.until("conversation.item.retrieved")["item"]["content"] == [{"type": "output_audio"}]
        client.write("Say that again.")
        assert words(client.answer()) == "I have not said anything yet."
    record = agent.wait_connection()
    cut = record.of_kind("truncated")[0].fields
    assert (cut["audio_end_ms"], cut["item_id"]) == (700, item["id"])
    assert cut["heard"].startswith("Once")
    assert len(cut["heard"].split()) < 6
    assert [one.fields["reason"] for one in record.of_kind("cancelled")] == ["turn_detected"]


def test_without_interrupt_response_the_answer_goes_on(start: Start) -> None:
    agent = start("agent: {stream_speed: 4}")
    with RealtimeClient(agent) as client:
        detection = {"type": "server_vad", "interrupt_response": False, "create_response": True}
        client.update(audio={"input": {"turn_detection": detection}})
        client.write("Tell me a story.")
        client.until("response.output_audio.delta")
        client.say(question("Stop."))
        error = client.error()
        assert error["code"] == "conversation_already_has_active_response"
        assert error["event_id"] is None
        assert client.answer()["status"] == "completed"
    assert agent.wait_connection().of_kind("cancelled") == []


def test_turns_that_the_client_ends(start: Start) -> None:
    agent = start()
    with RealtimeClient(agent) as client:
        client.update(audio={"input": {"turn_detection": None, **TRANSCRIBE["input"]}})
        client.send("input_audio_buffer.commit", event_id="early")
        error = client.error()
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "early")
        client.say(question("Tell me a story."))
        client.send("input_audio_buffer.clear")
        client.until("input_audio_buffer.cleared")
        client.say(question())
        client.send("input_audio_buffer.commit")
        client.until("input_audio_buffer.committed")
        heard = client.until("conversation.item.input_audio_transcription.completed")
        assert heard["transcript"] == "What time is it?"
        assert "response.created" not in client.types()
        client.send("response.create")
        assert words(client.answer()).startswith("It is ")
        client.send("conversation.item.retrieve", item_id=heard["item_id"])
        part = client.until("conversation.item.retrieved")["item"]["content"][0]
        assert part["transcript"] == "What time is it?"
        assert abs(len(base64.b64decode(part["audio"])) - len(question())) < 200
    assert agent.wait_connection().deviations == []


def test_semantic_turns_end_later_when_the_agent_is_not_eager(start: Start) -> None:
    with RealtimeClient(start("agent: {end_of_speech_ms: 700}")) as client:
        detection = {"type": "semantic_vad", "eagerness": "low"}
        assert client.update(audio={"input": {"turn_detection": detection}})
        client.say(question(silence_ms=700))
        client.write("Hello.")
        client.answer()
        assert "input_audio_buffer.speech_stopped" not in client.types()
        client.say(bytes(2 * RATE_HZ))
        client.until("input_audio_buffer.speech_stopped")


def test_a_tool_is_called_and_its_result_is_spoken(start: Start) -> None:
    agent = start()
    tool = {"type": "function", "name": "set_light", "description": "A lamp.", "parameters": {"type": "object"}}
    with RealtimeClient(agent) as client:
        client.write("Turn on the lamp.")
        assert words(client.answer()) == "I could not do that: I have no tool set_light."
        client.update(tools=[tool])
        client.write("Turn on the lamp.")
        call = client.until("response.function_call_arguments.done")
        assert (call["name"], call["arguments"]) == ("set_light", '{"light": "lamp", "on": true}')
        (item,) = client.answer()["output"]
        assert (item["type"], item["call_id"], item["status"]) == ("function_call", call["call_id"], "completed")
        client.item("function_call_output", call_id="call_other", output="?")
        assert client.error()["code"] == "invalid_tool_call_id"
        client.item("function_call_output", call_id=call["call_id"], output="The lamp is on.")
        client.send("response.create")
        assert words(client.answer()) == "The lamp is on."
        client.send("response.create", response={"tool_choice": "required"})
        assert client.answer()["output"][0]["name"] == "set_light"
        client.send("response.create", response={"tool_choice": "none", "instructions": "Say exactly: No tools."})
        assert words(client.answer()) == "No tools."
    record = agent.wait_connection()
    assert record.of_kind("tool_result")[0].fields["text"] == "The lamp is on."


def test_one_response_at_a_time_and_cancels(start: Start) -> None:
    agent = start("agent: {stream_speed: 2}")
    with RealtimeClient(agent) as client:
        client.send("response.cancel", event_id="none")
        error = client.error()
        assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "none")
        client.write("Tell me a story.", event_id="first")
        created = client.until("response.created")["response"]
        client.until("response.output_audio.delta")
        client.send("response.create", event_id="second")
        error = client.error()
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")
        apart = {"conversation": "none", "metadata": {"topic": "x"}, "output_modalities": ["text"], "input": []}
        client.send("response.create", response={**apart, "instructions": "Say exactly: Apart."})
        done = client.answer()
        assert (done["conversation_id"], done["metadata"], words(done)) == (None, {"topic": "x"}, "Apart.")
        client.send("response.cancel", response_id=created["id"])
        done = client.answer()
        assert (done["id"], done["status"]) == (created["id"], "cancelled")
        assert done["status_details"]["reason"] == "client_cancelled"
        after = len(client.messages)
        client.write("Thank you.")
        assert words(client.answer()) == "You are welcome."
        late = [one for one in client.messages[after:] if one.get("response_id") == created["id"]]
        assert late == []
    assert [one.fields["reason"] for one in agent.wait_connection().of_kind("cancelled")] == ["client_cancelled"]


def test_text_in_and_text_out(start: Start) -> None:
    with RealtimeClient(start()) as client:
        client.update(output_modalities=["text"])
        client.write("Tell me a story.")
        response = client.answer()
        assert words(response).startswith("Once upon a time")
        assert client.audio == {}
        assert response["output"][0]["content"][0]["type"] == "output_text"
        assert response["usage"]["output_token_details"]["audio_tokens"] == 0
        assert client.types().count("response.output_text.done") == 1


def test_a_short_limit_makes_a_response_incomplete(start: Start) -> None:
    with RealtimeClient(start()) as client:
        client.write("Tell me a story.", response={"max_output_tokens": 60})
        response = client.answer()
        assert response["status"] == "incomplete"
        assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert response["usage"]["output_tokens"] <= 60
        assert len(client.audio) == 1


def test_the_items_of_an_earlier_session_are_what_it_remembers(start: Start) -> None:
    agent = start()
    with RealtimeClient(agent) as client:
        client.item(id="a", role="user", content=[{"type": "input_text", "text": "My name is Ada."}])
        client.item(id="b", role="assistant", content=[{"type": "output_text", "text": "Nice to meet you, Ada."}])
        first = {"type": "message", "id": "first", "role": "system", "content": [{"type": "input_text", "text": "Hi"}]}
        client.send("conversation.item.create", item=first, previous_item_id="root")
        assert client.until("conversation.item.added", lambda one: one["item"]["id"] == "b")["previous_item_id"] == "a"
        added = client.until("conversation.item.added", lambda one: one["item"]["id"] == "first")
        assert added["previous_item_id"] is None
        client.write("What is my name?")
        assert words(client.answer()) == "Your name is Ada."
        client.item(id="a", role="user", content=[{"type": "input_text", "text": "Again."}])
        assert client.error()["code"] == "item_create_duplicate_id"
        client.send("conversation.item.delete", item_id="a")
        assert client.until("conversation.item.deleted")["item_id"] == "a"
        client.write("What is my name?")
        assert words(client.answer()) == "You have not told me your name."
        client.item(role="assistant", content=[{"type": "output_audio", "audio": "AAAA"}])
        assert client.error()["param"] == "item.content[0].type"
    assert agent.wait_connection().transcripts[0] == "My name is Ada."


def test_a_system_item_is_context_that_can_be_asked_for(start: Start) -> None:
    with RealtimeClient(start()) as client:
        client.item(role="system", content=[{"type": "input_text", "text": "The cake is ready."}])
        client.send("response.create", response={"instructions": "A message of the device has come. Tell the person."})
        assert words(client.answer()) == "The cake is ready."
        client.send("response.create", response={"instructions": "Greet the person."})
        assert words(client.answer()) == "Hello! How can I help you?"


def test_a_picture(start: Start) -> None:
    agent = start()
    with RealtimeClient(agent) as client:
        url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
        for wrong in ("https://example.org/a.png", url.replace("png", "gif"), url.replace("png", "jpeg")):
            client.item(role="user", content=[{"type": "input_image", "image_url": wrong}])
            assert client.error()["param"] == "item.content[0].image_url"
        text = {"type": "input_text", "text": "What is it?"}
        client.item(role="user", content=[{"type": "input_image", "image_url": url, "detail": "low"}, text])
        client.send("response.create")
        response = client.answer()
        assert words(response) == f"I got a picture: image/png, {len(PNG)} bytes. You said: What is it?"
        assert response["usage"]["input_token_details"]["image_tokens"] == 85
    assert agent.wait_connection().of_kind("file")[0].fields["size_bytes"] == len(PNG)


def test_the_sound_of_old_items_is_forgotten_and_still_counted(start: Start) -> None:
    agent = start("connections: [{transcripts: [One., Two., Three.]}]")
    sound = base64.b64encode(bytes(RATE_HZ * 2 * 30)).decode()
    with RealtimeClient(agent) as client:
        client.until("session.created")
        client.update(output_modalities=["text"])
        for number in range(3):
            content = [{"type": "input_audio", "audio": sound}]
            client.item(role="user", id=f"item_of_{number}", content=content)
            client.until("conversation.item.done")
        kept = []
        for number in range(3):
            client.send("conversation.item.retrieve", item_id=f"item_of_{number}")
            (part,) = client.until("conversation.item.retrieved")["item"]["content"]
            kept.append(bool(part.get("audio")))
        assert kept == [False, True, True]
        client.send("response.create")
        usage = client.answer()["usage"]
        assert usage["input_token_details"]["audio_tokens"] == 3 * 300
