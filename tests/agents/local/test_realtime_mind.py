"""The Realtime front with a language model: words in pieces, tools, cancellation, heard words. Each event is checked
against openai's types."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("openai")
from local_client import Start, spoken
from model_servers import Model, Odd, call, models
from model_servers import words as chunk
from realtime_client import RATE_HZ, RealtimeClient, words

from parleyd.embedded.realtime.history import asked
from parleyd.embedded.realtime.items import Item
from parleyd.embedded.settings import MindSettings

SORRY = MindSettings(base_url="http://127.0.0.1:9/v1").sorry
LIGHT = {
    "type": "function",
    "name": "get_light",
    "description": "Tells whether a light is on.",
    "parameters": {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]},
}


@pytest.fixture
def model() -> Iterator[Model]:
    with models() as start:
        yield start


def of(base_url: str, agent: str = "") -> str:
    return f'agent: {{{agent} prompt: "You live in a kitchen.", mind: {{base_url: "{base_url}", next_token_s: 60}}}}'


def test_a_spoken_question_is_answered_by_the_model_before_it_has_written_all(start: Start) -> None:
    rest = threading.Event()
    with Odd([chunk("The kettle is on. "), chunk("It will "), rest, chunk("boil soon."), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(instructions="Be brief.")
            client.say(spoken("What time is it?", RATE_HZ, 800))
            client.until("response.output_audio.delta")
            rest.set()
            response = client.answer()
        assert response["status"] == "completed"
        assert words(response) == "The kettle is on. It will boil soon."
        system, user = server.asked[0]["messages"]
        assert system["content"].startswith("You live in a kitchen.\n\nBe brief.")
        assert user == {"role": "user", "content": "What time is it?"}


def test_a_tool_of_the_session_is_called_and_its_result_is_used(start: Start, model: Model) -> None:
    agent = start(of(model("--tool-mode", "auto")))
    with RealtimeClient(agent) as client:
        client.until("session.created")
        client.update(tools=[LIGHT], output_modalities=["text"])
        client.write("Is the light on?")
        made = client.answer()["output"][-1]
        assert (made["type"], made["name"]) == ("function_call", "get_light")
        assert isinstance(json.loads(made["arguments"])["room"], str)
        client.item("function_call_output", call_id=made["call_id"], output="on")
        client.send("response.create")
        assert words(client.answer()) not in ("", SORRY)


def test_words_and_two_calls_in_one_answer(start: Start) -> None:
    answer = [
        chunk("I will look. "),
        call("a", "get_light", '{"room": "hall"}'),
        call("b", "get_light", '{"room": "attic"}'),
        call("c", "no_such_tool", "{}"),
        {"finish": "tool_calls"},
    ]
    with Odd(answer) as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(tools=[LIGHT], output_modalities=["text"])
            client.write("The lights?")
            response = client.answer()
            assert words(response) == "I will look."
            calls = [item for item in response["output"] if item["type"] == "function_call"]
            assert [json.loads(one["arguments"])["room"] for one in calls] == ["hall", "attic"]
            for one in calls:
                client.item("function_call_output", call_id=one["call_id"], output="on")
            client.send("response.create")
            assert words(client.answer()) == "Yes."
        history = server.asked[1]["messages"]
        assert [message["role"] for message in history] == ["system", "user", "assistant", "assistant", "tool", "tool"]
        assert [one["id"] for one in history[3]["tool_calls"]] == [one["tool_call_id"] for one in history[4:]]


def test_a_cancelled_answer_closes_the_models_stream(start: Start) -> None:
    never = threading.Event()
    with Odd([chunk("Once upon a time there was a house. "), chunk("In it "), never]) as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.write("Tell me a story.")
            client.until("response.output_audio.delta")
            client.send("response.cancel")
            assert client.answer()["status"] == "cancelled"
            assert server.left.wait(60)


def test_speech_cancels_the_answer_and_the_heard_words_are_the_history(start: Start) -> None:
    never = threading.Event()
    with Odd([chunk("Once upon a time there was a little house in the wood. "), chunk("In it "), never]) as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.write("Tell me a story.")
            item_id = client.until("response.output_audio.delta")["item_id"]
            # All of the first sentence is sent before the person speaks.
            heard_ms = 900
            while len(client.audio.get(item_id, b"")) / 2 / RATE_HZ * 1000 < heard_ms:
                client.receive()
            client.say(spoken("Stop.", RATE_HZ, 0))
            assert client.answer()["status_details"]["reason"] == "turn_detected"
            assert server.left.wait(60)
            client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=heard_ms)
            client.until("conversation.item.truncated")
            client.say(bytes(RATE_HZ * 2))
            assert words(client.answer()) == "Yes."
        told = next(one["content"] for one in server.asked[1]["messages"] if one["role"] == "assistant")
        assert told.startswith("Once upon")
        assert "wood" not in told
        assert told.endswith("(the person interrupted here)")


def test_no_model_is_an_apology(start: Start) -> None:
    agent = start(of("http://127.0.0.1:9/v1"))
    with RealtimeClient(agent) as client:
        client.until("session.created")
        client.update(output_modalities=["text"])
        client.write("Hello?")
        response = client.answer()
        assert (response["status"], words(response)) == ("completed", SORRY)


def test_a_thought_that_is_never_closed_is_an_apology(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    with Odd([chunk("<think>The kettle? Hm. It is on."), {"finish": "length"}]) as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(output_modalities=["text"])
            client.write("Hello?")
            response = client.answer()
            assert (response["status"], words(response)) == ("completed", SORRY)
    assert "the mind says nothing: its answer ends within a thought" in caplog.text
    assert "kettle" not in caplog.text, "words stay out of the log"


@pytest.mark.parametrize("truncation", ["auto", "disabled"])
def test_the_oldest_items_of_a_long_conversation_are_left_out(truncation: str, start: Start) -> None:
    with Odd() as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(output_modalities=["text"], truncation=truncation)
            client.item(role="system", content=[{"type": "input_text", "text": "The lamp is on."}])
            for number in range(31):
                client.item(role="user", content=[{"type": "input_text", "text": f"Question {number}"}])
                client.item(role="assistant", content=[{"type": "output_text", "text": f"Answer {number}"}])
            for _ in range(2):
                client.write("And now?")
                client.answer()
        contents = [[one["content"] for one in question["messages"][1:]] for question in server.asked]
        assert contents[0][0] == contents[1][0] == "The lamp is on."
        if truncation == "auto":
            assert contents[0][1:3] == contents[1][1:3] == ["Question 15", "Answer 15"], "the beginning stays the same"
            assert [len(one) for one in contents] == [34, 36]
        else:
            assert [len(one) for one in contents] == [64, 66]


def silence(duration_ms: int) -> bytes:
    return bytes(RATE_HZ * duration_ms // 1000 * 2)


def test_the_model_is_asked_before_the_turn_is_over_and_its_answer_is_used(start: Start) -> None:
    with Odd([chunk("Half past nine. "), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(spoken("What time is it?", RATE_HZ, 300))
            # The rest of the silence has not been sent: the turn is not over.
            assert server.asked_event.wait(60)
            assert "input_audio_buffer.speech_stopped" not in client.types()
            client.say(silence(500))
            assert words(client.answer()) == "Half past nine."
        assert len(server.asked) == 1
        assert (agent.figures.guesses, agent.figures.guesses_used) == (1, 1)


def test_when_the_person_goes_on_the_first_guess_is_stopped(start: Start) -> None:
    never = threading.Event()
    with Odd([chunk("It is "), never], [chunk("Half past nine. "), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 900}}})
            client.say(spoken("What time is it?", RATE_HZ, 300))
            assert server.asked_event.wait(60)
            client.say(spoken("What time is it?", RATE_HZ, 0))
            assert server.left.wait(60), "the stream of the guess is closed"
            client.say(silence(1200))
            assert words(client.answer()) == "Half past nine."
        asked_again = [one["content"] for one in server.asked[-1]["messages"] if one["role"] == "user"]
        assert len(asked_again) == 1, "the conversation has what was said, once"


def test_a_guess_is_stopped_with_its_client_and_by_a_cleared_buffer(start: Start) -> None:
    for ends in (True, False):
        with Odd([chunk("It is "), threading.Event()]) as server:
            agent = start(of(server.base_url))
            with RealtimeClient(agent) as client:
                client.until("session.created")
                client.say(spoken("What time is it?", RATE_HZ, 300))
                assert server.asked_event.wait(60)
                if not ends:
                    client.send("input_audio_buffer.clear")
                    assert server.left.wait(60)
            assert server.left.wait(60)


def test_a_guess_for_other_instructions_is_not_used(start: Start) -> None:
    with Odd([chunk("It is "), threading.Event()], [chunk("Half past nine. "), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(spoken("What time is it?", RATE_HZ, 300))
            assert server.asked_event.wait(60)
            client.update(instructions="Talk like a pirate.")
            client.say(silence(500))
            assert words(client.answer()) == "Half past nine."
            assert server.left.wait(60)
        assert "pirate" in server.asked[1]["messages"][0]["content"]


def test_without_an_answer_to_speech_nothing_is_asked_ahead(start: Start) -> None:
    with Odd([chunk("Half past nine. "), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(
                audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}},
            )
            client.say(spoken("What time is it?", RATE_HZ, 900))
            client.until("conversation.item.done")
            assert not server.asked
            client.send("response.create")
            assert words(client.answer()) == "Half past nine."
        assert agent.figures.guesses == 0


def message(role: str, text: str) -> Item:
    return Item({"type": "message", "role": role, "content": []}, text)


SETTINGS = {"tools": [LIGHT], "tool_choice": "auto", "max_output_tokens": 50, "output_modalities": ["audio"]}


def test_a_call_without_a_result_is_not_told_to_the_model() -> None:
    question = asked([message("user", "Light?"), made("c"), message("user", "Well?")], SETTINGS, "", "")
    assert [one["role"] for one in question.messages] == ["system", "user", "user"]
    assert question.max_tokens == 50


def made(call_id: str, arguments: str = "{}") -> Item:
    return Item({"type": "function_call", "call_id": call_id, "name": "get_light", "arguments": arguments})


def result(call_id: str, output: str) -> Item:
    return Item({"type": "function_call_output", "call_id": call_id, "output": output})


@pytest.mark.parametrize(
    ("items", "told"),
    [
        # The person speaks while the tool works.
        ([made("a"), message("user", "Well?"), result("a", "on")], ["a", "a: on", "Well?"]),
        # A result that is told twice, a call that is told twice, a result before its call, and one without it.
        ([made("a"), result("a", "on"), result("a", "off")], ["a", "a: on"]),
        ([made("a"), result("a", "on"), made("a")], ["a", "a: on"]),
        ([result("a", "on"), result("b", "on"), made("a")], ["a", "a: on"]),
        # Two of one response, and two of two responses.
        ([made("a"), made("b"), result("b", "off"), result("a", "on")], ["a b", "a: on", "b: off"]),
        ([made("a"), result("a", "on"), made("b"), result("b", "off")], ["a", "a: on", "b", "b: off"]),
    ],
)
def test_each_call_is_followed_by_its_result_once(items: list[Item], told: list[str]) -> None:
    def short(one: dict[str, Any]) -> str:
        if calls := one.get("tool_calls"):
            return " ".join(call["id"] for call in calls)
        return f"{one['tool_call_id']}: {one['content']}" if one["role"] == "tool" else str(one["content"])

    assert [short(one) for one in asked(items, SETTINGS, "", "").messages[1:]] == told


@pytest.mark.parametrize("arguments", ["{", "[1]", "", "{" * 100_000])
def test_arguments_of_a_client_that_are_no_object_are_an_empty_one(arguments: str) -> None:
    question = asked([made("a", arguments), result("a", "on")], SETTINGS, "", "")
    assert question.messages[1]["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("choice", "tools", "told"),
    [
        ("none", 0, "none"),
        ("required", 1, "required"),
        ({"type": "function", "name": "get_light"}, 1, {"type": "function", "function": {"name": "get_light"}}),
        ({"type": "function", "name": "other"}, 1, "auto"),
    ],
)
def test_the_choice_of_a_tool_in_the_models_words(choice: object, tools: int, told: object) -> None:
    question = asked([message("user", "Light?")], {**SETTINGS, "tool_choice": choice}, "", "")
    assert (len(question.tools), question.tool_choice) == (tools, told)
